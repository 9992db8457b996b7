// All environments in one dense table: which are safe, what runs, what to do.
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { body } from "../api/calls";
import { PAGE } from "../api/lists";
import type { EnvironmentRow, Summary } from "../api/types";
import { useSettled } from "../parts/context";
import { Choice, Field, Form } from "../parts/form";
import { Mark, Progress, Text, Time, Title, Type } from "../parts/show";
import { Rows, usePages, type Column } from "../parts/window";
import { address, setQuery, type Query } from "../route";
import { bytes, count, duration, words } from "../text";
import { EnvironmentInBrief } from "./EnvironmentInBrief";
import { notPlanned, placeOf, StateMark, STATES, useLateness, type State } from "./state";
import "./fleet.css";

const TYPES = { "": "all", production: "production", staging: "staging", development: "development" };
const ORDERS = ["state", "name", "namespace", "age", "next", "size"] as const;
type Order = (typeof ORDERS)[number] | `-${(typeof ORDERS)[number]}`;
type Type = Exclude<keyof typeof TYPES, "">;

/** Milliseconds after which the list is read again: no event reports that an environment becomes overdue. */
const AGES = 60_000;

/** What the query of an address asks for. What it does not know is not asked for. */
export function asked(query: Query): { text: string; type: Type | ""; state: State | "running" | ""; sort: Order } {
  const { text = "", type = "", state = "", sort = "" } = query;
  const known = <T extends string>(value: string, of: readonly string[] | object) =>
    ((Array.isArray(of) ? of.includes(value) : Object.hasOwn(of, value)) ? value : "") as T | "";
  const by = known<Order>(sort, ORDERS.flatMap((order) => [order, `-${order}`]));
  return {
    text: text.slice(0, 100),
    type: known<Type>(type, TYPES),
    state: state === "running" ? state : known<State>(state, STATES),
    sort: by || "state",
  };
}

export function Environments({ query }: { query: Query }) {
  const { text, type, state, sort } = asked(query);
  const [summary, setSummary] = useState<Summary>();
  const pages = usePages<EnvironmentRow>(
    JSON.stringify([text, type, state, sort]),
    async (api, offset) => {
      const filter = {
        ...(text && { text }),
        ...(type && { type }),
        ...(state === "running" ? { running: true } : state && { state: [state] }),
      };
      const asked = { limit: PAGE, offset, sort, ...filter };
      const answer = await body(api.GET("/console/v1/environments", { params: { query: asked } }));
      setSummary(answer.summary);
      return { total: answer.total, rows: answer.environments };
    },
    (event, known) => {
      if (event.kind !== "environment") return undefined;
      // The row is shown at once. Its place and the counts are read again where they may differ.
      const row = event.object;
      const before = known(event.id);
      if (!row || event.deleted || !before) return "reload";
      return before.state === row.state && Boolean(before.operation) === Boolean(row.operation) ? row : "reload";
    },
  );
  useEffect(() => {
    const timer = setInterval(pages.reload, AGES);
    return () => clearInterval(timer);
  }, []);
  const narrow = useNarrow();
  const open = query.open;
  const table = useRef<HTMLDivElement>(null);
  const details = (row: EnvironmentRow) => (
    <EnvironmentInBrief
      of={row}
      close={() => {
        setQuery({ open: "" });
        table.current?.querySelector<HTMLElement>(`[data-id="${row.id}"] button`)?.focus();
      }}
    />
  );
  const chosen = open ? [...pages.rows.values()].flat().find(({ id }) => id === open) : undefined;
  return (
    <div class="fleet">
      <div class="top">
        <Title name="Environments">Environments</Title>
        {summary && <Strip of={summary} chosen={state} />}
      </div>
      <Filter text={text} type={type} />
      <p role="status" class="unseen">
        {pages.total !== undefined && `${count(pages.total)} ${pages.total === 1 ? "environment" : "environments"}`}
      </p>
      <div class={chosen && !narrow ? "beside" : undefined}>
        <div ref={table} onClick={openRow}>
          <Rows
            pages={pages}
            label="Environments"
            none={nothing(query)}
            columns={columns(open)}
            order={{ by: sort, change: (by) => setQuery({ sort: by === "state" ? "" : by }) }}
            open={open}
            details={narrow ? details : undefined}
          />
        </div>
        {chosen && !narrow && <aside aria-label="What to do">{details(chosen)}</aside>}
      </div>
    </div>
  );
}

function nothing(query: Query): string {
  const { text, type, state } = asked(query);
  return text || type || state
    ? "No environment fits. Change the filter."
    : "Your token names no environment that exists. Ask your administrator for a token that names one.";
}

/** A click on a row, and not on what is in it, opens it; another one closes it. */
function openRow({ target, currentTarget }: MouseEvent & { currentTarget: HTMLElement }): void {
  if (!(target instanceof Element) || target.closest("a, button, .below")) return;
  if (getSelection()?.toString()) return; // it was marked to be copied
  const row = target.closest<HTMLElement>(".body .row");
  if (row?.dataset.id && currentTarget.contains(row)) toggle(row.dataset.id, row.classList.contains("open"));
}

