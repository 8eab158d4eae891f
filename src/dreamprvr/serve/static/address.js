// The search and the moment in the page's address, so that a link reopens them.

const MOST = 100; // videos that the server gives

/**
 * What the address says: a search, and the moment that was played. People cut and edit addresses:
 * a word that no search could have written counts as left out.
 */
export function read() {
  const words = new URLSearchParams(location.search);
  const [k, threshold] = ["k", "threshold"].map((name) => (words.get(name) || "").trim());
  return {
    q: words.get("q") || "",
    k: /^\d{1,3}$/.test(k) && k >= 1 && k <= MOST ? String(Number(k)) : "10",
    threshold: Number.isFinite(parseFloat(threshold)) && isFinite(threshold) ? threshold : "",
    where: [...new Set(words.getAll("where"))].filter((word) => word.includes("=")),
    moment: readMoment(words),
  };
}

function readMoment(words) {
  const key = words.get("v");
  const [start, end] = ["s", "e"].map((name) => parseFloat(words.get(name)));
  if (!key || !(start >= 0)) return null;
  if (!words.has("e")) return { key, start, whole: true };
  return end > start ? { key, start, end } : null;
}

/** The parameters of a search, for the server and for the address. */
export function parameters({ q, k, threshold, where }) {
  const words = new URLSearchParams({ q });
  if (k && k !== "10") words.set("k", k);
  if (threshold !== "") words.set("threshold", threshold);
  for (const filter of where) words.append("where", filter);
  return words;
}

/** A search becomes a step that the back button undoes. */
export function push(search) {
  const words = search.q ? `?${parameters(search)}` : "";
  if (words !== location.search) history.pushState(null, "", `/${words}`);
}

/** A moment belongs to the step of its search. */
export function note(search, moment) {
  const words = search.q ? parameters(search) : new URLSearchParams();
  if (moment) {
    words.set("v", moment.key);
    words.set("s", moment.start.toFixed(2));
    if (!moment.whole) words.set("e", moment.end.toFixed(2)); // a seek has no end
  }
  const text = words.toString();
  history.replaceState(null, "", text ? `/?${text}` : "/");
}
