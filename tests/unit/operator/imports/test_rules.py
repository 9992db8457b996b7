"""When a store is imported, what is made of a manifest, and what follows a page. Pure; test_pages.py runs the
Jobs."""

from typing import Any

import pytest

from ocore_crds import conditions as c
from ocore_crds import naming
from ocore_crds.protocol import SnapshotResult
from ocore_crds.reports.store_listing import StoredSnapshot
from ocore_crds.reports.stored_contents import ForeignEnvironment, ManifestsResult, SkippedManifest
from ocore_crds.resources.snapshotstore import ImportedRollbacks, ImportStatus
from ocore_crds.stored.manifest import Identity
from ocore_crds.stored.snapshot_state import StoredState
from ocore_operator import clock
from ocore_operator.imports import rules
from ocore_operator.imports.rules import Counted, Place
from ocore_operator.kube.resources import Store
from ocore_operator.snapshot import entry as snapshot_entry
from support.operator import objects
from support.operator.objects import PROJECT, at, moment

ENVIRONMENT = "11111111-1111-4111-8111-111111111111"
OTHER = "22222222-2222-4222-8222-222222222222"
SNAPSHOT = "44444444-4444-4444-8444-444444444444"
DEPLOYMENT = "55555555-5555-4555-8555-555555555555"
S3 = {"s3": {"bucket": "snapshots", "credentialsSecretRef": {"name": "s3"}}}
NOW = moment(10_000)


def store(last: ImportStatus | None = None, annotations: dict[str, str] | None = None) -> Store:
    status = {"storeId": OTHER, **({"import": last.wire()} if last is not None else {})}
    return objects.store(S3, status, annotations=annotations or {}, generation=7)


def last(**changes: Any) -> ImportStatus:
    return ImportStatus.model_validate({"state": "Running", "startedAt": at(0), "scope": "here", **changes})


def identity(**changes: Any) -> Identity:
    made = Identity(
        environment_id=ENVIRONMENT,
        environment_name="shop",
        environment_type="production",
        project_id=PROJECT,
        snapshot_id=SNAPSHOT,
        snapshot_name="monday",
    )
    return made.model_copy(update=changes)


def entry(seen: Identity | None, key: str = naming.manifest_key(ENVIRONMENT, SNAPSHOT)) -> StoredSnapshot:
    result = SnapshotResult(
        attempt="a1",
        identity=seen,
        manifest_key=key,
        manifest_sha256="a" * 64,
        store_id=DEPLOYMENT,
        started_at=at(1),
        consistent_at=at(2),
        completed_at=at(3),
    )
    return StoredSnapshot(result=result)


# --- when -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "due"),
    [
        (None, True),
        (last(), False),
        (last(scope="elsewhere"), False),
        (last(state="Done", finishedAt=at(1)), False),
        (last(state="Done", finishedAt=at(1), scope="elsewhere"), True),
        (last(state="Done", finishedAt=at(1), scope="more"), True),
        (last(state="Done", finishedAt=at(1), incomplete=1), True),
        (last(state="Done", finishedAt=at(10_000 - 3600), incomplete=1), True),
        (last(state="Done", finishedAt=at(10_001 - 3600), incomplete=1), False),
        (last(state="Failed", finishedAt=at(10_000 - 3600)), True),
        (last(state="Failed", finishedAt=at(10_001 - 3600)), False),
        (last(state="Failed"), True),
        (last(state="Failed", startedAt=at(10_001 - 3600)), False),
    ],
)
def test_an_import_begins_once_for_a_scope_and_again_after_an_hour(found: ImportStatus | None, *, due: bool) -> None:
    assert rules.is_due(store(found), "here", NOW) is due


@pytest.mark.parametrize(("asked", "due"), [(-1, False), (0, False), (1, True), (10_000, True), (10_001, False)])
def test_an_import_begins_when_asked_for(asked: float, *, due: bool) -> None:
    annotated = {naming.ANNOTATION_IMPORT_REQUESTED: at(asked)}
    assert rules.is_due(store(last(state="Done", finishedAt=at(5)), annotated), "here", NOW) is due
    assert not rules.is_due(store(last(), annotated), "here", NOW), "one runs"


