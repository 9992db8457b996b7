"""Figures of the operator with many objects: 20,000 Snapshots, 1,000 operations that wait, 1,000 environments with an
hourly policy.

Run by `make bench` with a cluster of its own. API server and controllers are the real ones; the operator is a process
on this machine. The node takes no pods: :class:`FakeKubelet` answers for the Jobs at once, so what is measured is the
control plane.
"""

import argparse
import asyncio
import os
import re
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from cluster import in_node
from figures import Figure, limit, report

from ocore_kube import types
from ocore_kube.transport import MERGE_PATCH, Transport, connect
from ocore_kube.types import Type
from ocore_operator import clock
from ocore_operator.kube.resources import Object
from support.cluster.cluster import Cluster
from support.operator.many import Api, FakeKubelet, apply_crds, environment, finished, memory, ours, prepare, together
from support.operator.process import OperatorProcess

# --- what is measured ------------------------------------------------------------------------------------------------


def cpu(pid: int) -> float:
    """CPU seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def api_server_cpu() -> float:
    """CPU seconds of the API server so far."""
    script = (
        "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline 2>/dev/null | grep -q '^kube-apiserver ' && cat $p/stat &&"
        " break; done"
    )
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
    await together(api.create(types.SNAPSHOTS, obj, status) for obj, status in made)
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
                await api.create(types.ENVIRONMENTS, environment(namespace, name))
            await until(api, types.ENVIRONMENTS, namespace, "staging", "Ready")
            await until(api, types.ENVIRONMENTS, namespace, "shop", "Ready")
            base = ours("Snapshot", namespace, "base", {"environmentRef": {"name": "staging"}})
            await api.create(types.SNAPSHOTS, base)
            await until(api, types.SNAPSHOTS, namespace, "base", "Complete")
            await api.create(types.ROLLBACKS, ours("Rollback", namespace, "back", {"snapshotRef": {"name": "base"}}))
            running = ours("Snapshot", namespace, "running", {"environmentRef": {"name": "shop"}})
            await api.create(types.SNAPSHOTS, running)
            await asyncio.sleep(5)
            spec = {"environmentRef": {"name": "shop"}}
            more = (ours("Snapshot", namespace, f"waits-{n}", spec) for n in range(count))
            await together(api.create(types.SNAPSHOTS, obj) for obj in more)
            await asyncio.sleep(30)
            before = operator.get("/metrics")[1]
            end = time.monotonic() + seconds
            number = 0
            while time.monotonic() < end:
                number += 1
                patch = {"metadata": {"annotations": {"bench/number": str(number)}}}
                path = types.ROLLBACKS.path(namespace, "back")
                await api.transport.request("PATCH", path, body=patch, content_type=MERGE_PATCH)
                await asyncio.sleep(0.3)
            after = operator.get("/metrics")[1]
            phase = (await api.kube.get(types.ROLLBACKS, namespace, "back") or {}).get("status", {})
            print(
                f"the Rollback is at {phase.get('stage')}; reconciles:"
                f" {difference(before, after, 'ocore_reconciles_total')}",
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
    """Environments with a policy for one time of the hour each, spread over some minutes: one slot of each is
    watched."""
    namespaces = [await prepare(api, cluster, "fleet") for _ in range(10)]
    begin = time.monotonic()
    places = [(namespaces[n % 10], f"shop-{n}") for n in range(count)]
    await together(api.create(types.ENVIRONMENTS, environment(*place)) for place in places)
    # Before the operator starts: by the default rules all old Snapshots but one would go.
    rules: Object = {"keepLast": 100, "spreadMinutes": spread}
    policies = (ours("SnapshotPolicy", n, name, {"environmentRef": {"name": name}, **rules}) for n, name in places)
    await together(api.create(types.POLICIES, policy) for policy in policies)
    old = (finished(places[n % count][1], places[n % count][0], n, told=False) for n in range(snapshots))
    await together(api.create(types.SNAPSHOTS, obj, status) for obj, status in old)
    operator = OperatorProcess(
        cluster, namespaces, folder, max_concurrent_jobs=100, max_concurrent_jobs_per_namespace=50
    )
    await asyncio.to_thread(operator.start)
    assert operator.process is not None
    print(f"fleet: made and ready after {time.monotonic() - begin:.0f} s", file=sys.stderr)
    try:
        async with FakeKubelet(api, set(namespaces)) as kubelet:
            await ready(api, namespaces, types.ENVIRONMENTS, count)
            await ready(api, namespaces, types.POLICIES, count)
            # The slot must begin after the schedules are known, so that it is no catch-up.
            minute = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=3)
            schedule = {"spec": {"schedule": [f"{minute.minute} * * * *"]}}
            await together(api.patch(types.POLICIES, *place, schedule) for place in places)
            print(f"fleet: the slot begins at {minute}; answered: {kubelet.answered}", file=sys.stderr)
            await asyncio.sleep(max((minute - datetime.now(UTC)).total_seconds() - 10, 0))
            listed = [p for n in namespaces for p in await api.kube.list(types.POLICIES, n)]
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
                    types.SNAPSHOTS, n, keep=lambda o: o["metadata"]["creationTimestamp"] >= clock.text(minute)
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
    apply_crds(cluster)
    cluster.kubectl("cordon", "node1")
    transport = Transport(await connect(Path(cluster.env["KUBECONFIG"])), 60, program="bench")
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
    report(rows, options.json)


if __name__ == "__main__":
    main()
