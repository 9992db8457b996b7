// Who did what in an environment: rollbacks, snapshots and extracts in one list, the newest first.
import type { ComponentChildren } from "preact";
import "./log.css";
import { body } from "../api/calls";
import { firstRows, PAGE, rollbacks, snapshots, type Page } from "../api/lists";
import { useLoaded } from "../parts/context";
import { Choice, Form } from "../parts/form";
import { Known, Maybe, Message, Section, Time } from "../parts/show";
import { address, route, setQuery } from "../route";
import { useStore } from "../store";
import { TURNS } from "./Rollbacks";
import { cause, one } from "./SnapshotList";
import { Stands } from "./state";
import { standing, taken, turned, type Verdict } from "./verdict";

/** Pages of each list that the log loads at most. */
const MOST = 20;

const KINDS = { rollback: "rollbacks and undos", snapshot: "snapshots", extract: "extracts" };
const STATUSES = { pending: "pending", running: "running", completed: "completed", failed: "failed" };

export interface Entry {
  id: string;
  at: string;
  kind: keyof typeof KINDS;
  what: string;
  by: string | null;
  status: string;
  verdict: Verdict;
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
  const { query } = useStore(route);
  const pages = Math.min(MOST, Math.max(1, Math.trunc(Number(query.pages)) || 1));
  const kind = one(KINDS, query.kind);
  const status = one(STATUSES, query.status);
  const path = { environmentId: environment };
  const log = useLoaded(
    `${environment} ${pages}`,
    async (api) => {
      const [turns, kept, extracts] = await Promise.all([
        firstRows(pages * PAGE, (offset) => rollbacks(api, environment, offset)),
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
          complete: complete(turns),
          entries: turns.rows.map((turn) => ({
            id: turn.id,
            at: turn.createdAt,
            kind: "rollback" as const,
            what: TURNS[turn.kind],
            by: turn.performedBy,
            status: turn.status,
            verdict: turned(turn),
            message: turn.errorMessage,
            place: address({ view: "rollback", environment, rollback: turn.id }),
          })),
        },
        {
          complete: complete(kept),
          entries: kept.rows.map((snapshot) => ({
            id: snapshot.id,
            at: snapshot.createdAt,
            kind: "snapshot" as const,
            what: snapshot.isSafety ? "Safety snapshot" : `Snapshot, ${cause(snapshot.trigger)}`,
            by: snapshot.requestedBy,
            status: snapshot.status,
            verdict: taken(snapshot),
            message: snapshot.errorMessage,
            place: address({ view: "snapshot", environment, snapshot: snapshot.id }),
          })),
        },
        {
          complete: complete(extracts),
          entries: extracts.rows.map(({ id, createdAt, requestedBy, status, errorMessage, snapshotId }) => ({
            id,
            at: createdAt,
            kind: "extract" as const,
            what: "Extract",
            by: requestedBy,
            status,
            verdict: standing(status),
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
    <Section id="log" title="Log">
      <p class="hint">
        Operations that still exist as resources. Pins, settings and deletions are in the audit log of the REST API.
      </p>
      <Form class="filter">
        <Choice label="What" value={kind} of={{ "": "all", ...KINDS }} change={(kind) => setQuery({ kind })} />
        <Choice
          label="Status"
          value={status}
          of={{ "": "all", ...STATUSES }}
          change={(status) => setQuery({ status })}
        />
      </Form>
      <Known of={log}>
        {({ entries, complete }) => {
          const shown = entries.filter(
            (entry) => (!kind || entry.kind === kind) && (!status || entry.status === status),
          );
          return (
            <>
              {shown.length === 0 && (
                <p>{entries.length === 0 ? "Nothing was done yet." : "Nothing of what is loaded fits."}</p>
              )}
              <ol class="plain log" reversed>
                {shown.map((entry) => (
                  <li key={entry.id}>
                    <Line of={entry} />
                  </li>
                ))}
              </ol>
              {!complete && pages < MOST && (
                <button type="button" onClick={() => setQuery({ pages: String(pages + 1) })}>
                  Show earlier
                </button>
              )}
            </>
          );
        }}
      </Known>
    </Section>
  );
}

function Line({ of }: { of: Entry }): ComponentChildren {
  return (
    <>
      <Time at={of.at} />
      <span>
        <a href={of.place}>{of.what}</a>
        <Maybe lead=", by " of={of.by} />
      </span>
      <span>
        <Stands of={of.verdict} />
        {of.message && (
          <>
            {" "}
            <Message of={of.message} />
          </>
        )}
      </span>
    </>
  );
}