function toggle(id: string, isOpen: boolean): void {
  setQuery({ open: isOpen ? "" : id });
}

/** Whether there is no room for details beside the table. */
function useNarrow(): boolean {
  const screen = useRef(matchMedia("(max-width: 83.9rem)"));
  const [narrow, setNarrow] = useState(screen.current.matches);
  useEffect(() => {
    const media = screen.current;
    const changed = () => setNarrow(media.matches);
    media.addEventListener("change", changed);
    return () => media.removeEventListener("change", changed);
  }, []);
  return narrow;
}

/** How many environments are in each state. A click filters, another one ends that. */
function Strip({ of, chosen }: { of: Summary; chosen: State | "running" | "" }) {
  const states = Object.entries(STATES) as [State, (typeof STATES)[State]][];
  const parts: { state: State | "running" | ""; text: ComponentChildren; count: number }[] = [
    { state: "", text: "all", count: states.reduce((sum, [state]) => sum + of[state], 0) },
    ...states.map(([state, { word, tone, sign }]) => ({
      state,
      text: (
        <Mark tone={tone} sign={sign}>
          {word.toLowerCase()}
        </Mark>
      ),
      count: of[state],
    })),
    { state: "running", text: "running", count: of.running },
  ];
  return (
    <div role="group" aria-label="Environments by state" class="strip">
      {parts.map(({ state, text, count: number }) =>
        number || state === chosen || state === "" ? (
          <button
            type="button"
            key={state}
            aria-pressed={state === chosen}
            onClick={() => setQuery({ state: state === chosen ? "" : state })}
          >
            {count(number)} {text}
          </button>
        ) : null,
      )}
    </div>
  );
}

function Filter({ text, type }: { text: string; type: Type | "" }) {
  const [typed, setTyped] = useState(text);
  const settled = useSettled(typed);
  const form = useRef<HTMLDivElement>(null);
  useEffect(() => setQuery({ text: settled }), [settled]);
  // `Back` brings another text.
  useEffect(() => {
    if (text !== settled) setTyped(text);
  }, [text]);
  useEffect(() => {
    const focus = (event: KeyboardEvent) => {
      const typing = event.target instanceof Element && event.target.closest("input, select, textarea");
      if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      form.current?.querySelector("input")?.focus();
    };
    addEventListener("keydown", focus);
    return () => removeEventListener("keydown", focus);
  }, []);
  return (
    <div ref={form}>
      <Form class="filter" role="search">
        <Field
          type="search"
          label="Name, namespace or id"
          value={typed}
          maxLength={100}
          placeholder="Press / to search"
          change={setTyped}
        />
        <Choice label="Type" value={type} of={TYPES} change={(type) => setQuery({ type })} />
      </Form>
    </div>
  );
}

function columns(open: string | undefined): Column<EnvironmentRow>[] {
  return [
    {
      name: "State",
      sort: "state",
      cell: ({ id, state }) => (
        <button
          type="button"
          class="text"
          aria-expanded={id === open}
          aria-label={`${STATES[state].word}: what to do`}
          onClick={() => toggle(id, id === open)}
        >
          <StateMark of={state} />
        </button>
      ),
    },
    {
      name: "Name",
      sort: "name",
      cell: ({ id, name }) => (
        <a href={address({ view: "environment", environment: id })}>
          <Text of={name} />
        </a>
      ),
    },
    { name: "Namespace", sort: "namespace", cell: ({ namespace }) => <Text of={namespace} /> },
    { name: "Type", cell: ({ type }) => <Type of={type} /> },
    { name: "Last good state", sort: "age", cell: (row) => <Age of={row} /> },
    {
      name: "Next",
      sort: "next",
      cell: (row) => <Time at={row.nextSnapshotAt} none={notPlanned(row)} planned brief plain />,
    },
    { name: "Runs", cell: (row) => <Bar of={row} /> },
    { name: "Size", sort: "size", cell: ({ sizeBytes }) => (sizeBytes === null ? "–" : bytes(sizeBytes)) },
  ];
}

/** The age of the last good state, against the schedule. */
function Age({ of }: { of: EnvironmentRow }) {
  const { lastGood, expectedEverySeconds: every, state } = of;
  const none = state === "suspended" ? "schedule suspended" : "no schedule";
  const late = useLateness(of);
  return (
    <>
      <span class={late ? "late" : undefined}>
        <Time at={lastGood?.time} none="none" brief plain />
        {late && `, ${late}`}
      </span>{" "}
      <span class="hint">{every === null ? none : `every ${duration(every)}`}</span>
    </>
  );
}

/** What runs, in one line. */
function Bar({ of }: { of: EnvironmentRow }) {
  const { operation } = of;
  if (!operation) return null;
  const what = words(operation.kind);
  const place = placeOf(of, operation);
  return (
    <span class="runs">
      {place ? <a href={place}>{what}</a> : what}{" "}
      <Progress percent={operation.percent} label={`${what} of ${of.name}`} />
    </span>
  );
}
