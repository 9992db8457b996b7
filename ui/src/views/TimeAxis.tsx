// What happened to an environment, on an axis of time: snapshots with their sizes, deployments, rollbacks, undos.
import type { ComponentChildren } from "preact";
import { useEffect, useMemo, useReducer, useState } from "preact/hooks";
import "./axis.css";
import { firstRows, rollbacks, snapshots } from "../api/lists";
import type { EnvironmentDetails, Snapshot } from "../api/types";
import { useLoaded, useMay, useParts } from "../parts/context";
import { Known, Section, Text, Time } from "../parts/show";
import { address, go, route, setQuery } from "../route";
import { useStore } from "../store";
import { bytes, time, visible } from "../text";
import {
  around,
  deployments,
  gaps,
  isState,
  lastGoodBefore,
  marks,
  moved,
  neighbours,
  range,
  sized,
  stepped,
  ZOOMS,
  type Mark,
  type Range,
  type Turn,
  type Zoom,
} from "./axis";
import { Drawing, Legend, nameOf } from "./Drawing";
import { keeps } from "./SnapshotList";
import { Stands } from "./state";
import { taken, turned } from "./verdict";

/** Snapshots and rollbacks of a range that are shown: the newest. */
const MOST = 2000;
/** Snapshots before the range that are read: for the last good state before its first mark. */
const BEFORE = 20;

interface Place {
  zoom: Zoom;
  /** Where the range ends; null: now. */
  end: number | null;
  chosen: string | null;
}

/** The place on the axis that an address names. */
export function placeOf(query: Readonly<Record<string, string>>, now: number): Place {
  const zoom = query.zoom !== undefined && Object.hasOwn(ZOOMS, query.zoom) ? (query.zoom as Zoom) : "day";
  const [moment = "", chosen] = (query.mark ?? "").split("~");
  const at = momentOf(query.at);
  if (!Number.isNaN(at)) return { zoom, end: at < now ? at : null, chosen: chosen ?? null };
  // An address stays right when what it names is no longer in the range that ends now.
  const left = momentOf(moment) < range(zoom, null, now).from;
  return { zoom, end: left ? around(zoom, momentOf(moment), now) : null, chosen: chosen ?? null };
}

/** NaN for what is no time, and for one of no environment. */
function momentOf(text: string | undefined): number {
  return /^20\d\d-/.test(text ?? "") ? Date.parse(text!) : Number.NaN;
}

export function TimeAxis({ of }: { of: EnvironmentDetails }) {
  const { session } = useParts();
  const [, tick] = useReducer<number, void>((n) => n + 1, 0);
  useEffect(() => {
    const timer = setInterval(() => tick(), 15_000);
    return () => clearInterval(timer);
  }, []);
  const now = session.now();
  const { zoom, end, chosen } = placeOf(useStore(route).query, now);
  const shown = range(zoom, end, now);
  const loaded = useHappened(of.id, zoom, shown, end === null);
  const move = (to: number | null, zoomed = zoom) =>
    setQuery({ at: to === null ? "" : new Date(to).toISOString(), zoom: zoomed === "day" ? "" : zoomed });
  const later = end === null ? undefined : moved(zoom, shown, 1, now);
  return (
    <Section id="time" title="Time">
      <div class="actions axis-place">
        <button type="button" onClick={() => move(moved(zoom, shown, -1, now))}>
          Earlier
        </button>
        <button type="button" disabled={later === undefined} onClick={() => move(later ?? null)}>
          Later
        </button>
        <button type="button" disabled={end === null} onClick={() => move(null)}>
          Now
        </button>
        <div role="group" aria-label="Zoom" class="zooms">
          {Object.entries(ZOOMS).map(([name, label]) => (
            <button type="button" key={name} aria-pressed={name === zoom} onClick={() => move(end, name as Zoom)}>
              {label}
            </button>
          ))}
        </div>
        <span class="hint">
          {time(shown.from)} to {end === null ? "now" : time(shown.to)}
        </span>
      </div>
      <Known of={loaded}>
        {(happened) => <Happened {...{ of, happened, shown, zoom, chosen, now, move }} live={end === null} />}
      </Known>
    </Section>
  );
}

