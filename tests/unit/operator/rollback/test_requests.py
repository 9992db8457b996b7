"""How often an operation asks the API server. A count that has grown is a loop that reads again what it knows: find out
why before you raise it."""

from ocore_crds import conditions as c
from ocore_kube.types import CLAIMS, ENVIRONMENTS, ROLLBACKS
from support.operator import objects
from support.operator.whole_rollback import KEY, Site, probed

#: Of a rollback in place, of its undo, and of a snapshot.
ROLLBACK, UNDO, SNAPSHOT = 233, 183, 39


def test_a_rollback_and_its_undo_take_no_more_requests_than_that() -> None:
    site = Site()
    rolled_back, undone = site.roll_back(), site.undo()
    assert rolled_back.total() <= ROLLBACK, rolled_back
    assert undone.total() <= UNDO, undone


def test_a_snapshot_takes_no_more_requests_than_that() -> None:
    made = Site().snapshot()
    assert made.total() <= SNAPSHOT, made


def test_what_others_have_announced_is_read_after_the_own_announcement() -> None:
    """Of two rollbacks that announce at once that they stop a workload, each must see the other one."""
    site = Site()
    site.restore()
    site.place.requests.clear()
    site.reconcile(KEY)
    announced, listed = (
        [n for n, each in enumerate(site.place.requests) if each == wanted]
        for wanted in (("PATCH", f"{ROLLBACKS.path('shop', 'back')}/status"), ("LIST", ROLLBACKS.path("shop")))
    )
    assert announced[0] < listed[-1] < announced[1]


def test_what_is_waited_for_is_written_with_the_stage() -> None:
    """Announced, stopped, drained: one write for each."""
    site = Site()
    site.restore()
    site.place.requests.clear()
    site.reconcile(KEY)
    assert site.place.writes().count(("PATCH", f"{ROLLBACKS.path('shop', 'back')}/status")) == 3
    status = site.place.read(ROLLBACKS, "shop", "back")["status"]
    assert status["stage"] == "Drain"
    assert status["conditions"][0]["message"].startswith("Waiting until the pods of Deployment shop are gone")


def test_nothing_is_stopped_where_the_claim_is_being_deleted() -> None:
    """It is read at each stage that may stop a workload, and only there."""
    site = Site()
    site.restore()
    claim = site.place.read(CLAIMS, "shop", "files")
    site.place.put(CLAIMS, {**claim, "metadata": {**claim["metadata"], "deletionTimestamp": objects.at(5)}})
    site.reconcile(KEY)
    status = site.place.read(ROLLBACKS, "shop", "back")["status"]
    assert (status.get("failureReason"), status.get("quiescedAt")) == (c.SCALING_DELETES_CLAIM, None)


def test_a_rollback_that_is_refused_under_the_lock_releases_it() -> None:
    """Its status names no Environment yet, so the Snapshot is read for its name."""
    site = Site()
    found = site.place.read(ENVIRONMENTS, "shop", "shop")
    refused = {"type": c.ROLLBACK_READY, "status": "False", "reason": c.CAPACITY_UNKNOWN, "message": "."}
    found["status"]["conditions"][1] |= refused
    site.place.put(ENVIRONMENTS, found)
    site.place.put(ROLLBACKS, objects.obj("Rollback", "back", {"snapshotRef": {"name": "before"}}, {}))
    site.reconcile(KEY)
    assert site.place.read(ENVIRONMENTS, "shop", "shop")["status"]["operation"]["name"] == "back"
    site.place.put(ENVIRONMENTS, probed(site.place.read(ENVIRONMENTS, "shop", "shop"), site.now))
    site.reconcile(KEY)
    assert site.stage(KEY) == "Ended"
    assert "operation" not in site.place.read(ENVIRONMENTS, "shop", "shop")["status"]
