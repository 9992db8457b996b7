// The REST story with a generated client: openapi-typescript made the types from docs/openapi.json, openapi-fetch sends
// the requests. Usage, with OCORE_API (base URL) and OCORE_TOKEN; each prints its result as a line of JSON:
//   node story.js snapshot ENVIRONMENT PROJECT
//   node story.js rollback ENVIRONMENT SNAPSHOT [TARGET]
//   node story.js delete ENVIRONMENT SNAPSHOT
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";
import { follow, type Progress } from "./follow.js";

const api = process.env.OCORE_API ?? "";
const token = process.env.OCORE_TOKEN ?? "";
const client = createClient<paths>({ baseUrl: api, headers: { Authorization: `Bearer ${token}` } });

type Snapshot = components["schemas"]["SnapshotView"];

/** The events of a stream, read with fetch alone. */
async function read(stream: ReadableStream<Uint8Array>): Promise<Progress[]> {
  let text = "";
  const decoder = new TextDecoder();
  for await (const chunk of stream as unknown as AsyncIterable<Uint8Array>) {
    text += decoder.decode(chunk, { stream: true });
  }
  const data = text.split(/\r?\n/).filter((line) => line.startsWith("data:"));
  return data.map((line) => JSON.parse(line.slice(5)) as Progress);
}

/** What a follower relies on: progress never goes back, and only the last event is final. */
function checkEvents(events: Progress[], id: string): void {
  const last = events.at(-1);
  assert.ok(last, "the stream had no event");
  assert.deepEqual([last.status, last.percent], ["completed", 100], JSON.stringify(last));
  for (const [index, event] of events.entries()) {
    assert.equal(event.id, id);
    assert.ok(index === 0 || event.percent >= (events[index - 1]?.percent ?? 0), JSON.stringify(events));
    if (event !== last) assert.ok(["pending", "running"].includes(event.status), JSON.stringify(event));
  }
}

async function settings(environmentId: string): Promise<void> {
  const path = { params: { path: { environmentId } } };
  const before = await client.GET("/api/environments/{environmentId}/snapshot-settings", path);
  assert.equal(before.data?.environmentId, environmentId);
  const retentionDays = (before.data.retentionDays ?? 0) + 1;
  const body = { retentionDays, failurePolicy: "continue" } as const;
  const changed = await client.PUT("/api/environments/{environmentId}/snapshot-settings", { ...path, body });
  assert.equal(changed.response.status, 200);
  const after = await client.GET("/api/environments/{environmentId}/snapshot-settings", path);
  assert.deepEqual(after.data, changed.data);
  assert.deepEqual(after.data, { ...before.data, ...body, updatedAt: after.data?.updatedAt });
}

async function take(environmentId: string): Promise<{ snapshotId: string; events: Progress[] }> {
  const key = randomUUID();
  const ask = { params: { path: { environmentId }, header: { "Idempotency-Key": key } } };
  const made = await client.POST("/api/environments/{environmentId}/snapshots", ask);
  assert.equal(made.response.status, 202);
  assert.equal(made.data?.environmentId, environmentId);
  const location = made.response.headers.get("Location") ?? "";
  const snapshotId = location.split("/").at(-1) ?? "";
  const again = await client.POST("/api/environments/{environmentId}/snapshots", ask);
  assert.equal(again.response.headers.get("Location"), location, "the same key started a second snapshot");

  const path = { params: { path: { environmentId, snapshotId } } };
  const stream = await client.GET("/api/environments/{environmentId}/snapshots/{snapshotId}/progress", {
    ...path,
    parseAs: "stream",
  });
  assert.equal(stream.response.status, 200);
  const events = await read(stream.data as unknown as ReadableStream<Uint8Array>);
  checkEvents(events, snapshotId);
  return { snapshotId, events };
}

async function lists(environmentId: string, projectId: string, snapshotId: string): Promise<Snapshot> {
  const page = await client.GET("/api/environments/{environmentId}/snapshots", {
    params: { path: { environmentId }, query: { limit: 1 } },
  });
  const first = page.data?.snapshots[0];
  assert.ok(first && page.data);
  assert.deepEqual([page.data.limit, page.data.offset, page.data.snapshots.length], [1, 0, 1]);
  assert.deepEqual([first.id, first.status, first.environmentId], [snapshotId, "completed", environmentId]);
  const all = await client.GET("/api/projects/{projectId}/snapshots", {
    params: { path: { projectId }, query: { status: "completed", limit: 100 } },
  });
  assert.deepEqual(all.data?.snapshots.find((snapshot) => snapshot.id === snapshotId), first);
  const one = await client.GET("/api/environments/{environmentId}/snapshots/{snapshotId}", {
    params: { path: { environmentId, snapshotId } },
  });
  assert.ok(one.data);
  const { rollbackLogs, ...row } = one.data;
  assert.deepEqual([row, rollbackLogs], [first, []]);
  return first;
}

