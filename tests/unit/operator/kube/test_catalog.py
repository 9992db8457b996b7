"""The catalog: duplicates, which operations wait, and never an older version than the known one."""

import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocore_operator.entries.operations import operations
from ocore_operator.entries.rollbacks import cleanups, restored, safeties
from ocore_operator.entries.snapshots import of_environment
from ocore_operator.kube.catalog import Work
from ocore_operator.kube.resources import Key, Object
from ocore_operator.snapshot.entry import idle
from support.operator.catalogs import asking, new_catalog
from support.operator.objects import UID, at, environment_object, obj, snapshot_object


def uid(number: int) -> str:
    return f"{number:08x}-0000-4000-8000-000000000000"


def snap(number: int, *, created: float = 0, status: Object | None = None, **spec: Any) -> Object:
    return snapshot_object(
        spec, status, name=f"s{number}", uid=uid(number), creationTimestamp=at(created), resourceVersion=str(number + 1)
    )


def key(name: str, kind: str = "Snapshot") -> Key:
    return Key(kind, "shop", name)


def condition(type_: str, status: str = "True", reason: str = "X") -> Object:
    return {"type": type_, "status": status, "reason": reason, "lastTransitionTime": at(0)}


def test_the_younger_of_two_with_one_id_is_the_duplicate() -> None:
    catalog = new_catalog()
    catalog.put("Snapshot", snap(1, created=5, id=UID))
    catalog.put("Snapshot", snap(2, created=0, id=UID))
    elder = catalog.elder(key("s1"))
    assert elder is not None
    assert elder.key == key("s2")
    assert catalog.elder(key("s2")) is None
    catalog.remove(key("s2"))
    assert catalog.elder(key("s1")) is None


def test_one_that_has_started_takes_precedence_over_an_older_one() -> None:
    """Two of the same second: the one that runs already must not be joined by the other."""
    catalog = new_catalog()
    catalog.put("Snapshot", snap(1, id=UID, status={"phase": "Pending"}))
    catalog.put("Snapshot", snap(2, id=UID, status={"phase": "Running"}))
    assert catalog.elder(key("s2")) is None
    elder = catalog.elder(key("s1"))
    assert elder is not None
    assert elder.key == key("s2")


REFUSED = {
    "Snapshot": {"phase": "Failed", "conditions": [condition("Failed", reason="DuplicateId")]},
    "Environment": {"phase": "NotReady", "conditions": [condition("Stalled", reason="DuplicateId")]},
}


@pytest.mark.parametrize("kind", ["Snapshot", "Environment"])
@pytest.mark.parametrize("namespace", ["shop", "other"])
@pytest.mark.parametrize("phase", ["Pending", "Running", ""])
def test_a_refused_duplicate_never_takes_the_id_from_the_original(kind: str, namespace: str, phase: str) -> None:
    """Failed for its id before the original has begun: a phase of Failed looked like a start."""
    catalog = new_catalog()
    duplicate = {**snap(2, created=9, id=UID, status=REFUSED[kind]), "kind": kind}
    duplicate["metadata"]["namespace"] = namespace
    catalog.put(kind, {**snap(1, created=5, id=UID, status={"phase": phase}), "kind": kind})
    catalog.put(kind, duplicate)
    assert catalog.elder(key("s1", kind)) is None
    elder = catalog.elder(Key(kind, namespace, "s2"))
    assert elder is not None
    assert elder.key == key("s1", kind)


def test_a_refused_original_that_is_older_does_not_take_the_id_back() -> None:
    catalog = new_catalog()
    catalog.put("Environment", snap(1, created=0, id=UID, status=REFUSED["Environment"]))
    catalog.put("Environment", snap(2, created=5, id=UID, status={"phase": "Pending"}))
    assert catalog.elder(key("s2", "Environment")) is None
    assert catalog.elder(key("s1", "Environment")) is not None


def test_of_two_refused_ones_only_one_gets_the_id() -> None:
    """The original was deleted."""
    catalog = new_catalog()
    for number in (1, 2):
        catalog.put("Environment", snap(number, created=number, id=UID, status=REFUSED["Environment"]))
    assert catalog.elder(key("s1", "Environment")) is None
    assert catalog.elder(key("s2", "Environment")) is not None


def test_of_two_that_run_the_one_that_started_first_has_the_id() -> None:
    catalog = new_catalog()
    catalog.put("Snapshot", snap(1, created=0, id=UID, status={"phase": "Running", "startedAt": at(30)}))
    catalog.put("Snapshot", snap(2, created=5, id=UID, status={"phase": "Complete", "startedAt": at(20)}))
    assert catalog.elder(key("s2")) is None
    assert catalog.elder(key("s1")) is not None


