// How large the environment was at each snapshot, and how much each one takes in the store.
import { firstRows, snapshots } from "../api/lists";
import type { Snapshot } from "../api/types";
import { useLoaded, useParts } from "../parts/context";
import { Known, Section } from "../parts/show";
import { bytes, count, time } from "../text";

const WIDTH = 640;
const HEIGHT = 220;
const LEFT = 70;
const BOTTOM = 24;
/** Points of the plot: the newest. */
const MOST = 300;

export interface Point {
  at: number;
  live: number;
  stored: number;
}

/** The points of complete snapshots, the oldest first. */
export function points(snapshots: Snapshot[]): Point[] {
  return snapshots
    .filter(({ status, totalSizeBytes }) => status === "completed" && totalSizeBytes !== null)
    .map((snapshot) => ({
      at: Date.parse(snapshot.createdAt),
      live: (snapshot.dbSizeBytes ?? 0) + (snapshot.filestoreSizeBytes ?? 0),
      stored: snapshot.totalSizeBytes ?? 0,
    }))
    .sort((a, b) => a.at - b.at);
}

export function Growth({ environment }: { environment: string }) {
  const { session } = useParts();
  const loaded = useLoaded(
    environment,
    async (api) => {
      const completed = (offset: number) => snapshots(api, environment, offset, { status: "completed" });
      return points((await firstRows(MOST, completed)).rows);
    },
    (_, event) =>
      event.kind === "snapshot" &&
      event.environmentId === environment &&
      (event.deleted || event.object?.status === "completed")
        ? "reload"
        : undefined,
    10_000,
  );
  return (
    <Section id="growth" title="Growth">
      <Known of={loaded}>
        {(all) =>
          all.length < 2 ? <p>The plot needs two complete snapshots.</p> : <Plot points={all} now={session.now()} />
        }
      </Known>
    </Section>
  );
}

function Plot({ points, now }: { points: Point[]; now: number }) {
  const first = points[0]!;
  const last = points.at(-1)!;
  const top = Math.max(1, ...points.map(({ live, stored }) => Math.max(live, stored)));
  const x = (at: number) =>
    LEFT + ((at - first.at) / Math.max(1, Math.max(now, last.at) - first.at)) * (WIDTH - LEFT - 10);
  const y = (size: number) => HEIGHT - BOTTOM - (size / top) * (HEIGHT - BOTTOM - 10);
  const line = (size: (point: Point) => number) =>
    points.map((point, n) => `${n ? "L" : "M"}${x(point.at).toFixed(1)} ${y(size(point)).toFixed(1)}`).join("");
  const stored = points.reduce((sum, point) => sum + point.stored, 0);
  const summary =
    `${count(points.length)} complete snapshots from ${time(first.at)} to ${time(last.at)}. Database and filestore ` +
    `together had ${bytes(first.live)} at the first and ${bytes(last.live)} at the last one. ` +
    `The snapshots take ${bytes(stored)} in the store, the last one ${bytes(last.stored)}.`;
  return (
    <figure>
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} class="plot" role="img" aria-label={summary}>
        {[0, 0.5, 1].map((part) => (
          <g key={part}>
            <line class="grid" x1={LEFT} x2={WIDTH - 10} y1={y(top * part)} y2={y(top * part)} />
            <text x={LEFT - 6} y={y(top * part) + 4} text-anchor="end">
              {bytes(top * part)}
            </text>
          </g>
        ))}
        <path class="live" d={line(({ live }) => live)} />
        {points.map((point) => (
          <line class="stored" key={point.at} x1={x(point.at)} x2={x(point.at)} y1={y(0)} y2={y(point.stored)} />
        ))}
      </svg>
      <figcaption>Line: live size at each snapshot. Bars: what each snapshot takes in the store. {summary}</figcaption>
    </figure>
  );
}
