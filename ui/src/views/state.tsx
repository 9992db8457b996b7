// How an environment stands: one word for each state, the worst first.
import type { EnvironmentRow } from "../api/types";
import { useNow } from "../parts/context";
import { Mark, Progress, Time, type Sign, type Tone } from "../parts/show";
import { address } from "../route";
import { rough, words } from "../text";
import { stepName } from "./stages";
import type { Verdict } from "./verdict";

export type State = EnvironmentRow["state"];

/** State → its word, its tone, and what it means. Red is for what is broken; yellow for what will be missed. */
export const STATES: Record<State, { word: string; tone: Tone; sign?: Sign; means: string }> = {
  notReady: { word: "Not ready", tone: "bad", means: "A snapshot would not work." },
  none: { word: "No snapshot", tone: "bad", means: "There is no good state to return to." },
  overdue: { word: "Overdue", tone: "warn", means: "The newest good state is older than its schedule allows." },
  newestFailed: { word: "Newest failed", tone: "warn", means: "The newest snapshot failed." },
  rollbackNotReady: { word: "No rollback", tone: "warn", means: "Snapshots work. A rollback would not." },
  suspended: { word: "Suspended", tone: "warn", sign: "paused", means: "The schedule is suspended: no snapshot is planned." },
  fine: {
    word: "Fine",
    tone: "good",
    means: "Snapshots and rollbacks work, and the newest good state is as new as planned.",
  },
  unknown: { word: "Not known", tone: "quiet", means: "The first check has not ended." },
};

/** How far the last good state is proven: in the words of a snapshot (`taken`). */
export const PROOFS: Record<NonNullable<EnvironmentRow["lastGood"]>["proof"], string> = {
  incomplete: "completed, may lack data",
  complete: "completed",
  verified: "verified",
  restoreTested: "restored as a test",
};

/** "late by 12 min", against the schedule; null where the next good state is not late. */
export function useLateness({ overdueSince }: EnvironmentRow): string | null {
  const now = useNow(false);
  return overdueSince && `late by ${rough((now - Date.parse(overdueSince)) / 1000)}`;
}

/** In place of the time of the next snapshot: a schedule without one has not been planned yet, or cannot be. */
export function notPlanned({ expectedEverySeconds }: Pick<EnvironmentRow, "expectedEverySeconds">): string {
  return expectedEverySeconds === null ? "not planned" : "not known";
}

/** A verdict in its colour. */
export function Stands({ of: { tone, sign, words } }: { of: Verdict }) {
  return (
    <Mark tone={tone} sign={sign}>
      {words}
    </Mark>
  );
}

export function StateMark({ of }: { of: State }) {
  const { word, tone, sign } = STATES[of];
  return (
    <Mark tone={tone} sign={sign}>
      {word}
    </Mark>
  );
}

/** The address of what runs; null where it has no view. */
export function placeOf(row: EnvironmentRow, { id, kind }: NonNullable<EnvironmentRow["operation"]>): string | null {
  if (id === null || kind === "extract") return null;
  return kind === "rollback"
    ? address({ view: "rollback", environment: row.id, rollback: id })
    : address({ view: "snapshot", environment: row.id, snapshot: id });
}

/** The operation that is under way, with a link to it. */
export function Running({ row }: { row: EnvironmentRow }) {
  const { operation } = row;
  if (!operation) return null;
  const what = words(operation.kind);
  const place = placeOf(row, operation);
  return (
    <p class="running">
      {place ? <a href={place}>{what}</a> : what} runs
      {operation.since && (
        <>
          {" "}
          since <Time at={operation.since} />
        </>
      )}
      . {operation.step && stepName(operation.step)}{" "}
      <Progress percent={operation.percent} label={`${what} of ${row.name}`} />
    </p>
  );
}
