"""What a sweep does next, by what was observed: tables of worlds. Pure; test_sweeps.py runs the Jobs."""

from typing import Any

import pytest

from ocore_crds import naming
from ocore_crds.protocol import Failure
from ocore_crds.reports.stored_contents import OrphansResult, RemovedOrphans
from ocore_crds.resources.snapshotstore import OrphansStatus
from ocore_operator.errors import Failed, Stalled, Waiting
from ocore_operator.frame.actions import Idle, Record, StartJob
from ocore_operator.jobs.building.job import job_name
from ocore_operator.jobs.observing.outcome import POLL
from ocore_operator.kube.resources import Object, Store
from ocore_operator.sweep import orphans, plan
from ocore_operator.sweep.plan import Action, World
from support.operator.objects import at, moment
from support.operator.stores import job_of, store
from support.operator.terminal_snapshot import RUNNING

DAY = 86400.0
REFUSED = Failed("JobRefused", "no rights")
REPORT = "a" * 64


def last_sweep(**changes: Any) -> Object:
    return OrphansStatus.model_validate({"checkedAt": at(60 - DAY), "report": REPORT, **changes}).wire()


def swept(known: Store, command: str, state: Any = None, **changes: Any) -> Action:
    what = "sweep" if command == "sweep" else f"remove {REPORT}"
    name = job_name(command, known.meta.uid, f"{orphans.attempt(known, what)}-1")
    return plan.decide(World(known, moment(60), job_of(name, state), interval=DAY, **changes))


DUE = store({"orphans": last_sweep()})
ASKED = store({"orphans": last_sweep()}, {naming.ANNOTATION_REMOVE_ORPHANS: REPORT})


def test_between_two_sweeps_nothing_is_done() -> None:
    assert swept(store({"orphans": last_sweep(checkedAt=at(0))}), "sweep") == Idle(DAY - 60)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (None, StartJob("sweep", f"{orphans.attempt(DUE, 'sweep')}-1")),
        (RUNNING, Idle(POLL)),
    ],
)
def test_a_sweep_that_is_due(state: Any, expected: Action) -> None:
    assert swept(DUE, "sweep", state) == expected


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (None, StartJob("remove-orphans", f"{orphans.attempt(ASKED, f'remove {REPORT}')}-1")),
        (RUNNING, Idle(POLL)),
    ],
)
def test_a_removal_goes_before_a_sweep(state: Any, expected: Action) -> None:
    assert swept(ASKED, "remove-orphans", state) == expected


def test_the_result_of_a_sweep_is_recorded_with_what_is_claimed() -> None:
    action = swept(DUE, "sweep", OrphansResult(objects=2, manifests=5), claimed=3)
    assert isinstance(action, Record)
    assert action.job == job_name("sweep", DUE.meta.uid, f"{orphans.attempt(DUE, 'sweep')}-1")
    found = action.status.orphans
    assert found is not None
    assert (found.objects, found.unclaimed) == (2, 2)


@pytest.mark.parametrize("how", ["failed", "refused"])
def test_a_sweep_without_a_result_keeps_its_job_and_says_why(how: str) -> None:
    """The Job of another sweep has another name."""
    state = Failure(reason="X", message="no rights") if how == "failed" else None
    action = swept(DUE, "sweep", state, refusal=REFUSED if how == "refused" else None)
    assert isinstance(action, Record)
    assert action.job == ""
    assert action.status.orphans is not None
    assert "no rights" in action.status.orphans.message


@pytest.mark.parametrize(
    ("state", "refusal", "text"),
    [
        (RemovedOrphans(objects=4), None, "4 objects"),
        (Failure(reason="X", message="it was replaced"), None, "The removal failed: it was replaced"),
        (None, REFUSED, "The removal failed: no rights"),
    ],
)
def test_the_end_of_a_removal_is_recorded(state: Any, refusal: Failed | None, text: str) -> None:
    action = swept(ASKED, "remove-orphans", state, refusal=refusal)
    assert isinstance(action, Record)
    found = action.status.orphans
    assert found is not None
    assert found.removal is not None
    assert text in found.removal.message


@pytest.mark.parametrize("known", [DUE, ASKED])
def test_what_may_pass_is_waited_for(known: Store) -> None:
    """What a person must change is reported by the next probe of the store."""
    command = "sweep" if known is DUE else "remove-orphans"
    assert swept(known, command, refusal=Waiting("WaitingForJobSlot", "busy", 7.0)) == Idle(7.0)
    assert swept(known, command, refusal=Stalled("ClaimNotFound", "no claim")) == Idle()


@pytest.mark.parametrize(("known", "expected"), [(DUE, True), (ASKED, True), (store(), False)])
def test_jobs_are_read_where_one_is_wanted(known: Store, expected: bool) -> None:
    assert plan.needs_job(known, DAY, moment(60)) is expected


def test_without_an_interval_no_job_is_wanted_unless_it_is_asked_for() -> None:
    assert not plan.needs_job(store(), 0, moment(60))
    assert plan.needs_job(ASKED, 0, moment(60))
