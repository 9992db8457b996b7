// All environments, the worst first, with what fixes each.
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { body } from "../api/calls";
import { firstRows, PAGE, type Page } from "../api/lists";
import type { EnvironmentRow } from "../api/types";
import { useLoaded, useSettled } from "../parts/context";
import { Choice, Field, Form } from "../parts/form";
import { Facts, Known, Mark, Progress, Remedy, Text, Time, Title } from "../parts/show";
import { address } from "../route";
import { count, time, words } from "../text";

const TYPES = { "": "all", production: "production", staging: "staging", development: "development" };
const READY = { "": "all", true: "ready", false: "not ready" };
type Filter = { text: string; type: keyof typeof TYPES; ready: keyof typeof READY };

export function Environments() {
  const [filter, setFilter] = useState<Filter>({ text: "", type: "", ready: "" });
  const [shown, setShown] = useState(PAGE);
  const text = useSettled(filter.text);
  const change = (part: Partial<Filter>) => setFilter({ ...filter, ...part });
  const list = useLoaded<Page<EnvironmentRow>>(
    JSON.stringify([text, filter.type, filter.ready, shown]),
    (api) =>
      firstRows(shown, async (offset) => {
        const query = {
          limit: PAGE,
          offset,
          ...(text && { text }),
          ...(filter.type && { type: filter.type }),
          ...(filter.ready && { ready: filter.ready === "true" }),
        };
        const { total, environments } = await body(api.GET("/console/v1/environments", { params: { query } }));
        return { total, rows: environments };
      }),
    (known, event) => {
      if (event.kind !== "environment") return undefined;
      const place = known?.rows.findIndex(({ id }) => id === event.id) ?? -1;
      const before = known?.rows[place];
      const row = event.object;
      // Another order, or another row: read again. Else only this row is replaced.
      if (!known || !before || !row || row.ready !== before.ready || row.problem?.reason !== before.problem?.reason)
        return "reload";
      return { ...known, rows: known.rows.with(place, row) };
    },
    3000,
  );
  return (
    <>
      <Title name="Environments">Environments</Title>
      <Form class="filter" role="search">
        <Field
          type="search"
          label="Name, namespace or id"
          value={filter.text}
          maxLength={100}
          change={(text) => change({ text })}
        />
        <Choice label="Type" value={filter.type} of={TYPES} change={(type) => change({ type })} />
        <Choice label="Ready" value={filter.ready} of={READY} change={(ready) => change({ ready })} />
      </Form>
      <Known of={list}>
        {({ rows, total }) => (
          <>
            <p role="status">
              {total === 0
                ? nothing(filter)
                : `${count(total)} ${total === 1 ? "environment" : "environments"}, the worst first.`}
            </p>
            <ul class="environments">
              {rows.map((row) => (
                <li key={row.id} class="card">
                  <Environment row={row} />
                </li>
              ))}
            </ul>
            {rows.length < total && (
              <button type="button" onClick={() => setShown(shown + PAGE)}>
                Show {Math.min(PAGE, total - rows.length)} more of {count(total)}
              </button>
            )}
          </>
        )}
      </Known>
    </>
  );
}

function nothing(filter: Filter): string {
  return Object.values(filter).some(Boolean)
    ? "No environment fits. Change the filter."
    : "Your token names no environment that exists. Ask your administrator for a token that names one.";
}

function Environment({ row }: { row: EnvironmentRow }) {
  return (
    <>
      <h2>
        <a href={address({ view: "environment", environment: row.id })}>
          <Text of={row.name} />
        </a>
      </h2>
      <p>
        <State row={row} /> {row.type}, namespace <Text of={row.namespace} />, project <code>{row.projectId}</code>
      </p>
      {row.problem && (
        <div class="problem">
          <p>
            <strong>
              <Text of={row.problem.reason} />:
            </strong>{" "}
            <Text of={row.problem.message} /> Since {time(row.problem.since)}.
          </p>
          <Remedy fix={row.problem.fix} />
        </div>
      )}
      <Running row={row} />
      <Facts
        of={[
          ["Newest complete", <Time at={row.newestComplete?.time} />],
          ["Newest verified", <Time at={row.newestVerified?.time} />],
          ["Newest restored as a test", <Time at={row.newestRestoreTested?.time} />],
          ["Next snapshot", <Time at={row.nextSnapshotAt} none="not planned" />],
          ["Snapshots", count(row.snapshots)],
        ]}
      />
    </>
  );
}

/** Whether snapshots and rollbacks would work. */
export function State({ row: { ready, rollbackReady } }: { row: EnvironmentRow }) {
  return (
    <>
      <Works what="Snapshots" does={ready} none={<Mark tone="bad">No snapshot possible</Mark>} />{" "}
      <Works what="Rollbacks" does={rollbackReady} none={<Mark tone="warn">No rollback possible</Mark>} />
    </>
  );
}

function Works({ what, does, none }: { what: string; does: boolean | null; none: ComponentChildren }) {
  if (does === null) return <Mark tone="quiet">{what}: not known yet</Mark>;
  return <>{does ? <Mark tone="good">{what} work</Mark> : none}</>;
}

/** The operation that is under way, with a link to it. */
export function Running({ row }: { row: EnvironmentRow }) {
  const { operation } = row;
  if (!operation) return null;
  const label = `${words(operation.kind)} ${operation.name}`;
  const place =
    operation.id === null || operation.kind === "extract"
      ? null
      : operation.kind === "rollback"
        ? address({ view: "rollback", environment: row.id, rollback: operation.id })
        : address({ view: "snapshot", environment: row.id, snapshot: operation.id });
  return (
    <p>
      {words(operation.kind)}{" "}
      {place ? (
        <a href={place}>
          <Text of={operation.name} />
        </a>
      ) : (
        <Text of={operation.name} />
      )}{" "}
      runs
      {operation.since && ` since ${time(operation.since)}`}. {operation.step && words(operation.step)}{" "}
      <Progress percent={operation.percent} label={label} />
    </p>
  );
}
