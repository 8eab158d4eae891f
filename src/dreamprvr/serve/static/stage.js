// The video on the player's stage: shows its file, or pieces where the browser cannot play that, and
// loads it again when it breaks off.

import { Gone, about, videoUrl } from "./api.js";
import { el, show } from "./dom.js";
import { Pieces } from "./pieces.js";

const TRIES = 3; // attempts to go on from the same place
const CANNOT = "The browser cannot play this file.";

export class Stage {
  /**
   * `place` shows the video that `about` describes; `from()` gives the second at which it begins,
   * `begin()` is called when it can first be played, `listeners` are the video element's own.
   */
  constructor(place, about, { from, begin, ...listeners }) {
    Object.assign(this, { place, about, from, begin, listeners, video: null, loading: null });
    Object.assign(this, { pieces: null, isPieced: false, broken: null, tries: 0 });
  }

  /** Find out how it is played, and show it; `before(display, signal)` may wait, or throw. */
  async load(before = () => null) {
    this.loading?.abort();
    this.pieces?.close();
    this.loading = new AbortController();
    const { signal } = this.loading;
    const display = (node) => signal.aborted || show(this.place, node);
    try {
      await before(display, signal);
      const { playing } = await patiently(() => about(this.about.key), display, signal);
      this.attach(playing);
    } catch (error) {
      if (!signal.aborted) display(el("p", { class: "cannot", role: "alert" }, error.message));
    }
  }

  attach(playing) {
    const video = el("video", {
      controls: true, playsinline: true, preload: "auto", "aria-label": this.about.title,
      ...this.listeners, loadedmetadata: () => this.video === video && this.loaded(),
      error: () => this.video === video && this.rescue(video.error),
    });
    Object.assign(this, { video, hasBegun: false, pieces: null });
    // the browser knows best; what it plays wrongly in spite of its answer, `rescue` gets
    this.isPieced ||= !playing.file || !video.canPlayType(playing.file);
    if (!this.isPieced) video.src = videoUrl(this.about.key, "/media");
    else if (!Pieces.areKnown(playing)) throw new Error(CANNOT);
    else {
      const failed = (error) => this.video === video && this.rescue(error);
      const from = this.broken?.at ?? this.from();
      this.pieces = new Pieces(video, this.about.key, playing, from, failed);
    }
    show(this.place, video);
    if (this.broken?.held) video.focus();
  }

  /** Go on from where it broke off, else begin where the player says. */
  loaded() {
    if (!this.isPieced && !this.video.videoWidth) { // only its sound can be played
      this.isPieced = true;
      this.load();
      return;
    }
    this.hasBegun = true;
    if (this.broken?.at == null) {
      this.begin();
      return;
    }
    this.video.currentTime = this.broken.at;
    if (this.broken.plays) this.video.play().catch(() => null); // the button is there
  }

  /** Load it again: the server was away, or the browser cannot play the file itself. */
  rescue(error) {
    const { video, broken, isPieced } = this;
    const now = { at: video.currentTime, plays: !video.paused, held: video.matches(":focus") };
    this.broken = this.hasBegun ? now : { at: null, ...broken, held: now.held };
    this.tries = this.broken.at === broken?.at ? this.tries + 1 : 0;
    this.video = null;
    this.load(async (display, signal) => {
      const isBack = await wasAway(this.about.key, display, signal);
      const isLost = error instanceof Gone || error.code === MediaError.MEDIA_ERR_NETWORK;
      if (isBack) this.tries = 0;
      if (!isBack && !isLost) this.isPieced = true;
      if (!isBack && error.status) throw error; // the server says why
      if ((!isBack && !isLost && isPieced) || this.tries > TRIES) throw new Error(CANNOT);
    });
  }

  close() {
    const { video } = this;
    this.loading?.abort();
    this.pieces?.close();
    this.video = null;
    video?.pause();
    video?.removeAttribute("src"); // lets go of the connection
    video?.load();
  }
}

const AWAY = 1500; // milliseconds between two requests while the server does not answer

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

async function pause(time, signal) {
  await new Promise((done) => setTimeout(done, time));
  signal.throwIfAborted();
}
