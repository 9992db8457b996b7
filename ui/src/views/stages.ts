// Where a rollback is, in few words.
import type { RollbackDetails } from "../api/types";
import type { Tone } from "../parts/show";
import { code, duration, time, visible, words } from "../text";

export interface Stage {
  name: string;
  state: "done" | "now" | "next";
  /** The application is down in it. */
  down: boolean;
}

/** What people read → the stages of the operator. */
const STAGES: Record<string, string[]> = {
  "Check it can run": ["Preview", "Preflight"],
  "Restore beside": ["Restore", "Neutralize", "Await", "Prepare"],
  Stop: ["Stop", "Drain"],
  Switch: ["Switch", "Inspect"],
  Start: ["Resume"],
  "Wait until ready": ["HealthCheck", "Finish"],
};
/** Steps of the operator → their names. A step that is a whole stage has the name of the stage. */
const STEPS: Record<string, string> = {
  Preflight: "Check it can run",
  SafetySnapshot: "Take the safety snapshot",
  RestoreDatabase: "Restore the database",
  RestoreFilestore: "Restore the files",
  Check: "Check the copy",
  Neutralize: "Neutralise the copy",
  Quiesce: "Stop",
  RestoreImage: "Restore the image",
  Resume: "Start",
  HealthCheck: "Wait until ready",
  Cleanup: "Clean up",
};

/** A step as people read it: the same name in every view. */
export function stepName(step: string): string {
  return STEPS[step] ?? words(step);
}

/** How far a step is. Of a rollback that failed, only the cleanup can still run. */
export function stepState(
  { name, state }: Pick<RollbackDetails["steps"][number], "name" | "state">,
  status: RollbackDetails["status"],
): string {
  return status === "failed" && state === "pending" && name !== "Cleanup" ? "not run" : state;
}

const DOWN = ["Stop", "Switch", "Start", "Wait until ready"];
/** What replaces the stages that are left when it fails. */
const BACK: Record<string, string> = {
  Abort: "Abort",
  BackStop: "Switch back",
  BackDrain: "Switch back",
  BackJob: "Switch back",
};

/** From here on it is not cancelled: it is completed or switched back. */
const AFTER_SWITCH = ["Switch", "Inspect", "Resume", "HealthCheck", "Finish"];

/** The stages of one that runs. An undo restores nothing: what it returns to is there. */
export function stages({ kind, stage }: Pick<RollbackDetails, "kind" | "stage">): Stage[] {
  const names = Object.keys(STAGES).filter((name) => kind !== "undo" || name !== "Restore beside");
  const back = stage === null ? undefined : BACK[stage];
  if (back) return [{ name: back, state: "now", down: back === "Switch back" }];
  const at = names.findIndex((name) => STAGES[name]!.includes(stage ?? ""));
  // Of an undo, the stage that prepares the switch belongs to its checks.
  const now = at < 0 ? 0 : at;
  return names.map((name, index) => ({
    name,
    state: index < now ? "done" : index === now ? "now" : "next",
    down: DOWN.includes(name),
  }));
}

/** Seconds that it still takes, by the share of its time that has passed. null: not known. */
export function rest({ startedAt, percent }: Pick<RollbackDetails, "startedAt" | "percent">, now: number): number | null {
  if (!startedAt || percent < 1) return null;
  return Math.max(0, ((now - Date.parse(startedAt)) / 1000) * (100 / percent - 1));
}

/** The name of the environment, once it is known. */
export function named(of: RollbackDetails): string {
  return of.environmentName ?? "the environment";
}

/** The outcome in one sentence, as a message. Empty while it runs. */
export function outcome(of: RollbackDetails): string {
  const downtime = of.downtime.seconds === null ? "" : ` It was unavailable for ${duration(of.downtime.seconds)}.`;
  const name = code(named(of));
  if (of.status === "failed") {
    const back = of.position !== "old" ? "" : ` ${name} has the data from before.${downtime}`;
    return `${visible(of.errorMessage ?? of.message)}${back}`;
  }
  if (of.status !== "completed") return "";
  if (of.switchedBackAt) return `${name} was switched back at ${time(of.switchedBackAt)}.${downtime}`;
  if (of.kind === "undo")
    return of.undoneById
      ? `The rollback was undone. That undo was undone later.${downtime}`
      : `The rollback is undone: ${name} has the data from before it.${downtime}`;
  const state = of.snapshotAt
    ? `the state of ${time(of.snapshotAt)}`
    : `the data of snapshot ${code(of.snapshotName ?? of.snapshotId ?? "")}`;
  return `${name} ${of.undoneById ? `had ${state}, until that was undone` : `has ${state}`}.${downtime}`;
}

/** The tone of what has ended. Good only where the evidence says so: `rest` has what is not proven otherwise. */
export function ending(of: Pick<RollbackDetails, "status" | "recoveryEvidence" | "undoneById">): { tone: Tone; rest: string[] } {
  if (of.status === "failed") return { tone: "bad", rest: [] };
  // Its evidence is that of before: what it has proven does not hold any more.
  if (of.undoneById !== null) return { tone: "quiet", rest: [] };
  const { recoveryEvidence: evidence } = of;
  if (evidence?.canWriteCleanSuccess) return { tone: "good", rest: [] };
  return { tone: "warn", rest: evidence?.whyNotGreen ?? ["The evidence is not known."] };
}

/** What happens if it hangs. */
export function limit({ status, stage, deadline }: Pick<RollbackDetails, "status" | "stage" | "deadline">): string {
  if (status === "pending" || stage === null) return "It waits for its start. Its time counts from the start.";
  const until = deadline && ` by ${time(deadline)}`;
  if (stage === "Abort") return "It removes what it has restored, and ends as failed. The environment is unchanged.";
  if (stage in BACK) return `It returns to the data from before, and ends as failed${until ? `${until} at the latest` : ""}.`;
  if (AFTER_SWITCH.includes(stage))
    return (
      `If it hangs, it ends${until ? `${until} at the latest` : " at the limit of its stage"}. If the application does not ` +
      "become ready, the operator returns it to the data from before automatically, and the rollback ends as failed."
    );
  return `If it has not switched${until || " within its time"}, it ends as failed and changes nothing.`;
}
