"""A Rollback in place on a real cluster: what its status reports, what aborts it, what finishes it whatever happens.

One site serves all tests: each leaves it whole.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from support.cluster.cluster import Cluster, Object, condition, is_true, wait_for
from support.cluster.promises import (
    folders,
    fresh,
    holds_all_promises,
    marker,
    old_or_new,
    ready_only_on_the_live_one,
    set_marker,
    stored_keys,
)
from support.cluster.site import Site, Sites


def rollback(site: Site, name: str) -> Object | None:
    """The Rollback as it is."""
    return site.cluster.get("Rollback", name, site.namespace)


def at_stage(site: Site, name: str, *stages: str, timeout: float = 120) -> Object:
    """The Rollback once it is at one of these stages."""
    return site.cluster.wait(
        "Rollback", name, site.namespace, lambda o: o.get("status", {}).get("stage") in stages, timeout, f"at {stages}"
    )


def jobs(site: Site, command: str) -> list[Object]:
    """The namespace's Jobs that run the command."""
    return site.cluster.objects("Job", site.namespace, f"ocore.dev/command={command}")


def patch_shop(site: Site, **container: Any) -> None:
    """Changes the application's container and waits for the new pod."""
    site.patch_shop({"spec": {"terminationGracePeriodSeconds": 30, "containers": [{"name": "app", **container}]}})


def replicas(site: Site) -> int:
    """Of the application."""
    found = site.cluster.get("Deployment", "shop", site.namespace)
    assert found is not None
    return int(found["spec"]["replicas"])


def test_its_status_tells_everything(site: Site) -> None:
    set_marker(site, 1)
    name = fresh("story")
    site.rollback(name, "base", undoWindowSeconds=3600, requestedBy="admin")
    obj = site.completed("Rollback", name)
    status = obj["status"]
    old_or_new(site, obj)
    states = {s["name"]: s["state"] for s in status["steps"]}
    assert states.pop("Neutralize") == "Skipped"
    assert list(states.values()) == ["Done"] * 8 + ["Pending"], status["steps"]
    assert status["workloads"] == [{"kind": "Deployment", "name": "shop", "replicas": 1}]
    times = [
        status[k] for k in ("queuedAt", "startedAt", "quiescedAt", "switchedAt", "resumedAt", "readyAt", "completedAt")
    ]
    assert times == sorted(times)
    assert 0 < status["refusedSeconds"] < 15
    assert status["evidence"]["missing"] == []
    assert status["progress"]["percent"] == 100
    assert status["observedGeneration"] == obj["metadata"]["generation"]
    assert is_true(obj, "PreviousRetained")
    assert condition(obj, "Reconciling") is None
    assert site.databases() == sorted([site.database, status["previousDatabase"]])
    environment = site.cluster.wait(
        "Environment", site.environment, site.namespace, lambda o: not o["status"].get("operation"), 60, "free"
    )
    assert environment["status"]["executedRollbacks"][-1]["name"] == name
    events = site.cluster.kubectl("-n", site.namespace, "get", "events", "-o", "jsonpath={.items[*].reason}").split()
    assert {"Started", "Restored", "Quiescing", "Switched", "Resumed", "Complete"} <= set(events)

    # Deleted inside its undo window: the previous database goes at once. GitOps applies it again: nothing happens.
    site.cluster.delete("Rollback", name, site.namespace)
    site.cluster.wait_gone("Rollback", name, site.namespace, 90)
    assert site.databases() == [site.database]
    set_marker(site, 2)
    site.rollback(name, "base", undoWindowSeconds=3600, requestedBy="admin")
    obj = site.completed("Rollback", name)
    assert condition(obj, "Complete")["reason"] == "AlreadyExecuted"  # type: ignore[index]
    assert marker(site) == 2
    site.cluster.wait("Rollback", name, site.namespace, lambda o: not o["metadata"].get("finalizers"), 30, "let go")
    # Another one of that name is not the same one. It is deleted during the switch: it is finished first, then it goes,
    # and takes the previous database with it.
    site.cluster.delete("Rollback", name, site.namespace)
    site.rollback(name, "base", annotations={"ocore.dev/failpoints": "switch-refused=sleep:8"}, undoWindowSeconds=1800)
    at_stage(site, name, "Switch")
    site.cluster.delete("Rollback", name, site.namespace)
    said = site.cluster.wait(
        "Rollback",
        name,
        site.namespace,
        lambda o: "deleted during the switch" in (condition(o, "Reconciling") or {}).get("message", ""),
        30,
        "says that it finishes first",
    )
    assert said["metadata"]["finalizers"]
    site.cluster.wait_gone("Rollback", name, site.namespace, 180)
    assert marker(site) == 0
    holds_all_promises(site)


