"""Manifests: last, once, and never about the objects of another snapshot."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ocore_crds import conditions, failpoints, naming
from ocore_crds.stored.manifest import ConfigArtifact, Evidence, FilestoreBase, Identity, Manifest, StoredObject
from ocore_mover import manifests, snapshot_results
from ocore_mover.errors import Corrupt, MoverError, StoreError
from ocore_mover.store import Store, open_store
from ocore_mover.store.folder import FolderStore
from ocore_mover.store.interface import ObjectInfo, abort_uploads
from ocore_mover.store.retries import Patience
from support.mover.contents import put
from support.mover.filestore import ENVIRONMENT, Site, counter, new_site, some_bytes
from support.mover.odoo_snapshot import BASE, SNAPSHOT, based, keys, snapshot

#: Less and greater than the ids of the tests.
LESS, GREATER = (f"{digit * 8}-0000-4000-8000-000000000000" for digit in "0f")

# --- size ----------------------------------------------------------------------------------------------------------
LIMIT = 256 * 1024 * 1024


@pytest.fixture
def limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container with a memory limit."""
    path = tmp_path / "memory.max"
    path.write_text(f"{LIMIT}\n")
    monkeypatch.setattr("ocore_mover.memory._LIMITS", (tmp_path / "absent", path))


#: Not manifests, each the worst of its kind for the parser.
HOSTILE = {"arrays": b"[[[[]]]],", "objects": b'{"":0},', "numbers": b"0,", "texts": b'"",'}


def hostile(kind: str, count: int) -> bytes:
    return b'{"x":[' + HOSTILE[kind] * count + b"0]}"


def tokens(kind: str) -> int:
    return sum(HOSTILE[kind].count(c) for c in b",[{")


