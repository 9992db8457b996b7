"""SnapshotPolicies with the real API server, kubelet and Jobs: a folder on a claim into a store on a claim, every
minute.

The operator's clock is moved to the next minute: no test waits for it.
"""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from support.cluster.admission_policies import AdmissionPolicies
from support.cluster.cluster import GROUP, Cluster, Object, is_true, wait_for
from support.cluster.site import claim
from support.operator.folder import FAST, IMAGE, JOB_USER, PROJECT, stored
from support.operator.moved_clock import MovedClock
from support.operator.process import OperatorProcess, Proxy, api_address, kubeconfig_through, sleep_until

EVERY_MINUTE = "* * * * *"


@pytest.fixture
def namespace(crds: Cluster) -> Iterator[str]:
    """A namespace with an Environment, its files and its store."""
    name = crds.namespace("policies")
    crds.apply(claim("files", name), claim("backups", name))
    code, log = crds.run_pod(
        name, IMAGE, ["sh", "-c", "mkdir -p /files/data && echo a > /files/data/a"], claims={"/files": "files"}
    )
    assert code == 0, log
    crds.apply(
        {
            "apiVersion": GROUP,
            "kind": "SnapshotStore",
            "metadata": {"name": "store", "namespace": name},
            "spec": {"claim": {"claimName": "backups", "path": "eu"}},
        },
        environment(name, "shop", "files"),
    )
    yield name
    crds.delete("Namespace", name)


def environment(namespace: str, name: str, claim_name: str) -> Object:
    return {
        "apiVersion": GROUP,
        "kind": "Environment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "projectId": PROJECT,
            "type": "staging",
            "storeRef": {"name": "store"},
            "filestore": {"claimName": claim_name, "path": "data", "layout": "Plain"},
            "jobs": {**JOB_USER, "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}}},
        },
    }


def policy(namespace: str, name: str, **spec: object) -> Object:
    return {
        "apiVersion": GROUP,
        "kind": "SnapshotPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"environmentRef": {"name": name}, **spec},
    }


def of(cluster: Cluster, namespace: str, environment: str) -> list[Object]:
    """The Snapshots of an environment, by their names: those of a policy are in the order of their slots."""
    found = cluster.objects("Snapshot", namespace)
    return sorted(
        (s for s in found if s["spec"]["environmentRef"]["name"] == environment), key=lambda s: s["metadata"]["name"]
    )


def minute_of(snapshot: Object) -> str:
    """The slot in the Snapshot's name."""
    return "-".join(snapshot["metadata"]["name"].split("-")[1:3])


def early_in_a_minute() -> None:
    """What follows takes some seconds and must not cross the full minute."""
    second = datetime.now(UTC).second
    if second > 40:
        time.sleep(61 - second)


def next_minute(cluster: Cluster, namespace: str, clock: MovedClock) -> None:
    """A full minute passes for the operator, and a change of the policy has it read the time."""
    clock.next_minute()
    annotations = {"test/time": clock.now().isoformat()}
    cluster.patch("SnapshotPolicy", "shop", namespace, {"metadata": {"annotations": annotations}})


@pytest.mark.timeout(600)
def test_scheduled_kept_explained_and_deleted_with_their_data(crds: Cluster, namespace: str, tmp_path: Path) -> None:
    clock = MovedClock(tmp_path)
    operator = OperatorProcess(crds, [namespace], tmp_path, clock, **FAST).start()
    try:
        crds.wait("Environment", "shop", namespace, lambda o: is_true(o, "Ready"), 90, "ready")
        early_in_a_minute()
        crds.apply(policy(namespace, "shop", schedule=[EVERY_MINUTE], keepLast=1))
        found = crds.wait("SnapshotPolicy", "shop", namespace, lambda o: is_true(o, "Ready"), 20, "ready")
        assert found["status"]["phase"] == "Active"
        assert of(crds, namespace, "shop") == [], "no run on creation"

        next_minute(crds, namespace, clock)
        first = wait_for("first", lambda: of(crds, namespace, "shop"), 30)[0]
        name = first["metadata"]["name"]
        assert first["spec"]["trigger"] == "Scheduled"
        assert "ownerReferences" not in first["metadata"]
        done = crds.wait("Snapshot", name, namespace, lambda o: is_true(o, "Complete"), 50, "complete")
        kept = crds.wait("Snapshot", name, namespace, lambda o: o["status"].get("keptBy"), 20, "explained")
        assert sorted(kept["status"]["keptBy"]) == ["keepLast", "latest"]
        assert stored(crds, namespace, done)
        # A field that another client owns: server-side apply alone leaves it, and the Snapshot would be explained again
        # and again.
        foreign = {"expiresAt": "2030-01-01T00:00:00Z", "ruleEnds": {"keepLast": "2030-01-01T00:00:00Z"}}
        crds.patch_status("Snapshot", name, namespace, foreign)
        crds.wait(
            "Snapshot", name, namespace, lambda o: not {"expiresAt", "ruleEnds"} & o["status"].keys(), 20, "corrected"
        )

        # The next ones are differentials: they keep the full one, and go before it.
        next_minute(crds, namespace, clock)
        later = wait_for(
            "second", lambda: [s for s in of(crds, namespace, "shop") if s["metadata"]["name"] != name], 30
        )
        second = crds.wait(
            "Snapshot", later[0]["metadata"]["name"], namespace, lambda o: is_true(o, "Complete"), 60, "complete"
        )
        assert minute_of(second) > minute_of(first)
        crds.wait("Snapshot", name, namespace, lambda o: o["status"].get("keptBy") == ["dependents"], 60, "needed")
        next_minute(crds, namespace, clock)
        crds.wait_gone("Snapshot", second["metadata"]["name"], namespace, 90)
        assert stored(crds, namespace, second) == []
        assert stored(crds, namespace, done)
        left = [s["metadata"]["name"] for s in of(crds, namespace, "shop") if is_true(s, "Complete")]
        assert name in left
        assert len(left) == 2
        found = crds.wait(
            "SnapshotPolicy", "shop", namespace, lambda o: is_true(o, "LastSnapshotSucceeded"), 20, "succeeded"
        )
        assert found["status"]["lastSuccessfulTime"] >= done["status"]["completedAt"]
        assert found["status"]["kept"]["byRule"]["keepLast"] == 1
    finally:
        operator.stop()