@pytest.mark.parametrize("text", ["", "now", "2026-03-01T14:00:00"])
def test_a_text_that_is_no_time_asks_for_nothing(text: str) -> None:
    assert not clock.asked(text, at(0), NOW)


def test_the_scope_changes_with_what_belongs_here() -> None:
    environments = [
        objects.environment({"id": ENVIRONMENT}),
        objects.environment({"id": OTHER}, deletionTimestamp=at(1)),
    ]
    places = rules.places(environments)
    assert places == {ENVIRONMENT: Place("shop", PROJECT)}
    scopes = {
        rules.scope(places, "one"),
        rules.scope(places, "two"),
        rules.scope({ENVIRONMENT: Place("shop", OTHER)}, "one"),
        rules.scope({OTHER: Place("shop", PROJECT)}, "one"),
        rules.scope({}, "one"),
        rules.scope(places, "one", hidden=True),
    }
    assert len(scopes) == 6
    assert {len(scope) for scope in scopes} == {16}
    assert rules.scope({ENVIRONMENT: Place("renamed", PROJECT)}, "one") in scopes
    both = {ENVIRONMENT: Place("a", PROJECT), OTHER: Place("b", PROJECT)}
    assert rules.scope(both, "one") == rules.scope(dict(reversed(both.items())), "one")


def test_each_page_and_attempt_has_a_job_of_its_own() -> None:
    running = rules.begun("here", NOW)
    assert (running.state, running.started_at, running.scope) == ("Running", at(10_000), "here")
    steps = [{}, {"page": 1}, {"round": 2}, {"attempt": 2}, {"started_at": at(1)}]
    updated = [running.model_copy(update=each) for each in steps]
    names = [rules.listing(store(), each).attempt(each.attempt) for each in updated]
    assert len(set(names)) == 5
    assert [name.partition("-")[2] for name in names] == ["1", "1", "1", "2", "1"]
    assert {len(name) for name in names} == {10}


# --- one snapshot -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "belongs"),
    [
        (entry(identity()), True),
        (entry(None), False),
        (entry(identity(environment_id=OTHER)), False),
        (entry(identity(project_id=OTHER)), False),
        (entry(identity(project_id=PROJECT.replace("a", "f"))), False),
        (entry(identity(), naming.manifest_key(ENVIRONMENT, OTHER)), False),
        (entry(identity(), naming.manifest_key(ENVIRONMENT, DEPLOYMENT)), False),
    ],
)
def test_a_snapshot_belongs_to_the_environment_of_its_id_and_project(found: StoredSnapshot, *, belongs: bool) -> None:
    place = Place("shop", PROJECT)
    assert rules.belongs(found, {ENVIRONMENT: place}) == (place if belongs else None)


@pytest.mark.parametrize(
    ("name", "own"), [("monday", True), ("", False), ("No name", False), ("a" * 253, True), ("a" * 254, False)]
)
def test_its_own_name_comes_first_where_it_is_one(name: str, *, own: bool) -> None:
    other = f"imported-{SNAPSHOT}"
    assert rules.names(identity(snapshot_name=name)) == ((name, other) if own else (other,))


def test_an_imported_snapshot_is_kept_whatever_the_store_says() -> None:
    body = rules.body(store(), identity(requested_by="é" * 300, trigger="Scheduled"), "shop", "monday")
    assert body["metadata"] == {
        "name": "monday",
        "namespace": "shop",
        "annotations": {naming.ANNOTATION_IMPORT: store().meta.uid},
        "finalizers": [naming.FINALIZER_DATA],
    }
    assert body["spec"] == {
        "id": SNAPSHOT,
        "environmentRef": {"name": "shop"},
        "trigger": "Scheduled",
        "requestedBy": "é" * 256,
        "retention": "Keep",
        "deletionPolicy": "Retain",
    }


