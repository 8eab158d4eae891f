// Plays a video whose file the browser cannot play: appends pieces around the player's place, which
// the server makes on demand (Media Source Extensions).

import { piece } from "./api.js";

const AHEAD = 20; // seconds that are loaded before they are shown
const BEHIND = 40; // seconds that are kept after they were shown
const INTO = 0.2; // seconds
const Source = window.ManagedMediaSource || window.MediaSource; // Safari on telephones, others

export class Pieces {
  /** Whether the browser can play pieces at all. */
  static areKnown({ pieces }) {
    return Boolean(Source?.isTypeSupported(pieces));
  }

  /**
   * Play in `video` what `playing` describes, at first from the second `from`. `failed(error)` is
   * told why the piece that is to be shown cannot be had.
   */
  constructor(video, key, playing, from, failed) {
    Object.assign(this, { video, key, playing, from, failed, loading: null, broken: Infinity });
    this.source = new Source();
    this.listening = new AbortController();
    const { signal } = this.listening;
    this.source.addEventListener("sourceopen", () => this.open(), { once: true, signal });
    video.addEventListener("timeupdate", () => this.fill(), { signal });
    video.addEventListener("seeking", () => this.turn(), { signal });
    video.disableRemotePlayback = true; // else Safari does not open the source
    video.src = URL.createObjectURL(this.source);
  }

  open() {
    URL.revokeObjectURL(this.video.src);
    this.source.duration = this.playing.seconds;
    this.buffer = this.source.addSourceBuffer(this.playing.pieces);
    this.fill();
  }

  /** Load the next piece that is missing, and those after it. */
  async fill() {
    const number = this.missing();
    if (!this.buffer || this.loading || number === null) return;
    const loading = new AbortController();
    Object.assign(this, { loading, number });
    try {
      const content = await piece(this.key, number, loading.signal);
      loading.signal.throwIfAborted();
      await this.append(content);
      if (!this.has(number)) throw new Error("a piece is damaged");
    } catch (error) {
      // what fails ahead of the player is asked for again when it is there
      if (!loading.signal.aborted && number === this.first()) this.failed(error);
      else if (!loading.signal.aborted) this.broken = number;
    }
    if (this.loading !== loading) return;
    this.loading = null;
    this.fill();
  }

  /** The player has gone elsewhere: what is loaded now is perhaps no longer wanted. */
  turn() {
    Object.assign(this, { broken: Infinity, from: null });
    if (this.loading && !this.buffer.updating && this.missing() !== this.number) {
      this.loading.abort();
      this.loading = null;
    }
    this.fill();
  }

  /** The number of the piece at the player's place. */
  first() {
    const at = this.from ?? this.video.currentTime; // at 0 until the player has sought its moment
    return Math.min(Math.floor(at / this.playing.piece), this.playing.count - 1);
  }

  missing() {
    const first = this.first();
    const last = Math.min(first + AHEAD / this.playing.piece, this.playing.count - 1);
    for (let number = first; number <= last && (number < this.broken || number === first);
      number += 1) {
      if (!this.has(number)) return number;
    }
    return null;
  }

  /** Whether a piece is loaded; its neighbours may reach a little into it. */
  has(number) {
    const { piece: length, seconds } = this.playing;
    const [start, end] = [number * length, Math.min((number + 1) * length, seconds)];
    const { buffered } = this.buffer ?? { buffered: [] };
    for (let i = 0; i < buffered.length; i += 1) {
      const both = Math.min(buffered.end(i), end) - Math.max(buffered.start(i), start);
      if (both > Math.min(INTO, (end - start) / 2)) return true;
    }
    return false;
  }

  async append(content) {
    const { buffer, source } = this;
    const { piece: length } = this.playing;
    const old = Math.floor((this.video.currentTime - BEHIND) / length) * length;
    if (buffer.buffered.length && buffer.buffered.start(0) < old - BEHIND) {
      buffer.remove(0, old);
      await updated(buffer);
    }
    buffer.appendBuffer(content);
    await updated(buffer);
    // a player ends at the end of the source only
    if (this.has(this.playing.count - 1) && source.readyState === "open") source.endOfStream();
  }

  close() {
    this.listening.abort();
    this.loading?.abort();
    this.loading = null;
    this.buffer = null;
  }
}

function updated(buffer) {
  return new Promise((done, failed) => {
    buffer.addEventListener("updateend", done, { once: true });
    buffer.addEventListener("error", () => failed(new Error("a piece is damaged")), { once: true });
  });
}
