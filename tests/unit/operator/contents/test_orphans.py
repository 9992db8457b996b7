"""When a store is swept, what is reported, and what is removed only when it is asked for. With the real mover, and an
API server in memory."""

from datetime import timedelta
from pathlib import Path

import pytest

from ocore_crds import naming
from ocore_crds.snapshotstore import OrphansStatus
from ocore_kube.types import STORES
from ocore_operator.contents import orphans
from support.mover.contents import ENVIRONMENT, add, put, snapshot_id
from support.operator.contents import Place
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


def test_a_snapshot_of_this_cluster_is_claimed(place: Place) -> None:
    known = snapshot_object({}, {"phase": "Complete", "storeName": "store"})
    place.catalog.put("Snapshot", known)
    place.catalog.put("SnapshotStore", place.api.read(STORES, "shop", "store"))
    place.sweep()
    assert swept(place).unclaimed == 0


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
