// Files, attachments or rows out of a snapshot.
import { useState } from "preact/hooks";
import { body } from "../api/calls";
import type { Compared, Extract } from "../api/types";
import { useAction, useLoaded, useParts } from "../parts/context";
import { Choice, Field, Form } from "../parts/form";
import { Code, Facts, Failure, Known, Mark, Maybe, Progress, Section, Text, Time } from "../parts/show";
import { bytes, count, words } from "../text";

export function Extracts({ environment, id, complete }: { environment: string; id: string; complete: boolean }) {
  const list = useLoaded<Extract[]>(
    `${environment} ${id}`,
    async (api) => {
      const page = await body(
        api.GET("/console/v1/environments/{environmentId}/extracts", {
          params: { path: { environmentId: environment }, query: { limit: 100 } },
        }),
      );
      return page.extracts.filter(({ snapshotId }) => snapshotId === id);
    },
    (known, event) => {
      if (event.kind !== "extract" || event.environmentId !== environment) return undefined;
      const place = known?.findIndex((extract) => extract.id === event.id) ?? -1;
      return known && place >= 0 && event.object ? known.with(place, event.object) : "reload";
    },
  );
  return (
    <Section id="extracts" title="Extract files">
      {complete && <Start environment={environment} id={id} started={list.reload} />}
      <Known of={list}>
        {(extracts) => (
          <ul class="plain">
            {extracts.map((extract) => (
              <li key={extract.id} class="card">
                <Result of={extract} />
              </li>
            ))}
          </ul>
        )}
      </Known>
    </Section>
  );
}

function Result({ of }: { of: Extract }) {
  const { result } = of;
  const ended = of.status === "completed" || of.status === "failed";
  return (
    <>
      <h3>
        <Text of={of.name} />
      </h3>
      <p>
        <Mark
          tone={of.isExpired ? "quiet" : of.status === "failed" ? "bad" : of.status === "completed" ? "good" : "quiet"}
        >
          {of.isExpired ? "expired" : of.status}
        </Mark>{" "}
        {!ended && of.step && words(of.step)}{" "}
        {!ended && <Progress percent={of.percent} label="Progress of the extract" />}
      </p>
      <p>
        <Text of={of.errorMessage ?? of.message} />
      </p>
      <Facts
        of={[
          [
            "Asked for",
            <>
              <Time at={of.createdAt} />
              <Maybe lead=", by " of={of.requestedBy} />
            </>,
          ],
          result && [
            "Result",
            `${count(result.files)} files, ${count(result.rows)} rows, ${bytes(result.bytes)}`,
          ],
          result && ["Where", <Text of={result.key ?? result.folder ?? result.schema ?? ""} />],
          result && ["SHA-256", <Code of={result.sha256 ?? "none"} />],
          result && ["Removed", <Time at={of.expiresAt} none="not by itself" />],
        ]}
      />
    </>
  );
}

const KINDS = { files: "files by path", attachments: "attachments of a record", tables: "rows of a table" };
const FORMATS = {
  csv: "a CSV file in the snapshot's store",
  sql: "a file of SQL in the snapshot's store",
  database: "a new schema of the environment's database",
};
const TARGETS = {
  store: "one tar file in the snapshot's store",
  claim: "a new folder on the filestore's volume claim",
};

const NOTHING = {
  kind: "files" as keyof typeof KINDS,
  paths: "",
  model: "",
  record: "",
  name: "",
  table: "",
  column: "",
  operator: "In" as Compared["operator"],
  value: "",
  format: "csv" as keyof typeof FORMATS,
  target: "store" as keyof typeof TARGETS,
  folder: "restored",
};
type Wanted = typeof NOTHING;

