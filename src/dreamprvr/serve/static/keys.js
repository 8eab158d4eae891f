// Keyboard control: everything that the mouse can do.

import { byId } from "./dom.js";

const WRITES = "input, textarea, select";
const PRESSES = "button, a, summary, video, [role=slider]";
const LETTERS = "dreamprvr.letters"; // in the browser's store: "off" if they are

/** Begin to listen for keys, which act on `player` and `play(item, n)`. */
export function listen({ player, play }) {
  const help = byId("help");
  const showHelp = () => help.open || help.showModal();
  const letters = byId("letters");
  byId("help-button").addEventListener("click", showHelp);
  letters.checked = recall() !== "off";
  letters.addEventListener("change", () => remember(letters.checked ? "on" : "off"));
  const actions = {
    "/": () => { byId("query").focus(); byId("query").select(); },
    "?": showHelp,
    j: () => move(1),
    k: () => move(-1),
    ArrowDown: () => move(1),
    ArrowUp: () => move(-1),
    r: () => player.replay(),
    c: () => player.goOn(),
    p: () => player.focus(),
    Escape: () => leave(player),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return; // the browser's own
    if (event.defaultPrevented || help.open) return;
    const { key, target } = event;
    // dictated words are such keys: WCAG 2.1.4 wants a way to turn them off
    if (key.length === 1 && key !== " " && !letters.checked) return;
    const writes = target.matches(WRITES);
    const item = target.closest(".hit");
    let action = actions[key];
    if (writes) action = inField(key, target, player);
    else if (item && /^[1-9]$/.test(key)) action = () => play(item, Number(key) - 1);
    else if (key === "Enter" && item === target) action = () => play(item, 0);
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

function remember(word) {
  try {
    localStorage.setItem(LETTERS, word);
  } catch { // forbidden: it holds until the page is closed
  }
}

function recall() {
  try {
    return localStorage.getItem(LETTERS);
  } catch {
    return null;
  }
}

/** Focus the next result, or the one before; above the first lies the search box. */
function move(step) {
  const items = [...document.querySelectorAll(".hit")];
  const now = items.indexOf(document.activeElement.closest(".hit"));
  const next = now + step;
  if (now <= 0 && step < 0) byId("query").focus();
  else if (items[next]) {
    items[next].focus({ preventScroll: true });
    items[next].scrollIntoView({ block: "nearest" });
  }
}