@pytest.mark.parametrize(
    ("changes", "spec"),
    [
        ({"trigger": "Hacked"}, {"trigger": "Manual", "deploymentId": None}),
        ({"trigger": "Deployment"}, {"trigger": "Deployment", "deploymentId": None}),
        ({"deployment_id": DEPLOYMENT}, {"deploymentId": DEPLOYMENT}),
        ({"deployment_id": f"{DEPLOYMENT}x"}, {"deploymentId": None}),
    ],
)
def test_only_known_values_come_into_the_spec(changes: dict[str, Any], spec: dict[str, Any]) -> None:
    found = rules.body(store(), identity(**changes), "shop", "monday")["spec"]
    assert {key: found.get(key) for key in spec} == spec


def test_the_status_names_this_store_and_what_the_state_object_had() -> None:
    snapshot = objects.snapshot({"id": SNAPSHOT})
    state = StoredState(pin_label="audit")
    found = entry(identity())
    stated = found.model_copy(update={"result": found.result.model_copy(update={"state": state})})
    status = rules.status(snapshot, store(), stated, "", NOW)
    assert (status.store_id, status.store_name, status.phase) == (OTHER, "store", "Complete")
    assert status.imported is not None
    assert (status.imported.at, status.imported.stored, status.imported.taken_over) == (at(10_000), state, False)
    assert (status.started_at, status.completed_at) == (found.result.started_at, found.result.completed_at)
    assert status.residue == "None", "no Job of this cluster left anything"
    bare = rules.status(snapshot, store(), found, "", NOW).imported
    assert bare is not None
    assert bare.stored == StoredState()
    needs = found.result.model_copy(update={"base_snapshot_id": DEPLOYMENT})
    base = rules.status(snapshot, store(), StoredSnapshot(result=needs), "full", NOW).base
    assert base is not None
    assert (base.name, base.id) == ("full", DEPLOYMENT)


@pytest.mark.parametrize(
    ("annotations", "status", "half"),
    [
        ({naming.ANNOTATION_IMPORT: "x"}, None, True),
        ({naming.ANNOTATION_IMPORT: "x"}, {"id": SNAPSHOT}, True),
        ({naming.ANNOTATION_IMPORT: "x"}, {"phase": "Complete"}, False),
        ({}, None, False),
        (None, {"id": SNAPSHOT}, False),
    ],
)
def test_half_is_what_an_import_has_created_and_not_completed(annotations: Any, status: Any, *, half: bool) -> None:
    assert snapshot_entry.is_half({"metadata": {"annotations": annotations}, "status": status}) is half


POLICY = {"retention": "Policy", "deletionPolicy": "Delete"}


@pytest.mark.parametrize(
    ("spec", "stored", "wanted"),
    [
        ({}, None, None),
        ({}, {}, None),
        ({}, POLICY, POLICY),
        ({}, {"pinLabel": "audit"}, {"retention": "Keep", "deletionPolicy": "Retain", "pin": {"label": "audit"}}),
        ({}, {"pinLabel": ""}, {"retention": "Keep", "deletionPolicy": "Retain", "pin": {"label": ""}}),
        ({"pin": {"label": "mine"}}, POLICY, None),
        ({"retention": "Policy"}, POLICY, None),
        ({"deletionPolicy": "Delete"}, POLICY, None),
    ],
)
def test_a_take_over_sets_what_the_store_had_unless_a_person_has_changed_it(
    spec: dict[str, Any], stored: dict[str, Any] | None, wanted: dict[str, Any] | None
) -> None:
    status = {"imported": {"at": at(0), "stored": stored}} if stored is not None else {}
    snapshot = objects.snapshot({"id": SNAPSHOT, **spec}, status, generation=4)
    assert rules.spec_of_stored(snapshot) == wanted
    if stored is None:
        with pytest.raises(ValueError, match="was not imported"):
            rules.taken_over(snapshot)
        return
    done = rules.taken_over(snapshot)
    assert done.imported is not None
    assert (done.imported.taken_over, done.observed_generation) == (True, 4)


# --- pages ------------------------------------------------------------------------------------------------------------


def page(**changes: Any) -> ManifestsResult:
    return ManifestsResult.model_validate({"storeId": OTHER, "listed": 0, "linesSha256": "", **changes})


