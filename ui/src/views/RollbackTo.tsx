// Before a rollback: what it replaces, what that costs. Nothing starts before the environment is typed.
import { useEffect, useState } from "preact/hooks";
import { body } from "../api/calls";
import { rollbacks } from "../api/lists";
import type { EnvironmentDetails, EnvironmentRow, Report, RollbackDetails, Snapshot } from "../api/types";
import { objectOf, useLoaded, useNow, useParts, useSettled } from "../parts/context";
import { Check, Choice, Field } from "../parts/form";
import {
  Code,
  Danger,
  Facts,
  Failure,
  Known,
  List,
  Mark,
  May,
  Message,
  Name,
  Notes,
  Progress,
  Section,
  Text,
  Time,
  Title,
  Type,
} from "../parts/show";
import { address } from "../route";
import { bytes, count, duration, time, visible, words } from "../text";
import { lastSwitch, namedByTime, setAside, UNDO_HOURS } from "./aside";
import { Confirm, phrase } from "./Confirm";
import { useEnvironment } from "./Environment";
import { usePreview } from "./preview";
import { Outcome } from "./Outcome";
import { useStart, type Start } from "./start";
import "./rollback.css";

export function RollbackTo({ environment, snapshot }: { environment: string; snapshot: string }) {
  const source = useEnvironment(environment);
  const of = useLoaded<Snapshot>(
    `${environment} ${snapshot}`,
    (api) =>
      body(
        api.GET("/console/v1/environments/{environmentId}/snapshots/{snapshotId}", {
          params: { path: { environmentId: environment, snapshotId: snapshot } },
        }),
      ),
    objectOf("snapshot", snapshot, environment),
  );
  return (
    <>
      <Title name="Roll back">Roll back</Title>
      <p>
        <a href={address({ view: "snapshot", environment, snapshot })}>Back to the snapshot</a>
      </p>
      <Known<unknown> of={of.data ? source : of}>
        {() => source.data && of.data && <Plan source={source.data} snapshot={of.data} />}
      </Known>
    </>
  );
}

function Plan({ source, snapshot }: { source: EnvironmentDetails; snapshot: Snapshot }) {
  const [chosen, setChosen] = useState(source.id);
  const [report, setReport] = useState<Report>();
  const target = useEnvironment(chosen);
  const whole = snapshot.status === "completed";
  return (
    <>
      {target.data && whole && <Header source={source} target={target.data} snapshot={snapshot} report={report} />}
      {whole && (
        <details class="instead">
          <summary>Roll back another environment instead …</summary>
          <Target source={source} target={target.data ?? source} change={setChosen} />
        </details>
      )}
      {!target.data ? (
        <Known of={target}>{() => null}</Known>
      ) : !whole ? (
        <p class="note bad">Only a complete snapshot can be restored. This one is {snapshot.status}.</p>
      ) : (
        <May scope="rollback" to="roll back">
          <Before key={target.data.id} source={source} target={target.data} snapshot={snapshot} show={setReport} />
        </May>
      )}
    </>
  );
}

/** Which environment is replaced: the snapshot's own one, or another one of its project. */
function Target({ source, target, change }: { source: EnvironmentRow; target: EnvironmentRow; change(id: string): void }) {
  const [typed, setTyped] = useState("");
  const text = useSettled(typed);
  const [many, setMany] = useState(false);
  const targets = useLoaded(
    `${source.projectId} ${text}`,
    (api) =>
      body(
        api.GET("/console/v1/environments", {
          params: { query: { projectId: source.projectId, limit: 100, ...(text && { text }) } },
        }),
      ),
    (_, event) => (event.kind === "environment" && event.deleted ? "reload" : undefined),
  );
  const found = targets.data?.environments ?? [];
  const total = targets.data?.total ?? 0;
  // What was chosen stays, also where it is not among those that were found.
  const all = [target, ...found.filter(({ id }) => id !== target.id)];
  useEffect(() => {
    if (total > found.length) setMany(true);
  }, [total, found.length]);
  return (
    <div class="target">
      {many && (
        <>
          <Field
            type="search"
            label="Find the environment: a part of its name, namespace or id"
            value={typed}
            maxLength={100}
            change={setTyped}
          />
          <p class="hint" role="status">
            {targets.data &&
              (total > found.length
                ? `${count(found.length)} of ${count(total)} environments are in the list. Type more to find others.`
                : `${count(total)} found.`)}
          </p>
        </>
      )}
      <Choice
        label="Environment that is replaced"
        value={target.id}
        of={Object.fromEntries(
          all.map(({ id, name, namespace, type }) => [id, `${visible(name)} (${type}, ${visible(namespace)})`]),
        )}
        change={change}
      />
      <Failure of={targets} />
    </div>
  );
}

