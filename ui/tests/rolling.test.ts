import assert from "node:assert/strict";
import { test } from "node:test";
import type { Compared, Extract } from "../src/api/types";
import { phrase, typed } from "../src/views/Confirm";
import { contents, copies } from "../src/views/Extracts";
import { rest, stages } from "../src/views/stages";
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
