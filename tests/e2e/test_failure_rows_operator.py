"""Rows of docs/failure-modes.md about the operator: killed, stopped, cut off, in a crowd, too late."""

import threading
import time
from datetime import datetime

import pytest

from ocore_crds.naming import LABEL_COMMAND
from support.cluster import node
from support.cluster.cluster import Cluster, Object, condition, is_true, wait_for
from support.cluster.operator import NAMESPACE, Operator, operator_account
from support.cluster.promises import fresh, holds_all_promises, is_no_snapshot, manifest, marker, set_marker
from support.cluster.site import Site

#: Seconds in which the operator is in step again after it has missed something.
IN_STEP = 70


def phase(site: Site, name: str) -> str | None:
    """A Snapshot's phase."""
    obj = site.cluster.get("Snapshot", name, site.namespace) or {}
    return obj.get("status", {}).get("phase")  # type: ignore[no-any-return]


def jobs_of(site: Site, obj: Object, command: str) -> list[Object]:
    """Jobs that run the command for the object."""
    return site.cluster.objects(
        "Job", site.namespace, f"ocore.dev/uid={obj['metadata']['uid']},{LABEL_COMMAND}={command}"
    )


def over(job: Object) -> bool:
    """Whether a Job has ended well."""
    return any(c["type"] == "Complete" and c["status"] == "True" for c in job.get("status", {}).get("conditions") or ())


def test_row_01_terminal_within_its_deadline(site: Site, operator: Operator) -> None:
    """The Job hangs and the operator is killed: the next operator still ends it, at most 60 s after its deadline."""
    name = site.snapshot(
        fresh("hangs"),
        annotations={"ocore.dev/failpoints": "after-upload-before-manifest=sleep:600"},
        timeoutSeconds=30,
    )
    wait_for("running", lambda: phase(site, name) == "Running", 60)
    begun = time.monotonic()
    operator.kill()
    obj = site.failed("Snapshot", name, "DeadlineExceeded", 30 + 60)
    assert time.monotonic() - begun <= 30 + 60
    assert obj["status"]["attempt"] == 1
    is_no_snapshot(site, obj)
    holds_all_promises(site)


def test_row_15_job_gone_before_it_was_observed(site: Site, operator: Operator) -> None:
    """No operator runs while the Job ends and its TTL takes it away: the result is read from the manifest."""
    name = site.snapshot(fresh("unseen"), annotations={"ocore.dev/failpoints": "after-upload-before-manifest=sleep:8"})
    wait_for("running", lambda: phase(site, name) == "Running", 60)
    obj = site.cluster.get("Snapshot", name, site.namespace)
    assert obj is not None
    (job,) = wait_for("Job", lambda: jobs_of(site, obj, "snapshot"), 60)
    job_name = job["metadata"]["name"]
    site.cluster.wait(
        "Snapshot", name, site.namespace, lambda o: o["status"].get("jobName") == job_name, 30, "names its Job"
    )
    operator.scale(0)
    try:
        site.cluster.wait("Job", job_name, site.namespace, over, 90, "ended unseen")
        site.cluster.delete("Job", job_name, site.namespace)
        site.cluster.wait_gone("Job", job_name, site.namespace, 60)
        wait_for("its pod gone", lambda: not site.cluster.pods(site.namespace, f"job-name={job_name}"), 60)
    finally:
        operator.scale(1)
    obj = site.completed("Snapshot", name, 120)
    assert obj["status"]["attempt"] == 1
    assert len(jobs_of(site, obj, "inspect")) == 1
    assert manifest(site, obj)["identity"]["snapshotId"] == obj["status"]["id"]
    assert obj["status"]["evidence"]["missing"] == []
    holds_all_promises(site)


class Crowd:
    """Other clients write the status of an object, as fast as the API server lets them, with a condition of their own.
    Admission lets only the operator's account write one."""

    def __init__(self, site: Site, name: str) -> None:
        self._site, self._name = site, name
        self._account = operator_account(site.cluster)
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(i,)) for i in range(3)]
        self.writes = 0
        self.conflicts = 0

    def __enter__(self) -> "Crowd":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def _write(self, index: int) -> None:
        cluster, namespace = self._site.cluster, self._site.namespace
        path = cluster.resource("Snapshot").path(name=self._name, namespace=namespace)
        type_ = f"SomebodyElse{index}"
        while not self._stop.wait(0.02):
            obj = cluster.get("Snapshot", self._name, namespace)
            if obj is None or "status" not in obj:
                continue
            found = obj["status"].get("conditions", [])
            mine = {
                "type": type_, "status": "True", "reason": "Busy", "message": str(self.writes),
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }  # fmt: skip
            obj["status"]["conditions"] = [c for c in found if c["type"] != type_] + [mine]
            manager = f"{path}/status?fieldManager=crowd-{index}"
            status, answer = cluster.request("PUT", manager, obj, user=self._account, groups=("system:masters",))
            assert status in (200, 409), answer
            self.writes += status == 200
            self.conflicts += status == 409