interface Shown {
  source: EnvironmentRow;
  target: EnvironmentDetails;
  snapshot: Snapshot;
}

/** `show`: takes the report for the header. */
function Before({ source, target, snapshot, show }: Shown & { show(report: Report | undefined): void }) {
  const { api, session } = useParts();
  const [again, setAgain] = useState("");
  const start = useStart<{ createSafetySnapshot: boolean }>({
    name: `rollback ${source.id} ${snapshot.id} ${target.id}`,
    environment: target.id,
    send: (asked, key) =>
      body(
        api.POST("/api/environments/{environmentId}/rollback", {
          params: { path: { environmentId: source.id }, header: { "Idempotency-Key": key } },
          body: { snapshotId: snapshot.id, targetEnvironmentId: target.id, ...asked },
        }),
      ),
    is: ({ snapshotId }) => snapshotId === snapshot.id,
  });
  const state = stateOf(target);
  const wanted = { environment: source.id, snapshot: snapshot.id, target: target.id };
  const { preview, problem } = usePreview(state === null || start.found ? null : { ...wanted, state }, again);
  const { data } = preview;
  const report = data?.report ?? undefined;
  useEffect(() => {
    show(report);
    return () => show(undefined);
  }, [report]);
  return (
    <>
      <Outcome of={start} environment={target.id} />
      <Running target={target} />
      {!start.found && (
        <>
          <Section id="preview" title="What it would do">
            <div role="status">
              {problem ? (
                <p class="note bad">
                  <Message of={problem.message} />
                </p>
              ) : !data ? (
                <p>The preview begins …</p>
              ) : data.status === "pending" || data.status === "running" ? (
                <p>
                  <Progress percent={null} label="The preview runs" /> What it would cost is being found out. <Message of={data.message} />
                </p>
              ) : (
                data.errorMessage && (
                  <p class="note bad">
                    <Message of={data.errorMessage} />
                  </p>
                )
              )}
            </div>
            {report && <Verdict of={report} />}
            {report && <OtherImage of={report} own={target.id === source.id} />}
            {data && (
              <Notes
                tone="warn"
                of={data.warnings.filter(({ reason }) => reason !== "OtherVersion" || !report || !otherImage(report))}
              />
            )}
            {report && <ReportView of={report} />}
            <p class="actions">
              <button type="button" disabled={!problem && (!data || data.status === "pending" || data.status === "running")} onClick={() => setAgain(String(session.now()))}>
                Preview again
              </button>
              {report && (
                <span class="hint">
                  As of <Time at={report.createdAt} />
                </span>
              )}
            </p>
          </Section>
          {report?.wouldRun && <Go source={source} target={target} snapshot={snapshot} start={start} />}
        </>
      )}
    </>
  );
}

/** What of the environment a preview depends on: its newest rollback, and whether one would work. null: one runs. */
function stateOf({ operation, undoWindows, rollbackReady }: EnvironmentDetails): string | null {
  return operation?.kind === "rollback" ? null : `${undoWindows[0]?.deploymentId}:${rollbackReady}`;
}

/** The point in time that a complete snapshot shows. */
function pointOf({ consistentAt, completedAt }: Snapshot): string | null {
  return consistentAt ?? completedAt;
}

/** The newest rollbacks and undos of an environment. Undefined before they are known. */
function useTurns(environment: string): RollbackDetails[] | undefined {
  return useLoaded(
    `turns ${environment}`,
    (api) => rollbacks(api, environment, 0),
    (_, event) => (event.kind === "rollback" && event.environmentId === environment ? "reload" : undefined),
  ).data?.rows;
}

