// The list of videos that were found: its items, and its renewal while somebody reads it.

import { drawCurve } from "./curve.js";
import { el } from "./dom.js";
import { copies as copiedTimes, score, span, spoken } from "./format.js";
import { described, fit, missing, said, shareOf, still, titleOf, titled } from "./parts.js";

const SHOWN = 3; // moments of a video that a search gives

/**
 * A result as a list item. `actions.play(hit, moment)` and `actions.seek(hit, second)` are what its
 * controls do, `actions.all(hit)` asks for all of its moments, and `actions.toPlayer()` moves the
 * focus to the player. The item has the properties `hit`, `moments`, `buttons` (one for each
 * moment) and `curve`.
 */
export function resultItem(hit, actions) {
  const { video, moments, scale } = hit;
  const titleId = `title-${hit.rank}`;
  const seek = video.there ? (second) => actions.seek(hit, second) : null;
  const curve = hit.curve.scores.length ? drawCurve(hit, seek) : null;
  const buttons = moments.map((moment, i) => el("button", {
    type: "button", class: i ? "moment" : "moment best", disabled: !video.there,
    "aria-label": `${span(moment)} ${score(moment.score)}: play moment ${i + 1}, `
      + `${spoken(moment.start)} to ${spoken(moment.end)}`,
    click: () => actions.play(hit, moment),
  }, el("span", {}, span(moment)), " ", el("small", {}, score(moment.score))));
  const item = el("li", { class: "hit", tabindex: -1, "aria-labelledby": titleId },
    still(video, moments[0].peak, {
      badge: String(hit.rank), label: `${hit.rank}: play the best moment of ${titleOf(video)}`,
      click: () => actions.play(hit, moments[0]),
    }),
    el("div", { class: "facts" },
      el("div", { class: "heading" }, titled("h2", video, { id: titleId }),
        fit(hit.score, hit.relevance >= 0 ? hit.relevance / 100 : shareOf(hit.score, scale))),
      described(video),
      !video.there && missing(),
      el("div", { class: "moments", role: "group", "aria-label": "Moments" }, buttons,
        !hit.hasAll && moments.length >= SHOWN && el("button", {
          type: "button", class: "all-moments", click: () => actions.all(hit),
        }, "All moments", el("span", { class: "unseen" }, ` of ${titleOf(video)}`)),
        el("button", { type: "button", class: "to-player", click: actions.toPlayer },
          "To the player")),
      said(moments[0]),
      curve?.node,
      copiesOf(hit, actions)));
  return Object.assign(item, { hit, moments, buttons, curve });
}

/** The copies of a result, which unfold. */
function copiesOf({ copies = [] }, actions) {
  if (!copies.length) return null;
  return el("details", { class: "copies" }, el("summary", {}, copiedTimes(copies.length)),
    el("ul", {}, copies.map((hit) => el("li", {}, el("button", {
      type: "button", disabled: !hit.video.there, dir: "auto",
      click: () => actions.play(hit, hit.moments[0]),
    }, titleOf(hit.video))))));
}

/**
 * Put hits of the same pictures together: the first gets the others as `copies`. Two files with
 * the same length and the same score at every second are taken for copies.
 */
export function grouped(hits) {
  const groups = new Map();
  for (const hit of hits) {
    const { duration, key } = hit.video;
    const { scores } = hit.curve;
    const sign = scores.length > 1 ? JSON.stringify([duration, scores]) : key;
    if (groups.has(sign)) groups.get(sign).copies.push(hit);
    else groups.set(sign, { ...hit, copies: [] });
  }
  return [...groups.values()];
}

const CONTROLS = "button, summary, [role=slider]";

/** Call `change()`, which replaces the items of a list; scroll, focus and unfolded parts stay. */
export function inPlace(list, change) {
  const old = [...list.children];
  const unfolded = old.filter((item) => item.querySelector("details[open]")).map(nameOf);
  const held = document.activeElement.closest(".hit");
  const control = held && [...held.querySelectorAll(CONTROLS)].indexOf(document.activeElement);
  const read = old.find((item) => item.getBoundingClientRect().bottom > 0);
  const top = read?.getBoundingClientRect().top;
  change();
  const items = [...list.children];
  const now = (item) => item && items.find((other) => nameOf(other) === nameOf(item));
  for (const item of items) {
    const details = item.querySelector("details");
    if (details) details.open = unfolded.includes(nameOf(item));
  }
  if (now(read)) scrollBy(0, now(read).getBoundingClientRect().top - top);
  if (!held) return;
  const place = now(held)?.querySelectorAll(CONTROLS)[control] || now(held) || items[0];
  place?.focus({ preventScroll: true });
}

/** What an item shows, whether or not it is drawn anew. */
const nameOf = ({ hit, moments, curve }) =>
  (curve === undefined ? `${hit.video.key} ${moments[0].start}` : hit.video.key);
