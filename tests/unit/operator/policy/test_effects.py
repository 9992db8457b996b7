"""What retention deletes: each Snapshot is read again before, since the catalog may be a moment old."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from ocore_kube.types import SNAPSHOTS
from ocore_operator.kube.catalog import Catalog
from ocore_operator.kube.resources import Key, Object
from ocore_operator.policy.effects import carry_out
from ocore_operator.policy.world import Delete, World
from support.operator.api import ApiServer
from support.operator.objects import SETTINGS, at, moment, snapshot_object


def ended(kind: str) -> Object:
    return {"type": kind, "status": "True", "reason": "X", "message": "", "lastTransitionTime": at(0)}


def snapshot(name: str, outcome: str = "Complete", /, **changes: Any) -> Object:
    """One that retention may delete, with changes of its spec, status or metadata."""
    spec = {"retention": "Policy", "deletionPolicy": "Delete", **changes.get("spec", {})}
    status = {"conditions": [ended(outcome)] if outcome else [], **changes.get("status", {})}
    made = snapshot_object(spec, status, uid=f"uid-{name}", **changes.get("meta", {}))
    made["metadata"]["name"] = name
    return made


def deleted(*objects: Object, keys: tuple[str, ...] = ("old",), stay: str | None = "newest") -> list[str]:
    """Names of the Snapshots that the action deletes where the API server has these."""
    server = ApiServer()
    for obj in objects:
        server.put(SNAPSHOTS, obj)
    ctx: Any = SimpleNamespace(
        kube=server.client(),
        catalog=Catalog(),
        events=SimpleNamespace(record=lambda *_: None),
        settings=SETTINGS,
        now=lambda: moment(0),
    )
    action = Delete(tuple(key(name) for name in keys), key(stay) if stay else None)
    world: World = SimpleNamespace()  # type: ignore[assignment]  # a deletion does not use it
    asyncio.run(carry_out(ctx, world, action))
    return [path.rpartition("/")[2] for method, path in server.requests if method == "DELETE"]


def key(name: str) -> Key:
    return Key("Snapshot", "shop", name)


def test_what_no_rule_keeps_is_deleted_beside_the_one_that_stays() -> None:
    assert deleted(snapshot("newest"), snapshot("old")) == ["old"]
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
