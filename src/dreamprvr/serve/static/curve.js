// Draws the score of the query along a video, which is also a slider to jump with.

import { el, show, svg } from "./dom.js";
import { clock, spoken } from "./format.js";
import { shareOf, stillUrl, titleOf } from "./parts.js";

const [WIDTH, HEIGHT, TOP] = [1000, 100, 8];
const STEP = 5; // seconds an arrow key moves
const LONG = 600; // seconds from which on a curve can be enlarged
const CLOSEST = 120; // seconds that are seen at least
const REST = 120; // milliseconds that the pointer rests before its picture is asked for
const TIP = 84; // half of the tip's width, in pixels

/**
 * Draw the curve of a hit on the hit's `scale`, which all curves of a page share; `seek` is called
 * with the second that was chosen, null makes it a mere picture. Returns its `node` and
 * `moveTo(second)`, which shows where the player is (null: nowhere).
 */
export function drawCurve(hit, seek) {
  const { curve, moments, video, scale } = hit;
  const duration = video.duration || curve.ends.at(-1) || 1;
  const x = (second) => (Math.min(Math.max(second / duration, 0), 1) * WIDTH).toFixed(1);
  const head = svg("line", { class: "curve-head", y1: 0, y2: HEIGHT, visibility: "hidden" });
  const hover = svg("line", { class: "curve-hover", y1: 0, y2: HEIGHT, visibility: "hidden" });
  const bands = moments.map((moment, i) => svg("rect", {
    class: i ? "curve-moment" : "curve-moment best", x: x(moment.start), y: 0, height: HEIGHT,
    width: Math.max(x(moment.end) - x(moment.start), 3),
  }));
  const steps = outline(curve, scale, x);
  const picture = svg(
    "svg", { preserveAspectRatio: "none", "aria-hidden": "true" },
    bands,
    svg("path", { class: "curve-area", d: `${steps}V${HEIGHT}H${x(curve.starts[0] || 0)}Z` }),
    svg("path", { class: "curve-line", d: steps }), hover, head,
  );
  const tip = pointerTip(video, seek !== null);
  const role = seek ? {
    role: "slider", tabindex: 0, "aria-valuemin": 0, "aria-valuemax": Math.floor(duration),
  } : { role: "img" };
  const node = el("div", {
    class: "curve", "aria-label": `Score along ${titleOf(video)}`, ...role,
  }, picture, tip.node);

  let at = moments[0]?.start ?? 0;
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
  const part = seen(picture, duration, () => at);
  const under = (event) => {
    const box = node.getBoundingClientRect();
    const share = (event.clientX - box.left) / box.width;
    return Math.min(Math.max(part.from + share * (part.to - part.from), 0), duration);
  };
  if (seek) node.addEventListener("click", (event) => jump(under(event)));
  node.addEventListener("pointermove", (event) => {
    place(hover, under(event));
    tip.show(under(event), event);
  });
  node.addEventListener("pointerleave", () => {
    place(hover, null);
    tip.hide();
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
    node: el("div", { class: "along" }, node, part.node),
    moveTo(second) {
      place(head, second);
      if (second != null) at = second;
      // a slider that speaks at every frame would drown everything else
      if (second != null && document.activeElement !== node) say();
    },
  };
}

/** The time and, where the file is there, the picture under the pointer. */
function pointerTip(video, withPicture) {
  const time = el("span");
  const picture = withPicture && el("img", {
    alt: "", width: 160, height: 90, hidden: true,
    load: () => { picture.hidden = false; }, error: () => { picture.hidden = true; },
  });
  const node = el("span", { class: "curve-tip", "aria-hidden": "true", hidden: true },
    picture, time);
  let waiting = 0;
  return {
    node,
    show(second, { clientX }) {
      const { left, width } = node.parentElement.getBoundingClientRect();
      node.hidden = false;
      time.textContent = clock(second);
      const middle = Math.min(Math.max(clientX - left, TIP), Math.max(width - TIP, TIP));
      node.style.setProperty("left", `${middle}px`);
      clearTimeout(waiting);
      if (!picture) return;
      // neighbours share a picture: a walk along the curve asks for few
      const step = Math.max(video.duration / 240, 0.5);
      const address = stillUrl(video.key, Math.floor(second / step) * step);
      waiting = setTimeout(() => {
        if (picture.getAttribute("src") !== address) picture.src = address;
      }, REST);
    },
    hide() {
      clearTimeout(waiting);
      node.hidden = true;
    },
  };
}

/** The part of the video that a curve shows, and the line beneath it with times and buttons. */
function seen(picture, duration, middle) {
  const [first, last] = [el("span"), el("span")];
  const part = { from: 0, to: duration };
  const look = (length) => {
    const wanted = Math.min(Math.max(length, CLOSEST), duration);
    part.from = Math.min(Math.max(middle() - wanted / 2, 0), duration - wanted);
    part.to = part.from + wanted;
    const [x, width] = [part.from, wanted].map((second) => (second / duration) * WIDTH);
    picture.setAttribute("viewBox", `${x} 0 ${width} ${HEIGHT}`);
    show(first, clock(part.from));
    show(last, clock(part.to));
  };
  const button = (sign, label, times) => el("button", {
    type: "button", "aria-label": label, title: label,
    click: () => look((part.to - part.from) * times),
  }, sign);
  part.node = el("div", { class: "ends" }, first,
    duration >= LONG && el("span", { class: "zoom" },
      button("−", "Show more of the video", 3), button("+", "Enlarge the curve", 1 / 3)),
    last);
  look(duration);
  return part;
}

/** The curve as a path of steps, the lowest score of the scale at the bottom. */
function outline({ starts, ends, scores }, scale, x) {
  const y = (value) => (HEIGHT - TOP - shareOf(value, scale) * (HEIGHT - 2 * TOP)).toFixed(1);
  // windows may overlap: each piece is drawn up to where the next begins
  const pieces = scores.map((value, i) => `V${y(value)}H${x(starts[i + 1] ?? ends[i])}`);
  return `M${x(starts[0] || 0)},${y(scores[0] ?? scale.low)}${pieces.join("")}`;
}

function scoreAt({ starts, scores }, second) {
  let i = starts.findIndex((start) => start > second);
  if (i < 0) i = starts.length;
  return (scores[Math.max(i - 1, 0)] ?? 0).toFixed(2);
}
