// Keyboard control: everything that the mouse can do.

import { byId } from "./dom.js";
import { recall, remember } from "./store.js";

const WRITES = "input, textarea, select";
const PRESSES = "button, a, summary, video, [role=slider]";
const ITEMS = ".hit, .film"; // what arrows walk through

/** Begin to listen for keys, which act on `player`, `play(item, n)` and `choose()`. */
export function listen({ player, play, choose }) {
  const help = byId("help");
  const showHelp = () => help.open || help.showModal();
  const letters = byId("letters");
  byId("help-button").addEventListener("click", showHelp);
  letters.checked = recall("letters") !== "off";
  letters.addEventListener("change", () => remember("letters", letters.checked ? "on" : "off"));
  const actions = {
    "/": () => { byId("query").focus(); byId("query").select(); },
    "?": showHelp,
    j: () => move(1),
    k: () => move(-1),
    ArrowDown: () => move(columns()),
    ArrowUp: () => move(-columns()),
    b: () => (document.activeElement.closest(".tile") || byId("player"))
      .querySelector(".keep")?.click(),
    v: choose,
    t: () => player.widen(),
    r: () => player.replay(),
    c: () => player.goOn(),
    p: () => player.focus(),
    Escape: () => leave(player),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return; // the browser's own
    if (event.defaultPrevented || document.querySelector("dialog[open]")) return;
    const { key, target } = event;
    // dictated words are such keys: WCAG 2.1.4 wants a way to turn them off
    if (key.length === 1 && key !== " " && !letters.checked) return;
    const writes = target.matches(WRITES);
    const item = target.closest(".hit");
    let action = actions[key];
    if (writes) action = inField(key, target, player);
    else if (item && /^[1-9]$/.test(key)) action = () => play(item, Number(key) - 1);
    else if (key === "Enter" && item === target) action = () => item.buttons[0].click();
    else if (key === "Enter" && target.matches(".film")) {
      action = () => target.querySelector(".still").click();
    } else if (target.closest(".grid") && key === "ArrowLeft") action = () => move(-1);
    else if (target.closest(".grid") && key === "ArrowRight") action = () => move(1);
    else if (key === " " && player.isOpen && !target.matches(PRESSES)) {
      action = () => player.toggle();
    } else if (target.matches("video") && key.startsWith("Arrow")) action = null;
    if (!action) return;
    event.preventDefault();
    action();
  });
}

/** In a field letters are letters; down leaves the search box, Escape the field or the player. */
function inField(key, field, player) {
  if (key === "ArrowDown" && field.id === "query") return () => move(1);
  if (key === "Escape" && (field.id !== "query" || !field.value)) {
    return () => (player.isOpen ? player.close() : field.blur());
  }
  return null;
}

/** From the player back to the result that it plays; from anywhere else: close it. */
function leave(player) {
  const isInside = byId("player").contains(document.activeElement);
  const item = isInside && document.querySelector(".hit.on");
  if (item) item.focus();
  else player.close();
}

/** How many items stand side by side. */
function columns() {
  const items = [...document.querySelectorAll(ITEMS)];
  const first = items.findIndex((item) => item.offsetTop > items[0].offsetTop);
  return Math.max(first < 0 ? items.length : first, 1);
}

/** Focus another item, so many further; above the first lies the search box. */
function move(step) {
  const items = [...document.querySelectorAll(ITEMS)];
  const now = items.indexOf(document.activeElement.closest(ITEMS));
  const next = now < 0 && step > 0 ? 0 : Math.min(now + step, items.length - 1);
  if (next < 0) byId("query").focus();
  else if (items[next]) {
    items[next].focus({ preventScroll: true });
    items[next].scrollIntoView({ block: "nearest" });
  }
}
