// What went wrong, as a sentence that says what to do.

export class Problem extends Error {
  constructor(
    /** The HTTP status; 0: no answer came. */
    readonly status: number,
    readonly reason: string,
    detail: string,
    readonly retryAfterSeconds: number | null = null,
    /** An answer to the same request was lost: it may have done what it asks for. */
    readonly lost = false,
  ) {
    super(detail);
  }

  /** Whether the same request may succeed later without anyone's help. */
  get passes(): boolean {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

/** The problem of an answer that is no success. `body`: parsed JSON, text or nothing. `lost`: see Problem. */
export function problemOf(response: Response, body: unknown, lost = false): Problem {
  const { detail, reason } = (typeof body === "object" && body !== null ? body : {}) as Record<string, unknown>;
  const seconds = Number(response.headers.get("Retry-After") ?? Number.NaN);
  return new Problem(
    response.status,
    typeof reason === "string" ? reason : "",
    typeof detail === "string" && detail ? detail : withoutDetail(response.status),
    Number.isFinite(seconds) ? seconds : null,
    lost,
  );
}

/** No answer came: the network, a proxy, or a facade that restarts. */
export function noAnswer(): Problem {
  return new Problem(0, "NoAnswer", "The REST API does not answer. Check the network connection.", null, true);
}

function withoutDetail(status: number): string {
  if (status === 404) return "It does not exist, or your token does not name it. Check the address.";
  if (status >= 500) return `Something between this page and the REST API answers with ${status}.`;
  return `The answer was ${status} without an explanation. Report it to your administrator.`;
}
