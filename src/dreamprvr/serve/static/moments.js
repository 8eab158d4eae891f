// The grid of moments: every moment of every video that was found, best first.

import { kept, toggle } from "./basket.js";
import { el } from "./dom.js";
import { copies as copiesOf, span, spoken } from "./format.js";
import { described, fit, matchOf, said, still, titleOf, titled } from "./parts.js";

/** The moments of all hits, best first: pairs of a hit and one of its moments. */
export function bestFirst(hits) {
  const pairs = hits.flatMap((hit) => hit.moments.map((moment) => ({ hit, moment })));
  const match = ({ hit, moment }) => matchOf(moment, hit.scale);
  return pairs.sort((one, other) =>
    match(other) - match(one) || other.moment.score - one.moment.score);
}

/**
 * A moment as an item of the grid. `actions.play(hit, moment)` plays it. The item has the
 * properties `hit`, `moments` (this one) and `buttons` (the one that plays it).
 */
export function momentItem({ hit, moment }, place, actions) {
  const { video } = hit;
  const id = `moment-${place}`;
  const button = still(video, moment.peak, {
    badge: span(moment), click: () => actions.play(hit, moment),
    label: `Play ${span(moment)} of ${titleOf(video)}, `
      + `${spoken(moment.start)} to ${spoken(moment.end)}`,
  });
  const item = el("li", { class: "hit tile", tabindex: -1, "aria-labelledby": id },
    button,
    el("div", { class: "facts" },
      titled("h2", video, { id }),
      el("div", { class: "tile-line" }, fit(moment.score, matchOf(moment, hit.scale)),
        keepButton(video, moment)),
      said(moment),
      described({ ...video, duration: null }, 2),
      hit.copies?.length > 0 && el("p", { class: "quiet" }, copiesOf(hit.copies.length)),
      !video.there && el("p", { class: "missing" }, "The video file is missing.")));
  return Object.assign(item, { hit, moments: [moment], buttons: [button] });
}

/** The button that puts a moment into the basket, or takes it out. */
export function keepButton(video, moment) {
  const button = el("button", {
    type: "button", class: "keep", "aria-pressed": String(kept(video.key, moment)),
    title: "Keep in the basket, b", click: () => toggle(video, button.moment),
  }, el("span", { class: "keep-sign", "aria-hidden": "true" }), "Keep",
  el("span", { class: "unseen" }, ` ${span(moment)} of ${titleOf(video)}`));
  return Object.assign(button, { key: video.key, moment });
}

/** Show on every such button whether its moment is in the basket. */
export function markKept() {
  for (const button of document.querySelectorAll(".keep")) {
    button.setAttribute("aria-pressed", String(kept(button.key, button.moment)));
  }
}