def test_called_off_while_it_stops_the_workloads(site: Site) -> None:
    """What another client scales up again and again is stopped again. A deletion calls it off: the workloads are
    started again before it goes."""
    set_marker(site, 4)
    patch_shop(site, lifecycle={"preStop": {"exec": {"command": ["sleep", "15"]}}})
    try:
        name = fresh("gitops")
        site.rollback(name, "base", undoWindowSeconds=0)
        at_stage(site, name, "Drain")
        for _ in range(4):
            site.cluster.kubectl("-n", site.namespace, "scale", "deployment/shop", "--replicas=1")
            wait_for("it is at zero again", lambda: replicas(site) == 0, 10, 0.1)
        obj = site.completed("Rollback", name)
        assert obj["status"]["workloads"][0]["replicas"] == replicas(site) == 1
        assert marker(site) != 4
        set_marker(site, 4)

        name = fresh("cancelled")
        site.rollback(name, "base")
        at_stage(site, name, "Drain")
        site.gone("Rollback", name)
    finally:
        patch_shop(site, lifecycle=None)
    assert marker(site) == 4
    holds_all_promises(site)


def has_begun(site: Site) -> bool:
    """The live database refuses connections, or is the restored one already."""
    try:
        return marker(site) == 0
    except (psycopg.OperationalError, psycopg.errors.UndefinedTable):
        return True  # refused, or switched between the two queries


def loses_its_switch_job(site: Site, point: str, **spec: Any) -> Object:
    """A Rollback whose Job is deleted during the switch, with its pod; its terminal state."""
    name = fresh(f"lost-{point}")
    site.rollback(name, "base", annotations={"ocore.dev/failpoints": f"{point}=sleep:25"}, **spec)
    at_stage(site, name, "Switch")
    wait_for("it has begun", lambda: has_begun(site), 60, interval=0.1)
    job = next(j for j in jobs(site, "restore") if j["metadata"]["ownerReferences"][0]["name"] == name)
    site.cluster.kubectl(
        "-n",
        site.namespace,
        "delete",
        "pod",
        "-l",
        f"job-name={job['metadata']['name']}",
        "--force",
        "--grace-period=0",
    )
    site.cluster.delete("Job", job["metadata"]["name"], site.namespace)
    return site.finished("Rollback", name, 240)


def test_switch_job_lost_after_its_signal(site: Site) -> None:
    """An inspection reports what became of it, and the rollback is finished, forward or back."""
    set_marker(site, 8)
    old_or_new(site, loses_its_switch_job(site, "switch-refused", undoWindowSeconds=0))
    holds_all_promises(site)


def test_two_rollbacks_in_one_undo_window(site: Site) -> None:
    """The first one's previous database goes when its window is over, though the live database is the second one's by
    then. The switch Jobs of both are lost after their signal."""
    set_marker(site, 9)
    first = loses_its_switch_job(site, "switch-renamed", undoWindowSeconds=3600)
    assert is_true(first, "Complete"), first["status"]
    old_or_new(site, first)
    kept = first["status"]["previousDatabase"]
    set_marker(site, 10)
    second = loses_its_switch_job(site, "switch-done", undoWindowSeconds=3600)
    assert is_true(second, "Complete"), second["status"]
    old_or_new(site, second)
    assert len(site.databases()) == 3
    site.gone("Rollback", first["metadata"]["name"])
    assert kept not in site.databases()
    assert marker(site) == 0
    site.gone("Rollback", second["metadata"]["name"])
    holds_all_promises(site)


@contextmanager
def pod_events(site: Site) -> Iterator[list[tuple[str, Object]]]:
    """The changes of the namespace's pods in their order, ADDED, MODIFIED or DELETED, while the block runs."""
    seen: list[tuple[str, Object]] = []
    done = threading.Event()
    watching = Cluster()
    pods = watching.resource("Pod")
    version = pods.get(namespace=site.namespace).to_dict()["metadata"]["resourceVersion"]

    def watch(after: str) -> None:
        while not done.is_set():
            for event in watching.dynamic.watch(pods, site.namespace, resource_version=after, timeout=2):
                seen.append((event["type"], event["raw_object"]))
                after = event["raw_object"]["metadata"]["resourceVersion"]

    thread = threading.Thread(target=watch, args=(version,), daemon=True)
    thread.start()
    try:
        yield seen
        assert thread.is_alive(), "the watch ended early"
    finally:
        done.set()
        thread.join(30)


