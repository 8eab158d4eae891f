// One video that was found.

import { videoUrl } from "./api.js";
import { drawCurve } from "./curve.js";
import { el } from "./dom.js";
import { clock, score, spoken } from "./format.js";
import { why } from "./why.js";

const SHOWN = 6; // metadata values

/**
 * A result as a list item. `actions.play(hit, moment)` and `actions.seek(hit, second)` are what its
 * controls do, `actions.toPlayer()` leads the focus to the player. The item carries `hit`,
 * `buttons` (of its moments) and `curve`.
 */
export function resultItem(hit, actions) {
  const { video, moments } = hit;
  const titleId = `title-${hit.rank}`;
  const seek = video.there ? (second) => actions.seek(hit, second) : null;
  const curve = hit.curve.scores.length ? drawCurve(hit, seek) : null;
  const buttons = moments.map((moment, i) => el("button", {
    type: "button", class: i ? "moment" : "moment best", disabled: !video.there,
    "aria-label": `Play moment ${i + 1}, ${spoken(moment.start)} to ${spoken(moment.end)}, `
      + `score ${score(moment.score)}`,
    click: () => actions.play(hit, moment),
  }, el("span", {}, moment.label), el("small", {}, score(moment.score))));
  const item = el("li", { class: "hit", tabindex: -1, "aria-labelledby": titleId },
    still(hit, () => actions.play(hit, moments[0])),
    el("div", { class: "facts" },
      el("div", { class: "heading" },
        el("h2", { id: titleId }, video.title),
        el("span", { class: "score", title: "Score of the video" },
          el("span", { class: "unseen" }, "Score "), score(hit.score))),
      described(video),
      video.there ? null : el("p", { class: "missing" },
        "The video file is not where it was when it was extracted. Put it back to play it."),
      el("div", { class: "moments", role: "group", "aria-label": "Moments, best first" }, buttons,
        el("button", { type: "button", class: "to-player", click: actions.toPlayer },
          "To the player")),
      curve && el("div", { class: "along" }, curve.node,
        el("div", { class: "ends", "aria-hidden": "true" }, el("span", {}, "00:00"),
          el("span", {}, clock(video.duration)))),
      why(hit)));
  return Object.assign(item, { hit, buttons, curve });
}

/** The picture of the best moment; it plays it. */
function still({ rank, video, moments }, play) {
  const picture = el("img", {
    alt: "", loading: "lazy", decoding: "async", width: 240, height: 135,
    src: video.there ? videoUrl(video.key, `/thumbnail?t=${moments[0].peak.toFixed(1)}`) : null,
    error: () => frame.classList.add("blank"),
  });
  const frame = el("button", {
    type: "button", class: video.there ? "still" : "still blank", disabled: !video.there,
    "aria-label": `Play the best moment of ${video.title}`, click: play,
  }, video.there ? picture : null,
  el("span", { class: "rank", "aria-hidden": "true" }, String(rank)),
  el("span", { class: "play", "aria-hidden": "true" }));
  return frame;
}

function described(video) {
  const words = Object.entries(video.metadata)
    .filter(([name, value]) => name !== "title" && value != null && value !== "")
    .slice(0, SHOWN)
    .map(([name, value]) => el("span", { title: name }, [value].flat().join(", ")));
  if (video.duration) words.unshift(el("span", { title: "duration" }, clock(video.duration)));
  if (video.title !== video.id) words.push(el("span", { class: "id", title: "id" }, video.id));
  return el("p", { class: "metadata" }, words);
}
