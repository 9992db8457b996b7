"""Differentials on the real API server, with Jobs that really run: the order of entry, Job and deletion, and an
operator that dies between them."""

import json
from collections.abc import Iterator

import pytest
from kubernetes.dynamic.exceptions import ConflictError

from support.cluster.cluster import GROUP, Cluster, Object, condition, is_true, wait_for
from support.operator.folder import create_snapshot, folder_environment, operating, stored
from support.operator.process import OperatorProcess

#: Kills the operator once a differential has chosen its base, and once it is entered there.
POINTS = ("operator-snapshot-base-chosen", "operator-snapshot-base-entered")


@pytest.fixture(scope="module")
def namespace(crds: Cluster) -> Iterator[str]:
    """A namespace with a folder of files on a claim, and a claim for the store."""
    script = "mkdir -p /files/data && for n in 1 2 3; do head -c 200000 /dev/urandom > /files/data/$n; done; sleep 3"
    with folder_environment(crds, "differentials", script) as name:
        yield name


@pytest.fixture(scope="module")
def operator(crds: Cluster, namespace: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    """The operator, with the Environment ready."""
    with operating(crds, namespace, tmp_path_factory.mktemp("operator")) as operator:
        yield operator


def create(cluster: Cluster, namespace: str, failpoints: str = "", **spec: object) -> str:
    return create_snapshot(cluster, namespace, failpoints, **{"deletionPolicy": "Delete", **spec})


def completed(cluster: Cluster, namespace: str, name: str) -> Object:
    obj = cluster.wait(
        "Snapshot", name, namespace, lambda o: is_true(o, "Complete") or is_true(o, "Failed"), 180, "terminal"
    )
    assert is_true(obj, "Complete"), json.dumps(obj["status"], indent=1)
    return obj


def dependents(cluster: Cluster, namespace: str, name: str) -> list[str]:
    obj = cluster.get("Snapshot", name, namespace)
    return list((obj or {"status": {}})["status"].get("dependents") or ())


@pytest.fixture
def full(crds: Cluster, namespace: str, operator: OperatorProcess) -> str:
    """A full Snapshot."""
    name = create(crds, namespace, filestoreMode="Full")
    obj = completed(crds, namespace, name)
    assert obj["status"]["fullFilestore"] is True
    return name


def stalled(obj: Object) -> str:
    return str((condition(obj, "Stalled") or {}).get("reason"))


def test_a_differential_needs_its_full_one_until_it_is_gone(crds: Cluster, namespace: str, full: str) -> None:
    """Where the admission policy is not there: the finalizer holds the deletion, and continues it."""
    name = create(crds, namespace)
    obj = completed(crds, namespace, name)
    assert (obj["status"]["fullFilestore"], obj["status"]["base"]["name"]) == (False, full)
    assert dependents(crds, namespace, full) == [name]
    crds.delete("Snapshot", full, namespace)
    held = crds.wait("Snapshot", full, namespace, lambda o: stalled(o) == "HasDependents", 30)
    assert name in (condition(held, "Stalled") or {})["message"]
    crds.delete("Snapshot", name, namespace)
    crds.wait_gone("Snapshot", name, namespace, 90)
    crds.wait_gone("Snapshot", full, namespace, 90)


def test_row_49_a_deletion_before_the_entry_makes_the_snapshot_a_full_one(
    crds: Cluster, namespace: str, full: str, operator: OperatorProcess
) -> None:
    """The race, one order: the differential has chosen its base, and that one's deletion begins before the entry."""
    others = [o["metadata"]["name"] for o in crds.objects("Snapshot", namespace) if o["metadata"]["name"] != full]
    for each in others:  # no other one can be chosen then
        crds.delete("Snapshot", each, namespace)
    for each in others:
        crds.wait_gone("Snapshot", each, namespace, 120)
    name = create(crds, namespace, "operator-snapshot-base-chosen=kill")
    assert operator.exit_code() == -9
    chosen = crds.get("Snapshot", name, namespace)
    assert chosen is not None
    assert chosen["status"]["base"]["name"] == full
    assert dependents(crds, namespace, full) == []
    crds.delete("Snapshot", full, namespace)
    operator.start()
    obj = completed(crds, namespace, name)
    assert obj["status"]["fullFilestore"] is True
    assert obj["status"].get("base") is None
    crds.wait_gone("Snapshot", full, namespace, 90)


def test_row_49_an_entry_before_the_deletion_keeps_the_full_one(
    crds: Cluster, namespace: str, full: str, operator: OperatorProcess
) -> None:
    """The race, the other order: the entry is there, no Job yet, and a deletion begins."""
    name = create(crds, namespace, "operator-snapshot-base-entered=kill")
    assert operator.exit_code() == -9
    assert dependents(crds, namespace, full) == [name]
    crds.delete("Snapshot", full, namespace)
    operator.start()
    obj = completed(crds, namespace, name)
    # The base is being deleted, so another one was chosen, or none; what was chosen is there.
    base = (obj["status"].get("base") or {}).get("name")
    assert base != full
    assert base is None or crds.get("Snapshot", base, namespace) is not None
    crds.wait_gone("Snapshot", full, namespace, 90)


def test_the_api_server_refuses_an_entry_in_what_was_deleted_since(crds: Cluster, namespace: str, full: str) -> None:
    """The resourceVersion is a precondition of the entry: one that was read before the deletion began does not fit any
    more."""
    read = crds.get("Snapshot", full, namespace)
    assert read is not None
    held = ["test.ocore.dev/held", *read["metadata"]["finalizers"]]
    crds.patch("Snapshot", full, namespace, {"metadata": {"finalizers": held}})
    read = crds.get("Snapshot", full, namespace)
    assert read is not None
    crds.delete("Snapshot", full, namespace)
    body = {
        "apiVersion": GROUP,
        "kind": "Snapshot",
        "metadata": {"name": full, "namespace": namespace, "resourceVersion": read["metadata"]["resourceVersion"]},
        "status": {"dependents": ["late"]},
    }
    manager = "ocore-operator-dependents"
    with pytest.raises(ConflictError):
        crds.resource("Snapshot").status.server_side_apply(
            body=body, name=full, namespace=namespace, field_manager=manager, force_conflicts=True
        )
    assert dependents(crds, namespace, full) == []
    crds.patch("Snapshot", full, namespace, {"metadata": {"finalizers": read["metadata"]["finalizers"][1:]}})
    crds.wait_gone("Snapshot", full, namespace, 90)


@pytest.mark.parametrize("point", POINTS)
def test_killed_before_the_job(crds: Cluster, namespace: str, full: str, operator: OperatorProcess, point: str) -> None:
    """The next one continues with the same base: one attempt, and one entry."""
    name = create(crds, namespace, f"{point}=kill")
    assert operator.exit_code() == -9
    operator.start()
    obj = completed(crds, namespace, name)
    assert obj["status"]["attempt"] == 1
    assert obj["status"]["base"]["name"] == full
    assert dependents(crds, namespace, full) == [name]


def test_an_entry_of_a_snapshot_that_is_gone_is_removed(
    crds: Cluster, namespace: str, full: str, operator: OperatorProcess
) -> None:
    """Someone removed its finalizer, while no operator ran."""
    name = create(crds, namespace)
    completed(crds, namespace, name)
    operator.kill()
    crds.patch("Snapshot", name, namespace, {"metadata": {"finalizers": None}})
    crds.delete("Snapshot", name, namespace)
    crds.wait_gone("Snapshot", name, namespace)
    assert dependents(crds, namespace, full) == [name]
    operator.start()
    wait_for("the entry is removed", lambda: dependents(crds, namespace, full) == [], 90)


def test_a_retained_differential_keeps_the_data_of_its_full_one(
    crds: Cluster, namespace: str, full: str, operator: OperatorProcess
) -> None:
    """It has no object any more, and its manifest still needs the full one: that one's object goes, its data stays, and
    an Event says so."""
    name = create(crds, namespace, deletionPolicy="Retain")
    completed(crds, namespace, name)
    crds.delete("Snapshot", name, namespace)
    crds.wait_gone("Snapshot", name, namespace, 60)
    obj = crds.get("Snapshot", full, namespace)
    assert obj is not None
    crds.delete("Snapshot", full, namespace)
    crds.wait_gone("Snapshot", full, namespace, 90)
    assert any(path.name == "manifest.json" for path in stored(crds, namespace, obj))

    def told() -> list[Object]:
        events = crds.objects("Event", namespace)
        return [e for e in events if e["reason"] == "DataRetained" and e["involvedObject"]["name"] == full]

    (event,) = wait_for("event", told)
    assert event["type"] == "Warning"
    assert "need it" in event["message"]
