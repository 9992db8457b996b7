import assert from "node:assert/strict";
import { test } from "node:test";
import type { RollbackDetails, Snapshot } from "../src/api/types";
import { rowAt, topOf } from "../src/parts/window";
import { asked } from "../src/views/Environments";
import { request } from "../src/views/Extracts";
import { probeState } from "../src/views/Environment";
import { merged } from "../src/views/Log";
import { ending, limit, outcome } from "../src/views/stages";
import { changes, tried } from "../src/views/Settings";
import { keeps } from "../src/views/SnapshotList";
import { undeletable } from "../src/views/Snapshot";
import { standing, taken, turned, verdict } from "../src/views/verdict";

const snapshot = (part: Partial<Snapshot>) =>
  ({
    status: "completed",
    isFullFilestore: true,
    isPinned: false,
    dependents: 0,
    keptBy: null,
    deletedNext: false,
    ...part,
  }) as Snapshot;

test("what keeps a snapshot", () => {
  assert.equal(
    keeps(snapshot({ isPinned: true, dependents: 2, keptBy: ["keepDaily"] })),
    "kept by a pin, 2 differential snapshots that need it, keep daily",
  );
  assert.equal(keeps(snapshot({ keptBy: [], deletedNext: true })), "kept by nothing: deleted next");
  assert.equal(keeps(snapshot({})), "kept: no rule deletes it");
});

test("a log that goes on ends where one of its lists ends", () => {
  const entry = (day: number) => ({
    id: String(day),
    at: `2026-03-0${day}T00:00:00Z`,
    kind: "snapshot" as const,
    what: "",
    by: null,
    status: "",
    verdict: standing("completed"),
    message: null,
    place: "",
  });
  const two = merged([
    { complete: true, entries: [entry(9), entry(1)] },
    { complete: false, entries: [entry(8), entry(4)] },
  ]);
  assert.deepEqual(
    two.entries.map(({ id }) => id),
    ["9", "8", "4"],
  );
  assert.equal(two.complete, false);
  assert.deepEqual(merged([{ complete: true, entries: [entry(1)] }]).entries.length, 1);
});

test("the outcome of a rollback is one sentence", () => {
  const of = (part: Partial<RollbackDetails>) =>
    outcome({
      kind: "rollback",
      status: "completed",
      environmentName: "shop",
      snapshotName: "shop-1",
      snapshotAt: null,
      position: "new",
      switchedBackAt: null,
      errorMessage: null,
      message: "",
      downtime: { seconds: 8 },
      ...part,
    } as RollbackDetails);
  assert.equal(of({}), "`shop` has the data of snapshot `shop-1`. It was unavailable for 8 s.");
  assert.match(of({ snapshotAt: "2026-03-01T11:00:00Z" }), /^`shop` has the state of 1 Mar 2026, 12:00:00 CET\. It was/);
  assert.equal(
    of({ kind: "undo" }),
    "The rollback is undone: `shop` has the data from before it. It was unavailable for 8 s.",
  );
  assert.match(of({ switchedBackAt: "2026-03-01T00:00:00Z" }), /^`shop` was switched back at 1 Mar 2026/);
  assert.equal(
    of({ status: "failed", position: "old", errorMessage: "The disk is full. Free space." }),
    "The disk is full. Free space. `shop` has the data from before. It was unavailable for 8 s.",
  );
  assert.equal(of({ status: "failed", position: "new", errorMessage: "Not ready." }), "Not ready.");
  assert.equal(
    of({
      status: "failed",
      position: null,
      errorMessage: "Unknown.",
      downtime: { seconds: null } as RollbackDetails["downtime"],
    }),
    "Unknown.",
  );
  assert.equal(of({ status: "running" }), "");
  const undone = { undoneById: "u" };
  assert.match(of(undone), /^`shop` had the data of snapshot `shop-1`, until that was undone\./);
  assert.match(of({ ...undone, kind: "undo" }), /^The rollback was undone\. That undo was undone later\./);
});

test("a rollback that worked is green only where all that was required is proven", () => {
  const of = (part: object) => ending({ status: "completed", undoneById: null, recoveryEvidence: null, ...part } as RollbackDetails);
  const evidence = (canWriteCleanSuccess: boolean, whyNotGreen: string[]) => ({
    recoveryEvidence: { canWriteCleanSuccess, whyNotGreen },
  });
  assert.deepEqual(of(evidence(true, [])), { tone: "good", rest: [] });
  const rest = ["Step SafetySnapshot is not done (Pending)."];
  assert.deepEqual(of(evidence(false, rest)), { tone: "warn", rest });
  assert.equal(of({}).tone, "warn");
  assert.equal(of({ status: "failed", ...evidence(false, rest) }).tone, "bad");
});

