// Watches the server and its library, which another process may write meanwhile.

import { Gone, library } from "./api.js";
import { byId } from "./dom.js";
import * as notices from "./notices.js";

const POLL = 1000; // milliseconds
const pause = (time) => new Promise((done) => setTimeout(done, time));

/** Wait a little before the next try. */
export const later = () => pause(2 * POLL);

/** Wait until the server answers. */
async function answer() {
  for (;;) {
    try {
      const state = await library();
      notices.offline(false);
      return state;
    } catch (error) {
      if (error.status === 401) { // the token is missing, or the server has another one by now
        notices.wrong(error.message, () => location.reload());
        await new Promise(() => null);
      }
      if (!(error instanceof Gone)) throw error;
      notices.offline(true);
      await later();
    }
  }
}

let known = null; // what was told of the library when it was last open

/** Wait until the library is open, showing why it is not. */
export async function ready() {
  for (;;) {
    const state = await answer();
    byId("library-name").textContent = state.name;
    if (state.state === "ready") {
      known ??= JSON.stringify(state);
      return state;
    }
    closed(state);
    await pause(POLL);
  }
}

/** Return whether a search was refused because another process writes the library. */
export async function isClosed(error) {
  return error.status === 503 && (await answer()).state !== "ready";
}

/** Watch the library for as long as the page is open. */
export async function watch({ hasResults, changed }) {
  let isWritten = false;
  for (;;) {
    await pause(3 * POLL);
    if (document.hidden) continue;
    const state = await answer();
    const wasWritten = isWritten;
    isWritten = state.state !== "ready";
    notices.writing(isWritten && hasResults() ? state : null);
    if (isWritten && !hasResults()) closed(state);
    if (isWritten) continue;
    const told = JSON.stringify(state);
    if (wasWritten || (known !== null && known !== told)) changed(state);
    known = told;
  }
}

function closed(state) {
  if (state.state === "indexing") notices.indexing(state);
  else notices.opening(state.message);
}
