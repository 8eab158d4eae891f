// Plays a moment: from its first second to its last, then waits.

import { playerView, removeView, widen } from "./player_view.js";
import { Stage } from "./stage.js";

const EDGE = 0.02; // seconds; a frame that is asked for at the very end may be the next one
const OUTSIDE = 0.5; // seconds from the moment from which on its bounds are given up

export class Player {
  /**
   * `changed(key, moment, isOther)` is told what is played, and whether the video before was
   * another; `moved(key, second)` where, and `closed(key)` when nothing is any more.
   */
  constructor({ changed, moved, closed }) {
    Object.assign(this, { changed, moved, closed, hit: null, stage: null, bound: false });
  }

  get isOpen() {
    return this.hit !== null;
  }

  /** The video element, null while there is none. */
  get video() {
    return this.stage?.video ?? null;
  }

  /** Show a moment of a result, and play it unless `paused`. */
  open(hit, moment, { paused = false } = {}) {
    const same = this.hit?.video.key === hit.video.key && this.video;
    const wasOpen = this.isOpen;
    Object.assign(this, { hit, moment, bound: true, paused });
    if (!same) this.enter();
    this.changed(hit.video.key, moment, !same);
    this.view.describe(moment);
    if (same) this.begin();
    else this.stage.load();
    if (!wasOpen) this.watchFrames();
  }

  /** Make the stage ready for another video. */
  enter() {
    this.stage?.close();
    this.view = playerView(this.hit, {
      seek: (second) => this.seek(this.hit, second), replay: () => this.replay(),
      goOn: () => this.goOn(), close: () => this.close(), widen: () => this.widen(),
      look: (second) => this.show(second), adjust: (bounds) => this.adjust(bounds),
    });
    this.stage = new Stage(this.view.stage, this.hit.video, {
      from: () => this.moment.start, begin: () => this.begin(), timeupdate: () => this.watch(), seeking: () => this.look(),
      play: () => this.played(), ended: () => this.view.say("The video has ended."),
    });
  }

  /** To the first second of the moment. */
  begin() {
    if (!this.video || this.video.readyState < 1) return;
    this.bound = true;
    this.video.currentTime = this.moment.start;
    this.view.say(this.paused ? "Ready to play." : "");
    if (!this.paused) this.play();
    this.paused = false;
  }

  play() {
    // a browser may want a click first
    this.video?.play().catch(() => this.view.say("Press play to start."));
  }

  played() {
    if (!this.video) return;
    this.view.say(this.bound ? "" : "Playing beyond the moment.");
    // pressed at the end of the moment: once more, as the moment is what was asked for
    const atEnd = this.video.currentTime >= this.end() - 2 * EDGE;
    if (this.bound && atEnd) this.video.currentTime = this.moment.start;
  }

  replay() {
    if (this.isOpen) this.begin();
  }

  /** Past the end of the moment. */
  goOn() {
    if (!this.video) return;
    this.free();
    this.play();
  }

  toggle() {
    if (!this.video) return;
    if (this.video.paused) this.play();
    else this.video.pause();
  }

  /** Stand still at a second. */
  show(second) {
    if (!this.video) return;
    this.video.pause();
    this.video.currentTime = second;
  }

  /** The moment begins and ends elsewhere from now on; `origin` is how it was found. */
  adjust(bounds) {
    const origin = this.moment.origin || this.moment;
    this.moment = { ...origin, ...bounds, origin };
    this.bound = true;
    this.view.describe(this.moment);
    this.changed(this.hit.video.key, this.moment, false);
  }

  /** Take the whole width, or give it back. */
  widen() {
    if (this.isOpen) widen();
  }

  /** The library has been written: the same video as it is found now. */
  renew(hit) {
    this.hit = hit;
    this.view.draw(hit);
  }

  /** Lead the keyboard to the player. */
  focus() {
    if (this.isOpen) this.view.focus();
  }

  /** To any second, and on from there. */
  seek(hit, second) {
    if (this.hit?.video.key !== hit.video.key || !this.video) {
      const end = hit.video.duration || second + 1;
      this.open(hit, { start: second, end, score: NaN, whole: true });
      return;
    }
    this.video.currentTime = second;
    if (second < this.moment.start || second >= this.end()) this.free();
    this.play();
  }

  free() {
    this.bound = false;
    this.view.say("Playing beyond the moment.");
  }

  end() {
    const length = this.video?.duration;
    return Number.isFinite(length) ? Math.min(this.moment.end, length) : this.moment.end;
  }

  /** Whoever leaves the moment with the video's own controls wants to see more than it. */
  look() {
    const now = this.video?.currentTime;
    if (now < this.moment.start - OUTSIDE || now > this.end() + OUTSIDE) this.free();
  }

  watchFrames() {
    requestAnimationFrame(() => {
      if (!this.isOpen) return;
      this.watch();
      this.watchFrames();
    });
  }

  /** Stop at the end of the moment, and move the heads of the curves. */
  watch() {
    const { video } = this;
    if (!video?.readyState || !this.isOpen) return;
    const now = video.currentTime;
    if (this.bound && !video.paused && !video.seeking && now >= this.end() - EDGE) {
      video.pause();
      if (now > this.end()) video.currentTime = this.end() - EDGE;
      this.view.say(`The ${this.moment.whole ? "video" : "moment"} has ended.`);
    }
    if (now === this.shown) return;
    this.shown = now;
    this.view.curve?.moveTo(now);
    this.moved(this.hit.video.key, now);
  }

  close() {
    if (!this.isOpen) return;
    const { hit, stage } = this;
    Object.assign(this, { hit: null, stage: null });
    stage.close();
    removeView();
    this.closed(hit.video.key);
  }
}
