"""An import, from the folder of a store to the Snapshots: with the real mover, and an API server in memory."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ocore_api.views import values
from ocore_cli import runs
from ocore_crds import conditions as c
from ocore_crds import naming
from ocore_crds.kinds import SNAPSHOT
from ocore_crds.reports import stored_contents
from ocore_crds.reports.store_listing import StoredSnapshot
from ocore_crds.resources.snapshotpolicy import SnapshotPolicyStatus
from ocore_crds.rules.retention import candidate_of
from ocore_crds.stored.snapshot_state import StoredState
from ocore_crds.text import timestamps
from ocore_kube.errors import ApiError, Forbidden, Invalid
from ocore_kube.types import ENVIRONMENTS, JOBS, PODS, SNAPSHOTS, STORES
from ocore_mover import manifests, snapshot_results
from ocore_mover.commands import list_manifests
from ocore_mover.manifests import StoredManifest
from ocore_operator.errors import Failed, Waiting
from ocore_operator.frame.actions import Idle
from ocore_operator.imports import pages, reconcile, rules
from ocore_operator.jobs.observing.snapshot_jobs import Deletes
from ocore_operator.kube import resources
from ocore_operator.policy.transitions import with_results
from ocore_operator.snapshot import plan_after_end, transitions
from ocore_operator.snapshot.entry import entry, idle
from ocore_operator.snapshot.plan import decide
from ocore_operator.snapshot.world import LetGo, StartDelete, World
from ocore_operator.summarize import Stamp, applied
from support.mover.contents import ENVIRONMENT, OTHER, PROJECT, add, at, manifest, put, snapshot_id
from support.operator.contents import Place, as_json
from support.operator.objects import SETTINGS, moment, observation, snapshot_object

PINNED = StoredState(pin_label="audit", retention="Policy", deletion_policy="Delete")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def imported(found: Place) -> Any:
    status = found.read_store().status.import_
    assert status is not None
    return status


def has_ended(found: Place) -> bool:
    status = found.read_store().status.import_
    return status is not None and status.state != "Running"


def condition(found: Place) -> tuple[str, str]:
    got = c.find(found.read_store().status.conditions, c.IMPORTED)
    assert got is not None
    return got.status, got.reason


def condition_message(found: Place) -> str:
    got = c.find(found.read_store().status.conditions, c.IMPORTED)
    assert got is not None
    return got.message


def test_row_53_snapshots_come_back_as_they_were(place: Place) -> None:
    full = add(place.store, 1, full=True, state=PINNED)
    add(place.store, 2, base=full, trigger="Deployment")
    place.run()
    assert (imported(place).state, imported(place).found, imported(place).imported) == ("Done", 2, 2)
    assert condition(place) == ("True", "Succeeded")
    obj = place.snapshots()[snapshot_id(1)]
    assert obj["metadata"]["name"] == "snapshot-1"
    assert obj["spec"]["retention"] == "Keep"
    assert obj["spec"]["deletionPolicy"] == "Retain"
    assert "pin" not in obj["spec"]
    assert obj["spec"]["requestedBy"] == "someone@example.com"
    assert obj["spec"]["deploymentId"] == "55555555-5555-4555-8555-555555555555"
    status = obj["status"]
    assert (status["phase"], status["startedAt"], status["completedAt"]) == ("Complete", at(1), at(1.02))
    assert status["manifestSha256"] == full.sha256
    assert status["imported"]["stored"] == {"pinLabel": "audit", "retention": "Policy", "deletionPolicy": "Delete"}
    assert status["storeId"] == place.store_id
    assert place.snapshots()[snapshot_id(2)]["spec"]["trigger"] == "Deployment"
    assert place.snapshots()[snapshot_id(2)]["status"]["base"] == {"name": "snapshot-1", "id": snapshot_id(1)}
    assert place.snapshots()[snapshot_id(1)]["status"]["fullFilestore"] is True
    assert all(idle(each) for each in place.snapshots().values())
    assert [p for p in place.api.paths() if "/jobs/" in p] == []


def test_the_status_is_what_adoption_gives(place: Place) -> None:
    add(place.store, 1)
    place.run()
    obj = place.snapshots()[snapshot_id(1)]
    adopted = place.snapshots()[snapshot_id(1)]["status"]
    result = snapshot_results.of(manifests.read(place.store, ENVIRONMENT, snapshot_id(1)))
    snap = resources.snapshot({**obj, "status": {"observedGeneration": -1}})
    wanted = applied(transitions.completed(snap, result, None, clean=True, imported=True, now=place.now))
    for own in (
        "imported",
        "storeName",
        "storeId",
        "id",
        "observedGeneration",
        "conditions",
        "progress",
        "recoveryEvidence",
    ):
        wanted.pop(own, None)
        adopted.pop(own, None)
    assert as_json(wanted) == as_json(adopted)


def test_a_second_import_changes_nothing(place: Place) -> None:
    for number in range(5):
        add(place.store, number)
    place.run()
    before = place.snapshots()
    place.now += timedelta(hours=1)
    place.set_store({naming.ANNOTATION_IMPORT_REQUESTED: "2026-03-01T12:30:00Z"}, **{"import": True})
    place.run()
    assert place.snapshots() == before
    assert (imported(place).imported, imported(place).existing) == (0, 5)


def test_an_existing_snapshot_of_the_id_is_not_touched(place: Place) -> None:
    add(place.store, 1)
    mine = snapshot_object({"id": snapshot_id(1), "deletionPolicy": "Delete"}, {"phase": "Failed"})
    mine["metadata"]["name"] = "mine"
    before = place.api.put(SNAPSHOTS, mine)
    place.run()
    assert place.snapshots() == {snapshot_id(1): before}
    assert imported(place).existing == 1


def test_a_name_that_is_taken_is_replaced(place: Place) -> None:
    add(place.store, 1)
    add(place.store, 2, name="No valid NAME")
    other = snapshot_object({}, {"phase": "Complete"}, uid="other")
    other["metadata"]["name"] = "snapshot-1"
    place.api.put(SNAPSHOTS, other)
    place.run()
    names = {place.snapshots()[snapshot_id(n)]["metadata"]["name"] for n in (1, 2)}
    assert names == {f"imported-{snapshot_id(1)}", f"imported-{snapshot_id(2)}"}


def test_pages_follow_each_other(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_manifests, "BATCH", 3)
    monkeypatch.setattr(stored_contents, "PAGE_SNAPSHOTS", 3)
    for number in range(10):
        add(place.store, number)
    place.run()
    assert len(place.snapshots()) == 10
    assert (imported(place).found, imported(place).imported, imported(place).page) == (10, 10, 4)


def test_the_next_page_is_listed_while_one_is_created(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_manifests, "BATCH", 1)
    monkeypatch.setattr(stored_contents, "PAGE_SNAPSHOTS", 1)
    for number in range(3):
        add(place.store, number)
    seen: list[tuple[int, int]] = []  # Snapshots that are created, Jobs that list
    write = pages.summarize.write_quietly

    async def noted(*args: Any) -> Any:
        paths = place.api.paths()
        seen.append((sum("/snapshots/" in p for p in paths), sum("/jobs/" in p for p in paths)))
        return await write(*args)

    monkeypatch.setattr(pages.summarize, "write_quietly", noted)
    place.run()
    assert seen == [(1, 2), (2, 2), (3, 2)]  # the last page has the rollbacks
    assert (imported(place).imported, imported(place).page) == (3, 4)
    assert not any("/jobs/" in path for path in place.api.paths())


@pytest.fixture
def last(place: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Pages of one snapshot; a full one comes last, after its three differentials."""
    monkeypatch.setattr(list_manifests, "BATCH", 1)
    monkeypatch.setattr(stored_contents, "PAGE_SNAPSHOTS", 1)
    numbers = sorted(range(4), key=snapshot_id)
    full = add(place.store, numbers[-1], full=True)
    for number in numbers[:-1]:
        add(place.store, number, base=full)
    return place


