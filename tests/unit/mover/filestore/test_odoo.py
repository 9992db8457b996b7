"""Layout Odoo: what is stored comes back, and nothing else does."""

import errno
import hashlib
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ocore_crds import conditions
from ocore_crds.stored.manifest import FilestoreArtifact, StoredObject
from ocore_mover.errors import Corrupt, MoverError
from ocore_mover.filestore import index, packset, space, unpack
from ocore_mover.filestore.odoo import copy, restore
from ocore_mover.filestore.odoo import freeze as freeze_module
from ocore_mover.filestore.odoo.index_lines import parse_odoo
from ocore_mover.filestore.plain.index_lines import plain_line
from ocore_mover.store import Store, open_store
from ocore_mover.store.pinned_version import Pinned
from support.mover.filestore import ACL, PREFIX, Site, counter, frozen_files, new_site, no_links, some_bytes


def test_round_trip(site: Site, other: Site, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    site.fill(700)
    # On a busy machine one worker may take all files: each waits until the other one has a batch, too.
    two, here, copy_batch = threading.Barrier(2, timeout=60), threading.local(), copy._OdooCopy._copy_batch

    def meeting(self: copy._OdooCopy, *arguments: Any) -> None:
        if not hasattr(here, "met"):
            here.met = two.wait()
        copy_batch(self, *arguments)

    monkeypatch.setattr(copy._OdooCopy, "_copy_batch", meeting)
    artifact = site.store(store)
    assert (artifact.file_count, artifact.size_bytes) == (len(site.contents), sum(map(len, site.contents.values())))
    assert len(artifact.packs) == 4  # two workers, two kinds each
    assert sum(pack.size for pack in artifact.packs) < artifact.size_bytes  # half of it can be compressed
    assert {found.key for found in store.list("")} == {artifact.index.key, *(pack.key for pack in artifact.packs)}
    done = other.add_missing(store, artifact)
    assert (done.files_added, done.bytes_added) == (artifact.file_count, artifact.size_bytes)
    assert other.on_disk() == site.contents
    assert site.own_folders() == other.own_folders() == []


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    contents=st.lists(st.binary(max_size=3000) | st.integers(0, 400_000).map(lambda n: some_bytes(n, n)), max_size=30),
    jobs=st.integers(1, 3),
    pack_bytes=st.sampled_from([4096, 100_000, packset.PACK_BYTES]),
    frame_bytes=st.sampled_from([512, 65536]),
)
def test_any_filestore_comes_back(
    tmp_path_factory: pytest.TempPathFactory, contents: list[bytes], jobs: int, pack_bytes: int, frame_bytes: int
) -> None:
    base = tmp_path_factory.mktemp("any")
    site, other = new_site(base / "claim"), new_site(base / "other")
    store = open_store((base / "store").as_uri())
    for data in contents:
        site.add(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packset, "PACK_BYTES", pack_bytes)
        patch.setattr(packset, "FRAME_BYTES", frame_bytes)
        patch.setattr(copy, "FILES_PER_WORKER", 4)
        patch.setattr(copy, "WHOLE", 150_000)  # larger ones are streamed
        patch.setattr(copy, "BATCH", 3)
        artifact = site.store(store, jobs=jobs)
    other.add_missing(store, artifact, jobs=jobs)
    assert other.on_disk() == site.contents
    shutil.rmtree(base)


def test_an_empty_filestore(site: Site, other: Site, store: Store) -> None:
    artifact = site.store(store)
    assert (artifact.file_count, artifact.packs) == (0, ())
    assert other.add_missing(store, artifact).files_added == 0


def test_files_of_an_old_odoo(site: Site, other: Site, folder_store: Store) -> None:
    data = b"older than 16"
    digest = hashlib.sha1(data, usedforsecurity=False).hexdigest()
    name = f"{digest[:3]}/{digest}"
    (site.filestore / digest[:3]).mkdir()
    (site.filestore / name).write_bytes(data)
    site.contents[name] = data
    other.add_missing(folder_store, site.store(folder_store))
    assert other.on_disk() == {name: data}


