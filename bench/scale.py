"""Figures of the operator with many objects: 20,000 Snapshots, 1,000 operations that wait, 1,000 environments with an hourly policy.

Run by `make bench` with a cluster of its own. API server and controllers are the real ones; the operator is a process on this machine. The node takes
no pods: :class:`FakeKubelet` answers for the Jobs at once, so what is measured is the control plane.
"""

import argparse
import asyncio
import json
import os
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from cluster import in_node
from figures import Figure, limit, table, write

from ocore_crds.manifest import Identity
from ocore_crds.naming import LABEL_MANAGED_BY, MANAGED_BY, MOVER_CONTAINER
from ocore_crds.protocol import FilestoreFacts, Payload, ProbeResult, Result, SnapshotResult, StoreProbeResult
from ocore_operator import clock
from ocore_operator.errors import ApiError
from ocore_operator.kube import client
from ocore_operator.kube.client import Kube, Type
from ocore_operator.kube.resources import Object
from ocore_operator.kube.transport import MERGE_PATCH, Transport, connect
from support.cluster.cluster import GROUP, Cluster
from support.operator.process import OperatorProcess

#: Requests at the same time while objects are made.
PARALLEL = 24
#: Bytes of a Snapshot as JSON, without managedFields.
SNAPSHOT_BYTES = 5000
PROJECT = "aaaaaaaa-2222-4333-8444-555555555555"
CLAIMS = Type("v1", "persistentvolumeclaims", "PersistentVolumeClaim")


