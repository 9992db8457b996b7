// One environment: its tabs, and the first of them, which answers whether it is safe now, and what to do next.
import { useEffect, useState } from "preact/hooks";
import "./environment.css";
import { body } from "../api/calls";
import type { EnvironmentDetails } from "../api/types";
import { useAction, useLoaded, useMay, useNow, useParts } from "../parts/context";
import {
  Do,
  Facts,
  Failure,
  Known,
  Mark,
  May,
  Message,
  Name,
  Remedy,
  Section,
  ShortId,
  Tabs,
  Text,
  Time,
  Title,
  Type,
} from "../parts/show";
import { address, go, type Tab } from "../route";
import { bytes, count, duration, time, visible, words } from "../text";
import { namedByTime } from "./aside";
import { Log } from "./Log";
import { Rollbacks } from "./Rollbacks";
import { SettingsView } from "./Settings";
import { SnapshotList } from "./SnapshotList";
import { notPlanned, PROOFS, Running } from "./state";
import { TimeAxis } from "./TimeAxis";
import { verdict } from "./verdict";
import { keepRead, readWarnings, remembering, sorted } from "./warnings";

export function useEnvironment(id: string) {
  return useLoaded<EnvironmentDetails>(
    id,
    (api) => body(api.GET("/console/v1/environments/{environmentId}", { params: { path: { environmentId: id } } })),
    (known, event) => {
      if (event.kind !== "environment" || event.id !== id) return undefined;
      // The row is shown at once; what the row lacks is read.
      const row = event.object;
      const same =
        known &&
        row &&
        row.state === known.state &&
        row.ready === known.ready &&
        row.rollbackReady === known.rollbackReady &&
        row.probedAt === known.probedAt &&
        row.problem?.message === known.problem?.message &&
        row.snapshots === known.snapshots;
      return same && Boolean(row.operation) === Boolean(known.operation) ? { ...known, ...row } : "reload";
    },
  );
}

const TABS: Record<string, Tab> = {
  Overview: "environment",
  Snapshots: "snapshots",
  Rollbacks: "rollbacks",
  Settings: "settings",
  Log: "log",
};

export function Environment({ id, tab }: { id: string; tab: Tab }) {
  const environment = useEnvironment(id);
  const { data } = environment;
  const current = Object.keys(TABS).find((name) => TABS[name] === tab)!;
  const tabs = Object.entries(TABS).map(([name, view]) => [name, address({ view, environment: id })]);
  return (
    <>
      <div class="of-environment">
        <Title name={`${current} of ${data?.name ?? "an environment"}`}>
          {data ? visible(data.name) : "Environment"}
        </Title>
        {data && (
          <p>
            <Type of={data.type} /> namespace <Name of={data.namespace} />, project <ShortId of={data.projectId} />
          </p>
        )}
      </div>
      <Tabs label="Environment" of={Object.fromEntries(tabs) as Record<string, string>} current={current} />
      <Known of={environment}>
        {(data) => {
          switch (tab) {
            case "environment":
              return <Overview of={data} />;
            case "snapshots":
              return <SnapshotList environment={id} />;
            case "rollbacks":
              return <Rollbacks environment={id} />;
            case "settings":
              return <SettingsView of={data} saved={environment.reload} />;
            case "log":
              return <Log environment={id} />;
          }
        }}
      </Known>
    </>
  );
}

function Overview({ of }: { of: EnvironmentDetails }) {
  return (
    <>
      <Answers of={of} />
      <Attention of={of} />
      <Probe of={of} />
      <Warnings environment={of.id} all={of.warnings} />
      <TimeAxis of={of} />
      <Details of={of} />
    </>
  );
}

