// One snapshot: what is proven, its certificate, its copies; pin, delete, restore test, extract.
import { useEffect, useState } from "preact/hooks";
import { body } from "../api/calls";
import type { Snapshot } from "../api/types";
import { objectOf, useAction, useLoaded, useParts } from "../parts/context";
import { Field, Form } from "../parts/form";
import {
  Ask,
  Back,
  Code,
  Danger,
  Do,
  Facts,
  Failure,
  Known,
  Mark,
  May,
  Maybe,
  Message,
  Notes,
  Progress,
  Section,
  ShortId,
  Text,
  Time,
  Title,
  Type,
} from "../parts/show";
import { address, go } from "../route";
import { bytes, count, duration, short, time, visible, words } from "../text";
import { stateAt } from "./axis";
import { Evidence } from "./Evidence";
import { Extracts } from "./Extracts";
import { BeforeRollback, cause, keeps } from "./SnapshotList";
import { Stands } from "./state";
import { taken } from "./verdict";

interface Place {
  environment: string;
  id: string;
}

export function SnapshotView({ environment, id }: Place) {
  const snapshot = useLoaded<Snapshot>(
    `${environment} ${id}`,
    (api) =>
      body(
        api.GET("/console/v1/environments/{environmentId}/snapshots/{snapshotId}", {
          params: { path: { environmentId: environment, snapshotId: id } },
        }),
      ),
    objectOf("snapshot", id, environment),
  );
  const { data } = snapshot;
  const title = data
    ? `Snapshot of ${time(stateAt(data))}${data.pinLabel ? ` “${visible(data.pinLabel)}”` : ""}`
    : "Snapshot";
  return (
    <>
      <Title name={title}>{title}</Title>
      <Back environment={environment} name={data?.environmentName} />
      <Known of={snapshot}>{(data) => <Details of={data} reload={snapshot.reload} />}</Known>
    </>
  );
}

function Details({ of, reload }: { of: Snapshot; reload(): void }) {
  const place = { environment: of.environmentId, id: of.id };
  return (
    <>
      <p role="status">
        <Stands of={taken(of)} /> {of.environmentType && <Type of={of.environmentType} />}{" "}
        {keeps(of)}
      </p>
      {of.isSafety && (
        <p class="note warn">
          This is <BeforeRollback of={of} />. That state may be the one that the rollback was to remove.
        </p>
      )}
      {(of.status === "running" || of.status === "pending") && (
        <p>
          {of.step && words(of.step)} <Progress percent={of.percent} label="Progress of the snapshot" />
        </p>
      )}
      {of.errorMessage && <Notes tone="bad" of={[of.errorMessage]} />}
      <Notes tone="warn" of={of.warnings} />
      {of.status === "completed" && (
        <May scope="rollback" to="roll back to it">
          <p class="actions">
            <a
              class={of.isSafety ? "button secondary" : "button"}
              href={address({ view: "rollback-to", environment: of.environmentId, snapshot: of.id })}
            >
              Roll back to {time(stateAt(of))} …
            </a>
          </p>
        </May>
      )}
      <Facts
        of={[
          ["Shows the state of", <Time at={of.consistentAt ?? of.completedAt} none="not known yet" />],
          ["Created", <Time at={of.createdAt} />],
          [
            "Caused by",
            <>
              {cause(of.trigger)}
              <Maybe lead=", by " of={of.requestedBy} />
            </>,
          ],
          ["Took", of.durationMs === null ? "not known yet" : duration(of.durationMs / 1000)],
          ["Kind", of.isFullFilestore ? "full" : "differential"],
          of.baseId !== null && [
            "Needs the full snapshot",
            <a href={address({ view: "snapshot", environment: of.environmentId, snapshot: of.baseId })}>
              {short(of.baseId)}
            </a>,
          ],
          ["Needed by", `${count(of.dependents)} differential snapshots`],
          [
            "Sizes",
            `database ${bytes(of.dbSizeBytes)}, filestore ${bytes(of.filestoreSizeBytes)}, stored ${bytes(of.totalSizeBytes)}`,
          ],
          ["Kept until", <Time planned at={of.expiresAt} none="no rule deletes it" />],
          ["Image", of.image === null ? "not known" : <Text of={of.image} />],
          ["Commit", of.commitSha === null ? "not known" : <Text of={of.commitSha} />],
          ["PostgreSQL", <Text of={of.serverVersion ?? "not known"} />],
          ["Name", <Text of={of.name} />],
          ["Id", <ShortId of={of.id} />],
        ]}
      />
      <Pin of={of} changed={reload} {...place} />
      <Copies of={of} />
      {of.recoveryEvidence && <Evidence of={of.recoveryEvidence} />}
      <RestoreTest {...place} complete={of.status === "completed"} />
      <Extracts of={of} />
      <Delete of={of} {...place} />
    </>
  );
}

function Copies({ of }: { of: Snapshot }) {
  const { remote } = of;
  return (
    <Section id="copies" title="Where its copies are">
      <ul>
        <li>
          Store <Text of={of.storeName ?? "not known yet"} />:{" "}
          {remote?.onlyCopy
            ? "not usable; only the remote copy restores it"
            : of.verified === true
              ? "every byte was read again"
              : of.verified === false
                ? "damaged"
                : "checked as it was written"}
          {of.manifestSha256 && (
            <>
              ; manifest SHA-256 <Code of={of.manifestSha256} />
            </>
          )}
        </li>
        {remote ? (
          <li>
            Remote store <Text of={remote.storeName} />: {remote.state}
            {remote.completedAt && (
              <>
                , <Time at={remote.completedAt} />
              </>
            )}
            {remote.state === "copying" && `, ${bytes(remote.bytesDone)} of ${bytes(remote.bytes)}`}
            {remote.expiresAt && (
              <>
                , kept until <Time at={remote.expiresAt} planned />
              </>
            )}
            <Maybe lead=". " of={remote.message} />
          </li>
        ) : (
          <li>No copy in a remote store.</li>
        )}
      </ul>
    </Section>
  );
}

