"""What a store contains: listed in pages for an import, swept for objects that no manifest names."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from ocore_crds import conditions, failpoints, naming
from ocore_crds.reports import stored_contents
from ocore_crds.reports.store_listing import StoredSnapshot, parse
from ocore_crds.reports.stored_contents import ManifestsResult
from ocore_crds.stored.manifest import Evidence
from ocore_crds.stored.snapshot_state import StoredState
from ocore_mover import contents, manifests, snapshot_results
from ocore_mover.commands import list_manifests
from ocore_mover.commands import sweep as sweep_command
from ocore_mover.commands.inspect import inspect_snapshot
from ocore_mover.commands.runtime import Runtime
from ocore_mover.deadline import Token
from ocore_mover.errors import MoverError, StoreError
from ocore_mover.report import Reporter
from ocore_mover.store import Store
from ocore_mover.store.folder import FolderStore
from ocore_mover.store.interface import ObjectInfo
from ocore_mover.store.probe import probe_store
from ocore_mover.store.read_only import ReadOnlyStore
from support.mover.contents import ENVIRONMENT, OTHER, PROJECT, add, manifest, put, raw, snapshot_id

REPORT = "66666666-6666-4666-8666-666666666666"
PINNED = StoredState(pin_label="audit", retention="Policy", deletion_policy="Delete")


def runtime(tmp_path: Path) -> Runtime:
    return Runtime(Reporter(tmp_path / "none"), Token(None))


@pytest.fixture
def filled(store: Store) -> Store:
    probe_store(store)
    return store


def page(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], position: str = ""
) -> tuple[ManifestsResult, list[StoredSnapshot]]:
    capsys.readouterr()
    found = list_manifests.ListManifests(runtime(tmp_path), store, {ENVIRONMENT: PROJECT}, position).run()
    lines = [parse(line) for line in capsys.readouterr().out.splitlines()]
    return found, [line for line in lines if line is not None]


# --- list-manifests ------------------------------------------------------------------------------------------------


def test_snapshots_are_listed_with_their_state(
    filled: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    full = add(filled, 1, state=PINNED, full=True)
    add(filled, 2, base=full)
    found, lines = page(ReadOnlyStore(filled), tmp_path, capsys)
    assert (found.listed, found.next, found.skipped) == (2, "", 0)
    by_id = {line.result.identity.snapshot_id: line.result for line in lines if line.result.identity}
    assert by_id[snapshot_id(1)].state == PINNED
    assert by_id[snapshot_id(1)] == snapshot_results.of(full, state=PINNED)
    assert by_id[snapshot_id(2)].state is None
    assert by_id[snapshot_id(2)].base_snapshot_id == snapshot_id(1)


def test_pages_have_everything_once(
    filled: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(list_manifests, "BATCH", 3)
    monkeypatch.setattr(stored_contents, "PAGE_SNAPSHOTS", 5)
    for number in range(11):
        add(filled, number)
    (put(filled, f"environments/{ENVIRONMENT}/snapshots/{snapshot_id(50)}/a1/config.tar"))
    position, seen, pages = "", [], 0
    while True:
        found, lines = page(filled, tmp_path, capsys, position)
        seen += [line.result.identity.snapshot_id for line in lines if line.result.identity]
        position, pages = found.next, pages + 1
        if not position:
            break
    assert sorted(seen) == sorted(snapshot_id(n) for n in range(11))
    assert pages in (2, 3)  # the last one may find nothing behind the folder without a manifest


def test_a_page_ends_by_its_bytes(
    filled: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(list_manifests, "BATCH", 2)
    monkeypatch.setattr(stored_contents, "PAGE_BYTES", 10)
    for number in range(3):
        add(filled, number)
    found, lines = page(filled, tmp_path, capsys)
    assert len(lines) == 2
    assert found.next == f"{ENVIRONMENT}/{sorted(snapshot_id(n) for n in range(3))[1]}"


def test_what_cannot_be_read_is_named_and_not_fatal(
    filled: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add(filled, 1)
    good = manifest(2)
    hostile = {
        3: b"{" * 100_000,
        4: b"",
        5: raw(good),  # of another snapshot
        6: raw(manifest(6)).replace(b'"formatVersion": 1', b'"formatVersion": 9'),
        7: raw(manifest(7, project_id=OTHER)),
        8: raw(manifest(8)).replace(b"/a1/config.tar", b"/../../../../etc/passwd"),
        9: b"[" + b"0," * 3_000_000 + b"0]",
    }
    for number, data in hostile.items():
        put(filled, naming.manifest_key(ENVIRONMENT, snapshot_id(number)), data)
    for strange in ("environments/x/y", f"environments/{ENVIRONMENT}/snapshots/none/manifest.json", "environments/a"):
        put(filled, strange)
    found, lines = page(filled, tmp_path, capsys)
    assert [line.result.identity.snapshot_id for line in lines if line.result.identity] == [snapshot_id(1)]
    assert found.skipped == len(hostile)
    assert len(found.skipped_examples) == stored_contents.SKIPPED_NAMED
    assert found.foreign_environments == 0


def test_row_65_a_snapshot_without_all_of_its_objects_is_not_listed(
    filled: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add(filled, 1)
    lacking = add(filled, 2)
    assert lacking.manifest.config is not None
    filled.delete([lacking.manifest.config.archive.key])
    found, lines = page(filled, tmp_path, capsys)
    assert [line.result.identity.snapshot_id for line in lines if line.result.identity] == [snapshot_id(1)]
    assert (found.skipped, found.incomplete) == (1, 1)
    assert lacking.manifest.config.archive.key in found.skipped_examples[0].reason


def test_row_65_foreign_objects_beside_a_snapshot_cost_nothing(filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of the bucket may have millions of them."""
    full = add(filled, 1, full=True)
    listed = FolderStore.list

    def endless(store: FolderStore, below: str) -> Iterator[ObjectInfo]:
        yield from listed(store, below)
        for number in count():
            assert number < 1000, "it lists without an end"
            yield ObjectInfo(f"{below}z{number}", 1, 0.0)

    monkeypatch.setattr(FolderStore, "list", endless)
    manifests.check_objects(filled, full.manifest)


