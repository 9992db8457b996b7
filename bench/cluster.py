"""Figures that need a cluster: a snapshot's latency, a rollback's length, downtime of a rollback and its undo, memory
of mover and operator.

Run by `make bench` in the node's network. Both sides of a comparison run in the same cluster, alternating, at least
three times; medians.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from figures import Figure, at_most, limit, report

from support.cluster.cluster import GROUP, POD_SECURITY, RESTRICTED, Cluster, Object, unique, wait_for
from support.cluster.operator import Operator
from support.cluster.shared import Shared
from support.cluster.site import IMAGE, Servers, Site, make_site

#: A whole rollback may take so many times a plain restore, and that for all Jobs together (issue 4).
ROLLBACK_RATIO, ROLLBACK_JOBS_SECONDS = 1.15, 10
#: And so many times an empty Job, less what the application itself takes to stop and start; its undo; and the Jobs
#: that it makes (issue 41).
ROLLBACK_OF_EMPTY, UNDO_OF_EMPTY, ROLLBACK_JOBS = 1.4, 0.9, 2
#: Databases for which a pod's start, and not the data, decides how long a rollback takes.
MOST_MEGABYTES = 200
DOWNTIME_SECONDS = 5
PREVIEW_SECONDS = 5.0
#: Two medians of three downtimes differ by that much, beside what the runs differ among themselves: the kubelet looks
#: once a second.
NOISE_SECONDS = 1.0


def seconds(action: Callable[[], object]) -> float:
    """Wall time of a call."""
    begin = time.monotonic()
    action()
    return time.monotonic() - begin


def empty_job(cluster: Cluster, namespace: str) -> None:
    """What Kubernetes itself takes: a Job that does nothing, in the mover's image."""
    name = unique("empty")
    cluster.apply(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "backoffLimit": 0,
                "template": {
                    "spec": {
                        "restartPolicy": "Never",
                        "securityContext": POD_SECURITY,
                        "containers": [
                            {
                                "name": "main",
                                "image": f"{IMAGE}/mover:17",
                                "imagePullPolicy": "IfNotPresent",
                                "command": ["true"],
                                "securityContext": RESTRICTED,
                            }
                        ],
                    }
                },
            },
        }
    )
    cluster.wait("Job", name, namespace, lambda j: (j.get("status", {}).get("succeeded") or 0) > 0, 60)


def latency(cluster: Cluster, servers: Servers, runs: int) -> list[Figure]:
    """From `kubectl apply` of a Snapshot of a tiny environment to Complete, and an empty Job."""
    ours, peer = [], []
    with make_site(cluster, servers) as site:
        for run in range(runs):
            peer.append(seconds(lambda: empty_job(cluster, site.namespace)))
            ours.append(
                seconds(lambda run=run: site.completed("Snapshot", site.snapshot(f"run-{run}")))  # type: ignore[misc]
            )
    return [at_most("Snapshot of a tiny environment, from apply to Complete", ours, peer, "an empty Job", 2)]


