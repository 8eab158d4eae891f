// Finds the file to play: the video itself, or the preview that is made for browsers.

import { Gone, about, preview, previewUrl, startPreview, videoUrl } from "./api.js";
import { el } from "./dom.js";

const PAUSE = 500; // milliseconds between questions
const AWAY = 1500; // the same, to a server that does not answer

/**
 * The address of something that the browser plays. While a preview is made, or the server is away,
 * `display` is given a node that says so; `signal` ends the wait. `forced`: the browser has not
 * played the file itself, whatever the server thinks of it.
 */
export async function playableSource(key, display, signal, forced) {
  const ask = (question) => patiently(question, display, signal);
  let state = forced ? await ask(() => startPreview(key, forced))
    : (await ask(() => about(key))).preview;
  if (state.state === "needless") return videoUrl(key, "/media");
  if (state.state === "absent" || state.state === "failed") {
    state = await ask(() => startPreview(key, forced));
  }
  const wait = waiting(forced);
  while (state.state === "working" || state.state === "absent") {
    if (!wait.node.isConnected) display(wait.node);
    wait.show(state.done);
    await pause(PAUSE, signal);
    const isLost = state.state === "absent";
    state = await ask(() => (isLost ? startPreview(key, forced) : preview(key, forced)));
  }
  if (state.state === "failed") throw new Error(`No preview could be made: ${state.message}`);
  return previewUrl(key, ".mp4", forced);
}

/** Wait until the server answers for a video; whether it was away. */
export async function wasAway(key, display, signal) {
  let times = 0;
  await patiently(() => about(key), (node) => { times += 1; display(node); }, signal);
  return times > 0;
}

/** The answer to a question; while the server is away it is asked again. */
async function patiently(question, display, signal) {
  for (;;) {
    try {
      const answer = await question();
      signal.throwIfAborted();
      return answer;
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof Gone)) throw error;
    }
    display(el("p", { role: "status" },
      "The server does not answer. The video goes on once it is back."));
    await pause(AWAY, signal);
  }
}

/** How far a preview is. */
function waiting(forced) {
  const bar = el("progress", { max: 1, value: 0, "aria-label": "Preview" });
  const share = el("span");
  const why = forced ? "This browser does not play the file after all."
    : "Browsers cannot play this file as it is.";
  return {
    node: el("div", { class: "converting" },
      el("p", { role: "status" }, `${why} A preview is being made, once.`),
      el("p", { class: "converting-bar" }, bar, share)),
    show(done) {
      bar.value = done;
      share.textContent = `${Math.floor(done * 100)} %`;
    },
  };
}

async function pause(time, signal) {
  await new Promise((done) => setTimeout(done, time));
  signal.throwIfAborted();
}
