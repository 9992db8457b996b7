// What stands on the time axis of an environment, and where. Everything here is pure: times are epoch milliseconds.
import { timeTicks } from "d3-time";
import type { RollbackDetails, Snapshot } from "../api/types";
import type { Judged } from "./verdict";

/** Zoom → days of the reader's calendar. */
const DAYS = { day: 1, week: 7, month: 31, year: 365 };
export type Zoom = keyof typeof DAYS;
export const ZOOMS: Record<Zoom, string> = { day: "a day", week: "a week", month: "a month", year: "a year" };
/** Zoom → minutes to which a range that ends now is rounded up, so that it is read again only then. */
const ROUND = { day: 5, week: 60, month: 360, year: 1440 };

export interface Range {
  from: number;
  to: number;
}

/** The moment these days of the reader's calendar later, at the same time of day. Some days have 23 or 25 hours. */
function daysLater(moment: number, days: number): number {
  const date = new Date(moment);
  return date.setDate(date.getDate() + days);
}

/** The range of the axis. `end`: its last moment; null: it ends now. */
export function range(zoom: Zoom, end: number | null, now: number): Range {
  const step = ROUND[zoom] * 60_000;
  const newest = Math.ceil(now / step) * step;
  const to = end === null ? newest : Math.min(end, newest);
  return { from: daysLater(to, -DAYS[zoom]), to };
}

/** The end of the range before (-1) or after (1) one. Null: it ends now. */
export function moved(zoom: Zoom, { to }: Range, by: -1 | 1, now: number): number | null {
  const end = daysLater(to, by * DAYS[zoom]);
  return end < now ? end : null;
}

/** The end of a range of this zoom with the moment in its middle. Null: it ends now. */
export function around(zoom: Zoom, moment: number, now: number): number | null {
  const end = moment + (DAYS[zoom] / 2) * 86_400_000;
  return end < now ? end : null;
}

export interface Tick {
  at: number;
  label: string;
  /** Whether a day of the reader begins here. */
  midnight: boolean;
}

const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const DATE = new Intl.DateTimeFormat("en-GB", { weekday: "short", day: "numeric", month: "short" });
const ZONE = new Intl.DateTimeFormat("en-GB", { timeZoneName: "short" });

/** About so many round times of the range. The first one after clocks changed names its time zone. */
export function ticks({ from, to }: Range, about: number): Tick[] {
  let offset = new Date(from).getTimezoneOffset();
  return timeTicks(new Date(from), new Date(to), about).map((date) => {
    const midnight = date.getHours() === 0 && date.getMinutes() === 0;
    const changed = date.getTimezoneOffset() !== offset;
    offset = date.getTimezoneOffset();
    const zone = ZONE.formatToParts(date).find(({ type }) => type === "timeZoneName")?.value;
    const label = midnight ? DATE.format(date) : CLOCK.format(date);
    return { at: date.getTime(), label: changed && zone ? `${label} ${zone}` : label, midnight };
  });
}

/** What the axis needs of a rollback. */
export type Turn = Pick<RollbackDetails, "id" | "kind" | "createdAt" | "switchedAt"> & Judged;

type OfSnapshot = "full" | "differential" | "failed" | "running" | "safety";
export type Kind = OfSnapshot | "deployment" | "rollback" | "undo" | "failedTurn";

export interface Mark {
  id: string;
  kind: Kind;
  at: number;
  /** A snapshot, or the one whose image was the first after a deployment, or the last one before it. */
  snapshot?: Snapshot;
  turn?: Turn;
  /** Of a deployment: the image before and after it, where they differ. */
  images?: [string, string];
  /** Of a deployment whose time is not known: it came after this moment, and before `at`. */
  since?: number;
}

/** The point in time that a snapshot shows. */
export function stateAt({ consistentAt, createdAt }: Pick<Snapshot, "consistentAt" | "createdAt">): string {
  return consistentAt ?? createdAt;
}

export function kind(snapshot: Snapshot): OfSnapshot {
  if (snapshot.status === "failed" || snapshot.restoreTest?.result === "failed") return "failed";
  if (snapshot.status !== "completed") return "running";
  if (snapshot.isSafety) return "safety";
  return snapshot.isFullFilestore ? "full" : "differential";
}

/**
 * All marks in order of time. Of one moment: a deployment follows the snapshot that was taken before it. `latest`: what
 * the clock of a node has put after that has happened then.
 */
export function marks(snapshots: Snapshot[], turns: Turn[], latest = Number.POSITIVE_INFINITY): Mark[] {
  const when = (text: string) => Math.min(Date.parse(text), latest);
  const taken = snapshots
    .map((snapshot) => ({ id: snapshot.id, kind: kind(snapshot), at: when(stateAt(snapshot)), snapshot }))
    .sort((a, b) => a.at - b.at);
  const turned = turns.map((turn): Mark => {
    const kind = turn.status === "failed" ? "failedTurn" : turn.kind;
    return { id: turn.id, kind, at: when(turn.switchedAt ?? turn.createdAt), turn };
  });
  const all: Mark[] = [];
  let image: { name: string; at: number; deploys: boolean } | undefined;
  for (const [index, mark] of taken.entries()) {
    const { snapshot, at } = mark;
    const name = snapshot.image;
    // Where a rollback lies between, it may have restored the image.
    const turnedSince = image && turned.some((turn) => turn.at > image!.at && turn.at <= at);
    if (name !== null && image && name !== image.name && !image.deploys && !turnedSince)
      all.push({ id: `before-${mark.id}`, kind: "deployment", at, snapshot, images: [image.name, name], since: image.at });
    all.push(mark);
    const deploys = snapshot.trigger === "deployment";
    if (deploys) {
      const after = taken.slice(index + 1).find((later) => later.snapshot.image !== null)?.snapshot.image;
      const changed = name !== null && after && after !== name;
      // A deployment whose snapshot failed may not have begun.
      if (changed || snapshot.status !== "failed")
        all.push({
          id: `after-${mark.id}`,
          kind: "deployment",
          at,
          snapshot,
          ...(changed && { images: [name, after] }),
        });
    }
    if (name !== null) image = { name, at, deploys };
  }
  return [...all, ...turned].sort((a, b) => a.at - b.at);
}

