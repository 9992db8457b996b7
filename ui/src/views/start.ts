// An operation that replaces data: started once, also where its answer is lost, and over a reload of the page.
import { useEffect, useRef, useState } from "preact/hooks";
import { body } from "../api/calls";
import { Problem } from "../api/problem";
import { backOff } from "../api/sse";
import type { RollbackDetails } from "../api/types";
import { newKey, unexpected, useLoaded, useMe, useParts } from "../parts/context";
import { address, go } from "../route";

/** Milliseconds after which the view says that the answer takes long. */
const LONG = 3000;
/** Milliseconds in which a request without an answer is repeated. */
const REPEATED = 60_000;
/** Milliseconds for which a request is kept: later another one for the same is another intent. */
const KEPT = 3_600_000;
/** Milliseconds that the page's idea of the server's time may be ahead of it. */
const AHEAD = 2000;

/** A request whose operation is not known yet. It is kept before it is sent, so that a reload loses nothing. */
export interface Kept<A> {
  key: string;
  asked: A;
  /** Epoch milliseconds of the server: when it was sent first. */
  at: number;
  /** Whether an answer was lost: then it may have started something, whatever is answered later. */
  lost: boolean;
}

interface Accepted {
  deploymentId: string;
  environmentId: string;
}

/** A rollback or undo, as the list of the environment that it replaces has it. */
export type Listed = Pick<
  RollbackDetails,
  "id" | "snapshotId" | "undoesId" | "performedBy" | "createdAt" | "completedAt" | "status"
>;

/** How an operation is started, and found again. */
export interface Intent<A> {
  /** What is wanted; the same text for the same thing. */
  name: string;
  /** The environment that is replaced. */
  environment: string;
  send(asked: A, key: string): Promise<Accepted>;
  /** Whether a rollback of the environment, requested by the caller since, is this one. */
  is(listed: Listed): boolean;
}

export interface Start<A> {
  busy: boolean;
  /** The answer takes long. */
  late: boolean;
  /** A refusal. */
  problem: Problem | undefined;
  /** The request, while it is not known whether it has started anything. */
  kept: Kept<A> | null;
  /** The operation, found without an answer. */
  found: Listed | undefined;
  /** The list of operations was read, and it is not there. */
  missing: boolean;
  run(asked: A): void;
}

export function useStart<A>(intent: Intent<A>): Start<A> {
  const { session } = useParts();
  const place = `ocore.start ${intent.name}`;
  const [kept, setKept] = useState(() => read<A>(place, session.now()));
  const [state, setState] = useState<{ busy: boolean; problem?: Problem }>({ busy: false });
  const now = useRef({ running: false, left: false, known: false });
  const keep = (entry: Kept<A> | null) => {
    write(place, entry);
    setKept(entry);
  };
  useEffect(() => () => void (now.current.left = true), []);
  const late = useLong(state.busy);
  const own = useOwn(intent, kept && (kept.lost || late || !state.busy) ? kept : null);
  const [found, setFound] = useState<Listed>();
  useEffect(() => {
    if (!own) return;
    now.current.known = true;
    setFound(own);
    keep(null);
  }, [own?.id]);

  const run = async (wanted: A) => {
    if (now.current.running || now.current.known) return;
    now.current.running = true;
    let entry = kept ?? { key: newKey(), asked: wanted, at: session.now(), lost: false };
    keep(entry);
    setState({ busy: true });
    const end = Date.now() + REPEATED;
    for (let tries = 0; ; tries += 1) {
      try {
        const { environmentId, deploymentId } = await intent.send(entry.asked, entry.key);
        write(place, null);
        if (!now.current.left) go(address({ view: "rollback", environment: environmentId, rollback: deploymentId }));
        return;
      } catch (error) {
        const problem = error instanceof Problem ? error : unexpected(error);
        entry = { ...entry, lost: entry.lost || problem.lost || problem.passes };
        // A refusal of the only request is an answer: nothing has started.
        const open = !now.current.known && (entry.lost || problem.status === 401);
        if (now.current.left) return write(place, open ? entry : null);
        keep(open ? entry : null);
        if (open && problem.status === 0 && Date.now() < end) {
          await new Promise((resolve) => setTimeout(resolve, backOff(tries)));
          if (!now.current.left && !now.current.known) continue;
        }
        now.current.running = false;
        return setState({ busy: false, problem });
      }
    }
  };
  const problem = state.problem?.status === 0 ? undefined : state.problem; // `kept` says it
  return { busy: state.busy && !found, problem, late, kept, found, missing: own === null, run: (asked) => void run(asked) };
}

/** The rollback that the request has started; null: there is none; undefined: not known. Read again when one changes. */
function useOwn<A>({ environment, is }: Intent<A>, kept: Kept<A> | null): Listed | null | undefined {
  const subject = useMe().data?.subject;
  return useLoaded<Listed | null | undefined>(
    `${environment} ${kept?.key} ${kept?.lost} ${subject}`,
    async (api) => {
      if (!kept || subject === undefined) return undefined;
      const { rollbacks } = await body(
        api.GET("/console/v1/environments/{environmentId}/rollbacks", {
          params: {
            path: { environmentId: environment },
            query: { from: new Date(kept.at - AHEAD).toISOString(), limit: 100 },
          },
        }),
      );
      return rollbacks.find((each) => is(each) && each.performedBy === subject && began(each, kept.at)) ?? null;
    },
    (_, change) =>
      kept && change.kind === "rollback" && change.environmentId === environment ? "reload" : undefined,
  ).data;
}

/** Whether a request of that time may have created it: not one that ended before. */
export function began({ createdAt, completedAt }: Listed, at: number): boolean {
  return Date.parse(createdAt) >= at - AHEAD && !(completedAt && Date.parse(completedAt) < at);
}

/** Whether something lasts longer than a person expects. */
function useLong(lasts: boolean): boolean {
  const [long, setLong] = useState(false);
  useEffect(() => {
    setLong(false);
    if (!lasts) return;
    const timer = setTimeout(() => setLong(true), LONG);
    return () => clearTimeout(timer);
  }, [lasts]);
  return long && lasts;
}

/** A browser may refuse its storage: then the request is kept as long as the view. */
function write(place: string, entry: unknown): void {
  try {
    if (entry === null) sessionStorage.removeItem(place);
    else sessionStorage.setItem(place, JSON.stringify(entry));
  } catch {
    // see above
  }
}

function read<A>(place: string, now: number): Kept<A> | null {
  try {
    const found = JSON.parse(sessionStorage.getItem(place) ?? "null") as Kept<A> | null;
    return found && found.at > now - KEPT ? found : null;
  } catch {
    return null;
  }
}
