// Values as people read them.

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

export function bytes(value: number | null | undefined): string {
  if (value === null || value === undefined) return "not known";
  let size = value;
  let unit = 0;
  while (size >= 1024 && unit < UNITS.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${unit === 0 || size >= 100 ? Math.round(size) : size.toFixed(1)} ${UNITS[unit]}`;
}

export function count(value: number | null | undefined): string {
  return value === null || value === undefined ? "not known" : value.toLocaleString("en");
}

/** "2 h 5 min" of seconds: the two largest units. */
export function duration(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined) return "not known";
  if (seconds < 10) return `${Math.max(0, seconds).toFixed(seconds < 1 && seconds > 0 ? 1 : 0)} s`;
  let rest = Math.round(seconds);
  const parts: string[] = [];
  for (const [unit, length] of [
    ["d", 86_400],
    ["h", 3600],
    ["min", 60],
    ["s", 1],
  ] as const) {
    const whole = Math.floor(rest / length);
    rest -= whole * length;
    if (whole) parts.push(`${whole} ${unit}`);
    if (parts.length === 2 || (parts.length && !whole)) break;
  }
  return parts.join(" ");
}

const TIME = new Intl.DateTimeFormat("en-GB", {
  year: "numeric",
  month: "short",
  day: "numeric",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  timeZoneName: "short",
});
const DAY = new Intl.DateTimeFormat("en-GB", { weekday: "short", year: "numeric", month: "short", day: "numeric" });

/** With the name of the time zone. What is no time is returned as it is. */
export function time(value: string | number | null | undefined): string {
  if (value === null || value === undefined) return "not known";
  const date = new Date(value);
  return Number.isNaN(date.getTime()) ? String(value) : TIME.format(date);
}

export function day(value: Date): string {
  return DAY.format(value);
}

/** A time in UTC, for logs and for people in other time zones. */
export function utc(value: string | number): string {
  const date = new Date(value);
  return Number.isNaN(date.getTime()) ? String(value) : `${date.toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

/** Of what is planned: "in 5 min", or "5 min ago". */
export function relative(value: string, now: number): string {
  const seconds = (Date.parse(value) - now) / 1000;
  if (Number.isNaN(seconds)) return "";
  return seconds > 0 ? `in ${rough(seconds)}` : ago(value, now);
}

/** Of what has happened: "5 min ago", and never a time to come, also where the clock that wrote it is ahead. */
export function ago(value: string, now: number): string {
  const seconds = (now - Date.parse(value)) / 1000;
  if (Number.isNaN(seconds)) return "";
  return seconds < 1 ? "just now" : `${rough(seconds)} ago`;
}

/** A duration as one says it: whole minutes from two minutes on, whole days from a week on. */
export function rough(seconds: number): string {
  const unit = seconds < 120 ? 1 : seconds < 7 * 86_400 ? 60 : 86_400;
  return duration(Math.floor(seconds / unit) * unit);
}

/** Milliseconds after which a relative time is written again: seconds matter below two minutes only. */
export function pace(value: string, now: number): number {
  return Math.abs(Date.parse(value) - now) < 120_000 ? 1000 : 15_000;
}

/** The first characters of an id: enough to compare two. */
export function short(id: string): string {
  return visible(id).slice(0, 8);
}

/**
 * The text of a tenant on one line or more: control characters, and those that change the direction of text, become
 * visible escapes, so that a name looks like no other text.
 */
export function visible(text: string): string {
  return text.replace(
    /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\u{e0000}-\u{e007f}]/gu,
    (character) => `\\u${character.codePointAt(0)!.toString(16).padStart(4, "0")}`,
  );
}

/** A moment within a text, as the operator writes it. */
const MOMENT = /\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/g;

/** A message of the operator in pieces: what stands between backticks is code, and moments elsewhere are local times. */
export function pieces(message: string): { code: boolean; text: string }[] {
  return message
    .split(/`([^`\n]+)`/)
    .map((text, index) => ({ code: index % 2 === 1, text }))
    .map(({ code, text }) => ({ code, text: code ? text : text.replace(MOMENT, (moment) => time(moment)) }))
    .filter(({ text }) => text !== "");
}

/** A name within a message: it cannot be read as a word of the sentence. */
export function code(name: string): string {
  return `\`${visible(name).replaceAll("`", "'")}\``;
}

/** The words as one command line for a POSIX shell: each reaches the program as it is. */
export function command(...words: string[]): string {
  return words.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`)).join(" ");
}

/** "RestoreDatabase" as "Restore database"; "keepDaily" as "Keep daily". */
export function words(name: string): string {
  const spaced = visible(name).replace(
    /([a-z0-9])([A-Z])/g,
    (_, end: string, start: string) => `${end} ${start.toLowerCase()}`,
  );
  return spaced.charAt(0).toUpperCase() + spaced.slice(1).replace(/_/g, "-");
}
