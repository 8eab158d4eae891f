// The elements of the player: title, stage, curve, strip, buttons.

import { videoUrl } from "./api.js";
import { copies, line } from "./basket.js";
import { drawCurve } from "./curve.js";
import { announce, byId, el, show } from "./dom.js";
import { clock, score, span as written, spoken } from "./format.js";
import { keepButton } from "./moments.js";
import { said, titleOf, titled } from "./parts.js";
import { saves } from "./save.js";
import { momentStrip } from "./strip.js";

const root = () => byId("player");
const isWide = matchMedia("(min-width: 1101px)");

new ResizeObserver(measure).observe(root());

/**
 * Build the player of a result. `actions` has `seek`, `look`, `adjust`, `replay`, `goOn`, `widen`
 * and `close`; the answer has the parts that change: `stage`, `curve` and the functions
 * `draw(hit)`, `describe(moment)`, `say(text)` and `focus()`.
 */
export function playerView(hit, actions) {
  const { video } = hit;
  const stage = el("div", { class: "stage" }, el("p", { class: "wait" }, "Loading…"));
  const span = el("p", { class: "span" });
  const state = el("p", { class: "state", role: "status" });
  const [files, others, strip] = ["files", "others", "strip-place"]
    .map((name) => el("div", { class: name }));
  const failed = el("p", { class: "failed", role: "alert" });
  const complain = (words) => { failed.textContent = words; };
  const file = (label, rest, kind = "button") => {
    const href = videoUrl(video.key, rest);
    return saves(el("a", { class: kind, download: true, href }, label), complain);
  };
  const curvePlace = el("div", { class: "curve-place" });
  const button = (label, key, click) =>
    el("button", { type: "button", "aria-keyshortcuts": key, click }, label);
  const replay = button("Replay moment", "r", actions.replay);
  const adjusting = el("details", { class: "adjust", open: isWide.matches },
    el("summary", {}, "Adjust start and end"), strip);
  const more = el("details", { class: "more-files" }, el("summary", { class: "button" }, "More"),
    others);
  show(root(), head(video, actions), stage, curvePlace,
    el("div", { class: "player-line" }, span, state), adjusting,
    el("div", { class: "player-buttons" },
      replay, button("Continue", "c", actions.goOn), files, more),
    failed);
  root().hidden = false;
  document.body.classList.add("playing");
  const view = {
    stage,
    /** Show the curve of the result. */
    draw({ curve, ...rest }) {
      const isHeld = curvePlace.contains(document.activeElement);
      view.curve = curve?.scores.length ? drawCurve({ curve, ...rest }, actions.seek) : null;
      show(curvePlace, view.curve?.node);
      if (isHeld) curvePlace.querySelector("[role=slider]")?.focus();
    },
    /** Write which moment is played, and link to its files. */
    describe(moment) {
      const { start, end } = moment;
      show(span,
        el("strong", {}, moment.whole ? `From ${clock(start)}`
          : written(moment, Boolean(moment.origin))),
        Number.isFinite(moment.score) && el("span", {}, `score ${score(moment.score)}`),
        said(moment));
      const words = new URLSearchParams({ start: start.toFixed(3), end: end.toFixed(3) });
      // new links: an older one may still be preparing the file of another moment
      show(files,
        !moment.whole && file("Save as mp4", `/clip.mp4?${words}`, "button primary"),
        !moment.whole && keepButton(video, moment),
        copies("Copy link", () => location.href, "Copy it from the address bar"));
      show(others, hit.rank && file("WebVTT", `/moments.vtt${location.search}`),
        !moment.whole && el("a", {
          class: "button", href: `/?${new URLSearchParams({ like: likeOf(video, moment) })}`,
        }, "Find similar"),
        copies("Copy title and times", () => line({ title: titleOf(video), start, end })));
      adjusting.hidden = Boolean(moment.whole);
      // while a handle is moved it stays where it is, with the focus
      if (!moment.origin) show(strip, !moment.whole && momentStrip(video, moment, actions));
      complain("");
      announce(`${titleOf(video)}, ${spoken(start)} to ${spoken(end)}`);
    },
    focus() {
      replay.focus();
    },
    say(text) {
      if (state.textContent !== text) state.textContent = text;
    },
  };
  view.draw(hit);
  return view;
}

/** A moment as the server takes it for an example. */
const likeOf = ({ key }, { start, end, peak }) =>
  `${key}@${Math.min(Math.max(peak ?? (start + end) / 2, start), end).toFixed(1)}`;

function head(video, actions) {
  const isTheatre = document.body.classList.contains("theatre");
  const wide = el("button", {
    type: "button", class: "widen", "aria-keyshortcuts": "t", "aria-pressed": String(isTheatre),
    click: actions.widen,
  }, "Wide");
  return el("div", { class: "player-top" }, titled("h2", video), wide, el("button", {
    type: "button", class: "close", "aria-label": "Close the player", click: actions.close,
  }, el("span", { "aria-hidden": "true" }, "×")));
}

/** Give the player the whole width, or its column again. */
export function widen() {
  const isTheatre = document.body.classList.toggle("theatre");
  root().querySelector(".widen").setAttribute("aria-pressed", String(isTheatre));
  root().scrollIntoView({ block: "nearest" });
}

/** Scroll a result into view; on narrow screens the player covers a part of the results. */
export function uncover(item) {
  if (getComputedStyle(root()).position !== "fixed") return;
  measure();
  const room = innerHeight - root().offsetHeight - 32;
  const part = item.offsetHeight <= room ? item : item.querySelector(".facts");
  part.scrollIntoView({ block: part.offsetHeight <= room ? "nearest" : "start" });
}

/** Tell the style sheet how high the player is. */
function measure() {
  document.documentElement.style.setProperty("--sheet", `${root().offsetHeight}px`);
}

export function removeView() {
  root().hidden = true;
  show(root());
  document.body.classList.remove("playing");
}
