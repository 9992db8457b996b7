"""When a store is swept, what is reported, and what is removed only when it is asked for. With the real mover, and an
API server in memory."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path

import pytest

from ocore_crds import conditions as c
from ocore_crds import naming
from ocore_crds.resources.snapshotstore import OrphansStatus
from ocore_kube.types import JOBS, STORES
from ocore_operator.errors import Failed, Waiting
from ocore_operator.jobs import lifecycle
from ocore_operator.jobs.observing.outcome import POLL
from ocore_operator.sweep import orphans, reconcile
from support.mover.contents import ENVIRONMENT, add, put, snapshot_id
from support.operator.contents import Place
from support.operator.jobs import document_of
from support.operator.objects import NOW, SETTINGS, snapshot_object

DAY = SETTINGS.sweep_interval
LEFT = f"{naming.attempt_prefix(ENVIRONMENT, snapshot_id(9), 'a1')}database/1.dat"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    found = Place(tmp_path)
    found.set_store()
    add(found.store, 1)
    put(found.store, LEFT, b"some bytes")
    found.now = NOW + timedelta(seconds=DAY + 1)
    return found


def swept(place: Place) -> OrphansStatus:
    found = place.read_store().status.orphans
    assert found is not None
    return found


def asked(place: Place, report: str | None = None, **spec: object) -> None:
    place.set_store({naming.ANNOTATION_REMOVE_ORPHANS: report or swept(place).report or ""}, **spec)


def test_a_sweep_reports_and_removes_nothing(place: Place) -> None:
    place.sweep()
    found = swept(place)
    assert (found.objects, found.bytes, found.examples) == (1, 10, (LEFT,))
    assert (found.manifests, found.unclaimed) == (1, 1)
    assert place.store.head(LEFT) is not None


@pytest.mark.parametrize(
    ("phase", "namespace", "store", "unclaimed"),
    [
        ("Complete", "shop", "store", 0),
        ("Corrupt", "shop", "store", 0),
        ("Failed", "shop", "store", 1),
        ("Complete", "shop", "another", 1),
        ("Complete", "other", "same", 0),
        ("Complete", "other", "store", 1),
        ("Complete", "shop", "new", 1),
    ],
)
def test_a_snapshot_of_this_cluster_is_claimed(
    place: Place, phase: str, namespace: str, store: str, unclaimed: int
) -> None:
    """By its namespace and the SnapshotStore that it names: two of them may be the same store."""
    own = place.api.read(STORES, "shop", "store")
    for there, name, status in (
        ("shop", "another", {**own["status"], "storeId": ENVIRONMENT}),
        ("shop", "new", None),
        ("other", "same", own["status"]),
        ("other", "store", {**own["status"], "storeId": ENVIRONMENT}),
    ):
        metadata = {**own["metadata"], "namespace": there, "name": name}
        place.catalog.put("SnapshotStore", {**own, "metadata": metadata, "status": status or {}})
    known = snapshot_object({}, {"phase": phase, "storeName": store}, namespace=namespace)
    place.catalog.put("Snapshot", known)
    place.sweep()
    assert swept(place).unclaimed == unclaimed


def test_stores_of_tenants_do_not_stop_the_sweep_of_another(place: Place) -> None:
    """Who copies the object with the store's id into buckets of its own has many large SnapshotStores with this id."""
    own = place.api.read(STORES, "shop", "store")
    for number in range(20):
        condition = {"type": "Ready", "status": "True", "reason": "x", "message": "x" * 1_000_000}
        metadata = {**own["metadata"], "namespace": "hostile", "name": f"s{number}"}
        place.api.put(STORES, {**own, "metadata": metadata, "status": {**own["status"], "conditions": [condition]}})
    place.sweep()
    assert swept(place).manifests == 1


@pytest.mark.parametrize("renew", [False, True])
def test_row_155_a_sweep_renews_locks_where_the_store_says_so(place: Place, *, renew: bool) -> None:
    place.set_store(s3={"bucket": "snapshots", "lock": {"days": 2, "renew": renew}})
    asyncio.run(reconcile.once(place.ctx, place.read_store()))
    (path,) = (path for path in place.api.paths() if "/jobs/" in path)
    job = place.api.read(JOBS, "shop", path.rpartition("/")[2])
    request = json.loads(document_of(job["spec"]["template"]["spec"]["containers"]))
    assert request.get("renewLocks", False) is renew
    assert request["store"]["lockDays"] == 2


