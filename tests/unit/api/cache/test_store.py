"""The cache in memory: ids, lists, ownership, read-your-writes, subscriptions."""

import json
import random
from dataclasses import replace
from typing import Any

import pytest

from ocore_api.cache import EnvironmentEntry, RollbackEntry, SnapshotEntry, console, queries, references
from ocore_api.cache.changes import Change
from ocore_api.cache.entries import LARGEST
from ocore_api.cache.store import Store
from ocore_api.views import models
from ocore_api.views.values import Resource
from ocore_crds import naming
from ocore_crds.text.timestamps import parse
from support.api import objects as o

SNAPSHOT = o.uid_of("Snapshot/apps/before")


@pytest.fixture
def store() -> Store:
    """With one Environment."""
    found = Store()
    found.put("Environment", o.environment())
    return found


def put(store: Store, *objects: o.Object) -> None:
    for each in objects:
        store.put(each["kind"], each)


def names(found: Any) -> list[str]:
    return [e.name for e in found]


def rows(store: Store, limit: int = 20, offset: int = 0, environment: str = o.ENVIRONMENT) -> Any:
    page = store.served.environment_page(environment, limit, offset)
    found = page if isinstance(page, bytes) else b"".join(page.pieces())
    models.SnapshotPage.model_validate_json(found)
    return json.loads(found)


def first_log(store: Store, entries: Any) -> Any:
    return json.loads(b"".join(store.served.logs(b"[", entries, b"]").pieces()))[0]


# --- lists --------------------------------------------------------------------------------------------------------


def test_snapshots_are_listed_newest_first(store: Store) -> None:
    put(store, *(o.complete(f"s{n}", created=created, version=n) for n, created in enumerate((5, 1, 9, 5), 1)))
    ties = sorted(("s1", "s4"), key=lambda n: o.uid_of(f"Snapshot/apps/{n}"), reverse=True)
    assert names(store.served.of(SnapshotEntry, o.ENVIRONMENT)) == ["s3", *ties, "s2"]
    assert names(store.served.project_page(o.PROJECT, 0, 1000)[0]) == ["s3", *ties, "s2"]


def test_pages(store: Store) -> None:
    put(store, *(o.complete(f"s{n}", created=n) for n in range(5)))
    first = rows(store, 2, 0)
    assert ([s["id"] for s in first["snapshots"]], first["total"]) == (
        [o.uid_of(f"Snapshot/apps/s{n}") for n in (4, 3)],
        5,
    )
    assert [s["id"] for s in rows(store, 2, 4)["snapshots"]] == [o.uid_of("Snapshot/apps/s0")]
    assert rows(store, 2, 5) == {"limit": 2, "offset": 5, "snapshots": [], "total": 5}


def test_a_page_is_encoded_once_until_something_changes(store: Store) -> None:
    put(store, o.complete(version=1))
    first = store.served.environment_page(o.ENVIRONMENT, 20, 0)
    assert store.served.environment_page(o.ENVIRONMENT, 20, 0) is first
    put(store, o.complete(spec={"pin": {"label": "keep"}}, version=2))
    assert rows(store)["snapshots"][0]["pinLabel"] == "keep"
    assert rows(store, 20, 1)["snapshots"] == []
    store.remove("Snapshot", "apps", "before")
    assert rows(store) == {"limit": 20, "offset": 0, "snapshots": [], "total": 0}


def test_row_84_few_pages_are_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "PAGES", 1)
    put(store, o.environment("stage", o.OTHER_ENVIRONMENT), o.complete("a"), o.complete("b"))
    put(store, o.complete("c", of=o.source(o.OTHER_ENVIRONMENT, name="stage")))
    first = store.served.environment_page(o.ENVIRONMENT, 1, 0)
    store.served.environment_page(o.OTHER_ENVIRONMENT, 1, 0)
    assert store.served.environment_page(o.ENVIRONMENT, 1, 0) is not first
    assert store.served.environment_page(o.ENVIRONMENT, 1, 1) != first
    assert len(store.served._pages) == 1


def test_an_environment_without_a_project_is_in_that_of_its_namespace(store: Store) -> None:
    derived = naming.project_id(None, "apps")
    put(
        store,
        o.environment("bare", o.OTHER_ENVIRONMENT, None),
        o.complete("a", created=1, of=o.source(o.OTHER_ENVIRONMENT, project=derived, name="bare")),
    )
    assert names(store.served.project_page(derived, 0, 1000)[0]) == ["a"]
    assert rows(store, environment=o.OTHER_ENVIRONMENT)["total"] == 1