interface Happenings {
  snapshots: Snapshot[];
  turns: Turn[];
  /** Whether there is more than is shown. */
  more: boolean;
}

/** `live`: the range ends now. It moves on; what happens is added by the stream of changes, and nothing is read again. */
function useHappened(environment: string, zoom: Zoom, { from, to }: Range, live: boolean) {
  const start = new Date(from).toISOString();
  const between = { from: start, ...(!live && { to: new Date(to).toISOString() }) };
  const within = (at: string) => Date.parse(at) >= from && (live || Date.parse(at) <= to);
  return useLoaded<Happenings>(
    `${environment} ${live ? zoom : `${from} ${to}`}`,
    async (api) => {
      const [taken, turns, before] = await Promise.all([
        firstRows(MOST, (offset) => snapshots(api, environment, offset, between)),
        firstRows(MOST, (offset) => rollbacks(api, environment, offset, between)),
        snapshots(api, environment, 0, { to: start, status: "completed", limit: BEFORE }),
      ]);
      const more = taken.rows.length < taken.total || turns.rows.length < turns.total;
      return { snapshots: [...taken.rows, ...before.rows], turns: turns.rows, more };
    },
    (known, event) => {
      if (event.kind !== "snapshot" && event.kind !== "rollback") return undefined;
      if (event.environmentId !== environment) return undefined;
      if (!known) return "reload";
      const { object } = event;
      const list = event.kind === "snapshot" ? "snapshots" : "turns";
      const place = known[list].findIndex(({ id }) => id === event.id);
      if (event.deleted || !object) return place < 0 ? undefined : "reload";
      if (place < 0) return within(object.createdAt) ? "reload" : undefined;
      return { ...known, [list]: known[list].with(place, object as never) };
    },
    3000,
  );
}

interface Axis {
  of: EnvironmentDetails;
  happened: Happenings;
  shown: Range;
  zoom: Zoom;
  chosen: string | null;
  now: number;
  live: boolean;
  move(to: number | null): void;
}

function Happened({ of, happened, shown, zoom, chosen, now, live, move }: Axis) {
  const latest = live ? shown.to : undefined;
  const all = useMemo(() => marks(happened.snapshots, happened.turns, latest), [happened, latest]);
  const inView = useMemo(() => all.filter(({ at }) => at >= shown.from && at <= shown.to), [all, shown.from, shown.to]);
  const mark = inView.find(({ id }) => id === chosen);
  const before = mark && lastGoodBefore(all, mark.id);
  const choose = (found: Mark | undefined) => {
    if (found) setQuery({ mark: `${new Date(found.at).toISOString()}~${found.id}` });
    return found !== undefined;
  };
  const press = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.key === "PageUp") move(moved(zoom, shown, -1, now));
    else if (event.key === "PageDown") move(moved(zoom, shown, 1, now));
    else if (event.key === "Enter" && mark) go(addressOf(of.id, mark));
    else if (!choose(stepped(inView, mark?.id ?? null, event.key))) return;
    event.preventDefault();
  };
  const overdue = of.overdueSince && live ? Date.parse(of.overdueSince) : null;
  const holes = gaps(all, of.expectedEverySeconds, overdue, now);
  return (
    <>
      {happened.more && (
        <p class="note">This time has more than is shown here: the newest {MOST}. Zoom in to see all.</p>
      )}
      <div
        role="slider"
        tabIndex={0}
        class="axis"
        aria-label="Marks on the axis of time"
        aria-valuemin={0}
        aria-valuemax={inView.length}
        aria-valuenow={mark ? inView.indexOf(mark) + 1 : 0}
        aria-valuetext={mark ? `${described(mark)}, ${when(mark)}` : `None of ${inView.length} is chosen`}
        onKeyDown={press}
      >
        <Drawing {...{ marks: inView, holes, shown, zoom, now, choose, before }} chosen={mark} />
      </div>
      <Legend of={inView} {...{ holes, shown, now, before }} chosen={mark} />
      <div class="chosen">
        {mark ? (
          <>
            <Chosen of={mark} before={before} environment={of} />
            <Near of={mark} marks={inView} choose={choose} />
          </>
        ) : (
          <Summary of={of} marks={inView} />
        )}
      </div>
      <Deployments {...{ all, shown, choose }} chosen={mark} environment={of} />
    </>
  );
}

