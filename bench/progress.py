"""Records operations of seven shapes, and how far the percentage that the operator shows is from the share of the time
that has passed.

Run by `make bench` in the node's network. Of each shape two operations run one after the other: the first one says how
long the steps take, the second one is recorded. With `--traces FOLDER` the records are kept:
tests/unit/operator/jobs/test_traces.py replays those of the tests.
"""

import argparse
import json
import sys
import tempfile
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from cluster import fill
from figures import Figure, limit, report

from ocore_crds.text.timestamps import exact, parse
from support.cluster.cluster import Cluster, Object
from support.cluster.neutralising import NEUTRALISE, SCRIPTS, config_map
from support.cluster.operator import Operator
from support.cluster.other_namespace import grant, into, store_to_read
from support.cluster.shared import Shared
from support.cluster.site import Servers, Site, make_site
from support.operator.traces import Trace, farthest, largest_jump, replayed

#: Of the second operation of an environment.
MOST_POINTS, LARGEST_JUMP = 10, 15
#: Seconds for one operation.
PATIENCE = 1800
_KEPT = ("phase", "stage", "startedAt", "completedAt", "steps", "conditions", "environmentName")
#: Writes files and their rows as Odoo has them: named by the SHA-1 of their content.
FILES = """
import hashlib, os, sys
from demo_app import database
from demo_app.settings import Settings
count, size, settings = int(sys.argv[1]), int(sys.argv[2]), Settings.from_environment()
root = settings.filestore
with database.connect(settings) as connection:
    for number in range(count):
        content = os.urandom(min(size, 1 << 20)) * (size // min(size, 1 << 20))
        name = hashlib.sha1(content).hexdigest()
        folder = root / name[:2]
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
        connection.execute("INSERT INTO ir_attachment (name, store_fname, file_size, checksum) VALUES (%s, %s, %s, %s)",
            ["file", f"{name[:2]}/{name}", len(content), name])
"""


class Recorder:
    """Records one operation while it runs: the changes of its status, and the logs of its pods."""

    def __init__(self, site: Site, kind: str, name: str) -> None:
        self._site, self._kind, self._name = site, kind, name
        self._statuses: list[Object] = []
        self._logs: dict[str, str] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Recorder":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)

    def _run(self) -> None:
        cluster, namespace = self._site.cluster, self._site.namespace
        while not self._stop.wait(0.25):
            found = cluster.get(self._kind, self._name, namespace)
            if found is None:
                continue
            status = {name: found["status"][name] for name in _KEPT if name in found.get("status", {})}
            if status and (not self._statuses or self._statuses[-1]["status"] != status):
                self._statuses.append({"time": exact(datetime.now(UTC)), "status": status})
            for pod in cluster.pods(namespace, f"ocore.dev/uid={found['metadata']['uid']}"):
                name = pod["metadata"]["name"]
                try:
                    self._logs[name] = max(cluster.logs(namespace, name), self._logs.get(name, ""), key=len)
                except Exception:
                    continue

    def trace(self, earlier: Object, final: Object) -> Trace:
        """The record of the operation, whose final object this is."""

        kept = {name: final["status"][name] for name in _KEPT if name in final["status"]}
        lines = [
            {"time": json.loads(line)["time"], "pod": pod, "log": line}
            for pod, text in self._logs.items()
            for line in text.splitlines()
            if line.startswith(('{"type":"step"', '{"type":"progress"'))
        ]
        events = sorted([*self._statuses, *lines], key=lambda e: parse(str(e["time"])))
        end = {"time": exact(datetime.now(UTC)), "status": kept}
        return Trace(final["kind"], final["spec"], earlier, [*events, end])


def recorded(site: Site, kind: str, create: Callable[[str], str], earlier: Object) -> Trace:
    """Runs an operation and records it."""
    name = create("second")
    with Recorder(site, kind, name) as recorder:
        final = site.completed(kind, name, PATIENCE)
    return recorder.trace({k: v for k, v in earlier["status"].items() if k in _KEPT}, final)


