/** Small helpers to build elements. */

/**
 * Make an element: properties by name, those with a dash as attributes, `class`, and children (elements or text).
 *
 * Text becomes text nodes: nothing that comes from data is ever read as HTML.
 */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && !name.includes("-") && name !== "class" && name !== "list") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/** Make an SVG element with attributes. */
export function shape(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** A number with some digits and a real minus sign; "undefined" for what is none. */
export function written(value, digits = 3) {
  if (value === null || value === undefined || Number.isNaN(value)) return "undefined";
  return value.toFixed(digits).replace("-", "−");
}

/** A text of `most` letters; of a longer one the middle is left out, since ids differ at their ends. */
export function middle(text, most) {
  if (text.length <= most) return text;
  const head = Math.floor((most - 1) / 3);
  return `${text.slice(0, head)}…${text.slice(text.length - (most - 1 - head))}`;
}

/** Whether a key belongs to the element that has it: a slider moves, a field takes letters. */
export function takesKeys(target) {
  return target instanceof Element && target.closest("input:not([type=checkbox]), select, textarea") !== null;
}
