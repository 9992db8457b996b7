import assert from "node:assert/strict";
import { test } from "node:test";
import { problemOf } from "../src/api/problem";
import { changeOf } from "../src/api/changes";
import { backOff, EventParser } from "../src/api/sse";
import { address, parseRoute, type View } from "../src/route";
import { ago, bytes, command, duration, pace, pieces, relative, short, time, utc, visible, words } from "../src/text";

const ID = "497f6eca-6276-4993-bfeb-53cbbbba6f08";

test("every address leads to its view and back", () => {
  const views: View[] = [
    { view: "environments" },
    { view: "environment", environment: ID },
    { view: "snapshots", environment: ID },
    { view: "rollbacks", environment: ID },
    { view: "settings", environment: ID },
    { view: "log", environment: ID },
    { view: "snapshot", environment: ID, snapshot: ID },
    { view: "rollback-to", environment: ID, snapshot: ID },
    { view: "rollback", environment: ID, rollback: ID },
  ];
  for (const view of views) assert.deepEqual(parseRoute(address(view)), { ...view, query: {} });
  assert.deepEqual(parseRoute("/ui"), { view: "environments", query: {} });
});

test("filter and order are in the address, without what is empty", () => {
  const path = address({ view: "environments" }, { text: "a&b=c ?", state: "none,overdue", sort: "" });
  assert.equal(path, "/ui/?text=a%26b%3Dc+%3F&state=none%2Coverdue");
  const { query } = parseRoute("/ui/", path.slice("/ui/".length));
  assert.deepEqual(query, { text: "a&b=c ?", state: "none,overdue" });
  assert.equal(({} as { polluted?: unknown }).polluted, parseRoute("/ui/", "?__proto__=polluted").query.polluted);
});

test("what is no address of a view is none", () => {
  for (const path of [
    "x",
    "environments",
    "environments/x",
    `environments/${ID}/x`,
    `environments/${ID}/snapshots/x`,
    `environments/${ID}/snapshots/${ID}/delete`,
    `environments/${ID}/rollbacks/${ID}/undo`,
    `environments/${ID}/settings/${ID}`,
    `environments/${ID}/snapshots/${ID}/rollback/now`,
    `environments/${ID}/../${ID}`,
    "environments/<script>",
    "__proto__",
  ])
    assert.equal(parseRoute(`/ui/${path}`).view, "unknown", path);
});

test("events are the same however the stream is cut", () => {
  const text =
    'retry: 500\n\n: alive\n\nid: 7\r\nevent: rollback\r\ndata: {"a":\r\ndata: 1}\r\n\r\nid\ndata:x\r\rid: 8\nevent: lost\n\ndata: end\n\n';
  const expected = [
    { id: "7", event: "rollback", data: '{"a":\n1}' },
    { id: "", event: "message", data: "x" },
    { id: "8", event: "message", data: "end" },
  ];
  for (let size = 1; size <= text.length; size += 1) {
    const parser = new EventParser();
    const events = [];
    for (let at = 0; at < text.length; at += size) events.push(...parser.push(text.slice(at, at + size)));
    assert.deepEqual(events, expected, `pieces of ${size}`);
    assert.equal(parser.retry, 500);
  }
});

test("an incomplete event at the end of a connection is no event", () => {
  assert.deepEqual(new EventParser().push("id: 1\ndata: half\n"), []);
});

test("attempts grow apart, up to half a minute and a quarter", () => {
  assert.deepEqual(
    [0, 1, 2, 3, 4, 5, 99].map((n) => backOff(n, 1000, 0)),
    [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000],
  );
  assert.equal(backOff(99, 1000, 1), 37_500);
});

test("a change that the page does not know changes nothing", () => {
  assert.deepEqual(changeOf({ id: "1", event: "reset", data: "{}" }), { kind: "reset" });
  assert.equal(changeOf({ id: "1", event: "toString", data: "{}" }), null);
  const change = changeOf({
    id: "1",
    event: "snapshot",
    data: `{"id":"${ID}","kind":"reset","deleted":true,"object":null}`,
  });
  assert.equal(change?.kind, "snapshot");
});

