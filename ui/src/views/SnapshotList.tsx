// All snapshots of an environment, however many.
import { useState } from "preact/hooks";
import { snapshots } from "../api/lists";
import type { Snapshot } from "../api/types";
import { Choice, Form } from "../parts/form";
import { Mark } from "../parts/show";
import { Rows, usePages } from "../parts/window";
import { address } from "../route";
import { bytes, time, words } from "../text";
import { keeps } from "./Timeline";

const TRIGGERS = {
  "": "all",
  manual: "manual",
  scheduled: "scheduled",
  deployment: "deployment",
  pre_rollback: "pre-rollback",
};
const STATUSES = { "": "all", pending: "pending", running: "running", completed: "completed", failed: "failed" };

export function SnapshotList({ environment }: { environment: string }) {
  const [trigger, setTrigger] = useState<keyof typeof TRIGGERS>("");
  const [status, setStatus] = useState<keyof typeof STATUSES>("");
  const pages = usePages<Snapshot>(
    `${environment} ${trigger} ${status}`,
    (api, offset) =>
      snapshots(api, environment, offset, { ...(trigger && { trigger }), ...(status && { status }) }),
    (event, has) => {
      if (event.kind !== "snapshot" || event.environmentId !== environment) return undefined;
      return event.object && !event.deleted && has(event.id) ? event.object : "reload";
    },
  );
  return (
    <section aria-labelledby="all">
      <h2 id="all">All snapshots{pages.total === undefined ? "" : `: ${pages.total.toLocaleString("en")}`}</h2>
      <Form class="filter">
        <Choice label="Trigger" value={trigger} of={TRIGGERS} change={setTrigger} />
        <Choice label="Status" value={status} of={STATUSES} change={setStatus} />
      </Form>
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
