// A strip of about a minute around a moment, with handles that move its start and its end.

import { el } from "./dom.js";
import { exact } from "./format.js";
import { stillUrl } from "./parts.js";

const LENGTH = 60; // seconds that are seen at least
const PICTURES = 8;
const [SHORTEST, LONGEST] = [0.5, 600]; // seconds of a moment; the server cuts no longer clips
const STEPS = { ArrowLeft: -0.2, ArrowDown: -0.2, ArrowRight: 0.2, ArrowUp: 0.2,
  PageDown: -1, PageUp: 1 };

/**
 * Draw the strip of a moment. While a handle is moved, `look(second)` is called; where it comes to
 * rest, `adjust({ start, end })`; `seek(second)` is called for a click beside the handles.
 */
export function momentStrip(video, moment, { look, adjust, seek }) {
  const duration = Math.max(video.duration || 0, moment.end);
  const length = Math.min(Math.max(LENGTH, (moment.end - moment.start) * 1.5), duration);
  const middle = (moment.start + moment.end) / 2;
  const from = Math.min(Math.max(middle - length / 2, 0), duration - length);
  const now = { start: moment.start, end: moment.end };
  const limits = {
    start: () => [Math.max(from, now.end - LONGEST), now.end - SHORTEST],
    end: () => [now.start + SHORTEST, Math.min(from + length, now.start + LONGEST)],
  };
  const pictures = Array.from({ length: PICTURES }, (_, i) => el("img", {
    alt: "", loading: "lazy", decoding: "async", draggable: "false",
    src: stillUrl(video.key, from + ((i + 0.5) / PICTURES) * length),
    error: ({ target }) => target.classList.add("blank"),
  }));
  const band = el("div", { class: "strip-band" });
  const handles = {
    start: handle("start", "Start of the moment"), end: handle("end", "End of the moment"),
  };
  const node = el("div", { class: "strip" }, el("div", { class: "strip-stills" }, pictures, band),
    handles.start, handles.end);

  function handle(side, label) {
    const set = (second) => {
      const [least, most] = limits[side]();
      now[side] = Math.min(Math.max(second, least), most);
      draw();
    };
    const one = el("div", {
      class: `strip-handle ${side}`, role: "slider", tabindex: 0, "aria-label": label,
      keydown(event) {
        const { key } = event;
        const places = { Home: limits[side]()[0], End: limits[side]()[1] };
        if (!(key in STEPS || key in places) || event.ctrlKey || event.metaKey) return;
        event.preventDefault();
        event.stopPropagation();
        set(places[key] ?? now[side] + STEPS[key]);
        adjust({ ...now });
        look(now[side]);
      },
      pointerdown(event) {
        event.preventDefault();
        one.focus();
        one.setPointerCapture(event.pointerId);
      },
      pointermove(event) {
        if (!one.hasPointerCapture(event.pointerId)) return;
        set(under(event));
        look(now[side]);
      },
      pointerup: () => adjust({ ...now }),
      click: (event) => event.stopPropagation(),
    });
    return one;
  }

  const under = (event) => {
    const { left, width } = node.getBoundingClientRect();
    return from + ((event.clientX - left) / width) * length;
  };
  function draw() {
    const share = (second) => `${(((second - from) / length) * 100).toFixed(2)}%`;
    for (const side of ["start", "end"]) {
      const [least, most] = limits[side]();
      node.style.setProperty(`--${side}`, share(now[side]));
      const words = {
        valuemin: least.toFixed(1), valuemax: most.toFixed(1), valuenow: now[side].toFixed(1),
        valuetext: exact(now[side]),
      };
      for (const [name, value] of Object.entries(words)) {
        handles[side].setAttribute(`aria-${name}`, value);
      }
    }
  }
  node.addEventListener("click", (event) => seek(under(event)));
  draw();
  return node;
}
