/** Controls that change how pictures are looked at. Several sets of them may show the same view. */

import { make, written } from "./dom.js";

let count = 0; // for ids that no two controls share

/** A check box that shows and sets one value of a view. */
export function check(view, name, text, colour = null) {
  const input = make("input", { type: "checkbox", onchange: () => view.set({ [name]: input.checked }) });
  follow(view, name, (value) => {
    input.checked = value;
  });
  const swatch = colour && make("span", { class: "swatch", style: `background:rgb(${colour.join(" ")})` });
  return make("label", { class: "control" }, input, swatch, text);
}

/** A slider from 0 to 1, without words of its own where `text` is null. `more` are values that are set together with it. */
export function slider(view, name, text, more = {}) {
  count += 1;
  const id = `slider-${count}`;
  const shown = make("output", { htmlFor: id });
  const input = make("input", {
    id,
    type: "range",
    min: "0",
    max: "1",
    step: "0.01",
    oninput: () => view.set({ [name]: Number(input.value), ...more }),
  });
  follow(view, name, (value) => {
    input.value = value;
    shown.textContent = written(value, 2);
  });
  const label = text === null ? null : make("label", { htmlFor: id }, text);
  if (text === null) input.setAttribute("aria-label", name);
  return make("span", { class: "control" }, label, input, shown);
}

/** A list of named values to choose one from; the options are [value, text]. */
export function menu(view, name, text, options) {
  const input = make(
    "select",
    { onchange: () => view.set({ [name]: input.value }) },
    ...options.map(([value, words]) => make("option", { value }, words)),
  );
  follow(view, name, (value) => {
    input.value = value;
  });
  return make("label", { class: "control" }, text, input);
}

/** One of several methods, as buttons; the first nine have a key. */
export function methods(view, meta) {
  count += 1;
  const group = `methods-${count}`;
  const choices = drawn(meta).map(([number, source], i) => {
    const input = make("input", { type: "radio", name: group, onchange: () => view.set({ source: number }) });
    follow(view, "source", (value) => {
      input.checked = value === number;
    });
    const key = i < 9 ? make("kbd", {}, `${i + 1}`) : null;
    return make("label", { class: "choice" }, input, make("span", {}, key, key ? " " : "", source.label));
  });
  return make("fieldset", {}, make("legend", {}, "Method"), ...choices);
}

/** The methods that have maps: [number, source]. */
export function drawn(meta) {
  return [...meta.sources.entries()].filter(([, source]) => source.drawn);
}

/** The method that a key chooses, by its number; null for other keys. */
export function methodOfKey(event, meta) {
  const digit = /^Digit([1-9])$/.exec(event.code)?.[1];
  if (!digit || event.ctrlKey || event.metaKey || event.altKey) return null;
  return drawn(meta)[Number(digit) - 1]?.[0] ?? null;
}

/** What all pictures share: opacity, part above a threshold, normalisation, boxes, and the scale of colours. */
export function looks(view, meta, table) {
  return [
    slider(view, "opacity", "Heat opacity"),
    make("span", { class: "control" }, check(view, "spotlight", "Largest part above"), slider(view, "threshold", null, { spotlight: true })),
    menu(view, "rule", "Normalised by", [
      ["min-max", "min-max"],
      ["max", "max"],
    ]),
    check(view, "annotated", "annotated box", meta.truthColour),
    ...meta.protocols.map((name) => check(view, `box ${name}`, `${name} box`)),
    scale(table),
  ];
}

function scale(table) {
  const canvas = make("canvas", { width: 256, height: 1, "aria-hidden": "true" });
  const pixels = new Uint8ClampedArray(1024).fill(255);
  for (let i = 0; i < 256; i += 1) pixels.set(table.subarray(3 * i, 3 * i + 3), 4 * i);
  canvas.getContext("2d").putImageData(new ImageData(pixels, 256, 1), 0, 0);
  return make("span", { class: "scale" }, "heat 0", canvas, "1");
}

function follow(view, name, show) {
  show(view.get(name));
  view.watch((values) => show(values[name]));
}