/** Is it safe now, what is the last good state, what runs, what is next. */
function Answers({ of }: { of: EnvironmentDetails }) {
  const { tone, answer, advice } = verdict(of);
  return (
    <>
      <p class={`note verdict ${tone}`} role="status">
        <Mark tone={tone}>{answer}</Mark> {advice}
      </p>
      <div class="answers">
        <section aria-labelledby="last-good">
          <h2 id="last-good">Last good state</h2>
          <LastGood of={of} />
        </section>
        <section aria-labelledby="runs">
          <h2 id="runs">Runs now</h2>
          {of.operation ? <Running row={of} /> : <p>Nothing.</p>}
          <UndoWindows of={of} />
        </section>
        <section aria-labelledby="next">
          <h2 id="next">Next</h2>
          <p>
            Snapshot:{" "}
            <Time
              at={of.nextSnapshotAt}
              planned
              none={of.policy?.suspended ? "the schedule is suspended" : notPlanned(of)}
            />
          </p>
          <p>
            Restore test: <Time at={of.policy?.nextRestoreTestAt} planned none="not planned" />
          </p>
          <TakeSnapshot of={of} />
        </section>
      </div>
    </>
  );
}

function LastGood({ of }: { of: EnvironmentDetails }) {
  const mayRollBack = useMay("rollback");
  const { lastGood, expectedEverySeconds } = of;
  if (!lastGood) return <p>There is none.</p>;
  const place = { environment: of.id, snapshot: lastGood.id };
  return (
    <>
      <p>
        <a href={address({ view: "snapshot", ...place })} class="main-fact">
          <Time at={lastGood.time} plain />
        </a>
        {lastGood.label && (
          <>
            {" "}
            “<Text of={lastGood.label} />”
          </>
        )}
      </p>
      <p>
        <Mark tone={lastGood.proof === "incomplete" ? "warn" : "good"}>{PROOFS[lastGood.proof]}</Mark>{" "}
        {expectedEverySeconds === null
          ? "No schedule takes snapshots."
          : `The schedule wants one every ${duration(expectedEverySeconds)}.`}{" "}
        {of.overdueSince && (
          <Mark tone="warn">
            overdue since <Time at={of.overdueSince} />
          </Mark>
        )}
      </p>
      {of.rollbackReady === false && <p class="hint">No rollback would work before what needs attention is fixed.</p>}
      {mayRollBack && of.rollbackReady !== false && (
        <p>
          <a class="button secondary" href={address({ view: "rollback-to", ...place })}>
            Roll back to {time(lastGood.time)} …
          </a>
        </p>
      )}
    </>
  );
}

/** What a condition reports as wrong. It never folds. */
function Attention({ of }: { of: EnvironmentDetails }) {
  const wrong = of.conditions.filter(isWrong);
  if (wrong.length === 0) return null;
  return (
    <Section id="attention" title="What needs attention">
      {wrong.map((condition) => (
        <div class="note bad" key={condition.type}>
          <h3>
            {words(condition.type)}: <Text of={condition.reason} />
          </h3>
          <p>
            <Message of={condition.message} /> Since <Time at={condition.since} />.
          </p>
          <Remedy fix={condition.fix} />
        </div>
      ))}
    </Section>
  );
}

/** A condition with a known fix, and one that is False without one: a newer operator may have reasons of its own. */
function isWrong({ type, status, fix }: EnvironmentDetails["conditions"][number]): boolean {
  return fix !== null || ((type === "Ready" || type === "RollbackReady") && status === "False");
}

