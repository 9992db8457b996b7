// Files, attachments or rows out of a snapshot.
import { useState } from "preact/hooks";
import { body } from "../api/calls";
import type { Compared, EnvironmentDetails, Extract, Snapshot } from "../api/types";
import { useAction, useLoaded, useParts } from "../parts/context";
import { Choice, Field, Form } from "../parts/form";
import {
  Code,
  Command,
  Facts,
  Failure,
  Known,
  Mark,
  May,
  Maybe,
  Message,
  Progress,
  Section,
  ShortId,
  Text,
  Time,
} from "../parts/show";
import { bytes, command, count, visible, words } from "../text";
import { useEnvironment } from "./Environment";

export function Extracts({ of: snapshot }: { of: Snapshot }) {
  const { environmentId, id } = snapshot;
  const environment = useEnvironment(environmentId);
  const list = useLoaded<Extract[]>(
    environmentId,
    async (api) => {
      const { extracts } = await body(
        api.GET("/console/v1/environments/{environmentId}/extracts", {
          params: { path: { environmentId }, query: { limit: 100 } },
        }),
      );
      return extracts;
    },
    (known, event) => {
      if (event.kind !== "extract" || event.environmentId !== environmentId) return undefined;
      const place = known?.findIndex((extract) => extract.id === event.id) ?? -1;
      return known && place >= 0 && event.object ? known.with(place, event.object) : "reload";
    },
  );
  const own = (list.data ?? []).filter(({ snapshotId }) => snapshotId === id);
  return (
    <Section id="extracts" title="Extract files or rows">
      {snapshot.status === "completed" && (
        <May scope="rollback" to="extract files or rows">
          <Start of={snapshot} environment={environment.data} known={tablesOf(list.data ?? [])} started={list.reload} />
        </May>
      )}
      <Known of={list}>
        {() => (
          <ul class="plain">
            {own.map((extract) => (
              <li key={extract.id} class="card">
                <Result of={extract} snapshot={snapshot.name} namespace={environment.data?.namespace} />
              </li>
            ))}
          </ul>
        )}
      </Known>
    </Section>
  );
}

/** Names of tables that earlier extracts had. */
function tablesOf(extracts: Extract[]): string[] {
  return [...new Set(extracts.flatMap(({ tables }) => (tables ?? []).map(({ name }) => name)))].sort();
}

/** What is extracted, in a few words. */
export function contents({ files, attachments, tables, listing }: Extract): string {
  if (files) return files.paths.join(", ");
  if (attachments)
    return `attachments of ${attachments.model} ${attachments.recordId}${attachments.name ? `: ${attachments.name}` : ""}`;
  if (tables) return `rows of ${tables.map(({ name }) => name).join(", ")}`;
  return listing?.tables ? "the list of tables" : `the list of ${listing?.path || "the filestore"}`;
}

/** Operators that `kubectl ocore cp --where` has, with one value. */
const SIGNS: Partial<Record<Compared["operator"], string>> = {
  In: "=",
  NotIn: "!=",
  LessThan: "<",
  AtMost: "<=",
  GreaterThan: ">",
  AtLeast: ">=",
};

/** Commands that bring the same to the reader's own machine; none where `kubectl ocore cp` has no words for it. */
export function copies({ files, attachments, tables, format }: Extract, snapshot: string, namespace: string): string[] {
  const cp = (...rest: string[]) => command("kubectl", "ocore", "cp", ...rest, "-n", namespace);
  if (files) return files.paths.map((path) => cp(`${snapshot}:${path}`, "."));
  if (attachments) {
    const { model, recordId, name } = attachments;
    return [cp(`${snapshot}:@${model}/${recordId}${name ? `/${name}` : ""}`, "restored")];
  }
  return (tables ?? []).flatMap((table) => {
    if ((table.where?.length ?? 0) > 1) return [];
    const where = (table.where?.[0]?.allOf ?? []).map(({ column, operator, values }) =>
      SIGNS[operator] && values?.length === 1 ? `${column}${SIGNS[operator]}${values[0]}` : null,
    );
    if (where.includes(null)) return [];
    const conditions = where.flatMap((each) => ["--where", each!]);
    const as = format === "sql" ? ["--format", "SQL"] : [];
    return [cp(snapshot, "restored", "--table", `${table.schema ?? "public"}.${table.name}`, ...conditions, ...as)];
  });
}

