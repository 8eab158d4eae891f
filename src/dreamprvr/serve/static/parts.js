// Parts that several views show: titles, scores, pictures of a video.

import { videoUrl } from "./api.js";
import { el } from "./dom.js";
import { clock, score } from "./format.js";

/** A title as a heading: two lines at most, whole where the pointer or the keyboard is. */
export function titled(level, video, attributes = {}) {
  const text = titleOf(video);
  return el(level, { dir: "auto", ...attributes, class: "title", title: text }, text);
}

/**
 * The title of a video as people read it. An id writes bytes that are no text as `\xe9`; each run
 * of them becomes the sign for a character that cannot be shown.
 */
export function titleOf({ title, id }) {
  return title === id ? title.replace(/(\\x[0-9a-f]{2})+/g, "\ufffd") : title;
}

/** The lowest and the highest score of all curves of an answer, so that they can be compared. */
export function scaleOf({ low, high, hits }) {
  if (Number.isFinite(low) && Number.isFinite(high)) return { low, high };
  const scores = hits.flatMap(({ curve }) => [
    curve.scores.reduce((a, b) => Math.min(a, b), Infinity),
    curve.scores.reduce((a, b) => Math.max(a, b), -Infinity),
  ]).filter(Number.isFinite);
  return { low: Math.min(...scores, Infinity), high: Math.max(...scores, -Infinity) };
}

/** Where a score lies between the lowest and the highest, 0 to 1. */
export function shareOf(value, { low, high }) {
  return high > low ? Math.min(Math.max((value - low) / (high - low), 0), 1) : 0.4;
}

/**
 * How well a moment fits, 0 to 1: its score on the scale, or how much of the sentence is said
 * there, if that is more.
 */
export const matchOf = ({ score: value, share = 0 }, scale) =>
  Math.max(shareOf(value, scale), share ?? 0);

/**
 * A score as people read it: a bar and a whole number up to 100. `match` is its place on the scale
 * of all results, 0 to 1.
 */
export function fit(value, match) {
  const number = Math.round(100 * match);
  const bar = el("span", { class: "fit-bar", "aria-hidden": "true" }, el("i"));
  bar.style.setProperty("--share", String(match));
  return el("span", { class: "fit", title: `Match ${number} of 100, score ${score(value)}` }, bar,
    el("span", { class: "unseen" }, "Match "), el("span", {}, String(number)),
    el("span", { class: "unseen" }, " of 100"));
}

/** What is said in a moment that was found by its words. */
export const said = ({ words }) =>
  (words ? el("q", { class: "said", dir: "auto", title: words }, words) : null);

/** Address of the picture at a second, in tenths, so that the browser meets it again. */
export const stillUrl = (key, second) => videoUrl(key, `/thumbnail?t=${second.toFixed(1)}`);

const ROW = 135; // pixels of the height of a row of a sheet

const sheetUrl = (keys) =>
  `/api/stills.avif?${new URLSearchParams(keys.map((key) => ["key", key]))}`;

/**
 * The picture of a video at a second, as a button that plays it. `label` is what it does,
 * `badge` is written over its corner. With `sheet` the picture is row `sheet.row` of the file that
 * holds the pictures of the videos `sheet.keys`.
 */
export function still(video, second, { label, badge, click, sheet }) {
  const picture = video.there && el("img", {
    alt: "", loading: "lazy", decoding: "async", width: 240, height: 135,
    src: sheet ? sheetUrl(sheet.keys) : stillUrl(video.key, second),
    error: () => button.classList.add("blank"),
  });
  if (picture && sheet) {
    const rows = sheet.keys.length; // of each, the outermost lines are blurred with the next row's
    picture.style.height = `${(100 * rows * ROW) / (ROW - 2)}%`;
    picture.style.transform = `translateY(${(-100 * (sheet.row * ROW + 1)) / (rows * ROW)}%)`;
  }
  const button = el("button", {
    type: "button", class: video.there ? "still" : "still blank", disabled: !video.there,
    "aria-label": label, click,
  }, picture, badge && el("span", { class: "badge", "aria-hidden": "true" }, badge),
  el("span", { class: "play", "aria-hidden": "true" }));
  return button;
}

const SHOWN = 6; // metadata values

/** The length and the metadata of a video, as a line. */
export function described(video, shown = SHOWN) {
  const words = Object.entries(video.metadata)
    .filter(([name, value]) => name !== "title" && value != null && value !== "")
    .slice(0, shown)
    .map(([name, value]) =>
      el("span", { title: name, dir: "auto" }, [value].flat().join(", ")));
  if (video.duration) words.unshift(el("span", { title: "duration" }, clock(video.duration)));
  if (video.title !== video.id && shown === SHOWN) {
    words.push(el("span", { class: "id", title: "id", dir: "auto" }, video.id));
  }
  return el("p", { class: "metadata" }, words);
}

export const missing = () => el("p", { class: "missing" },
  "The video file is not where it was when its features were extracted. Put it back to play it.");
