// Draws the score of the query along a video, which is also a slider to jump with.

import { el, svg } from "./dom.js";
import { clock, spoken } from "./format.js";

const [WIDTH, HEIGHT, TOP] = [1000, 100, 8];
const STEP = 5; // seconds an arrow key moves

/**
 * Draw a curve; `seek` is called with the second that was chosen, null makes it a mere picture.
 * Returns its node and `moveTo(second)`, which shows where the player is (null: nowhere).
 */
export function drawCurve(hit, seek) {
  const { curve, moments, video } = hit;
  const duration = video.duration || curve.ends.at(-1) || 1;
  const x = (second) => (Math.min(Math.max(second / duration, 0), 1) * WIDTH).toFixed(1);
  const head = svg("line", { class: "curve-head", y1: 0, y2: HEIGHT, visibility: "hidden" });
  const hover = svg("line", { class: "curve-hover", y1: 0, y2: HEIGHT, visibility: "hidden" });
  const bands = moments.map((moment, i) => svg("rect", {
    class: i ? "curve-moment" : "curve-moment best", x: x(moment.start), y: 0, height: HEIGHT,
    width: Math.max(x(moment.end) - x(moment.start), 3),
  }));
  const steps = outline(curve, x);
  const picture = svg(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    bands,
    svg("path", { class: "curve-area", d: `${steps}V${HEIGHT}H${x(curve.starts[0] || 0)}Z` }),
    svg("path", { class: "curve-line", d: steps }), hover, head,
  );
  const tip = el("span", { class: "curve-tip", "aria-hidden": "true", hidden: true });
  const name = { class: "curve", "aria-label": `Score along ${video.title}` };
  const role = seek ? {
    role: "slider", tabindex: 0, "aria-valuemin": 0, "aria-valuemax": Math.floor(duration),
  } : { role: "img" };
  const node = el("div", { ...name, ...role }, picture, tip);

  let at = moments[0].start;
  const say = () => {
    if (!seek) return;
    node.setAttribute("aria-valuenow", Math.floor(at));
    node.setAttribute("aria-valuetext", `${spoken(at)}, score ${scoreAt(curve, at)}`);
  };
  const place = (line, second) => {
    line.setAttribute("visibility", second == null ? "hidden" : "visible");
    if (second != null) for (const end of ["x1", "x2"]) line.setAttribute(end, x(second));
  };
  const jump = (second) => {
    at = Math.min(Math.max(second, 0), Math.max(duration - 0.1, 0));
    place(head, at);
    say();
    seek(at);
  };
  const under = (event) => {
    const box = node.getBoundingClientRect();
    return ((event.clientX - box.left) / box.width) * duration;
  };
  if (seek) node.addEventListener("click", (event) => jump(under(event)));
  node.addEventListener("pointermove", (event) => {
    const second = Math.min(Math.max(under(event), 0), duration);
    place(hover, second);
    tip.hidden = false;
    tip.textContent = clock(second);
    tip.style.setProperty("left", `${Math.min(Math.max((second / duration) * 100, 4), 96)}%`);
  });
  node.addEventListener("pointerleave", () => {
    place(hover, null);
    tip.hidden = true;
  });
  const keys = {
    ArrowLeft: () => at - STEP, ArrowDown: () => at - STEP, ArrowRight: () => at + STEP,
    ArrowUp: () => at + STEP, PageDown: () => at - duration / 10, PageUp: () => at + duration / 10,
    Home: () => 0, End: () => duration, Enter: () => at,
  };
  node.addEventListener("keydown", (event) => {
    if (!seek || !keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    jump(keys[event.key]());
  });
  say();
  return {
    node,
    moveTo(second) {
      place(head, second);
      if (second != null) at = second;
      // a slider that speaks at every frame would drown everything else
      if (second != null && document.activeElement !== node) say();
    },
  };
}

/** The curve as a path of steps, lowest score at the bottom. */
function outline({ starts, ends, scores }, x) {
  const low = Math.min(...scores);
  const range = Math.max(...scores) - low;
  const share = (value) => (range ? (value - low) / range : 0.4);
  const y = (value) => (HEIGHT - TOP - share(value) * (HEIGHT - 2 * TOP)).toFixed(1);
  // windows may overlap: each piece is drawn up to where the next begins
  const pieces = scores.map((value, i) => `V${y(value)}H${x(starts[i + 1] ?? ends[i])}`);
  return `M${x(starts[0] || 0)},${y(scores[0] ?? 0)}${pieces.join("")}`;
}

function scoreAt({ starts, scores }, second) {
  let i = starts.findIndex((start) => start > second);
  if (i < 0) i = starts.length;
  return (scores[Math.max(i - 1, 0)] ?? 0).toFixed(2);
}