def test_a_damaged_attachment_is_named(site: Site, folder_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copy, "READ_AGAIN_AFTER", 0)
    monkeypatch.setattr(copy, "WHOLE", 10_000)
    site.fill(5)
    for size in (100, 50_000):  # read whole, streamed
        name = site.add(some_bytes(size, size))
        (site.filestore / name).write_bytes(b"x" * size)
        with pytest.raises(MoverError) as error:
            site.store(folder_store)
        assert error.value.reason == conditions.ATTACHMENT_CORRUPT
        assert name in error.value.message
        assert list(folder_store.list("")) == []
        assert site.own_folders() == []
        site.unlink(name)
        del site.contents[name]


def test_a_file_that_was_just_written_is_read_again(site: Site, other: Site, folder_store: Store) -> None:
    whole, large = site.add(b"complete" * 1000), site.add(some_bytes(1, 5_000_000))
    for name in (whole, large):
        path = site.filestore / name
        path.write_bytes(site.contents[name][:-1])

    def complete() -> None:
        for name in (whole, large):
            with (site.filestore / name).open("ab") as file:
                file.write(site.contents[name][-1:])

    timer = threading.Timer(copy.READ_AGAIN_AFTER / 2, complete)
    timer.start()
    artifact = site.store(folder_store)
    timer.join()
    other.add_missing(folder_store, artifact)
    assert other.on_disk() == site.contents


def test_frozen_files_survive_garbage_collection(site: Site, other: Site, folder_store: Store, links: str) -> None:
    site.fill(50)
    with frozen_files(site) as frozen:
        assert frozen.linked
        assert any(entry.is_dir() for entry in frozen.root.iterdir()) == (links == "folders")
        shutil.rmtree(site.filestore)
        artifact = copy.store_odoo(folder_store, PREFIX, frozen, counter())
    other.add_missing(folder_store, artifact)
    assert other.on_disk() == site.contents


