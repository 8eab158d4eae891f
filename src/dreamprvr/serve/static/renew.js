// Changes the list of results while somebody reads it.

const CONTROLS = "button, summary, [role=slider]";

/** `change()` replaces the items of a list; what is read, unfolded or has the focus stays there. */
export function inPlace(list, change) {
  const old = [...list.children];
  const unfolded = old.filter((item) => item.querySelector("details").open).map(keyOf);
  const held = document.activeElement.closest(".hit");
  const control = held && [...held.querySelectorAll(CONTROLS)].indexOf(document.activeElement);
  const read = old.find((item) => item.getBoundingClientRect().bottom > 0);
  const top = read?.getBoundingClientRect().top;
  change();
  const items = [...list.children];
  const now = (item) => item && items.find((other) => keyOf(other) === keyOf(item));
  for (const item of items) item.querySelector("details").open = unfolded.includes(keyOf(item));
  if (now(read)) scrollBy(0, now(read).getBoundingClientRect().top - top);
  if (!held) return;
  const place = now(held)?.querySelectorAll(CONTROLS)[control] || now(held) || items[0];
  place?.focus({ preventScroll: true });
}

const keyOf = (item) => item.hit.video.key;
