// The grid of moments: every moment of every video that was found, best first.

import { kept, toggle } from "./basket.js";
import { el } from "./dom.js";
import { copies as copiesOf, span, spoken } from "./format.js";
import { described, fit, matchOf, said, still, titleOf, titled } from "./parts.js";

/**
 * The moments of hits, best first, each as a hit with its `moments`, their `score` and `match`, 0
 * to 1. Moments that follow each other, `then`, stay together.
 */
export function bestFirst(hits, then) {
  if (then) {
    return hits.map((hit) =>
      ({ hit, moments: hit.moments, score: hit.score, match: hit.relevance / 100 }));
  }
  return hits.flatMap((hit) => hit.moments.map((moment) =>
    ({ hit, moments: [moment], score: moment.score, match: matchOf(moment, hit.scale) })))
    .sort((one, other) => other.match - one.match || other.score - one.score);
}

/**
 * Moments of a video as an item of the grid. `actions.play(hit, moment)` plays one. The item has
 * the properties `hit`, `moments` and `buttons`, one for each moment.
 */
export function momentItem({ hit, moments, score, match }, place, actions) {
  const { video } = hit;
  const id = `moment-${place}`;
  const buttons = moments.map((moment) => still(video, moment.peak, {
    badge: span(moment), click: () => actions.play(hit, moment),
    label: `Play ${span(moment)} of ${titleOf(video)}, `
      + `${spoken(moment.start)} to ${spoken(moment.end)}`,
  }));
  const keeps = moments.map((moment) => keepButton(video, moment));
  const isPair = moments.length > 1;
  const item = el("li", { class: "hit tile", tabindex: -1, "aria-labelledby": id },
    isPair ? el("div", { class: "pair" }, buttons.map((button, i) =>
      el("div", {}, button, keeps[i]))) : buttons,
    el("div", { class: "facts" },
      titled("h2", video, { id }),
      moments.map(said),
      described({ ...video, duration: null }, 2),
      hit.copies?.length > 0 && el("p", { class: "quiet" }, copiesOf(hit.copies.length)),
      !video.there && el("p", { class: "missing" }, "The video file is missing."),
      el("div", { class: "tile-line" }, fit(score, match), !isPair && keeps)));
  return Object.assign(item, { hit, moments, buttons });
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