/** Stays in view: what is replaced, by what, and what that costs. */
function Header({ source, target, snapshot, report }: Shown & { report: Report | undefined }) {
  const now = useNow(true);
  const turns = useTurns(target.id);
  const at = pointOf(snapshot);
  const own = target.id === source.id;
  const parts = [snapshot.dbDumpPath !== null && "the database", snapshot.filestorePath !== null && "the files"];
  const both = parts.filter(Boolean).join(" and ");
  const down = report?.prediction?.downtimeSeconds;
  return (
    <div class="replaces" role="region" aria-label="What is replaced">
      <p>
        <strong>
          <Name of={target.name} />
        </strong>{" "}
        · <Type of={target.type} /> · namespace <Name of={target.namespace} /> →{" "}
        {own ? "its state" : <>the state of <Name of={source.name} /></>} of{" "}
        <strong>{time(at)}</strong>
        {snapshot.pinLabel && <>, “<Text of={snapshot.pinLabel} />”</>}
      </p>
      <p class="hint">
        {both && `Replaces ${both}. `}
        {!own
          ? "All its live data is set aside"
          : at && (turns ? setAside(at, lastSwitch(turns, at), now) : "What is set aside is not known yet")}
        {typeof down === "number" ? `, about ${duration(down)} down` : ", downtime not known yet"}
      </p>
    </div>
  );
}

/** What runs there now: one operation at a time. */
function Running({ target }: { target: EnvironmentDetails }) {
  const { operation } = target;
  if (!operation) return null;
  const { kind, id, since } = operation;
  return (
    <p class="note warn" role="status">
      A {kind} of <Name of={target.name} /> runs since <Time at={since} />.{" "}
      {kind === "rollback" && id ? (
        <a href={address({ view: "rollback", environment: target.id, rollback: id })}>See the rollback</a>
      ) : (
        "A rollback can start after its end."
      )}
    </p>
  );
}

function Go({ source, target, snapshot, start }: Shown & { start: Start<{ createSafetySnapshot: boolean }> }) {
  const [typed, setTyped] = useState("");
  const [chosen, setSafety] = useState(true);
  const safety = start.kept?.asked.createSafetySnapshot ?? chosen;
  return (
    <Danger id="confirm" title={<>Replace <Name of={target.name} /></>}>
      <p>
        <Name of={target.name} />, <Type of={target.type} />, namespace <Name of={target.namespace} />, gets the state of{" "}
        {target.id !== source.id && (
          <>
            <Name of={source.name} />,{" "}
          </>
        )}
        <strong>{time(pointOf(snapshot))}</strong>. Only the data: the image that runs now stays.
      </p>
      {target.undoWindows.length > 0 && (
        <p class="note warn">
          {target.undoWindows.map((window) => `${namedByTime(window)} can be undone now. `)}
          While the new rollback is in effect it cannot be undone: undo the new one first, and both before{" "}
          {time(target.undoWindows[0]!.until)}.
        </p>
      )}
      <p>The rollback can be undone for {UNDO_HOURS} h after its switch. Until then the data that is live now is kept.</p>
      {start.kept ? (
        <p>{safety ? "A safety snapshot of it is taken first." : "No safety snapshot of it is taken first."}</p>
      ) : (
        <Check label="Take a safety snapshot of it first" value={safety} change={setSafety} />
      )}
      <div role="status">
        {!safety && (
          <p class="note warn">
            Without a safety snapshot, the data that is live now is gone once the rollback can no longer be undone.
          </p>
        )}
      </div>
      <Confirm of={target} value={typed} change={setTyped} />
      <button
        type="button"
        class="danger"
        disabled={typed !== phrase(target) || start.busy || target.operation !== null}
        onClick={() => start.run({ createSafetySnapshot: safety })}
      >
        Roll back now
      </button>
      <Failure of={start} />
    </Danger>
  );
}

/** Whether the image that would run on the restored data is another one than the snapshot's. */
function otherImage({ version }: Report): boolean {
  return !!version?.imageNow && !!version.imageInSnapshot && version.imageNow !== version.imageInSnapshot;
}

