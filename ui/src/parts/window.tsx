// A list of any length: only the rows in view exist, and only their pages are read.
import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { Problem } from "../api/problem";
import { backOff } from "../api/sse";
import type { Api } from "../api/calls";
import type { Change } from "../api/changes";
import { PAGE, type Page } from "../api/lists";
import { useParts } from "./context";
import { Known } from "./show";

/** Pages that stay in memory: the others are read again when they come into view. */
const KEPT = 8;

export interface Pages<T> {
  total: number | undefined;
  rows: ReadonlyMap<number, readonly T[]>;
  problem: Problem | undefined;
  since: number;
  /** Whether the rows are still those of another key: its first answer has not come. */
  stale: boolean;
  /** Reads the pages of these rows, where they are missing. */
  need(first: number, last: number): void;
  /** Reads the pages in view again. */
  reload(): void;
}

type Load<T> = (api: Api, offset: number) => Promise<Page<T>>;

/** Whether a change makes the pages of a list stale, or replaces a row of them. */
type Changed<T> = (change: Change, known: (id: string) => T | undefined) => T | "reload" | undefined;

/** Of the objects of one kind and environment: a row that is known is replaced. One that came or went moves others. */
export function rowsOf<T>(kind: Change["kind"], environment: string): Changed<T> {
  return (change, known) => {
    if (change.kind === "reset" || change.kind !== kind || change.environmentId !== environment) return undefined;
    return change.object && !change.deleted && known(change.id) ? (change.object as T) : "reload";
  };
}

/** Pages of a list. `key` names the list. */
export function usePages<T extends { id: string }>(key: string, load: Load<T>, changed: Changed<T>): Pages<T> {
  const { api, session, changes } = useParts();
  const [state, setState] = useState<{ key?: string; total?: number; rows: Map<number, T[]>; problem?: Problem; since: number }>({
    rows: new Map(),
    since: 0,
  });
  const latest = useRef({ load, changed });
  latest.current = { load, changed };
  const read = useRef<Pick<Pages<T>, "need" | "reload">>({ need: () => {}, reload: () => {} });
  const shown = useRef<[number, number]>([0, 0]);

  useEffect(() => {
    let ended = false;
    let fresh = new Set<number>();
    const reading = new Set<number>();
    let failures = 0;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let stale: ReturnType<typeof setTimeout> | undefined;
    const rows = new Map<number, T[]>();

    const readPage = async (page: number) => {
      if (ended || reading.has(page) || fresh.has(page)) return;
      reading.add(page);
      const generation = fresh;
      try {
        const answer = await latest.current.load(api, page * PAGE);
        if (ended) return;
        failures = 0;
        generation.add(page);
        rows.set(page, answer.rows);
        for (const far of [...rows.keys()].sort((a, b) => Math.abs(b - page) - Math.abs(a - page))) {
          if (rows.size <= KEPT) break;
          rows.delete(far);
          fresh.delete(far);
        }
        setState({ key, total: answer.total, rows: new Map(rows), since: session.now() });
      } catch (error) {
        if (ended || !(error instanceof Problem)) throw error;
        setState((before) => ({ ...before, problem: error }));
        if (error.passes) {
          clearTimeout(timer);
          timer = setTimeout(() => want(...shown.current), (error.retryAfterSeconds ?? 0) * 1000 || backOff(failures++));
        }
      } finally {
        reading.delete(page);
        // It became stale while it was read.
        if (generation !== fresh && !ended) want(...shown.current);
      }
    };
    const want = (first: number, last: number) => {
      shown.current = [first, last];
      for (let page = Math.floor(first / PAGE); page <= Math.floor(last / PAGE); page += 1) void readPage(page);
    };
    const reload = () => {
      stale ??= setTimeout(() => {
        stale = undefined;
        fresh = new Set();
        want(...shown.current);
      }, 1000);
    };
    read.current = { need: want, reload };
    const known = (id: string) => [...rows.values()].flat().find((row) => row.id === id);
    const unsubscribe = changes.subscribe((change) => {
      if (change.kind === "reset") return reload();
      const row = latest.current.changed(change, known);
      if (row === "reload") return reload();
      if (!row) return;
      for (const [page, before] of rows) {
        const at = before.findIndex(({ id }) => id === row.id);
        if (at >= 0) rows.set(page, before.with(at, row));
      }
      setState((before) => ({ ...before, rows: new Map(rows) }));
    });
    let kind = session.state.kind;
    const unfollow = session.subscribe(() => {
      if (session.state.kind === "signedIn" && kind !== "signedIn") reload();
      kind = session.state.kind;
    });
    // What was read before stays until the first answer: a table that vanishes at each letter of a filter is no table.
    want(...shown.current);
    return () => {
      ended = true;
      clearTimeout(timer);
      clearTimeout(stale);
      unsubscribe();
      unfollow();
    };
  }, [key, api, session, changes]);

  return {
    total: state.total,
    rows: state.rows,
    problem: state.problem,
    since: state.since,
    stale: state.key !== undefined && state.key !== key,
    need: (first, last) => read.current.need(first, last),
    reload: () => read.current.reload(),
  };
}

