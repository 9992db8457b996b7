// All snapshots of an environment, however many.
import { useState } from "preact/hooks";
import { body } from "../api/calls";
import type { Snapshot } from "../api/types";
import { Mark } from "../parts/show";
import { Rows, usePages } from "../parts/window";
import { address } from "../route";
import { bytes, time, words } from "../text";
import { keeps } from "./Timeline";

const TRIGGERS = ["manual", "scheduled", "deployment", "pre_rollback"] as const;
const STATUSES = ["pending", "running", "completed", "failed"] as const;

export function SnapshotList({ environment }: { environment: string }) {
  const [trigger, setTrigger] = useState<"" | (typeof TRIGGERS)[number]>("");
  const [status, setStatus] = useState<"" | (typeof STATUSES)[number]>("");
  const pages = usePages<Snapshot>(
    `${environment} ${trigger} ${status}`,
    async (api, limit, offset) => {
      const page = await body(
        api.GET("/console/v1/environments/{environmentId}/snapshots", {
          params: {
            path: { environmentId: environment },
            query: { limit, offset, ...(trigger && { trigger }), ...(status && { status }) },
          },
        }),
      );
      return { total: page.total, rows: page.snapshots };
    },
    (event, has) => {
      if (event.kind !== "snapshot" || event.environmentId !== environment) return undefined;
      return event.object && !event.deleted && has(event.id) ? event.object : "reload";
    },
  );
  return (
    <section aria-labelledby="all">
      <h2 id="all">All snapshots{pages.total === undefined ? "" : `: ${pages.total.toLocaleString("en")}`}</h2>
      <form class="filter" onSubmit={(event) => event.preventDefault()}>
        <label>
          Trigger
          <select value={trigger} onChange={(event) => setTrigger(event.currentTarget.value as typeof trigger)}>
            <option value="">all</option>
            {TRIGGERS.map((name) => (
              <option key={name} value={name}>
                {words(name).toLowerCase()}
              </option>
            ))}
          </select>
        </label>
        <label>
          Status
          <select value={status} onChange={(event) => setStatus(event.currentTarget.value as typeof status)}>
            <option value="">all</option>
            {STATUSES.map((name) => (
              <option key={name} value={name}>
                {name}
              </option>
            ))}
          </select>
        </label>
      </form>
      <Rows
        pages={pages}
        label="Snapshots, newest first"
        none="No snapshot yet. Take one with the button above."
        columns={[
          {
            name: "Taken",
            cell: (row) => (
              <a href={address({ view: "snapshot", environment, snapshot: row.id })}>{time(row.createdAt)}</a>
            ),
          },
          { name: "Status", cell: (row) => <Status of={row} /> },
          {
            name: "Kind",
            cell: (row) => `${row.isFullFilestore ? "full" : "differential"}, ${words(row.trigger).toLowerCase()}`,
          },
          { name: "Kept", cell: (row) => keeps(row) },
          { name: "Stored", cell: (row) => bytes(row.totalSizeBytes) },
        ]}
      />
    </section>
  );
}

/** One word for how far a snapshot is proven. */
export function Status({ of }: { of: Snapshot }) {
  if (of.status === "failed") return <Mark tone="bad">failed</Mark>;
  if (of.status !== "completed")
    return <Mark tone="quiet">{`${of.status}${of.percent === null ? "" : ` ${of.percent} %`}`}</Mark>;
  if (of.restoreTest?.result === "failed") return <Mark tone="bad">restore test failed</Mark>;
  if (of.restoreTest?.result === "succeeded") return <Mark tone="good">restored as a test</Mark>;
  return <Mark tone="good">{of.verified ? "verified" : "completed"}</Mark>;
}
