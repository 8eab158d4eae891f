// Which registers of a video answer the query.

import { el } from "./dom.js";
import { score } from "./format.js";

/** A part of a result that opens: bars, or the reason why there are none. */
export function why(hit) {
  return el("details", { class: "why" }, el("summary", {}, "Why"), content(hit));
}

function content({ registers, moments, score: total }) {
  if (!registers.length) {
    return el("p", {},
      "This library searches without a trained model: the score is the best match between the "
      + "sentence and any one stretch of the video. Registers, the trained model's summary of a "
      + "whole video, would be shown here.");
  }
  const most = Math.max(...registers.map(Math.abs), 1e-6);
  const rows = registers.map((value, i) => {
    const bar = el("span", { class: value < 0 ? "bar against" : "bar", "aria-hidden": "true" });
    bar.style.setProperty("--share", String(Math.abs(value) / most));
    return el("li", {},
      el("span", { class: "register" }, `Register ${i + 1}`), el("span", { class: "track" }, bar),
      el("span", { class: "value" }, score(value)));
  });
  return el("div", {},
    el("p", {},
      `Score ${score(total)}; the best moment alone ${score(moments[0].score)}. Registers are `
      + "slots in which the model keeps what the video as a whole is about. A long bar to the "
      + "right: that slot fits the sentence."),
    el("ul", { class: "bars", "aria-label": "Registers and how well they fit" }, rows));
}