const SHORT = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });

export interface Label {
  x: number;
  text: string;
}

/** Pixels that a character of a label takes. */
const CHARACTER = 7.5;
/** What a label may end with where there is no room for those before it. */
const MORE = ", 99 more";

/**
 * The times of deployments, for their marks on the axis; "by" where it is only known when the deployment was there. Of
 * those too close to each other the newest one has a label, which counts the others. `x`: where a mark stands.
 */
export function labels(marks: Mark[], zoom: Zoom, width: number, x: (at: number) => number): Label[] {
  const found: { mark: Mark; left: number; more: number; label: Label }[] = [];
  for (const mark of marks.filter(({ kind }) => kind === "deployment").reverse()) {
    const clock = CLOCK.format(mark.at);
    const at = zoom === "day" ? clock : `${SHORT.format(mark.at)} ${clock}`;
    const text = mark.since === undefined ? at : `by ${at}`;
    const wide = (text.length + MORE.length) * CHARACTER;
    const left = Math.max(0, Math.min(x(mark.at) - 4, width - wide));
    const last = found.at(-1);
    if (last && left + wide > last.left) last.more += 1;
    else found.push({ mark, left, more: 0, label: { x: left, text } });
  }
  return found.map(({ label, more }) => (more ? { ...label, text: `${label.text}, ${more} more` } : label));
}

/** Deployments of a range, the newest first, each with the last good state before it. */
export function deployments(all: Mark[], { from, to }: Range): { deployment: Mark; before: Mark | undefined }[] {
  const found: { deployment: Mark; before: Mark | undefined }[] = [];
  let before: Mark | undefined;
  for (const mark of all) {
    if (mark.kind === "deployment" && mark.at >= from && mark.at <= to) found.push({ deployment: mark, before });
    if (isState(mark)) before = mark;
  }
  return found.reverse();
}

/** The last good state before a mark. */
export function lastGoodBefore(marks: Mark[], id: string): Mark | undefined {
  const place = marks.findIndex((mark) => mark.id === id);
  return marks.slice(0, Math.max(0, place)).findLast(isState);
}

/** Whether a mark is a good state to roll back to: a complete snapshot that is not damaged, and no safety snapshot. */
export function isState({ kind }: Mark): boolean {
  return kind === "full" || kind === "differential";
}

/** The snapshots whose sizes are drawn: what a failed one has measured is no size of the data. */
export function sized(marks: Mark[]): Mark[] {
  return marks.filter(
    ({ kind, snapshot }) => kind !== "deployment" && snapshot?.status === "completed" && snapshot.totalSizeBytes !== null,
  );
}

/**
 * Where good states are further apart than their schedule wants. `expected`: seconds between two of them by the
 * schedule. `overdueSince`: since when the next one is missing.
 */
export function gaps(marks: Mark[], expected: number | null, overdueSince: number | null, to: number): Range[] {
  const good = marks.filter(isState);
  const found: Range[] = [];
  if (expected !== null)
    for (const [index, { at }] of good.entries()) {
      const next = good[index + 1]?.at;
      // Half a distance more is spread, and how long a snapshot takes.
      if (next !== undefined && next - at > expected * 1500) found.push({ from: at, to: next });
    }
  const last = good.at(-1)?.at ?? overdueSince;
  if (overdueSince !== null && last !== null && last < to) found.push({ from: last, to });
  return found;
}

/**
 * The mark that a click means. `x`: where a mark stands. Of several at that place it is the one after the chosen one,
 * so that each is reached by clicking again.
 */
export function clicked(marks: Mark[], chosen: string | null, at: number, x: (mark: Mark) => number): Mark | undefined {
  const near = (reach: number) => marks.filter((mark) => Math.abs(x(mark) - at) <= reach);
  const nearest = marks.reduce((least, mark) => Math.min(least, Math.abs(x(mark) - at)), Number.POSITIVE_INFINITY);
  if (nearest > REACH) return undefined;
  const found = near(nearest + 2);
  return found[(found.findIndex(({ id }) => id === chosen) + 1) % found.length];
}

/** Pixels from a mark within which a finger means it. */
const REACH = 24;

/** A mark among those around it, in order of time: so many before it, and after it. */
export function neighbours(marks: Mark[], { id }: Pick<Mark, "id">, each = 2): Mark[] {
  const place = marks.findIndex((mark) => mark.id === id);
  return marks.slice(Math.max(0, place - each), place + each + 1);
}

/** The mark that a key leads to; undefined: the key leads nowhere. */
export function stepped(marks: Mark[], chosen: string | null, key: string): Mark | undefined {
  const place = marks.findIndex(({ id }) => id === chosen);
  switch (key) {
    case "ArrowRight":
    case "ArrowUp":
      return marks[place < 0 ? marks.length - 1 : Math.min(place + 1, marks.length - 1)];
    case "ArrowLeft":
    case "ArrowDown":
      return marks[place < 0 ? marks.length - 1 : Math.max(place - 1, 0)];
    case "Home":
      return marks[0];
    case "End":
      return marks.at(-1);
    default:
      return undefined;
  }
}
