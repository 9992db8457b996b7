// What every view uses: the session, the REST API, the stream of changes.
import { createContext } from "preact";
import { useContext, useEffect, useReducer, useRef, useState } from "preact/hooks";
import type { Session } from "../auth/session";
import { body, type Api } from "../api/calls";
import type { Change, Changes } from "../api/changes";
import { Problem } from "../api/problem";
import type { Me } from "../api/types";
import { backOff } from "../api/sse";
import { useFollowed } from "../store";
import { ago, pace, relative } from "../text";

export interface Parts {
  session: Session;
  api: Api;
  changes: Changes;
}

const Context = createContext<Parts | null>(null);
export const PartsProvider = Context.Provider;

export function useParts(): Parts {
  const parts = useContext(Context);
  if (!parts) throw new Error("Outside of the page.");
  return parts;
}

/** Renders again whenever the session changes. */
export function useSession(session: Session): Session["state"] {
  useFollowed(session);
  return session.state;
}

/** The server's time in epoch milliseconds; renders again each second while `ticking`. */
export function useNow(ticking: boolean): number {
  const { session } = useParts();
  const [, tick] = useReducer<number, void>((n) => n + 1, 0);
  useEffect(() => {
    if (!ticking) return;
    const timer = setInterval(() => tick(), 1000);
    return () => clearInterval(timer);
  }, [ticking]);
  return session.now();
}

/** How long ago something was, or how long it is until something that is planned; it ticks. */
export function useRelative(at: string, planned: boolean): string {
  const { session } = useParts();
  const [, tick] = useReducer<number, void>((n) => n + 1, 0);
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout>;
    const wait = () => {
      timer = setTimeout(() => {
        tick();
        wait();
      }, pace(at, session.now()));
    };
    wait();
    return () => clearTimeout(timer);
  }, [at, session]);
  return (planned ? relative : ago)(at, session.now());
}

/** The text as it was when nothing was typed for a moment: not every letter is worth a request. */
export function useSettled(text: string): string {
  const [settled, setSettled] = useState(text);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(text), 250);
    return () => clearTimeout(timer);
  }, [text]);
  return settled;
}

export interface Loaded<T> {
  /** The last answer, also after a later one failed. */
  data: T | undefined;
  /** When that answer came: epoch milliseconds of the server. */
  since: number;
  problem: Problem | undefined;
  reload(): void;
}

/** A change either is the new value, or says that it must be read again, or does not matter. */
type Applies<T> = (data: T | undefined, change: Change) => T | "reload" | undefined;

/**
 * Of one object that is shown: a change is its new value; one that was deleted is read again. `environment`: the one
 * that the address names: an object of another one is not shown.
 */
export function objectOf<T>(kind: Change["kind"], id: string, environment?: string): Applies<T> {
  return (_, change) => {
    if (change.kind === "reset" || change.kind !== kind || change.id !== id) return undefined;
    if (environment !== undefined && change.environmentId !== environment) return undefined;
    return change.object && !change.deleted ? (change.object as T) : "reload";
  };
}

/**
 * Reads something for a view, and again after a change, after signing in again, and after failures that pass. `key`
 * names what is read. Two reads are at least `pause` milliseconds apart, whatever changes.
 */
