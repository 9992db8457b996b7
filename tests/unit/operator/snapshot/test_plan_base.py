"""Whether a Snapshot stores the whole filestore, and which full one a differential needs; the order up to its Job."""

from dataclasses import replace
from datetime import timedelta
from typing import Any, Literal

import pytest

from ocore_operator.entries.differentials import Files, Full, pairing_of
from ocore_operator.frame.actions import Record
from ocore_operator.kube.resources import Snapshot
from ocore_operator.snapshot.plan import decide
from ocore_operator.snapshot.plan_base import Wanted, choose
from ocore_operator.snapshot.world import BaseView, EnterInBase, Start, World
from support.operator.differentials import ENVIRONMENT, FILES, STORE, differential, full, uid
from support.operator.objects import SETTINGS, at, moment, observation, snapshot, started

HERE = Files("files", "filestore/shop", "Odoo")
WANTED = Wanted(ENVIRONMENT, STORE, HERE)
DAY = 86400.0
Mode = Literal["Auto", "Full", "Differential"]


def candidate(name: str, days: float, **changes: Any) -> Full:
    """A usable full Snapshot that shows this many days ago."""
    found = Full(name, f"id-{name}", ENVIRONMENT, STORE, HERE, at(-days * DAY), "0" * 64, sound=True, deleting=False)
    return replace(found, **changes)


NEW, OLD, OLDEST = candidate("new", 1), candidate("old", 6), candidate("oldest", 30)


@pytest.mark.parametrize(
    ("mode", "fulls", "expected"),
    [
        ("Auto", (), None),
        ("Differential", (), None),
        ("Full", (NEW,), None),
        ("Auto", (OLD, NEW, OLDEST), "new"),
        ("Differential", (OLDEST, OLD), "old"),
        # A new full one after fullEvery, unless a differential is asked for.
        ("Auto", (OLDEST,), None),
        ("Differential", (OLDEST,), "oldest"),
        ("Auto", (candidate("exactly", 7),), None),
        ("Auto", (candidate("almost", 6.99),), "almost"),
        # What cannot be used is passed over, however new.
        ("Auto", (OLD, replace(NEW, sound=False)), "old"),
        ("Auto", (OLD, replace(NEW, deleting=True)), "old"),
        ("Auto", (OLD, replace(NEW, environment_id="other")), "old"),
        ("Auto", (OLD, replace(NEW, store_id="other")), "old"),
        ("Auto", (OLD, replace(NEW, files=None)), "old"),
        ("Auto", (OLD, replace(NEW, files=replace(HERE, layout="Plain"))), "old"),
        ("Auto", (OLD, replace(NEW, files=replace(HERE, path="elsewhere"))), "old"),
        ("Auto", (OLD, replace(NEW, files=replace(HERE, claim="other"))), "old"),
        ("Differential", (replace(NEW, sound=False), replace(OLD, deleting=True)), None),
    ],
)
def test_the_newest_usable_full_one(mode: Mode, fulls: tuple[Full, ...], expected: str | None) -> None:
    found = choose(mode, WANTED, fulls, timedelta(days=7), moment(0))
    assert (found.name if found is not None else None) == expected
    assert choose(mode, WANTED, reversed(fulls), timedelta(days=7), moment(0)) == found


@pytest.mark.parametrize("mode", ["Auto", "Full", "Differential"])
def test_without_a_filestore_there_is_nothing_to_differ(mode: Mode) -> None:
    assert (
        choose(mode, replace(WANTED, files=None), (replace(NEW, files=None), NEW), timedelta(days=7), moment(0)) is None
    )


