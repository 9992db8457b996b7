// Who is signed in. Tokens are kept in memory only: never in a storage, a cookie or an address.
import { Cancelled, isRefusal, Provider, sentence, type ProviderConfig, type Tokens } from "./provider";
import { endOf, pasted } from "./token";

export type SessionState =
  /** The page asks how one signs in. `message`: why that does not work yet. */
  | { kind: "starting"; message?: string }
  | { kind: "signedOut"; message?: string }
  /** `expiresAt`: by the server's clock. `expiring`: soon, and nothing renews it. */
  | { kind: "signedIn"; expiresAt: number; expiring: boolean }
  /** What was loaded stays on the page; the next token continues there. */
  | { kind: "expired"; message: string };

interface Config {
  oidc: ProviderConfig | null;
  pastedToken: boolean;
}

/** Milliseconds before the end of a token in which the page asks for the next one. */
const EARLY = 120_000;
/** Milliseconds until another attempt to renew, or to start. */
const PAUSE = 5_000;
/** Milliseconds that the API has to say whether it takes a token. */
const PATIENCE = 15_000;
/** The largest time that browsers' timers take. */
const LONGEST = 2 ** 31 - 1;

export class Session {
  state: SessionState = { kind: "starting" };
  /** What an attempt to sign in waits for: the provider's window, or the check of a token. */
  waits: "window" | "check" | null = null;
  /** Why the last attempt to sign in failed. */
  problem: string | null = null;
  provider: Provider | null = null;
  canPaste = false;
  #tokens: Tokens | null = null;
  #begin = 0;
  #end = 0;
  #renewing = false;
  /** Milliseconds that the server's clock is ahead of this one. */
  #ahead = 0;
  #cancel = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #listeners = new Set<() => void>();

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The header of a request. null: ask nothing, show what is known. */
  authorization(): string | null {
    return this.#tokens && `Bearer ${this.#tokens.token}`;
  }

  /** Epoch milliseconds by the server's clock. */
  now(): number {
    return Date.now() + this.#ahead;
  }

  /** Reads how one signs in, until that works. */
  async start(): Promise<void> {
    for (;;) {
      try {
        const response = await fetch("/ui/config.json", { signal: AbortSignal.timeout(PATIENCE), cache: "no-store" });
        if (!response.ok) throw new Error(`it answered ${response.status}`);
        const config = (await response.json()) as Config;
        this.#hear(response);
        this.provider = config.oidc && new Provider(config.oidc);
        this.canPaste = config.pastedToken;
        return this.#become({ kind: "signedOut" });
      } catch {
        this.#become({ kind: "starting", message: "The server does not answer. The page tries again every few seconds." });
        await new Promise((resolve) => setTimeout(resolve, PAUSE));
      }
    }
  }

  /** Signs in at the provider. Call it while a click is handled. */
  signIn(): Promise<void> {
    if (!window.isSecureContext)
      return this.#attempt("check", () => Promise.reject(new Error("Signing in needs an address that begins with https://. Open the page there, or paste a token.")));
    return this.#attempt("window", () => this.provider!.signIn(this.#ahead / 1000, this.#cancel.signal));
  }

  /** Signs in with a token that the user has. */
  paste(text: string): Promise<void> {
    return this.#attempt("check", async () => ({ token: pasted(text), refresh: null }));
  }

  /** Ends an attempt to sign in. */
  cancel(): void {
    this.#cancel.abort();
  }

