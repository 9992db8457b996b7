"""The soak: random snapshots, rollbacks, undos, neutralised copies, deletions and kills under load; after each, the
promises of the README.

Bounded by ``--seconds``, and replayable: what is drawn depends on ``--seed`` only, so the same seed does the same
things in the same order (what a kill hits depends on the machine). In the cluster's network, with the operator's chart
installed or not::

    localcluster/cluster net -- python -m e2e.soak --seconds 1800 --seed 1
"""

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from demo_app.load import Load, LoadPlan
from demo_app.targets import HttpTarget
from ocore_crds import conditions
from ocore_crds.failpoints import REGISTRY
from ocore_crds.naming import LABEL_MANAGED_BY, MANAGED_BY
from support.cluster import node
from support.cluster.cluster import Cluster, Object, condition, is_true, wait_for
from support.cluster.neutralising import acting, neutralising
from support.cluster.operator import Operator
from support.cluster.other_namespace import grant, into, store_to_read
from support.cluster.promises import fresh, holds_all_promises, is_no_snapshot, marker, set_marker, terminal_in_time
from support.cluster.shared import Shared
from support.cluster.site import Servers, Site, make_site

SERVER = "postgres-soak"
#: Snapshots that are kept at most: beyond, one is deleted whatever was drawn.
KEPT = 5
#: Seconds that an operation may take, and its deadline's grace (promise 5 of the README).
TIMEOUT, GRACE = 240, 60
LOAD_SECONDS = 6

Action = Literal["snapshot", "rollback", "undo", "copy", "delete"]
Victim = Literal["none", "mover", "pod", "operator", "postgres", "kubelet"]
ACTIONS: tuple[Action, ...] = ("snapshot", "rollback", "undo", "copy", "delete")
VICTIMS: tuple[Victim, ...] = ("none", "mover", "pod", "operator", "postgres", "kubelet")
_PREFIXES: dict[Action, tuple[str, ...]] = {
    "snapshot": ("snapshot-", "after-", "operator-snapshot-"),
    "rollback": ("restore-", "switch-", "cleanup-", "operator-rollback-"),
    "undo": ("switch-", "cleanup-", "operator-undo-", "operator-rollback-"),
    "copy": ("restore-", "neutralize-", "switch-", "cleanup-", "operator-rollback-"),
    "delete": ("delete-",),
}

#: Failpoints of createSafetySnapshot and restoreImage, which these rollbacks do not ask for (test_safety_and_image.py).
_NOT_ASKED_FOR = ("operator-rollback-safety-", "operator-rollback-image-")

#: Reasons with which an operation may fail, by what was killed. Where nothing was killed, or where the next attempt or
#: the next process finishes the work, there is none.
_MOVER = frozenset({conditions.JOB_FAILED, conditions.JOB_LOST})
_SERVER = frozenset(
    {conditions.DATABASE_UNREACHABLE, conditions.DUMP_FAILED, conditions.RESTORE_FAILED, conditions.SWITCH_FAILED}
)
EXPLAINED: dict[tuple[Action, Victim], frozenset[str]] = {
    ("rollback", "mover"): _MOVER,
    ("rollback", "pod"): _MOVER,
    ("undo", "mover"): _MOVER,
    ("undo", "pod"): _MOVER,
    ("snapshot", "postgres"): _SERVER,
    ("rollback", "postgres"): _SERVER,
    ("undo", "postgres"): _SERVER,
    ("copy", "mover"): _MOVER,
    ("copy", "pod"): _MOVER,
    ("copy", "postgres"): _SERVER | {conditions.NEUTRALIZE_FAILED},
}


@dataclass(frozen=True)
class Step:
    """One thing to do, drawn before anything of it is known to succeed."""

    number: int
    action: Action
    pick: float  # which of the snapshots, as a share of their number
    victim: Victim
    point: (
        float  # which of the action's failpoints, as a share of their number; the mover's or the operator's own death
    )
    delay: float  # seconds from the action's start to the other victims' death
    read_back: bool
    load_seed: int

    def failpoint(self, action: Action) -> str:
        """Where the mover or the operator dies."""
        points = [n for n in REGISTRY if n.startswith(_PREFIXES[action]) and not n.startswith(_NOT_ASKED_FOR)]
        return points[int(self.point * len(points))]