def fill(site: Site, megabytes: int) -> None:
    """Wide text and JSON tables of about that size, half compressible."""
    rows = megabytes * 1024 // 2  # about 2 KiB a row
    with site.connect() as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS pgcrypto")
        for table in range(8):
            connection.execute(
                f"CREATE TABLE wide_{table} AS SELECT g AS id, "
                "encode(gen_random_bytes(700), 'hex') AS random_text, "
                "jsonb_build_object('order', g, 'note', repeat('the quick brown fox ', 20), 'sum', g * 1.19) AS data "
                "FROM generate_series(1, %s) g",
                [rows // 8],
            )
            connection.execute(f"ALTER TABLE wide_{table} ADD PRIMARY KEY (id)")


def answers(site: Site) -> bool:
    """Whether the application answers at its HTTP port."""
    try:
        with urllib.request.urlopen(f"{site.url}/readyz", timeout=0.5) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


class Downtime:
    """Asks the application's HTTP port all the time. Its outages: each from the first failed to the next good
    answer."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.outages: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Downtime":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)

    def _run(self) -> None:
        failed: float | None = None
        while not self._stop.is_set():
            good, now = answers(self.site), time.monotonic()
            if not good and failed is None:
                failed = now
            if good and failed is not None:
                self.outages.append(now - failed)
                failed = None
            time.sleep(0.02)

    @property
    def seconds(self) -> float:
        """The longest outage; 0 where it always answered. On a busy machine single requests fail, too."""
        return max(self.outages, default=0.0)


def own_stop_and_start(site: Site) -> float:
    """The application's own share of a downtime: scaled to zero and up again, seen at the same port."""
    with Downtime(site) as downtime:
        site.cluster.kubectl("-n", site.namespace, "scale", "deployment/shop", "--replicas=0")
        wait_for("stopped", lambda: not site.cluster.pods(site.namespace, "app=shop"), 60, 0.05)
        site.cluster.kubectl("-n", site.namespace, "scale", "deployment/shop", "--replicas=1")
        wait_for("answers again", lambda: answers(site), 60, 0.05)
        wait_for("noticed", lambda: downtime.outages, 10, 0.05)
    return downtime.seconds


RESTORE = """
set -e
export PGPASSWORD=$(cat /database/password) PGHOST=$(cat /database/host) PGUSER=$(cat /database/user)
db=$(cat /database/dbname)
pg_dump -Fd -j2 --compress=zstd:1 -f /tmp/dump -d "$db"
psql -qd postgres -c "CREATE DATABASE peer TEMPLATE template0"
begin=$(date +%s.%N)
pg_restore -j2 --no-owner --no-acl -d peer /tmp/dump
psql -qd peer -c ANALYZE
end=$(date +%s.%N)
psql -qd postgres -c "DROP DATABASE peer"
echo "SECONDS $(echo "$end $begin" | awk '{print $1 - $2}')"
"""


def plain_restore(site: Site) -> float:
    """`pg_restore -j2` and ANALYZE alone, in a pod of the same image."""
    code, log = site.cluster.run_pod(
        site.namespace, f"{IMAGE}/mover:17", ["bash", "-c", RESTORE], secrets_={"/database": "database"}, timeout=900
    )
    if code != 0:
        raise RuntimeError(log)
    return float(log.rsplit("SECONDS ", 1)[1].split()[0])


def rollback(cluster: Cluster, servers: Servers, runs: int, megabytes: int) -> tuple[list[Figure], list[float]]:
    """A whole rollback, its downtime and that of its undo; all less what the application itself takes to stop and
    start."""
    whole, peer, down, undone, own, preview = [], [], [], [], [], []
    empty, net_whole, net_undone, made = [], [], [], []
    with make_site(cluster, servers) as site:
        fill(site, megabytes)
        site.completed("Snapshot", site.snapshot("base", timeoutSeconds=3600), 1800)
        for run in range(runs):
            preview.append(seconds(lambda run=run: previewed(site, f"preview-{run}")))  # type: ignore[misc]
            peer.append(plain_restore(site))
            own.append(own_stop_and_start(site))
            empty.append(seconds(lambda: empty_job(cluster, site.namespace)))
            with Downtime(site) as downtime:
                name = site.rollback(f"run-{run}", "base", undoWindowSeconds=3600, timeoutSeconds=3600)
                status = site.completed("Rollback", name, 1800)["status"]
            down.append(downtime.seconds)
            whole.append(span(status["startedAt"], status["completedAt"]) - own[-1])
            net_whole.append(span(status["queuedAt"], status["completedAt"]) - own[-1])
            made.append(float(jobs_of(site, name)))
            with Downtime(site) as downtime:
                undo = site.undo(f"undo-{run}", name)
                status = site.completed("Rollback", undo)["status"]
            undone.append(downtime.seconds)
            net_undone.append(span(status["queuedAt"], status["completedAt"]) - own[-1])
            for done in (undo, name):
                cluster.delete("Rollback", done, site.namespace)
                cluster.wait_gone("Rollback", done, site.namespace, 120)
    net, net_undo = ([d - o for d, o in zip(each, own, strict=True)] for each in (down, undone))
    most = ROLLBACK_RATIO * statistics.median(peer) + ROLLBACK_JOBS_SECONDS
    wanted = f"{ROLLBACK_RATIO} times the peer's, and {ROLLBACK_JOBS_SECONDS} s"
    less = f"less the application's own {statistics.median(own):.1f} s"
    of_empty = [
        at_most(f"Rollback of {megabytes} MB, {less}", net_whole, empty, "an empty Job", ROLLBACK_OF_EMPTY),
        at_most(f"Its undo, {less}", net_undone, empty, "an empty Job", UNDO_OF_EMPTY),
    ]
    return [
        Figure(f"Rollback of {megabytes} MB", "s", whole, wanted, most, peer, "pg_restore -j2, ANALYZE"),
        limit(f"Downtime of a rollback, {megabytes} MB, {less}", net, DOWNTIME_SECONDS, "s"),
        limit(f"Downtime of its undo, {megabytes} MB, {less}", net_undo, DOWNTIME_SECONDS, "s"),
        limit(f"Preview of a rollback, {megabytes} MB", preview, PREVIEW_SECONDS, "s"),
        *(of_empty if megabytes <= MOST_MEGABYTES else ()),
        limit(f"Jobs of a rollback of {megabytes} MB", made, ROLLBACK_JOBS, ""),
    ], net


def jobs_of(site: Site, name: str) -> int:
    """Jobs that a Rollback has made until it was Complete, and probes of its Environment since then."""
    rollback = site.cluster.get("Rollback", name, site.namespace)
    assert rollback is not None
    since, uid = rollback["metadata"]["creationTimestamp"], rollback["metadata"]["uid"]
    made = site.cluster.objects("Job", site.namespace, "app.kubernetes.io/managed-by=ocore-snapshots")
    ended = rollback["status"]["completedAt"]
    return sum(
        job["metadata"]["labels"]["ocore.dev/uid"] == uid
        or (job["metadata"]["labels"]["ocore.dev/command"] == "probe" and since <= job["metadata"]["creationTimestamp"])
        for job in made
        if job["metadata"]["creationTimestamp"] <= ended
    )


def previewed(site: Site, name: str) -> None:
    """A Rollback with dryRun, from `kubectl apply` to its report."""
    site.rollback(name, "base", dryRun=True)
    site.cluster.wait("Rollback", name, site.namespace, lambda o: o["status"].get("phase") == "Previewed", 120)


def span(begin: str, end: str) -> float:
    """Seconds between two timestamps."""
    from datetime import datetime

    return (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()


def operator_idle(cluster: Cluster, servers: Servers, operator: Operator, count: int) -> list[Figure]:
    """Memory and CPU of the operator with so many finished Snapshots."""
    with make_site(cluster, servers, application=False) as site:
        done = site.completed("Snapshot", site.snapshot("base"))
        status = {k: v for k, v in done["status"].items() if k != "id"}
        resource = cluster.resource("Snapshot")
        for number in range(count):
            name = f"copy-{number}"
            body: Object = {
                "apiVersion": GROUP,
                "kind": "Snapshot",
                "metadata": {"name": name, "namespace": site.namespace, "finalizers": ["ocore.dev/data"]},
                "spec": {"environmentRef": {"name": site.environment}},
            }
            resource.create(body=body, namespace=site.namespace)
            resource.subresources["status"].patch(
                body={"status": {**status, "id": f"00000000-0000-4000-8000-{number:012d}", "observedGeneration": 1}},
                name=name,
                namespace=site.namespace,
                content_type="application/merge-patch+json",
            )
        operator.scale(0)
        operator.scale(1)
        time.sleep(60)  # what it does at start is over
        before = cpu_seconds(operator)
        time.sleep(120)
        cores = (cpu_seconds(operator) - before) / 120
        memory = anonymous_bytes(operator) / 1e6
        for number in range(count):
            cluster.patch("Snapshot", f"copy-{number}", site.namespace, {"metadata": {"finalizers": None}})
    return [
        limit(f"Operator's anonymous memory with {count} Snapshots", [memory], 150, "MB"),
        limit(f"Operator's CPU when idle with {count} Snapshots", [cores], 0.1, "cores"),
    ]


def in_node(script: str) -> str:
    """Output of a shell script inside the node."""
    cluster = str(Path(__file__).resolve().parent.parent / "localcluster/cluster")
    return subprocess.run(
        [cluster, "exec", "--", "bash", "-c", script], check=True, capture_output=True, text=True, timeout=30
    ).stdout


def operator_pid(operator: Operator) -> int:
    """The process id inside the node."""
    uid = operator.pod()["metadata"]["uid"]  # type: ignore[index]
    script = (
        f'for c in /proc/[0-9]*/cgroup; do grep -q "{uid}" $c 2>/dev/null || continue; p=$(basename $(dirname $c)); '
        'tr "\\0" " " < /proc/$p/cmdline | grep -q ocore_operator && echo $p && break; done'
    )
    return int(in_node(script))


def cpu_seconds(operator: Operator) -> float:
    """CPU time used so far."""
    fields = in_node(f"cat /proc/{operator_pid(operator)}/stat").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def anonymous_bytes(operator: Operator) -> int:
    """RssAnon."""
    text = in_node(f"grep RssAnon /proc/{operator_pid(operator)}/status")
    return int(text.split()[1]) * 1024


def main() -> None:
    """Runs the chosen figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("figures", nargs="*", default=["latency", "rollback", "operator"])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--megabytes", type=int, default=1500)
    parser.add_argument("--snapshots", type=int, default=1000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(options, Path(folder))
    report(rows, options.json)


def measure(options: argparse.Namespace, folder: Path) -> list[Figure]:
    """The chosen figures. `folder` has what the servers share."""
    cluster = Cluster()
    operator = Operator(cluster)
    operator.install("--set", "admissionPolicies.statusWriters={admin}")  # copies of Snapshots get a status
    servers = Servers(cluster, Shared(folder))
    rows: list[Figure] = []
    try:
        if "latency" in options.figures:
            rows += latency(cluster, servers, max(options.runs, 5))
        if "rollback" in options.figures:
            small, small_down = rollback(cluster, servers, options.runs, options.megabytes // 10)
            large, large_down = rollback(cluster, servers, options.runs, options.megabytes)
            rows += small + large
            noise = NOISE_SECONDS + max(small_down) - min(small_down)
            most = statistics.median(small_down) + noise
            name = "Downtime with a database 10 times as large"
            rows.append(Figure(name, "s", large_down, f"the same within {noise:.1f} s", most, small_down, "a tenth"))
        if "operator" in options.figures:
            rows += operator_idle(cluster, servers, operator, options.snapshots)
    finally:
        servers.remove()
    return rows


if __name__ == "__main__":
    main()
