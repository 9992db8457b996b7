"""The chain of a rollback and its undo: what the API server, the operator, the node and the Job did, and when.

Run in the node's network, in a cluster with images. It prints a table of the parts; with `--whole` each event and each
decision of the operator, in seconds since the object was applied.
"""

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from cluster import answers, empty_job, fill, seconds

from support.cluster.cluster import REPOSITORY, Cluster, Object
from support.cluster.operator import NAMESPACE, Operator
from support.cluster.shared import Shared
from support.cluster.site import Servers, Site, make_site

_CONTAINERD = re.compile(r'time="([^"]+)" level=info msg="(RunPodSandbox for .*returns|StartContainer for)')
_NAME = re.compile(r"Name:([a-z0-9-]+)")


#: The parts of the chain: what ends each, by whom it is seen, and how.
PARTS = (
    ("operator: until the Job is created", "Job", "(restore|switch)-.*ADDED"),
    ("Job controller and scheduler: until the pod has a node", "Pod", "(restore|switch)-.* Pending node"),
    ("kubelet: until the container runs", "containerd", "StartContainer .*returns"),
    ("mover: start, until its first line", "mover", '"type":"(step|ready)"'),
    ("mover: the preflight", "mover", '"type":"probed"'),
    ("mover: restore and check", "mover", '"type":"restored"'),
    ("mover: connects, until it is ready", "mover", '"type":"ready"'),
    ("operator: until the application is scaled down", "Deployment", "replicas=0"),
    ("application: stops", "Pod", "(shop.*(Succeeded|Failed|DELETED))"),
    ("operator: until the switch is written", "Rollback", " Switch "),
    ("operator and kubelet: the signal", "mover", '"event": "signal"'),
    ("mover: switch", "mover", '"step":"Switch","state":"Done"'),
    ("mover: writes the outcome", "mover", '"type":"result"'),
    ("kubelet and operator: until the application is scaled up", "Deployment", "replicas=1"),
    ("application: starts", "Deployment", "replicas=1 ready=1"),
    ("operator: until Complete", "Rollback", " Complete "),
)