/** Findings that block nothing. Those that were read in this browser fold into one line. */
function Warnings({ environment, all }: { environment: string; all: string[] }) {
  const [known, setKnown] = useState(readWarnings);
  const { fresh, read } = sorted(known, environment, all);
  const keep = (warnings: string[]) => {
    const now = remembering(readWarnings(), environment, warnings);
    keepRead(now);
    setKnown(now);
  };
  return (
    <>
      {fresh.length > 0 && (
        <div class="note warn warnings">
          <ul class="plain">
            {fresh.map((warning) => (
              <li key={warning}>
                <Message of={warning} />
              </li>
            ))}
          </ul>
          <button type="button" onClick={() => keep(all)}>
            I have read {fresh.length === 1 ? "it" : `these ${fresh.length}`}: fold
          </button>
        </div>
      )}
      {read.length > 0 && (
        <details class="warnings">
          <summary>
            <Mark tone="warn">
              {read.length === 1 ? "1 warning that you have read" : `${read.length} warnings that you have read`}
            </Mark>{" "}
            <span class="hint">
              <Message of={read[0]!} />
            </span>
          </summary>
          <ul>
            {read.map((warning) => (
              <li key={warning}>
                <Message of={warning} />
              </li>
            ))}
          </ul>
        </details>
      )}
    </>
  );
}

function Details({ of }: { of: EnvironmentDetails }) {
  const { policy, sizes } = of;
  return (
    <Section id="details" title="Details">
      <Facts
        of={[
          ["Newest verified", <Link environment={of.id} to={of.newestVerified} />],
          ["Newest restored as a test", <Link environment={of.id} to={of.newestRestoreTested} />],
          of.safety && ["Newest state before a rollback", <Link environment={of.id} to={of.safety} />],
          ["Next deletion by a rule", <Time at={policy?.nextExpiryAt} planned none="none" />],
          [
            "Live sizes",
            sizes ? (
              <>
                database {bytes(sizes.databaseBytes)}, filestore {bytes(sizes.filestoreBytes)},{" "}
                {count(sizes.filestoreFiles)} files; measured <Time at={sizes.measuredAt} />
              </>
            ) : (
              "not measured"
            ),
          ],
          [
            "Database",
            of.databaseName === null ? (
              "not known"
            ) : (
              <>
                <Text of={of.databaseName} />, PostgreSQL <Text of={of.serverVersion ?? "not known"} />
              </>
            ),
          ],
          [
            "Stores",
            of.stores.map(({ role, name }) => (
              <div key={role}>
                {role}: <Text of={name} />
              </div>
            )),
          ],
          ["Settings", policy ? <Rules of={policy} /> : "none yet"],
          ["Id", <ShortId of={of.id} />],
        ]}
      />
      <details>
        <summary>Conditions: {of.conditions.map(({ type, status }) => `${words(type)} ${status}`).join(", ")}</summary>
        <ul class="plain">
          {of.conditions.map((condition) => (
            <li key={condition.type}>
              <Mark tone={isWrong(condition) ? "bad" : condition.status === "Unknown" ? "quiet" : "good"}>
                {words(condition.type)}: {condition.status}
              </Mark>{" "}
              <Text of={condition.reason} /> since <Time at={condition.since} />. <Message of={condition.message} />
            </li>
          ))}
        </ul>
      </details>
    </Section>
  );
}

function Link({ environment, to }: { environment: string; to: EnvironmentDetails["newestVerified"] }) {
  if (!to) return <>none</>;
  return (
    <a href={address({ view: "snapshot", environment, snapshot: to.id })}>
      <Time at={to.time} plain />
    </a>
  );
}

function Rules({ of }: { of: NonNullable<EnvironmentDetails["policy"]> }) {
  const kept = (["keepLast", "keepHourly", "keepDaily", "keepWeekly", "keepMonthly", "keepYearly"] as const)
    .filter((rule) => of[rule])
    .map((rule) => `${words(rule).toLowerCase()}: ${of[rule]}`);
  return (
    <>
      {of.suspended && <Mark tone="warn">The schedule is suspended</Mark>}{" "}
      {of.schedule.length ? (
        <>
          schedule <Text of={of.schedule.join(", ")} /> (<Text of={of.timeZone} />)
        </>
      ) : (
        "no schedule"
      )}
      ; kept {of.retentionDays ? `for ${of.retentionDays} days` : "without a limit of days"}
      {kept.length > 0 && `, ${kept.join(", ")}`}; {of.pinned} {of.maxPinned ? `of ${of.maxPinned} ` : ""}pinned
    </>
  );
}