async function pins(environmentId: string, snapshotId: string): Promise<void> {
  const path = { params: { path: { environmentId, snapshotId } } };
  const shown = async () => {
    const { data } = await client.GET("/api/environments/{environmentId}/snapshots/{snapshotId}", path);
    return [data?.isPinned, data?.pinLabel];
  };
  const url = "/api/environments/{environmentId}/snapshots/{snapshotId}/pin";
  assert.equal((await client.PUT(url, { ...path, body: { label: "before the audit" } })).response.status, 200);
  assert.deepEqual(await shown(), [true, "before the audit"]);
  const refused = await client.DELETE("/api/environments/{environmentId}/snapshots/{snapshotId}", path);
  assert.equal(refused.response.status, 409);
  assert.equal(refused.response.headers.get("Content-Type"), "application/problem+json");
  assert.equal((await client.DELETE(url, path)).response.status, 200);
  assert.deepEqual(await shown(), [false, null]);
}

async function snapshot(environmentId: string, projectId: string): Promise<object> {
  await settings(environmentId);
  const size = await client.GET("/api/environments/{environmentId}/snapshot-size", {
    params: { path: { environmentId } },
  });
  assert.ok(size.data);
  assert.equal(size.data.totalSizeBytes, size.data.dbSizeBytes + size.data.filestoreSizeBytes);
  const { snapshotId, events } = await take(environmentId);
  const row = await lists(environmentId, projectId, snapshotId);
  await pins(environmentId, snapshotId);
  return { snapshotId, events, row, size: size.data };
}

async function rollback(environmentId: string, snapshotId: string, target?: string): Promise<object> {
  const changed = target ?? environmentId;
  const started = await client.POST("/api/environments/{environmentId}/rollback", {
    params: { path: { environmentId }, header: { "Idempotency-Key": randomUUID() } },
    body: { snapshotId, ...(target ? { targetEnvironmentId: target } : {}) },
  });
  assert.equal(started.response.status, 202, JSON.stringify(started.error));
  assert.ok(started.data);
  const { deploymentId } = started.data;
  assert.deepEqual([started.data.environmentId, started.data.snapshotId], [changed, snapshotId]);

  const events: Progress[] = [];
  await follow(`${api}/api/deployments/${deploymentId}/rollback/progress`, token, (event) => events.push(event));
  checkEvents(events, deploymentId);

  const logs = await client.GET("/api/environments/{environmentId}/rollback-logs", {
    params: { path: { environmentId: changed } },
  });
  // Newest first; two rollbacks of the same second are ordered by their ids.
  const log = logs.data?.rollbackLogs.find((each) => each.id === deploymentId);
  assert.ok(log && logs.data);
  assert.equal(logs.data.total, logs.data.rollbackLogs.length);
  assert.equal(log.createdAt, logs.data.rollbackLogs[0]?.createdAt);
  assert.deepEqual([log.rollbackDeploymentId, log.snapshotId], [deploymentId, snapshotId]);
  assert.deepEqual([log.status, log.errorMessage, log.environmentId], ["completed", null, changed]);
  const one = await client.GET("/api/environments/{environmentId}/snapshots/{snapshotId}", {
    params: { path: { environmentId, snapshotId } },
  });
  assert.deepEqual(one.data?.rollbackLogs.find((each) => each.id === deploymentId), log);
  return { deploymentId, events, log };
}

async function remove(environmentId: string, snapshotId: string): Promise<object> {
  const path = { params: { path: { environmentId, snapshotId } } };
  const gone = await client.DELETE("/api/environments/{environmentId}/snapshots/{snapshotId}", path);
  assert.equal(gone.response.status, 204, JSON.stringify(gone.error));
  const after = await client.GET("/api/environments/{environmentId}/snapshots/{snapshotId}", path);
  assert.equal(after.response.status, 404);
  return { snapshotId };
}

const [what, environment = "", id = "", target] = process.argv.slice(2);
const parts = { snapshot, rollback, delete: remove };
assert.ok(what && what in parts, "usage: story.js snapshot|rollback|delete ENVIRONMENT ID [TARGET]");
console.log(JSON.stringify(await parts[what as keyof typeof parts](environment, id, target)));