def test_a_project_is_filtered(store: Store) -> None:
    other = o.source(o.OTHER_ENVIRONMENT, name="stage", type_="staging")
    put(
        store,
        o.environment("stage", o.OTHER_ENVIRONMENT, type_="staging"),
        o.complete("a", created=1),
        o.failed("b", created=2),
        o.complete("c", created=3, of=other),
        o.complete("d", created=4, of=o.source(project=o.OTHER_PROJECT, id_=o.uid_of("else"))),
    )

    def found(**how: Any) -> tuple[list[str], int]:
        entries, total = store.served.project_page(o.PROJECT, 0, 20, **how)
        return names(entries), total

    assert found() == (["c", "b", "a"], 3)
    assert found(status="completed") == (["c", "a"], 2)
    assert found(environment_type="production") == (["b", "a"], 2)
    assert found(environment_type="staging", status="failed") == ([], 0)
    assert found(visible={o.ENVIRONMENT}.__contains__) == (["b", "a"], 2)
    entries, total = store.served.project_page(o.PROJECT, 1, 1, status="completed")
    assert (names(entries), total) == (["a"], 2)


# --- identity -----------------------------------------------------------------------------------------------------


def test_an_environment_is_served_once_the_operator_has_written_its_id() -> None:
    store = Store()
    put(store, o.environment(id_=None))
    assert store.served.find(EnvironmentEntry, o.uid_of("Environment/apps/shop")) is None
    put(store, o.environment(version=2))
    found = store.served.find(EnvironmentEntry, o.ENVIRONMENT)
    assert found is not None
    assert (found.project_id, found.environment_id) == (o.PROJECT, o.ENVIRONMENT)


def test_a_refused_environment_shows_nothing_of_the_one_whose_id_it_claims(store: Store) -> None:
    thief = o.environment("thief", project=o.OTHER_PROJECT, namespace="evil", status=o.DUPLICATE)
    put(store, thief, o.complete("mine"), o.snapshot("theirs", {"environmentRef": {"name": "thief"}}, namespace="evil"))
    found = store.served.find(EnvironmentEntry, o.ENVIRONMENT)
    assert found is not None
    assert found.namespace == "apps"
    assert names(store.served.of(SnapshotEntry, o.ENVIRONMENT)) == ["mine"]
    store.remove("Environment", "apps", "shop")
    assert store.served.find(EnvironmentEntry, o.ENVIRONMENT) is None


def test_an_environment_that_is_not_refused_yet_comes_after_the_older_one(store: Store) -> None:
    put(store, o.environment("thief", project=o.OTHER_PROJECT, namespace="evil", created=5))
    found = store.served.find(EnvironmentEntry, o.ENVIRONMENT)
    assert found is not None
    assert found.namespace == "apps"


def test_an_environment_of_another_project_with_the_id_of_a_deleted_one_shows_none_of_its_snapshots(
    store: Store,
) -> None:
    put(store, o.complete("secret"))
    store.remove("Environment", "apps", "shop")
    put(store, o.environment("thief", project=o.OTHER_PROJECT, namespace="evil", created=500))
    assert names(store.served.of(SnapshotEntry, o.ENVIRONMENT)) == []
    assert rows(store)["total"] == 0
    assert names(store.served.project_page(o.OTHER_PROJECT, 0, 1000)[0]) == []


def test_a_refused_snapshot_is_never_served_under_the_id(store: Store) -> None:
    claim = {"id": SNAPSHOT}
    put(store, o.complete(created=9), o.snapshot("thief", claim, o.DUPLICATE, created=1))
    found = store.served.find(SnapshotEntry, SNAPSHOT)
    assert found is not None
    assert found.name == "before"
    assert names(store.served.of(SnapshotEntry, o.ENVIRONMENT)) == ["before"]
    store.remove("Snapshot", "apps", "before")
    assert store.served.find(SnapshotEntry, SNAPSHOT) is None


def test_a_new_snapshot_does_not_take_the_id_of_another_one_before_it_is_refused(store: Store) -> None:
    put(store, o.snapshot("thief", {"id": SNAPSHOT}, created=1), o.complete(created=9))
    found = store.served.find(SnapshotEntry, SNAPSHOT)
    assert found is not None
    assert found.name == "before"
    assert names(store.served.of(SnapshotEntry, o.ENVIRONMENT)) == ["before"]


