// One snapshot: what is proven, its certificate, its copies; pin, delete, restore test, extract.
import { useState } from "preact/hooks";
import { body } from "../api/calls";
import type { Snapshot } from "../api/types";
import { objectOf, useAction, useLoaded, useParts } from "../parts/context";
import { Field, Form } from "../parts/form";
import {
  Ask,
  Back,
  Code,
  Do,
  Facts,
  Failure,
  Known,
  Mark,
  Maybe,
  Notes,
  Progress,
  Section,
  Text,
  Time,
  Title,
} from "../parts/show";
import { address, go } from "../route";
import { bytes, count, duration, time, visible, words } from "../text";
import { Evidence } from "./Evidence";
import { Extracts } from "./Extracts";
import { Status } from "./SnapshotList";
import { keeps } from "./Timeline";

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
    objectOf("snapshot", id),
  );
  const title = snapshot.data ? visible(snapshot.data.name) : "Snapshot";
  return (
    <>
      <Title name={title}>Snapshot {snapshot.data && title}</Title>
      <Back environment={environment} name={snapshot.data?.environmentName} />
      <Known of={snapshot}>{(data) => <Details of={data} reload={snapshot.reload} />}</Known>
    </>
  );
}

function Details({ of, reload }: { of: Snapshot; reload(): void }) {
  const place = { environment: of.environmentId, id: of.id };
  return (
    <>
      <p role="status">
        <Status of={of} /> {of.isPinned && <Mark tone="quiet">pinned</Mark>} {keeps(of)}
      </p>
      {(of.status === "running" || of.status === "pending") && (
        <p>
          {of.step && words(of.step)} <Progress percent={of.percent} label="Progress of the snapshot" />
        </p>
      )}
      {of.errorMessage && <Notes tone="bad" of={[of.errorMessage]} />}
      <Notes tone="warn" of={of.warnings} />
      <p class="actions">
        {of.status === "completed" && (
          <a class="button" href={address({ view: "rollback-to", environment: of.environmentId, snapshot: of.id })}>
            Roll back to it …
          </a>
        )}
        <Delete of={of} {...place} />
      </p>
      <Facts
        of={[
          ["Shows the state of", <Time at={of.consistentAt ?? of.completedAt} none="not known yet" />],
          ["Created", <Time at={of.createdAt} />],
          [
            "Caused by",
            <>
              {words(of.trigger).toLowerCase()}
              <Maybe lead=", by " of={of.requestedBy} />
            </>,
          ],
          ["Took", of.durationMs === null ? "not known yet" : duration(of.durationMs / 1000)],
          ["Kind", of.isFullFilestore ? "full" : "differential"],
          of.baseId !== null && [
            "Needs the full snapshot",
            <a href={address({ view: "snapshot", environment: of.environmentId, snapshot: of.baseId })}>{of.baseId}</a>,
          ],
          ["Needed by", `${count(of.dependents)} differential snapshots`],
          [
            "Sizes",
            `database ${bytes(of.dbSizeBytes)}, filestore ${bytes(of.filestoreSizeBytes)}, stored ${bytes(of.totalSizeBytes)}`,
          ],
          ["Kept until", <Time at={of.expiresAt} none="no rule says so" />],
          ["Image", of.imageTag === null ? "not known" : <Text of={of.imageTag} />],
          ["Commit", of.commitSha === null ? "not known" : <Text of={of.commitSha} />],
          ["PostgreSQL", <Text of={of.serverVersion ?? "not known"} />],
          ["Id", <Code of={of.id} />],
        ]}
      />
      <Pin of={of} changed={reload} {...place} />
      <Copies of={of} />
      {of.recoveryEvidence && <Evidence of={of.recoveryEvidence} />}
      <RestoreTest {...place} complete={of.status === "completed"} />
      <Extracts {...place} complete={of.status === "completed"} />
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
            {remote.completedAt && `, ${time(remote.completedAt)}`}
            {remote.state === "copying" && `, ${bytes(remote.bytesDone)} of ${bytes(remote.bytes)}`}
            {remote.expiresAt && `, kept until ${time(remote.expiresAt)}`}
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
            <Maybe lead=": " of={of.pinLabel} />
            . No rule deletes it, and it cannot be deleted.
          </p>
          <Do action={unpin} argument={undefined}>
            Remove the pin
          </Do>
          <Failure of={unpin} />
        </>
      ) : (
        <Form submit={() => pin.run(label)}>
          <Field label="Why it is kept (optional)" value={label} maxLength={256} change={setLabel} />
          <button type="submit" disabled={pin.busy}>
            Pin it
          </button>
          <Failure of={pin} />
        </Form>
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
    () => go(address({ view: "environment", environment })),
  );
  return (
    <Ask button="Delete …" title="Delete this snapshot?" yes="Delete it" action={action}>
      <p>
        The snapshot of {time(of.createdAt)} and its data in the store, {bytes(of.totalSizeBytes)}, are deleted. This
        cannot be undone.
      </p>
    </Ask>
  );
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
                <Text of={data.problem} />
              )}
            </p>
            <Facts of={data.lines.map(({ label, value }) => [visible(label), <Text of={value} />])} />
            <Do action={start} argument={undefined} disabled={!complete || data.running}>
              Restore it as a test
            </Do>
            <Failure of={start} />
          </>
        )}
      </Known>
    </Section>
  );
}
