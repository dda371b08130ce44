/** From heat to the largest connected part and its box: what `find_box` finds for protocols that count pixels. */

import { finiteRange, isConstant } from "./heat.js";

const f32 = Math.fround;

/**
 * Find the 8-connected part with the most pixels at or above a threshold.
 *
 * Ties go to the part with the highest value, then to the one whose first pixel comes first in reading order. null where
 * there is none: nothing passes, or the map is constant or not finite.
 *
 * @param {Float32Array} scaled heat in [0, 1], NaN unseen
 * @param {Float32Array} heat the same before it was normalised; its values break ties
 * @param {number} width of the picture
 * @param {number} threshold a share of the normalised range
 * @returns {{box: number[], pixels: number, parts: number, inside: Uint8Array, passed: Uint8Array} | null}
 *   `box` is half-open x0, y0, x1, y1; `inside` marks the part, `passed` all that is above the threshold.
 */
export function largestPart(scaled, heat, width, threshold) {
  if (!hasPlaces(heat)) return null;
  const limit = f32(threshold);
  const passed = Uint8Array.from(scaled, (value) => (value >= limit ? 1 : 0));
  const labels = new Int32Array(passed.length);
  const found = [];
  for (let i = 0; i < passed.length; i += 1) {
    if (passed[i] && !labels[i]) found.push(flood(passed, labels, heat, width, i, found.length + 1));
  }
  if (!found.length) return null;
  const best = found.reduce((a, b) => (b.pixels > a.pixels || (b.pixels === a.pixels && b.peak > a.peak) ? b : a));
  const inside = Uint8Array.from(labels, (label) => (label === best.label ? 1 : 0));
  return { box: best.box, pixels: best.pixels, parts: found.length, inside, passed };
}

function hasPlaces(heat) {
  for (const value of heat) {
    if (value === Infinity || value === -Infinity) return false;
  }
  return !isConstant(...finiteRange(heat));
}

/** Mark the part that holds the pixel `first`, which comes first in reading order, and measure it. */
function flood(passed, labels, heat, width, first, label) {
  const height = passed.length / width;
  const waiting = [first];
  labels[first] = label;
  let [x0, y0, x1, y1, pixels, peak] = [width, height, 0, 0, 0, -Infinity];
  while (waiting.length) {
    const place = waiting.pop();
    const x = place % width;
    const y = (place - x) / width;
    pixels += 1;
    peak = Math.max(peak, heat[place]);
    [x0, y0, x1, y1] = [Math.min(x0, x), Math.min(y0, y), Math.max(x1, x + 1), Math.max(y1, y + 1)];
    for (let v = Math.max(y - 1, 0); v <= Math.min(y + 1, height - 1); v += 1) {
      for (let u = Math.max(x - 1, 0); u <= Math.min(x + 1, width - 1); u += 1) {
        const beside = v * width + u;
        if (passed[beside] && !labels[beside]) {
          labels[beside] = label;
          waiting.push(beside);
        }
      }
    }
  }
  return { label, pixels, peak, box: [x0, y0, x1, y1] };
}

/** Intersection over union of a box with the annotated one it fits best; NaN where nothing is annotated. */
export function bestIou(box, annotated) {
  if (!annotated.length) return NaN;
  return box ? Math.max(...annotated.map((other) => iou(box, other))) : 0;
}

function iou(a, b) {
  const width = Math.max(Math.min(a[2], b[2]) - Math.max(a[0], b[0]), 0);
  const height = Math.max(Math.min(a[3], b[3]) - Math.max(a[1], b[1]), 0);
  const both = width * height;
  const either = area(a) + area(b) - both;
  return either > 0 ? both / either : 0;
}

function area(box) {
  return (box[2] - box[0]) * (box[3] - box[1]);
}