class Api:
    """The API server, for making many objects."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.kube = Kube(transport)
        self._slots = asyncio.Semaphore(PARALLEL)

    async def create(self, type_: Type, obj: Object, status: Object | None = None) -> None:
        """Creates the object, and writes its status."""
        async with self._slots:
            await self.transport.request("POST", type_.path(obj["metadata"]["namespace"]), body=obj)
            if status is not None:
                await self.status(type_, obj["metadata"]["namespace"], obj["metadata"]["name"], status)

    async def patch(self, type_: Type, namespace: str, name: str, patch: Object) -> None:
        """Merges the patch into the object."""
        async with self._slots:
            await self.transport.request("PATCH", type_.path(namespace, name), body=patch, content_type=MERGE_PATCH)

    async def status(self, type_: Type, namespace: str, name: str, status: Object) -> None:
        """Writes fields of a status."""
        path = type_.path(namespace, name, "status")
        await self.transport.request("PATCH", path, body={"status": status}, content_type=MERGE_PATCH)


async def together(work: Iterable[Awaitable[None]]) -> None:
    """Runs all of it; raises the first error."""
    async with asyncio.TaskGroup() as group:
        for each in work:
            group.create_task(each)  # type: ignore[arg-type]


# --- objects --------------------------------------------------------------------------------------------------------


def ours(kind: str, namespace: str, name: str, spec: Object, **metadata: Any) -> Object:
    """An object of one of our kinds."""
    return {
        "apiVersion": GROUP,
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace, **metadata},
        "spec": spec,
    }


def environment(namespace: str, name: str) -> Object:
    """One with a filestore only."""
    spec = {
        "projectId": PROJECT,
        "type": "staging",
        "storeRef": {"name": "store"},
        "filestore": {"claimName": "files", "path": f"data/{name}", "layout": "Plain"},
    }
    return ours("Environment", namespace, name, spec)


def finished(environment_name: str, namespace: str, number: int, *, told: bool) -> tuple[Object, Object]:
    """A Complete Snapshot of SNAPSHOT_BYTES, and its status. `told`: with why it is kept, which belongs to this client then: the operator could not
    change it any more."""
    moment = clock.text(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=number))
    spec = {"environmentRef": {"name": environment_name}, "retention": "Policy", "trigger": "Scheduled"}
    obj = ours("Snapshot", namespace, f"{environment_name}-{number}", spec, finalizers=["ocore.dev/data"])
    true = {"status": "True", "lastTransitionTime": moment, "observedGeneration": 1, "message": ""}
    status: Object = {
        "observedGeneration": 1,
        "phase": "Complete",
        "residue": "None",
        "startedAt": moment,
        "consistentAt": moment,
        "completedAt": moment,
        "sizes": {"storedBytes": 1_000_000},
        "conditions": [
            {"type": "Complete", "reason": "Succeeded", **true},
            {"type": "Ready", "reason": "Succeeded", **true},
        ],
        "paths": {},
    }
    if told:
        status |= {"expiresAt": "2036-01-01T00:00:00Z", "keptBy": ["keepDaily"]}
    short = SNAPSHOT_BYTES - len(json.dumps(obj)) - len(json.dumps(status))
    status["paths"] = {f"artifact-{n}": "p" * 80 for n in range(short // 100)}
    return obj, status


async def prepare(api: Api, cluster: Cluster, prefix: str) -> str:
    """A namespace with a store and a claim."""
    namespace = cluster.namespace(prefix)
    claim: Object = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    for name in ("files", "backups"):
        await api.create(CLAIMS, {**claim, "metadata": {"name": name, "namespace": namespace}})
    store = ours("SnapshotStore", namespace, "store", {"claim": {"claimName": "backups", "path": "all"}})
    await api.create(client.STORES, store)
    return namespace


# --- the fake kubelet -------------------------------------------------------------------------------------------------


class FakeKubelet:
    """Runs every pod of our Jobs to its end as soon as it exists, by writing its status. A context manager.

    `held`: of a Snapshot's name whether its Job runs on and never ends.
    """

    def __init__(self, api: Api, namespaces: set[str], held: Callable[[str], bool] = lambda _: False) -> None:
        self._api = api
        self._namespaces = namespaces
        self._held = held
        self._task: asyncio.Task[None] | None = None
        self._seen: set[str] = set()
        self._running: set[asyncio.Task[None]] = set()
        self.answered: Counter[str] = Counter()

    async def __aenter__(self) -> "FakeKubelet":
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, *self._running, return_exceptions=True)

    async def _run(self) -> None:
        selector = f"{LABEL_MANAGED_BY}={MANAGED_BY}"
        while True:
            for namespace in self._namespaces:
                try:
                    found = await self._api.kube.list(
                        client.PODS, namespace, labels=selector, fields="status.phase=Pending"
                    )
                except ApiError:
                    continue  # the next round asks again
                for pod in found:
                    if pod["metadata"]["uid"] not in self._seen:
                        self._seen.add(pod["metadata"]["uid"])
                        task = asyncio.create_task(self._answer(pod))
                        self._running.add(task)
                        task.add_done_callback(self._running.discard)
            await asyncio.sleep(0.2)

    async def _answer(self, pod: Object) -> None:
        meta = pod["metadata"]
        now = clock.text(datetime.now(UTC))
        container: Object = {"name": MOVER_CONTAINER, "image": "x", "imageID": "x", "restartCount": 0}
        arguments = next(c for c in pod["spec"]["containers"] if c["name"] == MOVER_CONTAINER)["args"]
        payload = None if self._held(meta["annotations"]["ocore.dev/name"]) else answer(arguments, meta["uid"])
        if payload is None:
            state: Object = {"running": {"startedAt": now}}
        else:
            message = Result(ok=True, payload=payload, time=now).termination_message()
            state = {
                "terminated": {
                    "exitCode": 0,
                    "startedAt": now,
                    "finishedAt": now,
                    "message": message,
                    "reason": "Completed",
                }
            }
        status = {
            "phase": "Running" if payload is None else "Succeeded",
            "containerStatuses": [{**container, "ready": payload is None, "started": payload is None, "state": state}],
        }
        self.answered[arguments[0]] += 1
        try:
            await self._api.status(client.PODS, meta["namespace"], meta["name"], status)
        except ApiError as error:
            print(f"fake kubelet: {meta['name']}: {error}", file=sys.stderr)


def answer(arguments: list[str], uid: str) -> Payload | None:
    """What the command would report; None: it runs on."""
    now = clock.text(datetime.now(UTC))
    options = dict(pairwise(arguments))
    match arguments[0]:
        case "probe":
            return ProbeResult(
                filestore=FilestoreFacts(file_count=10, size_bytes=10_000, hard_links=True, free_bytes=10**12)
            )
        case "probe-store":
            return StoreProbeResult(
                store_id="00000000-0000-4000-8000-000000000001", checksums="ReadBack", conditional_writes=True
            )
        case "snapshot":
            return SnapshotResult(
                attempt=re.sub(r"\$\(\w+\)", uid, options["--attempt"]),
                identity=Identity.model_validate_json(options["--identity"]),
                manifest_key="manifest.json",
                manifest_sha256="0" * 64,
                store_id="00000000-0000-4000-8000-000000000001",
                started_at=now,
                consistent_at=now,
                completed_at=now,
                filestore_bytes=10_000,
                filestore_files=10,
                stored_bytes=10_000,
                checksums={"filestore": "0" * 64},
                paths={"filestore": "filestore"},
            )
    return None


# --- what is measured -----------------------------------------------------------------------------------------------------


def memory(operator: OperatorProcess, field: str) -> float:
    """A field of /proc/PID/status, in MB."""
    assert operator.process is not None
    text = Path(f"/proc/{operator.process.pid}/status").read_text()
    return int(re.search(rf"^{field}:\s+(\d+) kB", text, re.MULTILINE)[1]) / 1000  # type: ignore[index]


def cpu(pid: int) -> float:
    """CPU seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def api_server_cpu() -> float:
    """CPU seconds of the API server so far."""
    script = "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline 2>/dev/null | grep -q '^kube-apiserver ' && cat $p/stat && break; done"
    fields = in_node(script).rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def quantile(metrics: str, name: str, share: float, labels: str = "") -> float:
    """The upper bound of the bucket of a histogram that holds this share of its values, in seconds."""
    pattern = (
        rf'^{name}_bucket{{(?:{labels},)?le="([^"]+)"(?:,{labels})?}} (\S+)$'
        if labels
        else rf'^{name}_bucket{{le="([^"]+)"}} (\S+)$'
    )
    buckets = [(float(le), float(count)) for le, count in re.findall(pattern, metrics, re.MULTILINE)]
    total = buckets[-1][1]
    return next(le for le, count in buckets if count >= share * total)


