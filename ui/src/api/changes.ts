// One connection for all that the page shows: `GET /console/v1/events`.
import type { Session } from "../auth/session";
import { store, type Store } from "../store";
import { noAnswer, Problem, problemOf } from "./problem";
import { backOff, EventParser, type ServerEvent } from "./sse";
import type { Extract, EnvironmentRow, Preview, RollbackDetails, Snapshot } from "./types";

interface Changed<Kind extends string, T> {
  kind: Kind;
  id: string;
  environmentId: string;
  projectId: string;
  deleted: boolean;
  object: T | null;
}

export type Change =
  /** Anything may have changed: read again all that is shown. */
  | { kind: "reset" }
  | Changed<"environment", EnvironmentRow>
  | Changed<"snapshot", Snapshot>
  | Changed<"rollback", RollbackDetails>
  | Changed<"preview", Preview>
  | Changed<"extract", Extract>;

export type Connection =
  | { kind: "connecting" }
  | { kind: "live" }
  /** `since`: epoch milliseconds of the last sign of life. */
  /** `passes`: another attempt may succeed without anyone's help. */
  | { kind: "broken"; since: number; why: string; passes: boolean };

const KINDS = new Set(["environment", "snapshot", "rollback", "preview", "extract"]);
/** The server sends something at least every 15 s. */
const SILENCE = 40_000;

export class Changes {
  readonly connection: Store<Connection> = store<Connection>({ kind: "connecting" });
  readonly #listeners = new Set<(change: Change) => void>();
  #lastId: string | null = null;
  #lastSeen = Date.now();
  #stop = new AbortController();

  constructor(private readonly session: Session) {}

  subscribe(listener: (change: Change) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Reads the stream until `stop`, over any number of connections. */
  async follow(): Promise<void> {
    this.#stop = new AbortController();
    this.#lastId = null;
    const { signal } = this.#stop;
    let failures = 0;
    while (!signal.aborted) {
      const parser = new EventParser();
      let problem: Problem | undefined;
      try {
        await this.#read(parser, signal, () => (failures = 0));
      } catch (error) {
        problem = error instanceof Problem ? error : noAnswer();
      }
      if (signal.aborted) return;
      // A server that ends the stream, for example at a restart, is asked again at once.
      if (problem)
        this.connection.set({ kind: "broken", since: this.#lastSeen, why: problem.message, passes: problem.passes });
      await pause((problem?.retryAfterSeconds ?? 0) * 1000 || backOff(failures, parser.retry ?? 1000), signal);
      failures += 1;
    }
  }

  stop(): void {
    this.#stop.abort();
  }

  async #read(parser: EventParser, signal: AbortSignal, begun: () => void): Promise<void> {
    const authorization = this.session.authorization();
    if (!authorization) throw noAnswer();
    const silence = new AbortController();
    const headers: Record<string, string> = { Authorization: authorization, Accept: "text/event-stream" };
    if (this.#lastId !== null) headers["Last-Event-ID"] = this.#lastId;
    let timer = setTimeout(() => silence.abort(), SILENCE);
    try {
      const response = await fetch("/console/v1/events", {
        headers,
        cache: "no-store",
        signal: AbortSignal.any([signal, silence.signal]),
      });
      if (!response.ok || !response.body) {
        const problem = problemOf(response, await response.json().catch(() => null));
        if (response.status === 401) this.session.refused(problem.message, authorization);
        throw problem;
      }
      this.connection.set({ kind: "live" });
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        clearTimeout(timer);
        timer = setTimeout(() => silence.abort(), SILENCE);
        begun();
        this.#lastSeen = this.session.now();
        for (const event of parser.push(value)) this.#take(event);
      }
    } finally {
      clearTimeout(timer);
    }
  }

  #take(event: ServerEvent): void {
    if (event.id !== null) this.#lastId = event.id;
    const change = changeOf(event);
    if (change) for (const listener of [...this.#listeners]) listener(change);
  }
}

/** The change that an event reports; null for kinds that this page does not know. */
export function changeOf({ event, data }: ServerEvent): Change | null {
  if (event === "reset") return { kind: "reset" };
  if (!KINDS.has(event)) return null;
  return { ...(JSON.parse(data) as object), kind: event } as Change;
}

function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