def test_the_next_one_with_the_id_is_listed_once_the_first_one_is_refused(store: Store) -> None:
    """Both were created in the same second."""
    claim, uids = {"id": SNAPSHOT}, sorted((o.uid_of("one"), o.uid_of("two")))
    put(store, o.snapshot("second", claim, uid=uids[1]), o.snapshot("first", claim, uid=uids[0]))
    assert names(store.served.of(SnapshotEntry, o.ENVIRONMENT)) == ["first"]
    put(store, o.snapshot("first", claim, o.DUPLICATE, uid=uids[0], version=2))
    assert names(store.served.of(SnapshotEntry, o.ENVIRONMENT)) == ["second"]
    assert names(store.served.project_page(o.PROJECT, 0, 9)[0]) == ["second"]


def test_a_snapshot_gets_its_environment_from_the_environment_until_it_has_recorded_it(store: Store) -> None:
    put(store, o.snapshot("early", {"environmentRef": {"name": "late"}}))
    assert store.served.find(SnapshotEntry, o.uid_of("Snapshot/apps/early")) is None
    put(store, o.environment("late", o.OTHER_ENVIRONMENT, type_="staging"))
    found = store.served.find(SnapshotEntry, o.uid_of("Snapshot/apps/early"))
    assert found is not None
    row = json.loads(found.encoded)
    assert (row["environmentId"], row["environmentName"], row["environmentType"]) == (
        o.OTHER_ENVIRONMENT,
        "late",
        "staging",
    )


def test_an_object_that_cannot_be_read_is_left_out(store: Store) -> None:
    broken = o.complete("broken")
    del broken["status"]["source"]["projectId"]
    put(store, broken, o.complete("fine"))
    assert names(store.served.of(SnapshotEntry, o.ENVIRONMENT)) == ["fine"]


# --- rollbacks ----------------------------------------------------------------------------------------------------


def test_a_rollback_belongs_to_its_target(store: Store) -> None:
    put(
        store,
        o.environment("stage", o.OTHER_ENVIRONMENT, type_="staging"),
        o.complete(spec={"deploymentId": o.uid_of("d")}),
        o.rollback("copy", {"snapshotRef": {"name": "before"}, "targetEnvironmentRef": {"name": "stage"}}, created=1),
        o.rollback("back", created=2),
    )
    assert names(store.served.of(RollbackEntry, o.OTHER_ENVIRONMENT)) == ["copy"]
    assert names(store.served.of(RollbackEntry, o.ENVIRONMENT)) == ["back"]
    assert names(store.served.rollbacks_to(SNAPSHOT)) == ["back", "copy"]
    log = first_log(store, store.served.of(RollbackEntry, o.OTHER_ENVIRONMENT))
    assert (log["environmentId"], log["snapshotId"], log["deploymentId"]) == (
        o.OTHER_ENVIRONMENT,
        SNAPSHOT,
        o.uid_of("d"),
    )
    models.RollbackLog.model_validate(log)


def test_row_45_a_record_that_names_a_foreign_snapshot_shows_nothing_of_it(store: Store) -> None:
    """Who can write to the store can invent records, and so Rollbacks that were imported."""
    theirs = o.complete("theirs", spec={"deploymentId": o.uid_of("d")}, of=o.source(project=o.OTHER_PROJECT))
    back = o.rolled_back(snapshot_id=theirs["metadata"]["uid"])
    put(store, o.environment(), theirs, back)
    (entry,) = store.served.of(RollbackEntry, o.ENVIRONMENT)
    assert entry.snapshot_id == theirs["metadata"]["uid"]
    assert first_log(store, [entry])["deploymentId"] is None
    assert console.rollback_details(store.served, entry, parse(o.at(0)))["deploymentId"] is None


def test_row_45_a_change_shows_no_object_that_has_become_another_environments(store: Store) -> None:
    put(store, o.environment(), o.complete())
    snapshot = store.served.find(SnapshotEntry, SNAPSHOT)
    assert snapshot is not None
    change = Change(1, SnapshotEntry, SNAPSHOT, o.ENVIRONMENT, o.PROJECT, deleted=False)
    assert console.changed_object(store.served, change, parse(o.at(0))) is not None
    for foreign in (replace(change, environment_id=o.OTHER_ENVIRONMENT), replace(change, project_id=o.OTHER_PROJECT)):
        assert console.changed_object(store.served, foreign, parse(o.at(0))) is None


def test_the_order_in_which_objects_arrive_does_not_matter() -> None:
    objects = [
        o.environment(),
        o.complete(),
        o.rollback("back", created=2),
        o.rollback("undo", {"undo": {"rollbackRef": {"name": "back"}}}),
    ]
    for order in (objects, objects[::-1]):
        store = Store()
        put(store, *order)
        assert names(store.served.of(RollbackEntry, o.ENVIRONMENT)) == ["back", "undo"]
        assert names(store.served.rollbacks_to(SNAPSHOT)) == ["back"]


