import assert from "node:assert/strict";
import { test } from "node:test";
import { digest, parsed, remembering, sorted } from "../src/views/warnings";

test("a warning that was read folds for that environment, until its text changes", () => {
  const read = remembering({}, "shop", ["SmallDisk: 10 GiB", "NoRemote: none"]);
  const of = (environment: string, ...warnings: string[]) => sorted(read, environment, warnings);
  assert.deepEqual(of("shop", "NoRemote: none", "SmallDisk: 9 GiB"), {
    fresh: ["SmallDisk: 9 GiB"],
    read: ["NoRemote: none"],
  });
  assert.deepEqual(of("staging", "NoRemote: none").read, []);
  // One that went and comes back is shown again.
  const later = remembering(read, "shop", ["NoRemote: none"]);
  assert.deepEqual(sorted(later, "shop", ["SmallDisk: 10 GiB"]).fresh, ["SmallDisk: 10 GiB"]);
});

test("what is remembered is bounded, holds no text, and may be broken", () => {
  let read = {};
  for (let n = 0; n < 300; n += 1) read = remembering(read, `e${n}`, Array(50).fill("secret"));
  assert.equal(Object.keys(read).length, 100);
  assert.ok("e299" in read && !("e0" in read));
  assert.ok(JSON.stringify(read).length < 50_000);
  assert.ok(!JSON.stringify(read).includes("secret"));
  for (const broken of [null, "", "x", "[]", "null", '{"shop": 1}', '{"__proto__": ["x"]}'])
    assert.deepEqual(sorted(parsed(broken), "shop", ["a"]).fresh, ["a"]);
  const texts = Array.from({ length: 20_000 }, (_, n) => digest(`SmallDisk: ${n} GiB`));
  assert.equal(new Set(texts).size, 20_000);
});
