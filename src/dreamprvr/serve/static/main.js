// Connects the parts: reads the address, searches, and shows the results.

import * as address from "./address.js";
import { Gone, about, search, searchPicture } from "./api.js";
import * as basket from "./basket.js";
import { announce, byId, show } from "./dom.js";
import * as filters from "./filters.js";
import { counted } from "./format.js";
import * as home from "./home.js";
import { listen } from "./keys.js";
import { bestFirst, markKept, momentItem } from "./moments.js";
import * as notices from "./notices.js";
import { scaleOf } from "./parts.js";
import * as picture from "./picture.js";
import { Player } from "./player.js";
import { uncover } from "./player_view.js";
import { grouped, inPlace, resultItem } from "./result.js";
import { saves } from "./save.js";
import { isClosed, later, ready, watch } from "./watch.js";

const [query, hits, summary] = ["query", "hits", "summary"].map(byId);
let running = null; // the search that is under way
let asked = null; // the search whose results are shown; on the start page it has no words
let pages = []; // its hits, copies put together, as they came: a list for each request
let view = "moments"; // or "videos"
let showsWeaker = false; // moments that score no better than what no video shows
let example = {}; // to which others are to be similar: a moment, `like`, or a picture, `image`

const player = new Player({
  changed(key, moment, isOther) {
    if (asked) address.note(asked, { key, ...moment });
    mark(key, moment);
    const item = itemOf(key);
    if (item && isOther) uncover(item);
  },
  closed(key) {
    if (asked) address.note(asked, null);
    const item = itemOf(key);
    mark(null);
    item?.focus();
  },
  moved: (key, second) => itemOf(key)?.curve?.moveTo(second),
});

const found = () => pages.flat();

/** How many videos are shown, with the copies. */
const shown = () => found().reduce((sum, hit) => sum + 1 + hit.copies.length, 0);

const isOf = ({ hit }, key) =>
  hit.video.key === key || hit.copies?.some((copy) => copy.video.key === key);

/** The item of a video: the one that plays, or else its first. */
const itemOf = (key) => {
  const items = [...hits.children].filter((item) => isOf(item, key));
  return items.find((item) => item.classList.contains("on")) || items[0];
};

/** Show which moment is played. */
function mark(key, moment) {
  const { start: first, end: last } = moment?.origin || moment || {};
  const same = (other) => other.start === first && other.end === last;
  const items = [...hits.children];
  const its = key === null ? [] : items.filter((item) => isOf(item, key));
  const playing = its.find((item) => item.moments.some(same)) || its[0];
  for (const item of items) {
    item.classList.toggle("on", item === playing);
    item.moments.forEach((other, i) => {
      if (item === playing && same(other)) item.buttons[i].setAttribute("aria-current", "true");
      else item.buttons[i].removeAttribute("aria-current");
    });
    if (item !== playing) item.curve?.moveTo(null);
  }
}

const whole = (video) => ({ start: 0, end: video.duration || 1, score: NaN, whole: true });

const actions = {
  all: (hit) => allMoments(hit),
  play: (hit, moment) => hit.video.there && player.open(hit, moment),
  seek: (hit, second) => hit.video.there && player.seek(hit, second),
  toPlayer: () => player.focus(),
};
const homeActions = {
  play: (video) => player.open({ video, curve: null, moments: [] }, whole(video)),
  search(text) {
    query.value = text;
    submit();
  },
};

const saveFailed = (line) => { byId("save-failed").textContent = line; };
for (const id of ["save-csv", "save-vtt"]) saves(byId(id), saveFailed);

/** The search in the form. */
function wanted() {
  const q = query.value.trim();
  return { q, ...(q ? {} : example), view, ...filters.values() };
}

const { isSearch } = address;