def mounts_a_claim(pod: Object) -> bool:
    """Whether it is a Job's pod that mounts a claim."""
    ours = (pod["metadata"].get("labels") or {}).get("app.kubernetes.io/managed-by") == "ocore-snapshots"
    return ours and any("persistentVolumeClaim" in v for v in pod["spec"]["volumes"])


def reported_at(site: Site, pod: str) -> str:
    """When the mover of that pod wrote its result, to the second."""
    lines = site.cluster.logs(site.namespace, pod, timestamps=True).splitlines()
    return next(f"{line[:19]}Z" for line in lines if '"type":"result"' in line)


@dataclass(frozen=True)
class SwitchedBack:
    """What was seen of a Rollback that was switched back, with its databases, its folders and what the store had then,
    the changes of pods until that, and its state when its undo window was over."""

    obj: Object
    databases: list[str]
    folders: list[str]
    stored: set[str]
    pods: list[tuple[str, Object]]
    #: When each Job that mounts a claim wrote its result, by its command.
    reported: dict[str, str]
    databases_later: list[str]
    cleaned: Object


@pytest.fixture(scope="module")
def switched_back(sites: Sites) -> SwitchedBack:
    """The application does not become ready on the restored database."""
    site = sites.of()
    set_marker(site, 13)
    with ready_only_on_the_live_one(site):
        with pod_events(site) as events:
            name = fresh("kept")
            site.rollback(name, "base", readyTimeoutSeconds=10, undoWindowSeconds=40)
            obj = site.failed("Rollback", name, "SwitchedBack", 240)
            old_or_new(site, obj)
        ours = {
            p["metadata"]["name"]: p["metadata"]["labels"]["ocore.dev/command"] for _, p in events if mounts_a_claim(p)
        }
        reported = {
            command: reported_at(site, pod) for pod, command in ours.items() if command in ("restore", "switch")
        }
        then = (site.databases(), folders(site), stored_keys(site), list(events), reported)
        # The environment is free for the next operation.
        site.completed("Snapshot", site.snapshot(fresh("between"), deletionPolicy="Delete"))
        later = site.databases()
        cleaned = site.cluster.wait(
            "Rollback", name, site.namespace, lambda o: o["status"].get("residue") == "None", 120, "cleaned up"
        )
    holds_all_promises(site)
    return SwitchedBack(obj, *then, later, cleaned)


def test_row_31_what_is_switched_back_is_kept(switched_back: SwitchedBack) -> None:
    """For the undo window, with what was written to it; then nothing of it is left."""
    obj = switched_back.obj
    kept, live = obj["status"]["restoredDatabase"], obj["status"]["liveDatabase"]
    assert switched_back.databases == sorted([live, kept])
    assert is_true(obj, "SwitchedBackRetained")
    assert condition(obj, "PreviousRetained") is None
    assert any(f.startswith("hold-") for f in switched_back.folders)
    assert kept in switched_back.databases_later
    assert (condition(switched_back.cleaned, "SwitchedBackRetained") or {}).get("reason") == "UndoWindowOver"


def test_row_35_the_claim_is_released_before_the_workload_starts(switched_back: SwitchedBack) -> None:
    """After the switch and after the switch back. On two nodes the new pod could not attach a ReadWriteOnce claim that
    our pod still uses. The kubelet shows the end of that pod some seconds late."""
    added = [pod["metadata"] for type_, pod in switched_back.pods if type_ == "ADDED"]
    started = sorted(m["creationTimestamp"] for m in added if (m.get("labels") or {}).get("app") == "shop")
    reported = switched_back.reported
    assert sorted(reported) == ["restore", "switch"], "restore and switch are one Job, a switch back is another"
    assert len(started) >= 2, "the workload starts after the switch, and after the switch back"
    assert reported["restore"] <= started[0]
    assert reported["switch"] <= started[-1]
    assert any(key.endswith("/switched-back.json") for key in switched_back.stored), "its outcome is in the store"