def twice(site: Site, kind: str, create: Callable[[str], str]) -> Trace:
    """The first operation, then the recorded one."""
    return recorded(site, kind, create, site.completed(kind, create("first"), PATIENCE))


def files(site: Site, count: int, size: int) -> None:
    """So many files, with their rows."""
    code, text = site.in_shop("python3", "-c", FILES, str(count), str(size), timeout=PATIENCE)
    if code != 0:
        raise RuntimeError(text)


def shapes(cluster: Cluster, servers: Servers, scale: float) -> dict[str, Callable[[], Trace]]:
    """What is recorded, by its name."""

    def snapshots(prepare: Callable[[Site], None]) -> Callable[[], Trace]:
        def run() -> Trace:
            with make_site(cluster, servers) as site:
                prepare(site)
                return twice(
                    site, "Snapshot", lambda name: site.snapshot(name, filestoreMode="Full", timeoutSeconds=PATIENCE)
                )

        return run

    def rollbacks(megabytes: float, *, safety: bool) -> Callable[[], Trace]:
        def run() -> Trace:
            with make_site(cluster, servers) as site:
                fill(site, int(megabytes * scale))
                site.completed("Snapshot", site.snapshot("base", timeoutSeconds=PATIENCE), PATIENCE)
                return twice(
                    site,
                    "Rollback",
                    lambda name: site.rollback(name, "base", createSafetySnapshot=safety, timeoutSeconds=PATIENCE),
                )

        return run

    def staging() -> Trace:
        with (
            make_site(cluster, servers) as source,
            make_site(cluster, servers, environment={"type": "staging"}) as target,
        ):
            fill(source, int(1200 * scale))
            files(source, int(30_000 * scale), 20_000)
            grant(source, target.namespace, environment_type="production")
            source.environment_ready()
            store_to_read(source, target)
            config_map(target, SCRIPTS, a=NEUTRALISE)
            cluster.apply(
                target.environment_object(type="staging", neutralize={"sql": {"configMapRef": {"name": SCRIPTS}}})
            )
            target.environment_ready()
            source.completed("Snapshot", source.snapshot("base", timeoutSeconds=PATIENCE), PATIENCE)
            return twice(target, "Rollback", lambda name: into(source, target, name, "base", timeoutSeconds=PATIENCE))

    return {
        "large-database": snapshots(lambda site: fill(site, int(2500 * scale))),
        "many-files": snapshots(lambda site: files(site, int(150_000 * scale), 8_000)),
        "few-large-files": snapshots(lambda site: files(site, 5, int(500 * scale) << 20)),
        "safety-snapshot": rollbacks(1500, safety=True),
        "small": rollbacks(150, safety=False),
        "small-safety-snapshot": rollbacks(150, safety=True),
        "staging-copy": staging,
    }


def main() -> None:
    """Runs the chosen shapes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shapes", nargs="*")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--traces", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    cluster, rows = Cluster(), list[Figure]()
    Operator(cluster).install()
    with tempfile.TemporaryDirectory() as folder:
        servers = Servers(cluster, Shared(Path(folder)))
        try:
            known = shapes(cluster, servers, options.scale)
            for name in options.shapes or known:
                rows += figures(name, known[name](), options.traces)
        finally:
            servers.remove()
    report(rows, options.json)


def figures(name: str, trace: Trace, folder: Path | None) -> list[Figure]:
    """How far its percentage is from the share of the time, and its largest jump."""
    if folder is not None:
        trace.save(folder / f"{name}.json")
    shown = list(replayed(trace))
    seconds = len(shown)
    return [
        limit(
            f"Progress of {name} ({seconds} s), points from the share of the time",
            [farthest(shown)],
            MOST_POINTS,
            "points",
        ),
        limit(f"Progress of {name} ({seconds} s), largest jump", [largest_jump(shown)], LARGEST_JUMP, "points"),
    ]


if __name__ == "__main__":
    main()
