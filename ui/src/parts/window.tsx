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
  /** Reads the pages of these rows, where they are missing. */
  need(first: number, last: number): void;
  /** Reads the pages in view again. */
  reload(): void;
}

type Load<T> = (api: Api, offset: number) => Promise<Page<T>>;

/** Pages of a list. `key` names the list; `changed` says whether a change makes the pages stale, or replaces rows. */
export function usePages<T extends { id: string }>(
  key: string,
  load: Load<T>,
  changed: (change: Change, has: (id: string) => boolean) => T | "reload" | undefined,
): Pages<T> {
  const { api, session, changes } = useParts();
  const [state, setState] = useState<{ total?: number; rows: Map<number, T[]>; problem?: Problem; since: number }>({
    rows: new Map(),
    since: 0,
  });
  const latest = useRef({ load, changed });
  latest.current = { load, changed };
  const read = useRef<Pick<Pages<T>, "need" | "reload">>({ need: () => {}, reload: () => {} });

  useEffect(() => {
    let ended = false;
    let shown: [number, number] = [0, 0];
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
        setState({ total: answer.total, rows: new Map(rows), since: session.now() });
      } catch (error) {
        if (ended || !(error instanceof Problem)) throw error;
        setState((before) => ({ ...before, problem: error }));
        if (error.passes) {
          clearTimeout(timer);
          timer = setTimeout(() => want(...shown), (error.retryAfterSeconds ?? 0) * 1000 || backOff(failures++));
        }
      } finally {
        reading.delete(page);
        // It became stale while it was read.
        if (generation !== fresh && !ended) want(...shown);
      }
    };
    const want = (first: number, last: number) => {
      shown = [first, last];
      for (let page = Math.floor(first / PAGE); page <= Math.floor(last / PAGE); page += 1) void readPage(page);
    };
    const reload = () => {
      stale ??= setTimeout(() => {
        stale = undefined;
        fresh = new Set();
        want(...shown);
      }, 1000);
    };
    read.current = { need: want, reload };
    const has = (id: string) => [...rows.values()].some((page) => page.some((row) => row.id === id));
    const unsubscribe = changes.subscribe((change) => {
      if (change.kind === "reset") return reload();
      const row = latest.current.changed(change, has);
      if (row === "reload") return reload();
      if (!row) return;
      for (const [page, known] of rows) {
        const at = known.findIndex(({ id }) => id === row.id);
        if (at >= 0) rows.set(page, known.with(at, row));
      }
      setState((before) => ({ ...before, rows: new Map(rows) }));
    });
    let kind = session.state.kind;
    const unfollow = session.subscribe(() => {
      if (session.state.kind === "signedIn" && kind !== "signedIn") reload();
      kind = session.state.kind;
    });
    setState({ rows: new Map(), since: 0 });
    want(0, 0);
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
    need: (first, last) => read.current.need(first, last),
    reload: () => read.current.reload(),
  };
}

export interface Column<T> {
  name: string;
  cell(row: T): ComponentChildren;
}

/** A table of all rows that scrolls with the page. Rows have one height, which the style sheet sets. */
export function Rows<T extends { id: string }>({
  pages,
  columns,
  label,
  none,
}: {
  pages: Pages<T>;
  columns: Column<T>[];
  label: string;
  none: string;
}) {
  const body = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ first: 0, last: 30, height: 0 });
  const total = pages.total ?? 0;

  useLayoutEffect(() => {
    const look = () => {
      const box = body.current?.getBoundingClientRect();
      if (!box) return;
      const height =
        Number.parseFloat(getComputedStyle(body.current!).getPropertyValue("--row")) *
        Number.parseFloat(getComputedStyle(document.documentElement).fontSize);
      const first = Math.max(0, Math.floor(-box.top / height) - 10);
      const last = Math.max(first, Math.min(total - 1, Math.ceil((innerHeight - box.top) / height) + 10));
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
  }, [total]);
  // Pages that only fly past are not read.
  useEffect(() => {
    const timer = setTimeout(() => pages.need(view.first, view.last), 80);
    return () => clearTimeout(timer);
  }, [view.first, view.last, total]);

  const last = Math.min(view.last, total - 1);
  const shown = Array.from({ length: Math.max(0, last - view.first + 1) }, (_, n) => view.first + n);
  return (
    <Known of={{ ...pages, data: pages.total }}>
      {(total) =>
        total === 0 ? (
          <p>{none}</p>
        ) : (
          <div role="table" aria-label={label} aria-rowcount={total + 1} class="rows">
            <div role="rowgroup">
              <div role="row" aria-rowindex={1} class="row head">
                {columns.map(({ name }) => (
                  <div role="columnheader" key={name}>
                    {name}
                  </div>
                ))}
              </div>
            </div>
            <div role="rowgroup" ref={body} class="body" style={{ height: `${total * view.height}px` }}>
              {shown.map((index) => {
                const row = pages.rows.get(Math.floor(index / PAGE))?.[index % PAGE];
                return (
                  <div
                    role="row"
                    aria-rowindex={index + 2}
                    class="row"
                    key={index}
                    style={{ transform: `translateY(${index * view.height}px)` }}
                  >
                    {columns.map(({ name, cell }, n) => (
                      <div role="cell" key={name}>
                        {row ? cell(row) : n === 0 ? "Loading …" : ""}
                      </div>
                    ))}
                  </div>
                );
              })}
            </div>
          </div>
        )
      }
    </Known>
  );
}