def outcome(found: Place) -> tuple[int, int, int, int]:
    """Imported, existing, waiting, and rounds over the store."""
    got = imported(found)
    return got.imported, got.existing, got.waiting, got.round


def test_a_differential_waits_for_its_full_snapshot(last: Place) -> None:
    last.run()
    assert len(last.snapshots()) == 4
    assert outcome(last) == (4, 0, 0, 1)


def test_the_namespace_is_read_once(last: Place) -> None:
    """Not for each page: 10,000 Snapshots are 40 MB."""
    last.run()
    assert imported(last).page == 5
    lists = [path for method, path in last.api.requests if method == "GET" and path.endswith("/snapshots")]
    assert len(lists) == 1


@pytest.mark.parametrize("steps", range(1, 9))
def test_after_a_restart_another_round_brings_those_that_waited(last: Place, steps: int) -> None:
    for _ in range(steps):
        last.step()
    last.restart()
    last.run()
    assert len(last.snapshots()) == 4
    assert outcome(last)[:3] == (4, 0, 0)
    assert outcome(last)[3] <= 2


def test_without_room_another_round_brings_those_that_waited(last: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "WAITING_BYTES", 3000)
    last.run()
    assert len(last.snapshots()) == 4
    assert outcome(last) == (4, 0, 0, 2)