def test_row_21_conflict_storm(site: Site) -> None:
    """Three others write the same status all the time: it converges, and what they wrote is left alone."""
    name = site.snapshot(fresh("crowded"), annotations={"ocore.dev/failpoints": "after-upload-before-manifest=sleep:8"})
    with Crowd(site, name) as crowd:
        obj = site.completed("Snapshot", name, 120)
        assert obj["status"]["attempt"] == 1
    assert crowd.writes > 30, "as many as a busy machine writes, too"
    assert crowd.conflicts > 0, "no conflict happened"
    obj = site.completed("Snapshot", name)
    assert obj["status"]["phase"] == "Complete"
    assert condition(obj, "Reconciling") is None
    assert all(is_true(obj, f"SomebodyElse{i}") for i in range(3))
    holds_all_promises(site)


@pytest.mark.parametrize("harm", ["half-open", "api-server-killed"])
def test_row_22_in_step_after_a_lost_watch(site: Site, cluster: Cluster, operator: Operator, harm: str) -> None:
    """What is created while every connection is dead without a word, or gone with its server, is seen within 70 s."""
    operator.ready()
    pod = operator.pod()
    restarts = operator.restarts(pod)
    service = cluster.get("Service", "kubernetes", "default")
    assert service is not None
    with node.PodNetwork(pod, service["spec"]["clusterIP"]) as network:
        wait_for("the watches stand", lambda: len(network.connections()) >= 5)
        if harm == "half-open":
            # All workers have used a connection a moment ago: many that are kept for the next request are dead.
            touched = {"metadata": {"annotations": {"touched": harm}}}
            for obj in cluster.objects("Snapshot", site.namespace):
                cluster.patch("Snapshot", obj["metadata"]["name"], site.namespace, touched)
            network.half_open()
        else:
            # Its watch cache is gone as well: versions from before are answered with 410 Gone.
            node.kill_component("kube-apiserver")
        begun = time.monotonic()
        name = fresh(harm)
        wait_for("created", lambda: site.snapshot(name), 60)
        wait_for("seen", lambda: phase(site, name) is not None, IN_STEP)
        print(f"{harm}: in step after {time.monotonic() - begun:.1f} s")
        site.completed("Snapshot", name, 120)
    operator.ready()
    if harm != "api-server-killed":  # nothing renews a lease while there is no API server
        assert operator.restarts(_pod(cluster, pod)) == restarts, "the lease was lost with the connections"
    holds_all_promises(site)


def versions(site: Site, but: tuple[str, ...] = ()) -> dict[str, str]:
    """Every object of ours in the site's namespace with its version: no one has written where it is the same later.
    `but`: Jobs, which are left out with their pods. Of a pod the annotations count, which the operator writes: the
    kubelet writes its status after its end, too."""
    kinds = ("Environment", "SnapshotStore", "Snapshot", "Rollback", "Job", "Pod")
    return {
        f"{kind}/{o['metadata']['name']}": str(o["metadata"].get("annotations"))
        if kind == "Pod"
        else o["metadata"]["resourceVersion"]
        for kind in kinds
        for o in site.cluster.objects(kind, site.namespace)
        if not (but and o["metadata"]["name"].startswith(but))
    }