def plan(seed: int) -> Iterator[Step]:
    """The steps of a seed, without end."""
    chance = random.Random(seed)  # noqa: S311 - a schedule
    number = 0
    while True:
        number += 1
        yield Step(
            number=number,
            action=chance.choices(ACTIONS, (4, 3, 2, 2, 1))[0],
            pick=chance.random(),
            victim=chance.choices(VICTIMS, (3, 3, 1, 1, 1, 1))[0],
            point=chance.random(),
            delay=chance.uniform(0.5, 12),
            read_back=chance.random() < 0.25,
            load_seed=chance.randrange(1 << 16),
        )


@dataclass
class Soak:
    """One run: on a site of production, and a site of staging in another namespace, which gets neutralised copies."""

    site: Site
    staging: Site
    operator: Operator
    emit: Callable[[str], None] = print
    outcomes: Counter[str] = field(default_factory=Counter)
    #: Complete snapshot → value of the marker in it.
    _snapshots: dict[str, int] = field(default_factory=dict)

    def run(self, seed: int, seconds: float, steps: int | None = None) -> int:
        """Steps until the time is over, or `steps` of them; their number. Raises AssertionError of the first promise
        that is broken."""
        end = time.monotonic() + seconds
        for step in plan(seed):
            if time.monotonic() >= end or step.number - 1 == steps:
                return step.number - 1
            begun = time.monotonic()
            action = self._possible(step)
            try:
                outcome = self._do(step, action)
                holds_all_promises(self.site, timeout=180)
                if action == "copy":
                    holds_all_promises(self.staging, timeout=180)
            except BaseException:
                self.emit(f"broken at step {step.number} of seed {seed}: {json.dumps(asdict(step))}")
                raise
            self.outcomes[f"{action} {outcome}"] += 1
            took = time.monotonic() - begun
            self.emit(f"{step.number:4} {action:8} {step.victim:8} {outcome:24} {took:6.1f} s")
        raise AssertionError("unreachable")

    def _possible(self, step: Step) -> Action:
        if not self._snapshots:
            return "snapshot"
        return "delete" if len(self._snapshots) > KEPT else step.action

    def _do(self, step: Step, action: Action) -> str:
        load = threading.Thread(target=self._load, args=(step.load_seed,))
        load.start()
        try:
            match action:
                case "snapshot":
                    return self._snapshot(step)
                case "rollback":
                    return self._rollback(step)
                case "undo":
                    return self._undo(step)
                case "copy":
                    return self._copy(step)
                case "delete":
                    return self._delete(step)
        finally:
            load.join(LOAD_SECONDS + 120)

    def _load(self, seed: int) -> None:
        """Writers at the application's front door, which is closed for a while in every rollback."""
        plan = LoadPlan(seconds=LOAD_SECONDS, rate=20, writers=2, gc_seconds=1, seed=seed)
        Load(HttpTarget(self.site.url), plan, emit=lambda _: None).run()

    # --- actions ----------------------------------------------------------------------------------------------
    def _snapshot(self, step: Step) -> str:
        set_marker(self.site, step.number)
        name = self.site.snapshot(
            fresh("soak"),
            annotations=self._armed(step, "snapshot"),
            verify="Full" if step.read_back else "Checksums",
            deletionPolicy="Delete",
            timeoutSeconds=TIMEOUT,
        )
        self._strike(step, "Snapshot", name)
        obj = terminal_in_time(self.site, "Snapshot", name)
        if not is_true(obj, "Complete"):
            is_no_snapshot(self.site, obj)
            return self._failed(obj, "snapshot", step.victim)
        assert not step.read_back or is_true(obj, "Verified"), obj["status"]
        self._snapshots[name] = step.number
        return "Complete"

    def _rollback(self, step: Step) -> str:
        set_marker(self.site, step.number)
        snapshot = self._picked(step)
        name = self.site.rollback(
            fresh("soak"),
            snapshot,
            annotations=self._armed(step, "rollback"),
            undoWindowSeconds=0,
            timeoutSeconds=TIMEOUT,
        )
        self._strike(step, "Rollback", name)
        obj = terminal_in_time(self.site, "Rollback", name)
        wait_for("live database accepts connections", self.site.accepts_connections, 60)
        new = is_true(obj, "Complete")
        expected = self._snapshots[snapshot] if new else step.number
        found = marker(self.site)
        assert found == expected, f"{obj['status'].get('phase')}, but the live data is that of step {found}"
        return "Complete" if new else self._failed(obj, "rollback", step.victim)

    def _undo(self, step: Step) -> str:
        """A rollback without a kill, and its undo with one. What both keep is dropped when they are deleted."""
        set_marker(self.site, step.number)
        snapshot = self._picked(step)
        back, undo = fresh("soak"), fresh("undo")
        self.site.rollback(back, snapshot, undoWindowSeconds=3600, timeoutSeconds=TIMEOUT)
        obj = terminal_in_time(self.site, "Rollback", back)
        assert is_true(obj, "Complete"), obj["status"]
        self.site.undo(
            undo, back, annotations=self._armed(step, "undo"), undoWindowSeconds=3600, timeoutSeconds=TIMEOUT
        )
        self._strike(step, "Rollback", undo)
        obj = terminal_in_time(self.site, "Rollback", undo)
        wait_for("live database accepts connections", self.site.accepts_connections, 60)
        undone = is_true(obj, "Complete")
        expected = step.number if undone else self._snapshots[snapshot]
        found = marker(self.site)
        assert found == expected, f"{obj['status'].get('phase')}, but the live data is that of step {found}"
        assert len(self.site.databases()) == 2, f"one database is kept in the undo window: {self.site.databases()}"
        for name in (undo, back):
            self.site.cluster.delete("Rollback", name, self.site.namespace)
            self.site.cluster.wait_gone("Rollback", name, self.site.namespace, TIMEOUT + GRACE)
        return "Complete" if undone else self._failed(obj, "undo", step.victim)

    def _copy(self, step: Step) -> str:
        """A copy of production that nothing can act on, or staging as it was. Production is not touched."""
        set_marker(self.site, step.number)
        set_marker(self.staging, step.number)
        before = acting(self.staging)
        snapshot = self._picked(step)
        name = fresh("copy")
        into(
            self.site,
            self.staging,
            name,
            snapshot,
            annotations=self._armed(step, "copy"),
            undoWindowSeconds=0,
            timeoutSeconds=TIMEOUT,
        )
        self._strike(step, "Rollback", name, self.staging)
        obj = terminal_in_time(self.staging, "Rollback", name)
        for each in (self.site, self.staging):
            wait_for("live database accepts connections", each.accepts_connections, 60)
        new = is_true(obj, "Complete")
        found, expected = marker(self.staging), self._snapshots[snapshot] if new else step.number
        assert found == expected, f"{obj['status'].get('phase')}, but the data of staging is that of step {found}"
        assert acting(self.staging) == ([] if new else before)
        assert marker(self.site) == step.number
        assert acting(self.site) == ["jobs", "mail", "payments"]
        return "Complete" if new else self._failed(obj, "copy", step.victim)

    def _delete(self, step: Step) -> str:
        name = self._picked(step)
        if (self.site.cluster.get("Snapshot", name, self.site.namespace) or {"status": {}})["status"].get("dependents"):
            return "Needed"  # by differentials: its deletion would be refused
        self.site.cluster.patch(
            "Snapshot", name, self.site.namespace, {"metadata": {"annotations": self._armed(step, "delete")}}
        )
        self.site.cluster.delete("Snapshot", name, self.site.namespace)
        self._strike(step, "Snapshot", name)
        self.site.cluster.wait_gone("Snapshot", name, self.site.namespace, TIMEOUT + GRACE)
        del self._snapshots[name]
        return "Gone"

    def _picked(self, step: Step) -> str:
        names = sorted(self._snapshots, key=lambda n: self._snapshots[n])
        return names[int(step.pick * len(names))]

    @staticmethod
    def _failed(obj: Object, action: Action, victim: Victim) -> str:
        """Fails where the reason is not one that the kill explains."""
        found = condition(obj, "Failed")
        assert found is not None, obj["status"]
        assert len(found["message"]) > 20, found
        assert found["reason"] in EXPLAINED.get((action, victim), ()), (
            f"{found['reason']} after a kill of {victim}: {found}"
        )
        return f"Failed {found['reason']}"

    # --- kills ------------------------------------------------------------------------------------------------
    @staticmethod
    def _armed(step: Step, action: Action) -> dict[str, str]:
        if step.victim != "mover":
            return {}
        return {"ocore.dev/failpoints": f"{step.failpoint(action)}=kill@1"}

    def _strike(self, step: Step, kind: str, name: str, site: Site | None = None) -> None:
        """The death of the others, at some moment of the operation. `site`: where it runs, if not in production."""
        if step.victim in ("none", "mover"):
            return
        threading.Event().wait(step.delay)
        match step.victim:
            case "operator":
                self.operator.kill()
            case "kubelet":
                node.kill_component("kubelet")
            case "postgres":
                (pod,) = self.site.cluster.pods(self.site.servers.namespace, f"app={SERVER}")
                node.signal(node.processes(pod, "^postgres -D"), "KILL")
            case "pod":
                _delete_pods(site or self.site, kind, name)


