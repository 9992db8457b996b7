"""What an import does next, by what was observed: tables of worlds. Pure; test_pages.py runs the Jobs."""

from typing import Any

import pytest

from ocore_crds.commands.table import LIST_MANIFESTS
from ocore_crds.protocol import Failure
from ocore_crds.reports.stored_contents import ManifestsResult, OrphansResult
from ocore_crds.resources.snapshotstore import ImportStatus
from ocore_operator.errors import Failed
from ocore_operator.frame.actions import Idle, Record, StartJob
from ocore_operator.imports import plan, rules
from ocore_operator.imports.plan import Action, CreatePage, TakeOver, World
from ocore_operator.imports.rules import Place
from ocore_operator.kube.resources import Object
from support.operator.objects import at, moment
from support.operator.stores import STORE_ID, job_of, store
from support.operator.terminal_snapshot import RUNNING

PLACES = {"e": Place("shop", "p")}
SCOPE = rules.scope(PLACES, STORE_ID)
REFUSED = Failed("JobRefused", "no rights")


def importing(**changes: Any) -> ImportStatus:
    return ImportStatus.model_validate({"state": "Running", "startedAt": at(0), "scope": SCOPE, **changes})


def planned(last: ImportStatus | None, state: Any = None, **changes: Any) -> Action:
    known = store({"import": last.wire()} if last is not None else None, **{"import": True, **changes.pop("spec", {})})
    name = rules.listing(known, last).job(last.attempt) if last is not None else ""
    return plan.decide(World(known, moment(60), job_of(name, state), PLACES, **changes))


def test_the_first_import_begins_at_once() -> None:
    action = planned(None)
    assert isinstance(action, Record)
    assert action.status.import_ == rules.begun(SCOPE, moment(60))


def test_another_import_begins_for_what_was_hidden() -> None:
    done = importing(state="Done", finishedAt=at(5))
    assert isinstance(planned(done), Idle)
    action = planned(done, spec={"importHidden": True})
    assert isinstance(action, Record)
    assert action.status.import_ == rules.begun(rules.scope(PLACES, STORE_ID, hidden=True), moment(60))


PAGE = ManifestsResult(store_id=STORE_ID, listed=0, lines_sha256="0" * 64)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (None, StartJob),
        (RUNNING, Idle),
        (PAGE, CreatePage),
        (PAGE.model_copy(update={"store_id": "another"}), Record),
        (OrphansResult(), Record),
        (Failure(reason="X", message="m"), Record),
    ],
)
def test_a_page_by_the_state_of_its_job(state: Any, expected: type[Action]) -> None:
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
        ({"state": "Done", "incomplete": 1}, {}, Idle(rules.AGAIN)),
        ({"state": "Failed"}, {}, Idle(rules.AGAIN)),
        ({"state": "Failed"}, {"takeOver": True}, Idle(rules.AGAIN)),
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
    past = at(60 - rules.AGAIN)
    action = planned(importing(startedAt=past, finishedAt=past, **last))
    assert isinstance(action, Record)
    assert action.status.import_ == rules.begun(SCOPE, moment(60))
