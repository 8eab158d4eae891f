// Finds the file to play: the video itself, or the preview that is made for browsers.

import { about, preview, startPreview, videoUrl } from "./api.js";
import { el } from "./dom.js";

const PAUSE = 500; // milliseconds between questions

/**
 * The address of something that the browser plays. While a preview is being made, `display` is
 * given a node that shows how far it is.
 */
export async function playableSource(key, display, signal) {
  let state = (await about(key)).preview;
  if (state.state === "needless") return videoUrl(key, "/media");
  if (state.state !== "ready") {
    const bar = el("progress", { max: 1, value: 0, "aria-label": "Preview" });
    const share = el("span", {}, "0 %");
    display(el("div", { class: "converting" },
      el("p", {}, "Browsers cannot play this file as it is. A preview is being made, once."),
      el("p", { class: "converting-bar" }, bar, share)));
    state = await startPreview(key);
    while (state.state === "working" || state.state === "absent") {
      bar.value = state.done;
      share.textContent = `${Math.floor(state.done * 100)} %`;
      await new Promise((done) => setTimeout(done, PAUSE));
      if (signal.aborted) return null;
      state = await (state.state === "absent" ? startPreview(key) : preview(key));
    }
  }
  if (state.state === "failed") throw new Error(`No preview could be made: ${state.message}`);
  return videoUrl(key, "/preview.mp4");
}