def test_two_imports_are_remembered_at_most(last: Place) -> None:
    """The number of stores is the tenants' choice."""
    last.step()
    last.step()  # begun, and the first page is listed
    store = last.read_store()
    memories = pages.Memories()
    stores = [replace(store, meta=replace(store.meta, name=name)) for name in ("a", "b", "c")]
    running = imported(last)
    kept = [asyncio.run(memories.take(last.ctx, each, running)) for each in stores]
    for each, memory in zip(stores, kept, strict=True):
        memories.keep(each, memory)
    again = [asyncio.run(memories.take(last.ctx, each, running)) for each in stores]
    assert [new is old for new, old in zip(again, kept, strict=True)] == [False, True, True]


def test_a_page_that_takes_longer_than_a_reconcile_counts_once(last: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    write, counts = pages.summarize.write_quietly, [0]
    monkeypatch.setattr(pages, "BUDGET", 0.2)
    monkeypatch.setattr(pages, "PARALLEL", 1)

    async def slow(*args: Any) -> Any:
        await asyncio.sleep(0.3)
        return await write(*args)

    monkeypatch.setattr(pages.summarize, "write_quietly", slow)
    while not has_ended(last):
        last.step()
        counts.append(len(last.snapshots()))
    assert outcome(last) == (4, 0, 0, 1)
    assert sorted(set(counts)) == [0, 2, 3, 4]  # the page of the full one took several reconciles


def test_a_full_snapshot_is_there_before_its_differentials_of_the_same_page(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Created beside it, they would wait for another round over the whole store."""
    write = pages.summarize.write_quietly

    async def slow(*args: Any) -> Any:
        await asyncio.sleep(0.01)
        return await write(*args)

    monkeypatch.setattr(pages.summarize, "write_quietly", slow)
    full = add(place.store, 1, full=True)
    for number in range(2, 6):
        add(place.store, number, base=full)
    place.run()
    assert (imported(place).imported, imported(place).waiting, imported(place).round) == (5, 0, 1)


def test_a_differential_without_its_full_snapshot_is_reported(place: Place) -> None:
    full = add(place.store, 1, full=True)
    add(place.store, 2, base=full)
    add(place.store, 3)
    place.store.delete([full.key])
    place.run()
    assert set(place.snapshots()) == {snapshot_id(3)}
    assert outcome(place) == (1, 0, 1, 1)  # another round would not find it either
    assert condition(place) == ("False", "ImportIncomplete")


def test_another_environment_gets_nothing_until_it_exists(place: Place) -> None:
    add(place.store, 1, environment_id=OTHER, project_id=OTHER)
    place.run()
    assert place.snapshots() == {}
    foreign = imported(place).foreign[0]
    assert (foreign.environment_id, foreign.project_id, foreign.snapshots) == (OTHER, OTHER, 1)
    place.environment(OTHER, OTHER, name="second")
    place.run()
    assert place.snapshots()[snapshot_id(1)]["spec"]["environmentRef"]["name"] == "second"


def test_another_project_gets_nothing(place: Place) -> None:
    add(place.store, 1, project_id=OTHER)
    place.run()
    assert place.snapshots() == {}
    assert imported(place).skipped == 1
    assert condition(place) == ("False", "ImportIncomplete")


def test_an_environment_without_a_project_gets_the_snapshots_of_its_namespaces_own(place: Place) -> None:
    """As on a rebuilt cluster: the project is the same for a namespace of the same name."""
    add(place.store, 1, project_id=naming.project_id(None, "shop"))
    add(place.store, 2)
    add(place.store, 3, project_id=naming.project_id(None, "other"))
    place.environment(project=None)
    place.run()
    assert set(place.snapshots()) == {snapshot_id(1)}


def test_an_environment_with_the_id_of_an_older_one_gets_nothing(place: Place) -> None:
    add(place.store, 1)
    victim = place.api.read(ENVIRONMENTS, "shop", "shop")
    victim["metadata"] |= {"namespace": "victim", "uid": "elder", "creationTimestamp": "2020-01-01T00:00:00Z"}
    place.catalog.put("Environment", victim)
    place.run()
    assert place.snapshots() == {}


def test_an_id_of_another_namespace_is_not_taken(place: Place) -> None:
    add(place.store, 1)
    theirs = snapshot_object({"id": snapshot_id(1)}, {"phase": "Complete"}, namespace="victim")
    place.catalog.put("Snapshot", theirs)
    place.run()
    assert place.snapshots() == {}
    assert imported(place).skipped == 1


def test_hostile_manifests_are_counted(place: Place) -> None:
    add(place.store, 1)
    put(place.store, naming.manifest_key(ENVIRONMENT, snapshot_id(2)), b"[" * 50_000)
    put(place.store, naming.manifest_key(ENVIRONMENT, snapshot_id(3)), b"{}")
    place.run()
    assert set(place.snapshots()) == {snapshot_id(1)}
    assert (imported(place).state, imported(place).skipped) == ("Done", 2)
    assert len(imported(place).skipped_examples) == 2


def test_the_number_of_snapshots_has_a_limit(tmp_path: Path) -> None:
    place = Place(tmp_path, SETTINGS.model_copy(update={"import_limit": 3}))
    for number in range(5):
        add(place.store, number)
    place.run()
    assert len(place.snapshots()) == 3
    assert imported(place).skipped == 2


def test_the_list_of_another_store_is_not_imported(place: Place) -> None:
    """The bucket was replaced between the probe and the import's Job."""
    add(place.store, 1)
    store = place.api.read(STORES, "shop", "store")
    store["status"]["storeId"] = "99999999-9999-4999-8999-999999999999"
    place.api.put(STORES, store)
    place.run()
    assert place.snapshots() == {}
    assert imported(place).state == "Failed"
    assert f"The Job has read the store {place.store_id}" in condition_message(place)


def test_a_log_that_is_not_whole_is_read_again_and_then_the_import_fails(place: Place) -> None:
    add(place.store, 1)
    real = place.run_jobs

    def torn() -> None:
        real()
        for lines in place.api.logs.values():
            lines[:] = [line.replace('"attempt":"a1"', '"attempt":"a2"') for line in lines]

    place.run_jobs = torn  # type: ignore[method-assign]
    place.run()
    assert place.snapshots() == {}
    assert (imported(place).state, imported(place).attempt) == ("Failed", 3)
    assert condition(place) == ("False", "ImportFailed")
    place.run_jobs = real  # type: ignore[method-assign]
    place.now += timedelta(hours=2)
    place.run()
    assert set(place.snapshots()) == {snapshot_id(1)}


def test_a_job_that_cannot_start_waits_or_ends_the_import(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    async def step() -> float | None:
        return await reconcile.once(pages.Memories(), place.ctx, place.read_store())

    async def busy(*_: Any, **__: Any) -> None:
        raise Waiting(c.WAITING_FOR_JOB_SLOT, "busy", 7.0)

    async def invalid(*_: Any, **__: Any) -> None:
        raise Failed(c.JOB_REFUSED, "Job x is not valid.")

    place.step()  # begun
    before = place.read_store().status
    monkeypatch.setattr(pages.lifecycle, "start", busy)
    assert asyncio.run(step()) == 7.0
    assert place.read_store().status == before
    monkeypatch.setattr(pages.lifecycle, "start", invalid)
    assert asyncio.run(step()) == 0
    assert asyncio.run(step()) == rules.AGAIN
    assert (imported(place).state, imported(place).attempt) == ("Failed", 1)
    assert "Job x is not valid." in imported(place).message


@pytest.mark.parametrize("error", [Invalid(422, "Invalid", "spec.id is wrong"), Forbidden(403, "Forbidden", "a quota")])
def test_what_the_api_server_refuses_is_counted_and_ends_nothing_else(
    place: Place, monkeypatch: pytest.MonkeyPatch, error: ApiError
) -> None:
    for number in range(3):
        add(place.store, number)
    real = place.ctx.kube.create

    async def create(type_: Any, body: Any, *more: Any) -> Any:
        if type_ == SNAPSHOTS and body["spec"]["id"] == snapshot_id(1):
            raise error
        return await real(type_, body, *more)

    monkeypatch.setattr(place.ctx.kube, "create", create)
    place.run()
    assert set(place.snapshots()) == {snapshot_id(0), snapshot_id(2)}
    assert (imported(place).state, imported(place).skipped) == ("Done", 1)
    assert imported(place).skipped_examples == (
        f"{snapshot_id(1)}: the API server refuses the Snapshot: {error.message}",
    )


def test_what_a_lost_answer_left_is_completed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The API server has created it, and the operator does not know: the name is taken by the import's own object."""
    add(place.store, 1)
    real, lost = place.ctx.kube.create, []

    async def create(type_: Any, body: Any, *more: Any) -> Any:
        made = await real(type_, body, *more)
        if type_ == SNAPSHOTS and not lost:
            lost.append(made)
            return await real(type_, body, *more)
        return made

    monkeypatch.setattr(place.ctx.kube, "create", create)
    place.run()
    assert [each["status"]["phase"] for each in place.snapshots().values()] == ["Complete"]
    assert (imported(place).imported, imported(place).existing, imported(place).skipped) == (1, 0, 0)


def test_what_a_crash_left_is_completed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        add(place.store, number)

    async def killed(*_: Any) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(pages.summarize, "write_quietly", killed)
        with pytest.raises(BaseExceptionGroup):
            place.run()
    halves = place.snapshots()
    assert halves
    assert all("phase" not in o.get("status", {}) for o in halves.values())
    place.run()
    assert sum("/snapshots/" in path for path in place.api.paths()) == 3
    assert {o["status"]["phase"] for o in place.snapshots().values()} == {"Complete"}
    assert imported(place).imported == 3


def test_what_is_not_complete_yet_waits_for_its_import() -> None:
    obj = snapshot_object({"id": snapshot_id(1)}, annotations={naming.ANNOTATION_IMPORT: "x"})
    snap = resources.snapshot(obj)
    waiting = decide(World(snap, moment(10), SETTINGS, observation((), {}, seconds=10)))
    assert waiting == Idle(290.0)
    assert not isinstance(decide(World(snap, moment(301), SETTINGS, observation((), {}, seconds=301))), Idle)


# --- a drill, and a take-over --------------------------------------------------------------------------------------


def deleted(obj: Any, **spec: Any) -> Any:
    obj["metadata"]["deletionTimestamp"] = "2026-03-01T13:00:00Z"
    obj["spec"] |= spec
    return decide(World(resources.snapshot(obj), moment(7200), SETTINGS, observation((), {})))


def test_row_52_a_drill_never_deletes_data(place: Place) -> None:
    add(place.store, 1, state=PINNED)
    place.run()
    obj = place.snapshots()[snapshot_id(1)]
    action = deleted(obj, deletionPolicy="Delete", retention="Policy")
    assert isinstance(action, LetGo)
    assert action.note is not None
    assert "has not taken over" in action.note.message


def test_nothing_else_deletes_data_in_a_drill_either(place: Place) -> None:
    add(place.store, 1, state=PINNED)
    place.run()
    obj = place.snapshots()[snapshot_id(1)]
    for residue in ("Pending", "None"):
        obj["status"]["residue"] = residue
        seen = World(resources.snapshot(obj), moment(7200), SETTINGS, observation((), {}))
        assert not isinstance(decide(seen), StartDelete)
        for deletes in (Deletes.ALL, Deletes.LEFTOVERS):
            assert isinstance(plan_after_end._delete_data(seen, deletes), Waiting)


def test_a_drill_never_writes_a_state(place: Place) -> None:
    add(place.store, 1, state=PINNED)
    place.run()
    obj = place.snapshots()[snapshot_id(1)]
    assert idle(obj)
    obj["spec"] |= {"pin": {"label": "drill"}}
    assert idle(obj)
    action = decide(World(resources.snapshot(obj), moment(7200), SETTINGS, observation((), {}), store_writable=True))
    assert isinstance(action, Idle)


def test_a_take_over_applies_what_the_store_has(place: Place) -> None:
    add(place.store, 1, state=PINNED)
    add(place.store, 2)
    add(place.store, 3, state=PINNED)
    place.run()
    theirs = place.snapshots()[snapshot_id(3)]
    theirs["spec"]["pin"] = {"label": "a person"}
    place.api.put(SNAPSHOTS, theirs)
    place.set_store(**{"import": True, "takeOver": True})
    place.run()
    first, second, third = (place.snapshots()[snapshot_id(n)] for n in (1, 2, 3))
    assert (first["spec"]["retention"], first["spec"]["deletionPolicy"]) == ("Policy", "Delete")
    assert first["spec"]["pin"] == {"label": "audit"}
    assert (second["spec"]["retention"], second["spec"]["deletionPolicy"]) == ("Keep", "Retain")
    assert third["spec"]["pin"] == {"label": "a person"}
    assert third["spec"]["retention"] == "Keep"
    assert all(o["status"]["imported"]["takenOver"] for o in (first, second, third))
    assert imported(place).taken_over == 3
    assert idle(first)
    before = place.snapshots()
    place.run()
    assert place.snapshots() == before


def test_a_take_over_is_about_this_store_only(place: Place) -> None:
    """Not what another store brought, nor what is being deleted."""
    for number in range(1, 4):
        add(place.store, number, state=PINNED)
    place.run()
    theirs, going = place.snapshots()[snapshot_id(1)], place.snapshots()[snapshot_id(2)]
    theirs["status"]["storeName"] = "another"
    going["metadata"] |= {"deletionTimestamp": "2026-03-01T13:00:00Z", "finalizers": ["x"]}
    for each in (theirs, going):
        place.api.put(SNAPSHOTS, each)
    place.set_store(**{"import": True, "takeOver": True})
    place.run()
    taken = {id_ for id_, obj in place.snapshots().items() if obj["status"]["imported"].get("takenOver")}
    assert (taken, imported(place).taken_over) == ({snapshot_id(3)}, 1)
    assert place.snapshots()[snapshot_id(1)]["spec"]["retention"] == "Keep"


def test_after_a_take_over_the_data_is_deleted_as_asked(place: Place) -> None:
    add(place.store, 1, state=StoredState(retention="Policy", deletion_policy="Delete"))
    place.set_store(**{"import": True, "takeOver": True})
    place.run()
    assert isinstance(deleted(place.snapshots()[snapshot_id(1)]), StartDelete)


def test_jobs_of_another_object_are_not_believed(place: Place) -> None:
    add(place.store, 1)
    place.step()
    place.step()
    names = [p.rpartition("/")[2] for p in place.api.paths() if "/jobs/" in p]
    job = place.api.read(JOBS, "shop", names[0])
    job["metadata"]["ownerReferences"][0]["uid"] = "of someone else"
    place.api.put(JOBS, job)
    assert place.api.read(PODS, "shop", names[0])
    place.step()
    assert place.snapshots() == {}
    assert (imported(place).state, condition(place)) == ("Failed", ("False", "ImportFailed"))


def test_a_manifest_of_another_project_is_refused_by_the_operator_too(place: Place) -> None:
    found = {ENVIRONMENT: rules.Place("shop", PROJECT)}
    for fields in ({"project_id": OTHER}, {"environment_id": OTHER}):
        made = manifest(1, **fields)  # type: ignore[arg-type]
        key = naming.manifest_key(made.identity.environment_id, made.identity.snapshot_id)
        assert (
            rules.belongs(StoredSnapshot(result=snapshot_results.of(StoredManifest(made, key, "0" * 64))), found)
            is None
        )
    good = snapshot_results.of(StoredManifest(manifest(1), naming.manifest_key(ENVIRONMENT, snapshot_id(1)), "0" * 64))
    assert rules.belongs(StoredSnapshot(result=good), found) is not None
    moved = good.model_copy(update={"manifest_key": naming.manifest_key(ENVIRONMENT, snapshot_id(2))})
    assert rules.belongs(StoredSnapshot(result=moved), found) is None


# --- age and order -------------------------------------------------------------------------------------------------


def test_order_comes_from_the_manifests_and_not_from_the_objects(place: Place) -> None:
    numbers = sorted(range(6), key=snapshot_id)
    for number in numbers:
        add(place.store, number)
    place.run()
    every = [entry(obj) for obj in place.snapshots().values()]
    assert [e.key.name for e in sorted(every, key=lambda e: e.data_order)] == [f"snapshot-{n}" for n in range(6)]
    status = with_results(SnapshotPolicyStatus(), every, Stamp(at(100), 1))
    assert status.last_successful_time == at(5.02)
    found = c.find(status.conditions, c.LAST_SNAPSHOT_SUCCEEDED)
    assert found is not None
    assert "snapshot-5" in found.message
    obj = place.snapshots()[snapshot_id(3)]
    assert values.Resource(obj).created_at == at(3)
    assert runs.run_of(SNAPSHOT, obj).elapsed(place.now) == pytest.approx(0.02 * 3600)
    candidate = candidate_of({**obj, "spec": {**obj["spec"], "retention": "Policy"}}, used=())
    assert candidate is not None
    assert timestamps.text(candidate.time) == at(3.01).replace(".000", "")


# --- objects that are not there yet ----------------------------------------------------------------------------------


def test_row_65_a_snapshot_comes_once_all_of_its_objects_are_there(place: Place) -> None:
    """Buckets are replicated in no order: the manifest was there first."""
    full = add(place.store, 1, full=True)
    add(place.store, 2, base=full)
    add(place.store, 3)
    assert full.manifest.filestore is not None
    late = full.manifest.filestore.packs[0]
    place.store.delete([late.key])
    place.run()
    assert set(place.snapshots()) == {snapshot_id(3)}
    assert (imported(place).incomplete, condition(place)) == (2, ("False", c.IMPORT_INCOMPLETE))
    assert late.key in " ".join(imported(place).skipped_examples)
    assert "every 60 minutes" in condition_message(place)
    put(place.store, late.key)
    place.now += timedelta(seconds=rules.AGAIN + 60)
    place.run()
    assert set(place.snapshots()) == {snapshot_id(n) for n in (1, 2, 3)}
    assert (imported(place).incomplete, condition(place)[0]) == (0, "True")


# --- two stores at once ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "No valid NAME"])
def test_row_92_two_imports_at_once_make_each_snapshot_once(place: Place, name: str) -> None:
    """Of the store and of its copy. Both have read the namespace before either has created anything."""
    for number in range(7):
        add(place.store, number, name=name)
    first = place.read_store()
    copy = place.api.read(STORES, "shop", "store")
    copy["metadata"] |= {"name": "copy", "uid": "88888888-7777-4777-8777-777777777777"}
    place.api.put(STORES, copy)
    memories = pages.Memories()

    async def both() -> None:
        stores = [resources.store(place.api.read(STORES, "shop", each)) for each in (first.meta.name, "copy")]
        await asyncio.gather(*(reconcile.once(memories, place.ctx, each) for each in stores))

    for _ in range(8):
        asyncio.run(both())
        place.run_jobs()
    made = [p for p in place.api.paths() if "/snapshots/" in p]
    assert len(made) == 7, sorted(made)
    done = [resources.store(place.api.read(STORES, "shop", each)).status.import_ for each in (first.meta.name, "copy")]
    counts = [(each.state, each.imported + each.existing, each.skipped) for each in done if each is not None]
    assert counts == [("Done", 7, 0)] * 2
    assert all(each["status"]["phase"] == "Complete" for each in place.snapshots().values())
