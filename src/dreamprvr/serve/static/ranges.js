// Ranges of numbers and dates, as conditions such as year=2020..2022.

import { byId, el, show } from "./dom.js";

const [place, column, least, most, button] =
  ["range", "range-column", "range-least", "range-most", "range-add"].map(byId);
let ranges = [];

/** Call `add(condition)` for each range that the reader gives. */
export function listen(add) {
  const take = () => {
    const word = condition();
    if (!word) return;
    for (const field of [least, most]) field.value = "";
    add(word);
  };
  column.addEventListener("change", prepare);
  button.addEventListener("click", take);
  for (const field of [least, most]) {
    field.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault(); // the form is not sent as well
      take();
    });
  }
}

/** Offer the ranges that the server knows of; all is hidden if there are none. */
export function offer(known) {
  ranges = known;
  place.hidden = !ranges.length;
  const chosen = column.value;
  show(column, ...ranges.map(({ name, kind }) => el("option", { value: name },
    name === "length" && kind === "number" ? "length, in seconds" : name)));
  if (ranges.some(({ name }) => name === chosen)) column.value = chosen;
  prepare();
}

/** Let the fields take values of the chosen column, and say between which these lie. */
function prepare() {
  const range = ranges.find(({ name }) => name === column.value);
  if (!range) return;
  const ends = [range.least, range.most].map((end) => end.slice(0, 10));
  const isDay = ends.every((end) => end.length === 10); // and not 2024, or 2024-05
  const type = range.kind === "number" ? "number" : isDay ? "date" : "text";
  const [min, max] = type === "date" ? ends : ["", ""];
  [least, most].forEach((field, i) => {
    if (field.type !== type) field.value = "";
    Object.assign(field, { type, step: "any", min, max, placeholder: [range.least, range.most][i] });
  });
}

/** The condition in the fields; "" if there is none. */
function condition() {
  const ends = [least, most].map((field) => field.value.trim());
  if (!ends.some(Boolean)) {
    least.focus();
    return "";
  }
  if (!ends[1]) return `${column.value}>=${ends[0]}`;
  if (!ends[0]) return `${column.value}<=${ends[1]}`;
  const isTurned = least.type === "number" ? Number(ends[0]) > Number(ends[1]) : ends[0] > ends[1];
  return `${column.value}=${(isTurned ? ends.reverse() : ends).join("..")}`;
}
