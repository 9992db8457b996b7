// Who did what in an environment: rollbacks, snapshots and extracts in one list, the newest first.
import { useState } from "preact/hooks";
import type { ComponentChildren } from "preact";
import { body } from "../api/calls";
import { firstRows, PAGE, snapshots, type Page } from "../api/lists";
import { useLoaded } from "../parts/context";
import { Back, Known, Mark, Maybe, Text, Title } from "../parts/show";
import { address } from "../route";
import { time, words } from "../text";

export interface Entry {
  id: string;
  at: string;
  what: string;
  by: string | null;
  status: string;
  message: string | null;
  place: string;
}

/** Entries of several lists, of which some may go on: what may lack an entry of those is left out. */
export function merged(lists: { entries: Entry[]; complete: boolean }[]): { entries: Entry[]; complete: boolean } {
  const bounds = lists.filter(({ complete }) => !complete).map(({ entries }) => Date.parse(entries.at(-1)?.at ?? ""));
  const oldest = Math.max(Number.NEGATIVE_INFINITY, ...bounds.filter((bound) => !Number.isNaN(bound)));
  const entries = lists
    .flatMap((list) => list.entries)
    .filter(({ at }) => Date.parse(at) >= oldest)
    .sort((a, b) => Date.parse(b.at) - Date.parse(a.at));
  return { entries, complete: bounds.length === 0 };
}

export function Log({ environment }: { environment: string }) {
  const [pages, setPages] = useState(1);
  const path = { environmentId: environment };
  const log = useLoaded(
    `${environment} ${pages}`,
    async (api) => {
      const [{ rollbackLogs }, taken, extracts] = await Promise.all([
        body(api.GET("/api/environments/{environmentId}/rollback-logs", { params: { path } })),
        firstRows(pages * PAGE, (offset) => snapshots(api, environment, offset)),
        firstRows(pages * PAGE, async (offset) => {
          const { total, extracts } = await body(
            api.GET("/console/v1/environments/{environmentId}/extracts", {
              params: { path, query: { limit: PAGE, offset } },
            }),
          );
          return { total, rows: extracts };
        }),
      ]);
      const complete = ({ total, rows }: Page<unknown>) => rows.length >= total;
      return merged([
        {
          complete: true,
          entries: rollbackLogs.map(({ id, createdAt, snapshotId, performedBy, status, errorMessage }) => ({
            id,
            at: createdAt,
            what: snapshotId === null ? "Undo of a rollback" : "Rollback",
            by: performedBy,
            status,
            message: errorMessage,
            place: address({ view: "rollback", environment, rollback: id }),
          })),
        },
        {
          complete: complete(taken),
          entries: taken.rows.map(({ id, createdAt, trigger, requestedBy, status, errorMessage }) => ({
            id,
            at: createdAt,
            what: `Snapshot, ${words(trigger).toLowerCase()}`,
            by: requestedBy,
            status,
            message: errorMessage,
            place: address({ view: "snapshot", environment, snapshot: id }),
          })),
        },
        {
          complete: complete(extracts),
          entries: extracts.rows.map(({ id, createdAt, requestedBy, status, errorMessage, snapshotId }) => ({
            id,
            at: createdAt,
            what: "Extract",
            by: requestedBy,
            status,
            message: errorMessage,
            place: snapshotId
              ? address({ view: "snapshot", environment, snapshot: snapshotId })
              : address({ view: "environment", environment }),
          })),
        },
      ]);
    },
    (_, event) =>
      event.kind !== "reset" && event.kind !== "environment" && event.environmentId === environment
        ? "reload"
        : undefined,
    5000,
  );
  return (
    <>
      <Title name="Log">Log</Title>
      <Back environment={environment} name={undefined} />
      <p class="hint">
        Operations that still exist as resources. Pins, settings and deletions are in the audit log of the REST API.
      </p>
      <Known of={log}>
        {({ entries, complete }) => (
          <>
            {entries.length === 0 && <p>Nothing was done yet.</p>}
            <ol class="log" reversed>
              {entries.map((entry) => (
                <li key={entry.id}>
                  <Line of={entry} />
                </li>
              ))}
            </ol>
            {!complete && (
              <button type="button" onClick={() => setPages(pages + 1)}>
                Show earlier
              </button>
            )}
          </>
        )}
      </Known>
    </>
  );
}

function Line({ of }: { of: Entry }): ComponentChildren {
  return (
    <>
      {time(of.at)}: <a href={of.place}>{of.what}</a>, by {of.by ? <Text of={of.by} /> : "no one who gave a name"}{" "}
      <Mark tone={of.status === "failed" ? "bad" : of.status === "completed" ? "good" : "quiet"}>{of.status}</Mark>
      <Maybe lead=" " of={of.message} />
    </>
  );
}
