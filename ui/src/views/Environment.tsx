// One environment: what needs attention, timeline, growth, all snapshots, conditions.
import { useEffect, useState } from "preact/hooks";
import { body } from "../api/calls";
import type { EnvironmentDetails } from "../api/types";
import { useAction, useLoaded, useMe, useNow, useParts } from "../parts/context";
import { Code, Do, Facts, Failure, Known, Mark, Notes, Remedy, Section, Text, Time, Title } from "../parts/show";
import { address, go } from "../route";
import { bytes, count, relative, time, visible, words } from "../text";
import { Running, State } from "./Environments";
import { Growth } from "./Growth";
import { SnapshotList } from "./SnapshotList";
import { Timeline } from "./Timeline";

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
        row.ready === known.ready &&
        row.rollbackReady === known.rollbackReady &&
        row.probedAt === known.probedAt &&
        row.problem?.message === known.problem?.message &&
        row.snapshots === known.snapshots;
      return same && Boolean(row.operation) === Boolean(known.operation) ? { ...known, ...row } : "reload";
    },
  );
}

export function Environment({ id }: { id: string }) {
  const environment = useEnvironment(id);
  return (
    <>
      <Title name={environment.data?.name ?? "Environment"}>
        {environment.data ? visible(environment.data.name) : "Environment"}
      </Title>
      <Known of={environment}>{(data) => <Details of={data} />}</Known>
    </>
  );
}

function Details({ of }: { of: EnvironmentDetails }) {
  const { id, policy, sizes } = of;
  const bad = of.conditions.filter(({ fix }) => fix);
  return (
    <>
      <p>
        <State row={of} /> {of.type}, namespace <Text of={of.namespace} />, project <code>{of.projectId}</code>
      </p>
      <Running row={of} />
      <UndoWindows of={of} />
      <Notes tone="warn" of={of.warnings} />
      <p class="actions">
        <TakeSnapshot environment={id} />
        <a href={address({ view: "settings", environment: id })}>Settings</a>
        <a href={address({ view: "log", environment: id })}>Log</a>
      </p>
      {bad.length > 0 && (
        <Section id="attention" title="What needs attention">
          {bad.map((condition) => (
            <div class="card problem" key={condition.type}>
              <h3>
                {words(condition.type)}: <Text of={condition.reason} />
              </h3>
              <p>
                <Text of={condition.message} />
              </p>
              <Remedy fix={condition.fix} />
            </div>
          ))}
        </Section>
      )}
      <Probe of={of} />
      <Facts
        of={[
          ["Newest complete", <Link environment={id} to={of.newestComplete} />],
          ["Newest verified", <Link environment={id} to={of.newestVerified} />],
          ["Newest restored as a test", <Link environment={id} to={of.newestRestoreTested} />],
          ["Next snapshot", <Time at={of.nextSnapshotAt} none="not planned" />],
          ["Next restore test", <Time at={policy?.nextRestoreTestAt} none="not planned" />],
          ["Next deletion by a rule", <Time at={policy?.nextExpiryAt} none="none" />],
          [
            "Live sizes",
            sizes
              ? `database ${bytes(sizes.databaseBytes)}, filestore ${bytes(sizes.filestoreBytes)}, ${count(sizes.filestoreFiles)} files; measured ${time(sizes.measuredAt)}`
              : "not measured",
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
          ["Id", <Code of={id} />],
        ]}
      />
      <Timeline environment={id} />
      <Growth environment={id} />
      <SnapshotList environment={id} />
      <Section id="conditions" title="Conditions">
        <ul class="plain">
          {of.conditions.map((condition) => (
            <li key={condition.type}>
              <Mark tone={condition.fix ? "bad" : condition.status === "Unknown" ? "quiet" : "good"}>
                {words(condition.type)}: {condition.status}
              </Mark>{" "}
              <Text of={condition.reason} /> since {time(condition.since)}. <Text of={condition.message} />
            </li>
          ))}
        </ul>
      </Section>
    </>
  );
}

function Link({ environment, to }: { environment: string; to: EnvironmentDetails["newestComplete"] }) {
  if (!to) return <>none</>;
  return (
    <a href={address({ view: "snapshot", environment, snapshot: to.id })}>
      <Time at={to.time} none={to.name} />
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
  const now = useNow(of.undoWindows.length > 0);
  return (
    <>
      {of.undoWindows.map(({ deploymentId, until }) => (
        <p class="note" key={deploymentId}>
          A rollback can be undone until {time(until)}, {relative(until, now)}.{" "}
          <a href={address({ view: "rollback", environment: of.id, rollback: deploymentId })}>Open the rollback</a>
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
        {state === "waiting" && `Requested at ${time(requestedAt)}. The result is shown here when the check has ended.`}
        {state === "answered" && `Checked again at ${time(of.probedAt)}.`}
        {state === "late" &&
          "No check has ended within 2 minutes, so what is shown is older. The conditions may report what prevents a " +
            "check. If they do not, run kubectl ocore doctor: its line Operator shows whether the operator runs."}
      </p>
    </>
  );
}

function CheckAgain({ of, waiting, done }: { of: string; waiting: boolean; done(requestedAt: string): void }) {
  const { api } = useParts();
  const me = useMe();
  const action = useAction(
    () =>
      body(
        api.POST("/console/v1/environments/{environmentId}/probe", { params: { path: { environmentId: of } } }),
      ),
    (answer) => done(answer.requestedAt),
  );
  if (!me.data?.scopes.includes("snapshot")) return null;
  return (
    <div class="actions">
      <Do action={action} argument={undefined} disabled={waiting}>
        Check again now
      </Do>
      <Failure of={action} />
    </div>
  );
}

function TakeSnapshot({ environment }: { environment: string }) {
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
  return (
    <>
      <Do action={action} argument={undefined} disabled={started} class="primary">
        Take a snapshot
      </Do>
      <Failure of={action} />
    </>
  );
}