def test_a_sweep_waits_for_its_job_and_a_refused_one_fails(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    async def step() -> tuple[OrphansStatus | None, float | None]:
        after = await reconcile.once(place.ctx, place.read_store())
        return place.read_store().status.orphans, after

    place.set_store({naming.ANNOTATION_SWEEP_REQUESTED: (NOW + timedelta(seconds=1)).isoformat()})
    place.now = NOW + timedelta(seconds=2)
    assert asyncio.run(step()) == (None, POLL)
    assert len([path for path in place.api.paths() if "/jobs/" in path]) == 1
    assert asyncio.run(step()) == (None, POLL), "it runs"

    async def busy(*_: object, **__: object) -> None:
        raise Waiting(c.WAITING_FOR_JOB_SLOT, "busy", 7.0)

    async def invalid(*_: object, **__: object) -> None:
        raise Failed(c.JOB_REFUSED, "Job x is not valid.")

    place.set_store({naming.ANNOTATION_SWEEP_REQUESTED: place.now.isoformat()})  # another Job
    monkeypatch.setattr(lifecycle, "start", busy)
    assert asyncio.run(step()) == (None, 7.0)
    monkeypatch.setattr(lifecycle, "start", invalid)
    found, after = asyncio.run(step())
    assert found is not None
    assert (found.message, after) == ("The sweep failed: Job x is not valid.", 0.0)


def test_the_next_sweep_comes_after_the_interval_or_when_asked(place: Place) -> None:
    store = place.read_store()
    assert orphans.due_in(store, DAY, NOW) == DAY
    assert orphans.due_in(store, 0, NOW) is None
    place.sweep()
    again = orphans.due_in(place.read_store(), DAY, place.now)
    assert again is not None
    assert DAY - 60 < again <= DAY
    place.set_store({naming.ANNOTATION_SWEEP_REQUESTED: place.now.isoformat()})
    place.now += timedelta(seconds=60)
    assert orphans.due_in(place.read_store(), DAY, place.now) == 0.0
    place.sweep()
    again = orphans.due_in(place.read_store(), DAY, place.now)
    assert again is not None
    assert again > DAY - 60


@pytest.mark.parametrize("text", ["", "now", "2026-03-01T12:00:00", "9999-01-01T00:00:00Z"])
def test_a_text_that_is_no_past_time_requests_nothing(place: Place, text: str) -> None:
    place.sweep()
    place.set_store({naming.ANNOTATION_SWEEP_REQUESTED: text})
    again = orphans.due_in(place.read_store(), DAY, place.now)
    assert again is not None
    assert again > 0


def test_what_was_reported_is_removed_when_asked_and_swept_again(place: Place) -> None:
    place.sweep()
    asked(place)
    place.sweep()
    found = swept(place)
    assert place.store.head(LEFT) is None
    assert (found.objects, found.report) == (0, None)
    assert found.removal is not None
    assert (found.removal.objects, found.removal.bytes) == (1, 10)


def test_another_report_removes_nothing(place: Place) -> None:
    place.sweep()
    asked(place, "0" * 64)
    place.sweep()
    assert place.store.head(LEFT) is not None
    assert swept(place).removal is None


@pytest.mark.parametrize("spec", [{"import": True}, {"access": "ReadOnly"}])
def test_a_drill_and_a_read_only_store_remove_nothing(place: Place, spec: dict[str, object]) -> None:
    place.sweep()
    asked(place, None, **spec)
    assert orphans.removal_wanted(place.read_store()) is None
    place.sweep()
    assert place.store.head(LEFT) is not None
    asked(place, None, **{"import": True, "takeOver": True})
    assert orphans.removal_wanted(place.read_store()) is not None


def test_a_removal_whose_report_was_replaced_is_reported(place: Place) -> None:
    place.sweep()
    asked(place)
    put(place.store, naming.orphans_key(place.read_store().meta.uid), b"another one")
    place.sweep()
    found = swept(place)
    assert place.store.head(LEFT) is not None
    assert found.removal is not None
    assert "The removal failed" in found.removal.message
    assert found.objects == 1


def test_a_sweep_that_fails_keeps_the_last_figures(place: Place) -> None:
    place.sweep()
    place.set_store({naming.ANNOTATION_SWEEP_REQUESTED: place.now.isoformat()})
    place.now += timedelta(seconds=60)
    place.store.path("ocore-store.json").unlink()
    place.sweep()
    found = swept(place)
    assert found.objects == 1
    assert found.message.startswith("The sweep failed")
    again = orphans.due_in(place.read_store(), DAY, place.now)
    assert again is not None
    assert again <= orphans.AGAIN