async def idle(operator: OperatorProcess, seconds: float) -> tuple[float, float]:
    """Cores that the operator and the API server use in that time."""
    assert operator.process is not None
    before, server, begin = cpu(operator.process.pid), api_server_cpu(), time.monotonic()
    await asyncio.sleep(seconds)
    passed = time.monotonic() - begin
    return (cpu(operator.process.pid) - before) / passed, (api_server_cpu() - server) / passed


async def many_snapshots(api: Api, cluster: Cluster, folder: Path, count: int, seconds: float) -> list[Figure]:
    """Start, memory and idle load of the operator with so many Snapshots."""
    namespace = await prepare(api, cluster, "many")
    begin = time.monotonic()
    made = (finished(f"shop-{n % 20}", namespace, n, told=True) for n in range(count))
    await together(api.create(client.SNAPSHOTS, obj, status) for obj, status in made)
    print(f"{count} Snapshots made in {time.monotonic() - begin:.0f} s", file=sys.stderr)
    operator = OperatorProcess(cluster, [namespace], folder)
    server = api_server_cpu()
    await asyncio.sleep(seconds)
    alone = (api_server_cpu() - server) / seconds
    begin = time.monotonic()
    await asyncio.to_thread(operator.start)
    ready = time.monotonic() - begin
    try:
        async with FakeKubelet(api, {namespace}):
            await asyncio.sleep(30)  # what it does at start is over
        own, server = await idle(operator, seconds)
        peak, anonymous = memory(operator, "VmHWM"), memory(operator, "RssAnon")
    finally:
        await asyncio.to_thread(operator.stop)
    return [
        limit(f"{count:,} Snapshots: ready after start", [ready], 20, "s"),
        limit(f"{count:,} Snapshots: operator's largest resident memory", [peak], 150, "MB"),
        limit(f"{count:,} Snapshots: operator's anonymous memory", [anonymous], 150, "MB"),
        limit(f"{count:,} Snapshots: operator idle", [own], 0.05, "cores"),
        limit(f"{count:,} Snapshots: API server, more than without the operator", [server - alone], 0.05, "cores"),
    ]


async def waiting(api: Api, cluster: Cluster, folder: Path, count: int, seconds: float) -> list[Figure]:
    """A rollback under way is reconciled at once although so many operations wait."""
    namespace = await prepare(api, cluster, "waiting")
    held = {"running", "back"}
    operator = await asyncio.to_thread(OperatorProcess(cluster, [namespace], folder).start)
    try:
        async with FakeKubelet(api, {namespace}, lambda name: name in held):
            for name in ("shop", "staging"):
                await api.create(client.ENVIRONMENTS, environment(namespace, name))
            await until(api, client.ENVIRONMENTS, namespace, "staging", "Ready")
            await until(api, client.ENVIRONMENTS, namespace, "shop", "Ready")
            base = ours("Snapshot", namespace, "base", {"environmentRef": {"name": "staging"}})
            await api.create(client.SNAPSHOTS, base)
            await until(api, client.SNAPSHOTS, namespace, "base", "Complete")
            await api.create(client.ROLLBACKS, ours("Rollback", namespace, "back", {"snapshotRef": {"name": "base"}}))
            running = ours("Snapshot", namespace, "running", {"environmentRef": {"name": "shop"}})
            await api.create(client.SNAPSHOTS, running)
            await asyncio.sleep(5)
            spec = {"environmentRef": {"name": "shop"}}
            more = (ours("Snapshot", namespace, f"waits-{n}", spec) for n in range(count))
            await together(api.create(client.SNAPSHOTS, obj) for obj in more)
            await asyncio.sleep(30)
            before = operator.get("/metrics")[1]
            end = time.monotonic() + seconds
            number = 0
            while time.monotonic() < end:
                number += 1
                patch = {"metadata": {"annotations": {"bench/number": str(number)}}}
                path = client.ROLLBACKS.path(namespace, "back")
                await api.transport.request("PATCH", path, body=patch, content_type=MERGE_PATCH)
                await asyncio.sleep(0.3)
            after = operator.get("/metrics")[1]
            phase = (await api.kube.get(client.ROLLBACKS, namespace, "back") or {}).get("status", {})
            print(
                f"the Rollback is at {phase.get('stage')}; reconciles: {difference(before, after, 'ocore_reconciles_total')}",
                file=sys.stderr,
            )
    finally:
        await asyncio.to_thread(operator.kill)
    change = subtracted(after, before)
    return [
        limit(
            f"{count:,} waiting operations: longest wait of a rollback under way",
            [quantile(change, "ocore_queue_seconds", 1.0, 'urgent="true"')],
            1,
            "s",
        ),
        limit(
            f"{count:,} waiting operations: event loop's lag, 99th percentile",
            [1000 * quantile(change, "ocore_event_loop_lag_seconds", 0.99)],
            50,
            "ms",
        ),
    ]