export interface Column<T> {
  name: string;
  cell(row: T): ComponentChildren;
  /** The order that its head gives. */
  sort?: string;
}

/** The order of a list, and what changes it. `-` before it reverses. */
export interface Order {
  by: string;
  change(by: string): void;
}

/** A row with details below it. `height`: theirs in pixels, once it is known. */
interface Opened {
  index: number;
  height: number;
}

/** Pixels from the top of a list to a row. */
export function topOf(index: number, row: number, opened: Opened | undefined): number {
  return index * row + (opened && index > opened.index ? opened.height : 0);
}

/** The row at so many pixels below the top of a list. */
export function rowAt(top: number, row: number, opened: Opened | undefined): number {
  const below = opened ? (opened.index + 1) * row : Number.POSITIVE_INFINITY;
  return Math.floor((top <= below ? top : Math.max(below, top - (opened?.height ?? 0))) / row);
}

/** The rows of a list that are in view, and ten more at both ends; and the height of one, which the style sheet sets. */
function useInView(total: number, opened: Opened | undefined) {
  const body = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ first: 0, last: 30, height: 0 });
  useLayoutEffect(() => {
    const look = () => {
      const box = body.current?.getBoundingClientRect();
      if (!box) return;
      const height =
        Number.parseFloat(getComputedStyle(body.current!).getPropertyValue("--row")) *
        Number.parseFloat(getComputedStyle(document.documentElement).fontSize);
      const first = Math.max(0, rowAt(-box.top, height, opened) - 10);
      const last = Math.max(first, Math.min(total - 1, rowAt(innerHeight - box.top, height, opened) + 11));
      setView((before) =>
        before.first === first && before.last === last && before.height === height ? before : { first, last, height },
      );
    };
    look();
    addEventListener("scroll", look, { passive: true });
    addEventListener("resize", look);
    return () => {
      removeEventListener("scroll", look);
      removeEventListener("resize", look);
    };
  }, [total, opened?.index, opened?.height]);
  return { body, ...view, last: Math.min(view.last, total - 1) };
}

/** Up and down arrows go from the link of a row to that of the next one. */
function toNextRow(event: KeyboardEvent): void {
  const row = event.target instanceof Element ? event.target.closest(".row") : null;
  const steps: Record<string, "nextElementSibling" | "previousElementSibling"> = {
    ArrowDown: "nextElementSibling",
    ArrowUp: "previousElementSibling",
  };
  const step = steps[event.key];
  if (!row || !step) return;
  event.preventDefault();
  let next = row[step];
  while (next?.matches(":not(.row)")) next = next[step];
  next?.querySelector("a")?.focus();
}

/**
 * A table of all rows that scrolls with the page. Rows have one height, which the style sheet sets. `details`: what is
 * below a row that is open.
 */
