// Who is signed in. The token is kept in memory only: never in a storage, a cookie or an address.
export type SessionState =
  /** `message`: a sentence that says why. */
  | { kind: "signedOut"; message?: string }
  | { kind: "signedIn" }
  /** What was loaded stays on the page; the next token continues there. */
  | { kind: "expired"; message: string };

export class Session {
  state: SessionState = { kind: "signedOut" };
  #token: string | null = null;
  readonly #listeners = new Set<() => void>();

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The header of a request. null: ask nothing, show what is known. */
  authorization(): string | null {
    return this.#token && `Bearer ${this.#token}`;
  }

  /** Takes a token; spaces and a leading `Bearer` of a copied header are removed. */
  signIn(token: string): void {
    this.#change({ kind: "signedIn" }, token.trim().replace(/^Bearer\s+/i, ""));
  }

  signOut(): void {
    this.#change({ kind: "signedOut" }, null);
  }

  /** The API refused the token, with this `detail`. */
  refused(detail: string): void {
    this.#change({ kind: "expired", message: detail }, null);
  }

  now(): number {
    return Date.now();
  }

  #change(state: SessionState, token: string | null): void {
    this.state = state;
    this.#token = token;
    for (const listener of [...this.#listeners]) listener();
  }
}

export async function openSession(): Promise<Session> {
  return new Session();
}
