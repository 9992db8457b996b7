// What is known of a request that replaces data, for the view that sent it.
import { Time } from "../parts/show";
import { address } from "../route";
import { time } from "../text";
import type { Start } from "./start";

export function Outcome<A>({ of, environment }: { of: Start<A>; environment: string }) {
  const { found, kept, busy, late, missing } = of;
  if (found) {
    const runs = found.status === "pending" || found.status === "running";
    return (
      <p class={runs ? "note warn" : "note"} role="status">
        {runs ? "It runs: your request was received" : `It has ended (${found.status}): your request was received`}{" "}
        <Time at={found.createdAt} />.{" "}
        <a href={address({ view: "rollback", environment, rollback: found.id })}>Watch it</a>
      </p>
    );
  }
  return (
    <div role="status">
      {late && (
        <p class="note warn">
          The answer takes long. The request is repeated with the same key and starts nothing twice.
        </p>
      )}
      {kept?.lost && !busy && (
        <p class="note warn">
          The request of {time(kept.at)} got no answer.{" "}
          {missing ? "It has started nothing so far. " : "Whether it has started is being looked up. "}
          The button repeats the same request and starts nothing twice.
        </p>
      )}
    </div>
  );
}
