/** The rows of all images as columns of numbers: reading them, filtering and sorting. No elements here. */

import { fromBase64 } from "./album.js";

const UNDEFINED = 65535;
const STATES = ["wrong", "correct", "", "failed"];

/** What `image_rows.make_rows` wrote. Rows go by their number in the data; scores of a metric are read when it is shown. */
export class Rows {
  constructor(block) {
    this.block = block;
    this.ids = block.ids;
    this.count = block.ids.length;
    for (const name of ["class", "predicted", "target", "picture"]) {
      this[name] = new Int32Array(fromBase64(block[name]).buffer);
    }
    this.state = fromBase64(block.state);
    this.read = new Map();
    this.about = block.several ? "target" : "class"; // where images have several classes, a row is about one of them
    this.words = this.ids.map((id, row) => `${id} ${this.name(this.about, row)}`.toLowerCase());
  }

  /** The name in a column of names; empty where there is none. */
  name(column, row) {
    return this.block.names[this[column][row]] ?? "";
  }

  stateOf(row) {
    return STATES[this.state[row]];
  }

  /** Names that occur in a column, sorted. */
  namesOf(column) {
    return [...new Set(this[column])].filter((n) => n >= 0).map((n) => this.block.names[n]).sort();
  }

  /** The scores of one metric by one method, Float64Array (count,), NaN where undefined. */
  scores(metric, source) {
    if (!this.read.has(metric)) {
      const { data, low, step } = this.block.scores[metric];
      const numbers = new Uint16Array(fromBase64(data).buffer);
      this.read.set(metric, Float64Array.from(numbers, (n) => (n === UNDEFINED ? NaN : low + n * step)));
    }
    return this.read.get(metric).subarray(source * this.count, (source + 1) * this.count);
  }

  /**
   * The numbers of the rows that pass a filter, in order.
   *
   * @param {{text: string, class: string, state: string}} filter empty strings let everything pass; the state "pictures"
   *   keeps the images that the page can show
   * @param {{values: ArrayLike<number> | string[], sign: number} | null} order null for the order of the data
   */
  select(filter, order) {
    const text = filter.text.trim().toLowerCase();
    const found = [];
    for (let row = 0; row < this.count; row += 1) {
      if (text && !this.words[row].includes(text)) continue;
      if (filter.class && this.name(this.about, row) !== filter.class) continue;
      if (filter.state === "pictures" ? this.picture[row] < 0 : filter.state && this.stateOf(row) !== filter.state) continue;
      found.push(row);
    }
    if (order) found.sort((a, b) => compare(order.values[a], order.values[b], order.sign) || a - b);
    return found;
  }
}

/** The mean of some of the values, NaN where none is defined, and of how many. */
export function mean(values, rows) {
  let sum = 0;
  let count = 0;
  for (const row of rows) {
    if (Number.isNaN(values[row])) continue;
    sum += values[row];
    count += 1;
  }
  return { mean: count ? sum / count : NaN, count };
}

function compare(a, b, sign) {
  const [none, other] = [a, b].map((value) => value === "" || Number.isNaN(value));
  if (none || other) return none - other;
  return sign * (typeof a === "string" ? a.localeCompare(b) : a - b);
}