function Pin({ of, environment, id, changed }: Place & { of: Snapshot; changed(): void }) {
  const { api } = useParts();
  const [label, setLabel] = useState("");
  const params = { path: { environmentId: environment, snapshotId: id } };
  const pin = useAction(
    (label: string) =>
      body(api.PUT("/api/environments/{environmentId}/snapshots/{snapshotId}/pin", { params, body: { label } })),
    changed,
  );
  const unpin = useAction(
    (_: undefined) => body(api.DELETE("/api/environments/{environmentId}/snapshots/{snapshotId}/pin", { params })),
    changed,
  );
  return (
    <Section id="pin" title="Pin">
      {of.isPinned ? (
        <>
          <p>
            Pinned
            <Maybe lead=": " of={of.pinLabel} />. No rule deletes it, and it cannot be deleted.
          </p>
          <May scope="admin" to="remove the pin">
            <Do action={unpin} argument={undefined}>
              Remove the pin
            </Do>
            <Failure of={unpin} />
          </May>
        </>
      ) : (
        <May scope="admin" to="pin it">
          <Form submit={() => pin.run(label)}>
            <Field label="Why it is kept (optional)" value={label} maxLength={256} change={setLabel} />
            <button type="submit" class="secondary" disabled={pin.busy}>
              Pin it
            </button>
            <Failure of={pin} />
          </Form>
        </May>
      )}
    </Section>
  );
}

function Delete({ of, environment, id }: Place & { of: Snapshot }) {
  const { api } = useParts();
  const action = useAction(
    async (_: undefined) => {
      await api.DELETE("/api/environments/{environmentId}/snapshots/{snapshotId}", {
        params: { path: { environmentId: environment, snapshotId: id } },
      });
    },
    () => go(address({ view: "snapshots", environment })),
  );
  const hindrance = undeletable(of);
  return (
    <Danger id="delete" title="Delete">
      <May scope="admin" to="delete it">
        {hindrance ? (
          <p>{hindrance}</p>
        ) : (
          <Ask button="Delete …" title="Delete this snapshot?" yes="Delete it" no="No, keep the snapshot" action={action}>
            <p>
              The snapshot of {time(stateAt(of))} and its data in the store, {bytes(of.totalSizeBytes)}, are deleted.
              This cannot be undone. A store with a lock keeps the data until the lock ends, and the snapshot is shown as
              long.
            </p>
          </Ask>
        )}
      </May>
    </Danger>
  );
}

/** Why a snapshot cannot be deleted now, by what it shows itself. */
export function undeletable({ isPinned, status, dependents }: Pick<Snapshot, "isPinned" | "status" | "dependents">) {
  if (isPinned) return "It is pinned. Remove the pin first.";
  if (status === "pending" || status === "running") return "It has not ended. Wait until it is completed or failed.";
  if (dependents) return `${count(dependents)} differential snapshots need it. Delete them first.`;
  return null;
}

function RestoreTest({ environment, id, complete }: Place & { complete: boolean }) {
  const { api } = useParts();
  const params = { path: { environmentId: environment, snapshotId: id } };
  const certificate = useLoaded(
    `${environment} ${id}`,
    (api) => body(api.GET("/console/v1/environments/{environmentId}/snapshots/{snapshotId}/restore-test", { params })),
    (_, event) => (event.kind === "snapshot" && event.id === id ? "reload" : undefined),
    2000,
  );
  const start = useAction(
    (_: undefined, key: string) =>
      body(
        api.POST("/console/v1/environments/{environmentId}/snapshots/{snapshotId}/restore-test", {
          params: { ...params, header: { "Idempotency-Key": key } },
        }),
      ),
    certificate.reload,
  );
  const isKnown = certificate.data !== undefined;
  // An address may lead to it, and it comes later than the view.
  useEffect(() => {
    if (isKnown && location.hash === "#certificate") document.getElementById("certificate")?.scrollIntoView();
  }, [isKnown]);
  return (
    <Section id="certificate" title="Restore test">
      <Known of={certificate}>
        {(data) => (
          <>
            <p role="status">
              {data.running ? (
                "A restore test is asked for or runs."
              ) : data.valid ? (
                <Mark tone="good">The certificate is valid</Mark>
              ) : (
                <Message of={data.problem} />
              )}
            </p>
            <Facts of={data.lines.map(({ label, value }) => [visible(label), <Value of={value} />])} />
            {complete ? (
              <May scope="snapshot" to="restore it as a test">
                <Do action={start} argument={undefined} disabled={data.running}>
                  Restore it as a test
                </Do>
                <Failure of={start} />
              </May>
            ) : (
              <p class="hint">Only a completed snapshot can be restored as a test.</p>
            )}
          </>
        )}
      </Known>
    </Section>
  );
}

/** A line of the certificate. A time is shown as every other one: in the reader's time zone. */
function Value({ of }: { of: string }) {
  return /^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(of) ? <Time at={of} /> : <Text of={of} />;
}