function Result({ of, snapshot, namespace }: { of: Extract; snapshot: string; namespace: string | undefined }) {
  const { result } = of;
  const ended = of.status === "completed" || of.status === "failed";
  const commands = result && !of.isExpired && namespace ? copies(of, snapshot, namespace) : [];
  return (
    <>
      <h3>
        <Text of={contents(of)} />
      </h3>
      <p>
        <Mark
          tone={of.isExpired ? "quiet" : of.status === "failed" ? "bad" : of.status === "completed" ? "good" : "quiet"}
        >
          {of.isExpired ? "expired" : of.status}
        </Mark>{" "}
        {!ended && of.step && words(of.step)}{" "}
        {!ended && <Progress percent={of.percent} label="Progress of the extract" />}
        <Message of={of.errorMessage ?? of.message} />
      </p>
      <Facts
        of={[
          [
            "Requested",
            <>
              <Time at={of.createdAt} />
              <Maybe lead=", by " of={of.requestedBy} />
            </>,
          ],
          result && [
            "Result",
            `${count(result.files)} files, ${count(result.rows)} rows, ${bytes(result.bytes)}`,
          ],
          result && [PLACES[of.target], <Code of={result.key ?? result.folder ?? result.schema ?? ""} />],
          result && ["Removed", <Time at={of.expiresAt} none="not known" planned />],
          !!result?.sha256 && ["SHA-256", <ShortId of={result.sha256} />],
        ]}
      />
      {commands.length > 0 && <p>To your own machine, with your own keys of the S3 store:</p>}
      {commands.map((text) => (
        <Command key={text} text={text} />
      ))}
    </>
  );
}

const PLACES = { store: "Key in the store", claim: "Folder on the claim", database: "Schema of the database" };
const KINDS = { files: "files by path", attachments: "attachments of a record", tables: "rows of a table" };
const HOURS = { 1: "an hour", 24: "a day", 168: "a week" };
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
  hours: "24" as `${keyof typeof HOURS}`,
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
  const { kind, paths, model, record, name, table, column, operator, value, format, target, folder, hours } = wanted;
  const lines = paths.split("\n").map((line) => line.trim());
  const values = withoutValue(operator) ? [] : [value];
  const where = column.trim() ? [{ column: column.trim(), operator, values }] : [];
  const kept = { expiresAfterSeconds: Number(hours) * 3600 };
  const place = { ...(target === "claim" ? { target, folder: folder.trim() } : { target }), ...kept };
  switch (kind) {
    case "files":
      return { files: { paths: lines.filter(Boolean) }, ...place };
    case "attachments":
      return { attachments: { model: model.trim(), recordId: Number(record), name: name || null }, ...place };
    case "tables":
      return {
        tables: [{ name: table.trim(), where: where.length > 0 ? [{ allOf: where }] : null }],
        ...(format === "database" ? { target: format } : { format }),
        ...kept,
      };
  }
}

interface Place {
  of: Snapshot;
  environment: EnvironmentDetails | undefined;
  /** Names of tables. */
  known: string[];
  started(): void;
}

function Start({ of, environment, known, started }: Place) {
  const { api } = useParts();
  const has = { files: of.filestorePath !== null, attachments: of.filestorePath !== null, tables: of.dbDumpPath !== null };
  const kinds = Object.entries(KINDS).filter(([kind]) => has[kind as keyof typeof KINDS]);
  const [wanted, setWanted] = useState<Wanted>({ ...NOTHING, kind: has.files ? "files" : "tables" });
  const change = (part: Partial<Wanted>) => setWanted({ ...wanted, ...part });
  const action = useAction(
    (asked: Wanted, key: string) =>
      body(
        api.POST("/console/v1/environments/{environmentId}/snapshots/{snapshotId}/extracts", {
          params: { path: { environmentId: of.environmentId, snapshotId: of.id }, header: { "Idempotency-Key": key } },
          body: request(asked),
        }),
      ),
    started,
  );
  const field = (
    name: "model" | "record" | "name" | "table" | "column" | "value" | "folder",
    label: string,
    how: { required?: boolean; inputMode?: "numeric"; pattern?: string; list?: string } = {},
  ) => <Field label={label} value={wanted[name]} {...how} change={(typed) => change({ [name]: typed })} />;
  return (
    <Form submit={() => action.run(wanted)}>
      <Choice
        label="What"
        value={wanted.kind}
        of={Object.fromEntries(kinds) as typeof KINDS}
        change={(kind) => change({ kind })}
      />
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
          {environment?.conditions.some(({ reason }) => reason === "CapacityUnknown") && (
            <p class="note warn">
              Rows are loaded beside the live database, and its room is not known: set spec.database.capacity of the
              environment first.
            </p>
          )}
          {field("table", "Table, for example res_partner", { required: true, list: "tables" })}
          <datalist id="tables">
            {known.map((name) => (
              <option key={name} value={visible(name)} />
            ))}
          </datalist>
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
      <Choice label="Kept for" value={wanted.hours} of={HOURS} change={(hours) => change({ hours })} />
      <button type="submit" disabled={action.busy}>
        Extract
      </button>
      <Failure of={action} />
    </Form>
  );
}