def _delete_pods(site: Site, kind: str, name: str) -> None:
    """The running pods of an operation, without a grace period."""
    obj = site.cluster.get(kind, name, site.namespace)
    if obj is None:
        return
    selector = f"{LABEL_MANAGED_BY}={MANAGED_BY},ocore.dev/uid={obj['metadata']['uid']}"
    for pod in site.cluster.pods(site.namespace, selector):
        if pod.get("status", {}).get("phase") == "Running":
            site.cluster.delete("Pod", pod["metadata"]["name"], site.namespace, gracePeriodSeconds=0)


def soak(
    cluster: Cluster,
    servers: Servers,
    operator: Operator,
    *,
    seed: int,
    seconds: float,
    emit: Callable[[str], None],
    steps: int | None = None,
) -> Soak:
    """A run on two sites and a PostgreSQL server of its own. `steps`: at most so many."""
    host = servers.start_postgres(SERVER, 17, respawn=True)
    with (
        make_site(cluster, servers, postgres_host=host) as site,
        make_site(cluster, servers, postgres_host=host, environment={"type": "staging"}) as staging,
        neutralising(staging),
    ):
        grant(site, staging.namespace, environment_type="production")
        site.environment_ready()
        store_to_read(site, staging)
        run = Soak(site, staging, operator, emit)
        done = run.run(seed, seconds, steps)
        emit(f"seed {seed}: {done} steps in {seconds:.0f} s, every promise held: {dict(sorted(run.outcomes.items()))}")
        return run


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m e2e.soak", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--seconds", type=float, default=1800, help="no new step begins after that (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same steps (%(default)s)")
    options = parser.parse_args()
    cluster = Cluster()
    operator = Operator(cluster)
    operator.install()

    def emit(line: str) -> None:
        print(line, flush=True)

    with tempfile.TemporaryDirectory() as folder:
        servers = Servers(cluster, Shared(Path(folder)))
        try:
            soak(cluster, servers, operator, seed=options.seed, seconds=options.seconds, emit=emit)
        finally:
            servers.remove()
    return 0


if __name__ == "__main__":
    sys.exit(main())
