"""How long `kubectl ocore` takes to list 20,000 Snapshots, each command a process of its own; beside it kubectl.

tests/with-apiserver local python bench/lists.py
"""

import argparse
import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from figures import Figure, limit, report

from ocore_kube import types
from ocore_kube.transport import Transport, connect
from support.cluster.cluster import Cluster
from support.operator.many import Api, apply_crds, finished, together

OURS = [sys.executable, "-m", "ocore_cli"]


async def make(cluster: Cluster, namespace: str, count: int) -> None:
    """Complete Snapshots of 5 KB each."""
    transport = Transport(await connect(Path(cluster.env["KUBECONFIG"])), 60, program="bench")
    api = Api(transport)
    try:
        made = (finished(f"shop-{n % 20}", namespace, n, told=True) for n in range(count))
        await together(api.create(types.SNAPSHOTS, obj, status) for obj, status in made)
    finally:
        await transport.close()


def seconds(cluster: Cluster, command: list[str], lines: int) -> float:
    """From the start of the process to its end. It must print at least so many lines."""
    begin = time.monotonic()
    done = subprocess.run(command, env={**os.environ, **cluster.env}, check=True, capture_output=True, timeout=300)
    took = time.monotonic() - begin
    if done.stdout.count(b"\n") < lines:
        raise SystemExit(f"{command} printed {done.stdout[:500]!r}")
    return took


def measure(options: argparse.Namespace) -> list[Figure]:
    """Each command in turn, so that other work on the machine meets all of them."""
    cluster = Cluster()
    apply_crds(cluster)
    namespace = "lists"
    cluster.kubectl("create", "namespace", namespace)
    begin = time.monotonic()
    asyncio.run(make(cluster, namespace, options.snapshots))
    print(f"{options.snapshots} Snapshots made in {time.monotonic() - begin:.0f} s", file=sys.stderr)
    where = ["-n", namespace]
    commands = {
        "get snapshots": (2, [*OURS, "get", "snapshots", *where], ["kubectl", "get", "snapshots.ocore.dev", *where]),
        "get snapshots -A": (2, [*OURS, "get", "snapshots", "-A"], ["kubectl", "get", "snapshots.ocore.dev", "-A"]),
        "get snapshots -o name": (
            2,
            [*OURS, "get", "snapshots", "-o", "name", *where],
            ["kubectl", "get", "snapshots.ocore.dev", "-o", "name", *where],
        ),
    }
    ours: dict[str, list[float]] = {name: [] for name in commands}
    peer: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(options.runs):
        for name, (_, own, theirs) in commands.items():
            ours[name].append(seconds(cluster, own, options.snapshots))
            peer[name].append(seconds(cluster, theirs, options.snapshots))
    rows = []
    for name, (most, *_) in commands.items():
        row = limit(f"kubectl ocore {name}, {options.snapshots:,} Snapshots", ours[name], most, "s")
        row.peer, row.peer_name = peer[name], "kubectl"
        rows.append(row)
    return rows


def main() -> None:
    """Measures all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--snapshots", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    report(measure(options), options.json)


if __name__ == "__main__":
    main()
