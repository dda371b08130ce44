/** The table of all images: thousands of rows, of which only those in sight are elements. */

import { make, middle, written } from "./dom.js";
import { mean } from "./rows.js";

const HEIGHT = 31; // of a row in pixels, its line included
const BEYOND = 8; // rows above and below the ones in sight, so that Tab finds the next

/** Builds the table in #rows. `open(pictures, at)` shows pictures of the album by their numbers. */
export class Browse {
  constructor(rows, meta, open) {
    this.rows = rows;
    this.meta = meta;
    this.open = open;
    this.metric = 0;
    this.filter = { text: "", class: "", state: "" };
    this.sorted = null; // {column, sign}
    this.lines = new Map();
    this.wide = Math.min(Math.max(12.5, 2 + 0.55 * Math.max(...rows.ids.slice(0, 1000).map((id) => id.length))), 24); // em
    this.build(document.getElementById("rows"));
    this.update();
  }

  get columns() {
    const { rows } = this;
    const name = (column) => ({ text: (row) => rows.name(column, row), values: () => Array.from(rows.ids, (_, row) => rows.name(column, row)) });
    const words = [
      { title: "Image", width: this.wide, text: (row) => rows.ids[row], values: () => rows.ids },
      { title: "Class", width: 11, ...name(rows.about) },
      { title: "Predicted", width: 11, ...name("predicted") },
      { title: "Answer", width: 6, text: (row) => rows.stateOf(row), values: () => Array.from(rows.ids, (_, row) => rows.stateOf(row)) },
    ];
    const digits = rows.block.scores[this.metric].binary ? 0 : 3;
    const scores = this.meta.sources.map(({ label }, source) => {
      const values = rows.scores(this.metric, source);
      return { title: label, width: Math.min(Math.max(0.62 * label.length + 2, 6), 15), number: true, text: (row) => (rows.state[row] === 3 ? "" : written(values[row], digits)), values: () => values };
    });
    return [...words, ...scores];
  }

  build(home) {
    const set = (name) => (event) => {
      this.filter[name] = event.target.value;
      this.update();
    };
    const metrics = this.rows.block.scores.map((s, i) => [i, s.label]);
    const metric = list("Score", metrics, (event) => {
      this.metric = Number(event.target.value);
      this.update();
    });
    const search = make("input", { type: "search", placeholder: "part of an id or class", oninput: set("text") });
    const classes = [["", "all classes"], ...this.rows.namesOf(this.rows.about).map((name) => [name, name])];
    const states = [["", "all"], ["correct", "correct"], ["wrong", "wrong"], ["failed", "failed"], ["pictures", "with pictures here"]];
    this.head = make("thead");
    this.body = make("tbody");
    this.above = make("td");
    this.below = make("td");
    this.table = make("table", { "aria-label": "All images" }, this.head, this.body);
    this.scroll = make("div", { class: "rows-scroll", tabindex: "0", role: "region", "aria-label": "All images, scrollable", onscroll: () => this.show() }, this.table);
    this.state = make("p", { class: "rows-state", role: "status" });
    home.append(
      make("div", { class: "controls" }, metric, make("label", { class: "control" }, "Search", search), list("Class", classes, set("class")), list("Answer", states, set("state"))),
      this.state,
      this.scroll,
    );
    new ResizeObserver(() => this.show()).observe(this.scroll);
  }

  /** Filter and sort anew, and begin at the top. */
  update() {
    const { columns } = this;
    this.now = columns;
    const order = this.sorted && { values: columns[this.sorted.column].values(), sign: this.sorted.sign };
    this.chosen = this.rows.select(this.filter, order);
    this.heading(columns);
    this.lines.clear();
    this.scroll.scrollTop = 0;
    this.state.textContent = `${this.chosen.length.toLocaleString("en")} of ${this.rows.count.toLocaleString("en")} rows`;
    this.show();
  }