def test_few_links_are_in_one_folder(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of the names at the first pass decides, also where a later pass has more of them."""
    site.fill(9)
    monkeypatch.setattr(freeze_module, "FLAT", 5)
    for count in (5, 6):
        with freeze_module.Freezing(site.folders, "a1") as freezing:
            freezing.link(site.names[:count])
            (root,) = site.folders.own.iterdir()
            assert sum(entry.is_dir() for entry in root.iterdir()) == (0 if count == 5 else 6)
            assert sum(path.is_file() for path in root.rglob("*")) == count
            assert tuple(freezing.finish(site.names).names) == site.names


@pytest.mark.usefixtures("links")
def test_one_content_in_folders_of_two_and_three_characters(site: Site, other: Site, folder_store: Store) -> None:
    sha1 = site.add(b"both").rpartition("/")[2]
    long = site.filestore / sha1[:3] / sha1
    long.parent.mkdir()
    long.write_bytes(b"both")
    site.contents[f"{sha1[:3]}/{sha1}"] = b"both"
    other.add_missing(folder_store, site.store(folder_store))
    assert other.on_disk() == site.contents
    assert len(other.on_disk()) == 2


@pytest.mark.usefixtures("links")
def test_freezing_once_more_adds_what_is_new(site: Site, other: Site, folder_store: Store) -> None:
    """A name whose file comes between two passes, one that never comes, and one that goes after its link."""
    site.fill(20)
    late, never, gone = site.names[2], site.names[11], site.names[17]
    site.unlink(late)
    site.unlink(never)
    with freeze_module.Freezing(site.folders, "a1") as freezing:
        freezing.link(site.names)
        path = site.filestore / late
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(site.contents[late])
        site.unlink(gone)
        frozen = freezing.finish(site.names)
        assert frozen.missing == (never,)
        artifact = copy.store_odoo(folder_store, PREFIX, frozen, counter())
    other.add_missing(folder_store, artifact)
    assert other.on_disk() == {name: data for name, data in site.contents.items() if name != never}


def test_without_hard_links_a_vanished_file_is_told(
    site: Site, folder_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_links(monkeypatch)
    site.fill(20)
    with frozen_files(site) as frozen:
        assert not frozen.linked
        assert tuple(frozen.names) == site.names
        site.unlink(site.names[-1])
        with pytest.raises(MoverError) as error:
            copy.store_odoo(folder_store, PREFIX, frozen, counter())
    assert (error.value.reason, error.value.retryable) == (conditions.FILESTORE_CHANGING, True)
    assert list(folder_store.list("")) == []


def test_missing_files_go_into_the_manifest(site: Site, folder_store: Store) -> None:
    site.fill(10)
    gone = site.names[3]
    site.unlink(gone)
    artifact = site.store(folder_store)
    assert artifact.missing == (gone,)
    assert artifact.file_count == 9


# --- restoring beside what is there --------------------------------------------------------------------------


def test_only_what_is_missing_is_added(site: Site, store: Store) -> None:
    site.fill(300)
    artifact = site.store(store)
    later = site.add(b"uploaded after the snapshot")
    before = {name: (site.filestore / name).stat().st_ino for name in site.names}
    gone = [name for name in site.names if name != later][::20]
    for name in gone:
        site.unlink(name)
    done = site.add_missing(store, artifact)
    assert (done.files_added, done.files_replaced) == (len(gone), 0)
    assert done.files_checked == artifact.file_count - len(gone)
    assert site.on_disk() == site.contents
    after = {name: (site.filestore / name).stat().st_ino for name in site.names}
    assert {name for name in after if after[name] != before[name]} <= set(gone)


def test_a_few_files_are_not_worth_whole_packs(
    site: Site, folder_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packset, "FRAME_BYTES", 20_000)
    site.fill(400, largest=9000)
    artifact = site.store(folder_store, jobs=1)
    read: list[tuple[str, int]] = []
    real = type(folder_store).read_range

    def spy(self: Any, obj: StoredObject, start: int, length: int, *version: Pinned) -> Iterator[bytes]:
        if obj.key != artifact.index.key:
            read.append((obj.key, length))
        return real(self, obj, start, length, *version)

    monkeypatch.setattr(type(folder_store), "read_range", spy)
    for name in site.names[::150]:
        site.unlink(name)
    done = site.add_missing(folder_store, artifact)
    assert done.files_added == 3
    assert site.on_disk() == site.contents
    assert 0 < sum(size for _, size in read) < sum(pack.size for pack in artifact.packs) / 4
    assert 0 < done.packs.bytes_in_part <= sum(size for _, size in read)


@pytest.mark.parametrize("damage", ["other bytes", "shorter", "empty", "symlink"])
def test_a_damaged_file_is_replaced(site: Site, folder_store: Store, tmp_path: Path, damage: str) -> None:
    site.fill(40)
    artifact = site.store(folder_store)
    name = site.names[7]
    path = site.filestore / name
    data = site.contents[name]
    site.hold.hold_all()
    path.unlink()
    if damage == "symlink":
        (tmp_path / "elsewhere").write_bytes(data)
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path.write_bytes({"other bytes": bytes(len(data)), "shorter": data[:-1], "empty": b""}[damage])
    done = site.add_missing(folder_store, artifact, site.hold)
    assert (done.files_added, done.files_replaced) == (1, 1)
    assert not path.is_symlink()
    assert site.on_disk() == site.contents
    site.unlink(name)
    assert site.hold.relink([name]) == 1
    assert path.read_bytes() == data


@pytest.mark.parametrize("mode", [0o640, 0o666])
def test_new_files_look_like_their_neighbours(site: Site, folder_store: Store, mode: int) -> None:
    """Whether the umask lets a file be created with the mode or not."""
    site.fill(30)
    artifact = site.store(folder_store)
    names = site.names
    for path in site.filestore.iterdir():
        path.chmod(0o2750)
        for file in path.iterdir():
            file.chmod(mode)
            if os.geteuid() == 0:
                os.chown(file, 1234, 1235)
        if os.geteuid() == 0:
            os.chown(path, 1234, 1235)
    if os.geteuid() == 0:
        os.chown(site.filestore, 1234, 1235)
    for name in names[1:]:
        site.unlink(name)
        if not any((site.filestore / name).parent.iterdir()):
            (site.filestore / name).parent.rmdir()
    site.add_missing(folder_store, artifact)
    for name in names:
        file, folder = (site.filestore / name).stat(), (site.filestore / name).parent.stat()
        assert (file.st_mode & 0o7777, folder.st_mode & 0o7777) == (mode, 0o2750)
        if os.geteuid() == 0:
            assert {(file.st_uid, file.st_gid), (folder.st_uid, folder.st_gid)} == {(1234, 1235)}


def test_what_a_killed_restore_left_is_removed(site: Site, other: Site, folder_store: Store) -> None:
    site.fill(20)
    artifact = site.store(folder_store)
    left = other.folders.incoming / "ab"
    left.mkdir(parents=True)
    (left / "abc").write_bytes(b"half")
    other.add_missing(folder_store, artifact)
    assert other.on_disk() == site.contents
    assert other.own_folders() == []


def test_no_room(site: Site, other: Site, folder_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    site.fill(20)
    artifact = site.store(folder_store)
    real = os.statvfs(other.filestore)
    tight = os.statvfs_result((*real[:3], 1, 1, *real[5:10]))
    monkeypatch.setattr(restore.os, "fstatvfs", lambda _: tight)
    with pytest.raises(MoverError, match="Enlarge the volume") as error:
        other.add_missing(folder_store, artifact)
    assert error.value.reason == conditions.NO_SPACE
    assert other.on_disk() == {}
    assert other.own_folders() == []


def test_only_what_is_missing_needs_space(site: Site, folder_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a reserve for the application; where nothing is missing, a full volume is no obstacle."""
    site.fill(10)
    artifact = site.store(folder_store)
    volume = os.statvfs(site.filestore)

    def found(free: int, total: int) -> space.Space:
        fields = list(volume)
        fields[1], fields[2], fields[4] = 1, total, free  # f_frsize, f_blocks, f_bavail
        monkeypatch.setattr(restore.os, "fstatvfs", lambda _: os.statvfs_result(fields))
        return restore.missing(folder_store, artifact, site.folders)

    nothing = found(0, 1000)
    assert (nothing.files, nothing.size, nothing.needed, nothing.refusal) == (0, 0, 0, None)
    gone, torn = site.names[3:5]
    size = len(site.contents[gone]) + len(site.contents[torn])
    site.unlink(gone)
    (site.filestore / torn).write_bytes(site.contents[torn] + b"more")
    enough = found(size + 50, 1000)
    assert (enough.files, enough.size, enough.kept, enough.free) == (2, size, 50, size + 50)
    assert enough.refusal is None
    refused = found(size + 49, 1000).refusal
    assert refused is not None
    assert refused.reason == conditions.NO_SPACE
    assert found(0, 10**12).kept == space.MAX_RESERVE


def test_an_index_with_fewer_files_or_one_twice_is_refused(site: Site, other: Site, folder_store: Store) -> None:
    for number in range(2):
        site.add(b"%d" % number)
    artifact = site.store(folder_store)
    lines = list(index.lines(folder_store.read(artifact.index)))
    first, second = (entry.name for entry in unpack.entries(folder_store, artifact, parse_odoo))
    again = lines[1].replace(second.encode(), first.encode()).replace(second[3:].encode(), first[3:].encode())
    for some, message in (
        (lines[:1], "the index names 1 files and the manifest 2"),
        ([lines[0], again], f"the index names {first} twice"),
    ):
        with folder_store.writer(artifact.index.key) as writer:
            text = b"".join(line + b"\n" for line in some)
            writer.write(packset.ZstdCompressor().compress(text, packset.ZstdCompressor.FLUSH_FRAME))
            lying = artifact.model_copy(update={"index": writer.commit()})
        with pytest.raises(Corrupt, match=message):
            other.add_missing(folder_store, lying)
        assert (other.on_disk(), other.own_folders()) == ({}, [])


def test_a_file_that_cannot_be_read_is_replaced(
    site: Site, folder_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.fill(5)
    artifact = site.store(folder_store)
    real = os.open

    def failing(path: Any, flags: int, *args: Any, **options: Any) -> int:
        if path == site.names[2] and not flags & os.O_CREAT:
            raise OSError(errno.EIO, "Input/output error")
        return real(path, flags, *args, **options)

    monkeypatch.setattr(restore.os, "open", failing)
    done = site.add_missing(folder_store, artifact)
    assert (done.files_added, done.files_replaced, done.files_checked) == (1, 1, 4)
    monkeypatch.undo()
    assert site.on_disk() == site.contents


@pytest.mark.parametrize("call", ["rename", "fchmod"])
def test_a_claim_that_becomes_full_keeps_what_it_has(
    site: Site, folder_store: Store, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    site.fill(5)
    artifact = site.store(folder_store)
    for name in site.names[:2]:
        site.unlink(name)
        (site.filestore / name).parent.rmdir()

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(restore.os, call, full)
    with pytest.raises(MoverError, match=r"cannot (add files|write) to the filestore") as error:
        site.add_missing(folder_store, artifact)
    assert error.value.reason == conditions.NO_SPACE
    monkeypatch.undo()
    assert site.on_disk() == {name: site.contents[name] for name in site.names[2:]}
    assert site.own_folders() == []
    assert site.add_missing(folder_store, artifact).files_added == 2


# --- damage in the store -------------------------------------------------------------------------------------


def flip(store: Store, key: str, offset: int, bit: int) -> None:
    assert store.local_root is not None
    path = store.local_root / key
    data = bytearray(path.read_bytes())
    data[offset] ^= 1 << bit
    path.write_bytes(data)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Site, Store, FilestoreArtifact]:
    """One snapshot for many tests, which leave it as it was."""
    base = tmp_path_factory.mktemp("stored")
    site = new_site(base / "claim")
    store = open_store((base / "store").as_uri())
    site.fill(24, largest=3000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packset, "FRAME_BYTES", 6000)
        patch.setattr(packset, "PACK_BYTES", 20_000)
        return site, store, site.store(store)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1, exclude_max=True), which=st.integers(0, 100), bit=st.integers(0, 7))