def test_a_page_is_added_to_those_before() -> None:
    rollbacks = ImportedRollbacks(found=1, imported=2, existing=3, older=4, unfinished=5)
    before = last(
        page=2, attempt=3, after="k", found=10, imported=5, existing=3, waiting=1, skipped=2, incomplete=1,
        skippedExamples=["a: b"], rollbacks=rollbacks.wire(), foreignEnvironments=9,
    )  # fmt: skip
    counted = Counted(imported=1, existing=2, waiting=3, rollbacks=4, rollbacks_existing=5, older=6)
    counted.refuse("id", "why")
    result = page(
        listed=20, rollbacks=8, skipped=7, incomplete=4, next="n", rollbacksOpen=2, rollbacksOlder=3,
        skippedExamples=[{"key": "k", "reason": "r"}, {"key": "k", "reason": "r"}], foreignEnvironments=4,
    )  # fmt: skip
    found = rules.after_page(before, result, counted, NOW, complete=True)
    assert (found.state, found.page, found.attempt, found.after) == ("Running", 3, 1, "n")
    assert (found.found, found.imported, found.existing, found.waiting) == (22, 6, 5, 4)
    assert (found.skipped, found.incomplete) == (10, 5)
    assert found.skipped_examples == ("a: b", "k: r", "id: why")
    assert found.rollbacks == ImportedRollbacks(found=12, imported=6, existing=8, older=13, unfinished=7)
    assert (found.foreign_environments, found.foreign) == (9, ()), "they are counted on the first page"


def test_the_first_page_names_the_environments_that_are_not_here() -> None:
    foreign = ForeignEnvironment(environment_id=OTHER)
    first = page(next="n", foreign=[foreign.wire()], foreignEnvironments=3)
    found = rules.after_page(last(), first, Counted(), NOW, complete=True)
    assert (found.foreign, found.foreign_environments) == ((foreign,), 3)
    assert found.rollbacks == ImportedRollbacks()


def test_ten_examples_are_named() -> None:
    counted = Counted()
    for number in range(12):
        counted.refuse(str(number), "why " * 100)
    assert counted.refused == 12
    assert [text.partition(":")[0] for text in counted.examples] == [str(n) for n in range(10)]
    assert {len(text) for text in counted.examples} <= set(range(190, 201))
    skipped = [SkippedManifest(key=str(n), reason="r").wire() for n in range(5)]
    found = rules.after_page(last(), page(skippedExamples=skipped), counted, NOW, complete=True)
    assert len(found.skipped_examples) == 10
    assert found.skipped_examples[4:6] == ("4: r", counted.examples[0])


def test_the_pages_of_an_import_have_a_limit() -> None:
    more = page(next="n")
    assert rules.after_page(last(page=498), more, Counted(), NOW, complete=True).state == "Running"
    ended = rules.after_page(last(page=499), more, Counted(), NOW, complete=True)
    assert (ended.state, ended.page, ended.finished_at) == ("Failed", 500, at(10_000))
    assert ended.message == (
        "The import failed: The store offers more than 500 pages of snapshots. It is repeated after 60 minutes, or when"
        f" {naming.ANNOTATION_IMPORT_REQUESTED} asks for it."
    )


@pytest.mark.parametrize(
    ("round_", "waiting", "imported", "complete", "again"),
    [
        (1, 1, 1, False, True),
        (2, 1, 1, False, True),
        (3, 1, 1, False, False),
        (4, 1, 1, False, False),
        (1, 0, 1, False, False),
        (1, 1, 0, False, False),
        (1, 1, 1, True, False),
    ],
)
def test_another_round_follows_where_forgotten_differentials_may_come(
    round_: int, waiting: int, imported: int, *, complete: bool, again: bool
) -> None:
    counted = Counted(imported=imported, waiting=waiting)
    found = rules.after_page(last(round=round_, after="k"), page(listed=2), counted, NOW, complete=complete)
    if not again:
        assert (found.state, found.round, found.finished_at) == ("Done", round_, at(10_000))
        return
    assert (found.state, found.round, found.page, found.after) == ("Running", round_ + 1, 1, "")
    counts = (found.found, found.imported, found.existing, found.waiting, found.skipped, found.incomplete)
    assert counts == (0, 0, 0, 0, 0, 0)
    assert (found.skipped_examples, found.rollbacks) == ((), None)