@pytest.mark.parametrize("phase", ["Pending", "Ready"])
def test_an_environment_that_is_probed_keeps_its_id(phase: str) -> None:
    """Its phase is Pending at each change of its spec: then a younger one that was ready had taken its id."""
    catalog = new_catalog()
    catalog.put("Environment", snap(1, created=0, id=UID, status={"phase": phase}))
    catalog.put("Environment", snap(2, created=5, id=UID, status={"phase": "Ready"}))
    assert catalog.elder(key("s1", "Environment")) is None


def test_ids_are_distinct_by_kind() -> None:
    catalog = new_catalog()
    catalog.put("Snapshot", snap(1, id=UID))
    catalog.put("Environment", environment_object())
    assert catalog.elder(key("shop", "Environment")) is None


@given(st.permutations([1, 5, 3, 9]))
def test_older_news_change_nothing(versions: list[int]) -> None:
    catalog = new_catalog()
    for version in versions:
        catalog.put("Snapshot", snapshot_object(status={"phase": f"v{version}"}, resourceVersion=str(version)))
    found = catalog.get(key("before"))
    assert found is not None
    assert found.phase == "v9"


def test_a_successor_of_the_same_name_is_another_object() -> None:
    catalog = new_catalog()
    catalog.put("Snapshot", snapshot_object(resourceVersion="9"))
    catalog.put("Snapshot", snapshot_object(uid=uid(7), resourceVersion="3"))
    found = catalog.get(key("before"))
    assert found is not None
    assert found.uid == uid(7)
    catalog.remove(key("before"), UID)  # the deletion of the first one arrives late
    assert catalog.get(key("before")) is not None


def test_operations_are_in_the_order_of_their_creation() -> None:
    catalog = new_catalog()
    for number, created in ((1, 30), (2, 10), (3, 20)):
        catalog.put("Snapshot", snap(number, created=created))
    catalog.put("Snapshot", snap(4, status={"conditions": [condition("Complete")]}))
    catalog.put("Snapshot", {**snap(5), "spec": {"environmentRef": {"name": "other"}}})
    spec = {"snapshotRef": {"name": "s4"}}
    catalog.put("Rollback", obj("Rollback", "back", spec, uid=uid(9), creationTimestamp=at(15)))
    found = [e.key.name for e in operations(catalog, "shop", "shop")]
    assert found == ["s2", "back", "s3", "s1"]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.booleans()), max_size=30))
def test_the_index_of_ids_never_drifts(steps: list[tuple[int, int, bool]]) -> None:
    catalog = new_catalog()
    there: dict[str, int] = {}
    for version, (number, identity, gone) in enumerate(steps):
        name = f"s{number}"
        if gone:
            catalog.remove(key(name))
            there.pop(name, None)
        else:
            new = snapshot_object({"id": uid(identity)}, name=name, uid=uid(100 + number), resourceVersion=str(version))
            catalog.put("Snapshot", new)
            there[name] = identity
    for name, identity in there.items():
        same = [n for n, i in there.items() if i == identity]
        elder = catalog.elder(key(name))
        assert (elder is None) == (name == min(same))


def test_what_is_idle_needs_no_reconcile() -> None:
    done = {"conditions": [condition("Complete")], "observedGeneration": 1, "residue": "None"}
    assert idle(snapshot_object(status=done))
    assert idle(snapshot_object(status={**done, "conditions": [condition("Failed")]}))
    assert not idle(snapshot_object(status={"conditions": [condition("Reconciling")], "observedGeneration": 1}))
    assert not idle(snapshot_object(status={**done, "residue": "Pending"}))
    assert not idle(snapshot_object(status=done, deletionTimestamp=at(0)))
    assert not idle(snapshot_object(status=done, generation=2))
    full = {"verify": "Full"}
    assert not idle(snapshot_object(full, done))
    for verified in ("True", "False"):
        read = {**done, "conditions": [condition("Complete"), condition("Verified", verified)]}
        assert idle(snapshot_object(full, read))


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from("ab"), st.sampled_from("xy"), st.booleans())))
def test_the_other_indexes_never_drift(steps: list[tuple[int, str, str, bool]]) -> None:
    """By kind and namespace, and the Snapshots of an environment: the same as a look at everything."""
    catalog, there = new_catalog(), {}
    for version, (number, namespace, environment, removed) in enumerate(steps):
        meta = {"name": f"s{number}", "namespace": namespace, "uid": f"{namespace}{number}{environment}"}
        key = Key("Snapshot", namespace, f"s{number}")
        if removed:
            catalog.remove(key)
            there.pop(key, None)
        else:
            spec = {"environmentRef": {"name": environment}}
            catalog.put("Snapshot", snapshot_object(spec, resourceVersion=str(version + 1), **meta))
            there[key] = environment
    for namespace in "ab":
        assert {e.key for e in catalog.of_kind("Snapshot", namespace)} == {k for k in there if k.namespace == namespace}
        for environment in "xy":
            expected = {k for k, e in there.items() if k.namespace == namespace and e == environment}
            assert {e.key for e in of_environment(catalog, namespace, environment)} == expected
    assert {e.key for e in catalog.of_kind("Snapshot")} == set(there)
    assert set(catalog.forget("a")) == {k for k in there if k.namespace == "a"}
    assert list(catalog.of_kind("Snapshot", "a")) == []