def test_row_65_an_inspection_names_what_is_missing(filled: Store, tmp_path: Path) -> None:
    full = add(filled, 1, full=True)
    add(filled, 2, base=full)
    assert inspect_snapshot(runtime(tmp_path), filled, ENVIRONMENT, snapshot_id(2)).attempt == "a1"
    assert full.manifest.filestore is not None
    filled.delete([full.manifest.filestore.packs[0].key])
    with pytest.raises(MoverError) as caught:
        inspect_snapshot(runtime(tmp_path), filled, ENVIRONMENT, snapshot_id(2))
    assert (caught.value.reason, caught.value.retryable) == (conditions.OBJECTS_MISSING, True)
    assert full.manifest.filestore.packs[0].key in caught.value.message


def test_foreign_environments_are_named_with_what_they_need(
    filled: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add(filled, 1, environment_id=OTHER, project_id=OTHER)
    add(filled, 2, environment_id=OTHER, project_id=OTHER)
    found, lines = page(filled, tmp_path, capsys)
    assert lines == []
    assert found.foreign_environments == 1
    foreign = found.foreign[0]
    assert (foreign.environment_id, foreign.project_id, foreign.snapshots) == (OTHER, OTHER, 2)


def test_a_result_fits_into_a_termination_message(
    filled: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from ocore_crds.protocol import TERMINATION_MESSAGE_BYTES, Result

    for number in range(stored_contents.FOREIGN_NAMED + 3):
        environment_id = snapshot_id(1000 + number)
        add(filled, 1, environment_id=environment_id, project_id=OTHER)
        put(filled, naming.manifest_key(ENVIRONMENT, snapshot_id(number)), b"no manifest" * 100)
    found, _ = page(filled, tmp_path, capsys)
    assert found.foreign_environments == stored_contents.FOREIGN_NAMED + 3
    text = Result(ok=True, payload=found, time="2026-01-01T00:00:00Z").termination_message()
    assert len(text.encode()) <= TERMINATION_MESSAGE_BYTES
    assert Result.model_validate_json(text).payload == found


def test_a_long_line_loses_its_warnings_only() -> None:
    stored = manifests.StoredManifest(manifest(1), "k", "0" * 64)
    found = snapshot_results.of(stored)
    long = found.model_copy(update={"evidence": Evidence(proven=("all",), warnings=("w" * 100,) * 1000)})
    line = StoredSnapshot(result=long).fitting()
    assert line is not None
    assert line.size() <= stored_contents.LINE_BYTES
    assert line.result.evidence == Evidence(proven=("all",))
    assert StoredSnapshot(result=found.model_copy(update={"attempt": "a" * 20_000})).fitting() is None


def test_a_folder_with_millions_of_names_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ocore_mover.store import folder

    monkeypatch.setattr(folder, "MAX_FOLDERS", 10)
    store = FolderStore(tmp_path)
    for number in range(11):
        (tmp_path / f"environments/{ENVIRONMENT}/snapshots/{snapshot_id(number)}").mkdir(parents=True)
    with pytest.raises(StoreError, match="more than 10 folders"):
        list(contents.snapshots(store, ENVIRONMENT))


# --- sweep ---------------------------------------------------------------------------------------------------------


def sweep(store: Store, tmp_path: Path, older_than: float = -10, report: str = REPORT) -> stored_contents.OrphansResult:
    """Everything is old, unless said otherwise."""
    return sweep_command.sweep(runtime(tmp_path), store, older_than=older_than, report_id=report)


def remove(store: Store, tmp_path: Path, report: str) -> stored_contents.RemovedOrphans:
    return sweep_command.remove(runtime(tmp_path), store, report_id=REPORT, sha256=report)


def prefix(number: int, attempt: str = "a1") -> str:
    return naming.attempt_prefix(ENVIRONMENT, snapshot_id(number), attempt)


def keys(store: Store) -> set[str]:
    return {found.key for found in store.list("environments/")}


def test_only_what_no_manifest_names_is_an_orphan_and_removed(filled: Store, tmp_path: Path) -> None:
    full = add(filled, 1, state=PINNED, full=True)
    add(filled, 2, base=full)
    kept = keys(filled)
    left = {f"{prefix(1, 'a0')}database/1.dat", f"{prefix(3)}filestore/pack-0.tar", f"{prefix(3)}config.tar"}
    foreign = {f"environments/{ENVIRONMENT}/rollbacks/r/x/state.json", "other/thing", f"environments/{ENVIRONMENT}/x"}
    marker = f"{naming.snapshot_prefix(ENVIRONMENT, snapshot_id(1))}dependents/{snapshot_id(9)}"
    strange = f"{naming.snapshot_prefix(ENVIRONMENT, snapshot_id(3))}notes.txt"
    for key in (*left, *foreign, marker, strange):
        put(filled, key, b"some bytes")
    before = {found.key for found in filled.list("")}
    found = sweep(filled, tmp_path)
    assert (found.objects, found.bytes, found.manifests, found.foreign, found.more) == (3, 30, 2, 1, False)
    assert set(found.examples) == left
    assert found.oldest is not None
    assert {f.key for f in filled.list("")} - before == {naming.orphans_key(REPORT)}
    removed = remove(filled, tmp_path, found.report)
    assert (removed.objects, removed.bytes, removed.kept) == (3, 30, 0)
    assert {f.key for f in filled.list("")} - {naming.orphans_key(REPORT)} == before - left
    assert kept <= keys(filled)
    again = sweep(filled, tmp_path)
    assert (again.objects, again.report) == (0, "")
    assert filled.head(naming.orphans_key(REPORT)) is None


def test_key_objects_are_none_while_their_manifest_exists(filled: Store, tmp_path: Path) -> None:
    """No manifest names them: they are added at any time."""
    own, dead = (naming.keys_prefix(ENVIRONMENT, snapshot_id(number)) + "a1-0.age" for number in (1, 3))
    for key in (own, dead):
        put(filled, key)
    with_a_manifest = add(filled, 1)
    found = sweep(filled, tmp_path)
    assert (found.objects, found.foreign, found.examples) == (1, 0, (dead,))
    remove(filled, tmp_path, found.report)
    assert own in keys(filled)
    assert dead not in keys(filled)
    filled.delete([with_a_manifest.key])
    assert own in sweep(filled, tmp_path).examples


def test_young_objects_are_none(filled: Store, tmp_path: Path) -> None:
    put(filled, f"{prefix(3)}config.tar")
    assert sweep(filled, tmp_path, older_than=3600).objects == 0


def test_a_snapshot_that_runs_has_none(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    probe_store(store)
    for name in ("database/1.dat", "database/2.dat"):
        put(store, f"{prefix(3)}{name}")
    week_ago = time.time() - 8 * 86400
    os.utime(store.path(f"{prefix(3)}database/1.dat"), (week_ago, week_ago))
    assert sweep(store, tmp_path, older_than=7 * 86400).objects == 0
    os.utime(store.path(f"{prefix(3)}database/2.dat"), (week_ago, week_ago))
    assert sweep(store, tmp_path, older_than=7 * 86400).objects == 2


def test_packs_of_a_base_whose_manifest_is_gone_are_needed(filled: Store, tmp_path: Path) -> None:
    full = add(filled, 1, full=True)
    add(filled, 2, base=full)
    filled.delete([full.key])
    found = sweep(filled, tmp_path)
    assert full.manifest.filestore is not None
    used, unused = (pack.key for pack in full.manifest.filestore.packs)
    remove(filled, tmp_path, found.report)
    assert used in keys(filled)
    assert unused not in keys(filled)


def test_an_unreadable_manifest_protects_its_environment(filled: Store, tmp_path: Path) -> None:
    put(filled, naming.manifest_key(ENVIRONMENT, snapshot_id(1)), b"{}")
    put(filled, f"{prefix(3)}config.tar")
    other = naming.attempt_prefix(OTHER, snapshot_id(3), "a1")
    put(filled, f"{other}config.tar")
    found = sweep(filled, tmp_path)
    assert (found.objects, found.unreadable) == (1, 1)
    assert found.examples == (f"{other}config.tar",)


def test_what_was_claimed_or_changed_since_the_report_stays(filled: Store, tmp_path: Path) -> None:
    objects = [f"{prefix(number)}config.tar" for number in (1, 2, 3)]
    for key in objects:
        put(filled, key)
    found = sweep(filled, tmp_path)
    assert found.objects == 3
    manifests.write(filled, manifest(1, config=None).model_copy(update={"config": None}))
    put(filled, objects[1], b"other bytes")
    add(filled, 3)
    removed = remove(filled, tmp_path, found.report)
    # The first one is a leftover of a snapshot that exists now; the second was written again; the third has a manifest
    # that names it.
    assert objects[1] in keys(filled)
    assert objects[2] in keys(filled)
    assert removed.objects + removed.kept == 3


def test_only_the_report_that_was_read_is_removed(filled: Store, tmp_path: Path) -> None:
    put(filled, f"{prefix(3)}config.tar")
    first = sweep(filled, tmp_path)
    put(filled, f"{prefix(4)}config.tar")
    second = sweep(filled, tmp_path)
    assert first.report != second.report
    with pytest.raises(MoverError) as caught:
        remove(filled, tmp_path, first.report)
    assert caught.value.reason == conditions.ORPHANS_CHANGED
    assert f"{prefix(3)}config.tar" in keys(filled)


def test_a_forged_report_removes_nothing_that_is_named(filled: Store, tmp_path: Path) -> None:
    full = add(filled, 1, full=True)
    put(filled, f"{prefix(3)}config.tar")
    found = sweep(filled, tmp_path)
    key = naming.orphans_key(REPORT)
    report = json.loads(filled.get(key) or b"")
    for named in (full.key, *(obj.key for obj in full.manifest.objects()), "ocore-store.json", "../x"):
        info = next(iter(filled.list(named)), None) if ".." not in named else None
        modified = info.modified if info is not None else 0.0
        report["objects"].append({"key": named, "size": 1, "modified": modified})
    data = json.dumps(report).encode()
    put(filled, key, data)
    import hashlib

    removed = remove(filled, tmp_path, hashlib.sha256(data).hexdigest())
    assert removed.objects == 1
    assert full.key in keys(filled)
    manifests.check_objects(filled, full.manifest)
    assert found.report


def test_more_than_a_report_holds(filled: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_contents, "REPORT_OBJECTS", 4)
    for number in range(6):
        put(filled, f"{prefix(number)}config.tar")
    found = sweep(filled, tmp_path)
    assert (found.objects, found.more) == (6, True)
    assert remove(filled, tmp_path, found.report).objects == 4
    assert sweep(filled, tmp_path).objects == 2


def test_unfinished_uploads_are_found_and_aborted(filled: Store, tmp_path: Path) -> None:
    key = f"{prefix(3)}database/1.dat"
    writer = filled.writer(key)
    writer.write(os.urandom(40 * 1024 * 1024))
    try:
        assert [upload.key.rpartition("/")[0] for upload in filled.uploads("environments/")] == [f"{prefix(3)}database"]
        found = sweep(filled, tmp_path)
        assert (found.objects, found.uploads) == (0, 1)
        assert remove(filled, tmp_path, found.report).uploads == 1
        assert list(filled.uploads("environments/")) == []
    finally:
        writer.abort()


def test_a_read_only_store_is_swept_without_a_report(filled: Store, tmp_path: Path) -> None:
    put(filled, f"{prefix(3)}config.tar")
    found = sweep(ReadOnlyStore(filled), tmp_path, report="")
    assert (found.objects, found.report) == (1, "")


def test_a_killed_removal_is_repeated(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    probe_store(store)
    for number in (3, 4, 5):
        put(store, f"{prefix(number)}config.tar")
    found = sweep(store, tmp_path)
    arguments = ["remove-orphans", "--store", store.url, "--report-id", REPORT, "--sha256", found.report]
    environment = {**os.environ, failpoints.ENVIRONMENT_VARIABLE: "orphans-some-removed=kill"}
    killed = subprocess.run(
        [sys.executable, "-m", "ocore_mover", *arguments], env=environment, check=False, capture_output=True
    )
    assert killed.returncode == -9
    assert len(keys(store)) == 2
    removed = remove(store, tmp_path, found.report)
    assert (removed.objects, removed.kept) == (2, 1)
    assert keys(store) == set()
