// Joins the parts: the address says what to search, the answer becomes results.

import * as address from "./address.js";
import { Gone, about, search } from "./api.js";
import { announce, byId, show } from "./dom.js";
import * as filters from "./filters.js";
import { counted } from "./format.js";
import { listen } from "./keys.js";
import * as notices from "./notices.js";
import { Player } from "./player.js";
import { uncover } from "./player_view.js";
import { resultItem } from "./result.js";
import { saves } from "./save.js";
import { isClosed, ready, watch } from "./watch.js";

const [query, hits, summary] = ["query", "hits", "summary"].map(byId);
let running = null; // the search that is under way
let asked = null; // the search whose results are shown

const player = new Player({
  changed(key, moment, isOther) {
    if (asked) address.note(asked, { key, ...moment });
    for (const item of hits.children) {
      const isPlaying = item.hit.video.key === key;
      item.classList.toggle("on", isPlaying);
      item.hit.moments.forEach((other, i) => {
        const now = isPlaying && other.start === moment.start && other.end === moment.end;
        if (now) item.buttons[i].setAttribute("aria-current", "true");
        else item.buttons[i].removeAttribute("aria-current");
      });
      if (!isPlaying) item.curve?.moveTo(null);
      if (isPlaying && isOther) uncover(item);
    }
  },
  closed(key) {
    if (asked) address.note(asked, null);
    for (const item of hits.children) {
      item.classList.remove("on");
      item.curve?.moveTo(null);
      item.buttons.forEach((button) => button.removeAttribute("aria-current"));
      if (item.hit.video.key === key) item.focus();
    }
  },
  moved(key, second) {
    for (const item of hits.children) if (item.hit.video.key === key) item.curve?.moveTo(second);
  },
});

const actions = {
  play: (hit, moment) => hit.video.there && player.open(hit, moment),
  seek: (hit, second) => hit.video.there && player.seek(hit, second),
  toPlayer: () => player.focus(),
};

const saveFailed = (line) => { byId("save-failed").textContent = line; };
for (const id of ["save-csv", "save-vtt"]) saves(byId(id), saveFailed);

/** What the fields say. */
const wanted = () => ({ q: query.value.trim(), ...filters.values() });

async function run(request) {
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  asked = null; // first, or closing the player would write the old search into the address
  show(hits);
  player.close();
  summary.hidden = true;
  document.title = request.q ? `${request.q} · DreamPRVR` : "DreamPRVR";
  if (!request.q) {
    start();
    return;
  }
  notices.loading();
  byId("results").setAttribute("aria-busy", "true");
  try {
    const result = await search(address.parameters(request), signal);
    asked = request;
    display(result, request);
  } catch (error) {
    if (error.name === "AbortError") return;
    const isLater = error instanceof Gone || await isClosed(error);
    if (isLater) await ready();
    if (signal.aborted) return;
    if (isLater) run(request);
    else notices.wrong(error.message, () => run(request));
    return;
  } finally {
    if (running.signal === signal) byId("results").removeAttribute("aria-busy");
  }
  if (request.moment) reopen(request.moment);
}

function display(result, request) {
  notices.none();
  const found = counted(result.hits.length, "video");
  const took = `${Math.round(result.seconds * 1000)} ms`;
  const words = `${found} of ${result.searched.toLocaleString("en")}, ${took}`;
  announce(`${found} found`);
  if (!result.hits.length && !result.searched && !request.where.length) {
    start();
    return;
  }
  if (!result.hits.length) {
    notices.nothing(request.threshold !== "" || request.where.length > 0, () => {
      filters.clear();
      submit();
    });
    return;
  }
  show(hits, ...result.hits.map((hit) => resultItem(hit, actions)));
  byId("summary-text").textContent = words;
  byId("save-csv").href = `/api/export.csv?${address.parameters(request)}`;
  byId("save-vtt").href = `/api/export.vtt.zip?${address.parameters(request)}`;
  saveFailed("");
  summary.hidden = false;
}

/** The moment of a link: shown, not played, as nobody has asked for sound yet. */
async function reopen({ key, start: from, end }) {
  const item = [...hits.children].find(({ hit }) => hit.video.key === key);
  const same = (one, other) => Math.abs(one - other) < 0.01;
  const moment = item?.hit.moments.find((one) => same(one.start, from) && same(one.end, end));
  const found = moment || { start: from, end, score: NaN };
  if (item) {
    if (item.hit.video.there) player.open(item.hit, found, { paused: true });
    return;
  }
  try {
    const hit = { video: await about(key), curve: null, moments: [found] };
    player.open(hit, found, { paused: true });
  } catch {
    announce("The moment of this link is not in the library any more");
  }
}

function submit() {
  const request = wanted();
  address.push(request);
  run(request);
}

function restore() {
  const request = address.read();
  query.value = request.q;
  filters.set(request);
  run(request);
}

/** Without a search: the library itself. */
async function start() {
  const state = await ready();
  if (hits.children.length) return;
  if (!state.videos) notices.empty(state.name);
  else if (!query.value.trim()) notices.welcome(state);
}

byId("search-form").addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});
filters.onChange(() => query.value.trim() && submit());
addEventListener("popstate", restore);
listen({
  player,
  play(item, number) {
    const moment = item.hit.moments[number];
    if (moment) actions.play(item.hit, moment);
  },
});
query.value = address.read().q;
const { columns } = await ready();
notices.none();
filters.offer(columns);
restore();
if (!query.value) query.focus();
watch({
  hasResults: () => hits.children.length > 0,
  changed(state) {
    filters.offer(state.columns);
    if (hits.children.length) return;
    if (query.value.trim()) run(wanted());
    else start();
  },
});
