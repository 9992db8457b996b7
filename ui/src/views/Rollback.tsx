// One rollback: where it is and for how long it still runs, the downtime, the outcome and the next step.
import { useState } from "preact/hooks";
import { body } from "../api/calls";
import type { EnvironmentDetails, RollbackDetails } from "../api/types";
import { objectOf, useAction, useLoaded, useNow, useParts, useSession } from "../parts/context";
import {
  Ask,
  Back,
  Command,
  Danger,
  Facts,
  Known,
  List,
  Mark,
  May,
  Maybe,
  Message,
  Name,
  Notes,
  Progress,
  Section,
  ShortId,
  Text,
  Time,
  Title,
  Type,
  type Tone,
} from "../parts/show";
import { address } from "../route";
import { useStore } from "../store";
import { bytes, command, count, duration, relative, time } from "../text";
import { UNDO_HOURS } from "./aside";
import { Confirm, phrase } from "./Confirm";
import { useEnvironment } from "./Environment";
import { Evidence } from "./Evidence";
import { Outcome } from "./Outcome";
import { ending, limit, named, outcome, rest, stages, stepName, stepState } from "./stages";
import { Stands } from "./state";
import { useStart } from "./start";
import { turned } from "./verdict";
import "./rollback.css";

export function RollbackView({ environment, id }: { environment: string; id: string }) {
  const rollback = useLoaded<RollbackDetails>(
    `${environment} ${id}`,
    (api) =>
      body(
        api.GET("/console/v1/rollbacks/{deploymentId}", {
          params: { path: { deploymentId: id }, query: { environmentId: environment } },
        }),
      ),
    objectOf("rollback", id, environment),
  );
  const target = useEnvironment(environment);
  const { data } = rollback;
  // What is known stays on the page; a cancelled rollback is removed.
  const [asked, setAsked] = useState(false);
  const cancelled = (asked || data?.isCancelling) && rollback.problem?.status === 404;
  const what = data?.kind === "undo" ? "Undo" : "Rollback";
  const title = data ? `${what} of ${named(data)}` : what;
  return (
    <>
      <Title name={title}>{data ? <>{what} of <Name of={named(data)} /></> : title}</Title>
      <Back environment={environment} name={data && named(data)} />
      {cancelled && data ? (
        <p class="note" role="status">
          The rollback was cancelled. <Name of={named(data)} /> is unchanged.
        </p>
      ) : (
        <Known of={rollback}>
          {(data) => (
            <Details
              of={data}
              target={target.data}
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

interface Shown {
  of: RollbackDetails;
  target: EnvironmentDetails | undefined;
}

function Details({ of, target, since: known, cancelled }: Shown & { since: number; cancelled(): void }) {
  const { changes, session } = useParts();
  const connection = useStore(changes.connection);
  const runs = of.status === "pending" || of.status === "running";
  const now = useNow(runs || of.undo.possible);
  // Nothing counts on while the page does not know whether it still runs.
  const { kind } = useSession(session);
  const live = connection.kind === "live" && kind === "signedIn";
  const until = live ? now : known;
  return (
    <>
      <What of={of} target={target} />
      {runs ? <Runs of={of} now={until} /> : <Ended of={of} />}
      <DownFor of={of} now={until} />
      <Notes tone="warn" of={of.warnings} />
      {runs ? <Cancel of={of} target={target} cancelled={cancelled} /> : <Undo of={of} target={target} now={now} />}
      <Steps of={of} now={until} />
      <About of={of} target={target} />
      {of.recoveryEvidence &&
        (runs ? (
          <details>
            <summary>What is required and proven so far</summary>
            <Evidence of={of.recoveryEvidence} />
          </details>
        ) : (
          <Evidence of={of.recoveryEvidence} />
        ))}
    </>
  );
}

/** Which environment gets which data. */
function What({ of, target }: Shown) {
  return (
    <p class="replaces">
      <strong>
        <Name of={named(of)} />
      </strong>{" "}
      {target && (
        <>
          · <Type of={target.type} /> · namespace <Name of={target.namespace} />{" "}
        </>
      )}
      →{" "}
      {of.kind === "undo" ? (
        "the data from before the rollback"
      ) : of.snapshotAt ? (
        <>its state of <strong>{time(of.snapshotAt)}</strong></>
      ) : (
        <>the data of snapshot <Name of={of.snapshotName ?? "that is not known"} /></>
      )}
    </p>
  );
}

function Runs({ of, now }: { of: RollbackDetails; now: number }) {
  const seconds = rest(of, now);
  return (
    <>
      <ol class="stages" aria-label="Stages">
        {stages(of).map(({ name, state, down }) => (
          <li key={name} class={state} aria-current={state === "now" ? "step" : undefined}>
            {name}
            <small>
              {state}
              {down && ", down"}
            </small>
          </li>
        ))}
      </ol>
      <p>
        <Progress percent={of.percent} label="Progress of the rollback" />
        {seconds !== null && `, about ${duration(Math.ceil(seconds))} more`}
        {of.step && `. ${stepName(of.step)}`}
        {of.bytesTotal ? `: ${bytes(of.bytesDone)} of ${bytes(of.bytesTotal)}` : ""}
        {of.stageSince && `, in this stage for ${duration((now - Date.parse(of.stageSince)) / 1000)}`}
      </p>
      <div role="status" class={of.stalledReason === null ? undefined : "note bad"}>
        {of.stalledReason !== null && <Mark tone="bad">It does not continue without you</Mark>}
        <p>{of.isCancelling ? "It is being cancelled." : <Message of={of.message} />}</p>
        <Help of={of} />
      </div>
      {of.stalledReason === null && <p class="hint">{limit(of)}</p>}
    </>
  );
}

/** Of what is not proven: what stands beside the verdict. */
const SHOWN = 3;

/** One verdict. What can be done next is in the part below. */
function Ended({ of }: { of: RollbackDetails }) {
  const { tone, rest } = ending(of);
  const { environmentId: environment } = of;
  const snapshot = ownSnapshot(of);
  return (
    <div role="status" class={`note ${tone}`}>
      <Stands of={turned(of)} />.{" "}
      <strong>
        <Message of={outcome(of)} />
      </strong>
      <Help of={of} />
      {rest.length > 0 && (
        <>
          <p>
            Not everything that was required is proven. Check the application before people work with it. The section{" "}
            <a href="#evidence">Evidence</a> has the details.
          </p>
          <List of={rest.slice(0, SHOWN)} />
          {rest.length > SHOWN && <p>And {rest.length - SHOWN} more.</p>}
        </>
      )}
      {of.status === "completed" && snapshot !== null && (
        <p>
          What a restore test has proven of this state:{" "}
          <a href={`${address({ view: "snapshot", environment, snapshot })}#certificate`}>its certificate</a>.
        </p>
      )}
    </div>
  );
}

/** Where a person continues, where one is needed. The page knows no address of the documentation. */
function Help({ of: { status, stalledReason, failureReason } }: { of: RollbackDetails }) {
  const reason = stalledReason ?? failureReason;
  if (status !== "failed" && stalledReason === null) return null;
  return (
    <>
      <p>
        What to do is on the documentation's page <em>My rollback failed</em>, <code>docs/guides/rollback-failed.md</code>.
        {reason && " This command explains the reason:"}
      </p>
      {reason && <Command text={command("kubectl", "ocore", "explain", reason)} />}
    </>
  );
}

function DownFor({ of: { downtime }, now }: { of: RollbackDetails; now: number }) {
  const { startedAt, endedAt, seconds } = downtime;
  if (!startedAt) return null;
  const ran = duration(Math.max(0, (now - Date.parse(startedAt)) / 1000));
  return (
    <p class={endedAt ? "" : "note warn"} role="timer" aria-label="Downtime">
      Downtime: <strong class="downtime">{endedAt ? duration(seconds) : `${ran} so far`}</strong>, from{" "}
      {time(startedAt)}
      {endedAt && ` to ${time(endedAt)}`}.
    </p>
  );
}

const TONES: Record<RollbackDetails["steps"][number]["state"], Tone> = {
  pending: "quiet",
  running: "active",
  done: "good",
  skipped: "quiet",
  failed: "bad",
};

function Steps({ of, now }: { of: RollbackDetails; now: number }) {
  const took = (from: string, to: string | null) => duration(((to ? Date.parse(to) : now) - Date.parse(from)) / 1000);
  return (
    <Section id="steps" title="Steps">
      <ol class="steps">
        {of.steps.map((step) => (
          <li key={step.name} aria-current={step.state === "running" ? "step" : undefined}>
            <Mark tone={TONES[step.state]}>{stepState(step, of.status)}</Mark> {stepName(step.name)}
            {step.startedAt && `, ${took(step.startedAt, step.completedAt)}, from ${time(step.startedAt)}`}
            {step.bytesDone !== null && `, ${bytes(step.bytesDone)}`}
            {step.filesDone !== null && `, ${count(step.filesDone)} files`}
            {step.message && (
              <>
                . <Message of={step.message} />
              </>
            )}
          </li>
        ))}
      </ol>
    </Section>
  );
}

function About({ of, target }: Shown) {
  const own = ownSnapshot(of);
  const snapshot = (id: string, text: string) => (
    <a href={address({ view: "snapshot", environment: of.environmentId, snapshot: id })}>{text}</a>
  );
  return (
    <Section id="about" title="About it">
      <Facts
        of={[
          of.kind === "rollback" && [
            "Snapshot",
            own !== null && of.snapshotAt ? (
              snapshot(own, time(of.snapshotAt))
            ) : (
              <Text of={of.snapshotName ?? "not known"} />
            ),
          ],
          [
            "Safety snapshot",
            of.safetySnapshotId ? (
              snapshot(of.safetySnapshotId, "the state from before")
            ) : of.safetySnapshotCreated ? (
              "taken"
            ) : isWithoutSafety(of) ? (
              <Mark tone="warn">none was taken</Mark>
            ) : (
              "none"
            ),
          ],
          [
            "Requested",
            <>
              <Time at={of.createdAt} />
              <Maybe lead=", by " of={of.performedBy} />
            </>,
          ],
          ["Started", <Time at={of.startedAt} none="not yet" />],
          ["Switched", <Time at={of.switchedAt} none="no" />],
          ["Ended", <Time at={of.completedAt} none="not yet" />],
          of.undoneById !== null && [
            "Undone by",
            <a href={address({ view: "rollback", environment: of.environmentId, rollback: of.undoneById })}>the undo</a>,
          ],
          of.undoesId !== null && [
            "Undoes",
            <a href={address({ view: "rollback", environment: of.environmentId, rollback: of.undoesId })}>the rollback</a>,
          ],
          ["Id", <ShortId of={of.id} />],
        ]}
      />
      {target && (
        <>
          <p>Logs of its pods:</p>
          <Command text={command("kubectl", "ocore", "logs", `rollback/${of.name}`, "-n", target.namespace)} />
          {own !== null && of.snapshotName && (
            <>
              <p>Certificate of the snapshot:</p>
              <Command text={command("kubectl", "ocore", "certificate", of.snapshotName, "-n", target.namespace)} />
            </>
          )}
        </>
      )}
    </Section>
  );
}

/** The snapshot that it restores, where the page can show it: one of another environment has its own address and
    namespace. */
function ownSnapshot({ snapshotAt, snapshotId }: RollbackDetails): string | null {
  return snapshotAt === null ? null : snapshotId;
}

/** Whether it replaced data of which there is no snapshot. */
function isWithoutSafety({ kind, switchedAt, safetySnapshotCreated }: RollbackDetails): boolean {
  return kind === "rollback" && switchedAt !== null && !safetySnapshotCreated;
}

function Cancel({ of, target, cancelled }: Shown & { cancelled(): void }) {
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
        It cannot be cancelled now. <Message of={of.cancel.reason ?? ""} />
      </p>
    );
  }
  return (
    <May scope="rollback" to="cancel it">
      <Ask button="Cancel the rollback …" title="Cancel the rollback?" yes="Cancel the rollback" no="No, let it run" action={action}>
        <p>
          What was restored so far is removed. <Name of={named(of)} />
          {target && <> in namespace <Name of={target.namespace} /></>} stays as it is: nothing has been replaced.
        </p>
      </Ask>
    </May>
  );
}

function Undo({ of, target, now }: Shown & { now: number }) {
  const { possible, until, reason } = of.undo;
  if (!possible)
    return reason ? (
      <p class="hint">
        No undo: <Message of={reason} />
      </p>
    ) : null;
  return (
    <Danger id="undo" title="Undo">
      <p>Check the application. If this is not what you want, return to the data from before.</p>
      {until && (
        <p role="timer" aria-label="Undo window">
          Possible until {time(until)}, {relative(until, now)}.
        </p>
      )}
      {of.switchedAt && (
        <p>
          An undo sets aside the work since the switch of {time(of.switchedAt)} (
          {duration((now - Date.parse(of.switchedAt)) / 1000)}). It is kept for {UNDO_HOURS} h after the undo. Until then
          the undo can be undone.
        </p>
      )}
      {isWithoutSafety(of) && (
        <p class="note warn">No safety snapshot was taken. After that time the data from before is gone.</p>
      )}
      <May scope="rollback" to="undo it">
        {target && <UndoIt of={of} target={target} now={now} />}
      </May>
    </Danger>
  );
}

function UndoIt({ of, target, now }: { of: RollbackDetails; target: EnvironmentDetails; now: number }) {
  const { api } = useParts();
  const [typed, setTyped] = useState("");
  const start = useStart<undefined>({
    name: `undo ${of.id}`,
    environment: of.environmentId,
    send: (_, key) =>
      body(
        api.POST("/console/v1/rollbacks/{deploymentId}/undo", {
          params: { path: { deploymentId: of.id }, header: { "Idempotency-Key": key } },
        }),
      ),
    is: ({ undoesId }) => undoesId === of.id,
  });
  const written = of.switchedAt && duration((now - Date.parse(of.switchedAt)) / 1000);
  return (
    <>
      {!start.busy && <Outcome of={start} environment={of.environmentId} />}
      {!start.found && (
        <Ask
          button="Undo the rollback …"
          title="Undo the rollback?"
          yes="Undo it"
          no="No, keep the live data"
          ready={typed === phrase(target) && !target.operation}
          action={start}
        >
          <p>
            <strong>
              <Name of={target.name} />
            </strong>{" "}
            · <Type of={target.type} /> · namespace <Name of={target.namespace} /> → the data from before the rollback
            {written && ` (sets aside what was written in the ${written} since the rollback)`}
          </p>
          <p>
            All that was written{of.switchedAt && ` since ${time(of.switchedAt)}`} is set aside with the data that is live
            now. It is kept for {UNDO_HOURS} h after the undo. Until then the undo can be undone.
          </p>
          <Confirm of={target} value={typed} change={setTyped} />
          {start.busy && <Outcome of={start} environment={of.environmentId} />}
        </Ask>
      )}
    </>
  );
}