def subtracted(after: str, before: str) -> str:
    """The metrics' increase, as text."""
    old = {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
        for line in before.splitlines()
        if not line.startswith("#")
    }
    lines = [line.rpartition(" ") for line in after.splitlines() if not line.startswith("#")]
    return "\n".join(f"{name} {float(value) - old.get(name, 0)}" for name, _, value in lines)


def difference(before: str, after: str, name: str) -> float:
    """Increase of one metric without labels."""
    return float(re.search(rf"^{name} (\S+)$", subtracted(after, before), re.MULTILINE)[1])  # type: ignore[index]


async def until(api: Api, type_: Type, namespace: str, name: str, condition: str, seconds: float = 120) -> None:
    """Returns once the condition is True; TimeoutError."""
    async with asyncio.timeout(seconds):
        while True:
            obj = await api.kube.get(type_, namespace, name)
            found = (obj or {}).get("status", {}).get("conditions", ())
            if any(c["type"] == condition and c["status"] == "True" for c in found):
                return
            await asyncio.sleep(0.3)


async def fleet(api: Api, cluster: Cluster, folder: Path, count: int, snapshots: int, spread: int) -> list[Figure]:
    """Environments with a policy for one time of the hour each, spread over some minutes: one slot of each is watched."""
    namespaces = [await prepare(api, cluster, "fleet") for _ in range(10)]
    begin = time.monotonic()
    places = [(namespaces[n % 10], f"shop-{n}") for n in range(count)]
    await together(api.create(client.ENVIRONMENTS, environment(*place)) for place in places)
    # Before the operator starts: by the default rules all old Snapshots but one would go.
    rules: Object = {"keepLast": 100, "spreadMinutes": spread}
    policies = (ours("SnapshotPolicy", n, name, {"environmentRef": {"name": name}, **rules}) for n, name in places)
    await together(api.create(client.POLICIES, policy) for policy in policies)
    old = (finished(places[n % count][1], places[n % count][0], n, told=False) for n in range(snapshots))
    await together(api.create(client.SNAPSHOTS, obj, status) for obj, status in old)
    operator = OperatorProcess(
        cluster, namespaces, folder, max_concurrent_jobs=100, max_concurrent_jobs_per_namespace=50
    )
    await asyncio.to_thread(operator.start)
    assert operator.process is not None
    print(f"fleet: made and ready after {time.monotonic() - begin:.0f} s", file=sys.stderr)
    try:
        async with FakeKubelet(api, set(namespaces)) as kubelet:
            await ready(api, namespaces, client.ENVIRONMENTS, count)
            await ready(api, namespaces, client.POLICIES, count)
            # The slot must begin after the schedules are known, so that it is no catch-up.
            minute = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=3)
            schedule = {"spec": {"schedule": [f"{minute.minute} * * * *"]}}
            await together(api.patch(client.POLICIES, *place, schedule) for place in places)
            print(f"fleet: the slot begins at {minute}; answered: {kubelet.answered}", file=sys.stderr)
            await asyncio.sleep(max((minute - datetime.now(UTC)).total_seconds() - 10, 0))
            listed = [p for n in namespaces for p in await api.kube.list(client.POLICIES, n)]
            unseen = [p for p in listed if "nextScheduleTime" not in p.get("status", {})]
            if unseen:
                raise RuntimeError(f"{len(unseen)} policies are not scheduled, one is {unseen[0]}")
            due = {
                (p["metadata"]["namespace"], p["metadata"]["name"]): clock.parse(p["status"]["nextScheduleTime"])
                for p in listed
            }
            if not all(minute <= moment < minute + timedelta(minutes=spread) for moment in due.values()):
                raise RuntimeError(f"not all policies are due in the slot: {Counter(due.values())}")
            await asyncio.sleep(max((minute - datetime.now(UTC)).total_seconds(), 0))
            used, server, begin = cpu(operator.process.pid), api_server_cpu(), time.monotonic()
            await asyncio.sleep(60 * spread + 30)
            passed = time.monotonic() - begin
            cores, server = (cpu(operator.process.pid) - used) / passed, (api_server_cpu() - server) / passed
            made = [
                s
                for n in namespaces
                for s in await api.kube.list(
                    client.SNAPSHOTS, n, keep=lambda o: o["metadata"]["creationTimestamp"] >= clock.text(minute)
                )
            ]
            print(f"fleet: API server {server:.2f} cores; answered: {kubelet.answered}", file=sys.stderr)
    finally:
        peak = memory(operator, "VmHWM")
        await asyncio.to_thread(operator.kill)
    per = Counter((s["metadata"]["namespace"], s["spec"]["environmentRef"]["name"]) for s in made)
    late = [created(s) - due[s["metadata"]["namespace"], s["spec"]["environmentRef"]["name"]].timestamp() for s in made]
    print(
        f"fleet: late by {sorted(late)[-5:]}; phases {Counter(s['status'].get('phase') for s in made)}", file=sys.stderr
    )
    return [
        limit(f"{count:,} hourly policies: slots missed", [float(sum(place not in per for place in due))], 0, "slots"),
        limit(f"{count:,} hourly policies: slots doubled", [float(sum(n > 1 for n in per.values()))], 0, "slots"),
        limit(
            f"{count:,} hourly policies: Snapshot created after its time and spread, at the latest",
            [max(late)],
            10,
            "s",
        ),
        limit(f"{count:,} hourly policies, {snapshots:,} Snapshots: operator", [cores], 1, "cores"),
        limit(f"{count:,} hourly policies, {snapshots:,} Snapshots: largest resident memory", [peak], 300, "MB"),
    ]


