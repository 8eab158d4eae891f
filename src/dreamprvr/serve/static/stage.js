// The video on the player's stage: finds the file or its preview, shows it, and loads it again when
// it breaks off.

import { Gone, about, preview, previewUrl, startPreview, videoUrl } from "./api.js";
import { el, show } from "./dom.js";

const TRIES = 3; // attempts to go on from the same place

export class Stage {
  /**
   * `place` shows the video that `about` describes; `begin()` is called when it can first be
   * played, `listeners` are the video element's own.
   */
  constructor(place, about, { begin, ...listeners }) {
    Object.assign(this, { place, about, begin, listeners, video: null, loading: null });
    Object.assign(this, { isForced: false, broken: null, tries: 0 });
  }

  /** Find the file, and show it; `before(display, signal)` may wait, or throw what is shown. */
  async load(before = () => null) {
    this.loading?.abort();
    this.loading = new AbortController();
    const { signal } = this.loading;
    const display = (node) => signal.aborted || show(this.place, node);
    try {
      await before(display, signal);
      const source = await playableSource(this.about.key, display, signal, this.isForced);
      if (!signal.aborted) this.attach(source);
    } catch (error) {
      if (!signal.aborted) display(el("p", { class: "cannot", role: "alert" }, error.message));
    }
  }

  attach(source) {
    const video = el("video", {
      controls: true, playsinline: true, preload: "auto", src: source,
      "aria-label": this.about.title, ...this.listeners,
      loadedmetadata: () => this.loaded(), error: () => this.video === video && this.rescue(),
    });
    Object.assign(this, { video, hasBegun: false });
    show(this.place, video);
    if (this.broken?.held) video.focus();
  }

  /** Go on from where it broke off, else begin where the player says. */
  loaded() {
    this.hasBegun = true;
    if (this.broken?.at == null) {
      this.begin();
      return;
    }
    this.video.currentTime = this.broken.at;
    if (this.broken.plays) this.video.play().catch(() => null); // the button is there
  }

  /** Load it again: the server was away, or the browser cannot play the file itself. */
  rescue() {
    const { video, broken, isForced } = this;
    const { code } = video.error;
    const now = { at: video.currentTime, plays: !video.paused, held: video.matches(":focus") };
    this.broken = this.hasBegun ? now : { at: null, ...broken, held: now.held };
    this.tries = this.broken.at === broken?.at ? this.tries + 1 : 0;
    this.video = null;
    this.load(async (display, signal) => {
      const isBack = await wasAway(this.about.key, display, signal);
      const cannot = !isBack && code !== MediaError.MEDIA_ERR_NETWORK;
      if (isBack) this.tries = 0;
      if (cannot) this.isForced = true;
      if ((cannot && isForced) || this.tries > TRIES) {
        throw new Error("The browser cannot play this file.");
      }
    });
  }

  close() {
    const { video } = this;
    this.loading?.abort();
    this.video = null;
    video?.pause();
    video?.removeAttribute("src"); // lets go of the connection
    video?.load();
  }
}

const PAUSE = 500; // milliseconds between two requests
const AWAY = 1500; // the same, while the server does not answer

/**
 * Find the address of a file that the browser plays. While a preview is made, or the server is
 * away, `display` gets a node that says so; `signal` ends the wait. `forced`: the browser could
 * not play the file itself, although the server expects it.
 */
async function playableSource(key, display, signal, forced) {
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

/** Wait until the server answers for a video; return whether it was away. */
async function wasAway(key, display, signal) {
  let times = 0;
  await patiently(() => about(key), (node) => { times += 1; display(node); }, signal);
  return times > 0;
}

/** Return the answer to a request, which is repeated while the server is away. */
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

/** The notice that a preview is being made, with a bar. */
function waiting(forced) {
  const bar = el("progress", { max: 1, value: 0, "aria-label": "Preview" });
  const share = el("span");
  const why = forced ? "This browser cannot play the file itself."
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
