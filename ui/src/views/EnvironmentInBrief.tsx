// One environment beside the table of all: what is wrong, and what to do next.
import { useEffect, useRef } from "preact/hooks";
import type { EnvironmentRow } from "../api/types";
import { Facts, May, Message, Remedy, ShortId, Text, Time, Type } from "../parts/show";
import { address } from "../route";
import { count, duration } from "../text";
import { notPlanned, PROOFS, Running, StateMark, STATES, useLateness } from "./state";

/** It takes the focus; Escape closes it. */
export function EnvironmentInBrief({ of, close }: { of: EnvironmentRow; close(): void }) {
  const { id: environment } = of;
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus({ preventScroll: true }), [environment]);
  return (
    <section class="brief" aria-labelledby="brief" onKeyDown={({ key }) => key === "Escape" && close()}>
      <div class="title">
        <h2 id="brief" ref={heading} tabIndex={-1}>
          <a href={address({ view: "environment", environment })}>
            <Text of={of.name} />
          </a>
        </h2>
        <Type of={of.type} />
        <button type="button" onClick={close}>
          Close
        </button>
      </div>
      <p>
        <StateMark of={of.state} /> {STATES[of.state].means} <Late of={of} />
      </p>
      <p class="actions">
        <a class="button" href={address({ view: "environment", environment })}>
          Open
        </a>
        <a href={address({ view: "snapshots", environment })}>Snapshots</a>
        {of.state === "suspended" && <a href={address({ view: "settings", environment })}>Settings</a>}
      </p>
      {of.lastGood && of.rollbackReady !== false && (
        <May scope="rollback" to="roll back">
          <p>
            <a href={address({ view: "rollback-to", environment, snapshot: of.lastGood.id })}>
              Roll back to the last good state …
            </a>
          </p>
        </May>
      )}
      {of.problem && (
        <div class="problem">
          <p>
            <strong>
              <Text of={of.problem.reason} />:
            </strong>{" "}
            <Message of={of.problem.message} /> Since <Time at={of.problem.since} brief />.
          </p>
          <Remedy fix={of.problem.fix} />
        </div>
      )}
      <Running row={of} />
      <Numbers of={of} />
    </section>
  );
}

function Numbers({ of }: { of: EnvironmentRow }) {
  const { id: environment, lastGood, safety } = of;
  return (
    <Facts
      of={[
        [
          "Last good state",
          lastGood ? (
            <>
              <a href={address({ view: "snapshot", environment, snapshot: lastGood.id })}>
                <Time at={lastGood.time} plain />
              </a>
              {lastGood.label && (
                <>
                  , “<Text of={lastGood.label} />”
                </>
              )}
              , {PROOFS[lastGood.proof]}
            </>
          ) : (
            "none"
          ),
        ],
        ["Newest restored as a test", <Time at={of.newestRestoreTested?.time} />],
        ["Next snapshot", <Time at={of.nextSnapshotAt} none={notPlanned(of)} planned />],
        safety !== null && [
          "Before the newest rollback",
          <a href={address({ view: "snapshot", environment, snapshot: safety.id })}>
            <Time at={safety.time} plain />
          </a>,
        ],
        ["Snapshots", count(of.snapshots)],
        ["Namespace", <Text of={of.namespace} />],
        ["Project", <ShortId of={of.projectId} />],
      ]}
    />
  );
}

/** By how much the next good state is late. */
function Late({ of }: { of: EnvironmentRow }) {
  const late = useLateness(of);
  const every = of.expectedEverySeconds;
  if (!late) return null;
  return (
    <>
      It is {late}
      {every === null ? "" : `: one is planned every ${duration(every)}`}.
    </>
  );
}
