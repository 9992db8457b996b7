"""What an import and a sweep do next, by what was observed: tables of worlds. Pure; test_importing.py and
test_orphans.py run the Jobs."""

from typing import Any

import pytest

from ocore_crds import naming
from ocore_crds.commands.table import LIST_MANIFESTS
from ocore_crds.protocol import Failure, Payload
from ocore_crds.snapshotstore import ImportStatus, OrphansStatus
from ocore_crds.stored_contents import ManifestsResult, OrphansResult, RemovedOrphans
from ocore_operator.contents import imports, orphans, plan_import, plan_sweep
from ocore_operator.contents.imports import Place
from ocore_operator.contents.world import (
    CreatePage,
    Idle,
    ImportAction,
    ImportWorld,
    Record,
    StartPage,
    StartRemoval,
    StartSweep,
    SweepAction,
    SweepWorld,
    TakeOver,
)
from ocore_operator.jobs.outcome import POLL, Observation
from ocore_operator.jobs.shape import job_name
from ocore_operator.kube.resources import Object, Store
from support.operator import objects
from support.operator.objects import at, job, moment, observation, pod
from support.operator.terminal_snapshot import RUNNING, said

DAY = 86400.0
STORE_ID = "5555dddd-3333-4333-8333-333333333333"
PLACES = {"e": Place("shop", "p")}
SCOPE = imports.scope(PLACES, STORE_ID)
REFUSED = Failure(reason="JobRefused", message="no rights")
REPORT = "a" * 64


def store(status: Object | None = None, annotations: dict[str, str] | None = None, **spec: Any) -> Store:
    s3 = {"s3": {"bucket": "snapshots", "credentialsSecretRef": {"name": "s3"}}, **spec}
    return objects.store(s3, {"storeId": STORE_ID, **(status or {})}, annotations=annotations or {})


def seen(name: str, state: Object | Payload | Failure | None) -> Observation:
    """The Job of that name, as its container says; None: there is no Job."""
    if state is None:
        return observation()
    container = state if isinstance(state, dict) else said(state)
    ended = "" if "running" in container else "Failed" if isinstance(state, Failure) else "Complete"
    return observation([job(name, condition=ended)], {name: [pod(name, container)]})


# --- imports ---------------------------------------------------------------------------------------------------------


def importing(**changes: Any) -> ImportStatus:
    return ImportStatus.model_validate({"state": "Running", "startedAt": at(0), "scope": SCOPE, **changes})


def planned(last: ImportStatus | None, state: Any = None, **changes: Any) -> ImportAction:
    known = store({"import": last.wire()} if last is not None else None, **{"import": True, **changes.pop("spec", {})})
    name = job_name(LIST_MANIFESTS.name, known.meta.uid, imports.job_attempt(last)) if last is not None else ""
    return plan_import.decide(ImportWorld(known, moment(60), seen(name, state), PLACES, **changes))


def test_the_first_import_begins_at_once() -> None:
    action = planned(None)
    assert isinstance(action, Record)
    assert action.status.import_ == imports.begun(SCOPE, moment(60))


PAGE = ManifestsResult(store_id=STORE_ID, listed=0, lines_sha256="0" * 64)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (None, StartPage),
        (RUNNING, Idle),
        (PAGE, CreatePage),
        (PAGE.model_copy(update={"store_id": "another"}), Record),
        (OrphansResult(), Record),
        (Failure(reason="X", message="m"), Record),
    ],
)
def test_a_page_by_the_state_of_its_job(state: Any, expected: type[ImportAction]) -> None:
    assert type(planned(importing(), state)) is expected


@pytest.mark.parametrize(
    ("attempt", "failure", "state"),
    [
        (1, Failure(reason="X", message="m", retryable=True), "Running"),
        (LIST_MANIFESTS.attempts, Failure(reason="X", message="m", retryable=True), "Failed"),
        # Another version allowed more.
        (LIST_MANIFESTS.attempts + 1, Failure(reason="X", message="m", retryable=True), "Failed"),
        (1, Failure(reason="X", message="m"), "Failed"),
        (1, PAGE.model_copy(update={"store_id": "another"}), "Failed"),
    ],
)
def test_a_page_is_tried_again_where_that_can_help(attempt: int, failure: Any, state: str) -> None:
    action = planned(importing(attempt=attempt), failure)
    assert isinstance(action, Record)
    assert action.status.import_ is not None
    assert action.status.import_.state == state
    assert action.status.import_.attempt == (2 if state == "Running" else attempt)
    assert action.after == (0.0 if state == "Running" else imports.AGAIN)


