// Talks to the server.

/** The server answered with a refusal; its line is meant for the reader. */
export class Refused extends Error {
  constructor(status, line) {
    super(line);
    this.status = status;
  }
}

/** There was no answer. */
export class Gone extends Error {}

const RETRIES = 4;

export const videoUrl = (key, rest = "") => `/api/videos/${key}${rest}`;

export const library = () => ask("/api/library");
export const search = (parameters, signal) => ask(`/api/search?${parameters}`, { signal });
export const about = (key) => ask(videoUrl(key));
export const preview = (key) => ask(videoUrl(key, "/preview"));
export const startPreview = (key) => ask(videoUrl(key, "/preview"), { method: "POST" });

/** The JSON behind an address; a busy server is asked again when it wants to be. */
async function ask(address, options = {}, attempt = 0) {
  let response;
  let body;
  try {
    response = await fetch(address, options);
    body = await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Gone("the server does not answer");
  }
  if (response.ok) return body;
  const wait = Number(response.headers.get("Retry-After"));
  if (response.status === 503 && wait && attempt < RETRIES) {
    await new Promise((done) => setTimeout(done, wait * 1000));
    return ask(address, options, attempt + 1);
  }
  throw new Refused(response.status, body.error || `the server answered ${response.status}`);
}