@pytest.mark.usefixtures("limited")
def test_a_manifest_beyond_the_jobs_memory_is_refused_before_it_is_parsed(store: Store) -> None:
    key = naming.manifest_key(ENVIRONMENT, SNAPSHOT)
    for data in (hostile("arrays", 100_000), b"x" * (LIMIT // 3)):  # by its values, by its bytes
        store.delete([key])
        put(store, key, data)
        with pytest.raises(MoverError) as error:
            manifests.read(store, ENVIRONMENT, SNAPSHOT)
        # Parsed, it would be Corrupt.
        assert error.value.reason == conditions.MANIFEST_TOO_LARGE
        assert "spec.jobs.resources.limits.memory" in error.value.message


@pytest.mark.usefixtures("limited")
def test_a_manifest_that_could_not_be_read_back_is_not_written(site: Site, store: Store) -> None:
    site.fill(3)
    manifest = snapshot(site, store)
    wordy = manifest.model_copy(update={"evidence": Evidence(warnings=("w",) * 200_000)})
    with pytest.raises(MoverError) as error:
        manifests.write(store, wordy)
    assert error.value.reason == conditions.MANIFEST_TOO_LARGE
    assert store.head(naming.manifest_key(ENVIRONMENT, SNAPSHOT)) is None
    assert manifests.write(store, manifest).manifest == manifest


@pytest.mark.parametrize("kind", HOSTILE)
def test_the_largest_accepted_manifest_fits_into_the_jobs_memory(tmp_path: Path, kind: str) -> None:
    """In a process of its own, whose peak is compared with the limit."""
    (tmp_path / "memory.max").write_text(str(LIMIT))
    own = 96 * 1024 * 1024
    count = (LIMIT - own) // (1024 * tokens(kind) + 3 * len(HOSTILE[kind])) - 10
    store = open_store(f"file://{tmp_path}/store")
    put(store, naming.manifest_key(ENVIRONMENT, SNAPSHOT), hostile(kind, count))
    script = (
        "import re, sys; from pathlib import Path; from ocore_mover import manifests, memory, __main__;"
        "from ocore_mover.errors import Corrupt; from ocore_mover.store import open_store\n"
        "memory._LIMITS = (Path(sys.argv[1]) / 'memory.max',)\n"
        "try: manifests.read(open_store(f'file://{sys.argv[1]}/store'), sys.argv[2], sys.argv[3])\n"
        # Not ru_maxrss, which begins with that of the process that forked.
        r"except Corrupt: print(re.search(r'VmHWM:\s+(\d+)', Path('/proc/self/status').read_text())[1])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path), ENVIRONMENT, SNAPSHOT],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert own // 2 < int(done.stdout) * 1024 < LIMIT


def test_a_manifest_is_found_again(site: Site, store: Store) -> None:
    site.fill(10)
    manifest = snapshot(site, store)
    assert manifests.find(store, ENVIRONMENT, SNAPSHOT) is None
    with pytest.raises(MoverError) as error:
        manifests.read(store, ENVIRONMENT, SNAPSHOT)
    assert error.value.reason == conditions.SNAPSHOT_NOT_FOUND
    written = manifests.write(store, manifest)
    assert manifests.read(store, ENVIRONMENT, SNAPSHOT, sha256=written.sha256) == written
    assert manifests.write(store, manifest) == written  # the answer was lost, the Job tried again
    data = store.get(written.key)
    assert data is not None
    assert hashlib.sha256(data).hexdigest() == written.sha256
    for other in ("0" * 64, "f" * 64):
        with pytest.raises(Corrupt, match="changed after the snapshot"):
            manifests.read(store, ENVIRONMENT, SNAPSHOT, sha256=other)
    manifests.check_objects(store, manifest)
    assert manifests.verify_objects(store, manifest, counter()) == manifest.stored_bytes()


class ForgetfulStore(FolderStore):
    """Says that it has written a manifest, and has other bytes."""

    def put_if_absent(self, key: str, data: bytes) -> bool:
        return super().put_if_absent(key, data[:-2] + b" \n")


def test_a_manifest_that_reads_back_other_bytes_is_not_published(site: Site, tmp_path: Path) -> None:
    site.fill(3)
    store = ForgetfulStore(tmp_path / "store")
    with pytest.raises(Corrupt, match="reads back other bytes"):
        manifests.write(store, snapshot(site, store))


def test_the_first_manifest_wins(site: Site, store: Store) -> None:
    site.fill(3)
    first, second = snapshot(site, store), snapshot(site, store, attempt="a2")
    written = manifests.write(store, first)
    with pytest.raises(MoverError) as error:
        manifests.write(store, second)
    assert error.value.reason == conditions.MANIFEST_EXISTS
    assert manifests.read(store, ENVIRONMENT, SNAPSHOT) == written


def test_two_writers_at_once(site: Site, store: Store) -> None:
    site.fill(3)
    attempts = [snapshot(site, store, attempt=f"a{number}") for number in range(4)]
    barrier = threading.Barrier(len(attempts))
    won: list[str] = []
    lost: list[str] = []

    def write(manifest: Manifest) -> None:
        barrier.wait(30)
        try:
            won.append(manifests.write(store, manifest).manifest.attempt)
        except MoverError as error:
            lost.append(error.reason)

    threads = [threading.Thread(target=write, args=(manifest,)) for manifest in attempts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert won == [manifests.read(store, ENVIRONMENT, SNAPSHOT).manifest.attempt]
    assert lost == [conditions.MANIFEST_EXISTS] * 3


@pytest.mark.parametrize("data", [b"", b"{}", b"[", b"\xff", b'{"format": "ocore-snapshot", "formatVersion": 2}'])
def test_what_is_no_manifest_is_refused(folder_store: Store, data: bytes) -> None:
    put(folder_store, naming.manifest_key(ENVIRONMENT, SNAPSHOT), data)
    with pytest.raises(Corrupt):
        manifests.find(folder_store, ENVIRONMENT, SNAPSHOT)
    with pytest.raises(Corrupt):
        manifests.delete_leftovers(folder_store, ENVIRONMENT, SNAPSHOT)
    assert manifests.delete_snapshot(folder_store, ENVIRONMENT, SNAPSHOT) == 1


def test_a_copied_manifest_is_refused(site: Site, folder_store: Store) -> None:
    manifest = snapshot(site, folder_store)
    stored = manifests.write(folder_store, manifest)
    data = folder_store.get(stored.key)
    assert data is not None
    for other in (LESS, GREATER):
        put(folder_store, naming.manifest_key(ENVIRONMENT, other), data)
        with pytest.raises(Corrupt, match="another snapshot"):
            manifests.read(folder_store, ENVIRONMENT, other)


@pytest.mark.parametrize(
    "key",
    [
        "environments/other/snapshots/x/1",
        "ocore-store.json",
        "{prefix}../../x",
        "{prefix}a//b",
        "{prefix}",
        "/etc/passwd",
    ],
)
def test_a_manifest_names_only_its_own_objects(site: Site, folder_store: Store, key: str) -> None:
    manifest = snapshot(site, folder_store)
    prefix = naming.snapshot_prefix(ENVIRONMENT, SNAPSHOT)
    foreign = StoredObject(key=key.format(prefix=prefix), size=1, sha256="0" * 64)
    lying = manifest.model_copy(update={"config": ConfigArtifact(archive=foreign, file_count=1)})
    with pytest.raises(Corrupt, match="not the snapshot's"):
        manifests.write(folder_store, lying)
    put(folder_store, naming.manifest_key(ENVIRONMENT, SNAPSHOT), json.dumps(lying.wire()).encode())
    with pytest.raises(Corrupt, match="not the snapshot's"):
        manifests.read(folder_store, ENVIRONMENT, SNAPSHOT)


def base_of(**changed: Any) -> FilestoreBase:
    """A base as a manifest of SNAPSHOT names it; `folders`: those of its packs, below its snapshot's."""
    prefix = naming.snapshot_prefix(ENVIRONMENT, BASE)
    folders = changed.pop("folders", ["a1/filestore", "a1/filestore"])
    packs = tuple(
        StoredObject.model_construct(key=f"{prefix}{folder}/{number}.tar", size=1, sha256="0" * 64)
        for number, folder in enumerate(folders)
    )
    values = {"snapshot_id": BASE, "manifest_key": naming.manifest_key(ENVIRONMENT, BASE), "packs": packs, **changed}
    return FilestoreBase.model_construct(manifest_sha256="0" * 64, **values)


@pytest.mark.parametrize(("base", "message"), [
    (base_of(snapshot_id=SNAPSHOT), "names the snapshot as its own base"),
    (base_of(manifest_key=naming.manifest_key(ENVIRONMENT, SNAPSHOT)), "as the manifest of its base"),
    (base_of(manifest_key=naming.manifest_key(ENVIRONMENT, LESS)), "as the manifest of its base"),
    (base_of(manifest_key=naming.manifest_key(ENVIRONMENT, GREATER)), "as the manifest of its base"),
    (base_of(folders=["a1/filestore", "a2/filestore"]), "names packs of its base"),
    (base_of(folders=["a1/database"]), "names packs of its base"),
    (base_of(folders=["a1/filestore/deeper"]), "names packs of its base"),
    (base_of(folders=["../other/a1/filestore"]), "a pack of its base"),
])  # fmt: skip
def test_a_base_is_another_snapshot_of_the_environment(base: FilestoreBase, message: str) -> None:
    """Who can write to the bucket chooses what a manifest names."""
    identity = cast(Identity, SimpleNamespace(environment_id=ENVIRONMENT, snapshot_id=SNAPSHOT))
    manifests._check_base(identity, base_of())
    manifests._check_base(identity, base_of(folders=[]))  # none of its packs is needed
    for other in (LESS, GREATER):
        manifests._check_base(cast(Identity, SimpleNamespace(environment_id=ENVIRONMENT, snapshot_id=other)), base_of())
    with pytest.raises(Corrupt, match=message):
        manifests._check_base(identity, base)


def test_a_store_is_listed_only_until_all_are_found(
    site: Site, folder_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What else is there, who can write to the bucket chooses."""
    site.fill(5)
    manifest, listed = snapshot(site, folder_store), folder_store.list

    def endless(prefix: str) -> Iterator[ObjectInfo]:
        yield from listed(prefix)
        raise AssertionError("listed further")

    monkeypatch.setattr(folder_store, "list", endless)
    manifests.check_objects(folder_store, manifest)


@pytest.mark.parametrize("how", ["gone", "shorter"])
def test_an_object_that_is_not_whole_is_named(site: Site, store: Store, how: str) -> None:
    site.fill(5)
    manifest = snapshot(site, store)
    victim = manifest.objects()[1]
    store.delete([victim.key])
    if how == "shorter":
        put(store, victim.key, b"x")
    for check in (manifests.check_objects, lambda s, m: manifests.verify_objects(s, m, counter())):
        with pytest.raises(Corrupt, match=victim.key):
            check(store, manifest)


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Manifest]:
    """One snapshot for many tests, which leave it as it was."""
    base = tmp_path_factory.mktemp("taken")
    site = new_site(base / "claim")
    site.fill(20)
    store = open_store((base / "store").as_uri())
    return store, snapshot(site, store)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1, exclude_max=True), which=st.integers(0, 100), bit=st.integers(0, 7))
def test_verify_finds_any_flipped_bit(taken: tuple[Store, Manifest], where: float, which: int, bit: int) -> None:
    store, manifest = taken
    obj = manifest.objects()[which % len(manifest.objects())]
    assert store.local_root is not None
    path = store.local_root / obj.key
    data = bytearray(path.read_bytes())
    data[int(where * len(data))] ^= 1 << bit
    path.write_bytes(data)
    try:
        with pytest.raises(Corrupt, match=obj.key):
            manifests.verify_objects(store, manifest, counter())
    finally:
        data[int(where * len(data))] ^= 1 << bit
        path.write_bytes(data)


def test_the_result_names_digests_and_places(site: Site, folder_store: Store) -> None:
    site.fill(10)
    stored = manifests.write(folder_store, snapshot(site, folder_store))
    found = snapshot_results.of(stored, read_back=True)
    prefix = naming.attempt_prefix(ENVIRONMENT, SNAPSHOT, "a1")
    assert found.paths == {
        "manifest": naming.manifest_key(ENVIRONMENT, SNAPSHOT),
        "database": f"{prefix}database/",
        "filestore": f"{prefix}filestore/",
        "config": f"{prefix}config.tar",
    }
    assert found.checksums["manifest"] == stored.sha256
    assert found.stored_bytes == sum(found.size for found in folder_store.list(prefix))
    assert (found.filestore_files, found.database_restore_bytes, found.read_back) == (10, 30, True)
    # As docs/format.md says, by coreutils alone.
    script = 'cd "$1" && find "$2" -type f | LC_ALL=C sort | xargs sha256sum | LC_ALL=C sort | sha256sum'
    for artifact in ("database", "filestore"):
        answer = subprocess.run(
            ["bash", "-c", script, "-", str(folder_store.local_root), found.paths[artifact].rstrip("/")],
            capture_output=True,
            text=True,
            check=True,
        )
        assert answer.stdout.split()[0] == found.checksums[artifact]


# --- deletion ------------------------------------------------------------------------------------------------


def test_deleting_takes_everything_of_one_snapshot(site: Site, store: Store) -> None:
    site.fill(5)
    manifests.write(store, snapshot(site, store))
    snapshot(site, store, attempt="a0")
    other = "44444444-4444-4444-8444-444444444444"
    manifests.write(store, snapshot(site, store, snapshot_id=other))
    before = keys(store)
    objects = manifests.delete_snapshot(store, ENVIRONMENT, SNAPSHOT)
    assert keys(store) == {key for key in before if f"/{other}/" in key}
    assert objects == len(before) - len(keys(store))
    assert manifests.delete_snapshot(store, ENVIRONMENT, SNAPSHOT) == 0


def test_a_deletion_that_is_killed_goes_on(site: Site, folder_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    site.fill(5)
    manifests.write(folder_store, snapshot(site, folder_store))
    monkeypatch.setenv(failpoints.ENVIRONMENT_VARIABLE, "delete-manifest-gone=error")
    monkeypatch.setattr(failpoints, "_fired", set())
    with pytest.raises(failpoints.FailpointError):
        manifests.delete_snapshot(folder_store, ENVIRONMENT, SNAPSHOT)
    assert manifests.find(folder_store, ENVIRONMENT, SNAPSHOT) is None
    assert keys(folder_store)
    manifests.delete_snapshot(folder_store, ENVIRONMENT, SNAPSHOT)
    assert keys(folder_store) == set()


def test_left_overs_go_and_the_snapshot_stays(site: Site, store: Store) -> None:
    site.fill(5)
    snapshot(site, store, attempt="a0")
    stored = manifests.write(store, snapshot(site, store))
    left = len(keys(store)) - len({stored.key, *(obj.key for obj in stored.manifest.objects())})
    assert manifests.delete_leftovers(store, ENVIRONMENT, SNAPSHOT) == left > 0
    assert keys(store) == {stored.key, *(obj.key for obj in stored.manifest.objects())}
    manifests.verify_objects(store, stored.manifest, counter())


# --- killed in the middle ------------------------------------------------------------------------------------

CHILD = """
import sys
from pathlib import Path
from ocore_mover.store import S3Options, open_store
from ocore_mover.filestore.folders import ClaimFolders
from ocore_mover.filestore.odoo.copy import store_odoo
from ocore_mover.filestore.odoo.freeze import Freezing
from ocore_mover.report import Reporter
from ocore_crds.protocol import Step
url, endpoint, credentials, claim, path, environment, prefix = sys.argv[1:8]
options = S3Options(endpoint=endpoint, credentials=Path(credentials)) if endpoint else None
folders = ClaimFolders(Path(claim), path, environment)
names = sorted(p.relative_to(folders.filestore).as_posix() for p in folders.filestore.glob("*/*"))
with Freezing(folders, "a1") as freezing:
    freezing.link(names)
    frozen = freezing.finish(names)
    store_odoo(open_store(url, options), prefix, frozen, Reporter().counter(Step.COPY_FILESTORE))
"""


def test_kill_9_in_the_middle_leaves_nothing_listed(site: Site, store: Store, request: pytest.FixtureRequest) -> None:
    for number in range(40):
        site.add(some_bytes(number, 1_000_000))
    prefix = naming.attempt_prefix(ENVIRONMENT, SNAPSHOT, "a1")
    remote: tuple[Any, Any] = ("", "")
    if store.local_root is None:
        seaweed = request.getfixturevalue("seaweed")
        remote = (seaweed.endpoint, str(seaweed.credentials()))
    child = subprocess.run(
        [sys.executable, "-c", CHILD, store.url, *remote, str(site.claim), site.path, ENVIRONMENT, prefix],
        env={**os.environ, failpoints.ENVIRONMENT_VARIABLE: "snapshot-pack-stored=kill"},
        cwd=Path(__file__).parents[4],
        check=False,
        stdout=subprocess.DEVNULL,
        timeout=120,
    )
    assert child.returncode == -9
    assert manifests.find(store, ENVIRONMENT, SNAPSHOT) is None
    assert keys(store)  # one pack is there, and named by nothing
    assert site.own_folders()
    site.store(store, attempt="a1")  # the Job's next pod, same attempt: it takes its own links down first
    assert site.own_folders() == []
    manifests.delete_leftovers(store, ENVIRONMENT, SNAPSHOT)
    assert not [key for key in keys(store) if key.startswith(prefix)]
    assert abort_uploads(store, "") == 0
    if store.local_root is not None:
        assert not list(store.local_root.rglob(".tmp-*"))


# --- what is needed is there, in a folder ------------------------------------------------------------------------


@pytest.fixture
def stored(site: Site, folder_store: Store) -> manifests.StoredManifest:
    site.fill(5)
    return manifests.write(folder_store, snapshot(site, folder_store))


def test_the_first_object_that_is_missing_is_named(stored: manifests.StoredManifest, folder_store: Store) -> None:
    manifest = stored.manifest
    assert manifests.missing_object(folder_store, manifest) == ""
    first, second = manifest.objects()[:2]
    folder_store.delete([second.key])
    put(folder_store, second.key, b"of another size")
    assert f"{second.key} in {folder_store.url} has 15 bytes" in manifests.missing_object(folder_store, manifest)
    folder_store.delete([first.key])
    assert manifests.missing_object(folder_store, manifest).startswith(f"{first.key} is missing")


def test_a_filestore_is_checked_without_the_other_parts(stored: manifests.StoredManifest, folder_store: Store) -> None:
    manifest = stored.manifest
    assert manifest.filestore is not None
    assert manifest.config is not None
    folder_store.delete([manifest.config.archive.key])
    manifests.check_filestore(folder_store, manifest)
    manifests.check_filestore(folder_store, manifest.model_copy(update={"filestore": None}))
    for obj in (manifest.filestore.packs[0], manifest.filestore.index):
        folder_store.delete([obj.key])
        with pytest.raises(Corrupt, match=f"{obj.key} is missing"):
            manifests.check_filestore(folder_store, manifest)


@pytest.mark.parametrize("lost", ["", "manifest", "changed", "pack"])
def test_a_base_that_was_lost_is_not_used_again(site: Site, folder_store: Store, lost: str) -> None:
    site.fill(5)
    full = manifests.write(folder_store, snapshot(site, folder_store, snapshot_id=BASE))
    differential = based(snapshot(site, folder_store), full)
    assert full.manifest.filestore is not None
    pack = full.manifest.filestore.packs[0]
    if lost in ("manifest", "changed"):
        folder_store.delete([full.key])
    if lost == "changed":
        put(folder_store, full.key, json.dumps(full.manifest.wire()).encode())
    if lost == "pack":
        folder_store.delete([pack.key])
    manifests.check_base(folder_store, full.manifest)  # it has none
    if not lost:
        manifests.check_base(folder_store, differential)
        return
    named = {"manifest": f"{full.key} is missing", "changed": "changed after the snapshot", "pack": pack.key}[lost]
    with pytest.raises(MoverError, match=named) as error:
        manifests.check_base(folder_store, differential)
    assert (error.value.reason, error.value.retryable) == (conditions.BASE_GONE, True)


def test_readers_share_the_memory_of_a_job(
    stored: manifests.StoredManifest, folder_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = folder_store.get(stored.key)
    assert data is not None
    needed = 3 * len(data) + 1024 * sum(map(data.count, (b",", b"[", b"{")))

    def found(budget: int, readers: int) -> manifests.StoredManifest | None:
        monkeypatch.setattr("ocore_mover.memory.budget", lambda: budget)
        return manifests.find(folder_store, ENVIRONMENT, SNAPSHOT, readers=readers)

    assert found(needed, 1) == found(needed * 4, 4) == stored
    # By its values, which are counted after it was read, and by its bytes, of which no more are read.
    for budget, readers in ((needed - 1, 1), (needed * 4 - 1, 4), (3 * len(data) - 1, 1), (12 * len(data) - 4, 4)):
        with pytest.raises(MoverError) as error:
            found(budget, readers)
        assert error.value.reason == conditions.MANIFEST_TOO_LARGE
    with pytest.raises(MoverError) as error:
        manifests.find(folder_store, ENVIRONMENT, SNAPSHOT)
    assert error.value.reason == conditions.MANIFEST_TOO_LARGE
    folder_store.delete([stored.key])
    assert found(needed, 1) is None


@pytest.mark.parametrize("reason", [conditions.STORE_UNREACHABLE, conditions.AUTHENTICATION_FAILED])
def test_a_store_that_fails_is_no_manifest_that_is_too_large(
    folder_store: Store, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    def fails(*_: Any, **__: Any) -> bytes:
        raise StoreError(reason, "no answer", retryable=True)

    monkeypatch.setattr(folder_store, "get", fails)
    with pytest.raises(StoreError, match="no answer") as error:
        manifests.find(folder_store, ENVIRONMENT, SNAPSHOT, readers=2)
    assert error.value.reason == reason


def test_a_deletion_in_batches_is_whole_and_counted(
    stored: manifests.StoredManifest, folder_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifests, "DELETE_BATCH", 2)
    before = keys(folder_store)
    assert stored.key in before
    real, sizes = folder_store.delete, []

    def counted(some: list[str]) -> int:
        sizes.append(len(some))
        return real(some)

    monkeypatch.setattr(folder_store, "delete", counted)
    assert manifests.delete_snapshot(folder_store, ENVIRONMENT, SNAPSHOT) == len(before)
    assert keys(folder_store) == set()
    assert sizes[0] == 1  # the manifest, first
    assert max(sizes) == 2
    assert 0 not in sizes


def test_leftovers_are_everything_but_the_snapshot_and_its_state(
    site: Site, stored: manifests.StoredManifest, folder_store: Store
) -> None:
    kept = keys(folder_store) | {naming.state_key(ENVIRONMENT, SNAPSHOT)}
    put(folder_store, naming.state_key(ENVIRONMENT, SNAPSHOT), b"{}")
    snapshot(site, folder_store, attempt="a0")
    assert keys(folder_store) > kept
    count = manifests.delete_leftovers(folder_store, ENVIRONMENT, SNAPSHOT)
    assert keys(folder_store) == kept
    assert count == sum(1 for _ in stored.manifest.objects())


def test_leftovers_are_not_the_key_objects_of_a_snapshot(
    site: Site, stored: manifests.StoredManifest, folder_store: Store
) -> None:
    """Without its key nothing of an encrypted snapshot can be read. Those of dead attempts stay, too: which one fits
    is seen with an identity only."""
    for name in ("a0-0.age", "a1-0.age", "a1-1.age"):
        put(folder_store, naming.keys_prefix(ENVIRONMENT, SNAPSHOT) + name, b"an age file")
    kept = keys(folder_store)
    snapshot(site, folder_store, attempt="a0")
    manifests.delete_leftovers(folder_store, ENVIRONMENT, SNAPSHOT)
    assert keys(folder_store) == kept


def test_the_key_objects_of_attempts_without_a_snapshot_are_leftovers(site: Site, folder_store: Store) -> None:
    put(folder_store, naming.keys_prefix(ENVIRONMENT, SNAPSHOT) + "a0-0.age", b"an age file")
    assert manifests.delete_leftovers(folder_store, ENVIRONMENT, SNAPSHOT) == 1
    assert keys(folder_store) == set()


def test_a_key_object_that_is_added_while_leftovers_are_removed_stays(
    stored: manifests.StoredManifest, folder_store: Store
) -> None:
    """By a person, for a new recipient."""
    assert folder_store.local_root is not None
    key = naming.keys_prefix(ENVIRONMENT, SNAPSHOT) + "a1-1.age"

    class Adding(FolderStore):
        def list(self, prefix: str, *, patience: Patience | None = None) -> Iterator[ObjectInfo]:
            if prefix == naming.snapshot_prefix(ENVIRONMENT, SNAPSHOT):
                put(folder_store, key, b"an age file")
            return super().list(prefix, patience=patience)

    manifests.delete_leftovers(Adding(folder_store.local_root), ENVIRONMENT, SNAPSHOT)
    assert key in keys(folder_store)
