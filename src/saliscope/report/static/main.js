/** Starts the page: tables first, then what needs data. */

import { Album, readBlock } from "./album.js";
import { Browse } from "./browse.js";
import { Gallery } from "./gallery.js";
import { Lazy } from "./lazy.js";
import { preparePaper } from "./paper.js";
import { Rows } from "./rows.js";
import { makeSortable, markWide } from "./tables.js";
import { firstView } from "./view.js";
import { Viewer } from "./viewer.js";

/** Bring the page to life; what has no data is left as it was written. */
export function start() {
  makeSortable();
  markWide();
  const gallery = document.getElementById("data-meta") ? startPictures() : null;
  preparePaper(() => gallery?.lazy.rush());
  document.documentElement.dataset.ready = "yes";
}

function startPictures() {
  const album = new Album();
  const view = firstView(album.meta);
  const viewer = new Viewer(album, view);
  const gallery = new Gallery(album, view, (list, at) => viewer.open(list, at));
  const home = document.getElementById("rows");
  const browse = () => new Browse(new Rows(readBlock("data-rows")), album.meta, (pictures, at) => openRow(album, view, viewer, pictures, at));
  if (home) new Lazy(browse).watch(home);
  return gallery;
}

/** Show pictures by number and the name of the class that their row is about. */
function openRow(album, view, viewer, pictures, at) {
  const list = pictures.map(([number, name]) => {
    const target = album.image(number).targets.findIndex((t) => t.name === name);
    return { number, panes: [{ source: view.get("source"), target: target < 0 ? null : target }] };
  });
  viewer.open(list, at);
}