async def ready(api: Api, namespaces: list[str], type_: Type, count: int, seconds: float = 900) -> None:
    """Returns once all objects of the kind are Ready; TimeoutError."""
    async with asyncio.timeout(seconds):
        while True:
            found = [e for n in namespaces for e in await api.kube.list(type_, n)]
            done = sum(
                any(c["type"] == "Ready" and c["status"] == "True" for c in e["status"].get("conditions", ()))
                for e in found
            )
            if done == count:
                return
            print(f"fleet: {done} objects of {type_.kind} are Ready", file=sys.stderr)
            await asyncio.sleep(10)


def created(snapshot: Object) -> float:
    """Seconds since the epoch; the API server gives whole seconds."""
    return clock.parse(snapshot["metadata"]["creationTimestamp"]).timestamp()


async def measure(options: argparse.Namespace, folder: Path) -> list[Figure]:
    """The chosen figures."""
    cluster = Cluster()
    cluster.kubectl("cordon", "node1")
    transport = Transport(await connect(Path(cluster.env["KUBECONFIG"])), 60)
    api = Api(transport)
    rows: list[Figure] = []
    try:
        if "many" in options.figures:
            rows += await many_snapshots(api, cluster, folder, options.snapshots, options.seconds)
        if "waiting" in options.figures:
            rows += await waiting(api, cluster, folder, options.waiting, options.seconds)
        if "fleet" in options.figures:
            rows += await fleet(api, cluster, folder, options.environments, options.snapshots, options.spread)
    finally:
        await transport.close()
    return rows


def main() -> None:
    """Runs the chosen figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("figures", nargs="*", default=["many", "waiting", "fleet"])
    parser.add_argument("--snapshots", type=int, default=20_000)
    parser.add_argument("--waiting", type=int, default=1_000)
    parser.add_argument("--environments", type=int, default=1_000)
    parser.add_argument(
        "--spread", type=int, default=10, help="minutes over which the policies of the fleet are spread"
    )
    parser.add_argument("--seconds", type=float, default=120, help="for which an idle operator is watched")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="scale-") as folder:
        rows = asyncio.run(measure(options, Path(folder)))
    print(table(rows))
    if options.json:
        write(options.json, rows)


if __name__ == "__main__":
    main()
