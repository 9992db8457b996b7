// Run in the time zone Europe/Berlin (tests/unit/api/test_page_parts.py).
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Snapshot } from "../src/api/types";
import {
  around,
  clicked,
  deployments,
  gaps,
  kind,
  labels,
  lastGoodBefore,
  marks,
  moved,
  range,
  sized,
  stepped,
  ticks,
  type Turn,
} from "../src/views/axis";
import { nameOf } from "../src/views/Drawing";
import { placeOf } from "../src/views/TimeAxis";

const HOUR = 3_600_000;
const at = (text: string) => Date.parse(text);
const iso = (moment: number) => new Date(moment).toISOString();

let made = 0;
const snapshot = (when: string, part: Partial<Snapshot> = {}) =>
  ({
    id: `s${(made += 1)}`,
    createdAt: when,
    consistentAt: when,
    status: "completed",
    isFullFilestore: true,
    isSafety: false,
    trigger: "scheduled",
    image: "1",
    restoreTest: null,
    ...part,
  }) as Snapshot;
const turn = (when: string, kind: Turn["kind"] = "rollback"): Turn => ({
  id: `${kind} ${when}`,
  kind,
  createdAt: when,
  switchedAt: when,
  status: "completed",
  percent: 100,
  switchedBackAt: null,
  undoneById: null,
  recoveryEvidence: null,
});
const kinds = (all: { kind: string }[]) => all.map(({ kind }) => kind);

test("a day on the axis has 23 hours in spring and 25 in autumn, and its ticks say so", () => {
  const of = (end: string) => range("day", at(end), at("2026-12-01T00:00:00Z"));
  const hours = ({ from, to }: { from: number; to: number }) => (to - from) / HOUR;
  const spring = of("2026-03-29T22:00:00Z");
  const autumn = of("2026-10-25T23:00:00Z");
  assert.deepEqual([spring, autumn, of("2026-06-02T22:00:00Z")].map(hours), [23, 25, 24]);
  assert.deepEqual(
    ticks(spring, 24)
      .slice(0, 4)
      .map(({ label }) => label.replace("GMT+2", "CEST")),
    ["Sun 29 Mar", "01:00", "03:00 CEST", "04:00"],
  );
  assert.deepEqual(
    ticks(autumn, 24)
      .slice(1, 5)
      .map(({ label }) => label.replace("GMT+1", "CET")),
    ["01:00", "02:00", "02:00 CET", "03:00"],
  );
  for (const { from, to } of [spring, autumn]) {
    const all = ticks({ from, to }, 8);
    assert.ok(all.length >= 5 && all.length <= 16, String(all.length));
    assert.deepEqual(all.map(({ midnight }) => midnight).filter(Boolean).length, 2, "both ends are midnights");
  }
});

test("a range ends now by the server's clock, never after it, and is the same for some minutes", () => {
  const now = at("2026-03-01T12:01:00Z");
  assert.equal(iso(range("day", null, now).to), "2026-03-01T12:05:00.000Z");
  assert.deepEqual(range("day", null, now), range("day", null, now + 60_000));
  assert.deepEqual(range("week", at("2030-01-01T00:00:00Z"), now), range("week", null, now));
  const earlier = moved("day", range("day", null, now), -1, now)!;
  assert.equal(iso(earlier), "2026-02-28T12:05:00.000Z");
  assert.equal(moved("day", range("day", earlier, now), 1, now), null);
  assert.equal(around("week", now - HOUR, now), null);
  assert.equal(iso(around("day", now - 24 * HOUR, now)!), "2026-03-01T00:01:00.000Z");
});

test("a mark has its kind", () => {
  const of = (part: Partial<Snapshot>) => kind(snapshot("2026-03-01T00:00:00Z", part));
  assert.deepEqual(
    [
      {},
      { isFullFilestore: false },
      { status: "failed" as const },
      { status: "pending" as const },
      { isSafety: true },
    ].map(of),
    ["full", "differential", "failed", "running", "safety"],
  );
  assert.equal(of({ isSafety: true, status: "failed" }), "failed");
});

test("a deployment is where the image changed, or where a snapshot was taken before one", () => {
  const changed = marks([snapshot("2026-03-01T01:00:00Z"), snapshot("2026-03-01T02:00:00Z", { image: "2" })], []);
  assert.deepEqual(kinds(changed), ["full", "deployment", "full"]);
  assert.deepEqual(changed[1]!.images, ["1", "2"]);
  const before = snapshot("2026-03-01T01:00:00Z", { trigger: "deployment" });
  const after = snapshot("2026-03-01T02:00:00Z", { image: "2" });
  const triggered = marks([after, before], []);
  assert.deepEqual(kinds(triggered), ["full", "deployment", "full"], "one deployment is one mark");
  assert.equal(triggered[1]!.at, at("2026-03-01T01:00:00Z"));
  assert.deepEqual(triggered[1]!.images, ["1", "2"]);
  const blocked = snapshot("2026-03-01T01:00:00Z", { trigger: "deployment", status: "failed" });
  assert.deepEqual(kinds(marks([blocked, snapshot("2026-03-01T02:00:00Z")], [])), ["failed", "full"]);
  assert.deepEqual(kinds(marks([blocked, after], [])), ["failed", "deployment", "full"]);
  const unknown = snapshot("2026-03-01T01:30:00Z", { image: null });
  assert.deepEqual(kinds(marks([snapshot("2026-03-01T01:00:00Z"), unknown, snapshot("2026-03-01T02:00:00Z")], [])), [
    "full",
    "full",
    "full",
  ]);
});