test("an operation and a snapshot have one verdict, in every view", () => {
  const clean = { canWriteCleanSuccess: true, whyNotGreen: [] };
  const base = { status: "completed", percent: 100, switchedBackAt: null, undoneById: null, recoveryEvidence: clean };
  const of = (part: object) => turned({ ...base, ...part } as never);
  assert.deepEqual(of({}), { tone: "good", words: "completed, all proven" });
  assert.deepEqual(of({ recoveryEvidence: null }), { tone: "warn", words: "completed, not all proven" });
  assert.deepEqual(of({ undoneById: "u", recoveryEvidence: null }), { tone: "quiet", words: "completed, then undone" });
  assert.deepEqual(of({ switchedBackAt: "x" }), { tone: "warn", words: "completed, then switched back" });
  assert.deepEqual(of({ status: "failed" }), { tone: "bad", words: "failed" });
  assert.deepEqual(of({ status: "running", percent: 40 }), { tone: "active", words: "running 40 %" });
  const safety = { status: "completed", isSafety: true, verified: null, restoreTest: null } as Snapshot;
  assert.deepEqual(taken(safety), { tone: "quiet", sign: "safety", words: "safety snapshot, complete" });
  assert.equal(taken({ ...safety, restoreTest: { result: "failed" } } as Snapshot).tone, "bad");
  const lacking = { status: "completed", isIncomplete: true, restoreTest: { result: "succeeded" } } as Snapshot;
  assert.deepEqual(taken(lacking), { tone: "warn", words: "completed, may lack data" });
  assert.deepEqual(standing("running"), { tone: "active", words: "running" });
});

test("what happens if a rollback hangs", () => {
  const deadline = "2026-03-01T11:00:00Z";
  const of = (status: RollbackDetails["status"], stage: string | null, at: string | null = deadline) =>
    limit({ status, stage, deadline: at });
  assert.match(of("pending", null, null), /^It waits for its start\./);
  const before = "If it has not switched by 1 Mar 2026, 12:00:00 CET, it ends as failed and changes nothing.";
  assert.equal(of("running", "Restore"), before);
  assert.equal(of("running", "Drain"), before);
  assert.equal(of("running", "Restore", null), "If it has not switched within its time, it ends as failed and changes nothing.");
  for (const stage of ["Switch", "HealthCheck"])
    assert.match(of("running", stage), /^If it hangs, it ends by 1 Mar 2026, 12:00:00 CET at the latest\. .* automatically/);
  assert.match(of("running", "Switch", null), /at the limit of its stage/);
  assert.match(of("running", "BackJob"), /^It returns to the data from before, and ends as failed by 1 Mar/);
  assert.match(of("running", "Abort"), /The environment is unchanged\.$/);
});

test("a probe is answered by one that began at its time or later, or by what works, and is late after 2 minutes", () => {
  const asked = "2026-03-01T12:00:05Z";
  const at = (seconds: number) => Date.parse("2026-03-01T12:00:00Z") + seconds * 1000;
  const bad = { ready: true, rollbackReady: false, probedAt: "2026-03-01T12:00:04Z" };
  assert.equal(probeState(bad, asked, at(6)), "waiting");
  assert.equal(probeState({ ...bad, probedAt: null }, asked, at(124)), "waiting");
  assert.equal(probeState(bad, asked, at(125)), "late");
  for (const probedAt of [asked, "2026-03-01T12:00:05.5Z"])
    assert.equal(probeState({ ...bad, probedAt }, asked, at(125)), "answered");
  assert.equal(probeState({ ...bad, rollbackReady: true }, asked, at(6)), "answered");
  assert.equal(probeState({ ...bad, rollbackReady: null }, asked, at(6)), "waiting");
});

test("only what differs is saved", () => {
  const before = {
    autoEnabled: true,
    retentionDays: "30",
    maxPinned: "0",
    timeoutSeconds: "3600",
    failurePolicy: "block" as const,
  };
  assert.deepEqual(changes(before, before), {});
  assert.deepEqual(changes(before, { ...before, retentionDays: "0", failurePolicy: "continue" }), {
    retentionDays: 0,
    failurePolicy: "continue",
  });
  assert.deepEqual(changes(before, { ...before, retentionDays: "" }), {}, "no days are not 0 days");
});

test("rules that differ are tried, if all of them are values of the REST API", () => {
  const before = { retentionDays: "", keepLast: "0", keepDaily: "14" };
  assert.deepEqual(tried(before, before), {});
  assert.deepEqual(tried(before, { ...before, keepLast: "7", retentionDays: "0" }), { keepLast: 7, retentionDays: 0 });
  for (const wrong of ["", "-1", "1.5", "1e3", "1001", "x"]) {
    assert.equal(tried(before, { ...before, keepLast: "7", keepDaily: wrong }), null);
  }
  assert.deepEqual(tried(before, { ...before, retentionDays: "1001" }), { retentionDays: 1001 });
});

