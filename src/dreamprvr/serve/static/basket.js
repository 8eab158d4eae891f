// The basket of moments: kept in this browser only, handed over as a file.

import { byId, el, show } from "./dom.js";
import { exact, span } from "./format.js";
import { titleOf } from "./parts.js";
import { saves } from "./save.js";
import { recall, remember } from "./store.js";

const LONGEST = 15_000; // bytes of the address that hands them over; the server takes 16,384
const RATES = ["24", "25", "29.97", "30", "50", "59.94"];
const SHOWN = 2500; // milliseconds that a button says what it did

const isMoment = (one) => typeof one?.key === "string" && typeof one.title === "string"
  && one.start >= 0 && one.end > one.start;
const read = () => [recall("basket", [])].flat().filter(isMoment);
let moments = read();
let full = "";
let actions = {};

const near = (one, other) => Math.abs(one - other) < 0.01;
const same = (key, { start, end }) => (one) =>
  one.key === key && near(one.start, start) && near(one.end, end);

/** Whether a moment is in the basket. */
export const kept = (key, moment) => moments.some(same(key, moment));

/** Put a moment into the basket, or take it out. */
export function toggle(video, { start, end }) {
  const isSame = same(video.key, { start, end });
  const without = moments.filter((one) => !isSame(one));
  full = "";
  if (without.length < moments.length) moments = without;
  else {
    const more = [...moments, { key: video.key, title: titleOf(video), start, end }];
    if (address("csv", "25", more).length > LONGEST) {
      full = "The basket is full: save its moments, then empty it.";
      byId("basket").showModal();
    } else moments = more;
  }
  changed();
}

/**
 * Connect the button and the dialog; `open(moment)` shows a moment, `changed()` is told when others
 * are in the basket.
 */
export function listen(connected) {
  actions = connected;
  byId("basket-button").addEventListener("click", () => byId("basket").showModal());
  // another tab of the page
  addEventListener("storage", () => {
    moments = read();
    draw();
    actions.changed();
  });
  draw();
}

function changed() {
  remember("basket", moments);
  draw();
  actions.changed();
}

function address(ending, rate, list = moments) {
  const words = new URLSearchParams({ rate });
  for (const { key, start, end } of list) {
    words.append("moment", `${key}@${start.toFixed(3)}-${end.toFixed(3)}`);
  }
  return `/api/basket.${ending}?${words}`;
}

function draw() {
  byId("basket-count").textContent = String(moments.length);
  const dialog = byId("basket");
  const failed = el("p", { class: "failed", role: "alert" }, full);
  const rate = el("select", { id: "basket-rate" },
    RATES.map((one) => el("option", { selected: one === recall("rate", "25") }, one)));
  const file = (label, ending) =>
    saves(el("a", { class: "button", download: true, href: address(ending, rate.value) }, label),
      (line) => { failed.textContent = line; });
  const files = el("span", { class: "files" });
  const link = () => show(files, file("CSV", "csv"), file("EDL", "edl"), file("FCPXML", "fcpxml"));
  rate.addEventListener("change", () => {
    remember("rate", rate.value);
    link();
  });
  link();
  show(dialog, el("h2", { id: "basket-title", tabindex: -1, autofocus: true }, "Basket"),
    !moments.length && el("p", { class: "quiet" },
      "It is empty. “Keep” beside a moment puts it here; it stays in this browser."),
    el("ol", { class: "basket-list" }, moments.map((one) => row(one))),
    moments.length > 0 && el("div", { class: "basket-files" },
      el("label", {}, "Frames a second ", rate), files),
    failed,
    el("div", { class: "basket-files" },
      moments.length > 0 && copies("Copy as text", () => moments.map(line).join("\n")),
      moments.length > 0 && el("button", { type: "button", click: () => replace([]) },
        "Empty the basket"),
      el("form", { method: "dialog" }, el("button", {}, "Close"))));
}

/** Keep other moments, chosen in the dialog. */
function replace(others) {
  moments = others;
  full = "";
  changed();
  byId("basket-title").focus();
}

function row(one) {
  const name = `${span(one)} of ${one.title}`;
  return el("li", {},
    el("button", {
      type: "button", class: "basket-open", click: () => {
        byId("basket").close();
        actions.open(one);
      },
    }, el("span", { class: "title", dir: "auto" }, one.title), " ",
    el("span", { class: "time" }, span(one))),
    el("button", {
      type: "button", class: "close", "aria-label": `Take ${name} out of the basket`,
      click: () => replace(moments.filter((other) => other !== one)),
    }, el("span", { "aria-hidden": "true" }, "×")));
}

/** A moment as a line to paste: title, first and last second. */
export const line = ({ title, start, end }) => `${title}\t${exact(start)}\t${exact(end)}`;

/** A button that copies what `text()` returns, and says so. */
export function copies(label, text, failure = "Not allowed by the browser") {
  const button = el("button", {
    type: "button",
    async click() {
      try {
        await navigator.clipboard.writeText(text());
        button.textContent = "Copied";
      } catch { // not allowed, or not over a secure connection
        button.textContent = failure;
      }
      byId("live").textContent = button.textContent;
      setTimeout(() => { button.textContent = label; }, SHOWN);
    },
  }, label);
  return button;
}
