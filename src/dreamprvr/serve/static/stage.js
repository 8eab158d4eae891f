// The video on the player's stage: found, shown, and brought back when it breaks off.

import { el, show } from "./dom.js";
import { playableSource, wasAway } from "./source.js";

const TRIES = 3; // to go on from one place

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

  /** On from where it broke off, else from where the player wants to begin. */
  loaded() {
    this.hasBegun = true;
    if (this.broken?.at == null) {
      this.begin();
      return;
    }
    this.video.currentTime = this.broken.at;
    if (this.broken.plays) this.video.play().catch(() => null); // the button is there
  }

  /** It has broken off: the server may be away, or the browser cannot play the file after all. */
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
