// A picture to search with: chosen, dropped onto the page or pasted; and the example in use.

import { byId, el, show } from "./dom.js";
import { stillUrl } from "./parts.js";

const [button, field, example] = ["picture", "picture-file", "example"].map(byId);

/** Let the reader choose a picture. */
export const choose = () => field.click();

/** Call `send(file)` for each picture that the reader gives. */
export function listen(send) {
  button.addEventListener("click", choose);
  field.addEventListener("change", () => {
    if (field.files.length) send(field.files[0]);
    field.value = ""; // the same file may be chosen again
  });
  const mark = (isOver) => document.body.classList.toggle("dropping", isOver);
  addEventListener("dragover", (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    mark(true);
  });
  addEventListener("dragleave", (event) => event.relatedTarget || mark(false));
  addEventListener("drop", (event) => {
    mark(false);
    const [file] = event.dataTransfer.files;
    if (!file) return;
    event.preventDefault(); // the browser would leave the page for the file
    send(file);
  });
  addEventListener("paste", (event) => {
    const file = [...event.clipboardData.files].find(({ type }) => type.startsWith("image/"));
    if (!file) return;
    event.preventDefault();
    send(file);
  });
}

/**
 * Show the moment, `like`, or the picture, `image`, to which others are to be similar; nothing if
 * there is neither. `drop()` is called when the reader takes it away.
 */
export function showExample({ like, image }, drop) {
  example.hidden = !like && !image;
  byId("query").placeholder = example.hidden ? "Describe a moment: a man flips a pancake"
    : "Or describe a moment";
  if (example.hidden) return;
  const [key, second] = (like || "").split("@");
  const source = image ? `/api/pictures/${image}` : stillUrl(key, Number(second));
  show(example,
    el("img", { alt: "", src: source, error: ({ target }) => target.remove() }),
    el("span", {}, image ? "Like this picture" : "Like this moment"),
    el("button", {
      type: "button", class: "close", click: drop,
      "aria-label": `Do not search for moments like this ${image ? "picture" : "moment"}`,
    }, el("span", { "aria-hidden": "true" }, "×")));
}
