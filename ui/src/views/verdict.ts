// The verdict of an environment, a snapshot or an operation: the same words in every view. Pure.
import type { EnvironmentDetails, RollbackDetails, Snapshot } from "../api/types";
import type { Sign, Tone } from "../parts/show";
import { STATES, type State } from "./state";
import { ending } from "./stages";

export interface Verdict {
  tone: Tone;
  sign?: Sign;
  words: string;
}

/** What has not ended, and what has no evidence of its own. */
export function standing(status: Snapshot["status"], percent: number | null = null): Verdict {
  const tones: Record<typeof status, Tone> = { pending: "quiet", running: "active", completed: "good", failed: "bad" };
  const runs = status === "pending" || status === "running";
  return { tone: tones[status], words: runs && percent !== null ? `${status} ${percent} %` : status };
}

/** What the verdict of a rollback depends on. */
export type Judged = Pick<
  RollbackDetails,
  "status" | "percent" | "switchedBackAt" | "undoneById" | "recoveryEvidence"
>;

/** How a rollback or an undo stands. */
export function turned(of: Judged): Verdict {
  if (of.status !== "completed") return standing(of.status, of.percent);
  const { tone } = ending(of);
  if (of.undoneById !== null) return { tone, words: "completed, then undone" };
  if (of.switchedBackAt !== null) return { tone: "warn", words: "completed, then switched back" };
  return { tone, words: `completed, ${tone === "good" ? "all" : "not all"} proven` };
}

/** How far a snapshot is proven. */
export function taken(of: Pick<Snapshot, "status" | "percent" | "restoreTest" | "isSafety" | "isIncomplete" | "verified">): Verdict {
  if (of.status !== "completed") return standing(of.status, of.percent);
  if (of.restoreTest?.result === "failed") return { tone: "bad", words: "restore test failed" };
  // It shows what a rollback replaced, perhaps because it was broken.
  if (of.isSafety) return { tone: "quiet", sign: "safety", words: `safety snapshot, ${of.verified ? "verified" : "complete"}` };
  if (of.isIncomplete) return { tone: "warn", words: "completed, may lack data" };
  if (of.restoreTest?.result === "succeeded") return { tone: "good", words: "restored as a test" };
  return { tone: "good", words: of.verified ? "verified" : "completed" };
}

type Of = Pick<
  EnvironmentDetails,
  "state" | "rollbackReady" | "lastGood" | "expectedEverySeconds" | "operation" | "warnings"
>;

/** State → its answer and an advice. */
const ANSWERS: Record<State, [answer: string, advice: string]> = {
  notReady: ["Not safe: no snapshot can be taken", "Fix what needs attention."],
  none: ["Not safe: there is no good state to roll back to", "Take a snapshot."],
  overdue: ["Not safe: the next good state is overdue", "Take a snapshot. If it fails, its error reports the reason."],
  newestFailed: [
    "The newest snapshot failed",
    "What is newer than the last good state is not safe. Choose the failed one on the axis for its error.",
  ],
  rollbackNotReady: ["Snapshots work, a rollback would not", "Fix what needs attention."],
  suspended: ["The schedule is suspended", "No snapshot is taken automatically. Take one before a change."],
  fine: ["Safe", "Snapshots and rollbacks work, and the last good state is in time."],
  unknown: ["Not known yet", "The first check has not ended."],
};

/** What blocks nothing is named beside the answer: it is not read as its opposite further down. */
function withWarnings({ length }: string[]): string {
  return length ? `, with ${length === 1 ? "a warning" : `${length} warnings`}` : "";
}

const INCOMPLETE = "The last good state may lack data";

/** A worse state hides nothing: the advice also names what else is missing. */
export function verdict({ state, rollbackReady, lastGood, expectedEverySeconds, operation, warnings }: Of): {
  tone: Tone;
  answer: string;
  advice: string;
} {
  const { tone } = STATES[state];
  const [answer, given] = ANSWERS[state];
  const incomplete = lastGood?.proof === "incomplete";
  if (state === "fine" && incomplete)
    return {
      tone: "warn",
      answer: `${INCOMPLETE}${withWarnings(warnings)}`,
      advice: "Open it to see what. Fix the cause, then take a snapshot.",
    };
  if (state === "fine" && expectedEverySeconds === null)
    return {
      tone: "quiet",
      answer: `Safe up to the last good state${withWarnings(warnings)}`,
      advice: "No schedule takes snapshots. Take one before a change.",
    };
  if (state === "fine") return { tone, answer: `${answer}${withWarnings(warnings)}`, advice: given };
  const runs = operation?.kind === "snapshot" && (state === "none" || state === "overdue");
  const advice = [
    runs ? "A snapshot runs: wait for its end." : given,
    ...(lastGood || state === "none" ? [] : ["There is no good state to roll back to."]),
    ...(incomplete ? [`${INCOMPLETE}.`] : []),
    ...(rollbackReady === false && state !== "rollbackNotReady" ? ["A rollback would not work either."] : []),
  ];
  return { tone, answer, advice: advice.join(" ") };
}
