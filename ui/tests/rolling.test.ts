import assert from "node:assert/strict";
import { test } from "node:test";
import type { Compared, Extract } from "../src/api/types";
import { phrase, typed } from "../src/views/Confirm";
import { contents, copies } from "../src/views/Extracts";
import { lastSwitch, namedByTime, setAside, type Switched } from "../src/views/aside";
import { rest, stages, stepName, stepState } from "../src/views/stages";
import { began } from "../src/views/start";

test("what is typed names one environment", () => {
  const shop = { name: "shop", namespace: "demo", type: "staging" as const };
  assert.equal(phrase(shop), "demo/shop");
  assert.equal(phrase({ ...shop, type: "production" }), "production demo/shop");
});

test("a key adds one character or deletes; what is pasted or filled in is no key", () => {
  const by = (inputType: string | undefined, before: string, after: string, isTrusted = true) =>
    typed(before, after, { isTrusted, ...(inputType !== undefined && { inputType }) });
  assert.ok(by("insertText", "demo/sho", "demo/shop"));
  assert.ok(by("insertText", "demo/hop", "demo/shop"), "in the middle");
  assert.ok(by("insertText", "aaa", "b"), "over a selection");
  assert.ok(by("insertCompositionText", "dem", "demo"), "a key of a phone");
  assert.ok(by("deleteWordBackward", "demo/shop", "demo/"));
  for (const how of ["insertFromPaste", "insertFromDrop", "insertReplacementText", "historyRedo", "deleteByDrag", undefined])
    assert.ok(!by(how, "demo/sho", "demo/shop"), how);
  assert.ok(!by("insertText", "", "demo/shop"), "a suggestion of a keyboard");
  assert.ok(!by("insertText", "demo/shoq", "demo/shop", false), "a program");
  assert.ok(!by("insertText", "xxxxxxxxx", "demo/shop"), "as long as what it replaces");
});

test("a request has started what was created since, not what had ended before", () => {
  const at = Date.parse("2026-03-01T12:00:00Z");
  const listed = (createdAt: string, completedAt: string | null = null) => ({
    id: "",
    snapshotId: null,
    undoesId: null,
    performedBy: null,
    status: "running" as const,
    createdAt,
    completedAt,
  });
  assert.ok(began(listed("2026-03-01T12:00:00.200Z"), at));
  assert.ok(began(listed("2026-03-01T11:59:59Z"), at), "clocks differ by a second");
  assert.ok(began(listed("2026-03-01T12:00:01Z", "2026-03-01T12:00:09Z"), at));
  assert.ok(!began(listed("2026-03-01T11:59:00Z"), at));
  assert.ok(!began(listed("2026-03-01T11:59:59Z", "2026-03-01T11:59:59.9Z"), at));
});

test("the stages of a rollback, and the rest of its time", () => {
  const states = (kind: "rollback" | "undo", stage: string | null) =>
    stages({ kind, stage }).map(({ name, state, down }) => `${name} ${state}${down ? " down" : ""}`);
  assert.deepEqual(states("rollback", "Drain"), [
    "Check it can run done",
    "Restore beside done",
    "Stop now down",
    "Switch next down",
    "Start next down",
    "Wait until ready next down",
  ]);
  assert.deepEqual(states("undo", "Prepare").slice(0, 2), ["Check it can run now", "Stop next down"]);
  assert.deepEqual(states("rollback", null)[0], "Check it can run now");
  assert.deepEqual(states("rollback", "BackDrain"), ["Switch back now down"]);
  const startedAt = "2026-03-01T12:00:00Z";
  assert.equal(rest({ startedAt, percent: 25 }, Date.parse(startedAt) + 10_000), 30);
  assert.equal(rest({ startedAt, percent: 0 }, Date.parse(startedAt) + 10_000), null);
});

test("a step has one name in every view, and does not wait after a failure", () => {
  const names = stages({ kind: "rollback", stage: null }).map(({ name }) => name);
  for (const step of ["Preflight", "Quiesce", "Switch", "Resume", "HealthCheck"]) assert.ok(names.includes(stepName(step)), step);
  assert.equal(stepName("NewerStep"), "Newer step");
  const state = (name: string, status: "failed" | "completed" | "running", state: "pending" | "done" = "pending") =>
    stepState({ name, state }, status);
  assert.equal(state("Switch", "failed"), "not run");
  assert.equal(state("Switch", "failed", "done"), "done");
  assert.equal(state("Cleanup", "failed"), "pending", "what is left is still removed");
  assert.equal(state("Switch", "running"), "pending");
  assert.equal(state("Cleanup", "completed"), "pending");
});

