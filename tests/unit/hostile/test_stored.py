"""Row 77: what a bucket or a Job says ends nothing, whatever it is."""

import json
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from ocore_crds.protocol import Result
from ocore_crds.reports.store_listing import StoredRollback, StoredSnapshot, parse
from ocore_crds.resources.snapshotstore import ImportStatus
from ocore_operator.imports import pages, rollbacks, rules
from ocore_operator.imports.rules import Place as Home
from ocore_operator.jobs.observing.outcome import Observation
from ocore_operator.kube import resources
from support.crds import hostile
from support.mover.contents import ENVIRONMENT, PROJECT, add, at
from support.mover.records import run_of
from support.operator import objects
from support.operator.contents import Place
from support.operator.objects import job, moment, pod, snapshot_object

FUZZ = settings(deadline=None, max_examples=100, suppress_health_check=list(HealthCheck))
JOB = "snapshot-111111112222-1"


def of_model(model: type[BaseModel]) -> st.SearchStrategy[Any]:
    """JSON that its schema describes."""
    return hostile.of_schema(model.model_json_schema(by_alias=True))


def imported(place: Place) -> ImportStatus:
    found = place.read_store().status.import_
    assert found is not None
    assert found.state == "Done", found
    return found


def test_row_77_a_record_of_the_year_0_ends_no_import(tmp_path: Path) -> None:
    """The mover refuses it first; a forged line gets as far as the operator."""
    place = Place(tmp_path)
    add(place.store, 1)
    run = run_of("66666666-6666-4666-8666-666666666666", ENVIRONMENT)
    key = f"environments/{ENVIRONMENT}/rollbacks/{run.name}/{run.spec_hash}/{run.uid}/{run.attempt}/restored.json"
    record = {"formatVersion": 1, "state": "restored", "run": run.wire(), "time": "0000-01-01T00:00:00Z"}
    place.store.put_if_absent(key, json.dumps(record).encode())
    place.run()
    assert (imported(place).found, imported(place).imported) == (1, 1)


def test_a_line_that_cannot_be_read_is_counted_and_named(tmp_path: Path) -> None:
    place = Place(tmp_path)
    entry = StoredRollback(outcome="Switched", run=run_of(PROJECT, ENVIRONMENT), began_at=at(0), ended_at=at(1))
    forged = json.dumps({**entry.wire(), "endedAt": "0000-01-01T00:00:00Z"}, separators=(",", ":"))
    assert parse(forged) is None
    memory = pages.Memory(("x", "x", 1), {}, {})
    page = pages._Page(place.ctx, place.read_store(), rules.begun("x", moment(0)), {}, memory)
    assert page.parsed(forged) is None
    assert page.counted.refused == 1
    assert "cannot read" in page.counted.examples[0]


@FUZZ
@given(of_model(StoredSnapshot), of_model(StoredRollback))
def test_whatever_a_manifest_or_record_says_is_imported_or_refused(one: Any, other: Any) -> None:
    home, now = Home("shop", PROJECT), moment(0)
    store = objects.store()
    for line in (one, other):
        entry = parse(json.dumps(line, separators=(",", ":")))
        if isinstance(entry, StoredSnapshot):
            rules.belongs(entry, {ENVIRONMENT: home})
            if entry.result.identity is not None:
                names = rules.names(entry.result.identity)
                body = rules.body(store, entry.result.identity, "shop", names[0])
                snapshot = resources.snapshot(snapshot_object({"environmentRef": {"name": "shop"}, **body["spec"]}))
                rules.status(snapshot, store, entry, "", now)
        elif isinstance(entry, StoredRollback):
            rollbacks.siblings([entry], {})
            rollbacks.names(entry, home, now)


@FUZZ
@given(of_model(Result))
def test_whatever_a_job_says_is_a_result_or_none(message: Any) -> None:
    state = {"terminated": {"exitCode": 0, "message": json.dumps(message), "finishedAt": at(0)}}
    seen: Observation = objects.observation([job(JOB)], {JOB: [pod(JOB, state, phase="Succeeded")]}, seconds=10)
    seen.state(JOB)
