// Before a rollback: what would be lost. Nothing starts before the environment's name is typed.
import { useEffect, useId, useState } from "preact/hooks";
import { body } from "../api/calls";
import type { EnvironmentRow, Preview, Report } from "../api/types";
import { objectOf, useAction, useLoaded, useParts, useSettled } from "../parts/context";
import { Check, Choice, Field, Form } from "../parts/form";
import { Code, Do, Facts, Failure, Known, List, Mark, Notes, Section, Text, Time, Title } from "../parts/show";
import { address, go } from "../route";
import { bytes, count, duration, visible, words } from "../text";
import { useEnvironment } from "./Environment";

export function RollbackTo({ environment, snapshot }: { environment: string; snapshot: string }) {
  const source = useEnvironment(environment);
  return (
    <>
      <Title name="Roll back">Roll back</Title>
      <p>
        <a href={address({ view: "snapshot", environment, snapshot })}>Back to the snapshot</a>
      </p>
      <Known of={source}>{(data) => <Plan source={data} snapshot={snapshot} />}</Known>
    </>
  );
}

function Plan({ source, snapshot }: { source: EnvironmentRow; snapshot: string }) {
  const { api } = useParts();
  const [chosen, setChosen] = useState<EnvironmentRow | null>(null);
  const [typed, setTyped] = useState("");
  const text = useSettled(typed);
  const [many, setMany] = useState(false);
  const [preview, setPreview] = useState<string | null>(null);
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
  const target = chosen ?? source;
  // What was chosen stays, also where it is not among those that were found.
  const all = [target, ...found.filter(({ id }) => id !== target.id)];
  useEffect(() => {
    if (total > found.length) setMany(true);
  }, [total, found.length]);
  const start = useAction(
    (targetEnvironmentId: string, key: string) =>
      body(
        api.POST("/console/v1/environments/{environmentId}/rollback-previews", {
          params: { path: { environmentId: source.id }, header: { "Idempotency-Key": key } },
          body: { snapshotId: snapshot, targetEnvironmentId },
        }),
      ),
    ({ previewId }) => setPreview(previewId),
  );
  return (
    <>
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
        change={(chosen) => {
          setChosen(all.find(({ id }) => id === chosen) ?? null);
          setPreview(null);
        }}
      />
      <Failure of={targets} />
      <p class="actions">
        <Do action={start} argument={target.id} class="primary">
          {preview ? "Preview again" : "Preview: what would be lost"}
        </Do>
      </p>
      <Failure of={start} />
      {preview && <PreviewView key={preview} id={preview} source={source} target={target} snapshot={snapshot} />}
    </>
  );
}

function PreviewView({
  id,
  source,
  target,
  snapshot,
}: {
  id: string;
  source: EnvironmentRow;
  target: EnvironmentRow;
  snapshot: string;
}) {
  const preview = useLoaded<Preview>(
    id,
    (api) => body(api.GET("/console/v1/rollback-previews/{previewId}", { params: { path: { previewId: id } } })),
    objectOf("preview", id),
  );
  return (
    <Section id="preview" title="Preview">
      <Known of={preview}>
        {({ status, message, errorMessage, warnings, report }) => (
          <>
            <p role="status">
              {status === "completed" || status === "failed" ? (
                <Text of={errorMessage ?? message} />
              ) : (
                <>
                  The preview is {status}. <Text of={message} />
                </>
              )}
            </p>
            <Notes tone="warn" of={warnings} />
            {report && <ReportView of={report} />}
            {report?.wouldRun && <Go source={source} target={target} snapshot={snapshot} />}
          </>
        )}
      </Known>
    </Section>
  );
}

function ReportView({ of }: { of: Report }) {
  const { database, files, version, prediction } = of;
  return (
    <>
      <p>
        {of.wouldRun ? (
          <Mark tone="good">The rollback would run</Mark>
        ) : (
          <Mark tone="bad">The rollback would be refused</Mark>
        )}{" "}
        {of.waitsFor && (
          <>
            It would wait for <Text of={of.waitsFor} />.
          </>
        )}
      </p>
      <Notes tone="bad" of={of.refusals} />
      {typeof of.lostMinutes === "number" && (
        <p class="note warn">
          Everything that was written since <Time at={of.pointInTime} /> is set aside: {duration(of.lostMinutes * 60)}{" "}
          of changes.
        </p>
      )}
      <Facts
        of={[
          ["Takes", prediction ? `about ${duration(prediction.durationSeconds)}` : "not known"],
          ["Downtime", prediction ? `about ${duration(prediction.downtimeSeconds)}` : "not known"],
          !!prediction && ["How that is known", <Text of={prediction.explanation} />],
          [
            "Database",
            database
              ? `${bytes(database.bytesNow)} now, ${bytes(database.bytesInSnapshot)} in the snapshot`
              : "not known",
          ],
          [
            "Filestore",
            files
              ? `${count(files.filesInSnapshot)} files, ${bytes(files.bytesInSnapshot)}; to copy: ${count(files.filesToMove)} files, ${bytes(files.bytesToMove)}`
              : "not known",
          ],
          !!version && [
            "Image",
            <>
              <Text of={version.imageNow || "not known"} /> now, <Text of={version.imageInSnapshot || "not known"} /> in
              the snapshot
            </>,
          ],
          ["Neutralised", typeof of.neutralizes !== "boolean" ? "not known" : of.neutralizes ? "yes" : "no"],
          [
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
      {database && database.tables.length > 0 && (
        <div class="scroll" tabIndex={0} role="region" aria-label="Rows of the largest tables">
          <table>
            <caption>Rows of the largest tables</caption>
            <thead>
              <tr>
                <th scope="col">Table</th>
                <th scope="col">Now (estimated)</th>
                <th scope="col">In the snapshot{database.rowsCounted ? "" : " (not counted)"}</th>
              </tr>
            </thead>
            <tbody>
              {database.tables.map((table) => (
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
      )}
    </>
  );
}

function Go({ source, target, snapshot }: { source: EnvironmentRow; target: EnvironmentRow; snapshot: string }) {
  const { api } = useParts();
  const [typed, setTyped] = useState("");
  const [safety, setSafety] = useState(true);
  const [started, setStarted] = useState(false);
  const hint = useId();
  const action = useAction(
    (asked: { targetEnvironmentId: string; createSafetySnapshot: boolean }, key: string) =>
      body(
        api.POST("/api/environments/{environmentId}/rollback", {
          params: { path: { environmentId: source.id }, header: { "Idempotency-Key": key } },
          body: { snapshotId: snapshot, ...asked },
        }),
      ),
    ({ environmentId, deploymentId }) => {
      setStarted(true);
      go(address({ view: "rollback", environment: environmentId, rollback: deploymentId }));
    },
  );
  return (
    <Form
      class="card"
      submit={() => {
        if (typed === target.name && !started)
          action.run({ targetEnvironmentId: target.id, createSafetySnapshot: safety });
      }}
    >
      <h3>
        Replace <Text of={target.name} />
      </h3>
      <Check label="Take a safety snapshot of it first" value={safety} change={setSafety} />
      <Field
        exact
        label="Type the environment's name to confirm"
        value={typed}
        aria-describedby={hint}
        change={setTyped}
      />
      <p id={hint} class="hint">
        The name is <Code of={target.name} />. The button works when both are equal.
      </p>
      <button type="submit" class="danger" disabled={typed !== target.name || action.busy || started}>
        Roll back now
      </button>
      <Failure of={action} />
    </Form>
  );
}
