// The options of a search: what must follow or not be seen, filters, least score, number of videos.

import { byId, el, show } from "./dom.js";
import * as ranges from "./ranges.js";
import { recall, remember } from "./store.js";

const [k, threshold, choice, add, label, chips, then, without, options, more] =
  ["k", "threshold", "filter", "filter-add", "filter-label", "chips", "then", "without", "options",
    "more-options"].map(byId);
const SIGNS = { "=": ":", ">=": " from", "<=": " to", ">": " above", "<": " below" };
let where = [];
let isByKeys = false; // arrows walk through the choices: none is meant before Enter
let changed = () => {};

/** Call `action` when the reader changes something. */
export function onChange(action) {
  changed = action;
  for (const control of [k, threshold]) control.addEventListener("change", () => changed());
  for (const field of [then, without]) field.addEventListener("input", exclude);
  more.addEventListener("click", () => {
    unfold(options.hidden);
    remember("options", !options.hidden);
  });
  unfold(recall("options") === true);
  ranges.listen(narrow);
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

function unfold(isOpen) {
  options.hidden = !isOpen;
  more.setAttribute("aria-expanded", String(isOpen));
}

/** A search has either something that follows or something that is not seen. */
function exclude() {
  then.disabled = !then.value && Boolean(without.value);
  without.disabled = Boolean(then.value);
}

/** Filter by the chosen value. */
function take() {
  const filter = choice.value;
  choice.value = "";
  if (document.activeElement === add) choice.focus(); // before it is hidden
  add.hidden = true;
  narrow(filter);
}

function narrow(filter) {
  if (filter && !where.includes(filter)) where = [...where, filter];
  showChips();
  changed();
}

/** Offer the columns of the library, and those that have ranges; a list without any is hidden. */
export function offer({ columns, ranges: known }) {
  ranges.offer(known);
  label.hidden = !columns.length;
  show(choice, el("option", { value: "" }, "add…"), ...columns.map((column) =>
    el("optgroup", { label: column.name }, column.values.map((value) =>
      el("option", { value: `${column.name}=${value}` }, value)))));
}

export function values() {
  return {
    k: k.value, threshold: threshold.validity.valid ? threshold.value : "", where,
    then: then.value.trim(), without: then.value.trim() ? "" : without.value.trim(),
  };
}

/** Set the options to those of an address, and unfold them if any is used. */
export function set(search) {
  const offered = [...k.options].map((option) => option.value);
  if (!offered.includes(search.k)) k.append(el("option", {}, search.k));
  k.value = search.k;
  threshold.value = search.threshold;
  [then.value, without.value, where] = [search.then, search.without, search.where];
  exclude();
  showChips();
  if (isUsed() || search.k !== "10") unfold(true);
}

const isUsed = () => Boolean(threshold.value || then.value || without.value);

/** Whether anything besides the sentence narrows the search. */
export const narrows = () => isUsed() || where.length > 0;

/** Remove what narrows the search. */
export function clear() {
  for (const field of [threshold, then, without]) field.value = "";
  where = [];
  exclude();
  showChips();
}

function showChips() {
  show(chips, ...where.map((filter) => {
    const [, column, sign, value] = filter.match(/^([^=<>]+)([<>]?=?)\s*(.*)$/s);
    return el("li", {}, el("button", {
      type: "button", class: "chip",
      click: () => {
        where = where.filter((other) => other !== filter);
        showChips();
        byId("query").focus();
        changed();
      },
    }, el("span", {}, `${column}${SIGNS[sign]} `), el("bdi", {}, value.replace("..", " to ")),
    el("span", { class: "unseen" }, ": remove this filter")));
  }));
}
