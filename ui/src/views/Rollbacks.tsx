// All rollbacks into an environment, and their undos.
import { rollbacks } from "../api/lists";
import type { RollbackDetails } from "../api/types";
import { Maybe, Time } from "../parts/show";
import { Rows, rowsOf, usePages } from "../parts/window";
import { address } from "../route";
import { duration } from "../text";
import { Stands } from "./state";
import { turned } from "./verdict";

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
          { name: "Status", cell: (row) => <Stands of={turned(row)} /> },
          { name: "What", cell: ({ kind }) => TURNS[kind] },
          {
            name: "Downtime, by",
            cell: ({ performedBy, downtime, status }) => (
              <>
                {downtime.seconds !== null
                  ? `${duration(downtime.seconds)} down`
                  : status === "failed" && downtime.startedAt === null
                    ? "not down"
                    : "downtime not known"}
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
