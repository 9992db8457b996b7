"""From which store a Snapshot is read, and why not from another: one table for all that read, delete or judge."""

from typing import Any

import pytest

from ocore_crds import conditions as c
from ocore_operator import sources
from ocore_operator.kube.resources import Object, Snapshot, Store
from ocore_operator.sources import Place
from support.operator.objects import at, snapshot, started, store

NEAR, FAR, OLD = "near-id", "far-id", "old-id"
COPY = {"state": "Completed", "storeName": "far", "storeId": FAR, "requestedAt": at(1)}
REPLACES = {"storeName": "old", "storeId": OLD, "requestedAt": at(0)}
OWN_PLACE, COPY_PLACE = Place("near", NEAR), Place("far", FAR, is_copy=True)
OLD_PLACE = Place("old", OLD, is_copy=True)
DAMAGED = {"type": c.VERIFIED, "status": "False", "reason": c.CORRUPT, "message": "x.", "lastTransitionTime": at(1)}


def taken(remote: Object | None = COPY, *, damaged: bool = False, name: str = "before", **status: Any) -> Snapshot:
    found = {"remote": remote} if remote is not None else {}
    conditions = [DAMAGED] if damaged else []
    return snapshot(
        status=started(storeName="near", **{"storeId": NEAR, "conditions": conditions, **found, **status}), name=name
    )


def at_store(id_: str | None, ready: str | None = "True") -> Store:
    condition = {"type": c.READY, "status": ready, "reason": "X", "message": "m.", "lastTransitionTime": at(1)}
    return store(status={"storeId": id_, "conditions": [condition] if ready is not None else []})


BOTH = {"near": at_store(NEAR), "far": at_store(FAR), "old": at_store(OLD)}
ONLY = {**COPY, "only": True, "localDeletedAt": at(2)}


