// Days with their snapshots, the newest first.
import { useState } from "preact/hooks";
import { firstRows, snapshots } from "../api/lists";
import type { Snapshot } from "../api/types";
import { useLoaded, useParts } from "../parts/context";
import { Known, Section } from "../parts/show";
import { address } from "../route";
import { day, time, words } from "../text";

const DAYS = 14;
/** Snapshots that the timeline shows at once: more than one each hour of the days. */
const MOST = 400;

/** Midnight of the reader's day that is `days` after the day of `moment`. */
export function midnight(moment: number, days: number): Date {
  const date = new Date(moment);
  return new Date(date.getFullYear(), date.getMonth(), date.getDate() + days);
}

/** Days from `from` to before `to`, the newest first, with their snapshots. */
export function days(snapshots: Snapshot[], from: Date, to: Date): { start: Date; snapshots: Snapshot[] }[] {
  const all: { start: Date; snapshots: Snapshot[] }[] = [];
  for (let start = midnight(to.getTime(), -1); start >= from; start = midnight(start.getTime(), -1)) {
    const end = midnight(start.getTime(), 1);
    all.push({
      start,
      snapshots: snapshots.filter(
        ({ createdAt }) => Date.parse(createdAt) >= start.getTime() && Date.parse(createdAt) < end.getTime(),
      ),
    });
  }
  return all;
}

export function Timeline({ environment }: { environment: string }) {
  const { session } = useParts();
  const [back, setBack] = useState(0);
  const to = midnight(session.now(), 1 - back);
  const from = midnight(to.getTime(), -DAYS);
  const range = { from: from.toISOString(), to: to.toISOString() };
  const loaded = useLoaded(
    `${environment} ${from.getTime()}`,
    (api) => firstRows(MOST, (offset) => snapshots(api, environment, offset, range)),
    (known, event) => {
      if (event.kind !== "snapshot" || event.environmentId !== environment) return undefined;
      const at = known?.rows.findIndex(({ id }) => id === event.id) ?? -1;
      return known && at >= 0 && event.object ? { ...known, rows: known.rows.with(at, event.object) } : "reload";
    },
    3000,
  );
  return (
    <Section id="timeline" title="Timeline">
      <p class="hint">
        <b class="dot full">F</b> full <b class="dot differential">D</b> differential <b class="dot failed">!</b> failed{" "}
        <b class="dot">…</b> runs; with <b>P</b> pinned, <b>T</b> restored as a test, <b>×</b> deleted next.
      </p>
      <p class="actions">
        <button type="button" onClick={() => setBack(back + DAYS)}>
          Earlier
        </button>
        <button type="button" disabled={back === 0} onClick={() => setBack(Math.max(0, back - DAYS))}>
          Later
        </button>
      </p>
      <Known of={loaded}>
        {({ rows, total }) => (
          <>
            {rows.length < total && <p class="note">These days have more snapshots than are shown here. The list below has all.</p>}
            <ol class="timeline" reversed>
              {days(rows, from, to).map(({ start, snapshots }) => (
                <li key={start.getTime()}>
                  <span class="day">{day(start)}</span>
                  <span>
                    {snapshots.length === 0 && <span class="hint">none</span>}
                    {snapshots.map((snapshot) => (
                      <a
                        key={snapshot.id}
                        class={`dot ${kind(snapshot)}`}
                        href={address({ view: "snapshot", environment, snapshot: snapshot.id })}
                        title={said(snapshot)}
                      >
                        <span aria-hidden="true">{letters(snapshot)}</span>
                        <span class="unseen">{said(snapshot)}</span>
                      </a>
                    ))}
                  </span>
                </li>
              ))}
            </ol>
          </>
        )}
      </Known>
    </Section>
  );
}

export function kind(snapshot: Snapshot): "full" | "differential" | "failed" | "running" {
  if (snapshot.status === "failed") return "failed";
  if (snapshot.status !== "completed") return "running";
  return snapshot.isFullFilestore ? "full" : "differential";
}

function letters(snapshot: Snapshot): string {
  const first = { full: "F", differential: "D", failed: "!", running: "…" }[kind(snapshot)];
  const tested = snapshot.restoreTest?.result === "succeeded";
  return first + (snapshot.isPinned ? "P" : "") + (tested ? "T" : "") + (snapshot.deletedNext ? "×" : "");
}

/** What keeps a snapshot, in words. */
export function keeps(snapshot: Pick<Snapshot, "isPinned" | "keptBy" | "deletedNext" | "dependents">): string {
  const reasons = [
    ...(snapshot.isPinned ? ["a pin"] : []),
    ...(snapshot.dependents ? [`${snapshot.dependents} differential snapshots that need it`] : []),
    ...(snapshot.keptBy ?? []).map((rule) => words(rule).toLowerCase()),
  ];
  if (reasons.length) return `kept by ${reasons.join(", ")}`;
  return snapshot.deletedNext ? "kept by nothing: deleted next" : "no rule is about it";
}

function said(snapshot: Snapshot): string {
  const parts = [
    time(snapshot.createdAt),
    kind(snapshot),
    words(snapshot.trigger).toLowerCase(),
    ...(snapshot.isPinned ? ["pinned"] : []),
    ...(snapshot.restoreTest?.result === "succeeded" ? ["restored as a test"] : []),
    keeps(snapshot),
  ];
  return parts.join(", ");
}