test("work that was set aside already is not counted again", () => {
  const at = "2026-03-01T12:00:00Z";
  const now = Date.parse("2026-03-01T18:00:00Z");
  const turn = (part: Partial<Switched>): Switched => ({
    id: "1",
    kind: "rollback",
    switchedAt: "2026-03-01T17:35:00Z",
    switchedBackAt: null,
    snapshotAt: at,
    ...part,
  });
  const said = (...turns: Switched[]) => setAside(at, lastSwitch(turns, at), now);
  assert.equal(said(), "6 h of work are set aside");
  const recent = /^The work since the rollback of 1 Mar 2026, 18:35:00 CET \(25 min\)/;
  assert.match(said(turn({})), new RegExp(`${recent.source} is set aside$`));
  assert.match(said(turn({}), turn({ switchedAt: "2026-03-01T17:00:00Z" })), recent, "the newest one");
  assert.match(
    said(turn({ snapshotAt: "2026-03-01T14:00:00Z" })),
    / and the work from 1 Mar 2026, 13:00:00 CET to 1 Mar 2026, 15:00:00 CET are set aside$/,
  );
  assert.match(said(turn({ snapshotAt: null })), / and newer work in the state that it restored are set aside$/);
  // What changed nothing that lasts, and what was before the state.
  for (const none of [{ switchedAt: null }, { switchedBackAt: "2026-03-01T17:36:00Z" }, { switchedAt: "2026-03-01T11:00:00Z" }])
    assert.equal(said(turn(none)), "6 h of work are set aside");
  assert.match(said(turn({ kind: "undo", snapshotAt: null, switchedAt: "2026-03-01T17:50:00Z" }), turn({})), /^Up to 6 h of work/);
});

test("an undo window names its rollback by its times", () => {
  const of = {
    deploymentId: "1",
    kind: "rollback" as const,
    switchedAt: "2026-03-01T17:35:00Z",
    snapshotAt: "2026-03-01T12:00:00Z",
    until: "2026-03-02T17:35:00Z",
    completedAt: "2026-03-01T17:36:00Z",
  };
  assert.equal(namedByTime(of), "The rollback of 1 Mar 2026, 18:35:00 CET to 1 Mar 2026, 13:00:00 CET");
  assert.equal(namedByTime({ ...of, kind: "undo", snapshotAt: null }), "The undo of 1 Mar 2026, 18:35:00 CET");
});

test("an extract is named by what it has, and copied by a command where there is one", () => {
  const extract = (part: Partial<Extract>) =>
    ({ files: null, attachments: null, tables: null, listing: null, format: null, ...part }) as Extract;
  const copied = (part: Partial<Extract>) => copies(extract(part), "shop-1", "demo");
  const files = { files: { paths: ["a/b c.pdf", "images"] } };
  assert.equal(contents(extract(files)), "a/b c.pdf, images");
  assert.deepEqual(copied(files), [
    "kubectl ocore cp 'shop-1:a/b c.pdf' . -n demo",
    "kubectl ocore cp shop-1:images . -n demo",
  ]);
  const attachments = { attachments: { model: "res.partner", recordId: 7, name: null } };
  assert.equal(contents(extract(attachments)), "attachments of res.partner 7");
  assert.deepEqual(copied(attachments), ["kubectl ocore cp shop-1:@res.partner/7 restored -n demo"]);
  const rows = (operator: Compared["operator"], values: string[] | null) => ({
    tables: [{ schema: null, name: "res_partner", where: [{ allOf: [{ column: "id", operator, values }] }] }],
  });
  assert.deepEqual(copied({ ...rows("AtMost", ["7"]), format: "sql" }), [
    "kubectl ocore cp shop-1 restored --table public.res_partner --where 'id<=7' --format SQL -n demo",
  ]);
  assert.deepEqual(copied(rows("In", ["7", "8"])), [], "it has no words for this, and must not copy every row");
  assert.deepEqual(copied(rows("IsNull", null)), []);
});
