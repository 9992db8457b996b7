// All environments, the worst first, with what fixes each.
import { useState } from "preact/hooks";
import { body } from "../api/calls";
import type { EnvironmentPage, EnvironmentRow } from "../api/types";
import { useLoaded, useSettled } from "../parts/context";
import { Facts, Known, Mark, Progress, Remedy, Text, Time, Title } from "../parts/show";
import { address } from "../route";
import { count, time, words } from "../text";

const PAGE = 100;
type Filter = { text: string; type: "" | "production" | "staging" | "development"; ready: "" | "true" | "false" };

export function Environments() {
  const [filter, setFilter] = useState<Filter>({ text: "", type: "", ready: "" });
  const [shown, setShown] = useState(PAGE);
  const text = useSettled(filter.text);
  const change = (part: Partial<Filter>) => setFilter({ ...filter, ...part });
  const list = useLoaded<EnvironmentPage>(
    JSON.stringify([text, filter.type, filter.ready, shown]),
    async (api) => {
      const query = {
        limit: PAGE,
        ...(text && { text }),
        ...(filter.type && { type: filter.type }),
        ...(filter.ready && { ready: filter.ready === "true" }),
      };
      const page = (offset: number) =>
        body(api.GET("/console/v1/environments", { params: { query: { ...query, offset } } }));
      const first = await page(0);
      const environments = [...first.environments];
      while (environments.length < Math.min(shown, first.total)) {
        const next = await page(environments.length);
        if (!next.environments.length) break;
        environments.push(...next.environments);
      }
      return { ...first, environments };
    },
    (known, event) => {
      if (event.kind !== "environment") return undefined;
      const place = known?.environments.findIndex(({ id }) => id === event.id) ?? -1;
      const before = known?.environments[place];
      const row = event.object;
      // Another order, or another row: read again. Else only this row is replaced.
      if (!known || !before || !row || row.ready !== before.ready || row.problem?.reason !== before.problem?.reason)
        return "reload";
      return { ...known, environments: known.environments.with(place, row) };
    },
    3000,
  );
  return (
    <>
      <Title name="Environments">Environments</Title>
      <form class="filter" role="search" onSubmit={(event) => event.preventDefault()}>
        <label>
          Name, namespace or id
          <input
            type="search"
            value={filter.text}
            maxLength={100}
            onInput={(event) => change({ text: event.currentTarget.value })}
          />
        </label>
        <label>
          Type
          <select
            value={filter.type}
            onChange={(event) => change({ type: event.currentTarget.value as Filter["type"] })}
          >
            <option value="">all</option>
            <option value="production">production</option>
            <option value="staging">staging</option>
            <option value="development">development</option>
          </select>
        </label>
        <label>
          Ready
          <select
            value={filter.ready}
            onChange={(event) => change({ ready: event.currentTarget.value as Filter["ready"] })}
          >
            <option value="">all</option>
            <option value="true">ready</option>
            <option value="false">not ready</option>
          </select>
        </label>
      </form>
      <Known of={list}>
        {({ environments, total }) => (
          <>
            <p role="status">
              {total === 0
                ? nothing(filter)
                : `${count(total)} ${total === 1 ? "environment" : "environments"}, the worst first.`}
            </p>
            <ul class="environments">
              {environments.map((row) => (
                <li key={row.id} class="card">
                  <Environment row={row} />
                </li>
              ))}
            </ul>
            {environments.length < total && (
              <button type="button" onClick={() => setShown(shown + PAGE)}>
                Show {Math.min(PAGE, total - environments.length)} more of {count(total)}
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
      {ready === null ? (
        <Mark tone="quiet">Snapshots: not known yet</Mark>
      ) : ready ? (
        <Mark tone="good">Snapshots work</Mark>
      ) : (
        <Mark tone="bad">No snapshot possible</Mark>
      )}{" "}
      {rollbackReady === null ? (
        <Mark tone="quiet">Rollbacks: not known yet</Mark>
      ) : rollbackReady ? (
        <Mark tone="good">Rollbacks work</Mark>
      ) : (
        <Mark tone="warn">No rollback possible</Mark>
      )}
    </>
  );
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