  heading(columns) {
    const focused = [...this.head.querySelectorAll("button")].indexOf(document.activeElement);
    const titles = columns.map((column, i) => {
      const way = this.sorted?.column === i ? { 1: "ascending", "-1": "descending" }[this.sorted.sign] : null;
      const button = make("button", { class: "sort", type: "button", onclick: () => this.sort(i) }, column.title);
      const style = `width:${column.width}em`;
      return make("th", { scope: "col", class: column.number ? "number" : null, "aria-sort": way, style, title: column.title }, button);
    });
    const means = columns.map((column, i) => {
      if (!column.number) return make(i ? "td" : "th", { scope: i ? null : "row" }, i ? "" : "Mean of these rows");
      const found = mean(column.values(), this.chosen);
      return make("td", { class: "number", title: `${found.count} defined` }, written(found.mean));
    });
    this.head.replaceChildren(make("tr", {}, ...titles), make("tr", {}, ...means));
    this.table.style.width = `${columns.reduce((sum, column) => sum + column.width, 0)}em`;
    for (const cell of [this.above, this.below]) cell.colSpan = columns.length;
    this.table.setAttribute("aria-rowcount", this.chosen.length + 2);
    if (focused >= 0) this.head.querySelectorAll("button")[focused]?.focus();
  }

  sort(column) {
    const first = this.now[column].number ? -1 : 1;
    if (this.sorted?.column !== column) this.sorted = { column, sign: first };
    else this.sorted = this.sorted.sign === first ? { column, sign: -first } : null;
    this.update();
  }

  /** Put the rows in sight into the table; those that are there already stay, with the focus they may have. */
  show() {
    const from = Math.max(Math.floor(this.scroll.scrollTop / HEIGHT) - BEYOND, 0);
    const to = Math.min(Math.ceil((this.scroll.scrollTop + this.scroll.clientHeight) / HEIGHT) + BEYOND, this.chosen.length);
    const lines = new Map();
    for (let at = from; at < to; at += 1) lines.set(at, this.lines.get(at) ?? this.line(at));
    this.lines = lines;
    const wanted = [spacer(this.above, from), ...lines.values(), spacer(this.below, this.chosen.length - to)];
    const same = wanted.length === this.body.rows.length && wanted.every((row, i) => row === this.body.rows[i]);
    if (!same) settle(this.body, wanted);
  }

  line(at) {
    const row = this.chosen[at];
    const cells = this.now.map((column, i) => {
      const text = column.text(row);
      if (i > 0) return make("td", { class: column.number ? "number" : null, title: column.number ? null : text }, text);
      const cut = middle(text, Math.floor((this.wide - 2) / 0.55));
      const shown = this.rows.picture[row] >= 0 && this.rows.state[row] !== 3;
      const name = shown ? make("button", { class: "open", type: "button", onclick: () => this.view(row) }, cut) : cut;
      return make("th", { scope: "row", title: text }, name);
    });
    return make("tr", { "aria-rowindex": at + 3 }, ...cells);
  }

  /** Open the picture of a row; its neighbours are those with pictures in the same order. */
  view(row) {
    const list = this.chosen.filter((r) => this.rows.picture[r] >= 0 && this.rows.state[r] !== 3);
    this.open(list.map((r) => [this.rows.picture[r], this.rows.target[r] < 0 ? null : this.rows.name("target", r)]), list.indexOf(row));
  }
}

function list(text, options, onchange) {
  return make("label", { class: "control" }, text, make("select", { onchange }, ...options.map(([value, words]) => make("option", { value }, words))));
}

function spacer(cell, count) {
  cell.style.height = `${count * HEIGHT}px`;
  return cell.parentElement ?? make("tr", { class: "spacer", "aria-hidden": "true" }, cell);
}

/** Make `wanted` the rows of a body without moving those that are in it: a moved element loses the focus. */
function settle(body, wanted) {
  const keep = new Set(wanted);
  for (const row of [...body.rows]) if (!keep.has(row)) row.remove();
  wanted.forEach((row, i) => {
    if (body.rows[i] !== row) body.insertBefore(row, body.rows[i] ?? null);
  });
}