@pytest.mark.timeout(600)
def test_row_23_the_schedule_continues_after_the_api_server_was_away(
    crds: Cluster, namespace: str, tmp_path: Path
) -> None:
    """The API server fails for a minute, across a slot: one snapshot is caught up at most, none is doubled, and the
    next slot runs."""
    proxy, clock = Proxy(api_address(crds)), MovedClock(tmp_path)
    settings = {**FAST, "kubeconfig": kubeconfig_through(crds, proxy, tmp_path), "lease_duration": 120}
    operator = OperatorProcess(crds, [namespace], tmp_path, clock, **settings).start()
    try:
        crds.wait("Environment", "shop", namespace, lambda o: is_true(o, "Ready"), 90, "ready")
        early_in_a_minute()
        crds.apply(policy(namespace, "shop", schedule=[EVERY_MINUTE]))
        crds.wait("SnapshotPolicy", "shop", namespace, lambda o: is_true(o, "Ready"), 20, "ready")
        next_minute(crds, namespace, clock)
        wait_for("first slot", lambda: of(crds, namespace, "shop"), 30)
        proxy.refusing = True
        proxy.cut()
        before = len(of(crds, namespace, "shop"))
        sleep_until(time.monotonic() + 62)  # not only for the operator's clock: its requests fail for so long
        assert len(of(crds, namespace, "shop")) == before, "the API server was not away"
        proxy.refusing = False
        wait_for("the schedule continues", lambda: len(of(crds, namespace, "shop")) > before, 90)
        at_once = len(of(crds, namespace, "shop"))
        assert at_once == before + 1
        next_minute(crds, namespace, clock)
        wait_for("and continues", lambda: len(of(crds, namespace, "shop")) > at_once, 90)
        slots = [minute_of(s) for s in of(crds, namespace, "shop")]
        assert len(slots) == len(set(slots))
    finally:
        operator.stop()
        proxy.close()


@pytest.mark.timeout(600)
def test_the_default_limit_of_pins_holds_without_a_policy(crds: Cluster, tmp_path: Path) -> None:
    """The operator counts, the API server refuses; a policy takes over, and hands back when it is deleted."""
    namespace = crds.namespace("pins")
    operator = OperatorProcess(crds, [namespace], tmp_path, **FAST).start()
    try:
        with AdmissionPolicies(crds, {}, namespace):
            crds.apply(environment(namespace, "shop", "files"))  # its store does not exist: no Job runs
            crds.apply(*(pinned(namespace, f"s{n}") for n in range(10)))
            full = {"pinned": 10, "limit": 10}
            crds.wait("Environment", "shop", namespace, lambda o: o["status"].get("pins") == full, 30, "counted")
            wait_for("the 11th pin is refused", lambda: "the default limit is 10" in refused(crds, namespace))

            crds.apply(policy(namespace, "shop", maxPinned=11))
            wait_for("the policy allows it", lambda: not refused(crds, namespace))
            crds.patch("SnapshotPolicy", "shop", namespace, {"spec": {"maxPinned": 10}})
            wait_for("and refuses it", lambda: "maxPinned of its SnapshotPolicy is 10" in refused(crds, namespace))

            crds.delete("SnapshotPolicy", "shop", namespace)
            wait_for("the default holds again", lambda: "the default limit is 10" in refused(crds, namespace))
    finally:
        operator.stop()
        crds.delete("Namespace", namespace)


def pinned(namespace: str, name: str) -> Object:
    return {
        "apiVersion": GROUP,
        "kind": "Snapshot",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"environmentRef": {"name": "shop"}, "pin": {"label": "audit"}},
    }


def refused(cluster: Cluster, namespace: str) -> str:
    """What the API server would say to one more pinned Snapshot, if it refused it."""
    return cluster.refusal("POST", "Snapshot", namespace, body=pinned(namespace, "one-more"))


