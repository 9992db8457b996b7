"""An undo on a real cluster: database and filestore come back, what was live is kept, and each kept database is dropped
by its one owner. And a switch of layout Plain, on the same site."""

from typing import Literal

import pytest

from support.cluster.cluster import condition, is_true
from support.cluster.deaths import Deaths
from support.cluster.kills import PLAIN_SWITCH_POINTS, everywhere, killed_in_turn
from support.cluster.promises import (
    folders,
    fresh,
    holds_all_promises,
    marker,
    old_or_new,
    ready_only_on_the_live_one,
    set_marker,
)
from support.cluster.site import Site, Sites


def undone_by(site: Site, name: str, by: str) -> None:
    """The Rollback reports who has undone it, and keeps nothing."""
    obj = site.cluster.wait(
        "Rollback", name, site.namespace, lambda o: o["status"].get("undoneBy") == by, 60, f"undone by {by}"
    )
    assert (condition(obj, "Ready") or {}).get("reason") == "Undone"
    assert obj["status"]["residue"] == "None"


# The mover dies in those of layout Plain below.
@pytest.mark.parametrize("layout", ["Odoo", pytest.param("Plain", marks=pytest.mark.long)])
@pytest.mark.timeout(900)
def test_there_and_back_and_forth_again(sites: Sites, layout: Literal["Odoo", "Plain"]) -> None:
    site = sites.of(layout=layout)
    back, undo, twice, again, late = (fresh(name) for name in ("back", "undo", "twice", "again", "late"))
    site.load(6)
    set_marker(site, 1)
    site.rollback(back, "base", undoWindowSeconds=3600)
    first = site.completed("Rollback", back)["status"]
    assert marker(site) == 0
    gives_back_where_not_ready(site, back, first["previousDatabase"])
    site.load(7)
    set_marker(site, 5)

    obj = site.completed("Rollback", site.undo(undo, back, undoWindowSeconds=3600))
    status = obj["status"]
    assert marker(site) == 1
    site.files_fit()
    assert (status["position"], status["previousDatabase"]) == ("New", first["restoredDatabase"])
    assert site.databases() == sorted([site.database, first["restoredDatabase"]])
    assert is_true(obj, "PreviousRetained")
    assert 0 < status["refusedSeconds"] < 15
    undone_by(site, back, undo)
    site.failed("Rollback", site.undo(twice, back), "AlreadyUndone")

    obj = site.completed("Rollback", site.undo(again, undo, undoWindowSeconds=60))
    assert marker(site) == 5
    site.files_fit()
    assert site.databases() == sorted([site.database, first["previousDatabase"]])
    undone_by(site, undo, again)
    # What is not theirs any more stays when they go.
    site.gone("Rollback", back, undo, twice)
    assert first["previousDatabase"] in site.databases()
    obj = site.cluster.wait(
        "Rollback", again, site.namespace, lambda o: o["status"].get("residue") == "None", 240, "cleaned up"
    )
    retained = condition(obj, "PreviousRetained") or {}
    assert (retained.get("status"), retained.get("reason")) == ("False", "UndoWindowOver")
    assert obj["status"]["steps"][-1]["state"] == "Done"
    assert is_true(obj, "Complete")
    assert marker(site) == 5
    site.failed("Rollback", site.undo(late, again), "UndoWindowOver")
    environment = site.cluster.get("Environment", site.environment, site.namespace)
    assert environment is not None
    assert [e["name"] for e in environment["status"]["executedRollbacks"]][-3:] == [back, undo, again]
    holds_all_promises(site)
    assert folders(site) == []


def gives_back_where_not_ready(site: Site, back: str, kept: str) -> None:
    """The workloads need a parameter that only the restored database has: the undo is switched back, and the first
    Rollback keeps the previous database again, which can be undone later."""
    undo = fresh("not-ready")
    with ready_only_on_the_live_one(site, "only_new"):
        obj = site.failed("Rollback", site.undo(undo, back, readyTimeoutSeconds=10), "SwitchedBack", 240)
        assert (obj["status"]["position"], obj["status"]["residue"]) == ("Old", "None")
        assert marker(site) == 0
        assert site.databases() == sorted([site.database, kept])
    site.gone("Rollback", undo)
    assert site.databases() == sorted([site.database, kept])


@pytest.mark.timeout(900)
def test_row_17_mover_killed_in_a_switch_of_a_plain_filestore_and_in_its_undo(sites: Sites) -> None:
    """Old or new, never half; what is kept is dropped once, and only when nothing needs it. Undone, forth again without
    a death, and undone once more. The kubelet starts the container of a switch again, which finds its signal."""
    site = sites.of(layout="Plain")
    back, *undos = (fresh(name) for name in ("back", "undo", "again", "last"))
    site.load(6)
    set_marker(site, 1)
    with Deaths(site.cluster, site.namespace) as deaths:
        site.rollback(back, "base", annotations=killed_in_turn(*PLAIN_SWITCH_POINTS), undoWindowSeconds=3600)
        obj = site.finished("Rollback", back)
        deaths.fired(obj, times=len(PLAIN_SWITCH_POINTS))
    old_or_new(site, obj)
    site.files_fit()
    if not is_true(obj, "Complete"):  # the time for another attempt had passed
        back = site.rollback(fresh("back"), "base", undoWindowSeconds=3600)
        site.completed("Rollback", back)
    site.load(7)
    set_marker(site, 5)
    of, live = back, 5
    deadly = (("switch-back-refused", "switch-done"), (), ("switch-filestore-moved", "switch-back-renamed"))
    for name, points in zip(undos, deadly, strict=True):
        if killed_in_an_undo(site, name, of, *points):
            of, live = name, 6 - live
        assert marker(site) == live
    site.gone("Rollback", *reversed(undos), back)
    assert site.databases() == [site.database]
    assert marker(site) == live
    assert folders(site) == []
    holds_all_promises(site)


def killed_in_an_undo(site: Site, name: str, of: str, *points: str) -> bool:
    """Whether it was undone, though the mover died at each of these points."""
    with Deaths(site.cluster, site.namespace) as deaths:
        site.undo(name, of, annotations=everywhere(*points), undoWindowSeconds=3600)
        obj = site.finished("Rollback", name, 240)
        deaths.fired_in(obj, {"switch": len(points)} if points else {})
    assert site.accepts_connections()
    site.files_fit()
    assert len(site.databases()) == 2
    return is_true(obj, "Complete")