  signOut(): void {
    this.cancel();
    const refresh = this.#tokens?.refresh;
    if (refresh) this.provider?.revoke(refresh).catch(() => undefined); // it is forgotten here in any case
    clearTimeout(this.#timer);
    this.#tokens = null;
    this.#become({ kind: "signedOut", message: "You are signed out. This page has forgotten your token." });
  }

  /** The API refused a request with 401. `authorization`: the header that it had; an older one than today's says nothing. */
  refused(detail: string, authorization = this.authorization()): void {
    if (!this.#tokens || authorization !== this.authorization()) return;
    if (this.#tokens.refresh && this.now() >= this.#end) void this.#renew(); // this computer slept past the end
    else this.#expire(detail);
  }

  async #attempt(waits: "window" | "check", get: () => Promise<Tokens>): Promise<void> {
    if (this.waits) return;
    this.waits = waits;
    this.problem = null;
    const { signal } = (this.#cancel = new AbortController());
    this.#changed();
    try {
      const tokens = await get();
      await this.#check(tokens.token);
      if (signal.aborted) throw new Cancelled();
      this.#take(tokens);
    } catch (error) {
      this.problem = sentence(error, this.provider?.host ?? "");
    }
    this.waits = null;
    this.#changed();
  }

  /** Throws unless the API takes the token. */
  async #check(token: string): Promise<void> {
    if (endOf(token) <= this.now()) throw new Error("This token has expired. Use a new one.");
    let response: Response;
    try {
      const headers = { Authorization: `Bearer ${token}` };
      response = await fetch("/console/v1/me", { headers, signal: AbortSignal.timeout(PATIENCE), cache: "no-store" });
    } catch {
      throw new Error("The API does not answer, so it cannot check the token. Try again.");
    }
    this.#hear(response);
    if (response.ok) return;
    const problem = (await response.json().catch(() => ({}))) as { detail?: unknown };
    throw new Error(typeof problem.detail === "string" ? problem.detail : `The API answered ${response.status}. Try again.`);
  }

  /** Compares the clocks: an answer has the server's time in whole seconds, so half a second more is right on average. */
  #hear({ headers }: Response): void {
    const date = Date.parse(headers.get("Date") ?? "");
    if (Number.isFinite(date)) this.#ahead = date + 500 - Date.now();
  }

  #take(tokens: Tokens): void {
    this.#tokens = tokens;
    this.#begin = this.now();
    this.#end = endOf(tokens.token);
    this.#become({ kind: "signedIn", expiresAt: this.#end, expiring: false });
    this.#watch();
  }

  /** Renews the token before its end, or says that the end is near, or that it was. */
  #watch(): void {
    clearTimeout(this.#timer);
    if (!this.#tokens) return;
    const left = this.#end - this.now();
    // Of a short token the second half is early.
    const early = Math.min(EARLY, (this.#end - this.#begin) / 2);
    if (left > early) {
      this.#timer = setTimeout(() => this.#watch(), Math.min(left - early, LONGEST));
    } else if (this.#tokens.refresh) {
      void this.#renew();
    } else if (left <= 0) {
      this.#expire("The sign-in has ended.");
    } else {
      this.#become({ kind: "signedIn", expiresAt: this.#end, expiring: true });
      this.#timer = setTimeout(() => this.#watch(), left);
    }
  }

  async #renew(): Promise<void> {
    const old = this.#tokens;
    if (!old?.refresh || this.#renewing) return;
    this.#renewing = true;
    const outcome = await this.provider!.renew(old.refresh, this.#ahead / 1000).catch((error: unknown) => ({ error }));
    this.#renewing = false;
    if (this.#tokens !== old) return; // signed out, or signed in again
    if (!("error" in outcome)) return this.#take(outcome);
    if (isRefusal(outcome.error)) {
      this.#tokens = { token: old.token, refresh: null };
      this.#watch();
    } else if (this.now() < this.#end) {
      this.#timer = setTimeout(() => this.#watch(), PAUSE);
    } else {
      this.#expire(sentence(outcome.error, this.provider!.host));
    }
  }

  #expire(message: string): void {
    clearTimeout(this.#timer);
    this.#tokens = null;
    this.#become({ kind: "expired", message });
  }

  #become(state: SessionState): void {
    this.state = state;
    this.#changed();
  }

  #changed(): void {
    for (const listener of [...this.#listeners]) listener();
  }
}

/** The session of this page. It learns by itself how one signs in. */
export async function openSession(): Promise<Session> {
  const session = new Session();
  void session.start();
  return session;
}