test("a problem is a sentence, whoever answers", () => {
  const answer = (status: number, headers = {}) => new Response(null, { status, headers });
  const problem = problemOf(answer(409), { reason: "SnapshotPinned", detail: "It is pinned. Remove the pin." });
  assert.equal(problem.message, "It is pinned. Remove the pin.");
  assert.equal(problem.passes, false);
  const proxy = problemOf(answer(502, { "Retry-After": "7" }), "<html>");
  assert.match(proxy.message, /answers with 502\.$/);
  assert.equal(proxy.retryAfterSeconds, 7);
  assert.equal(proxy.passes, true);
  assert.match(problemOf(answer(404), { detail: {} }).message, /Check the address\.$/);
  assert.match(problemOf(answer(418), null).message, /Report/);
});

test("values as people read them", () => {
  assert.deepEqual([0, 1023, 1024, 4_617_089_843, 2 ** 60, null].map(bytes), [
    "0 B",
    "1023 B",
    "1.0 KiB",
    "4.3 GiB",
    "1024 PiB",
    "not known",
  ]);
  assert.deepEqual([0, 0.3, 8, 59, 60, 3605, 3660, 90_061, -4, null].map(duration), [
    "0 s",
    "0.3 s",
    "8 s",
    "59 s",
    "1 min",
    "1 h",
    "1 h 1 min",
    "1 d 1 h",
    "0 s",
    "not known",
  ]);
  assert.equal(relative("2026-03-01T12:05:00Z", Date.parse("2026-03-01T12:00:00Z")), "in 5 min");
  assert.equal(relative("2026-03-01T11:55:00Z", Date.parse("2026-03-01T12:00:00Z")), "5 min ago");
  assert.equal(utc("2026-07-01T12:00:00.4Z"), "2026-07-01 12:00:00 UTC");
  assert.equal(utc("soon"), "soon");
  assert.equal(short(ID), "497f6eca");
  assert.match(time("2026-07-01T12:00:00Z"), /1 Jul 2026, 14:00:00 (CEST|GMT\+2)/);
  assert.equal(time("soon"), "soon");
  assert.deepEqual(["RestoreDatabase", "keepDaily", "pre_rollback"].map(words), [
    "Restore database",
    "Keep daily",
    "Pre-rollback",
  ]);
});

test("what has happened is never ahead, also where the clock that wrote it is", () => {
  const now = Date.parse("2026-03-01T12:00:00Z");
  const said = ["12:00:23", "12:00:00", "11:59:59.4", "11:59:58.6", "11:57:33"].map((at) => ago(`2026-03-01T${at}Z`, now));
  assert.deepEqual(said, ["just now", "just now", "just now", "1 s ago", "2 min ago"]);
  assert.equal(ago("soon", now), "");
});

test("seconds tick below two minutes, later each 15 s", () => {
  const now = Date.parse("2026-03-01T12:00:00Z");
  const paces = ["11:58:01", "11:57:59", "12:01:59", "12:02:01"].map((at) => pace(`2026-03-01T${at}Z`, now));
  assert.deepEqual(paces, [1000, 15_000, 1000, 15_000]);
});

test("text that pretends to be other text is visible", () => {
  assert.equal(visible("a\u202eb\u0007\u200b\ufeff\r\u{e0041}"), "a\\u202eb\\u0007\\u200b\\ufeff\\u000d\\ue0041");
  assert.equal(visible("Zeile\n\tä 日本 👍"), "Zeile\n\tä 日本 👍");
});

test("a value in a command line is one word", () => {
  assert.equal(command("kubectl", "-n", "shop"), "kubectl -n shop");
  assert.equal(command("a", "x; rm -rf ~", "it's"), `a 'x; rm -rf ~' 'it'"'"'s'`);
});

test("the times of a message are local, and what stands between backticks is code", () => {
  assert.deepEqual(pieces("Set since 2026-03-01T12:00:00Z. Run `kubectl get pods` at 2026-03-01T12:00:05.5Z"), [
    { code: false, text: "Set since 1 Mar 2026, 13:00:00 CET. Run " },
    { code: true, text: "kubectl get pods" },
    { code: false, text: " at 1 Mar 2026, 13:00:05 CET" },
  ]);
  assert.deepEqual(pieces("`2026-03-01T12:00:00Z`"), [{ code: true, text: "2026-03-01T12:00:00Z" }]);
  for (const plain of ["2026-99-01T12:00:00Z", "one ` alone", "```sql\nSELECT 1\n```"])
    assert.deepEqual(pieces(plain), [{ code: false, text: plain }]);
});