/** Search, or show the start page if there is nothing to search for; `file` is a new picture. */
async function run(request, file = null) {
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  asked = null; // first, or closing the player would write the old search into the address
  pages = [];
  showsWeaker = false;
  setExample(request);
  show(hits);
  for (const id of ["more", "weaker"]) byId(id).hidden = true;
  player.close();
  notices.remark("");
  summary.hidden = true;
  const name = request.q || ((isSearch(request) || file) && "Similar moments");
  document.title = name ? `${name} · DreamPRVR` : "DreamPRVR";
  if (!isSearch(request) && !file) {
    start(request, signal);
    return;
  }
  notices.loading();
  byId("results").setAttribute("aria-busy", "true");
  try {
    const words = address.parameters(request);
    const result = await (file ? searchPicture(file, words, signal) : search(words, signal));
    if (file) {
      request.image = result.image;
      setExample(request);
      address.push(request);
    }
    asked = request;
    display(result, request);
    if (result.hits.length && request.q) home.note(request.q);
  } catch (error) {
    if (error.name === "AbortError") return;
    const isLater = error instanceof Gone || await isClosed(error);
    if (isLater) await ready();
    if (signal.aborted) return;
    if (isLater) run(request, file);
    else if (file && error.status === 400) {
      notices.wrong(error.message, picture.choose, "Choose another picture");
    } else notices.wrong(error.message, () => run(request, file));
    return;
  } finally {
    if (running.signal === signal) byId("results").removeAttribute("aria-busy");
  }
  if (request.moment) address.reopen(player, found(), request.moment, signal);
}

function setExample({ like, image }) {
  example = { like, image };
  picture.showExample(example, () => {
    example = {};
    submit();
    query.focus();
  });
}

/** Search for moments like those of a picture. */
function searchFor(file) {
  query.value = "";
  run({ ...wanted(), q: "", like: "", image: "" }, file);
}