test("an extract asks for files, attachments or rows", () => {
  const wanted = {
    kind: "files" as const,
    paths: " a/b \n\nc",
    model: "res.partner",
    record: "7",
    name: "",
    table: " res_partner",
    column: "",
    operator: "LessThan" as const,
    value: "7",
    format: "csv" as const,
    target: "store" as const,
    folder: "x",
    hours: "24" as const,
  };
  const kept = { expiresAfterSeconds: 86_400 };
  assert.deepEqual(request(wanted), { files: { paths: ["a/b", "c"] }, target: "store", ...kept });
  assert.deepEqual(request({ ...wanted, kind: "attachments", target: "claim" }), {
    attachments: { model: "res.partner", recordId: 7, name: null },
    target: "claim",
    folder: "x",
    ...kept,
  });
  assert.deepEqual(request({ ...wanted, kind: "tables" }), {
    tables: [{ name: "res_partner", where: null }],
    format: "csv",
    ...kept,
  });
  const compared = (operator: "LessThan" | "IsNull") =>
    request({ ...wanted, kind: "tables", column: " id", operator, format: "database" });
  const asked = (operator: string, values: string[]) => ({
    tables: [{ name: "res_partner", where: [{ allOf: [{ column: "id", operator, values }] }] }],
    target: "database",
    ...kept,
  });
  assert.deepEqual(compared("LessThan"), asked("LessThan", ["7"]));
  assert.deepEqual(compared("IsNull"), asked("IsNull", []));
});

test("an environment is safe or not in one sentence, and a worse state hides nothing", () => {
  const good = {} as NonNullable<Parameters<typeof verdict>[0]["lastGood"]>;
  const of = (part: Partial<Parameters<typeof verdict>[0]>) =>
    verdict({
      ...{ state: "fine", rollbackReady: true, lastGood: good, expectedEverySeconds: 3600, operation: null, warnings: [] },
      ...part,
    });
  assert.deepEqual([of({}).tone, of({}).answer], ["good", "Safe"]);
  assert.equal(of({ warnings: ["a", "b"] }).answer, "Safe, with 2 warnings");
  assert.match(of({ warnings: ["a"], expectedEverySeconds: null }).answer, /^Safe up to .*, with a warning$/);
  assert.equal(of({ expectedEverySeconds: null }).tone, "quiet");
  assert.match(of({ state: "none", lastGood: null }).answer, /^Not safe: there is no good state/);
  assert.match(of({ state: "notReady", lastGood: null }).advice, /attention\. There is no good state/);
  assert.match(of({ state: "overdue", rollbackReady: false }).advice, /A rollback would not work either\.$/);
  assert.doesNotMatch(of({ state: "rollbackNotReady", rollbackReady: false }).advice, /either/);
  for (const state of ["none", "overdue"] as const) {
    assert.match(of({ state }).answer, /^Not safe/);
    assert.match(of({ state, operation: { kind: "snapshot" } as never }).advice, /^A snapshot runs/);
  }
});

test("a last good state that may lack data is not safe without a reserve", () => {
  const lastGood = { proof: "incomplete" } as NonNullable<Parameters<typeof verdict>[0]["lastGood"]>;
  const of = (part: Partial<Parameters<typeof verdict>[0]>) =>
    verdict({
      ...{ state: "fine", rollbackReady: true, lastGood, expectedEverySeconds: 3600, operation: null, warnings: [] },
      ...part,
    });
  for (const expectedEverySeconds of [3600, null])
    assert.deepEqual([of({ expectedEverySeconds }).tone, of({ expectedEverySeconds }).answer], ["warn", "The last good state may lack data"]);
  assert.equal(of({ warnings: ["a"] }).answer, "The last good state may lack data, with a warning");
  assert.match(of({ state: "suspended" }).advice, /The last good state may lack data\.$/);
});

test("why a snapshot cannot be deleted is known before", () => {
  const of = (part: object) => undeletable({ isPinned: false, status: "completed", dependents: 0, ...part });
  assert.equal(of({}), null);
  assert.equal(of({ status: "failed" }), null);
  assert.match(of({ isPinned: true })!, /^It is pinned/);
  assert.match(of({ status: "running" })!, /^It has not ended/);
  assert.match(of({ dependents: 2 })!, /^2 differential snapshots need it/);
});

test("an address asks for what the list has, and for nothing else", () => {
  assert.deepEqual(asked({}), { text: "", type: "", state: "", sort: "state" });
  const query = { text: "x".repeat(200), type: "production", state: "running", sort: "-age", open: "y" };
  assert.deepEqual(asked(query), { text: "x".repeat(100), type: "production", state: "running", sort: "-age" });
  assert.equal(asked({ state: "overdue" }).state, "overdue");
  for (const wrong of ["toString", "__proto__", "overdue,none", "-", "--age"])
    assert.deepEqual(asked({ type: wrong, state: wrong, sort: wrong }), asked({}));
});

test("a row below details is found at its place", () => {
  const opened = { index: 2, height: 100 };
  assert.deepEqual([0, 2, 3, 9].map((index) => topOf(index, 10, opened)), [0, 20, 130, 190]);
  assert.deepEqual([0, 29, 30, 129, 130, 195].map((top) => rowAt(top, 10, opened)), [0, 2, 3, 3, 3, 9]);
  assert.deepEqual([0, 35].map((top) => rowAt(top, 10, undefined)), [0, 3]);
});
