/** One image large: one or two methods or classes side by side, a movable threshold, and all scores. */

import { drawn, looks, methodOfKey } from "./controls.js";
import { make, takesKeys, written } from "./dom.js";
import { Pane } from "./pane.js";

/** The dialog. Arrow keys go through the list it was opened with, digits choose the first method, with shift the second. */
export class Viewer {
  constructor(album, view) {
    this.album = album;
    this.view = view;
    this.dialog = document.getElementById("viewer");
    this.panes = [0, 1].map(() => new Pane(album, { detailed: true }));
    this.list = [];
    this.at = 0;
    this.shown = [];
    this.build();
    view.watch(() => this.soon());
    this.dialog.addEventListener("keydown", (event) => this.key(event));
  }

  build() {
    const { meta, table } = this.album;
    const step = (by) => () => this.go(this.at + by);
    this.title = make("h2", { id: "viewer-title", tabindex: "-1" });
    this.back = make("button", { class: "plain", type: "button", onclick: step(-1) }, "← Previous");
    this.next = make("button", { class: "plain", type: "button", onclick: step(1) }, "Next →");
    this.close = make("button", { class: "plain", type: "button", onclick: () => this.dialog.close() }, "Close");
    this.two = make("input", { type: "checkbox", onchange: () => this.pair(this.two.checked) });
    this.words = make("p", { class: "words" });
    this.heads = this.panes.map(() => make("div", { class: "pane-head" }));
    this.columns = this.panes.map((pane, i) => make("div", {}, this.heads[i], pane.element));
    this.scores = make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Scores of this image" });
    this.help = make("p", { class: "note" }, "Keys: ← → other images, 1 to 9 the method (with shift the second one), S the largest part, Esc closes.");
    this.dialog.append(
      make(
        "div",
        { class: "viewer" },
        make("div", { class: "viewer-head" }, this.title, this.back, this.next, this.close),
        make("div", { class: "controls" }, make("label", { class: "control" }, this.two, "Side by side"), ...looks(this.view, meta, table)),
        make("div", { class: "viewer-body" }, this.words, make("div", { class: "panes" }, ...this.columns), this.scores, this.help),
      ),
    );
  }

  /** Show a list of places, `{number, panes: [{source, target}]}`, beginning with the one at `at`. */
  open(list, at) {
    this.list = list;
    this.shown = [];
    this.go(at);
    if (!this.dialog.open) this.dialog.showModal();
    this.title.focus();
  }

  /** Go to another image of the list; methods that were chosen by hand stay. */
  go(at) {
    if (at < 0 || at >= this.list.length) return;
    this.at = at;
    const { number, panes } = this.list[at];
    this.number = number;
    this.shown = panes.map(({ source, target }, i) => ({
      source: this.shown[i]?.chosen ? this.shown[i].source : source,
      chosen: this.shown[i]?.chosen ?? false,
      target: this.album.target(number, target, source),
    }));
    this.refresh();
  }

  pair(wanted) {
    const [first] = this.shown;
    const others = drawn(this.album.meta).map(([place]) => place).filter((place) => place !== first.source);
    if (wanted && this.shown.length < 2) this.shown.push({ ...first, source: others[0] ?? first.source });
    if (!wanted) this.shown.length = 1;
    this.refresh();
  }

  choose(which, changed) {
    if (!this.shown[which]) return;
    Object.assign(this.shown[which], changed);
    this.refresh();
  }

  refresh() {
    const image = this.album.image(this.number);
    this.title.textContent = `${image.id} (${this.at + 1} of ${this.list.length})`;
    this.back.disabled = this.at === 0;
    this.next.disabled = this.at === this.list.length - 1;
    this.two.checked = this.shown.length === 2;
    this.columns[1].hidden = this.shown.length < 2;
    this.words.textContent = this.sentence(image);
    this.shown.forEach((one, i) => this.head(i, one, image));
    this.tabulate(image);
    this.draw();
  }

  sentence(image) {
    const verdict = { true: " (correct)", false: " (wrong)" }[image.correct] ?? "";
    const count = image.boxes.length;
    const boxes = count ? `${count} annotated ${count === 1 ? "box" : "boxes"}` : "nothing annotated";
    const problem = image.message ? ` ${image.message}` : "";
    return `Class: ${image.class ?? "none"}. Predicted: ${image.predicted ?? "unknown"}${verdict}. ${image.size[1]} × ${image.size[0]} pixels, ${boxes}.${problem}`;
  }

  head(which, one, image) {
    const { meta } = this.album;
    const place = ["first", "second"][which];
    const method = make(
      "select",
      { "aria-label": `Method of the ${place} picture`, onchange: () => this.choose(which, { source: Number(method.value), chosen: true }) },
      ...drawn(meta).map(([number, source]) => make("option", { value: number, selected: number === one.source }, source.label)),
    );
    const target = make(
      "select",
      { "aria-label": `Class of the ${place} picture`, onchange: () => this.choose(which, { target: Number(target.value) }) },
      ...image.targets.map((t, i) => make("option", { value: i, selected: i === one.target }, nameOf(t))),
    );
    this.heads[which].replaceChildren(method, target);
  }

  tabulate(image) {
    const { meta } = this.album;
    const { target } = this.shown[0];
    const name = image.targets[target]?.name ?? "the class shown";
    const rows = (image.maps ?? []).filter((m) => m.target === target).map((m) => {
      const { label } = meta.sources[m.source];
      const cells = m.scores.map((value, i) => make("td", { class: "number" }, written(value, meta.metrics[i].binary ? 0 : 3)));
      return make("tr", {}, make("th", { scope: "row" }, label), make("td", {}, m.status), ...cells);
    });
    const heads = ["Method", "Status", ...meta.metrics.map((m) => m.label)];
    const title = `Scores of the maps for ${name}, measured at full size`;
    this.scores.replaceChildren(
      make("p", { class: "table-title", "aria-hidden": "true" }, title),
      make(
        "table",
        { class: "numbers" },
        make("caption", { class: "unseen" }, title),
        make("thead", {}, make("tr", {}, ...heads.map((text, i) => make("th", { scope: "col", class: i > 1 ? "number" : null }, text)))),
        make("tbody", {}, ...rows),
      ),
    );
  }

  /** Draw with the next frame: a slider moves faster than pictures are drawn. */
  soon() {
    if (this.framed || !this.dialog.open) return;
    this.framed = true;
    requestAnimationFrame(() => {
      this.framed = false;
      this.draw();
    });
  }

  draw() {
    this.shown.forEach(({ source, target }, i) => this.panes[i].draw(this.number, source, target, this.view.values));
  }

  key(event) {
    if (takesKeys(event.target) || event.ctrlKey || event.metaKey || event.altKey) return;
    const source = methodOfKey(event, this.album.meta);
    if (source !== null) this.choose(event.shiftKey ? 1 : 0, { source, chosen: true });
    else if (event.key === "ArrowLeft") this.go(this.at - 1);
    else if (event.key === "ArrowRight") this.go(this.at + 1);
    else if (event.key === "s" || event.key === "S") this.view.set({ spotlight: !this.view.get("spotlight") });
    else return;
    event.preventDefault();
  }
}

function nameOf(target) {
  const role = target.truth ? "true" : Object.values(target.ranks).includes(0) ? "predicted" : "other";
  return `${target.name} (${role})`;
}
