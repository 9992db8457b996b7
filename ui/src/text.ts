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

/** "5 min ago" or "in 5 min". */
export function relative(value: string, now: number): string {
  const seconds = (Date.parse(value) - now) / 1000;
  if (Number.isNaN(seconds)) return "";
  return seconds <= 0 ? `${duration(-seconds)} ago` : `in ${duration(seconds)}`;
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
