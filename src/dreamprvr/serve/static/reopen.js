// The moment of a link: shown, not played, as nobody has asked for sound yet.

import { about } from "./api.js";
import * as notices from "./notices.js";

/**
 * Show a moment, `{ key, start, end }`, or a video from a second on, `{ key, start, whole: true }`.
 * It may be in one of the results or not; `signal` says that another search has begun.
 */
export async function reopen(player, items, { key, start, end, whole }, signal) {
  const hit = [...items].find((item) => item.hit.video.key === key)?.hit;
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
