// The settings of an environment, and what they would delete, before they are saved.
import { useId, useState } from "preact/hooks";
import { body } from "../api/calls";
import type { EnvironmentDetails, Settings, SettingsUpdate } from "../api/types";
import { useAction, useLoaded, useParts, useSettled } from "../parts/context";
import { Check, Choice, Field, Form } from "../parts/form";
import { Command, Do, Failure, Known, Mark, May, Section, Text, Time } from "../parts/show";
import { address } from "../route";
import { bytes, command, count } from "../text";

type Policy = NonNullable<EnvironmentDetails["policy"]>;

export function SettingsView({ of, saved }: { of: EnvironmentDetails; saved(): void }) {
  const { id, policy } = of;
  return (
    <>
      <Section id="settings" title="Settings">
        <May scope="admin" to="change the settings">
          {policy ? (
            <Edit environment={id} policy={policy} saved={saved} />
          ) : (
            <Create environment={id} created={saved} />
          )}
        </May>
      </Section>
      {policy && <Rules of={of} policy={policy} />}
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

const FAILURE_POLICIES = { block: "stop the deployment", continue: "continue the deployment" };

interface Values {
  autoEnabled: boolean;
  retentionDays: string;
  maxPinned: string;
  timeoutSeconds: string;
  failurePolicy: keyof typeof FAILURE_POLICIES;
}

function values(policy: Policy): Values {
  return {
    autoEnabled: policy.autoEnabled,
    retentionDays: String(policy.retentionDays ?? ""),
    maxPinned: String(policy.maxPinned ?? 0),
    timeoutSeconds: String(policy.timeoutSeconds ?? ""),
    failurePolicy: policy.failurePolicy,
  };
}

/** The fields that differ: only these are written. */
export function changes(before: Values, now: Values): SettingsUpdate {
  return {
    ...(now.autoEnabled !== before.autoEnabled && { autoEnabled: now.autoEnabled }),
    ...(now.retentionDays !== before.retentionDays &&
      now.retentionDays !== "" && { retentionDays: Number(now.retentionDays) }),
    ...(now.maxPinned !== before.maxPinned && { maxPinned: Number(now.maxPinned) }),
    ...(now.timeoutSeconds !== before.timeoutSeconds && { timeoutSeconds: Number(now.timeoutSeconds) }),
    ...(now.failurePolicy !== before.failurePolicy && { failurePolicy: now.failurePolicy }),
  };
}

function Edit({ environment, policy, saved }: { environment: string; policy: Policy; saved(): void }) {
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
  const trial = tried({ retentionDays: before.retentionDays }, { retentionDays: now.retentionDays });
  const owned = (name: keyof Values, label: string) => ({
    label: <Owned label={label} by={policy.owners[name]} />,
    disabled: policy.owners[name] !== undefined,
  });
  const number = (name: "retentionDays" | "maxPinned" | "timeoutSeconds", label: string, most: number) => (
    <Field
      type="number"
      {...owned(name, label)}
      min={0}
      max={most}
      required={before[name] !== ""}
      value={now[name]}
      change={(typed) => change({ [name]: typed })}
    />
  );
  return (
    <Form submit={() => changed && save.run(update)}>
      <Check
        {...owned("autoEnabled", "Deployments take a snapshot first")}
        value={now.autoEnabled}
        change={(autoEnabled) => change({ autoEnabled })}
      />
      <Choice
        {...owned("failurePolicy", "If that snapshot fails")}
        value={now.failurePolicy}
        of={FAILURE_POLICIES}
        change={(failurePolicy) => change({ failurePolicy })}
      />
      {number(
        "retentionDays",
        "Days that snapshots are kept; 0: no limit; empty: only the other rules keep",
        RULES.retentionDays,
      )}
      {number("maxPinned", "Snapshots that may be pinned; 0: no limit", 10_000)}
      {number("timeoutSeconds", "Seconds after which a snapshot fails, 30 or more", 604_800)}
      <p class="hint">
        Schedules and restore tests are in the SnapshotPolicy: schedule{" "}
        <Text of={policy.schedule.join(", ") || "none"} /> in <Text of={policy.timeZone} />.
      </p>
      {trial && (
        <Plan
          environment={environment}
          trial={trial}
          title={`What is deleted${"retentionDays" in trial ? " if you save this" : ""}`}
        />
      )}
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
    </Form>
  );
}

/** The name of a setting; and who owns it, where a change would be refused for that. */
function Owned({ label, by }: { label: string; by: string | undefined }) {
  if (by === undefined) return <>{label}</>;
  return (
    <>
      {label}
      <span class="hint">
        {" "}
        (owned by <Text of={by} />: change it there, for example in Git)
      </span>
    </>
  );
}

/** Rules of retention, and the largest value that the REST API takes. */
const RULES = {
  retentionDays: 36_500,
  keepLast: 1000,
  keepHourly: 1000,
  keepDaily: 1000,
  keepWeekly: 1000,
  keepMonthly: 1000,
  keepYearly: 1000,
};
type Rule = keyof typeof RULES;
type Trial = Partial<Record<Rule, number>>;

const LABELS: Record<Rule, string> = {
  retentionDays: "Every snapshot, for so many days; 0: no limit",
  keepLast: "So many of the newest",
  keepHourly: "The newest of each of so many hours",
  keepDaily: "The newest of each of so many days",
  keepWeekly: "The newest of each of so many weeks",
  keepMonthly: "The newest of each of so many months",
  keepYearly: "The newest of each of so many years",
};

/** The rules whose typed values differ. Null: one is not a value that the REST API takes. */
export function tried(before: Partial<Record<Rule, string>>, now: Partial<Record<Rule, string>>): Trial | null {
  const trial: Trial = {};
  for (const rule of Object.keys(now) as Rule[]) {
    const typed = now[rule]!;
    if (typed === before[rule]) continue;
    if (!/^\d{1,5}$/.test(typed) || Number(typed) > RULES[rule]) return null;
    trial[rule] = Number(typed);
  }
  return trial;
}

/** Rules to try: what they delete, and the command that sets them. The REST API itself saves only the days. */
function Rules({ of, policy }: { of: Pick<EnvironmentDetails, "id" | "name" | "namespace">; policy: Policy }) {
  const [edited, setEdited] = useState<Partial<Record<Rule, string>>>({});
  const rules = Object.keys(RULES) as Rule[];
  const before = Object.fromEntries(rules.map((rule) => [rule, String(policy[rule] ?? "")])) as Record<Rule, string>;
  const now = { ...before, ...edited };
  const trial = tried(before, now);
  return (
    <Section id="rules" title="Try rules of retention">
      <p class="hint">A snapshot is kept while any rule keeps it. Nothing is saved here.</p>
      <Form class="filter">
        {rules.map((rule) => (
          <Field
            key={rule}
            type="number"
            label={LABELS[rule]}
            min={0}
            max={RULES[rule]}
            value={now[rule]}
            change={(typed) => setEdited({ ...edited, [rule]: typed })}
          />
        ))}
      </Form>
      {trial === null && (
        <p class="note warn" role="status">
          Type whole numbers: days up to {count(RULES.retentionDays)}, the others up to {count(RULES.keepLast)}.
        </p>
      )}
      {trial && Object.keys(trial).length > 0 && (
        <>
          <Plan environment={of.id} trial={trial} title="What is deleted with these rules" />
          <p>This command sets them:</p>
          <Command
            text={command(
              ...["kubectl", "-n", of.namespace, "patch", "snapshotpolicies.ocore.dev", of.name],
              ...["--type", "merge", "-p", JSON.stringify({ spec: trial })],
            )}
          />
        </>
      )}
    </Section>
  );
}

function Plan({ environment, trial, title }: { environment: string; trial: Trial; title: string }) {
  const id = useId();
  const asked = useSettled(JSON.stringify(trial));
  const plan = useLoaded(
    `${environment} ${asked}`,
    (api) =>
      body(
        api.GET("/console/v1/environments/{environmentId}/retention", {
          params: { path: { environmentId: environment }, query: { limit: 50, ...(JSON.parse(asked) as Trial) } },
        }),
      ),
    (_, event) => (event.kind === "snapshot" && event.environmentId === environment ? "reload" : undefined),
    3000,
  );
  return (
    <section class="card" aria-labelledby={id}>
      <h2 id={id}>{title}</h2>
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
                <details>
                  <summary>Which ones</summary>
                  <ul>
                    {gone.map(({ id, time: at, storedBytes }) => (
                      <li key={id}>
                        <a href={address({ view: "snapshot", environment, snapshot: id })}>
                          <Time at={at} plain />
                        </a>
                        , {bytes(storedBytes)}
                      </li>
                    ))}
                    {deleted > gone.length && <li>and {count(deleted - gone.length)} more</li>}
                  </ul>
                </details>
              )}
            </>
          );
        }}
      </Known>
    </section>
  );
}
