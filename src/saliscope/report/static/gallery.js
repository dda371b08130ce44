/** The groups of pictures: cards that are drawn when they come into sight, and open the viewer. */

import { looks, methodOfKey, methods } from "./controls.js";
import { make, takesKeys } from "./dom.js";
import { Lazy } from "./lazy.js";
import { Pane } from "./pane.js";

/** Fill the page's groups with cards. `open(list, at)` shows a list of places, the one at `at` first. */
export class Gallery {
  constructor(album, view, open) {
    this.album = album;
    this.view = view;
    this.open = open;
    this.cards = new Map();
    this.lazy = new Lazy((element) => this.cards.get(element).draw(this.view.values));
    view.watch(() => this.lazy.stale());
    for (const section of document.querySelectorAll("[data-group]")) this.fill(section);
    this.tools();
  }

  tools() {
    const { meta, table } = this.album;
    const bar = document.getElementById("toolbar");
    bar.append(make("div", { class: "controls" }, methods(this.view, meta), ...looks(this.view, meta, table)));
    document.getElementById("images").addEventListener("keydown", (event) => {
      const source = takesKeys(event.target) ? null : methodOfKey(event, meta);
      if (source !== null) this.view.set({ source });
    });
  }

  fill(section) {
    const list = section.querySelector(".cards");
    const group = this.album.meta.groups.find((g) => g.key === section.dataset.group);
    if (!list || !group) return;
    this.put(list, group);
    if (group.panes === "pair") this.offer(section, list, group);
  }

  put(list, group) {
    for (const old of list.querySelectorAll("button")) {
      this.lazy.forget(old);
      this.cards.delete(old);
    }
    list.classList.toggle("wide", group.panes !== "one");
    const places = group.picks.map((pick) => placeOf(pick, group, this.album.meta));
    const items = places.map((place, at) => {
      const card = new Card(this.album, place, () => this.open(places.map((p) => follow(p, this.view)), at));
      this.cards.set(card.element, card);
      return make("li", {}, card.element);
    });
    list.replaceChildren(...items);
    for (const card of list.querySelectorAll("button")) this.lazy.watch(card);
  }

  /** Let the reader choose the method that is compared with the reference. */
  offer(section, list, first) {
    const { meta } = this.album;
    const pairs = meta.groups.filter((g) => g.panes === "pair");
    if (pairs.length < 2) return;
    const lead = section.querySelector(".group-lead");
    const choice = make(
      "select",
      {
        onchange: () => {
          const group = pairs[choice.selectedIndex];
          lead.textContent = group.lead;
          this.put(list, group);
        },
      },
      ...pairs.map((g) => make("option", { selected: g === first }, meta.sources[g.other].label)),
    );
    const words = `${meta.sources[meta.reference].label} beside`;
    lead.after(make("p", { class: "controls screen" }, make("label", { class: "control" }, words, choice)));
  }
}

/** What a pick of a group shows: an image, and one or two panes, each a method (null: the one in view) and a class. */
function placeOf([number, target, source], group, meta) {
  if (group.panes === "pair") {
    const panes = [meta.reference, group.other].map((one) => ({ source: one, target }));
    return { number, panes };
  }
  if (group.panes === "classes") {
    return { number, named: true, panes: ["predicted", target].map((role) => ({ source: null, target: role })) };
  }
  return { number, panes: [{ source, target }] };
}

/** The same with the method in view put in. */
function follow(place, view) {
  return { ...place, panes: place.panes.map((p) => ({ ...p, source: p.source ?? view.get("source") })) };
}

/** A button with one or two pictures and what they are of. */
class Card {
  constructor(album, place, open) {
    this.album = album;
    this.place = place;
    this.panes = place.panes.map(() => new Pane(album, { named: place.named }));
    const image = album.image(place.number);
    this.element = make(
      "button",
      { class: "card", type: "button", onclick: open },
      make("span", { class: "panes" }, ...this.panes.map((pane) => pane.element)),
      make(
        "span",
        { class: "words" },
        image.class ?? "no class",
        image.correct === false ? make("span", { class: "wrong" }, ` – predicted: ${image.predicted}`) : null,
        make("span", { class: "id", title: image.id }, image.id),
      ),
    );
  }

  draw(view) {
    this.panes.forEach((pane, i) => {
      const { number } = this.place;
      const { target, source: fixed } = this.place.panes[i];
      const source = fixed ?? view.source;
      pane.draw(number, source, this.album.target(number, target, source), view);
    });
  }
}