test("a failed rollback has a mark of its own, and nothing stands after now", () => {
  const failed = { ...turn("2026-03-01T02:00:00Z"), status: "failed" as const };
  const all = marks([snapshot("2026-03-01T05:00:00Z")], [failed], at("2026-03-01T03:00:00Z"));
  assert.deepEqual(kinds(all), ["failedTurn", "full"]);
  assert.equal(all[1]!.at, at("2026-03-01T03:00:00Z"));
});

test("an address names a place on the axis, or the newest one", () => {
  const now = at("2026-03-10T12:00:00Z");
  const end = (query: Record<string, string>) => placeOf(query, now).end;
  assert.deepEqual(placeOf({}, now), { zoom: "day", end: null, chosen: null });
  assert.equal(placeOf({ zoom: "__proto__" }, now).zoom, "day");
  assert.deepEqual(placeOf({ zoom: "week", at: "2026-03-01T00:00:00.000Z", mark: "2026-02-27T00:00:00Z~s1" }, now), {
    zoom: "week",
    end: at("2026-03-01T00:00:00Z"),
    chosen: "s1",
  });
  assert.equal(end({ mark: "2026-03-10T11:00:00Z~s1" }), null);
  assert.equal(iso(end({ mark: "2026-03-01T12:00:00Z~s1" })!), "2026-03-02T00:00:00.000Z");
  for (const broken of [
    "x",
    "-271821-04-20T00:00:00Z",
    "+275760-09-13T00:00:00Z",
    "1e99",
    "2026-99-99",
    "2099-01-01T00:00:00Z",
  ]) {
    assert.equal(end({ at: broken }), null, broken);
    assert.equal(end({ mark: `${broken}~s1` }), null, broken);
  }
});

test("a deployment has the time that is known of it, and the last good state before it", () => {
  const all = marks(
    [
      snapshot("2026-03-01T01:00:00Z"),
      snapshot("2026-03-01T02:00:00Z", { image: "2" }),
      snapshot("2026-03-01T03:00:00Z", { image: "2", status: "failed" }),
      snapshot("2026-03-01T04:00:00Z", { image: "2", trigger: "deployment" }),
    ],
    [],
  );
  const day = { from: at("2026-03-01T00:00:00Z"), to: at("2026-03-02T00:00:00Z") };
  const found = deployments(all, day);
  const hour = (moment: number | undefined) => (moment === undefined ? null : iso(moment).slice(11, 13));
  assert.deepEqual(
    found.map(({ deployment, before }) => [hour(deployment.since), hour(deployment.at), hour(before?.at)]),
    [[null, "04", "04"], ["01", "02", "01"]],
    "the newest first",
  );
  assert.equal(deployments(all, { ...day, from: at("2026-03-01T03:30:00Z") }).length, 1);
  assert.deepEqual(deployments([], day), []);
  const unproven = marks([snapshot("2026-03-01T01:00:00Z", { isSafety: true, trigger: "deployment" })], []);
  assert.equal(deployments(unproven, day)[0]!.before, undefined);
});

test("a deployment's mark has its time; of those at one place the newest counts the others", () => {
  const deployed = (...times: string[]) =>
    marks(times.map((time) => snapshot(`2026-03-01T${time}:00Z`, { trigger: "deployment" })), []);
  const of = (all: ReturnType<typeof marks>, zoom: "day" | "week", width: number, x: (at: number) => number) =>
    labels(all, zoom, width, x).map(({ x, text }) => `${text} at ${Math.round(x)}`);
  const hours = (each: number) => (moment: number) => ((moment - at("2026-03-01T00:00:00Z")) / HOUR) * each;
  const all = deployed("01:00", "13:02", "13:30", "14:00");
  assert.deepEqual(of(all, "day", 2400, hours(120)), ["15:00, 1 more at 1676", "14:02 at 1560", "02:00 at 116"]);
  assert.deepEqual(of(all, "day", 240, hours(10)), ["15:00, 2 more at 135", "02:00 at 6"]);
  assert.deepEqual(of(all, "week", 240, hours(1)), ["1 Mar 15:00, 3 more at 10"]);
  assert.deepEqual(of(deployed("23:59"), "day", 240, hours(10)), ["00:59 at 135"], "it stays within the axis");
  const between = marks([snapshot("2026-03-01T01:00:00Z"), snapshot("2026-03-01T02:00:00Z", { image: "2" })], []);
  assert.deepEqual(of(between, "day", 2400, hours(100)), ["by 03:00 at 196"]);
});