/** Search again, as the library has changed, without disturbing who reads or plays. */
async function again() {
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  const request = asked;
  const k = String(Math.min(Math.max(shown(), Number(request.k)), address.MOST));
  try {
    const result = await search(address.parameters({ ...request, k }), signal);
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
  const number = counted(result.hits.length, "video");
  const took = `${Math.round(result.seconds * 1000)} ms`;
  announce(`${byId("remark").textContent} ${number} found`.trim());
  pages = [prepared(result, scaleOf(result))];
  draw();
  offerMore(result, request);
  summary.hidden = !result.hits.length;
  if (!result.hits.length && !result.searched && !request.where.length) {
    start(request, running.signal);
    return;
  }
  if (!result.hits.length) {
    notices.nothing(filters.narrows(), () => {
      filters.clear();
      submit();
    });
    return;
  }
  byId("summary-text").textContent = [result.query !== request.q && `${result.query}:`,
    `${number} of ${result.searched.toLocaleString("en")}, ${took}`].filter(Boolean).join(" ");
  notices.weak(result.strength === "weak");
  byId("save-csv").href = `/api/export.csv?${address.parameters(request)}`;
  byId("save-vtt").href = `/api/export.vtt.zip?${address.parameters(request)}`;
  saveFailed("");
}

/** The hits of an answer as the views show them: on one scale, copies put together. */
function prepared(result, scale) {
  for (const hit of result.hits) hit.scale = scale;
  return grouped(result.hits);
}

/** Offer the next page of an answer, if there may be one. */
function offerMore(result, request) {
  byId("more").hidden = result.hits.length < Number(request.k);
}

/** Show the next page of the answer below the others. */
async function more() {
  const request = asked;
  const { signal } = running;
  const items = hits.children.length;
  const words = address.parameters(request);
  words.set("skip", shown());
  byId("more").disabled = true;
  try {
    const result = await search(words, signal);
    if (asked !== request) return;
    pages.push(prepared(result, found()[0].scale));
    const { key } = player.hit?.video || {};
    draw();
    if (key) mark(key, player.moment);
    offerMore(result, request);
    announce(`${counted(result.hits.length, "more video")} found`);
    hits.children[items]?.focus();
  } catch (error) {
    if (error.name !== "AbortError") notices.remark(`No more results: ${error.message}.`);
  } finally {
    byId("more").disabled = false;
  }
}

/** Show all moments of one video in the place of its best ones. */
async function allMoments(hit) {
  const request = asked;
  const words = address.parameters({ ...request, k: String(address.MOST) });
  words.set("name", hit.video.id);
  words.set("moments", "all");
  try {
    const result = await search(words, running.signal);
    const full = result.hits.find(({ video }) => video.key === hit.video.key);
    if (asked !== request || !full) return;
    const { moments } = full;
    pages = pages.map((page) =>
      page.map((one) => (one === hit ? { ...one, moments, hasAll: true } : one)));
    inPlace(hits, draw);
    itemOf(hit.video.key)?.focus();
    announce(`${counted(moments.length, "moment")} of this video`);
  } catch (error) {
    if (error.name !== "AbortError") notices.remark(`No more moments: ${error.message}.`);
  }
}

/** Show the hits in the chosen view. */
function draw() {
  const isGrid = view === "moments";
  const pairs = pages.flatMap((page) => bestFirst(page, asked.then));
  const good = pairs.filter(({ match }) => match > 0);
  const isCut = isGrid && !showsWeaker && good.length > 0 && good.length < pairs.length;
  hits.className = isGrid ? `grid ${asked.then ? "pairs" : ""}` : "";
  show(hits, ...(isGrid
    ? (isCut ? good : pairs).map((pair, place) => momentItem(pair, place, actions))
    : found().map((hit) => resultItem(hit, actions))));
  byId("weaker").hidden = !isCut;
  byId("weaker").textContent = `Show ${counted(pairs.length - good.length, "weaker moment")}`;
  byId("view-moments").setAttribute("aria-pressed", String(isGrid));
  byId("view-videos").setAttribute("aria-pressed", String(!isGrid));
}

function showWeaker() {
  const items = hits.children.length;
  showsWeaker = true;
  draw();
  if (player.isOpen) mark(player.hit.video.key, player.moment);
  hits.children[items]?.focus();
}

/** Show the results in another view; what plays goes on. */
function choose(other) {
  if (view === other || !isSearch(asked)) return;
  view = other;
  asked = { ...asked, view };
  draw();
  address.note(asked, player.isOpen ? { key: player.hit.video.key, ...player.moment } : null);
  if (player.isOpen) mark(player.hit.video.key, player.moment);
}

function submit() {
  const request = wanted();
  address.push(request);
  run(request);
}

function restore() {
  const request = address.read();
  query.value = request.q;
  view = request.view;
  filters.set(request);
  run(request);
}

/** Show the library itself, as there is no search. */
async function start(request, signal) {
  const state = await ready();
  if (signal.aborted || hits.children.length) return;
  if (!state.videos) notices.empty(state.name);
  else if (!isSearch(request)) {
    asked = request;
    try {
      await home.home(byId("notice"), state, request.folder || "", homeActions);
    } catch (error) {
      if (!signal.aborted) notices.remark(`The library cannot be listed now: ${error.message}.`);
    }
    if (request.moment && !signal.aborted) address.reopen(player, [], request.moment, signal);
  }
}

byId("search-form").addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});
byId("view-moments").addEventListener("click", () => choose("moments"));
byId("view-videos").addEventListener("click", () => choose("videos"));
byId("more").addEventListener("click", more);
byId("weaker").addEventListener("click", showWeaker);
filters.onChange(() => isSearch(wanted()) && submit());
addEventListener("popstate", restore);
basket.listen({
  changed: () => markKept(),
  async open({ key, start: first, end }) {
    try {
      const video = await about(key);
      const hit = found().find((one) => one.video.key === key);
      const moment = { start: first, end, score: NaN };
      player.open(hit || { video, curve: null, moments: [] }, moment);
    } catch (error) {
      notices.remark(`The moment cannot be shown: ${error.message}.`);
    }
  },
});
listen({
  player,
  choose: () => choose(view === "moments" ? "videos" : "moments"),
  play(item, number) {
    const moment = item.hit.moments[number];
    if (moment) actions.play(item.hit, moment);
  },
});
query.value = address.read().q;
picture.listen(searchFor);
filters.offer(await ready());
notices.none();
restore();
if (!query.value) query.focus();
watch({
  hasResults: () => hits.children.length > 0,
  changed(state) {
    filters.offer(state);
    if (isSearch(asked)) again();
    else if (isSearch(wanted())) run(wanted());
    else if (!byId("notice").contains(document.activeElement)) {
      start({ ...address.read(), moment: null }, running.signal); // what plays goes on
    }
  },
});
