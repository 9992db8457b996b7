// What a rollback sets aside, in words. Pure.
import type { EnvironmentDetails, RollbackDetails } from "../api/types";
import { duration, time } from "../text";

/** `undoWindowSeconds` of a Rollback and an undo that the API creates: its default. */
export const UNDO_HOURS = 24;

/** A rollback that can be undone, by its times: "The rollback of 19:50:27 to 14:02:11". */
export function namedByTime({ kind, switchedAt, snapshotAt, completedAt }: EnvironmentDetails["undoWindows"][number]): string {
  const when = `The ${kind} of ${time(switchedAt ?? completedAt)}`;
  return snapshotAt === null ? when : `${when} to ${time(snapshotAt)}`;
}

/** What it depends on: a rollback or an undo. */
export type Switched = Pick<RollbackDetails, "id" | "kind" | "switchedAt" | "switchedBackAt" | "snapshotAt">;

/** The newest one that replaced the data after a moment, and stayed. */
export function lastSwitch<T extends Switched>(turns: T[], after: string): T | undefined {
  const when = ({ switchedAt }: Switched) => Date.parse(switchedAt ?? "");
  return turns
    .filter((turn) => turn.switchedBackAt === null && when(turn) > Date.parse(after))
    .sort((a, b) => when(b) - when(a))[0];
}

/** `at`: the state that the rollback restores. `last`: what replaced the data after it (`lastSwitch`). */
export function setAside(at: string, last: Switched | undefined, now: number): string {
  const since = (from: string) => duration((now - Date.parse(from)) / 1000);
  const all = `${since(at)} of work are set aside`;
  if (!last) return all;
  // The work between a rollback and its undo is not live: how much it is depends on both.
  if (last.kind === "undo") return `Up to ${all} (a rollback in this time was undone)`;
  const recent = `work since the rollback of ${time(last.switchedAt)} (${since(last.switchedAt!)})`;
  if (last.snapshotAt === null) return `The ${recent} and newer work in the state that it restored are set aside`;
  if (Date.parse(last.snapshotAt) <= Date.parse(at)) return `The ${recent} is set aside`;
  return `The ${recent} and the work from ${time(at)} to ${time(last.snapshotAt)} are set aside`;
}
