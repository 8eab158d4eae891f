// The search and the moment in the page's address, so that a link reopens them.

import { about } from "./api.js";
import * as notices from "./notices.js";

export const MOST = 100; // videos in an answer of the server

const FILTER = /^[^=<>]+[=<>]/; // column=value, column=1..9, column>=1

/**
 * Read the search and the moment that was played from the address. People cut and edit addresses,
 * so a value that no search could have written counts as missing.
 */
export function read() {
  const words = new URLSearchParams(location.search);
  const [k, threshold] = ["k", "threshold"].map((name) => (words.get(name) || "").trim());
  return {
    q: words.get("q") || "",
    like: words.get("q") ? "" : words.get("like") || "",
    image: words.get("q") || words.get("like") ? "" : words.get("image") || "",
    then: words.get("then") || "",
    without: words.get("then") ? "" : words.get("without") || "",
    k: /^\d{1,3}$/.test(k) && k >= 1 && k <= MOST ? String(Number(k)) : "10",
    threshold: Number.isFinite(parseFloat(threshold)) && isFinite(threshold) ? threshold : "",
    view: words.get("view") === "videos" ? "videos" : "moments",
    folder: words.get("folder") || "",
    where: [...new Set(words.getAll("where"))].filter((word) => FILTER.test(word)),
    moment: readMoment(words),
  };
}

/** Whether a search is for anything: a sentence, a moment or a picture. */
export const isSearch = (request) => Boolean(request?.q || request?.like || request?.image);

function readMoment(words) {
  const key = words.get("v");
  const [start, end] = ["s", "e"].map((name) => parseFloat(words.get(name)));
  if (!key || !(start >= 0)) return null;
  if (!words.has("e")) return { key, start, whole: true };
  return end > start ? { key, start, end } : null;
}

/** Write the parameters of a search, for the server. */
export function parameters({ q, like, image, then, without, k, threshold, where }) {
  const words = new URLSearchParams();
  const parts = { q, like, image, then, without, threshold };
  for (const [name, value] of Object.entries(parts)) if (value) words.set(name, value);
  if (k && k !== "10") words.set("k", k);
  for (const filter of where) words.append("where", filter);
  return words;
}

/** Write a search and its view, for the address. */
function written(search) {
  const words = isSearch(search) ? parameters(search) : new URLSearchParams();
  if (!search.q && search.folder) words.set("folder", search.folder);
  if (search.view === "videos") words.set("view", search.view);
  return words;
}

/** Put a search into the address, as a step that the back button undoes. */
export function push(search) {
  const words = written(search).toString();
  if (words !== location.search.slice(1)) history.pushState(null, "", words ? `/?${words}` : "/");
}

/** Put a moment into the address, within the step of its search. */
export function note(search, moment) {
  const words = written(search);
  if (moment) {
    words.set("v", moment.key);
    words.set("s", moment.start.toFixed(2));
    if (!moment.whole) words.set("e", moment.end.toFixed(2)); // a seek has no end
  }
  const text = words.toString();
  history.replaceState(null, "", text ? `/?${text}` : "/");
}

/**
 * Show the moment of a link without playing it, as nobody has asked for sound yet:
 * `{ key, start, end }`, or a video from a second on, `{ key, start, whole: true }`. It may be in
 * one of the `hits` or not; `signal` says that another search has begun.
 */
export async function reopen(player, hits, { key, start, end, whole }, signal) {
  const hit = hits.find((one) => one.video.key === key);
  try {
    const video = hit?.video.there ? hit.video : await about(key);
    if (signal.aborted) return;
    const found = whole ? null : hit?.moments.find((one) =>
      same(one.start, start) && same(one.end, end));
    const last = whole ? Math.max(video.duration, start + 1) : end;
    const moment = found || { start, end: last, score: NaN, whole };
    player.open(hit || { video, curve: null, moments: [moment] }, moment, { paused: true });
  } catch (error) {
    if (signal.aborted) return;
    notices.remark(`The moment of this link cannot be shown: ${error.message}.`);
  }
}

// the address holds hundredths of a second
const same = (one, other) => Math.abs(one - other) < 0.01;
