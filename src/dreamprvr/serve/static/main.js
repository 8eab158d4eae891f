// Connects the parts: reads the address, searches, and shows the results.

import * as address from "./address.js";
import { Gone, search } from "./api.js";
import { announce, byId, show } from "./dom.js";
import * as filters from "./filters.js";
import { counted } from "./format.js";
import { listen } from "./keys.js";
import * as notices from "./notices.js";
import { Player } from "./player.js";
import { uncover } from "./player_view.js";
import { inPlace, resultItem } from "./result.js";
import { saves } from "./save.js";
import { isClosed, later, ready, watch } from "./watch.js";

const [query, hits, summary] = ["query", "hits", "summary"].map(byId);
let running = null; // the search that is under way
let asked = null; // the search whose results are shown

const player = new Player({
  changed(key, moment, isOther) {
    if (asked) address.note(asked, { key, ...moment });
    mark(key, moment);
    const item = itemOf(key);
    if (item && isOther) uncover(item);
  },
  closed(key) {
    if (asked) address.note(asked, null);
    mark(null);
    itemOf(key)?.focus();
  },
  moved: (key, second) => itemOf(key)?.curve?.moveTo(second),
});

const itemOf = (key) => [...hits.children].find((item) => item.hit.video.key === key);

/** Show which moment is played. */
function mark(key, moment) {
  for (const item of hits.children) {
    const isPlaying = item.hit.video.key === key;
    item.classList.toggle("on", isPlaying);
    item.hit.moments.forEach((other, i) => {
      const now = isPlaying && other.start === moment.start && other.end === moment.end;
      if (now) item.buttons[i].setAttribute("aria-current", "true");
      else item.buttons[i].removeAttribute("aria-current");
    });
    if (!isPlaying) item.curve?.moveTo(null);
  }
}

const actions = {
  play: (hit, moment) => hit.video.there && player.open(hit, moment),
  seek: (hit, second) => hit.video.there && player.seek(hit, second),
  toPlayer: () => player.focus(),
};

const saveFailed = (line) => { byId("save-failed").textContent = line; };
for (const id of ["save-csv", "save-vtt"]) saves(byId(id), saveFailed);

/** The search in the form. */
const wanted = () => ({ q: query.value.trim(), ...filters.values() });

async function run(request) {
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  asked = null; // first, or closing the player would write the old search into the address
  show(hits);
  player.close();
  notices.remark("");
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
  if (request.moment) address.reopen(player, hits.children, request.moment, signal);
}

/** Search again, as the library has changed, without disturbing who reads or plays. */
async function again() {
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  const request = asked;
  try {
    const result = await search(address.parameters(request), signal);
    inPlace(hits, () => {
      notices.remark("The library has changed: these are its results now.");
      display(result, request);
    });
    const hit = result.hits.find(({ video }) => video.key === player.hit?.video.key);
    if (hit) player.renew(hit);
    if (player.isOpen) mark(player.hit.video.key, player.moment);
  } catch (error) {
    if (error.name === "AbortError") return;
    if (error instanceof Gone || await isClosed(error)) {
      await later();
      if (!signal.aborted) again();
    } else {
      notices.remark(`These results are from before the library changed: ${error.message}.`);
    }
  }
}

function display(result, request) {
  notices.none();
  const found = counted(result.hits.length, "video");
  const took = `${Math.round(result.seconds * 1000)} ms`;
  const words = `${found} of ${result.searched.toLocaleString("en")}, ${took}`;
  announce(`${byId("remark").textContent} ${found} found`.trim());
  show(hits, ...result.hits.map((hit) => resultItem(hit, actions)));
  summary.hidden = !result.hits.length;
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
  byId("summary-text").textContent = words;
  byId("save-csv").href = `/api/export.csv?${address.parameters(request)}`;
  byId("save-vtt").href = `/api/export.vtt.zip?${address.parameters(request)}`;
  saveFailed("");
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

/** Show the library itself, as there is no search. */
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
    if (asked) again();
    else if (query.value.trim()) run(wanted());
    else start();
  },
});
