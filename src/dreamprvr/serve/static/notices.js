// Messages in the place of results: welcome, please wait, nothing found, an error.

import { announce, byId, el, show } from "./dom.js";

const notice = () => byId("notice");

function card(kind, title, ...parts) {
  show(notice(), el("section", { class: `notice ${kind}` }, el("h1", {}, title), ...parts));
}

export function none() {
  show(notice());
}

/** A line above the results that says how little to expect of them. */
export function weak(isWeak) {
  byId("weak").hidden = !isWeak;
  byId("weak").textContent = isWeak
    ? "Weak matches: nothing in this library fits the sentence well. These come nearest." : "";
}

export function empty(name) {
  card("empty", "This library holds no videos yet",
    el("p", {}, "Extract features from a folder of videos and index them; this page shows them "
      + "as soon as that is done:"),
    el("pre", {}, [
      "lightning extract VIDEOS -o features.hdf5", `lightning index features.hdf5 -o ${name}`,
    ].join("\n")));
}

/** Grey shapes in the place of results. */
export function loading() {
  announce("Searching");
  const bone = () => el("div", { class: "bone" }, el("div", { class: "bone-still" }),
    el("div", { class: "bone-lines" }, el("i"), el("i"), el("i")));
  show(notice(), el("div", { class: "bones", "aria-hidden": "true" }, bone(), bone(), bone()));
}

export function nothing(narrowed, clear) {
  card("nothing", "Nothing found",
    el("p", {}, narrowed ? "No video passes the filters and the other options."
      : "No video of this library fits."),
    narrowed && el("button", { type: "button", click: clear },
      "Search without filters and options"));
}

/** Say what went wrong; the button, called `label`, calls `again()`. */
export function wrong(line, again, label = "Try again") {
  announce(line);
  card("wrong", "That did not work", el("p", {}, line),
    el("button", { type: "button", click: again }, label));
}

const howFar = (done, total) =>
  `Indexing ${done.toLocaleString("en")} of ${total.toLocaleString("en")}`;

export function indexing({ done, total, video }) {
  const old = notice().querySelector("progress");
  const words = howFar(done, total);
  if (old) { // moved, not drawn anew: a screen reader stays where it is
    [old.max, old.value] = [Math.max(total, 1), done];
    notice().querySelector("h1").textContent = words;
    notice().querySelector(".quiet").textContent = video;
  } else {
    card("indexing", words,
      el("progress", { max: Math.max(total, 1), value: done, "aria-label": "Indexing" }),
      el("p", { class: "quiet" }, video),
      el("p", {},
        "Another process writes this library. The page opens it as soon as it is free."));
  }
}

export function opening(message) {
  if (notice().querySelector(".opening")) {
    notice().querySelector(".quiet").textContent = message;
    return;
  }
  card("opening", "Opening the library…", el("progress", { "aria-label": "Opening the library" }),
    el("p", { class: "quiet" }, message));
}

/** A line at the top, until the next search; "" takes it away. */
export function remark(line) {
  byId("remark").hidden = !line;
  byId("remark").textContent = line;
  if (line) announce(line);
}

/** A line at the top that stays until the server is back. */
export function offline(isOffline) {
  const line = "The server does not answer. Is `lightning serve` still running? Trying again…";
  banner("offline", isOffline && line, "The server is back");
}

/** A line at the top while another process writes the library, above results that stay. */
export function writing(state) {
  const what = state?.total ? howFar(state.done, state.total)
    : "Another process writes this library";
  banner("writing", state && `${what}: searches wait until it is done`, "It can be searched again");
}

function banner(id, line, over) {
  const place = byId(id);
  if (!line && !place.hidden) announce(over);
  place.hidden = !line;
  if (place.textContent !== (line || "")) place.textContent = line || "";
}