/** Rows of deployments that are shown at first, and at most. */
const [FEW, MANY] = [5, 100];

/** What a reader asks for first: the last good state before each deployment. */
function Deployments({
  all,
  shown,
  chosen,
  environment,
  choose,
}: {
  all: Mark[];
  shown: Range;
  chosen: Mark | undefined;
  environment: EnvironmentDetails;
  choose(mark: Mark): void;
}) {
  const [most, setMost] = useState(FEW);
  const found = useMemo(() => deployments(all, shown), [all, shown.from, shown.to]);
  return (
    <>
      <h3 id="deployments">Deployments in this time: {found.length}</h3>
      <p class="hint">
        {found.length === 0 && "None is known. "}A deployment is known where two snapshots have different images, or
        where a snapshot was taken before it.
      </p>
      {found.length > 0 && (
        <table class="deployments" aria-labelledby="deployments">
          <thead>
            <tr>
              <th scope="col">Deployment</th>
              <th scope="col">Image</th>
              <th scope="col">Last good state before it</th>
            </tr>
          </thead>
          <tbody>
            {found.slice(0, most).map(({ deployment, before }) => (
              <tr key={deployment.id} aria-current={deployment.id === chosen?.id ? "true" : undefined}>
                <th scope="row">
                  <button type="button" class="text" onClick={() => choose(deployment)}>
                    {when(deployment)}
                  </button>
                </th>
                <td>{deployment.images ? deployment.images.map(imageName).join(" → ") : "not known"}</td>
                <td>
                  {before ? <Good of={before} environment={environment} before={`the deployment ${when(deployment)}`} unseen /> : "none is known"}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {found.length > most && most < MANY && (
        <p>
          <button type="button" onClick={() => setMost(MANY)}>
            Show all deployments
          </button>
        </p>
      )}
      {found.length > MANY && most === MANY && <p class="hint">These are the newest {MANY}. Zoom in to see all.</p>}
    </>
  );
}

/** When a mark was, in words. */
function when({ at, since }: Mark): string {
  return since === undefined ? time(at) : `between ${time(since)} and ${time(at)}`;
}

/** An image without its registry, and with as much of its digest as tells two apart. */
function imageName(image: string): string {
  return visible(image.split("/").at(-1)!).replace(/(@sha256:[0-9a-f]{12})[0-9a-f]+$/, "$1…");
}

/** A mark in words. */
function described(mark: Mark): string {
  const { kind, snapshot, images } = mark;
  const label = kind !== "deployment" && snapshot?.pinLabel ? ` “${visible(snapshot.pinLabel)}”` : "";
  return `${nameOf(mark)}${label}${images ? `, image ${images.map(imageName).join(" → ")}` : ""}`;
}

/** A mark in a sentence. */
function thing({ kind, turn }: Mark): string {
  if (kind === "deployment") return "this deployment";
  return turn ? `this ${turn.kind}` : "this snapshot";
}

function addressOf(environment: string, { id, snapshot, turn }: Mark): string {
  if (turn) return address({ view: "rollback", environment, rollback: id });
  return address({ view: "snapshot", environment, snapshot: snapshot!.id });
}

/** What is chosen, and the last good state before it. */
function Chosen({ of, before, environment }: { of: Mark; before: Mark | undefined; environment: EnvironmentDetails }) {
  const { kind, snapshot, turn } = of;
  return (
    <>
      <div>
        <h3>
          {described(of)} {of.since === undefined ? <Time at={new Date(of.at).toISOString()} /> : when(of)}
        </h3>
        <p>
          {kind === "deployment" ? (
            of.id.startsWith("after") ? (
              "A snapshot was taken before it."
            ) : (
              "The two snapshots around it have different images."
            )
          ) : (
            <>
              {snapshot && <Stands of={taken(snapshot)} />}{" "}
              {snapshot && `${bytes(snapshot.totalSizeBytes)} stored, ${keeps(snapshot)}. `}
              {turn && <Stands of={turned(turn)} />}{" "}
            </>
          )}{" "}
          <a href={addressOf(environment.id, of)}>{turn ? "Open it" : "Open the snapshot"}</a>
        </p>
        {isState(of) && <RollBack to={of} environment={environment} />}
      </div>
      <div class="before">
        <h3>Last good state before {thing(of)}</h3>
        {before ? (
          <Good of={before} environment={environment} before={thing(of)} />
        ) : (
          <p>None of the {BEFORE} complete snapshots before this time is one.</p>
        )}
      </div>
    </>
  );
}

/** What stands close on the axis: read, and chosen, one by one. */
function Near({ of, marks, choose }: { of: Mark; marks: Mark[]; choose(mark: Mark): void }) {
  return (
    <div class="near">
      <h3>Before and after it</h3>
      <ol class="plain">
        {neighbours(marks, of).map((mark) => (
          <li key={mark.id}>
            <button type="button" class="text" aria-current={mark.id === of.id} onClick={() => choose(mark)}>
              {when(mark)} {described(mark)}
            </button>
          </li>
        ))}
      </ol>
    </div>
  );
}

/** A good state, with the link that rolls back to it. `before`: what it was before; `unseen`: its row shows that. */
function Good({ of, environment, before, unseen }: GoodState) {
  const label = of.snapshot!.pinLabel;
  return (
    <>
      <p>
        <a href={addressOf(environment.id, of)}>
          {unseen ? time(of.at) : <Time at={new Date(of.at).toISOString()} plain />}
        </a>
        {label && (
          <>
            {" "}
            “<Text of={label} />”
          </>
        )}{" "}
        <Stands of={taken(of.snapshot!)} />
      </p>
      <RollBack to={of} environment={environment}>
        <span class={unseen ? "unseen" : undefined}>, before {before}</span>
      </RollBack>
    </>
  );
}

interface GoodState {
  of: Mark;
  environment: EnvironmentDetails;
  before: string;
  unseen?: boolean;
}

/** `children`: what tells it from another such button beside it. */
function RollBack({ to, environment, children }: { to: Mark; environment: EnvironmentDetails; children?: ComponentChildren }) {
  const may = useMay("rollback");
  if (!may || environment.rollbackReady === false) return null;
  const place = address({ view: "rollback-to", environment: environment.id, snapshot: to.snapshot!.id });
  return (
    <p>
      <a class="button secondary" href={place}>
        Roll back to {time(to.at)}
        {children} …
      </a>
    </p>
  );
}

/** What the marks in view say in all, while none is chosen. */
function Summary({ of, marks }: { of: EnvironmentDetails; marks: Mark[] }) {
  const taken = sized(marks).map(({ snapshot }) => snapshot!);
  const live = (snapshot: Snapshot) => bytes((snapshot.dbSizeBytes ?? 0) + (snapshot.filestoreSizeBytes ?? 0));
  return (
    <p class="hint">
      {marks.length === 0
        ? "Nothing happened in this time. "
        : "Choose a mark: click it, touch it, or use the arrow keys. Where several are at one place, click again. "}
      {taken.length > 0 &&
        `The line is the live size: ${live(taken[0]!)} at the first snapshot, ${live(taken.at(-1)!)} at the last one. ` +
          `Bars are what snapshots take in the store: ${bytes(taken.reduce((sum, one) => sum + one.totalSizeBytes!, 0))} in all. `}
      As tables: <a href={address({ view: "snapshots", environment: of.id })}>snapshots</a>,{" "}
      <a href={address({ view: "rollbacks", environment: of.id })}>rollbacks</a>.
    </p>
  );
}