@pytest.mark.parametrize(
    ("snap", "base", "stores", "place", "why"),
    [
        # its own store
        (taken(), None, BOTH, OWN_PLACE, ()),
        (taken(None), None, BOTH, OWN_PLACE, ()),
        (taken(), None, {**BOTH, "near": at_store(NEAR, None)}, OWN_PLACE, ()),
        (taken(), None, {**BOTH, "near": at_store(NEAR, "Unknown")}, OWN_PLACE, ()),
        # the copy
        (taken(), None, {**BOTH, "near": None}, COPY_PLACE, (c.STORE_NOT_FOUND,)),
        (taken(), None, {**BOTH, "near": at_store(NEAR, "False")}, COPY_PLACE, (c.STORE_NOT_READY,)),
        (taken(damaged=True), None, BOTH, COPY_PLACE, (c.CORRUPT,)),
        (taken(ONLY), None, BOTH, COPY_PLACE, (c.REMOTE_COPY_ONLY,)),
        (taken({**COPY, "only": True}), None, BOTH, COPY_PLACE, (c.REMOTE_COPY_ONLY,)),
        (taken(ONLY, damaged=True), None, BOTH, COPY_PLACE, (c.REMOTE_COPY_ONLY,)),
        # a store that was made again, or a SnapshotStore that names another one
        (taken(), None, {**BOTH, "near": at_store("other")}, COPY_PLACE, (c.STORE_ID_CONFLICT,)),
        (taken(), None, {**BOTH, "near": at_store(FAR)}, COPY_PLACE, (c.STORE_ID_CONFLICT,)),
        (taken(None), None, {**BOTH, "near": at_store("other")}, None, (c.STORE_ID_CONFLICT,)),
        (taken(ONLY), None, {**BOTH, "far": at_store(NEAR)}, None, (c.REMOTE_COPY_ONLY, c.STORE_ID_CONFLICT)),
        (taken(ONLY), None, {**BOTH, "far": at_store(None)}, None, (c.REMOTE_COPY_ONLY, c.STORE_ID_CONFLICT)),
        # being replaced: the earlier copy counts
        (taken({**COPY, "state": "Copying", "replaces": REPLACES}, damaged=True), None, BOTH, OLD_PLACE, (c.CORRUPT,)),
        (taken({**COPY, "state": "Copying"}, damaged=True), None, BOTH, None, (c.CORRUPT,)),
        (taken({**COPY, "state": "Pending"}), None, {**BOTH, "near": None}, None, (c.STORE_NOT_FOUND,)),
        # lost or damaged in both
        (taken({**ONLY, "state": "Failed"}, damaged=True), None, BOTH, None, (c.REMOTE_COPY_ONLY,)),
        (taken(None, damaged=True), None, BOTH, None, (c.CORRUPT,)),
        # its full Snapshot
        (taken(), taken(name="full"), BOTH, OWN_PLACE, ()),
        (taken(), taken(damaged=True, name="full"), BOTH, COPY_PLACE, (c.CORRUPT,)),
        (taken(), taken(None, damaged=True, name="full"), BOTH, None, (c.CORRUPT, c.BASE_GONE)),
        (taken(), taken(ONLY, name="full"), BOTH, COPY_PLACE, (c.BASE_GONE,)),
        (taken(None), taken(ONLY, name="full"), BOTH, None, (c.BASE_GONE,)),
        (taken(ONLY), taken(None, name="full"), BOTH, None, (c.REMOTE_COPY_ONLY, c.BASE_GONE)),
        (taken(), taken(name="full", storeId="elsewhere"), BOTH, COPY_PLACE, (c.BASE_GONE,)),
        (taken(), taken(None, name="full", storeId="elsewhere"), BOTH, None, (c.BASE_GONE, c.BASE_GONE)),
        # without asking whether a store can be read now
        (taken(), None, None, OWN_PLACE, ()),
        (taken(damaged=True), None, None, COPY_PLACE, (c.CORRUPT,)),
        (taken(ONLY), None, None, COPY_PLACE, (c.REMOTE_COPY_ONLY,)),
    ],
)
def test_row_121_where_a_snapshot_is_read(
    snap: Snapshot, base: Snapshot | None, stores: sources.Stores | None, place: Place | None, why: tuple[str, ...]
) -> None:
    found = sources.source(snap, base=base, stores=stores)
    assert (found.place, tuple(each.reason for each in found.refused)) == (place, why)
    assert all(each.message.endswith(".") for each in found.refused)


@pytest.mark.parametrize(
    ("snap", "stores", "place"),
    [
        (taken(None), {"near": at_store(NEAR, "False")}, OWN_PLACE),
        (taken(None), {}, OWN_PLACE),
        (taken(ONLY), {**BOTH, "far": at_store(FAR, "False")}, COPY_PLACE),
        (taken(), {}, OWN_PLACE),
        (taken(None, damaged=True), {}, None),
        (taken(), BOTH, None),
    ],
)
def test_what_cannot_be_read_now_is_not_lost(snap: Snapshot, stores: sources.Stores, place: Place | None) -> None:
    assert sources.source(snap, stores=stores).unreadable == place


@pytest.mark.parametrize(
    ("place", "found", "reason"),
    [
        (OWN_PLACE, at_store(NEAR), None),
        (OWN_PLACE, at_store(NEAR, "False"), None),  # a full store must be emptied
        (OWN_PLACE, at_store(FAR), c.STORE_ID_CONFLICT),
        (OWN_PLACE, at_store(None), c.STORE_ID_CONFLICT),
        (Place("near", ""), at_store(NEAR), c.STORE_ID_CONFLICT),
        (OWN_PLACE, None, c.STORE_NOT_FOUND),
    ],
)
def test_row_121_in_which_store_anything_is_deleted(place: Place, found: Store | None, reason: str | None) -> None:
    end = sources.elsewhere(place, found)
    assert (end.reason if end is not None else None) == reason