STATES: dict[str, Object] = {
    "waits": {"phase": "Pending"},
    "ended": {"phase": "Complete", "stage": "Ended", "conditions": [condition("Complete")]},
    "cleans": {"stage": "Ended", "residue": "Pending", "completedAt": at(5), "conditions": [condition("Complete")]},
}


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["Snapshot", "Rollback"]),
            st.integers(0, 3),
            st.sampled_from(["", "x", "y"]),
            st.sampled_from([*STATES, "removed"]),
        )
    )
)
def test_what_is_known_of_operations_never_drifts(steps: list[tuple[str, int, str, str]]) -> None:
    """Which ones wait, clean up, are busy or urgent: the same as a look at everything."""
    catalog = asking(lambda o: Work(idle=o["status"] is STATES["ended"], urgent=o["status"] is STATES["cleans"]))
    there: dict[Key, tuple[str, str]] = {}
    for version, (kind, number, environment, state) in enumerate(steps):
        known = key(f"{kind.lower()}{number}", kind)
        if state == "removed":
            catalog.remove(known)
            there.pop(known, None)
            continue
        field = "environmentRef" if kind == "Snapshot" else "targetEnvironmentRef"
        spec = {field: {"name": environment}} if environment else {}
        meta = {"uid": known.name, "resourceVersion": str(version + 1)}
        catalog.put(kind, obj(kind, known.name, spec, STATES[state], **meta))
        there[known] = (environment, state)
    for environment in ("x", "y"):
        waiting = {k for k, found in there.items() if found == (environment, "waits")}
        assert {e.key for e in operations(catalog, "shop", environment)} == waiting
        cleaning = {k for k, found in there.items() if found == (environment, "cleans") and k.kind == "Rollback"}
        assert {e.key for e in cleanups(catalog, "shop", environment)} == cleaning
    assert {e.key for e in catalog.busy()} == {k for k, (_, state) in there.items() if state != "ended"}
    assert {k for k in there if catalog.is_urgent(k)} == {k for k, (_, state) in there.items() if state == "cleans"}


def test_the_snapshots_that_rollbacks_use() -> None:
    catalog = new_catalog()
    for name, state in (("r1", "waits"), ("r2", "ended")):
        catalog.put("Rollback", obj("Rollback", name, {"snapshotRef": {"name": f"of-{name}"}}, STATES[state], uid=name))
    assert list(restored(catalog, "shop")) == ["of-r1"]
    assert list(restored(catalog, "other")) == []


def test_the_safety_snapshots_that_rollbacks_protect() -> None:
    """While it runs, and in its undo window. One that is idle protects nothing."""
    catalog = asking(lambda o: Work(idle=o["metadata"]["name"] == "idle"))
    ended = [{"type": "Complete", "status": "True"}]
    until = "2026-03-02T12:00:00Z"
    for name, status in (
        ("runs", {"safetySnapshotName": "a"}),
        ("window", {"safetySnapshotName": "b", "undoUntil": until, "conditions": ended}),
        ("idle", {"safetySnapshotName": "c", "undoUntil": until, "conditions": ended}),
        ("none", {}),
    ):
        catalog.put("Rollback", obj("Rollback", name, {"snapshotRef": {"name": "s"}}, status, uid=name))
    assert {(s.name, s.undo_until is None) for s in safeties(catalog, "shop")} == {("a", True), ("b", False)}
    assert list(safeties(catalog, "other")) == []


def test_row_36_an_entry_is_small() -> None:
    """20,000 must fit into the operator's memory."""
    count = 1000
    status = {"phase": "Complete", "conditions": [condition("Complete")], "completedAt": at(0), "keptBy": ["keepDaily"]}
    made = [snap(n, status=status, environmentRef={"name": f"shop-{n % 20}"}, retention="Policy") for n in range(count)]
    catalog = new_catalog()
    tracemalloc.start()
    try:
        for each in made:
            catalog.put("Snapshot", each)
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used / count < 2000
    assert len(of_environment(catalog, "shop", "shop-1")) == count / 20