def test_a_refused_job_ends_the_import() -> None:
    action = planned(importing(), refusal=REFUSED)
    assert isinstance(action, Record)
    assert action.status.import_ is not None
    assert action.status.import_.state == "Failed"
    assert "no rights" in action.status.import_.message


@pytest.mark.parametrize(
    ("last", "spec", "expected"),
    [
        ({"state": "Done"}, {}, Idle()),
        ({"state": "Done", "incomplete": 1}, {}, Idle(imports.AGAIN)),
        ({"state": "Failed"}, {}, Idle(imports.AGAIN)),
        ({"state": "Failed"}, {"takeOver": True}, Idle(imports.AGAIN)),
        ({"state": "Done", "takenOver": 3}, {"takeOver": True}, Idle()),
    ],
)
def test_what_follows_an_import(last: Object, spec: Object, expected: Idle) -> None:
    assert planned(importing(finishedAt=at(30), **last), spec=spec) == expected


def test_a_take_over_follows_an_import_that_is_done() -> None:
    done = importing(state="Done", finishedAt=at(30))
    assert planned(done, spec={"takeOver": True}) == TakeOver(done)


@pytest.mark.parametrize("last", [{"state": "Done", "incomplete": 1}, {"state": "Failed"}])
def test_an_import_is_repeated_when_its_pause_has_passed(last: Object) -> None:
    past = at(60 - imports.AGAIN)
    action = planned(importing(startedAt=past, finishedAt=past, **last))
    assert isinstance(action, Record)
    assert action.status.import_ == imports.begun(SCOPE, moment(60))


# --- sweeps ----------------------------------------------------------------------------------------------------------


def last_sweep(**changes: Any) -> Object:
    return OrphansStatus.model_validate({"checkedAt": at(60 - DAY), "report": REPORT, **changes}).wire()


def swept(known: Store, command: str, state: Any = None, **changes: Any) -> SweepAction:
    what = "sweep" if command == "sweep" else f"remove {REPORT}"
    name = job_name(command, known.meta.uid, orphans.attempt(known, what))
    return plan_sweep.decide(SweepWorld(known, moment(60), seen(name, state), interval=DAY, **changes))


DUE = store({"orphans": last_sweep()})
ASKED = store({"orphans": last_sweep()}, {naming.ANNOTATION_REMOVE_ORPHANS: REPORT})


def test_between_two_sweeps_nothing_is_done() -> None:
    assert swept(store({"orphans": last_sweep(checkedAt=at(0))}), "sweep") == Idle(DAY - 60)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (None, StartSweep(orphans.attempt(DUE, "sweep"))),
        (RUNNING, Idle(POLL)),
    ],
)
def test_a_sweep_that_is_due(state: Any, expected: SweepAction) -> None:
    assert swept(DUE, "sweep", state) == expected


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (None, StartRemoval(REPORT, orphans.attempt(ASKED, f"remove {REPORT}"))),
        (RUNNING, Idle(POLL)),
    ],
)
def test_a_removal_goes_before_a_sweep(state: Any, expected: SweepAction) -> None:
    assert swept(ASKED, "remove-orphans", state) == expected


def test_the_result_of_a_sweep_is_recorded_with_what_is_claimed() -> None:
    action = swept(DUE, "sweep", OrphansResult(objects=2, manifests=5), claimed=3)
    assert isinstance(action, Record)
    assert action.job == job_name("sweep", DUE.meta.uid, orphans.attempt(DUE, "sweep"))
    assert action.status.orphans is not None
    assert (action.status.orphans.objects, action.status.orphans.unclaimed) == (2, 2)


@pytest.mark.parametrize("how", ["failed", "refused"])
def test_a_sweep_without_a_result_keeps_its_job_and_says_why(how: str) -> None:
    """The Job of another sweep has another name."""
    state = Failure(reason="X", message="no rights") if how == "failed" else None
    action = swept(DUE, "sweep", state, refusal=REFUSED if how == "refused" else None)
    assert isinstance(action, Record)
    assert (action.job, action.after) == ("", 0.0)
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
def test_the_end_of_a_removal_is_recorded(state: Any, refusal: Failure | None, text: str) -> None:
    action = swept(ASKED, "remove-orphans", state, refusal=refusal)
    assert isinstance(action, Record)
    assert action.status.orphans is not None
    assert action.status.orphans.removal is not None
    assert text in action.status.orphans.removal.message


@pytest.mark.parametrize(("known", "expected"), [(DUE, True), (ASKED, True), (store(), False)])
def test_jobs_are_read_where_one_is_wanted(known: Store, expected: bool) -> None:
    assert plan_sweep.needs_job(known, DAY, moment(60)) is expected