@pytest.mark.timeout(600)
def test_the_history_limit_removes_what_was_created_and_keeps_what_was_applied(crds: Cluster, tmp_path: Path) -> None:
    """By the metadata that the API server itself writes: kubectl create, kubectl apply, and server-side apply."""
    namespace = crds.namespace("history")
    operator = OperatorProcess(crds, [namespace], tmp_path, **FAST, rollback_history_limit=2)
    try:
        crds.apply(environment(namespace, "shop", "files"))
        names = [f"created-{n}" for n in range(4)]
        for command, name in (*(("create", n) for n in names), ("apply", "client"), ("apply --server-side", "server")):
            text = json.dumps(finished_rollback(namespace, name))
            assert name in crds.kubectl(*command.split(), "-f", "-", stdin=text)
        for minute, name in enumerate(("client", "server", *names)):
            crds.patch_status("Rollback", name, namespace, ended_at(f"2026-01-01T00:{minute:02}:00Z"))
        operator.start()
        kept = ["client", "created-2", "created-3", "server"]

        def left() -> list[str]:
            return sorted(o["metadata"]["name"] for o in crds.objects("Rollback", namespace))

        wait_for("the oldest are removed", lambda: left() == kept, 60)
        time.sleep(8)  # and nothing else, in more than one reconcile
        assert left() == kept
    finally:
        operator.stop()
        crds.delete("Namespace", namespace)


def finished_rollback(namespace: str, name: str) -> Object:
    return {
        "apiVersion": GROUP,
        "kind": "Rollback",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"snapshotRef": {"name": "old"}},
    }


def ended_at(moment: str) -> Object:
    """The status of a rollback that ran, and whose cleanup is done."""
    return {
        "observedGeneration": 1,
        "stage": "Ended",
        "phase": "Complete",
        "environmentName": "shop",
        "completedAt": moment,
        "switchedAt": moment,
        "undoUntil": moment,
        "residue": "None",
        "evidence": {"required": ["checks"], "proven": ["checks"]},
        "conditions": [
            {"type": "Complete", "status": "True", "reason": "Succeeded", "message": "", "lastTransitionTime": moment}
        ],
    }


@pytest.mark.timeout(600)
def test_the_newest_snapshot_is_tested_once_for_each_slot(crds: Cluster, namespace: str, tmp_path: Path) -> None:
    """Test restores of a filestore alone, also across a restart of the operator: one Job for each slot, and the
    Snapshot says what was read."""
    clock = MovedClock(tmp_path)
    operator = OperatorProcess(crds, [namespace], tmp_path, clock, **FAST).start()
    jobs: set[str] = set()

    def seen() -> bool:
        jobs.update(j["metadata"]["name"] for j in crds.objects("Job", namespace, "ocore.dev/command=test-restore"))
        found = crds.get("SnapshotPolicy", "shop", namespace)
        test = (found or {}).get("status", {}).get("restoreTest") or {}
        return test.get("result") == "Succeeded"

    try:
        crds.wait("Environment", "shop", namespace, lambda o: is_true(o, "Ready"), 90, "ready")
        spec = {"environmentRef": {"name": "shop"}, "timeoutSeconds": 300}
        crds.apply(
            {
                "apiVersion": GROUP,
                "kind": "Snapshot",
                "metadata": {"name": "base", "namespace": namespace},
                "spec": spec,
            }
        )
        crds.wait("Snapshot", "base", namespace, lambda o: is_true(o, "Complete"), 120, "complete")
        crds.apply(policy(namespace, "shop", verify={"schedule": [EVERY_MINUTE]}))
        next_minute(crds, namespace, clock)
        wait_for("the first slot is tested", seen, 90)
        obj = crds.wait("Snapshot", "base", namespace, lambda o: is_true(o, "RestoreTested"), 20, "tested")
        test = obj["status"]["restoreTest"]
        assert (test["files"], test.get("server", "")) == (obj["status"]["sizes"]["filestoreFiles"], "")
        assert test["manifestSha256"] == obj["status"]["manifestSha256"]
        first = crds.get("SnapshotPolicy", "shop", namespace)
        assert first is not None
        operator.stop()
        operator = OperatorProcess(crds, [namespace], tmp_path, clock, **FAST).start()
        next_minute(crds, namespace, clock)

        def second() -> bool:
            done = seen()
            found = crds.get("SnapshotPolicy", "shop", namespace)
            assert found is not None
            return done and found["status"]["restoreTest"]["slot"] > first["status"]["restoreTest"]["slot"]

        wait_for("a later slot is tested", second, 90)
        runs = [name.split("-")[-2] for name in jobs]
        assert len(runs) == len(set(runs)), f"a slot was tested twice: {sorted(jobs)}"
        kept = crds.wait("Snapshot", "base", namespace, lambda o: is_true(o, "RestoreTested"), 20, "still tested")
        assert set(runs) <= set(kept["status"]["restoreTest"]["answered"])
    finally:
        operator.stop()