test("an image that a rollback brought is no deployment", () => {
  const all = marks(
    [snapshot("2026-03-01T01:00:00Z", { image: "2" }), snapshot("2026-03-01T03:00:00Z", { image: "1" })],
    [turn("2026-03-01T02:00:00Z"), turn("2026-03-01T02:30:00Z", "undo")],
  );
  assert.deepEqual(kinds(all), ["full", "rollback", "undo", "full"]);
});

test("the last good state before a mark", () => {
  const good = snapshot("2026-03-01T01:00:00Z", { trigger: "deployment" });
  const failed = snapshot("2026-03-01T02:00:00Z", { status: "failed" });
  const damaged = snapshot("2026-03-01T02:30:00Z", { restoreTest: { result: "failed" } as Snapshot["restoreTest"] });
  const safety = snapshot("2026-03-01T03:00:00Z", { isSafety: true });
  const all = marks([good, failed, damaged, safety], [turn("2026-03-01T03:00:00Z")]);
  assert.deepEqual(kinds(all), ["full", "deployment", "failed", "failed", "safety", "rollback"]);
  for (const mark of all.slice(1)) assert.equal(lastGoodBefore(all, mark.id)?.id, good.id, mark.kind);
  assert.equal(lastGoodBefore(all, good.id), undefined);
  assert.equal(lastGoodBefore(all, "unknown"), undefined);
});

test("a failed snapshot has no size on the line", () => {
  const full = snapshot("2026-03-01T01:00:00Z", { totalSizeBytes: 5, trigger: "deployment" });
  const failed = snapshot("2026-03-01T02:00:00Z", { status: "failed", totalSizeBytes: 0 });
  assert.deepEqual(kinds(sized(marks([full, failed], []))), ["full"]);
});

test("a gap is more than half a distance too long, or the end of one that is overdue", () => {
  const all = marks(
    ["00:00", "01:00", "02:20", "05:00"].map((time) => snapshot(`2026-03-01T${time}:00Z`)),
    [],
  );
  const to = at("2026-03-01T09:00:00Z");
  const found = (...how: [number | null, number | null]) =>
    gaps(all, ...how, to).map(({ from, to }) => `${iso(from).slice(11, 16)}-${iso(to).slice(11, 16)}`);
  assert.deepEqual(found(3600, null), ["02:20-05:00"]);
  assert.deepEqual(found(3600, at("2026-03-01T06:30:00Z")), ["02:20-05:00", "05:00-09:00"]);
  assert.deepEqual(found(null, null), []);
  assert.deepEqual(gaps([], 3600, at("2026-03-01T06:30:00Z"), to), [{ from: at("2026-03-01T06:30:00Z"), to }]);
});

test("each of 2,000 marks is reached, also two of one second", () => {
  const moments = Array.from({ length: 2000 }, (_, n) => iso(at("2026-03-01T00:00:00Z") + Math.floor(n / 2) * 60_000));
  const all = marks(
    moments.map((moment) => snapshot(moment)),
    [],
  );
  const reached = new Set<string>();
  let chosen: string | null = all[0]!.id;
  for (let step = 0; step < all.length; step += 1) {
    reached.add(chosen!);
    chosen = stepped(all, chosen, "ArrowRight")!.id;
  }
  assert.equal(reached.size, 2000);
  assert.equal(stepped(all, chosen, "ArrowRight")!.id, chosen, "the last one is the end");
  assert.equal(stepped(all, chosen, "Home")!.id, all[0]!.id);
  assert.equal(stepped(all, null, "ArrowLeft")!.id, all.at(-1)!.id, "the newest one is first");
  assert.equal(stepped(all, chosen, "x"), undefined);
  const two = all.slice(0, 2);
  const first = clicked(two, null, 5, () => 5)!;
  const second = clicked(two, first.id, 5, () => 5)!;
  assert.notEqual(first.id, second.id);
  assert.equal(clicked(two, second.id, 5, () => 5)!.id, first.id);
  assert.equal(
    clicked(two, null, 50, () => 5),
    undefined,
    "far from every mark",
  );
  assert.equal(
    clicked([], null, 5, () => 5),
    undefined,
  );
});

test("a mark of a kind with two meanings is named by the one that it has", () => {
  const [at, noTurn] = ["2026-03-01T12:00:00Z", [] as Turn[]];
  const named = (part: Partial<Snapshot>) => marks([snapshot(at, part)], noTurn).map(nameOf);
  assert.deepEqual(named({ status: "failed" }), ["Failed snapshot"]);
  const restoreTest = { result: "failed" } as Snapshot["restoreTest"];
  assert.deepEqual(named({ restoreTest }), ["Snapshot whose restore test failed"]);
  const turned = (kind: Turn["kind"]) =>
    marks([], [{ ...turn(at, kind), switchedAt: null, status: "failed" }]).map(nameOf);
  assert.deepEqual([...turned("rollback"), ...turned("undo")], ["Failed rollback", "Failed undo"]);
});