def test_row_24_split_brain(site: Site, cluster: Cluster, operator: Operator) -> None:
    """The leader is stopped just before it would create a Job, loses its lease to another one, and continues: it must
    not write."""
    operator.set_env("OCORE_STANDBY=true")  # as the chart does with operator.replicas
    old = operator.pod()
    name = fresh("split")
    # Jobs of earlier tests end, and are removed with their pods by Kubernetes when their time is over.
    there = [*cluster.objects("Job", site.namespace), *cluster.pods(site.namespace, "ocore.dev/command")]
    earlier = tuple(o["metadata"]["name"] for o in there)

    def since(objects: list[Object]) -> list[Object]:
        return [o for o in objects if o["metadata"]["name"] not in earlier]

    try:
        cluster.kubectl("-n", NAMESPACE, "scale", f"deployment/{operator.deployment}", "--replicas=2")
        wait_for("a second operator", lambda: len(operator.pods()) == 2, 60)
        new = next(p for p in operator.pods() if p["metadata"]["uid"] != old["metadata"]["uid"])
        wait_for("it stands by", lambda: is_true(_pod(cluster, new), "Ready"), 60)

        site.snapshot(name, annotations={"ocore.dev/failpoints": "operator-snapshot-started=sleep:3"})
        wait_for("at the failpoint", lambda: "operator-snapshot-started" in _log(cluster, old), 60)
        stopped = operator.processes(old)
        node.signal(stopped, "STOP")
        holder = operator.lease()["holderIdentity"]
        assert old["metadata"]["uid"] in holder
        wait_for("the other one leads", lambda: new["metadata"]["uid"] in operator.lease()["holderIdentity"], 60)
        obj = site.completed("Snapshot", name, 120)
        wait_for("its Job is removed", lambda: not jobs_of(site, obj, "snapshot"), 60)
        wait_for("and its pod", lambda: not since(cluster.pods(site.namespace, "ocore.dev/command=snapshot")), 60)
        wait_for("all is quiet", lambda: all(over(j) for j in since(cluster.objects("Job", site.namespace))), 60)
        before, restarts = versions(site, earlier), operator.restarts(_pod(cluster, old))

        node.signal(stopped, "CONT")
        wait_for("the old leader exits", lambda: operator.restarts(_pod(cluster, old)) > restarts, 60)
        # The kubelet answers late which container was the last one.
        wait_for("it says why", lambda: "lease lost" in _last_line(cluster, old), 60)
        state = _pod(cluster, old)["status"]["containerStatuses"][0]["lastState"]["terminated"]
        assert state["exitCode"] == 1
        assert versions(site, earlier) == before
        assert new["metadata"]["uid"] in operator.lease()["holderIdentity"]
        assert not jobs_of(site, obj, "snapshot"), "the Job that it was about to create"
    finally:
        node.signal(operator.processes(old), "CONT")
        operator.scale(1)
        operator.set_env("OCORE_STANDBY=false")
    holds_all_promises(site)


def _last_line(cluster: Cluster, pod: Object) -> str:
    """Of the container before this one."""
    return cluster.logs(NAMESPACE, pod["metadata"]["name"], previous=True).strip().rpartition("\n")[2]


def _log(cluster: Cluster, pod: Object) -> str:
    return cluster.logs(NAMESPACE, pod["metadata"]["name"], since_seconds=60)


def _pod(cluster: Cluster, pod: Object) -> Object:
    found = cluster.get("Pod", pod["metadata"]["name"], NAMESPACE)
    assert found is not None
    return found


def test_a_sigterm_starts_the_application_again_first(site: Site, operator: Operator) -> None:
    """A node is drained, or the chart upgraded, while a rollback has stopped the workloads: they do not wait for the
    next operator."""
    set_marker(site, 1)
    name = fresh("drained")
    site.rollback(name, "base", annotations={"ocore.dev/failpoints": "switch-refused=sleep:8"}, undoWindowSeconds=0)
    site.cluster.wait(
        "Rollback", name, site.namespace, lambda o: o.get("status", {}).get("stage") == "Switch", 120, "at Switch"
    )
    holder, pod = operator.lease()["holderIdentity"], operator.pod()["metadata"]["name"]
    site.cluster.kubectl("-n", NAMESPACE, "delete", "pod", pod, "--wait=false")
    exit_code: int | None = None
    for seen in site.cluster.versions("Pod", pod, NAMESPACE, seconds=120):
        if seen is None:
            break
        ended = seen["status"]["containerStatuses"][0]["state"].get("terminated")
        exit_code = ended["exitCode"] if ended else exit_code
    assert exit_code == 0

    new = operator.next_leader(holder)
    obj = site.completed("Rollback", name)
    resumed = datetime.fromisoformat(obj["status"]["resumedAt"])
    assert resumed < datetime.fromisoformat(new["acquireTime"]), "the workloads waited for the next leader"
    assert marker(site) == 0
    site.cluster.delete("Rollback", name, site.namespace)
    site.cluster.wait_gone("Rollback", name, site.namespace, 120)
    holds_all_promises(site)
