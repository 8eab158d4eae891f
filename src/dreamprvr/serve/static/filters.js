// The options of a search: number of videos, least score, filters by the library's columns.

import { byId, el, show } from "./dom.js";

const [k, threshold, choice, add, label, chips] =
  ["k", "threshold", "filter", "filter-add", "filter-label", "chips"].map(byId);
let where = [];
let isByKeys = false; // arrows walk through the choices: none is meant before Enter
let changed = () => {};

/** Call `action` when the reader changes something. */
export function onChange(action) {
  changed = action;
  for (const control of [k, threshold]) control.addEventListener("change", () => changed());
  choice.addEventListener("pointerdown", () => { isByKeys = false; });
  choice.addEventListener("keydown", (event) => {
    isByKeys = true;
    if (event.key !== "Enter" || !choice.value) return;
    event.preventDefault(); // the form is not sent as well
    take();
  });
  choice.addEventListener("change", () => {
    if (isByKeys) add.hidden = !choice.value;
    else take();
  });
  add.addEventListener("click", take);
}

/** Filter by the chosen value. */
function take() {
  if (choice.value && !where.includes(choice.value)) where = [...where, choice.value];
  choice.value = "";
  if (document.activeElement === add) choice.focus(); // before it is hidden
  add.hidden = true;
  showChips();
  changed();
}

/** Offer the columns of the library; the list is hidden if it has none. */
export function offer(columns) {
  label.hidden = !columns.length;
  show(choice, el("option", { value: "" }, "add…"), ...columns.map((column) =>
    el("optgroup", { label: column.name }, column.values.map((value) =>
      el("option", { value: `${column.name}=${value}` }, value)))));
}

export function values() {
  return { k: k.value, threshold: threshold.validity.valid ? threshold.value : "", where };
}

/** Set the options to those of an address. */
export function set(search) {
  const offered = [...k.options].map((option) => option.value);
  if (!offered.includes(search.k)) k.append(el("option", {}, search.k));
  k.value = search.k;
  threshold.value = search.threshold;
  where = search.where;
  showChips();
}

/** Remove the filters and the least score. */
export function clear() {
  threshold.value = "";
  where = [];
  showChips();
}

function showChips() {
  show(chips, ...where.map((filter) => {
    const [, column, sign, value] = filter.match(/^([^=<>]+)([<>]?=?)(.*)$/s);
    return el("li", {}, el("button", {
      type: "button", class: "chip",
      click: () => {
        where = where.filter((other) => other !== filter);
        showChips();
        byId("query").focus();
        changed();
      },
    }, el("span", {}, sign === "=" ? `${column}: ` : `${column} ${sign} `), el("bdi", {}, value),
    el("span", { class: "unseen" }, ": remove this filter")));
  }));
}