class Chain:
    """Collects the events of one operation."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.begin = time.time()
        self.events: list[tuple[float, str, str]] = []
        self._stop = threading.Event()
        kinds = ("Rollback", "Job", "Pod", "Deployment")
        self._threads = [threading.Thread(target=self._watch, args=(kind,), daemon=True) for kind in kinds]
        self._threads.append(threading.Thread(target=self._ask, daemon=True))

    def __enter__(self) -> "Chain":
        for thread in self._threads:
            thread.start()
        time.sleep(1)  # the watches are open
        self.begin = time.time()
        return self

    def __exit__(self, *_: object) -> None:
        time.sleep(1)  # the last events arrive
        self._stop.set()
        self.events += self._of_movers()
        self.events += self._of_operator()
        self.events += self._of_containerd()

    def add(self, who: str, what: str) -> None:
        """Something that happens now."""
        self.events.append((time.time(), who, what))

    def _watch(self, kind: str) -> None:
        last: dict[str, str] = {}
        cluster = Cluster()
        resource = cluster.resource(kind)
        for event in cluster.dynamic.watch(resource, self._site.namespace, timeout=300):
            if self._stop.is_set():
                return
            obj = event["raw_object"]
            name, text = obj["metadata"]["name"], f"{event['type']} {_short(kind, obj)}"
            if last.get(name) != text:
                last[name] = text
                self.add(kind, f"{name}: {text}")

    def _ask(self) -> None:
        good = True
        while not self._stop.is_set():
            now = answers(self._site)
            if now != good:
                self.add("application", "answers" if now else "does not answer")
            good = now
            time.sleep(0.02)

    def _of_movers(self) -> Iterator[tuple[float, str, str]]:
        for pod in self._site.cluster.pods(self._site.namespace, "app.kubernetes.io/managed-by=ocore-snapshots"):
            name = pod["metadata"]["name"]
            for line in self._site.cluster.logs(self._site.namespace, name, timestamps=True).splitlines():
                stamp, _, text = line.partition(" ")
                yield _seconds(stamp), "mover", text

    def _of_operator(self) -> Iterator[tuple[float, str, str]]:
        pod = Operator(self._site.cluster).pod()["metadata"]["name"]
        since = int(time.time() - self.begin) + 2
        for line in self._site.cluster.logs(NAMESPACE, pod, timestamps=True, since_seconds=since).splitlines():
            stamp, _, text = line.partition(" ")
            yield _seconds(stamp), "operator", text

    def _of_containerd(self) -> Iterator[tuple[float, str, str]]:
        command = [str(REPOSITORY / "localcluster/cluster"), "logs", "containerd"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        for line in done.stdout.splitlines():
            found = _CONTAINERD.search(line)
            if found:
                name = _NAME.search(line)
                yield _seconds(found[1]), "containerd", f"{found[2]} {name[1] if name else line[-60:]}"

    def parts(self) -> dict[str, float]:
        """Seconds of each part: from the end of the part before it that happened, to the first event that ends it."""
        at, found = self.begin, {}
        for name, who, pattern in PARTS:
            times = [t for t, w, text in sorted(self.events) if w == who and t >= at and re.search(pattern, text)]
            if times:
                found[name] = times[0] - at
                at = times[0]
        return found

    def report(self) -> None:
        """Prints what happened since the object was applied."""
        for at, who, what in sorted(self.events):
            if at >= self.begin:
                print(f"{at - self.begin:8.3f} {who:12} {what[:400]}", flush=True)


def _seconds(stamp: str) -> float:
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", stamp)).timestamp()


def _short(kind: str, obj: Object) -> str:
    """What of the object says how far it is."""
    status = obj.get("status", {})
    if kind == "Rollback":
        steps = [f"{s['name']}={s['state']}" for s in status.get("steps", ()) if s["state"] != "Pending"]
        return f"{status.get('phase')} {status.get('stage')} {' '.join(steps)}"
    if kind == "Pod":
        states = [f"{c['name']}={next(iter(c.get('state') or {'': 0}))}" for c in status.get("containerStatuses", ())]
        ready = [c["status"] for c in status.get("conditions", ()) if c["type"] == "Ready"]
        node, leaving = obj["spec"].get("nodeName", ""), "deleting " * ("deletionTimestamp" in obj["metadata"])
        return f"{leaving}{status.get('phase')} {node} {' '.join(states)} ready={ready}"
    if kind == "Job":
        ended = [c["type"] for c in status.get("conditions", ()) if c["status"] == "True"]
        return f"active={status.get('active', 0)} ready={status.get('ready', 0)} {ended}"
    return f"replicas={obj['spec']['replicas']} ready={status.get('readyReplicas', 0)}"


def traced(site: Site, run: int, *, whole: bool) -> dict[str, dict[str, float]]:
    """The parts of one rollback and of its undo."""
    found = {}
    for kind in ("rollback", "undo"):
        with Chain(site) as chain:
            name = f"run-{run}" if kind == "rollback" else f"undo-{run}"
            if kind == "rollback":
                site.rollback(name, "base", undoWindowSeconds=3600)
            else:
                site.undo(name, f"run-{run}")
            site.completed("Rollback", name)
        found[kind] = chain.parts()
        if whole:
            print(f"=== {name}", flush=True)
            chain.report()
    for done in (f"undo-{run}", f"run-{run}"):
        site.cluster.delete("Rollback", done, site.namespace)
        site.cluster.wait_gone("Rollback", done, site.namespace, 120)
    return found


def main() -> None:
    """Runs them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--megabytes", type=int, default=150)
    parser.add_argument("--whole", action="store_true", help="print each event, and each decision of the operator")
    options = parser.parse_args()
    cluster = Cluster()
    Operator(cluster).install("--set", f"settings.logLevel={'DEBUG' if options.whole else 'INFO'}")
    with tempfile.TemporaryDirectory() as folder:
        servers = Servers(cluster, Shared(Path(folder)))
        try:
            with make_site(cluster, servers) as site:
                fill(site, options.megabytes)
                site.completed("Snapshot", site.snapshot("base"), 600)
                empty, runs = [], []
                for run in range(options.runs):
                    empty.append(seconds(lambda: empty_job(cluster, site.namespace)))
                    runs.append(traced(site, run, whole=options.whole))
        finally:
            servers.remove()
    print(f"An empty Job takes {statistics.median(empty):.2f} s. Medians of {options.runs} runs, in seconds:")
    for kind in ("rollback", "undo"):
        print(f"\n| part of the {kind} | median | each |\n|---|---|---|")
        for name, *_ in PARTS:
            each = [run[kind][name] for run in runs if name in run[kind]]
            if each:
                print(f"| {name} | {statistics.median(each):.2f} | {' '.join(f'{s:.2f}' for s in each)} |")
        print(f"| all | {statistics.median(sum(run[kind].values()) for run in runs):.2f} | |", flush=True)


if __name__ == "__main__":
    main()
