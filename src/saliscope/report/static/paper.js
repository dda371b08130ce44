/** Before a page goes to paper: what a reader can unfold, sort or scroll to there is laid open, and put back afterwards. */

import { makePlain, makeSortable } from "./tables.js";

/** Prepare for every printing; `rush` draws the pictures that are not drawn yet. */
export function preparePaper(rush) {
  window.addEventListener("beforeprint", () => {
    unfold();
    makePlain();
    rush();
  });
  window.addEventListener("afterprint", () => {
    fold();
    makeSortable();
  });
}

function unfold() {
  for (const part of document.querySelectorAll("details:not([open], .screen)")) {
    part.open = true;
    part.dataset.unfolded = "";
  }
}

function fold() {
  for (const part of document.querySelectorAll("details[data-unfolded]")) {
    part.open = false;
    delete part.dataset.unfolded;
  }
}
