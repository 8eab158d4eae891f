// Writes numbers as people read them.

/** Seconds as mm:ss, from an hour on as h:mm:ss. */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds || 0));
  const two = (number) => String(number).padStart(2, "0");
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  const rest = `${two(minutes)}:${two(whole % 60)}`;
  return hours ? `${hours}:${rest}` : rest;
}

/** Seconds as hh:mm:ss.mmm, for other programs. */
export function exact(seconds) {
  const thousandths = Math.round(seconds * 1000);
  const two = (number) => String(Math.floor(number)).padStart(2, "0");
  const whole = Math.floor(thousandths / 1000);
  return `${two(whole / 3600)}:${two((whole / 60) % 60)}:${two(whole % 60)}`
    + `.${String(thousandths % 1000).padStart(3, "0")}`;
}

/** A moment as "mm:ss–mm:ss", `withTenths` as "mm:ss.t–mm:ss.t". */
export function span({ start, end }, withTenths = false) {
  const tenths = (second) => (withTenths ? exact(second).slice(-4, -2) : "");
  return `${clock(start)}${tenths(start)}–${clock(end)}${tenths(end)}`;
}

/** Seconds as a screen reader should say them. */
export function spoken(seconds) {
  const whole = Math.max(0, Math.floor(seconds || 0));
  const parts = [
    [Math.floor(whole / 3600), "hour"], [Math.floor(whole / 60) % 60, "minute"],
    [whole % 60, "second"],
  ].filter(([number]) => number).map(([number, unit]) => counted(number, unit));
  return parts.join(" ") || "0 seconds";
}

/** The length of videos in minutes, or in hours from one and a half on. */
export function length(seconds) {
  if (!(seconds > 0)) return "";
  if (seconds < 5400) return counted(Math.max(1, Math.round(seconds / 60)), "minute");
  return counted(Math.round(seconds / 3600), "hour");
}

export function counted(number, unit) {
  return `${number.toLocaleString("en")} ${unit}${number === 1 ? "" : "s"}`;
}

/** How many copies of a video there are besides it. */
export const copies = (number) =>
  (number === 1 ? "1 copy of this video" : `${number.toLocaleString("en")} copies of this video`);

export function score(value) {
  return (value < 0 ? "−" : "") + Math.abs(value).toFixed(3);
}