def test_the_log_of_a_deleted_snapshot_has_no_deployment(store: Store) -> None:
    put(store, o.complete(spec={"deploymentId": o.uid_of("d")}), o.rolled_back())
    store.remove("Snapshot", "apps", "before")
    log = first_log(store, store.served.of(RollbackEntry, o.ENVIRONMENT))
    assert (log["snapshotId"], log["deploymentId"]) == (SNAPSHOT, None)


def test_a_preview_is_no_log(store: Store) -> None:
    preview = o.rollback("preview", {"snapshotRef": {"name": "before"}, "dryRun": True})
    put(store, o.complete(), preview)
    assert names(store.served.of(RollbackEntry, o.ENVIRONMENT)) == []
    assert store.served.find(RollbackEntry, preview["metadata"]["uid"]) is None


def test_a_rollback_into_an_environment_that_was_created_again_is_not_shown_under_the_new_one(store: Store) -> None:
    put(store, o.rolled_back())
    store.remove("Environment", "apps", "shop")
    put(store, o.environment("shop", o.OTHER_ENVIRONMENT, o.OTHER_PROJECT, uid=o.uid_of("again"), version=9))
    assert names(store.served.of(RollbackEntry, o.OTHER_ENVIRONMENT)) == []
    assert store.served.find(RollbackEntry, o.uid_of("Rollback/apps/back")) is None


def test_a_rollback_that_names_a_snapshot_of_another_project_does_not_show_its_id(store: Store) -> None:
    put(
        store,
        o.environment("other", o.OTHER_ENVIRONMENT, o.OTHER_PROJECT),
        o.complete(),
        o.rollback("probe", {"snapshotRef": {"name": "before"}, "targetEnvironmentRef": {"name": "other"}}),
    )
    assert first_log(store, store.served.of(RollbackEntry, o.OTHER_ENVIRONMENT))["snapshotId"] is None
    assert names(store.served.rollbacks_to(SNAPSHOT)) == []


def test_undos_in_a_circle_end(store: Store) -> None:
    put(
        store,
        o.rollback("a", {"undo": {"rollbackRef": {"name": "b"}}}),
        o.rollback("b", {"undo": {"rollbackRef": {"name": "a"}}}),
        o.rollback("c", {"undo": {"rollbackRef": {"name": "c"}}}),
    )
    assert names(store.served.of(RollbackEntry, o.ENVIRONMENT)) == []


# --- older and newer ----------------------------------------------------------------------------------------------


def test_an_older_event_does_not_undo_a_write(store: Store) -> None:
    put(store, o.complete(spec={"pin": {"label": "mine"}}, version=7), o.complete(version=5))
    found = store.served.find(SnapshotEntry, SNAPSHOT)
    assert found is not None
    assert json.loads(found.encoded)["pinLabel"] == "mine"


def test_a_late_answer_does_not_bring_a_deleted_object_back(store: Store) -> None:
    put(store, o.complete(version=5))
    store.remove("Snapshot", "apps", "before", SNAPSHOT)
    put(store, o.complete(version=6))
    assert store.served.find(SnapshotEntry, SNAPSHOT) is None


def test_a_deletion_of_an_earlier_object_of_that_name_changes_nothing(store: Store) -> None:
    put(store, o.complete(uid=o.uid_of("new"), version=9))
    store.remove("Snapshot", "apps", "before", o.uid_of("old"))
    assert store.served.find(SnapshotEntry, o.uid_of("new")) is not None


def test_a_full_list_removes_what_it_lacks_unless_that_is_newer(store: Store) -> None:
    put(store, o.complete("old", version=3), o.complete("new", version=12), o.complete("kept", version=4))
    put(store, o.complete("elsewhere", namespace="other", version=2))
    store.keep_only("Snapshot", "apps", {("apps", "kept")}, 10)
    assert sorted(names(store.served.project_page(o.PROJECT, 0, 1000)[0])) == ["elsewhere", "kept", "new"]
    store.keep_only("Snapshot", None, set(), 20)
    assert names(store.served.project_page(o.PROJECT, 0, 1000)[0]) == []


def test_a_deleted_snapshot_is_hidden_while_it_is_still_listed(store: Store) -> None:
    put(store, o.complete(version=1))
    store.hide("Snapshot", SNAPSHOT)
    assert (store.served.find(SnapshotEntry, SNAPSHOT), rows(store)["total"]) == (None, 0)
    put(store, o.complete(version=2))
    assert store.served.find(SnapshotEntry, SNAPSHOT) is None


