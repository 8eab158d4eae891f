// Talks to the server.

/** The server refused a request; the message is its line for the reader. */
class Refused extends Error {
  constructor(status, line) {
    super(line);
    this.status = status;
  }
}

/** The server did not answer. */
export class Gone extends Error {}

const RETRIES = 4;

export const videoUrl = (key, rest = "") => `/api/videos/${key}${rest}`;

export const library = () => ask("/api/library");
export const search = (parameters, signal) => ask(`/api/search?${parameters}`, { signal });
/** Search for moments like the picture in a file. */
export const searchPicture = (file, parameters, signal) =>
  ask(`/api/search?${parameters}`, { method: "POST", body: file, signal });
export const videos = (folder, skip, count) =>
  ask(`/api/videos?${new URLSearchParams({ folder, skip, count })}`);
export const about = (key) => ask(videoUrl(key));
/** Fetch a piece of a video, of those that `about` counts. */
export const piece = (key, number, signal) =>
  ask(videoUrl(key, `/pieces/${number}.mp4`), { signal }, (response) => response.arrayBuffer());

/** Fetch a file to keep, and its name. */
export async function download(address) {
  const response = await fetched(address);
  try {
    if (!response.ok) throw await refusal(response);
    return { blob: await response.blob(), name: fileName(response) };
  } catch (error) {
    throw error instanceof Refused ? error : new Gone("the server broke off");
  }
}

/** Fetch JSON or `content`; a busy server is asked again after the time that it names. */
async function ask(address, options = {}, content = (one) => one.json(), attempt = 0) {
  const response = await fetched(address, options);
  if (response.ok) return read(response, content);
  const wait = Number(response.headers.get("Retry-After"));
  if (response.status === 503 && wait && attempt < RETRIES) {
    await new Promise((done) => setTimeout(done, wait * 1000));
    return ask(address, options, content, attempt + 1);
  }
  throw await refusal(response);
}

async function fetched(address, options) {
  try {
    return await fetch(address, options);
  } catch (error) {
    throw lost(error);
  }
}

async function read(response, content) {
  try {
    return await content(response);
  } catch (error) {
    throw lost(error);
  }
}

async function refusal(response) {
  const { error } = await read(response, (one) => one.json());
  return new Refused(response.status, error || `the server answered ${response.status}`);
}

const lost = (error) =>
  (error.name === "AbortError" ? error : new Gone("the server does not answer"));

/** The name of a file as its headers give it. */
function fileName(response) {
  const words = response.headers.get("Content-Disposition") || "";
  const [, coded] = words.match(/filename\*=UTF-8''([^;]+)/i) || [];
  const [, plain] = words.match(/filename="([^"]+)"/i) || [];
  return coded ? decodeURIComponent(coded) : plain || "download";
}
