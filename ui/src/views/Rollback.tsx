// One rollback: progress by stage, downtime, outcome, undo, cancel.
import { useState } from "preact/hooks";
import { body } from "../api/calls";
import type { RollbackDetails } from "../api/types";
import { objectOf, useAction, useLoaded, useNow, useParts, useSession } from "../parts/context";
import { Field } from "../parts/form";
import {
  Ask,
  Back,
  Code,
  Facts,
  Known,
  Mark,
  Maybe,
  Notes,
  Progress,
  Section,
  Text,
  Time,
  Title,
  type Tone,
} from "../parts/show";
import { address, go } from "../route";
import { useStore } from "../store";
import { bytes, count, duration, relative, time, visible, words } from "../text";
import { Evidence } from "./Evidence";

export function RollbackView({ environment, id }: { environment: string; id: string }) {
  const rollback = useLoaded<RollbackDetails>(
    id,
    (api) => body(api.GET("/console/v1/rollbacks/{deploymentId}", { params: { path: { deploymentId: id } } })),
    objectOf("rollback", id),
  );
  const { data } = rollback;
  // What is known stays on the page; a cancelled rollback is removed.
  const [asked, setAsked] = useState(false);
  const cancelled = (asked || data?.isCancelling) && rollback.problem?.status === 404;
  const title = data ? `${data.kind === "undo" ? "Undo" : "Rollback"} of ${visible(named(data))}` : "Rollback";
  return (
    <>
      <Title name={title}>{title}</Title>
      <Back environment={environment} name={data && named(data)} />
      {cancelled && data ? (
        <p class="note" role="status">
          The rollback was cancelled. <Text of={named(data)} /> is unchanged.
        </p>
      ) : (
        <Known of={rollback}>
          {(data) => (
            <Details
              of={data}
              since={rollback.since}
              cancelled={() => {
                setAsked(true);
                rollback.reload();
              }}
            />
          )}
        </Known>
      )}
    </>
  );
}

/** The name of the environment, once it is known. */
function named(of: RollbackDetails): string {
  return of.environmentName ?? "the environment";
}

/** The outcome in one sentence. Empty while it runs. */
export function outcome(of: RollbackDetails): string {
  const downtime = of.downtime.seconds === null ? "" : ` It was unavailable for ${duration(of.downtime.seconds)}.`;
  const name = visible(named(of));
  if (of.status === "failed") {
    const back = of.position !== "old" ? "" : ` ${name} has the data from before.${downtime}`;
    return `${visible(of.errorMessage ?? of.message)}${back}`;
  }
  if (of.status !== "completed") return "";
  if (of.switchedBackAt) return `${name} was switched back at ${time(of.switchedBackAt)}.${downtime}`;
  if (of.kind === "undo") return `The rollback is undone: ${name} has the data from before it.${downtime}`;
  return `${name} has the data of snapshot ${visible(of.snapshotName ?? of.snapshotId ?? "")}.${downtime}`;
}

const TONES: Record<RollbackDetails["steps"][number]["state"], Tone> = {
  pending: "quiet",
  running: "warn",
  done: "good",
  skipped: "quiet",
  failed: "bad",
};

