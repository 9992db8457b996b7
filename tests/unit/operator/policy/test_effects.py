"""What a policy deletes or requests: each Snapshot is read again before, since the catalog may be a moment old."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from ocore_crds.resources.remote_copy import CopyPlace
from ocore_crds.resources.restore_test import RestoreTestRequest
from ocore_crds.resources.snapshotpolicy import SnapshotPolicyStatus
from ocore_crds.rules.retention import Verdict
from ocore_kube.errors import Forbidden
from ocore_kube.types import POLICIES, SNAPSHOTS
from ocore_operator.kube import resources
from ocore_operator.kube.catalog import Catalog
from ocore_operator.kube.resources import Key, Object
from ocore_operator.policy.effects import carry_out
from ocore_operator.policy.world import Action, CheckCopies, Create, Delete, Explain, RequestCopies, RequestTest, World
from support.operator.api import ApiServer
from support.operator.catalogs import new_catalog
from support.operator.objects import SETTINGS, at, moment, snapshot_object
from support.operator.policies import policy_object
from support.operator.remote_copies import DONE, copy


def ended(kind: str) -> Object:
    return {"type": kind, "status": "True", "reason": "X", "message": "", "lastTransitionTime": at(0)}


def snapshot(name: str, outcome: str = "Complete", /, **changes: Any) -> Object:
    """One that retention may delete, with changes of its spec, status or metadata."""
    spec = {"retention": "Policy", "deletionPolicy": "Delete", **changes.get("spec", {})}
    status = {"conditions": [ended(outcome)] if outcome else [], **changes.get("status", {})}
    made = snapshot_object(spec, status, uid=f"uid-{name}", **changes.get("meta", {}))
    made["metadata"]["name"] = name
    return made


def carried_out(action: Action, *objects: Object, catalog: Catalog | None = None) -> tuple[ApiServer, list[Key]]:
    """The API server afterwards, and what is queued."""
    server, queued = ApiServer(), list[Key]()
    for obj in objects:
        server.put(SNAPSHOTS, obj)
    ctx: Any = SimpleNamespace(
        kube=server.client(),
        catalog=catalog if catalog is not None else new_catalog(),
        events=SimpleNamespace(record=lambda *_: None),
        queue=SimpleNamespace(add=queued.append),
        settings=SETTINGS,
        now=lambda: moment(500),
    )
    world: World = SimpleNamespace()  # type: ignore[assignment]  # these actions do not use it
    asyncio.run(carry_out(ctx, world, action))
    return server, queued


def deleted(*objects: Object, keys: tuple[str, ...] = ("old",), stay: str | None = "newest") -> list[str]:
    """Names of the Snapshots that the action deletes where the API server has these."""
    server, _ = carried_out(Delete(tuple(key(name) for name in keys), key(stay) if stay else None), *objects)
    return [path.rpartition("/")[2] for method, path in server.requests if method == "DELETE"]


def key(name: str) -> Key:
    return Key("Snapshot", "shop", name)


def test_what_no_rule_keeps_is_deleted_beside_the_one_that_stays() -> None:
    assert deleted(snapshot("newest"), snapshot("old")) == ["old"]
    assert deleted(snapshot("z"), snapshot("old"), stay="z") == ["old"], "whatever their names"
    assert deleted(snapshot("newest"), snapshot("old"), snapshot("older"), keys=("old", "older")) == ["old", "older"]


@pytest.mark.parametrize(
    "changes",
    [
        {"spec": {"pin": {"label": "audit"}}},
        {"spec": {"retention": "Keep"}},
        {"status": {"dependents": ["differential"]}},
        {"meta": {"deletionTimestamp": at(0), "finalizers": ["x"]}},
    ],
    ids=["pinned", "kept", "needed by a differential", "deleted already"],
)
def test_one_that_was_changed_in_the_meantime_stays(changes: Object) -> None:
    assert deleted(snapshot("newest"), snapshot("old", **changes)) == []


@pytest.mark.parametrize(
    "newest",
    [
        [],
        [snapshot("newest", meta={"deletionTimestamp": at(0), "finalizers": ["x"]})],
        [snapshot("newest", "Failed")],
        [snapshot("newest", "")],
    ],
    ids=["gone", "being deleted", "failed", "not terminal"],
)
def test_nothing_is_deleted_unless_the_newest_complete_one_is_seen_to_be_there(newest: list[Object]) -> None:
    assert deleted(*newest, snapshot("old")) == []


def test_without_one_that_stays_only_failed_ones_are_deleted() -> None:
    objects = (snapshot("old"), snapshot("failed", "Failed"), snapshot("running", ""))
    assert deleted(*objects, keys=("old", "failed", "running"), stay=None) == ["failed"]


def test_the_one_that_stays_is_never_deleted_itself() -> None:
    assert deleted(snapshot("newest"), keys=("newest",)) == []


BEING_DELETED: Object = {"deletionTimestamp": at(0), "finalizers": ["x"]}
BEFORE = CopyPlace(store_name="old", store_id="older", requested_at=at(5))


def changed(action: Action, *objects: Object) -> Object | None:
    """Status of the Snapshot `old` where the action has written it; else None. What was written is reconciled next."""
    server, queued = carried_out(action, *objects)
    if not server.writes():
        assert queued == []
        return None
    assert queued == [key("old")]
    found: Object = server.read(SNAPSHOTS, "shop", "old")["status"]
    return found


def copied(remote: Any, /, **changes: Any) -> Object:
    return snapshot("old", status={"remote": remote.wire()}, **changes)


def test_a_copy_is_requested_of_one_that_has_none() -> None:
    status = changed(RequestCopies((key("old"),), "far"), snapshot("old"))
    assert status is not None
    remote = status["remote"]
    assert (remote["state"], remote["storeName"], remote["requestedAt"]) == ("Pending", "far", at(500))


def test_a_copy_elsewhere_is_requested_of_one_that_has_a_complete_copy() -> None:
    status = changed(RequestCopies((key("old"),), "other"), copied(DONE))
    assert status is not None
    assert (status["remote"]["storeName"], status["remote"]["replaces"]["storeName"]) == ("other", "far")


@pytest.mark.parametrize(
    "objects",
    [
        [],
        [snapshot("old", "Failed")],
        [snapshot("old", "")],
        [snapshot("old", meta=BEING_DELETED)],
        [copied(copy())],
        [copied(copy("Copying"))],
        [copied(copy("Failed"))],
        [copied(DONE.model_copy(update={"only": True}))],
        [copied(DONE.model_copy(update={"replaces": BEFORE}))],
    ],
    ids=[
        "gone",
        "failed",
        "not terminal",
        "being deleted",
        "waits",
        "runs",
        "late",
        "the only one",
        "replaces another",
    ],
)
def test_no_copy_is_requested_of_one_that_has_changed_in_the_meantime(objects: list[Object]) -> None:
    assert changed(RequestCopies((key("old"),), "other"), *objects) is None


def test_one_that_cannot_be_copied_does_not_hold_up_the_others() -> None:
    action = RequestCopies((key("gone"), key("failed"), key("waits"), key("old")), "far")
    waits = snapshot("waits", status={"remote": copy().wire()})
    assert changed(action, snapshot("failed", "Failed"), waits, snapshot("old")) is not None
    check = CheckCopies((key("gone"), key("deleted"), key("old")))
    assert changed(check, snapshot("deleted", meta=BEING_DELETED), copied(DONE)) is not None


def test_a_complete_copy_is_checked() -> None:
    status = changed(CheckCopies((key("old"),)), copied(DONE))
    assert status is not None
    assert (status["remote"]["state"], status["remote"]["checkRequestedAt"]) == ("Completed", at(500))


@pytest.mark.parametrize(
    "objects",
    [
        [],
        [snapshot("old")],
        [copied(copy())],
        [copied(DONE, meta=BEING_DELETED)],
        [copied(DONE.model_copy(update={"check_requested_at": at(1)}))],
    ],
    ids=["gone", "no copy", "not complete", "being deleted", "requested already"],
)
def test_no_check_is_requested_of_a_copy_that_has_changed_in_the_meantime(objects: list[Object]) -> None:
    assert changed(CheckCopies((key("old"),)), *objects) is None


REQUEST = RestoreTestRequest(run="r", slot=at(0))


def test_a_test_restore_is_requested() -> None:
    status = changed(RequestTest(key("old"), REQUEST), snapshot("old", status={"phase": "Complete"}))
    assert status is not None
    assert status["restoreTestRequest"] == REQUEST.wire()


@pytest.mark.parametrize(
    "objects",
    [
        [],
        [snapshot("old", status={"phase": "Corrupt"})],
        [snapshot("old", status={"phase": "Complete"}, meta=BEING_DELETED)],
        [snapshot("old", status={"phase": "Complete", "restoreTestRequest": REQUEST.wire()})],
    ],
    ids=["gone", "corrupt", "being deleted", "requested already"],
)
def test_no_test_restore_is_requested_of_one_that_has_changed_in_the_meantime(objects: list[Object]) -> None:
    assert changed(RequestTest(key("old"), REQUEST), *objects) is None


def test_the_rules_that_keep_a_snapshot_are_in_its_status() -> None:
    """Also beside one that is gone. What another client has written about it goes."""
    verdict = Verdict({"keepLast": None})
    before = snapshot("old", status={"expiresAt": at(9), "remoteKeptBy": ["forever"]})
    server, _ = carried_out(Explain(((key("gone"), verdict), (key("old"), verdict))), before)
    status = server.read(SNAPSHOTS, "shop", "old")["status"]
    assert status["keptBy"] == ["keepLast"]
    assert not {"expiresAt", "remoteKeptBy"} & status.keys()


def test_without_a_foreign_field_a_verdict_is_one_write() -> None:
    catalog = new_catalog()
    server, _ = carried_out(Explain(((key("old"), Verdict()),)), snapshot("old"), catalog=catalog)
    assert len(server.writes()) == 1
    written = server.read(SNAPSHOTS, "shop", "old")
    assert written["status"]["keptBy"] == []
    known = catalog.get(key("old"))
    assert known is not None
    assert str(known.version) == written["metadata"]["resourceVersion"], "the next plan sees it"


SLOT = SnapshotPolicyStatus(last_schedule_time=at(3600), last_snapshot="slot")


def scheduled(server: ApiServer) -> tuple[list[Key], list[str]]:
    """Carries out the Create of a slot: what is queued, and the names in the catalog."""
    queued, catalog = list[Key](), new_catalog()
    ctx: Any = SimpleNamespace(
        kube=server.client(),
        catalog=catalog,
        events=SimpleNamespace(record=lambda *_: None),
        queue=SimpleNamespace(add=queued.append),
        settings=SETTINGS,
        now=lambda: moment(3600),
    )
    policy = resources.policy(server.put(POLICIES, policy_object()))
    world = World(
        key=Key("SnapshotPolicy", "shop", "shop"),
        policy=policy,
        environment_id=None,
        pins=None,
        snapshots=(),
        used=frozenset(),
        safeties=(),
        rollbacks=(),
        history_limit=0,
        now=moment(3600),
    )
    asyncio.run(carry_out(ctx, world, Create("slot", SLOT)))
    return queued, [name for name in ("slot",) if catalog.get(key(name)) is not None]


def test_the_snapshot_of_a_slot_is_created_and_then_recorded() -> None:
    server = ApiServer()
    original = server._create

    def complete(path: str, body: Object) -> Object:
        body["metadata"] |= {"uid": "u", "creationTimestamp": at(3600)}  # what the API server adds
        return original(path, body)

    server._create = complete  # type: ignore[method-assign]
    assert scheduled(server) == ([key("slot")], ["slot"])
    assert server.read(SNAPSHOTS, "shop", "slot")["spec"]["trigger"] == "Scheduled"
    assert server.read(POLICIES, "shop", "shop")["status"]["lastSnapshot"] == "slot"


def test_the_snapshot_of_a_slot_that_exists_is_left_as_it_is_and_recorded() -> None:
    """A crash or a lost answer came between its creation and the record. Without a record the slot stays due."""
    server = ApiServer()
    before = server.put(SNAPSHOTS, snapshot("slot", "", spec={"trigger": "Scheduled"}))
    assert scheduled(server) == ([], [])
    assert server.read(SNAPSHOTS, "shop", "slot") == before
    assert server.read(POLICIES, "shop", "shop")["status"]["lastScheduleTime"] == SLOT.last_schedule_time


def test_a_slot_whose_snapshot_is_refused_is_not_recorded() -> None:
    """The quota is full: the slot is tried again."""
    server = ApiServer()

    def refuse(path: str, _: Object) -> Object:
        raise Forbidden(403, "Forbidden", f"{path}: exceeded quota")

    server._create = refuse  # type: ignore[method-assign]
    with pytest.raises(Forbidden):
        scheduled(server)
    assert "lastSnapshot" not in server.read(POLICIES, "shop", "shop")["status"]
