"""How often an operation asks the API server. A count that has grown is a loop that reads again what it knows: find out
why before you raise it."""

from ocore_crds import conditions as c
from ocore_kube.types import CLAIMS, ROLLBACKS
from support.operator import objects
from support.operator.whole_rollback import KEY, Site

#: Of a rollback in place, of its undo, and of a snapshot.
ROLLBACK, UNDO, SNAPSHOT = 342, 274, 39


def test_a_rollback_and_its_undo_take_no_more_requests_than_that() -> None:
    site = Site()
    rolled_back, undone = site.roll_back(), site.undo()
    assert rolled_back.total() <= ROLLBACK, rolled_back
    assert undone.total() <= UNDO, undone


def test_a_snapshot_takes_no_more_requests_than_that() -> None:
    made = Site().snapshot()
    assert made.total() <= SNAPSHOT, made


def test_nothing_is_stopped_where_the_claim_is_being_deleted() -> None:
    """It is read at each stage that may stop a workload, and only there."""
    site = Site()
    site.restore()
    claim = site.place.read(CLAIMS, "shop", "files")
    site.place.put(CLAIMS, {**claim, "metadata": {**claim["metadata"], "deletionTimestamp": objects.at(5)}})
    site.reconcile(KEY)
    status = site.place.read(ROLLBACKS, "shop", "back")["status"]
    assert (status.get("failureReason"), status.get("quiescedAt")) == (c.SCALING_DELETES_CLAIM, None)
