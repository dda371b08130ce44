/** One picture: a photograph with the heat of one method for one class, boxes, and the words below it. */

import { make, shape, written } from "./dom.js";
import { blend, spotlight } from "./paint.js";
import { bestIou, largestPart } from "./parts.js";

const DASHES = ["none", "7 4", "2 4", "10 4 2 4"]; // tell protocols apart where colours do not
const LIVE = "255 255 255";

/** What is drawn on: `element` holds a canvas for pixels and an SVG for boxes, so that lines stay sharp at any size. */
export class Pane {
  /** `detailed` writes all that is known below the picture, `named` the class beside the method. */
  constructor(album, { detailed = false, named = false } = {}) {
    this.album = album;
    this.detailed = detailed;
    this.named = named;
    this.canvas = make("canvas", { role: "img", "aria-label": "not drawn yet" });
    this.boxes = shape("svg", { class: "boxes", preserveAspectRatio: "none", "aria-hidden": "true" });
    this.stamp = make("span", { class: "stamp", hidden: true });
    this.fit = make("span", { class: "fit" }, this.canvas, this.boxes, this.stamp);
    this.under = make("span", { class: "under" });
    this.element = make("span", { class: "pane" }, make("span", { class: "picture" }, this.fit), this.under);
    this.turn = 0;
  }

  /**
   * Draw an image by a method for a class, as the view says. Resolves when the pixels are there.
   *
   * @param {number} number of the image
   * @param {number} source number of the method
   * @param {number} target number of the class in the image
   * @param {object} view values of a View
   */
  async draw(number, source, target, view) {
    this.turn += 1;
    const turn = this.turn;
    const image = this.album.image(number);
    const map = this.album.map(number, source, target);
    this.frame(image);
    const photo = this.album.photo(number);
    const pixels = photo instanceof Promise ? await photo : photo;
    if (turn !== this.turn) return; // something else is wanted by now
    const part = this.paint(number, image, map, pixels, view);
    this.describe(image, source, target, map);
    this.outline(image, map, source, part, view);
    this.caption(image, source, target, map, part, view);
  }

  frame(image) {
    const [height, width] = image.size;
    this.fit.style.setProperty("--ratio", width / height);
    this.boxes.setAttribute("viewBox", `0 0 ${width} ${height}`);
  }

  paint(number, image, map, photo, view) {
    const [height, width] = image.thumb;
    if (this.canvas.width !== width) this.canvas.width = width;
    if (this.canvas.height !== height) this.canvas.height = height;
    let pixels = new Uint8ClampedArray(photo);
    let part = null;
    if (map) {
      const { raw, scaled } = this.album.heat(number, map, view.rule);
      pixels = blend(photo, scaled, width, view.opacity, this.album.table);
      if (view.spotlight) {
        part = largestPart(scaled, raw, width, view.threshold);
        spotlight(pixels, part);
      }
    }
    this.canvas.getContext("2d").putImageData(new ImageData(pixels, width, height), 0, 0);
    return part && { ...part, box: inSource(part.box, image) };
  }

  describe(image, source, target, map) {
    const method = this.album.meta.sources[source].label;
    const name = image.targets[target]?.name ?? "this class";
    const score = map ? `, ${this.album.meta.metrics[0].label} ${written(map.scores[0])}` : ", no map";
    this.canvas.setAttribute("aria-label", `${method} for ${name}${score}`);
    this.stamp.hidden = !map || map.status === "ok";
    this.stamp.textContent = map ? `status: ${map.status}` : "";
  }

  outline(image, map, source, part, view) {
    const { meta } = this.album;
    const lines = [];
    if (view.annotated) lines.push(...image.boxes.map((box) => [box, meta.truthColour.join(" "), "none"]));
    meta.protocols.forEach((name, i) => {
      const box = map?.boxes[name];
      if (box && view[`box ${name}`]) lines.push([box, meta.sources[source].colour.join(" "), DASHES[i % DASHES.length]]);
    });
    if (part) lines.push([part.box, LIVE, "4 3"]);
    this.boxes.replaceChildren(...lines.flatMap(([box, colour, dashes]) => rectangle(box, colour, dashes)));
  }

  caption(image, source, target, map, part, view) {
    const { meta } = this.album;
    const method = meta.sources[source];
    const swatch = make("span", { class: "swatch", style: `background:rgb(${method.colour.join(" ")})` });
    const unit = this.detailed ? `${meta.metrics[0].label} ` : "";
    const score = map ? `${unit}${written(map.scores[0])}` : "no map in this run";
    const status = map && map.status !== "ok" ? `, status: ${map.status}` : "";
    const of = this.named ? `, ${image.targets[target]?.name ?? "no class"}:` : "";
    this.under.replaceChildren(swatch, `${method.label}${of} ${score}${status}`);
    if (!this.detailed) return;
    const about = image.targets[target];
    const sure = about?.shares[method.run];
    const kind = about?.truth ? "a true class" : "not a true class";
    const range = map ? rangeOf(map, this.album) : null;
    const lines = [
      `Class explained: ${about?.name ?? "none"} (${kind})${typeof sure === "number" ? `, probability ${written(sure)}` : ""}`,
      range && `Raw map ${range}`,
      view.spotlight && map ? live(part, image, view) : null,
    ];
    this.under.append(...lines.filter(Boolean).flatMap((line) => [make("br"), line]));
  }
}

function rangeOf(map, album) {
  const grid = typeof map.grid === "number" ? null : map.grid;
  const size = grid ?? { h: album.shared[map.grid].height, w: album.shared[map.grid].width };
  const range = grid ? `, values ${short(grid.low)} to ${short(grid.high)}` : "";
  return `${size.h} × ${size.w}${range}`;
}

function short(value) {
  return Number(value.toPrecision(3)).toString().replace("-", "−");
}

/** What the moved threshold finds, in words. */
function live(part, image, view) {
  const [height, width] = image.thumb;
  const where = `at or above ${written(view.threshold, 2)} (${view.rule}), computed at ${width} × ${height} pixels`;
  if (!part) return `No part ${where}`;
  const box = part.box.map((v) => Math.round(v)).join(", ");
  const fits = image.boxes.length ? `, IoU ${written(bestIou(part.box, image.boxes))}` : "";
  return `Largest of ${part.parts} ${part.parts === 1 ? "part" : "parts"} ${where}: box ${box}${fits}`;
}

function inSource(box, image) {
  const x = image.size[1] / image.thumb[1];
  const y = image.size[0] / image.thumb[0];
  return [box[0] * x, box[1] * y, box[2] * x, box[3] * y];
}

function rectangle([x0, y0, x1, y1], colour, dashes) {
  const place = { x: x0, y: y0, width: Math.max(x1 - x0, 0), height: Math.max(y1 - y0, 0) };
  return [
    shape("rect", { ...place, class: "rim" }),
    shape("rect", { ...place, class: "line", stroke: `rgb(${colour})`, "stroke-dasharray": dashes }),
  ];
}
