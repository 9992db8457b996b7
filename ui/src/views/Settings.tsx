// The settings of an environment, and what they would delete, before they are saved.
import { useState } from "preact/hooks";
import { body } from "../api/calls";
import type { EnvironmentDetails, Settings, SettingsUpdate } from "../api/types";
import { useAction, useLoaded, useParts } from "../parts/context";
import { Do, Failure, Known, Mark, Text, Title } from "../parts/show";
import { address } from "../route";
import { bytes, count, time } from "../text";
import { useEnvironment } from "./Environment";

type Policy = NonNullable<EnvironmentDetails["policy"]>;

export function SettingsView({ environment }: { environment: string }) {
  const details = useEnvironment(environment);
  return (
    <>
      <Title name="Settings">Settings</Title>
      <p>
        <a href={address({ view: "environment", environment })}>
          Back to {details.data ? <Text of={details.data.name} /> : "the environment"}
        </a>
      </p>
      <Known of={details}>
        {({ policy }) =>
          policy ? (
            <Form environment={environment} policy={policy} saved={details.reload} />
          ) : (
            <Create environment={environment} created={details.reload} />
          )
        }
      </Known>
    </>
  );
}

function Create({ environment, created }: { environment: string; created(): void }) {
  const { api } = useParts();
  const action = useAction(
    (_: undefined) =>
      body(
        api.GET("/api/environments/{environmentId}/snapshot-settings", {
          params: { path: { environmentId: environment } },
        }),
      ),
    created,
  );
  return (
    <>
      <p>This environment has no settings. With the defaults, snapshots that rules may delete are kept for 30 days.</p>
      <Do action={action} argument={undefined} class="primary">
        Create settings with the defaults
      </Do>
      <Failure of={action} />
    </>
  );
}

interface Values {
  autoEnabled: boolean;
  retentionDays: string;
  maxPinned: string;
  timeoutSeconds: string;
  failurePolicy: "block" | "continue";
}

function values(policy: Policy): Values {
  return {
    autoEnabled: policy.autoEnabled,
    retentionDays: String(policy.retentionDays ?? 0),
    maxPinned: String(policy.maxPinned ?? 0),
    timeoutSeconds: String(policy.timeoutSeconds ?? ""),
    failurePolicy: policy.failurePolicy,
  };
}

/** The fields that differ: only these are written. */
export function changes(before: Values, now: Values): SettingsUpdate {
  return {
    ...(now.autoEnabled !== before.autoEnabled && { autoEnabled: now.autoEnabled }),
    ...(now.retentionDays !== before.retentionDays && { retentionDays: Number(now.retentionDays) }),
    ...(now.maxPinned !== before.maxPinned && { maxPinned: Number(now.maxPinned) }),
    ...(now.timeoutSeconds !== before.timeoutSeconds && { timeoutSeconds: Number(now.timeoutSeconds) }),
    ...(now.failurePolicy !== before.failurePolicy && { failurePolicy: now.failurePolicy }),
  };
}

function Form({ environment, policy, saved }: { environment: string; policy: Policy; saved(): void }) {
  const { api } = useParts();
  const [edited, setEdited] = useState<Partial<Values>>({});
  const [done, setDone] = useState(false);
  const before = values(policy);
  const now = { ...before, ...edited };
  const update = changes(before, now);
  const changed = Object.keys(update).length > 0;
  const change = (part: Partial<Values>) => {
    setDone(false);
    setEdited({ ...edited, ...part });
  };
  const save = useAction<SettingsUpdate, Settings>(
    (update) =>
      body(
        api.PUT("/api/environments/{environmentId}/snapshot-settings", {
          params: { path: { environmentId: environment } },
          body: update,
        }),
      ),
    () => {
      setEdited({});
      setDone(true);
      saved();
    },
  );
  const days = /^\d{1,5}$/.test(now.retentionDays) ? Number(now.retentionDays) : null;
  const number = (name: "retentionDays" | "maxPinned" | "timeoutSeconds", label: string, most: number) => (
    <label>
      {label}
      <input
        type="number"
        min={0}
        max={most}
        required
        value={now[name]}
        onInput={(event) => change({ [name]: event.currentTarget.value })}
      />
    </label>
  );
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        if (changed) save.run(update);
      }}
    >
      <label class="check">
        <input
          type="checkbox"
          checked={now.autoEnabled}
          onChange={(event) => change({ autoEnabled: event.currentTarget.checked })}
        />{" "}
        Deployments take a snapshot first
      </label>
      <label>
        If that snapshot fails
        <select
          value={now.failurePolicy}
          onChange={(event) => change({ failurePolicy: event.currentTarget.value as Values["failurePolicy"] })}
        >
          <option value="block">stop the deployment</option>
          <option value="continue">continue the deployment</option>
        </select>
      </label>
      {number("retentionDays", "Days that snapshots are kept; 0: no limit", 36_500)}
      {number("maxPinned", "Snapshots that may be pinned; 0: no limit", 10_000)}
      {number("timeoutSeconds", "Seconds after which a snapshot fails, 30 or more", 604_800)}
      <p class="hint">
        Other rules, schedules and restore tests are in the SnapshotPolicy: schedule{" "}
        <Text of={policy.schedule.join(", ") || "none"} /> in <Text of={policy.timeZone} />.
      </p>
      {days !== null && <Plan environment={environment} days={days} trial={"retentionDays" in update} />}
      <p class="actions">
        <button type="submit" disabled={!changed || save.busy}>
          Save
        </button>
        {changed && (
          <button type="button" onClick={() => setEdited({})}>
            Discard the changes
          </button>
        )}
      </p>
      <div role="status">{done && "Saved."}</div>
      <Failure of={save} />
    </form>
  );
}

function Plan({ environment, days, trial }: { environment: string; days: number; trial: boolean }) {
  const plan = useLoaded(
    `${environment} ${days} ${trial}`,
    (api) =>
      body(
        api.GET("/console/v1/environments/{environmentId}/retention", {
          params: { path: { environmentId: environment }, query: { limit: 50, ...(trial && { retentionDays: days }) } },
        }),
      ),
    (_, event) => (event.kind === "snapshot" && event.environmentId === environment ? "reload" : undefined),
    3000,
  );
  return (
    <section class="card" aria-labelledby="plan">
      <h2 id="plan">What is deleted{trial ? " if you save this" : ""}</h2>
      <Known of={plan}>
        {({ kept, deleted, deletedBytes, unaffected, snapshots, timeZone }) => {
          const gone = snapshots.filter(({ deletedNext }) => deletedNext);
          return (
            <>
              <p role="status">
                <Mark tone={deleted ? "warn" : "good"}>{`${count(deleted)} deleted (${bytes(deletedBytes)})`}</Mark>{" "}
                {count(kept)} kept, {count(unaffected)} without a rule. Days are those of <Text of={timeZone} />.
              </p>
              {gone.length > 0 && (
                <ul>
                  {gone.map(({ id, name, time: at, storedBytes }) => (
                    <li key={id}>
                      <a href={address({ view: "snapshot", environment, snapshot: id })}>{time(at)}</a>,{" "}
                      <Text of={name} />, {bytes(storedBytes)}
                    </li>
                  ))}
                  {deleted > gone.length && <li>and {count(deleted - gone.length)} more</li>}
                </ul>
              )}
            </>
          );
        }}
      </Known>
    </section>
  );
}
