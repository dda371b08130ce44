/** The data of the page: images, maps and photographs, read block by block when they are first looked at. */

import { mapToPicture, normalise } from "./heat.js";
import { blank } from "./paint.js";

const KEPT = 48; // heatmaps and photographs, as pixels

/** The content of a block of data, or null where the page has none of that name. */
export function readBlock(name) {
  const block = document.getElementById(name);
  return block ? JSON.parse(block.textContent) : null;
}

/** Bytes that were written in base64. */
export function fromBase64(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

/** A packed map as numbers: `grids.pack_grid` says what they are. */
export function unpackGrid(packed) {
  const raw = fromBase64(packed.data);
  const numbers = packed.bits === 16 ? new Uint16Array(raw.buffer) : raw;
  const most = 2 ** packed.bits - 2;
  const step = (packed.high - packed.low) / most;
  const values = Float32Array.from(numbers, (n) => (n > most ? NaN : packed.low + n * step));
  return { height: packed.h, width: packed.w, values };
}

/** A few things remembered, the ones used last. */
class Memory {
  constructor(most) {
    this.most = most;
    this.things = new Map();
  }

  get(key, make) {
    const found = this.things.has(key) ? this.things.get(key) : make();
    this.things.delete(key);
    this.things.set(key, found);
    if (this.things.size > this.most) this.things.delete(this.things.keys().next().value);
    return found;
  }
}

/** All that can be drawn. Images are numbered as their blocks are. */
export class Album {
  constructor() {
    this.meta = readBlock("data-meta");
    this.table = fromBase64(this.meta.colours);
    this.shared = readBlock("data-grids").map(unpackGrid);
    this.images = new Map();
    this.heats = new Memory(KEPT);
    this.photos = new Memory(KEPT);
  }

  /** What is known of an image. */
  image(number) {
    if (!this.images.has(number)) this.images.set(number, readBlock(`data-image-${number}`));
    return this.images.get(number);
  }

  /** The map of an image by a method (its number) for a class (its number in the image); undefined where there is none. */
  map(number, source, target) {
    return (this.image(number).maps ?? []).find((m) => m.source === source && m.target === target);
  }

  /**
   * The class that is shown, by its number in the image: the one asked for, or that which the run of a method predicted;
   * else a true one.
   *
   * @param {number} number of the image
   * @param {number | "predicted" | null} wanted
   * @param {number} source number of the method
   */
  target(number, wanted, source) {
    const targets = this.image(number).targets ?? [];
    const { run } = this.meta.sources[source];
    const predicted = targets.findIndex((t) => t.ranks[run] === 0);
    const truth = targets.findIndex((t) => t.truth);
    if (typeof wanted === "number") return wanted;
    if (wanted === "predicted" && predicted >= 0) return predicted;
    return Math.max(truth, 0);
  }

  /** Heat in picture pixels, before and after it is normalised. */
  heat(number, map, rule) {
    const [height, width] = this.image(number).thumb;
    return this.heats.get(`${number} ${map.source} ${map.target} ${rule}`, () => {
      const grid = typeof map.grid === "number" ? this.shared[map.grid] : unpackGrid(map.grid);
      const raw = mapToPicture(grid, height, width, map.region);
      return { raw, scaled: normalise(raw, rule) };
    });
  }

  /** The photograph as RGBA pixels, grey where the page has none. */
  photo(number) {
    return this.photos.get(number, () => decoded(this.image(number)));
  }
}

async function decoded(image) {
  const [height, width] = image.thumb;
  if (!image.photo) return blank(height, width);
  const picture = new Image();
  picture.src = `data:image/webp;base64,${image.photo}`;
  try {
    await picture.decode();
  } catch {
    return blank(height, width);
  }
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(picture, 0, 0, width, height);
  return context.getImageData(0, 0, width, height).data;
}