function Details({ of, since: known, cancelled }: { of: RollbackDetails; since: number; cancelled(): void }) {
  const { changes, session } = useParts();
  const connection = useStore(changes.connection);
  const runs = of.status === "pending" || of.status === "running";
  const now = useNow(runs || of.undo.possible);
  // Nothing counts on while the page does not know whether it still runs.
  const { kind } = useSession(session);
  const live = connection.kind === "live" && kind === "signedIn";
  const until = live ? now : known;
  const since = (from: string, to: string | null) =>
    duration(((to ? Date.parse(to) : until) - Date.parse(from)) / 1000);
  const { downtime } = of;
  return (
    <>
      <div role="status">
        {runs ? (
          <p>
            {of.isCancelling ? "It is being cancelled." : <Text of={of.message} />}{" "}
            {of.stage && <Mark tone="warn">{words(of.stage)}</Mark>}
          </p>
        ) : (
          <p class={of.status === "failed" ? "note bad" : "note good"}>
            <strong>{outcome(of)}</strong>
          </p>
        )}
      </div>
      {runs && (
        <p>
          <Progress percent={of.percent} label="Progress of the rollback" /> {of.step && words(of.step)}
          {of.bytesTotal ? ` ${bytes(of.bytesDone)} of ${bytes(of.bytesTotal)}` : ""}
          {of.stageSince && `, in this stage for ${since(of.stageSince, null)}`}
        </p>
      )}
      {downtime.startedAt && (
        <p class={downtime.endedAt ? "" : "note warn"} role="timer" aria-label="Downtime">
          Downtime: {downtime.endedAt ? duration(downtime.seconds) : `${since(downtime.startedAt, null)} so far`}, from{" "}
          {time(downtime.startedAt)}
          {downtime.endedAt && ` to ${time(downtime.endedAt)}`}.
        </p>
      )}
      <Notes tone="warn" of={of.warnings} />
      {runs && <Cancel of={of} cancelled={cancelled} />}
      {!runs && <Undo of={of} now={now} />}
      <Section id="steps" title="Steps">
        <ol class="steps">
          {of.steps.map((step) => (
            <li key={step.name} aria-current={step.state === "running" ? "step" : undefined}>
              <Mark tone={TONES[step.state]}>{step.state}</Mark> {words(step.name)}
              {step.startedAt && `, ${since(step.startedAt, step.completedAt)}, from ${time(step.startedAt)}`}
              {step.bytesDone !== null && `, ${bytes(step.bytesDone)}`}
              {step.filesDone !== null && `, ${count(step.filesDone)} files`}
              <Maybe lead=". " of={step.message} />
            </li>
          ))}
        </ol>
      </Section>
      <Facts
        of={[
          [
            "Environment",
            <a href={address({ view: "environment", environment: of.environmentId })}>
              <Text of={named(of)} />
            </a>,
          ],
          ["Snapshot", of.snapshotName === null ? "none: an undo" : <Text of={of.snapshotName} />],
          [
            "Asked for",
            <>
              <Time at={of.createdAt} />
              <Maybe lead=", by " of={of.performedBy} />
            </>,
          ],
          ["Started", <Time at={of.startedAt} none="not yet" />],
          ["Ended", <Time at={of.completedAt} none="not yet" />],
          ["Deadline", <Time at={of.deadline} none="none" />],
          ["Switched", <Time at={of.switchedAt} none="no" />],
          [
            "Safety snapshot",
            of.safetySnapshotId ? <Code of={of.safetySnapshotId} /> : of.safetySnapshotCreated ? "taken" : "none",
          ],
          of.undoneById !== null && [
            "Undone by",
            <a href={address({ view: "rollback", environment: of.environmentId, rollback: of.undoneById })}>
              {of.undoneById}
            </a>,
          ],
          ["Id", <Code of={of.id} />],
        ]}
      />
      {of.recoveryEvidence && <Evidence of={of.recoveryEvidence} />}
    </>
  );
}

function Cancel({ of, cancelled }: { of: RollbackDetails; cancelled(): void }) {
  const { api } = useParts();
  const action = useAction(
    (_: undefined) =>
      body(api.DELETE("/console/v1/rollbacks/{deploymentId}", { params: { path: { deploymentId: of.id } } })),
    cancelled,
  );
  if (of.isCancelling) return null;
  if (!of.cancel.possible) {
    return (
      <p class="hint">
        It cannot be cancelled now. <Text of={of.cancel.reason ?? ""} />
      </p>
    );
  }
  return (
    <Ask button="Cancel the rollback …" title="Cancel the rollback?" yes="Cancel the rollback" action={action}>
      <p>
        What was restored so far is removed. <Text of={named(of)} /> stays as it is.
      </p>
    </Ask>
  );
}

function Undo({ of, now }: { of: RollbackDetails; now: number }) {
  const { api } = useParts();
  const [typed, setTyped] = useState("");
  const action = useAction(
    (_: undefined, key: string) =>
      body(
        api.POST("/console/v1/rollbacks/{deploymentId}/undo", {
          params: { path: { deploymentId: of.id }, header: { "Idempotency-Key": key } },
        }),
      ),
    ({ deploymentId, environmentId }) =>
      go(address({ view: "rollback", environment: environmentId, rollback: deploymentId })),
  );
  const { possible, until, reason, setsAside } = of.undo;
  if (!possible)
    return reason ? (
      <p class="hint">
        No undo: <Text of={reason} />
      </p>
    ) : null;
  return (
    <Section id="undo" title="Undo">
      {until && (
        <p role="timer" aria-label="Undo window">
          Possible until {time(until)}, {relative(until, now)}.
        </p>
      )}
      {setsAside && (
        <p>
          <Text of={setsAside} />
        </p>
      )}
      <Ask
        button="Undo the rollback …"
        title="Undo the rollback?"
        yes="Undo it"
        ready={typed === of.environmentName}
        action={action}
      >
        <p>{setsAside && <Text of={setsAside} />}</p>
        <Field
          exact
          label={
            <>
              Type the environment's name, <Code of={named(of)} />, to confirm
            </>
          }
          value={typed}
          change={setTyped}
        />
      </Ask>
    </Section>
  );
}
