// The elements of the player: title, stage, curve, buttons.

import { videoUrl } from "./api.js";
import { drawCurve } from "./curve.js";
import { announce, byId, el, show } from "./dom.js";
import { clock, score, span as written, spoken } from "./format.js";
import { saves } from "./save.js";

const SHOWN = 2500; // milliseconds that a button says what it did
const root = () => byId("player");

new ResizeObserver(measure).observe(root());

/**
 * Build the player of a result. `actions` has `seek`, `replay`, `goOn` and `close`; the answer has
 * the parts that change: `stage`, `curve` and the functions `draw(hit)`, `describe(moment)`,
 * `say(text)` and `focus()`.
 */
export function playerView(hit, actions) {
  const stage = el("div", { class: "stage" }, el("p", { class: "wait" }, "Loading…"));
  const span = el("p", { class: "span" });
  const state = el("p", { class: "state", role: "status" });
  const files = el("span", { class: "files" });
  const failed = el("p", { class: "failed", role: "alert" });
  const complain = (line) => { failed.textContent = line; };
  const file = (label, rest) => {
    const href = videoUrl(hit.video.key, rest);
    return saves(el("a", { class: "button", download: true, href }, label), complain);
  };
  const along = el("div", { class: "along" });
  const button = (label, key, click) =>
    el("button", { type: "button", "aria-keyshortcuts": key, click }, label);
  const replay = button("Replay moment", "r", actions.replay);
  const close = el("button", {
    type: "button", class: "close", "aria-label": "Close the player", click: actions.close,
  }, "×");
  show(root(),
    el("div", { class: "player-top" }, el("h2", {}, hit.video.title), close),
    stage, along,
    el("div", { class: "player-line" }, span, state),
    el("div", { class: "player-buttons" },
      replay, button("Continue", "c", actions.goOn),
      files, copyButton()),
    failed);
  root().hidden = false;
  document.body.classList.add("playing");
  const view = {
    stage,
    /** Show the curve of the result. */
    draw({ curve, ...rest }) {
      const isHeld = along.contains(document.activeElement);
      view.curve = curve?.scores.length ? drawCurve({ curve, ...rest }, actions.seek) : null;
      show(along, view.curve?.node);
      if (isHeld) view.curve?.node.focus();
    },
    /** Write which moment is played, and link to its files. */
    describe(moment) {
      const { start, end } = moment;
      show(span,
        el("strong", {}, moment.whole ? `From ${clock(start)}` : written(moment)),
        Number.isFinite(moment.score) && el("span", {}, `score ${score(moment.score)}`));
      const words = new URLSearchParams({ start: start.toFixed(3), end: end.toFixed(3) });
      // new links: an older one may still be preparing the file of another moment
      show(files, !moment.whole && file("Save as mp4", `/clip.mp4?${words}`),
        hit.rank && file("WebVTT", `/moments.vtt${location.search}`));
      complain("");
      announce(`${hit.video.title}, ${spoken(start)} to ${spoken(end)}`);
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

function copyButton() {
  const button = el("button", {
    type: "button",
    async click() {
      try {
        await navigator.clipboard.writeText(location.href);
        button.textContent = "Copied";
      } catch { // not allowed, or not over a secure connection
        button.textContent = "Copy it from the address bar";
      }
      announce(button.textContent);
      setTimeout(() => { button.textContent = "Copy link"; }, SHOWN);
    },
  }, "Copy link");
  return button;
}
