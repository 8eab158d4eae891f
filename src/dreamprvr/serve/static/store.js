// Keeps small things in the browser: recent searches, the basket, settings. They never leave it.

const PREFIX = "dreamprvr.";

/** What was kept under a name, or `otherwise` if there is nothing that can be read. */
export function recall(name, otherwise = null) {
  try {
    return JSON.parse(localStorage.getItem(PREFIX + name)) ?? otherwise;
  } catch { // forbidden, or written by something else
    return otherwise;
  }
}

export function remember(name, value) {
  try {
    localStorage.setItem(PREFIX + name, JSON.stringify(value));
  } catch { // forbidden or full: it holds until the page is closed
  }
}
