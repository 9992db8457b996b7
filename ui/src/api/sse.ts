// Server-sent events over fetch: an EventSource cannot send the header Authorization.

export interface ServerEvent {
  id: string | null;
  event: string;
  data: string;
}

/** Turns the text of a stream into events. Keeps what is incomplete for the next call. */
export class EventParser {
  /** Milliseconds before the next connection, where the server has said so. */
  retry: number | null = null;
  #rest = "";
  #event = "";
  #data: string[] = [];
  #id: string | null = null;

  push(text: string): ServerEvent[] {
    const events: ServerEvent[] = [];
    const whole = this.#rest + text;
    // A carriage return at the end may be the first half of a line end.
    const lines = whole.split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop() ?? "";
    for (const line of lines) {
      const event = this.#line(line);
      if (event) events.push(event);
    }
    return events;
  }

  #line(line: string): ServerEvent | null {
    if (line === "") {
      const event = { id: this.#id, event: this.#event || "message", data: this.#data.join("\n") };
      const complete = this.#data.length > 0;
      this.#event = "";
      this.#data = [];
      return complete ? event : null;
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") this.#event = value;
    else if (field === "data") this.#data.push(value);
    else if (field === "id" && !value.includes("\0")) this.#id = value;
    else if (field === "retry" && /^\d+$/.test(value)) this.retry = Number(value);
    return null;
  }
}

/** Milliseconds before the next attempt: doubled with each failure up to 30 s, and up to a quarter more by chance. */
export function backOff(failures: number, first = 1000, chance = Math.random()): number {
  return Math.min(30_000, first * 2 ** Math.min(failures, 10)) * (1 + chance / 4);
}