export function Rows<T extends { id: string }>({
  pages,
  columns,
  label,
  none,
  order,
  open,
  details,
}: {
  pages: Pages<T>;
  columns: Column<T>[];
  label: string;
  none: string;
  order?: Order;
  open?: string | undefined;
  details?: ((row: T) => ComponentChildren) | undefined;
}) {
  const total = pages.total ?? 0;
  const [extra, setExtra] = useState(0);
  const found = open === undefined ? undefined : placeOf(pages, open);
  const opened = details && found !== undefined ? { index: found, height: extra } : undefined;
  const { body, first, last, height } = useInView(total, opened);
  // Pages that only fly past are not read.
  useEffect(() => {
    const timer = setTimeout(() => pages.need(first, last), 80);
    return () => clearTimeout(timer);
  }, [first, last, total]);

  const rowOf = (index: number) => pages.rows.get(Math.floor(index / PAGE))?.[index % PAGE];
  const openRow = opened && rowOf(opened.index);
  return (
    <Known of={{ ...pages, data: pages.total }}>
      {(total) =>
        total === 0 ? (
          <p>{none}</p>
        ) : (
          <div role="table" aria-label={label} aria-rowcount={total + 1} aria-busy={pages.stale} class="rows" onKeyDown={toNextRow}>
            <div role="rowgroup" class="heads">
              <div role="row" aria-rowindex={1} class="row head">
                {columns.map((column) => (
                  <Head key={column.name} of={column} order={order} />
                ))}
              </div>
            </div>
            <div
              role="rowgroup"
              ref={body}
              class="body"
              style={{ height: `${topOf(total, height, opened)}px` }}
            >
              {Array.from({ length: Math.max(0, last - first + 1) }, (_, n) => first + n).map((index) => {
                const row = rowOf(index);
                return (
                  <div
                    role="row"
                    aria-rowindex={index + 2}
                    class={row && row.id === open ? "row open" : "row"}
                    key={row ? `${Math.floor(index / PAGE)} ${row.id}` : index}
                    data-id={row?.id}
                    style={{ transform: `translateY(${topOf(index, height, opened)}px)` }}
                  >
                    {columns.map(({ name, cell }, n) => (
                      <div role="cell" key={name}>
                        {row ? cell(row) : n === 0 ? "Loading …" : ""}
                      </div>
                    ))}
                  </div>
                );
              })}
              {opened && openRow && (
                <Below top={topOf(opened.index, height, undefined) + height} measured={setExtra}>
                  {details?.(openRow)}
                </Below>
              )}
            </div>
          </div>
        )
      }
    </Known>
  );
}

/** The index of a row that has been read. */
function placeOf<T extends { id: string }>(pages: Pages<T>, id: string): number | undefined {
  for (const [page, rows] of pages.rows) {
    const at = rows.findIndex((row) => row.id === id);
    if (at >= 0) return page * PAGE + at;
  }
  return undefined;
}

/** The head of a column; a button where it gives the list an order. */
function Head<T>({ of: { name, sort }, order }: { of: Column<T>; order: Order | undefined }) {
  if (!sort || !order) return <div role="columnheader">{name}</div>;
  const up = order.by === sort;
  const down = order.by === `-${sort}`;
  return (
    <div role="columnheader" aria-sort={up ? "ascending" : down ? "descending" : "none"}>
      <button type="button" class="text" onClick={() => order.change(up ? `-${sort}` : sort)}>
        {name} <span aria-hidden="true">{up ? "↑" : down ? "↓" : ""}</span>
      </button>
    </div>
  );
}

/** What is below an open row. `measured` gets its height. */
function Below({ top, measured, children }: { top: number; measured(height: number): void; children: ComponentChildren }) {
  const box = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    const sized = new ResizeObserver(() => measured(box.current?.offsetHeight ?? 0));
    sized.observe(box.current!);
    return () => sized.disconnect();
  }, [measured]);
  return (
    <div role="row" ref={box} class="below" style={{ transform: `translateY(${top}px)` }}>
      <div role="cell">{children}</div>
    </div>
  );
}