def test_a_snapshot_that_is_being_deleted_is_hidden_after_a_restart_too(store: Store) -> None:
    put(store, o.complete(version=2, deletionTimestamp=o.at(5)))
    assert (store.served.find(SnapshotEntry, SNAPSHOT), rows(store)["total"]) == (None, 0)


def test_policies(store: Store) -> None:
    policy = o.obj("SnapshotPolicy", "shop", {"environmentRef": {"name": "shop"}}, version=4)
    put(store, policy, {**policy, "metadata": {**policy["metadata"], "resourceVersion": "3", "labels": {}}})
    assert store.served.policies.get(("apps", "shop")) == policy
    store.remove("SnapshotPolicy", "apps", "shop")
    assert store.served.policies.get(("apps", "shop")) is None


def test_progress_of_an_entry(store: Store) -> None:
    put(store, o.running(percent=30, version=8))
    found = store.served.find(SnapshotEntry, SNAPSHOT)
    assert found is not None
    assert (found.version, json.loads(found.parts()[1])["percent"], found.final) == (8, 30, False)


def test_row_77_what_no_path_names_is_in_no_list(store: Store) -> None:
    before = [e.id for e in store.served.project_page(o.PROJECT, 0, 1000)[0]]
    nowhere = o.complete("nowhere", of=o.source("x"))
    unnamed = o.complete("unnamed")
    unnamed["status"]["id"] = "x"
    for each in (nowhere, unnamed):
        store.put("Snapshot", each)
    assert [e.id for e in store.served.project_page(o.PROJECT, 0, 1000)[0]] == before


@pytest.mark.parametrize("error", [OverflowError, RecursionError, KeyError])
def test_row_77_an_object_that_cannot_be_read_is_skipped_and_counted(
    store: Store, error: type[Exception], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reader = references.READERS["Snapshot"]

    def broken(obj: Resource, *known: Any) -> Any:
        if obj.meta["name"] == "bad":
            raise error
        return reader(obj, *known)

    monkeypatch.setitem(references.READERS, "Snapshot", broken)
    put(store, o.complete("bad"), o.complete("good"))
    assert names(store.served.of(SnapshotEntry, o.ENVIRONMENT)) == ["good"]
    assert store.unreadable() == {"Environment": 0, "SnapshotPolicy": 0, "Snapshot": 1, "Rollback": 0, "Extract": 0}
    assert '"name": "bad"' in capsys.readouterr().out
    store.keep_only("Snapshot", None, {("apps", "bad"), ("apps", "good")}, 9)
    assert store.unreadable()["Snapshot"] == 1
    store.keep_only("Snapshot", None, {("apps", "good")}, 9)
    assert store.unreadable()["Snapshot"] == 0


def test_row_77_an_object_that_cannot_be_read_again_takes_nothing_else_with_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, o.snapshot("early", {"environmentRef": {"name": "late"}}))

    def broken(*_: Any) -> Any:
        raise KeyError

    monkeypatch.setitem(references.READERS, "Snapshot", broken)
    put(store, o.environment("late", o.OTHER_ENVIRONMENT))
    assert store.served.find(EnvironmentEntry, o.OTHER_ENVIRONMENT) is not None
    assert store.unreadable()["Snapshot"] == 1


def test_row_78_a_large_object_is_not_kept(store: Store) -> None:
    """Of each that must be read again when its Environment changes, all was kept: 0.8 MiB for each object that a tenant
    made large."""
    waiting = o.snapshot("waiting")
    waiting["metadata"]["annotations"] = {"example.org/bulk": random.Random(1).randbytes(LARGEST).hex()}  # noqa: S311
    policy = o.obj("SnapshotPolicy", "shop", {"environmentRef": {"name": "shop"}})
    policy["metadata"]["annotations"] = waiting["metadata"]["annotations"]
    put(store, waiting, o.complete("small"), policy)
    assert names(store.served.of(SnapshotEntry, o.ENVIRONMENT)) == ["small"]
    assert store.served.policies.get((policy["metadata"]["namespace"], policy["metadata"]["name"])) is None
    assert sum(len(raw) for raw, _ in store._dependents.objects.values()) < LARGEST
    # One that is small only while it is packed would be large in each answer.
    put(store, o.failed("repetitive", "x" * LARGEST))
    assert names(store.served.of(SnapshotEntry, o.ENVIRONMENT)) == ["small"]
    # Once it is small it is served.
    waiting["metadata"] |= {"annotations": {}, "resourceVersion": "99"}
    put(store, waiting)
    assert set(names(store.served.of(SnapshotEntry, o.ENVIRONMENT))) == {"small", "waiting"}