/** The page's API has no `restoreImage`: it names what has. */
function OtherImage({ of, own }: { of: Report; own: boolean }) {
  if (!otherImage(of)) return null;
  const { imageNow, imageInSnapshot } = of.version!;
  return (
    <div class="note warn" role="note" aria-label="Another image">
      <p>
        <Mark tone="warn">Another version would run on the restored data</Mark>
      </p>
      <p>
        <Code of={imageNow!} /> runs now and stays. The data is from <Code of={imageInSnapshot!} />. One version may
        not work with the data of another.
      </p>
      <p>
        Deploy the image that fits the data right after the rollback.
        {own && (
          <>
            {" "}
            Or let the rollback restore the image. The page cannot do that: start it with{" "}
            <code>kubectl ocore rollback --restore-image Always</code>, which sets <code>spec.restoreImage</code>. The
            documentation has it in the section <em>Image</em> of <code>docs/rollback-options.md</code>.
          </>
        )}
      </p>
    </div>
  );
}

function Verdict({ of }: { of: Report }) {
  return (
    <p>
      {of.wouldRun ? (
        <Mark tone="good">The rollback would run</Mark>
      ) : (
        <Mark tone="bad">The rollback would be refused</Mark>
      )}{" "}
      {of.waitsFor && (
        <>
          It would wait for <Message of={of.waitsFor} />.
        </>
      )}
    </p>
  );
}

function ReportView({ of }: { of: Report }) {
  const { database, files, version, prediction } = of;
  return (
    <>
      <Notes tone="bad" of={of.refusals} />
      <Facts
        of={[
          ["Takes", prediction ? `about ${duration(prediction.durationSeconds)}` : "not known"],
          ["Down", prediction ? `about ${duration(prediction.downtimeSeconds)}` : "not known"],
          !!prediction && ["How that is known", <Text of={prediction.explanation} />],
          [
            "Database",
            database
              ? `${bytes(database.bytesNow)} now, ${bytes(database.bytesInSnapshot)} in the snapshot`
              : "not known",
          ],
          [
            "Files",
            files
              ? `${count(files.filesInSnapshot)}, ${bytes(files.bytesInSnapshot)}; to copy: ${count(files.filesToMove)}, ${bytes(files.bytesToMove)}`
              : "not known",
          ],
          !!version && [
            "Image",
            <>
              <Text of={version.imageNow || "not known"} /> now, and not changed by the rollback;{" "}
              <Text of={version.imageInSnapshot || "not known"} /> in the snapshot
            </>,
          ],
          ["Neutralised", typeof of.neutralizes !== "boolean" ? "not known" : of.neutralizes ? "yes" : "no"],
          of.space.length > 0 && [
            "Space",
            <List
              of={of.space.map(
                ({ volume, neededBytes, freeBytes }) =>
                  `${words(volume)}: ${bytes(neededBytes)} needed, ${bytes(freeBytes)} free`,
              )}
            />,
          ],
          of.unread.length > 0 && ["Could not be read", <Text of={of.unread.join(", ")} />],
        ]}
      />
      {database && database.tables.length > 0 && <Tables of={database} />}
    </>
  );
}

function Tables({ of }: { of: NonNullable<Report["database"]> }) {
  return (
    <details>
      <summary>Rows of the largest tables ({count(of.tables.length)})</summary>
      <div class="scroll" tabIndex={0} role="region" aria-label="Rows of the largest tables">
        <table>
          <thead>
            <tr>
              <th scope="col">Table</th>
              <th scope="col">Now (estimated)</th>
              <th scope="col">In the snapshot{of.rowsCounted ? "" : " (not counted)"}</th>
            </tr>
          </thead>
          <tbody>
            {of.tables.map((table) => (
              <tr key={table.name}>
                <th scope="row">
                  <Text of={table.name} />
                </th>
                <td>{table.existsNow ? count(table.rowsNowEstimated) : "does not exist"}</td>
                <td>{count(table.rowsInSnapshotCounted)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </details>
  );
}