@pytest.mark.parametrize(
    ("counts", "says"),
    [
        ({}, "0 of 0 snapshots were imported; 0 were there."),
        ({"found": 5, "imported": 3, "existing": 2}, "3 of 5 snapshots were imported; 2 were there."),
        (
            {"rollbacks": {"found": 3, "imported": 2, "existing": 1}},
            "0 of 0 snapshots were imported; 0 were there. Of 3 finished rollbacks 2 were imported, 1 were there.",
        ),
        (
            {"skipped": 2, "skippedExamples": ["k: r"]},
            "0 of 0 snapshots were imported; 0 were there. 2 were skipped, for example k: r.",
        ),
        ({"skipped": 2}, "0 of 0 snapshots were imported; 0 were there."),
        (
            {"incomplete": 4},
            "0 of 0 snapshots were imported; 0 were there. 4 of them lack objects in the store: they are looked for"
            " again every 60 minutes.",
        ),
        (
            {"waiting": 6},
            "0 of 0 snapshots were imported; 0 were there. 6 differentials lack the full snapshot that they need.",
        ),
        (
            {"after": "k", "foreignEnvironments": 8},
            "0 of 0 snapshots were imported; 0 were there. 8 other environments have snapshots in the store: see"
            " status.import.foreign.",
        ),
    ],
)
def test_the_end_says_what_was_imported(counts: dict[str, Any], says: str) -> None:
    found = rules.after_page(last(**counts), page(), Counted(), NOW, complete=True)
    assert (found.state, found.message) == ("Done", says)


def test_a_long_failure_is_shortened() -> None:
    assert len(rules.failed(last(), "x " * 1000, NOW).message) == 1000


@pytest.mark.parametrize(
    ("found", "state", "reason"),
    [
        (last(), "Unknown", c.IMPORTING),
        (last(state="Failed", skipped=1), "False", c.IMPORT_FAILED),
        (last(state="Done"), "True", c.SUCCEEDED),
        (last(state="Done", skipped=1), "False", c.IMPORT_INCOMPLETE),
        (last(state="Done", waiting=1), "False", c.IMPORT_INCOMPLETE),
    ],
)
def test_the_condition_is_true_where_everything_came(found: ImportStatus, state: str, reason: str) -> None:
    status = rules.with_import(store(), found.model_copy(update={"message": "So."}), NOW)
    (condition,) = [each for each in status.conditions if each.type == c.IMPORTED]
    assert (condition.status, condition.reason, condition.message) == (state, reason, "So.")
    assert condition.observed_generation == 7
    assert status.import_ is not None
    assert status.import_.state == found.state


def condition(found: ImportStatus, ids: tuple[str, ...]) -> tuple[str, str]:
    places = {id_: rules.Place("shop", OTHER) for id_ in ids}
    status = rules.with_import(store(), found, NOW, places)
    (each,) = [each for each in status.conditions if each.type == c.IMPORTED]
    return each.status, each.reason


def test_row_128_nothing_is_called_imported_before_its_environment_exists() -> None:
    """The documented order: the SnapshotStore, then the Environments, then `kubectl wait`."""
    none, one = rules.scope({}, OTHER), rules.scope({ENVIRONMENT: rules.Place("shop", OTHER)}, OTHER)
    early = last(state="Done", scope=none, foreign_environments=2)
    assert condition(early, ()) == ("Unknown", c.ENVIRONMENT_NOT_FOUND)
    assert condition(early, (ENVIRONMENT,)) == ("Unknown", c.IMPORTING), "it was created while the import ran"
    assert condition(last(state="Done", scope=one, foreign_environments=1), (ENVIRONMENT,)) == ("True", c.SUCCEEDED)
    assert condition(last(state="Done", scope=one), (ENVIRONMENT, SNAPSHOT)) == ("Unknown", c.IMPORTING)
    assert condition(last(state="Done", scope=none), ()) == ("True", c.SUCCEEDED), "an empty store has nothing"
