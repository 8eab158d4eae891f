// The list of videos that were found: its items, and its renewal while somebody reads it.

import { videoUrl } from "./api.js";
import { drawCurve } from "./curve.js";
import { el } from "./dom.js";
import { clock, score, span, spoken } from "./format.js";

const SHOWN = 6; // metadata values

/**
 * A result as a list item. `actions.play(hit, moment)` and `actions.seek(hit, second)` are what its
 * controls do, `actions.toPlayer()` moves the focus to the player. The item has the properties
 * `hit`, `buttons` (one for each moment) and `curve`.
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
  }, el("span", {}, span(moment)), el("small", {}, score(moment.score))));
  const item = el("li", { class: "hit", tabindex: -1, "aria-labelledby": titleId },
    still(hit, () => actions.play(hit, moments[0])),
    el("div", { class: "facts" },
      el("div", { class: "heading" },
        el("h2", { id: titleId }, video.title),
        el("span", { class: "score", title: "Score of the video" },
          el("span", { class: "unseen" }, "Score "), score(hit.score))),
      described(video),
      video.there ? null : el("p", { class: "missing" },
        "The video file is not where it was when its features were extracted. Put it back to play it."),
      el("div", { class: "moments", role: "group", "aria-label": "Moments, best first" }, buttons,
        el("button", { type: "button", class: "to-player", click: actions.toPlayer },
          "To the player")),
      curve && el("div", { class: "along" }, curve.node,
        el("div", { class: "ends", "aria-hidden": "true" }, el("span", {}, "00:00"),
          el("span", {}, clock(video.duration)))),
      why(hit)));
  return Object.assign(item, { hit, buttons, curve });
}

/** The picture of the best moment, a button that plays it. */
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

/** The part of a result that unfolds: a bar for each register, or why there are none. */
function why(hit) {
  return el("details", { class: "why" }, el("summary", {}, "Why"), reasons(hit));
}

function reasons({ registers, moments, score: total }) {
  if (!registers.length) {
    return el("p", {},
      "This library is searched without registers, the summaries of a whole video that a "
      + "DreamPRVR model makes. The score says how well the best parts of the video match the "
      + "sentence.");
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
      + "vectors in which the model summarises the whole video. A long bar to the right means "
      + "that the register fits the sentence."),
    el("ul", { class: "bars", "aria-label": "Registers and how well they fit" }, rows));
}

const CONTROLS = "button, summary, [role=slider]";

/** Call `change()`, which replaces the items of a list; scroll, focus and unfolded parts stay. */
export function inPlace(list, change) {
  const old = [...list.children];
  const unfolded = old.filter((item) => item.querySelector("details").open).map(keyOf);
  const held = document.activeElement.closest(".hit");
  const control = held && [...held.querySelectorAll(CONTROLS)].indexOf(document.activeElement);
  const read = old.find((item) => item.getBoundingClientRect().bottom > 0);
  const top = read?.getBoundingClientRect().top;
  change();
  const items = [...list.children];
  const now = (item) => item && items.find((other) => keyOf(other) === keyOf(item));
  for (const item of items) item.querySelector("details").open = unfolded.includes(keyOf(item));
  if (now(read)) scrollBy(0, now(read).getBoundingClientRect().top - top);
  if (!held) return;
  const place = now(held)?.querySelectorAll(CONTROLS)[control] || now(held) || items[0];
  place?.focus({ preventScroll: true });
}

const keyOf = (item) => item.hit.video.key;
