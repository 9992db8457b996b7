// All snapshots of an environment, however many.
import { snapshots } from "../api/lists";
import type { Snapshot } from "../api/types";
import { Choice, Form } from "../parts/form";
import { Text, Time } from "../parts/show";
import { Rows, rowsOf, usePages } from "../parts/window";
import { address, route, setQuery } from "../route";
import { useStore } from "../store";
import { bytes, time, visible, words } from "../text";
import { stateAt } from "./axis";
import { Stands } from "./state";
import { taken } from "./verdict";

const TRIGGERS = {
  "": "all",
  manual: "manual",
  scheduled: "scheduled",
  deployment: "before a deployment",
  pre_rollback: "before a rollback",
};
const STATUSES = { "": "all", pending: "pending", running: "running", completed: "completed", failed: "failed" };

export function SnapshotList({ environment }: { environment: string }) {
  const { query } = useStore(route);
  const trigger = one(TRIGGERS, query.trigger);
  const status = one(STATUSES, query.status);
  const pages = usePages<Snapshot>(
    `${environment} ${trigger} ${status}`,
    (api, offset) => snapshots(api, environment, offset, { ...(trigger && { trigger }), ...(status && { status }) }),
    rowsOf("snapshot", environment),
  );
  return (
    <section aria-labelledby="all">
      <h2 id="all">All snapshots{pages.total === undefined ? "" : `: ${pages.total.toLocaleString("en")}`}</h2>
      <Form class="filter">
        <Choice label="Trigger" value={trigger} of={TRIGGERS} change={(trigger) => setQuery({ trigger })} />
        <Choice label="Status" value={status} of={STATUSES} change={(status) => setQuery({ status })} />
      </Form>
      <Rows
        pages={pages}
        label="Snapshots, newest first"
        none="No snapshot fits. The overview has the button that takes one."
        columns={[
          {
            name: "State of",
            cell: (row) => (
              <>
                <a href={address({ view: "snapshot", environment, snapshot: row.id })}>
                  <Time at={stateAt(row)} plain />
                </a>
                {row.pinLabel && (
                  <>
                    {" "}
                    <span title={visible(row.pinLabel)}>
                      “<Text of={row.pinLabel} />”
                    </span>
                  </>
                )}
              </>
            ),
          },
          { name: "Status", cell: (row) => <Stands of={taken(row)} /> },
          {
            name: "Kind",
            cell: (row) => `${row.isFullFilestore ? "full" : "differential"}, ${cause(row.trigger)}`,
          },
          { name: "Kept", cell: (row) => keeps(row) },
          { name: "Stored", cell: (row) => bytes(row.totalSizeBytes) },
        ]}
      />
    </section>
  );
}

/** What caused a snapshot, in words. */
export function cause(trigger: Snapshot["trigger"]): string {
  return TRIGGERS[trigger] ?? words(trigger).toLowerCase();
}

/** What a safety snapshot shows. */
export function BeforeRollback({ of }: { of: Snapshot }) {
  return <>the state before the rollback of {time(of.createdAt)}</>;
}

/** The value that an address names, if it is one of these. */
export function one<T extends string>(of: Record<T, string>, value: string | undefined): T | "" {
  return value !== undefined && Object.hasOwn(of, value) ? (value as T) : "";
}

/** What keeps a snapshot, in words. */
export function keeps(snapshot: Pick<Snapshot, "isPinned" | "keptBy" | "deletedNext" | "dependents">): string {
  const reasons = [
    ...(snapshot.isPinned ? ["a pin"] : []),
    ...(snapshot.dependents ? [`${snapshot.dependents} differential snapshots that need it`] : []),
    ...(snapshot.keptBy ?? []).map((rule) => words(rule).toLowerCase()),
  ];
  if (reasons.length) return `kept by ${reasons.join(", ")}`;
  return snapshot.deletedNext ? "kept by nothing: deleted next" : "kept: no rule deletes it";
}
