// Saves files: says when one is being prepared, and why one failed.

import { download } from "./api.js";
import { announce, el } from "./dom.js";

const KEPT = 60_000; // milliseconds that a browser may take to begin to write a file

/**
 * Make a click on a link fetch its file before saving it. `complain(line)` shows why that failed;
 * "" removes the line. Clicks with a modifier key, as for a new tab, are left to the browser.
 */
export function saves(link, complain) {
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    if (!link.hasAttribute("aria-disabled")) save(link, complain);
  });
  return link;
}

async function save(link, complain) {
  const label = link.textContent;
  // not removed and not disabled: the focus stays where it is
  link.setAttribute("aria-disabled", "true");
  link.textContent = "Preparing…";
  complain("");
  announce("Preparing the file");
  try {
    const { blob, name } = await download(link.href);
    write(blob, name);
    announce(`Saved ${name}`);
  } catch (error) {
    complain(`Not saved: ${error.message}`);
  } finally {
    link.textContent = label;
    link.removeAttribute("aria-disabled");
  }
}

function write(blob, name) {
  const address = URL.createObjectURL(blob);
  el("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), KEPT);
}