export function useLoaded<T>(
  key: string,
  load: (api: Api) => Promise<T>,
  applies: Applies<T>,
  pause = 1000,
): Loaded<T> {
  const { api, session, changes } = useParts();
  const [state, setState] = useState<{ data?: T; since: number; problem?: Problem }>({ since: 0 });
  const latest = useRef({ load, applies, data: state.data });
  latest.current = { load, applies, data: state.data };
  const put = (data: T) => {
    // The next change may come before the next rendering.
    latest.current.data = data;
    setState({ data, since: session.now() });
  };
  const reload = useRef(() => {});

  useEffect(() => {
    let ended = false;
    let running = false;
    let again = false;
    let overtaken = false;
    let failures = 0;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const later = (milliseconds: number) => {
      clearTimeout(timer);
      timer = setTimeout(read, milliseconds);
    };
    const read = async () => {
      if (ended) return;
      if (running) {
        again = true;
        return;
      }
      running = true;
      again = overtaken = false;
      try {
        const data = await latest.current.load(api);
        if (ended) return;
        failures = 0;
        // The next read has what came meanwhile, too.
        if (!overtaken) put(data);
      } catch (error) {
        if (ended) return;
        const problem = error instanceof Problem ? error : unexpected(error);
        setState((before) => ({ ...before, problem }));
        if (problem.passes) later((problem.retryAfterSeconds ?? 0) * 1000 || backOff(failures++));
      } finally {
        running = false;
        if (again && !ended) later(pause);
      }
    };
    reload.current = read;
    let lastRead = 0;
    const soon = () => {
      const wait = Math.max(0, lastRead + pause - Date.now());
      lastRead = Date.now() + wait;
      later(wait);
    };
    const unsubscribe = changes.subscribe((change) => {
      if (change.kind === "reset") return soon();
      const applied = latest.current.applies(latest.current.data, change);
      if (applied === undefined) return;
      // What is being read may be older than this change.
      again ||= running;
      if (applied === "reload") return soon();
      overtaken ||= running;
      put(applied);
    });
    let kind = session.state.kind;
    const unfollow = session.subscribe(() => {
      if (session.state.kind === "signedIn" && kind !== "signedIn") void read();
      kind = session.state.kind;
    });
    setState((before) => (before.data === undefined && !before.problem ? before : { since: 0 }));
    void read();
    return () => {
      ended = true;
      clearTimeout(timer);
      unsubscribe();
      unfollow();
    };
  }, [key, api, session, changes, pause]);

  return {
    data: state.data,
    since: state.since,
    problem: state.problem,
    reload: () => reload.current(),
  };
}

export type Scope = "read" | "snapshot" | "rollback" | "admin";
const Caller = createContext<Loaded<Me> | null>(null);
export const CallerProvider = Caller.Provider;

/** Reads who the caller is; once for the page. */
export function useCaller(): Loaded<Me> {
  return useLoaded(
    "me",
    (api) => body(api.GET("/console/v1/me")),
    () => undefined,
  );
}

/** The caller: who it is, and what it may do. */
export function useMe(): Loaded<Me> {
  const me = useContext(Caller);
  if (!me) throw new Error("Outside of the page.");
  return me;
}

/** Whether the caller's token has a scope. undefined: not known yet. */
export function useMay(scope: Scope): boolean | undefined {
  return useMe().data?.scopes.includes(scope);
}

/** One thing that a person does: it runs once, whatever is clicked, and a repetition has the same Idempotency-Key. */
export interface Action<A> {
  busy: boolean;
  problem: Problem | undefined;
  run(argument: A): void;
}

export function useAction<A, T>(act: (argument: A, key: string) => Promise<T>, done: (answer: T) => void): Action<A> {
  const [state, setState] = useState<{ busy: boolean; problem?: Problem }>({ busy: false });
  const intent = useRef({ running: false, key: "", of: "" });
  const run = async (argument: A) => {
    const now = intent.current;
    if (now.running) return;
    now.running = true;
    const of = JSON.stringify(argument) ?? "";
    if (now.of !== of || !now.key) Object.assign(now, { of, key: newKey() });
    setState({ busy: true });
    try {
      const answer = await act(argument, now.key);
      now.key = "";
      setState({ busy: false });
      done(answer);
    } catch (error) {
      const problem = error instanceof Problem ? error : unexpected(error);
      // Whether it started is not known where an answer was lost: then a repetition must be the same request.
      if (!problem.passes && !problem.lost && problem.status !== 401) now.key = "";
      setState({ busy: false, problem });
    } finally {
      now.running = false;
    }
  };
  return { busy: state.busy, problem: state.problem, run: (argument) => void run(argument) };
}

/** A key that no other intent has. `crypto.randomUUID` exists only where the page came over TLS. */
export function newKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function unexpected(error: unknown): Problem {
  console.error(error);
  return new Problem(
    1,
    "Unexpected",
    "The page could not read the answer. Load the page again, and report it if it repeats.",
  );
}
