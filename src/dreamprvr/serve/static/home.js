// The start page: the library itself, as there is no search yet.

import { videos } from "./api.js";
import { el, show } from "./dom.js";
import { clock, counted, length } from "./format.js";
import { described, missing, still, titleOf, titled } from "./parts.js";
import { recall, remember } from "./store.js";

const RECENT = 8; // searches that are kept
const FIRST = 12; // videos that are shown at first, whose stills come in one file
const COUNT = 24; // videos that are added at once

/** Remember a search for the start page, in this browser only. */
export function note(query) {
  const others = recent().filter((other) => other !== query);
  remember("recent", [query, ...others].slice(0, RECENT));
}

const recent = () =>
  [recall("recent", [])].flat().filter((query) => typeof query === "string");

/**
 * Show the library at a place. `state` is what the server says of it, `folder` the chosen one, ""
 * for all; `actions.play(video)` plays a video, `actions.search(query)` searches.
 */
export async function home(place, state, folder, actions) {
  const size = [counted(state.videos, "video"), length(state.seconds)].filter(Boolean).join(", ");
  const list = el("ul", { class: "grid" });
  const more = el("button", { type: "button", class: "more", hidden: true }, "More videos");
  const folders = el("nav", { class: "home-part", "aria-label": "Folders", hidden: true });
  const node = el("div", { class: "home welcome" },
    el("h1", {}, "What are you looking for?"),
    el("p", { class: "quiet" }, "Describe one moment in a sentence: who does what, where. "
      + `There are ${size} in this library.`),
    searches(actions), folders,
    el("section", { class: "home-part", "aria-labelledby": "home-videos" },
      el("h2", { id: "home-videos", dir: "auto" }, folder || "Newest videos"), list, more));
  show(place, node);
  const add = async () => {
    const first = list.children.length;
    const answer = await videos(folder, first, first ? COUNT : FIRST);
    const keys = answer.videos.map(({ key }) => key);
    list.append(...answer.videos.map((video, i) =>
      videoItem(video, first + i, first ? null : { keys, row: i }, actions)));
    more.hidden = list.children.length >= answer.total;
    if (first) list.children[first]?.focus();
    return answer;
  };
  more.addEventListener("click", () => add().catch(() => null));
  const { folders: named } = await add();
  if (named.length < 2) return;
  folders.hidden = false;
  show(folders, el("h2", {}, "Folders"), el("ul", { class: "links" },
    folderLink("All", "", state.videos, folder),
    named.map(({ name, videos: number }) => folderLink(name, name, number, folder))));
}

function searches(actions) {
  const queries = recent();
  if (!queries.length) return null;
  const part = el("section", { class: "home-part", "aria-labelledby": "home-recent" },
    el("h2", { id: "home-recent" }, "Recent searches"),
    el("ul", { class: "links" },
      queries.map((query) => el("li", {}, el("a", {
        class: "link", dir: "auto", href: `/?${new URLSearchParams({ q: query })}`,
        click: (event) => {
          if (event.ctrlKey || event.metaKey || event.shiftKey) return;
          event.preventDefault();
          actions.search(query);
        },
      }, query))),
      el("li", {}, el("button", {
        type: "button", class: "quiet-button", click: () => {
          remember("recent", []);
          part.remove();
        },
      }, "Forget them"))));
  return part;
}

function folderLink(label, name, number, chosen) {
  return el("li", {}, el("a", {
    class: "link", dir: "auto", href: name ? `/?${new URLSearchParams({ folder: name })}` : "/",
    "aria-current": name === chosen && "true",
  }, label, " ", el("small", {}, number.toLocaleString("en"))));
}

function videoItem(video, place, sheet, actions) {
  const id = `film-${place}`;
  return el("li", { class: "film tile", tabindex: -1, "aria-labelledby": id },
    still(video, (video.duration || 0) / 3, {
      sheet, badge: video.duration ? clock(video.duration) : null, click: () => actions.play(video),
      label: [video.duration && clock(video.duration), `play ${titleOf(video)}`]
        .filter(Boolean).join(", "),
    }),
    el("div", { class: "facts" }, titled("h3", video, { id }),
      described({ ...video, duration: null }, 2), !video.there && missing()));
}