def test_what_a_snapshot_can_be_the_base_of() -> None:
    found = pairing_of(full("f", 1)).full
    assert found is not None
    assert (found.name, found.id, found.environment_id, found.store_id, found.files) == (
        "f",
        uid(1),
        ENVIRONMENT,
        STORE,
        HERE,
    )
    assert found.sound
    assert not found.deleting
    corrupt = pairing_of(full("f", 1, "Corrupt")).full
    assert corrupt is not None
    assert not corrupt.sound
    unknown = pairing_of(full("f", 1, filestore=None)).full
    assert unknown is not None
    assert unknown.files is None, "it was adopted: nothing says which files it has"
    gone = pairing_of(full("f", 1, meta={"deletionTimestamp": at(5)})).full
    assert gone is not None
    assert gone.deleting
    assert pairing_of(differential("d", 2, "f", 1)).full is None, "never a chain"
    assert pairing_of(full("f", 1, "Failed")).full is None
    released = {"state": "Completed", "storeName": "far", "requestedAt": at(0), "only": True}
    assert pairing_of(full("f", 1, remote=released)).full is None, "a Job reads the base in the Snapshot's own store"
    assert pairing_of(full("f", 1, fullFilestore=None)).full is None, "an older version took it"


# --- the order -------------------------------------------------------------------------------------------------


def mine(mode: Mode = "Auto", **status: Any) -> Snapshot:
    return snapshot(
        {"filestoreMode": mode},
        started(**{"filestore": FILES, "fullFilestore": None, **status}),
        name="mine",
        finalizers=["ocore.dev/data"],
    )


def world(snap: Snapshot, **fields: Any) -> World:
    return World(snap, moment(60), SETTINGS, observation([], {}, seconds=60), **fields)


def test_the_choice_is_recorded_then_entered_then_the_job_starts() -> None:
    first = decide(world(mine(), fulls=(NEW,)))
    assert isinstance(first, Record)
    assert first.failpoint == "operator-snapshot-base-chosen"
    assert first.status.full_filestore is False
    assert first.status.base is not None
    assert (first.status.base.name, first.status.base.id) == ("new", "id-new")
    chosen = mine().with_status(first.status)
    assert decide(world(chosen, base=BaseView(NEW, entered=False))) == EnterInBase()
    assert decide(world(chosen, base=BaseView(NEW, entered=True))) == Start(1)


def test_without_a_base_the_job_starts_at_once() -> None:
    first = decide(world(mine()))
    assert isinstance(first, Record)
    assert (first.status.base, first.status.full_filestore, first.notes) == (None, True, ())
    assert decide(world(mine().with_status(first.status))) == Start(1)


def test_a_differential_that_is_asked_for_and_cannot_be_taken_is_a_full_one_with_a_warning() -> None:
    first = decide(world(mine("Differential"), fulls=(replace(NEW, sound=False),)))
    assert isinstance(first, Record)
    assert first.status.full_filestore
    (note,) = first.notes
    assert (note.type, note.reason) == ("Warning", "FullInsteadOfDifferential")
    assert "has no full snapshot of the same filestore" in note.message


@pytest.mark.parametrize(
    "found",
    [
        None,
        BaseView(None, entered=True),
        BaseView(replace(NEW, deleting=True), entered=True),
        BaseView(replace(NEW, sound=False), entered=True),
        BaseView(replace(NEW, id="another object"), entered=True),
    ],
)
def test_a_base_that_has_changed_is_given_up_before_the_job(found: BaseView | None) -> None:
    """Also before a second attempt. Then another one is chosen."""
    for attempt in (1, 2):
        snap = mine(attempt=attempt, fullFilestore=False, base={"name": "new", "id": "id-new"})
        action = decide(world(snap, base=found))
        assert isinstance(action, Record)
        assert (action.status.base, action.status.full_filestore) == (None, None)


def test_an_entry_comes_before_every_attempt() -> None:
    snap = mine(attempt=2, fullFilestore=False, base={"name": "new", "id": "id-new"})
    assert decide(world(snap, base=BaseView(NEW, entered=False))) == EnterInBase()
    assert decide(world(snap, base=BaseView(NEW, entered=True))) == Start(2)