def test_any_flipped_bit_is_found_before_anything_is_visible(
    stored: tuple[Site, Store, FilestoreArtifact],
    tmp_path_factory: pytest.TempPathFactory,
    where: float,
    which: int,
    bit: int,
) -> None:
    _, store, artifact = stored
    objects = (artifact.index, *artifact.packs)
    obj = objects[which % len(objects)]
    offset = int(where * obj.size)
    other = new_site(tmp_path_factory.mktemp("flipped"))
    flip(store, obj.key, offset, bit)
    try:
        with pytest.raises(Corrupt):
            list(store.read(obj))
        with pytest.raises(Corrupt):
            other.add_missing(store, artifact)
    finally:
        flip(store, obj.key, offset, bit)
    assert other.on_disk() == {}
    assert other.own_folders() == []
    shutil.rmtree(other.claim)


def test_a_flipped_bit_in_a_part_of_a_pack_is_found(site: Site, folder_store: Store) -> None:
    """One file is missing, so only its bytes of the pack are read: the pack's SHA-256 cannot be compared, the file's
    SHA-1 must be."""
    site.fill(60)
    artifact = site.store(folder_store, jobs=1)
    entry = next(e for e in unpack.entries(folder_store, artifact, parse_odoo) if e.frame is None and e.size > 1000)
    site.unlink(entry.name)
    pack = next(pack for pack in artifact.packs if pack.key.endswith(entry.pack))
    flip(folder_store, pack.key, entry.offset + entry.size // 2, 3)
    before = site.on_disk()
    with pytest.raises(Corrupt, match=entry.name) as raised:
        site.add_missing(folder_store, artifact)
    assert raised.value.failure().object_key == raised.value.finding().object_key == pack.key
    assert site.on_disk() == before
    flip(folder_store, pack.key, entry.offset + entry.size // 2, 3)
    assert site.add_missing(folder_store, artifact).files_added == 1
    assert site.on_disk() == site.contents


@pytest.mark.parametrize("change", ["cut", "longer", "gone"])
def test_a_pack_of_another_length_is_found(
    stored: tuple[Site, Store, FilestoreArtifact], other: Site, change: str
) -> None:
    _, store, artifact = stored
    assert store.local_root is not None
    path = store.local_root / artifact.packs[1].key
    data = path.read_bytes()
    try:
        if change == "gone":
            path.unlink()
        else:
            path.write_bytes(data[:-1] if change == "cut" else data + b"\0")
        with pytest.raises(Corrupt, match=r"missing|bytes instead"):
            other.add_missing(store, artifact)
    finally:
        path.write_bytes(data)
    assert other.on_disk() == {}


BAD_LINES = [
    b"not json",
    b"[]",
    b'{"name": "ab/ab"}',
    *(
        b'{"name":"%b","size":4,"sha1":"%b","pack":"%b","offset":%b}'
        % (name.encode(), name.rpartition("/")[2].encode(), pack, offset)
        for name, pack, offset in (
            ("../" + "a" * 40, b"pack-00000.tar", b"512"),
            ("/etc/passwd", b"pack-00000.tar", b"512"),
            ("ab/" + "c" * 40, b"pack-00000.tar", b"512"),
            ("ab/../../" + "ab" * 20, b"pack-00000.tar", b"512"),
            ("ab/" + "ab" * 20, b"../pack", b"512"),
            ("ab/" + "ab" * 20, b"pack-00000.tar", b"-1"),
            ("ab/" + "ab" * 20, b"pack-00000.tar", b"1e3"),
            ("ab/" + "ab" * 20, b"pack-00000.tar", b"99999999"),
            ("ab/" + "AB" * 20, b"pack-00000.tar", b"512"),
        )
    ),
]


@pytest.mark.parametrize("line", BAD_LINES)
def test_an_index_that_lies_is_refused(site: Site, other: Site, folder_store: Store, line: bytes) -> None:
    """Its digest is right: a writer of the store made it so."""
    site.add(some_bytes(1, 4))
    artifact = site.store(folder_store)
    with folder_store.writer(artifact.index.key) as writer:
        writer.write(packset.ZstdCompressor().compress(line + b"\n", packset.ZstdCompressor.FLUSH_FRAME))
        lying = artifact.model_copy(update={"index": writer.commit()})
    with pytest.raises(Corrupt):
        other.add_missing(folder_store, lying)
    assert other.on_disk() == {}
    assert sorted(path.name for path in other.claim.parent.iterdir()) == ["claim", "other", "store"]


def test_a_symbolic_link_in_the_filestore_leads_nowhere(
    site: Site, other: Site, folder_store: Store, tmp_path: Path
) -> None:
    name = site.add(b"some content")
    artifact = site.store(folder_store)
    (tmp_path / "outside").mkdir()
    (other.filestore / name[:2]).symlink_to(tmp_path / "outside")
    with pytest.raises(MoverError):
        other.add_missing(folder_store, artifact)
    assert list((tmp_path / "outside").iterdir()) == []


# --- sizes ---------------------------------------------------------------------------------------------------


def test_plain_tar_and_zstd_read_the_packs(site: Site, folder_store: Store, tmp_path: Path) -> None:
    site.fill(60)
    site.add(some_bytes(3, 5_000_000))
    artifact = site.store(folder_store)
    assert folder_store.local_root is not None
    out = tmp_path / "out"
    out.mkdir()
    for pack in artifact.packs:
        path = folder_store.local_root / pack.key
        if pack.key.endswith(".zst"):
            subprocess.run(["zstd", "-q", "-t", str(path)], check=True)
        options = ["--zstd"] if pack.key.endswith(".zst") else []
        subprocess.run(["tar", *options, "-x", "-f", str(path), "-C", str(out)], check=True)
    assert {p.relative_to(out).as_posix(): p.read_bytes() for p in out.rglob("*") if p.is_file()} == site.contents


def test_freezing_is_fast(site: Site) -> None:
    """In processor time, which other work on the machine does not change much. The bound is ten times what it takes."""
    for number in range(5000):
        digest = hashlib.sha1(b"%d" % number, usedforsecurity=False).hexdigest()
        path = site.filestore / digest[:2] / digest
        path.parent.mkdir(exist_ok=True)
        path.touch()
        site.contents[f"{digest[:2]}/{digest}"] = b""
    started = time.thread_time()
    with frozen_files(site) as frozen:
        taken = time.thread_time() - started
        assert len(frozen.names) == 5000
    assert taken < 0.8


@settings(max_examples=60, deadline=None)
@given(
    entries=st.lists(
        st.builds(
            index.Entry,
            name=st.binary(min_size=1, max_size=300).filter(lambda b: b"\0" not in b).map(os.fsdecode),
            pack=st.just("pack-00000.tar"),
            offset=st.integers(0, 2**50),
            frame=st.none() | st.builds(index.Frame, st.integers(0, 2**50), st.integers(0, 2**50)),
            size=st.integers(0, 2**50),
            digest=st.just("ab" * 32),
            mode=st.integers(0, 0o7777),
            mtime_ns=st.integers(-(2**60), 2**62),
            inode=st.integers(0, 2**64 - 1),
            kind=st.just("file"),
            target=st.just(""),
        ),
        max_size=20,
    ),
    cut=st.integers(1, 100),
)
def test_an_index_reads_as_it_was_written(entries: list[index.Entry], cut: int) -> None:
    text = packset.ZstdCompressor().compress(b"".join(map(plain_line, entries)), packset.ZstdCompressor.FLUSH_FRAME)
    pieces = [text[start : start + cut] for start in range(0, len(text), cut)]
    assert [index.parse(line) for line in index.lines(iter(pieces))] == entries
    for broken in (pieces[:-1], [*pieces, b"more"]):
        with pytest.raises(Corrupt):
            list(index.lines(iter(broken)))


def test_more_lost_files_than_a_manifest_can_list(
    site: Site, folder_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.fill(20)
    for name in site.names[:5]:
        site.unlink(name)
    monkeypatch.setattr(freeze_module, "MAX_MISSING", 4)
    with pytest.raises(MoverError, match="5 files that the filestore does not have") as caught:
        site.store(folder_store)
    assert caught.value.reason == conditions.ATTACHMENTS_MISSING
    assert site.own_folders() == []


def test_what_is_not_kept_is_named(site: Site, folder_store: Store) -> None:
    """As for layout Plain. Another link of a file is no loss: names are contents."""
    site.fill(10)
    attributed, listed, linked = (site.filestore / name for name in site.names[:3])
    sparse = site.filestore / site.add(bytes(1_000_000))
    with sparse.open("r+b") as file:
        file.truncate(0)
        file.truncate(1_000_000)
    os.link(linked, site.claim / "a backup's link")
    os.setxattr(attributed, "user.origin", b"somewhere")
    os.setxattr(attributed.parent, "user.origin", b"somewhere")
    os.setxattr(listed, "system.posix_acl_access", ACL)
    with frozen_files(site) as frozen:
        copy.store_odoo(folder_store, PREFIX, frozen, counter())
        found = frozen.unkept.warnings
    assert len(found) == 3
    text = "\n".join(found)
    assert "2 files or folders have extended attributes" in text
    assert attributed.name in text
    assert "1 files or folders have access control lists" in text
    assert listed.name in text
    assert "1 sparse files" in text
    assert sparse.name in text