function UndoWindows({ of }: { of: EnvironmentDetails }) {
  return (
    <>
      {of.undoWindows.map((window) => (
        <p key={window.deploymentId}>
          <a href={address({ view: "rollback", environment: of.id, rollback: window.deploymentId })}>{namedByTime(window)}</a>{" "}
          can be undone until <Time at={window.until} planned />
        </p>
      ))}
    </>
  );
}

/** Milliseconds for which a probe is awaited, as `kubectl ocore doctor --probe` does. */
const PATIENCE = 120_000;

/** How far a probe is that was requested for `requestedAt` or later. */
export function probeState(
  of: Pick<EnvironmentDetails, "ready" | "rollbackReady" | "probedAt">,
  requestedAt: string,
  now: number,
): "answered" | "waiting" | "late" {
  // One that was under way may have shown that everything works: then no other one follows.
  if (works(of) || (of.probedAt !== null && Date.parse(of.probedAt) >= Date.parse(requestedAt))) return "answered";
  return now < Date.parse(requestedAt) + PATIENCE ? "waiting" : "late";
}

function works({ ready, rollbackReady }: Pick<EnvironmentDetails, "ready" | "rollbackReady">): boolean {
  return ready === true && rollbackReady === true;
}

/** Has what does not work checked again, and reports when that has happened. */
function Probe({ of }: { of: EnvironmentDetails }) {
  const [requestedAt, setRequestedAt] = useState<string>();
  const [ticking, setTicking] = useState(false);
  const now = useNow(ticking);
  const state = requestedAt && probeState(of, requestedAt, now);
  useEffect(() => setTicking(state === "waiting"), [state]);
  return (
    <>
      {!works(of) && <CheckAgain of={of.id} waiting={state === "waiting"} done={setRequestedAt} />}
      <p role="status">
        {state === "waiting" && (
          <>Requested at {time(requestedAt)}. The result is shown here when the check has ended.</>
        )}
        {state === "answered" && <>Checked again at {time(of.probedAt)}.</>}
        {state === "late" &&
          "No check has ended within 2 minutes, so what is shown is older. The conditions may report what prevents a " +
            "check. If they do not, run kubectl ocore doctor: its line Operator shows whether the operator runs."}
      </p>
    </>
  );
}

function CheckAgain({ of, waiting, done }: { of: string; waiting: boolean; done(requestedAt: string): void }) {
  const { api } = useParts();
  const action = useAction(
    () => body(api.POST("/console/v1/environments/{environmentId}/probe", { params: { path: { environmentId: of } } })),
    (answer) => done(answer.requestedAt),
  );
  return (
    <May scope="snapshot" to="have it checked again">
      <div class="actions">
        <Do action={action} argument={undefined} disabled={waiting}>
          Check again now
        </Do>
        <Failure of={action} />
      </div>
    </May>
  );
}

function TakeSnapshot({ of }: { of: EnvironmentDetails }) {
  const environment = of.id;
  const { api } = useParts();
  const [started, setStarted] = useState(false);
  const action = useAction(
    async (_: undefined, key: string) => {
      const { response } = await api.POST("/api/environments/{environmentId}/snapshots", {
        params: { path: { environmentId: environment }, header: { "Idempotency-Key": key } },
      });
      // Its id is only in the address of the new snapshot.
      return response.headers.get("Location")?.split("/").at(-1);
    },
    (snapshot) => {
      setStarted(true);
      go(snapshot ? address({ view: "snapshot", environment, snapshot }) : address({ view: "log", environment }));
    },
  );
  if (of.ready === false) return <p class="hint">No snapshot can be taken before what needs attention is fixed.</p>;
  return (
    <May scope="snapshot" to="take a snapshot">
      <p>
        <Do action={action} argument={undefined} disabled={started} class="primary">
          Take a snapshot
        </Do>
      </p>
      <Failure of={action} />
    </May>
  );
}
