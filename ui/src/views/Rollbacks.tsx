// All rollbacks into an environment, and their undos.
import { rollbacks } from "../api/lists";
import type { RollbackDetails } from "../api/types";
import { Mark, Maybe, Time } from "../parts/show";
import { Rows, rowsOf, usePages } from "../parts/window";
import { address } from "../route";
import { duration } from "../text";
import { ending } from "./stages";

/** What an operation is, in words. */
export const TURNS = { rollback: "Rollback", undo: "Undo of a rollback" };

export function Rollbacks({ environment }: { environment: string }) {
  const pages = usePages<RollbackDetails>(
    environment,
    (api, offset) => rollbacks(api, environment, offset),
    rowsOf("rollback", environment),
  );
  return (
    <section aria-labelledby="all">
      <h2 id="all">All rollbacks{pages.total === undefined ? "" : `: ${pages.total.toLocaleString("en")}`}</h2>
      <Rows
        pages={pages}
        label="Rollbacks, newest first"
        none="Nothing was rolled back yet."
        columns={[
          {
            name: "Started",
            cell: ({ id, createdAt }) => (
              <a href={address({ view: "rollback", environment, rollback: id })}>
                <Time at={createdAt} plain />
              </a>
            ),
          },
          { name: "Status", cell: (row) => <Turned of={row} /> },
          { name: "What", cell: ({ kind }) => TURNS[kind] },
          {
            name: "Downtime, by",
            cell: ({ performedBy, downtime }) => (
              <>
                {downtime.seconds === null ? "downtime not known" : `${duration(downtime.seconds)} down`}
                <Maybe lead=", by " of={performedBy} />
              </>
            ),
          },
          {
            name: "Undo",
            cell: ({ undo: { possible, until } }) =>
              possible && until ? (
                <>
                  undo ends <Time at={until} planned plain brief />
                </>
              ) : (
                ""
              ),
          },
        ]}
      />
    </section>
  );
}

/** How a rollback or an undo ended. */
export function Turned({ of }: { of: RollbackDetails }) {
  if (of.status === "failed") return <Mark tone="bad">failed</Mark>;
  if (of.status !== "completed") return <Mark tone={of.status === "running" ? "active" : "quiet"}>{`${of.status} ${of.percent} %`}</Mark>;
  if (of.switchedBackAt !== null) return <Mark tone="warn">switched back</Mark>;
  const undone = of.undoneById === null ? "" : ", undone later";
  if (ending(of).tone !== "good") return <Mark tone="warn">not all proven{undone}</Mark>;
  return <Mark tone="good">completed{undone}</Mark>;
}
