// The axis of time as a drawing: one path for each kind of marks, so that 2,000 of them cost little.
import type { ComponentChildren } from "preact";
import { useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { bytes, duration } from "../text";
import { clicked, labels, sized, ticks, type Kind, type Mark, type Range, type Zoom } from "./axis";

/** Kind → its name, its shape around a point, and the line it stands on. The later ones are above the others. */
export const KINDS: Record<Kind, { name: string; y: number; shape(x: number, y: number): string }> = {
  running: { name: "Snapshot that runs", y: 58, shape: circle },
  differential: { name: "Differential snapshot", y: 58, shape: circle },
  full: { name: "Full snapshot", y: 58, shape: (x, y) => `M${x - 4} ${y - 4}h8v8h-8z` },
  safety: {
    name: "Safety snapshot: the state before a rollback",
    y: 58,
    shape: (x, y) => `M${x} ${y - 6}l6 6l-6 6l-6 -6z`,
  },
  failed: { name: "Failed snapshot or restore test", y: 58, shape: cross },
  // A flag: a triangle is the sign of a warning.
  deployment: { name: "Deployment", y: 20, shape: (x, y) => `M${x - 4} ${y + 6}v-12h9l-3 3l3 3h-7v6z` },
  rollback: { name: "Rollback", y: 20, shape: (x, y) => `M${x + 5} ${y - 5}v10l-9 -5zM${x - 5} ${y - 5}v10` },
  failedTurn: { name: "Failed rollback or undo", y: 20, shape: cross },
  undo: { name: "Undo of a rollback", y: 20, shape: (x, y) => `M${x - 5} ${y - 5}v10l9 -5zM${x + 5} ${y - 5}v10` },
};

/** The name of one mark: of a kind with two meanings, the one that it has. */
export function nameOf({ kind, snapshot, turn }: Pick<Mark, "kind" | "snapshot" | "turn">): string {
  if (kind === "failed") return snapshot?.status === "failed" ? "Failed snapshot" : "Snapshot whose restore test failed";
  if (kind === "failedTurn") return turn?.kind === "undo" ? "Failed undo" : "Failed rollback";
  return KINDS[kind].name;
}

function circle(x: number, y: number): string {
  return `M${x - 3.5} ${y}a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0z`;
}

function cross(x: number, y: number): string {
  return `M${x - 4} ${y - 4}l8 8m0 -8l-8 8`;
}

const HEIGHT = 152;
/** The lines of the sizes: the largest, and none. */
const TOP = 88;
const FLOOR = 130;
const EDGE = 8;

interface Drawn {
  marks: Mark[];
  holes: Range[];
  shown: Range;
  zoom: Zoom;
  now: number;
  chosen: Mark | undefined;
  before: Mark | undefined;
  choose(mark: Mark | undefined): void;
}

export function Drawing({ marks, holes, shown, zoom, now, chosen, before, choose }: Drawn) {
  const svg = useRef<SVGSVGElement>(null);
  const width = useWidth(svg);
  const x = (at: number) =>
    Math.round((EDGE + ((at - shown.from) / (shown.to - shown.from)) * (width - 2 * EDGE)) * 10) / 10;
  const click = (event: MouseEvent) => {
    const at = event.clientX - svg.current!.getBoundingClientRect().left;
    choose(clicked(marks, chosen?.id ?? null, at, (mark) => x(mark.at)));
  };
  const round = ticks(shown, Math.max(2, width / 110));
  const hours = round.some(({ midnight }) => !midnight);
  return (
    <svg ref={svg} class="time-axis" aria-hidden="true" height={HEIGHT} onClick={click}>
      {round.map(({ at, label, midnight }) => (
        <g key={at} class={hours && midnight ? "tick midnight" : "tick"}>
          <line x1={x(at)} x2={x(at)} y1={8} y2={FLOOR + 4} />
          <text x={x(at)} y={HEIGHT - 6} text-anchor={x(at) < 30 ? "start" : x(at) > width - 30 ? "end" : "middle"}>
            {label}
          </text>
        </g>
      ))}
      {holes.map((hole) => (
        <Hole
          key={hole.from}
          of={hole}
          from={Math.max(EDGE, x(hole.from))}
          to={Math.min(width - EDGE, x(hole.to))}
          now={now}
        />
      ))}
      <Marks {...{ marks, x, width, shown, zoom }} />
      {now < shown.to && <line class="now" x1={x(now)} x2={x(now)} y1={8} y2={FLOOR} />}
      {before && before.at >= shown.from && <Ring of={before} x={x(before.at)} name="last-good" />}
      {chosen && <Ring of={chosen} x={x(chosen.at)} name="is-chosen" />}
    </svg>
  );
}

/** The width of an element, in pixels. */
function useWidth(of: { current: Element | null }): number {
  const [width, setWidth] = useState(600);
  useLayoutEffect(() => {
    const measure = () => setWidth(Math.max(200, of.current!.clientWidth));
    const observer = new ResizeObserver(measure);
    observer.observe(of.current!);
    measure();
    return () => observer.disconnect();
  }, [of]);
  return width;
}

/** Drawn again only when the marks or the range change: not for each step of the choice. */
function Marks({ marks, x, width, shown, zoom }: Pick<Drawn, "marks" | "shown" | "zoom"> & { x(at: number): number; width: number }) {
  return useMemo(() => {
    const taken = sized(marks);
    const live = ({ snapshot }: Mark) => (snapshot!.dbSizeBytes ?? 0) + (snapshot!.filestoreSizeBytes ?? 0);
    const most = Math.max(1, ...taken.map((mark) => Math.max(live(mark), mark.snapshot!.totalSizeBytes!)));
    const y = (size: number) => Math.round((FLOOR - (size / most) * (FLOOR - TOP)) * 10) / 10;
    const bars = taken.map(
      (mark) => `M${x(mark.at)} ${FLOOR}V${Math.min(FLOOR - 1, y(mark.snapshot!.totalSizeBytes!))}`,
    );
    const unknown = marks.flatMap(({ since, at }) => (since === undefined ? [] : [`M${Math.max(EDGE, x(since))} 20H${x(at)}`]));
    const line = taken.map((mark, n) => `${n ? "L" : "M"}${x(mark.at)} ${y(live(mark))}`);
    return (
      <>
        <path class="stored" d={bars.join("")} />
        <path class="live" d={line.join("")} />
        <path class="between" d={unknown.join("")} />
        {taken.length > 0 && (
          <text class="most" x={EDGE + 2} y={TOP - 7}>
            {bytes(most)}
          </text>
        )}
        {(Object.keys(KINDS) as Kind[]).map((kind) => {
          const { y, shape } = KINDS[kind];
          const of = marks.filter((mark) => mark.kind === kind);
          return <path key={kind} class={`at ${kind}`} d={of.map(({ at }) => shape(x(at), y)).join("")} />;
        })}
        {labels(marks, zoom, width, x).map((label) => (
          <text key={label.x} class="when" x={label.x} y={11}>
            {label.text}
          </text>
        ))}
      </>
    );
  }, [marks, width, shown.from, shown.to]);
}

/** A time without a good state. `now`: where it has not ended, it is overdue. */
function Hole({ of, from, to, now }: { of: Range; from: number; to: number; now: number }) {
  if (to - from < 2) return null;
  const overdue = of.to === now;
  // What a rule of retention has deleted is not known to have been taken.
  const words = `no good state ${overdue ? "for" : "kept for"} ${duration((of.to - of.from) / 1000)}`;
  return (
    <g class={overdue ? "hole overdue" : "hole"}>
      <rect x={from} y={46} width={to - from} height={24} />
      {to - from > words.length * 6.5 && (
        <text x={(from + to) / 2} y={42} text-anchor="middle">
          {words}
        </text>
      )}
    </g>
  );
}

function Ring({ of, x, name }: { of: Mark; x: number; name: string }) {
  return (
    <g class={name}>
      <line x1={x} x2={x} y1={8} y2={FLOOR} />
      <circle cx={x} cy={KINDS[of.kind].y} r={9} />
    </g>
  );
}

/** What is drawn, each with its name: the kinds of marks in view with how many of each, rings and boxes. */
export function Legend({ of, holes, shown, now, chosen, before }: Pick<Drawn, "holes" | "shown" | "now" | "chosen" | "before"> & { of: Mark[] }) {
  const seen = holes.filter(({ from, to }) => to > shown.from && from < shown.to);
  return (
    <ul class="legend">
      {(Object.keys(KINDS) as Kind[]).map((kind) => {
        const count = of.filter((mark) => mark.kind === kind).length;
        return (
          count > 0 && (
            <Entry key={kind} drawn={<path class={`at ${kind}`} d={KINDS[kind].shape(8, 8)} />}>
              {KINDS[kind].name} <b>{count}</b>
            </Entry>
          )
        );
      })}
      {seen.some(({ to }) => to !== now) && (
        <Entry drawn={<BoxSign name="hole" />}>No good state kept: none was taken, or a rule deleted it</Entry>
      )}
      {seen.some(({ to }) => to === now) && <Entry drawn={<BoxSign name="hole overdue" />}>The next good state is overdue</Entry>}
      {chosen && <Entry drawn={<RingSign name="is-chosen" />}>Chosen</Entry>}
      {before && before.at >= shown.from && <Entry drawn={<RingSign name="last-good" />}>Last good state before it</Entry>}
    </ul>
  );
}

function BoxSign({ name }: { name: string }) {
  return (
    <g class={name}>
      <rect x={1} y={3} width={14} height={10} />
    </g>
  );
}

function RingSign({ name }: { name: string }) {
  return (
    <g class={name}>
      <circle cx={8} cy={8} r={6} />
    </g>
  );
}

function Entry({ drawn, children }: { drawn: ComponentChildren; children: ComponentChildren }) {
  return (
    <li>
      <svg class="time-axis" width="16" height="16" aria-hidden="true">
        {drawn}
      </svg>
      {children}
    </li>
  );
}
