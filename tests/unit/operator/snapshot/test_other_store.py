"""A SnapshotStore that is another store by now: its name says nothing. No Job that deletes, writes or judges is
created, and what is not deleted is not called deleted."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from ocore_crds import conditions as c
from ocore_crds.stored.snapshot_state import StoredState
from ocore_kube.types import STORES
from ocore_operator.errors import Stalled
from ocore_operator.frame.actions import Idle
from ocore_operator.jobs.observing.last_lists import Remembered
from ocore_operator.jobs.observing.snapshot_jobs import Deletes
from ocore_operator.kube import resources
from ocore_operator.kube.resources import Object, Snapshot
from ocore_operator.snapshot import plan_after_end
from ocore_operator.snapshot.effects import carry_out
from ocore_operator.snapshot.world import (
    Action,
    LetGo,
    RemoteView,
    StartCheckCopy,
    StartCopy,
    StartDelete,
    StartState,
    StartVerify,
    World,
)
from support.operator.api import ApiServer
from support.operator.catalogs import new_catalog
from support.operator.objects import SETTINGS, at, moment, obj, observation, snapshot_object, started

NEAR, FAR, OLD = (f"{n}0000000-1111-4222-8333-444444444444" for n in "123")
COPY: Object = {
    "state": "Completed",
    "storeName": "far",
    "storeId": FAR,
    "requestedAt": at(61),
    "attempts": 1,
    "replaces": {"storeName": "old", "storeId": OLD, "requestedAt": at(5)},
}


class Slots:
    def slot(self, *_: Any) -> "Slots":
        return self

    def set_store(self, *_: Any) -> None: ...

    async def __aenter__(self) -> Callable[[Object], None]:
        return lambda _: None

    async def __aexit__(self, *_: object) -> None: ...


def taken(**spec: Any) -> Snapshot:
    conditions = [
        {"type": t, "status": "True", "reason": "X", "message": "", "lastTransitionTime": at(60)}
        for t in (c.COMPLETE, c.READY)
    ]
    status = started(
        phase="Complete", storeName="near", storeId=NEAR, conditions=conditions, manifestKey="k",
        manifestSha256="a" * 64, remote=COPY,
    )  # fmt: skip
    return resources.snapshot(snapshot_object(spec, status, finalizers=["ocore.dev/data"]))


def carry(action: Action, ids: dict[str, str]) -> None:
    """Carries the action out, where the SnapshotStores have these ids."""
    server = ApiServer()
    for name, id_ in ids.items():
        spec = {"s3": {"bucket": name, "credentialsSecretRef": {"name": "s3"}}}
        server.put(STORES, obj("SnapshotStore", name, spec, {"storeId": id_}))
    snap = taken()
    ctx: Any = SimpleNamespace(
        kube=server.client(),
        catalog=new_catalog(),
        remembered=Remembered(lambda _: True),
        slots=Slots(),
        settings=SETTINGS,
        now=lambda: moment(101),
    )
    asyncio.run(carry_out(ctx, World(snap, moment(101), SETTINGS, observation()), action))


IDS = {"near": NEAR, "far": FAR, "old": OLD}
#: Each action, and the SnapshotStores that it depends on.
#: A test restore reads its store in the same way.
ACTIONS: list[tuple[Action, tuple[str, ...]]] = [
    (StartDelete(1, Deletes.ALL), ("near",)),
    (StartDelete(1, Deletes.LEFTOVERS), ("near",)),
    (StartDelete(1, Deletes.LOCAL), ("near", "far")),
    (StartDelete(1, Deletes.COPY), ("far",)),
    (StartDelete(1, Deletes.REPLACED), ("old",)),
    (StartCheckCopy("1-1"), ("far",)),
    (StartVerify(1), ("near",)),
    (StartState(1, StoredState()), ("near",)),
    (StartState(1, StoredState(), True), ("far",)),
    (StartCopy(1), ("near",)),
]


@pytest.mark.parametrize(("action", "name"), [(a, name) for a, names in ACTIONS for name in names])
@pytest.mark.parametrize("other", [NEAR, FAR, OLD, "90000000-1111-4222-8333-444444444444"])
def test_row_121_no_job_is_created_for_another_store(action: Action, name: str, other: str) -> None:
    if IDS[name] == other:
        return
    with pytest.raises(Stalled) as caught:
        carry(action, {**IDS, name: other})
    assert caught.value.reason == c.STORE_ID_CONFLICT


def test_row_121_what_was_not_deleted_is_not_called_deleted() -> None:
    """The Snapshot is deleted, and its SnapshotStore has another prefix: it waits, then says what is left where."""
    snap = taken(deletionPolicy="Delete")
    snap = replace(snap, meta=replace(snap.meta, deleted=at(100)))
    conflict = Stalled(c.STORE_ID_CONFLICT, "SnapshotStore near has the id x.")
    found = World(snap, moment(101), SETTINGS, observation(), remote=RemoteView(), refusal=conflict)
    waits = plan_after_end.decide(found)
    assert isinstance(waits, Idle)
    assert waits.status is not None
    late = replace(found, snapshot=snap.with_status(waits.status), now=moment(102 + SETTINGS.cleanup_timeout))
    end = plan_after_end.decide(late)
    assert isinstance(end, LetGo)
    assert end.note is not None
    assert end.note.reason == "DataLeft"
    assert NEAR in end.note.message