/** The operators of a condition, for people. */
const OPERATORS: Record<Compared["operator"], string> = {
  In: "is",
  NotIn: "is not",
  LessThan: "is less than",
  AtMost: "is at most",
  GreaterThan: "is greater than",
  AtLeast: "is at least",
  StartsWith: "starts with",
  NotStartsWith: "does not start with",
  Contains: "contains",
  NotContains: "does not contain",
  IsNull: "is empty (NULL)",
  IsNotNull: "is not empty (NULL)",
};

function withoutValue(operator: Compared["operator"]) {
  return operator === "IsNull" || operator === "IsNotNull";
}

/** The body of the request, by what the form says. */
export function request(wanted: Wanted) {
  const { kind, paths, model, record, name, table, column, operator, value, format, target, folder } = wanted;
  const lines = paths.split("\n").map((line) => line.trim());
  const values = withoutValue(operator) ? [] : [value];
  const where = column.trim() ? [{ column: column.trim(), operator, values }] : [];
  const place = target === "claim" ? { target, folder: folder.trim() } : { target };
  switch (kind) {
    case "files":
      return { files: { paths: lines.filter(Boolean) }, ...place };
    case "attachments":
      return { attachments: { model: model.trim(), recordId: Number(record), name: name || null }, ...place };
    case "tables":
      return {
        tables: [{ name: table.trim(), where: where.length > 0 ? [{ allOf: where }] : null }],
        ...(format === "database" ? { target: format } : { format }),
      };
  }
}

function Start({ environment, id, started }: { environment: string; id: string; started(): void }) {
  const { api } = useParts();
  const [wanted, setWanted] = useState(NOTHING);
  const change = (part: Partial<Wanted>) => setWanted({ ...wanted, ...part });
  const action = useAction(
    (asked: Wanted, key: string) =>
      body(
        api.POST("/console/v1/environments/{environmentId}/snapshots/{snapshotId}/extracts", {
          params: { path: { environmentId: environment, snapshotId: id }, header: { "Idempotency-Key": key } },
          body: request(asked),
        }),
      ),
    started,
  );
  const field = (
    name: "model" | "record" | "name" | "table" | "column" | "value" | "folder",
    label: string,
    how: { required?: boolean; inputMode?: "numeric"; pattern?: string } = {},
  ) => <Field label={label} value={wanted[name]} {...how} change={(typed) => change({ [name]: typed })} />;
  return (
    <Form submit={() => action.run(wanted)}>
      <Choice label="What" value={wanted.kind} of={KINDS} change={(kind) => change({ kind })} />
      {wanted.kind === "files" && (
        <label>
          Paths in the filestore, one on a line
          <textarea
            rows={3}
            value={wanted.paths}
            required
            onInput={(event) => change({ paths: event.currentTarget.value })}
          />
        </label>
      )}
      {wanted.kind === "attachments" && (
        <>
          {field("model", "Model, for example res.partner", { required: true })}
          {field("record", "Number of the record", { required: true, inputMode: "numeric", pattern: "[0-9]+" })}
          {field("name", "Name of the attachment (optional)")}
        </>
      )}
      {wanted.kind === "tables" ? (
        <>
          {field("table", "Table, for example res_partner", { required: true })}
          {field("column", "Only rows whose column (optional), for example id")}
          {wanted.column.trim() !== "" && (
            <>
              <Choice
                label="Comparison"
                value={wanted.operator}
                of={OPERATORS}
                change={(operator) => change({ operator })}
              />
              {!withoutValue(wanted.operator) && field("value", "Value")}
            </>
          )}
          <Choice label="Where to" value={wanted.format} of={FORMATS} change={(format) => change({ format })} />
        </>
      ) : (
        <>
          <Choice label="Where to" value={wanted.target} of={TARGETS} change={(target) => change({ target })} />
          {wanted.target === "claim" &&
            field("folder", "New folder at its root: restored, or restored-…", {
              required: true,
              pattern: "restored(-[A-Za-z0-9_\\-]*)?",
            })}
        </>
      )}
      <button type="submit" disabled={action.busy}>
        Extract
      </button>
      <Failure of={action} />
    </Form>
  );
}
