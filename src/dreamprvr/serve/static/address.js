// The search and the moment in the page's address, so that a link reopens them.

/** What the address says: a search, and the moment that was played. */
export function read() {
  const words = new URLSearchParams(location.search);
  const [start, end] = [Number(words.get("s")), Number(words.get("e"))];
  return {
    q: words.get("q") || "",
    k: words.get("k") || "10",
    threshold: words.get("threshold") || "",
    where: words.getAll("where"),
    moment: words.get("v") && end > start ? { key: words.get("v"), start, end } : null,
  };
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
    words.set("e", moment.end.toFixed(2));
  }
  const text = words.toString();
  history.replaceState(null, "", text ? `/?${text}` : "/");
}
