import assert from "node:assert/strict";
import { test } from "node:test";
import type { RollbackDetails, Snapshot } from "../src/api/types";
import { request } from "../src/views/Extracts";
import { probeState } from "../src/views/Environment";
import { points } from "../src/views/Growth";
import { merged } from "../src/views/Log";
import { outcome } from "../src/views/Rollback";
import { changes, tried } from "../src/views/Settings";
import { days, keeps, kind, midnight } from "../src/views/Timeline";

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

test("a day of the reader has the snapshots of that day, also when clocks change", () => {
  // In Berlin 29 March 2026 has 23 hours.
  const to = new Date("2026-03-31T00:00:00+02:00");
  const from = midnight(to.getTime(), -3);
  const taken = [
    "2026-03-28T00:00:00+01:00",
    "2026-03-28T23:59:59+01:00",
    "2026-03-29T23:30:00+02:00",
    "2026-03-30T00:00:00+02:00",
  ];
  const found = days(
    taken.map((createdAt) => snapshot({ createdAt })),
    from,
    to,
  );
  assert.deepEqual(
    found.map(({ start }) => start.getDate()),
    [30, 29, 28],
  );
  assert.deepEqual(
    found.map(({ snapshots }) => snapshots.length),
    [1, 1, 2],
  );
});

test("what keeps a snapshot", () => {
  assert.equal(
    keeps(snapshot({ isPinned: true, dependents: 2, keptBy: ["keepDaily"] })),
    "kept by a pin, 2 differential snapshots that need it, keep daily",
  );
  assert.equal(keeps(snapshot({ keptBy: [], deletedNext: true })), "kept by nothing: deleted next");
  assert.equal(keeps(snapshot({})), "no rule is about it");
  assert.deepEqual(
    [snapshot({ status: "failed" }), snapshot({ status: "running" }), snapshot({ isFullFilestore: false })].map(kind),
    ["failed", "running", "differential"],
  );
});

test("the plot has complete snapshots only, the oldest first", () => {
  const plot = points([
    snapshot({ createdAt: "2026-03-02T00:00:00Z", dbSizeBytes: 3, filestoreSizeBytes: null, totalSizeBytes: 1 }),
    snapshot({ createdAt: "2026-03-01T00:00:00Z", dbSizeBytes: 1, filestoreSizeBytes: 1, totalSizeBytes: 1 }),
    snapshot({ createdAt: "2026-03-03T00:00:00Z", status: "failed", totalSizeBytes: 1 }),
    snapshot({ createdAt: "2026-03-04T00:00:00Z", totalSizeBytes: null }),
  ]);
  assert.deepEqual(
    plot.map(({ live }) => live),
    [2, 3],
  );
});

test("a log that goes on ends where one of its lists ends", () => {
  const entry = (day: number) => ({
    id: String(day),
    at: `2026-03-0${day}T00:00:00Z`,
    what: "",
    by: null,
    status: "",
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
      position: "new",
      switchedBackAt: null,
      errorMessage: null,
      message: "",
      downtime: { seconds: 8 },
      ...part,
    } as RollbackDetails);
  assert.equal(of({}), "shop has the data of snapshot shop-1. It was unavailable for 8 s.");
  assert.equal(
    of({ kind: "undo" }),
    "The rollback is undone: shop has the data from before it. It was unavailable for 8 s.",
  );
  assert.match(of({ switchedBackAt: "2026-03-01T00:00:00Z" }), /^shop was switched back at 1 Mar 2026/);
  assert.equal(
    of({ status: "failed", position: "old", errorMessage: "The disk is full. Free space." }),
    "The disk is full. Free space. shop has the data from before. It was unavailable for 8 s.",
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
  };
  assert.deepEqual(request(wanted), { files: { paths: ["a/b", "c"] }, target: "store" });
  assert.deepEqual(request({ ...wanted, kind: "attachments", target: "claim" }), {
    attachments: { model: "res.partner", recordId: 7, name: null },
    target: "claim",
    folder: "x",
  });
  assert.deepEqual(request({ ...wanted, kind: "tables" }), {
    tables: [{ name: "res_partner", where: null }],
    format: "csv",
  });
  const compared = (operator: "LessThan" | "IsNull") =>
    request({ ...wanted, kind: "tables", column: " id", operator, format: "database" });
  const asked = (operator: string, values: string[]) => ({
    tables: [{ name: "res_partner", where: [{ allOf: [{ column: "id", operator, values }] }] }],
    target: "database",
  });
  assert.deepEqual(compared("LessThan"), asked("LessThan", ["7"]));
  assert.deepEqual(compared("IsNull"), asked("IsNull", []));
});
