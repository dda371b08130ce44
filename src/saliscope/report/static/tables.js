/** The tables that stand in the page: each heading becomes a button that sorts, and what is wider than the page says so. */

import { make } from "./dom.js";

/** Make the tables of numbers sortable. Without this script they are as they were written. */
export function makeSortable() {
  for (const table of document.querySelectorAll("main table.numbers[id]")) {
    if (table.tBodies[0].rows.length < 2) continue;
    [...table.tHead.rows[0].cells].forEach((heading, column) => {
      if (!heading.textContent.trim()) return;
      const button = make("button", { class: "sort", type: "button", onclick: () => sort(table, heading, column) });
      button.append(...heading.childNodes);
      heading.append(button);
    });
  }
}

/** Take the buttons out again: Chromium repeats headings on every sheet, but none that hold a button. */
export function makePlain() {
  for (const button of document.querySelectorAll("main table.numbers button.sort")) button.replaceWith(...button.childNodes);
}

/** Mark what goes on to the right, as long as it does. */
export function markWide() {
  const mark = (box) => box.classList.toggle("more", box.scrollWidth - box.clientWidth - box.scrollLeft > 2);
  const watch = new ResizeObserver((entries) => entries.forEach(({ target }) => mark(target)));
  for (const box of document.querySelectorAll("main .scroll")) {
    box.addEventListener("scroll", () => mark(box), { passive: true });
    watch.observe(box);
  }
}

/** Sort by a column: numbers the largest first, words from A; again for the other way round. Undefined comes last. */
function sort(table, heading, column) {
  const body = table.tBodies[0];
  const numeric = heading.classList.contains("number");
  const now = heading.getAttribute("aria-sort");
  const way = now ? (now === "ascending" ? "descending" : "ascending") : numeric ? "descending" : "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", way);
  const key = (row) => row.cells[column].dataset.order;
  const rows = [...body.rows].sort((a, b) => compare(key(a), key(b), numeric, way === "ascending" ? 1 : -1));
  body.append(...rows);
}

function compare(a, b, numeric, sign) {
  if (a === "" || b === "") return (a === "") - (b === "");
  return sign * (numeric ? Number(a) - Number(b) : a.localeCompare(b));
}
