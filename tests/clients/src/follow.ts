// Progress streams, as a client follows them with npm's `eventsource`.
import { EventSource } from "eventsource";
import type { components } from "./api.js";

export const EVENTS = ["snapshot-progress", "rollback-progress"] as const;

/** The data of one event. */
export type Progress = components["schemas"]["ProgressEvent"];

/** Calls `seen` for each event. Resolves with the final event; rejects where the server refuses the stream. */
export function follow(url: string, token: string, seen: (event: Progress) => void): Promise<Progress> {
  return new Promise((resolve, reject) => {
    const source = new EventSource(url, {
      fetch: (input, init) => fetch(input, { ...init, headers: { ...init.headers, Authorization: `Bearer ${token}` } }),
    });
    const take = (message: MessageEvent) => {
      const event = JSON.parse(message.data) as Progress;
      seen(event);
      if (event.status === "completed" || event.status === "failed") {
        source.close();
        resolve(event);
      }
    };
    for (const name of EVENTS) source.addEventListener(name, take);
    // A lost connection is opened again by `eventsource`, with Last-Event-ID; a refusal closes it for good.
    source.addEventListener("error", (error) => {
      if (source.readyState === source.CLOSED) reject(new Error(`stream refused: ${error.code} ${error.message}`));
    });
  });
}
