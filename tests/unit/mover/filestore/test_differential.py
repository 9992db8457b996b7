"""Differentials: a full and what it lacks are the filestore as it was, whatever has changed, in both layouts."""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from backports.zstd import compress
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ocore_crds import conditions
from ocore_crds.stored.manifest import FilestoreArtifact
from ocore_crds.text.quantity import human
from ocore_mover.errors import Corrupt, MoverError
from ocore_mover.filestore import base as base_module
from ocore_mover.filestore import index, links, names, sorting, unpack
from ocore_mover.filestore.base import BaseSnapshot, outgrown
from ocore_mover.filestore.folders import ClaimFolders
from ocore_mover.filestore.names import spooled
from ocore_mover.filestore.odoo.base import OdooBase
from ocore_mover.filestore.odoo.copy import store_odoo
from ocore_mover.filestore.odoo.freeze import Freezing
from ocore_mover.filestore.odoo.index_lines import parse_odoo
from ocore_mover.filestore.odoo.restore import missing
from ocore_mover.filestore.plain import copy as plain_copy
from ocore_mover.filestore.plain import freeze as plain_freeze
from ocore_mover.filestore.plain.base import BATCH, PlainBase
from ocore_mover.filestore.unpack import blocks
from ocore_mover.store import Store, open_store
from support.mover.filestore import ENVIRONMENT, Site, counter, new_site, no_links, some_bytes
from support.mover.plain_tree import make_tree, stage, take, tree

FULL = "44444444-4444-4444-8444-444444444444"
OF_FULL = f"environments/{ENVIRONMENT}/snapshots/{FULL}/a1/"
OWN = f"environments/{ENVIRONMENT}/snapshots/55555555-5555-4555-8555-555555555555/a1/"


@pytest.fixture
def folders(tmp_path: Path) -> ClaimFolders:
    found = ClaimFolders(tmp_path / "claim", "app/files", ENVIRONMENT)
    found.filestore.mkdir(parents=True)
    return found


def snapshot_of(artifact: FilestoreArtifact) -> BaseSnapshot:
    return BaseSnapshot(FULL, "key", "0" * 64, artifact)


# --- layout Odoo ---------------------------------------------------------------------------------------------


def full(site: Site, store: Store) -> FilestoreArtifact:
    with Freezing(site.folders, "a1") as freezing:
        freezing.link(site.names)
        with spooled(site.names, site.claim) as found:
            return store_odoo(store, OF_FULL, freezing.finish(found.files), counter())


@contextmanager
def opened(store: Store, artifact: FilestoreArtifact, scratch: Path) -> Iterator[OdooBase]:
    with OdooBase(snapshot_of(artifact), scratch) as base:
        base.read(store)
        yield base


def differential(site: Site, store: Store, artifact: FilestoreArtifact) -> FilestoreArtifact:
    """What the database names now, without what the base has."""
    with (
        opened(store, artifact, site.claim) as base,
        spooled(site.names, site.claim) as found,
        names.name_files(site.claim, 2) as (new, known),
        Freezing(site.folders, "a2") as freezing,
    ):
        reused = base.split(found.files, new, known)
        assert sorted([*new, *known]) == list(site.names)
        assert reused.files == len(known)
        freezing.link(new)
        return store_odoo(store, OWN, freezing.finish(new, named=len(found.files)), counter(), reused=reused)


def test_an_odoo_differential_is_the_filestore(site: Site, other: Site, store: Store) -> None:
    site.fill(400)
    site.add(some_bytes(1, 5_000_000))
    first = full(site, store)
    for name in site.names[::7]:
        site.unlink(name)
        del site.contents[name]
    for number in range(1000, 1060):
        site.add(some_bytes(number, number))
    found = differential(site, store, first)
    assert found.base is not None
    assert {pack.key for pack in found.base.packs} <= {pack.key for pack in first.packs}
    assert (found.file_count, found.size_bytes) == (len(site.contents), sum(map(len, site.contents.values())))
    assert sum(pack.size for pack in found.packs) < 60 * 2048 + 10240
    assert other.add_missing(store, found).files_added == len(site.contents)
    assert other.on_disk() == site.contents
    assert missing(store, found, other.folders).files == 0
    again = other.add_missing(store, found)
    assert (again.files_added, again.files_checked) == (0, len(site.contents))


def test_a_file_that_the_base_has_is_neither_linked_nor_read(site: Site, other: Site, folder_store: Store) -> None:
    """Its cost would grow with the filestore. Lost and damaged files come from the base, too."""
    site.fill(20)
    first = full(site, folder_store)
    lost, damaged, *_ = site.names
    site.unlink(lost)
    (site.filestore / damaged).write_bytes(b"damaged")
    site.add(b"new")
    found = differential(site, folder_store, first)
    assert [entry.size for _, some in blocks(folder_store, found, parse_odoo) for entry in some if not entry.base] == [
        3
    ]
    other.add_missing(folder_store, found)
    assert other.on_disk() == site.contents


def test_packs_of_the_same_name_are_not_mixed_up(site: Site, other: Site, store: Store) -> None:
    """Both have pack-00000: the index says which one it means. Even their lines may be next to each other."""
    site.add(b"old " * 100)
    first = full(site, store)
    site.add(b"new " * 90)
    found = differential(site, store, first)
    assert found.base is not None
    (own,), (of_base,) = found.packs, found.base.packs
    assert own.key.rpartition("/")[2] == of_base.key.rpartition("/")[2]
    assert [len(entries) for _, entries in blocks(store, found, parse_odoo)] == [1, 1]
    other.add_missing(store, found)
    assert other.on_disk() == site.contents


def test_only_the_needed_packs_are_named(
    site: Site, other: Site, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ocore_mover.filestore.packset.PACK_FILES", 10)
    site.fill(100)
    first = full(site, store)
    kept = {entry.name for _, entries in list(blocks(store, first, parse_odoo))[:2] for entry in entries}
    for name in set(site.contents) - kept:
        del site.contents[name]
    found = differential(site, store, first)
    assert found.base is not None
    assert len(found.base.packs) == 2
    assert found.packs == ()
    other.add_missing(store, found)
    assert other.on_disk() == site.contents


def test_a_difference_without_common_files_is_a_full(site: Site, store: Store) -> None:
    name = site.add(b"old")
    first = full(site, store)
    site.unlink(name)
    del site.contents[name]
    site.add(b"new")
    assert differential(site, store, first).base is None


def test_names_beyond_the_memory_go_through_scratch(
    site: Site, other: Site, folder_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base_module, "IN_MEMORY", 500)
    monkeypatch.setattr(index, "DECOMPRESSED_CHUNK", 700)
    monkeypatch.setattr(names, "_BATCH", 5)
    site.fill(300, largest=500)
    first = full(site, folder_store)
    for number in range(1000, 1040):
        site.add(some_bytes(number, 10))
    found = differential(site, folder_store, first)
    other.add_missing(folder_store, found)
    assert other.on_disk() == site.contents


@pytest.mark.usefixtures("links")
def test_folders_of_three_characters_are_other_names(site: Site, tmp_path: Path, folder_store: Store) -> None:
    """Odoo up to 15 keeps ``xxx/sha1``: the same content under another name is another file."""
    data = b"both"
    name = site.add(data)
    first = full(site, folder_store)
    sha1 = name.partition("/")[2]
    long = f"{sha1[:3]}/{sha1}"
    (site.filestore / sha1[:3]).mkdir()
    (site.filestore / long).write_bytes(data)
    site.contents[long] = data
    found = differential(site, folder_store, first)
    assert {entry.name: entry.base for _, some in blocks(folder_store, found, parse_odoo) for entry in some} == {
        name: True,
        long: False,
    }


#: Lines of a base's index that make it unusable: the differential would name what cannot be restored.
WRONG: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "a pack that is not in the manifest": lambda lines: [lines[0].replace(b"pack-0000", b"pack-0009"), *lines[1:]],
    "a line of a differential": lambda lines: [lines[0][:-1] + b',"base":true}', *lines[1:]],
    "another name": lambda lines: [lines[0].replace(b'{"name":"', b'{"name":"../'), *lines[1:]],
    "something before a line": lambda lines: [b"x" + lines[0], *lines[1:]],
    "an empty line": lambda lines: [b"", *lines],
    "too few": lambda lines: lines[1:],
    "too many": lambda lines: [*lines, lines[-1]],
    "another size": lambda lines: [lines[0].replace(b'"size":', b'"size":1'), *lines[1:]],
}


def rewritten(
    store: Store, artifact: FilestoreArtifact, change: Callable[[list[bytes]], list[bytes]]
) -> FilestoreArtifact:
    """The artifact with another index, and its digest."""
    changed = change(list(index.lines(store.read(artifact.index))))
    with store.writer(artifact.index.key) as writer:
        writer.write(compress(b"".join(line + b"\n" for line in changed)))
        return artifact.model_copy(update={"index": writer.commit()})


@pytest.mark.parametrize("what", WRONG)
@pytest.mark.parametrize("layout", ["Odoo", "Plain"])
def test_an_index_that_is_wrong_is_not_used(
    site: Site,
    folders: ClaimFolders,
    folder_store: Store,
    tmp_path: Path,
    layout: str,
    what: str,
) -> None:
    kind: Callable[[BaseSnapshot, Path], OdooBase | PlainBase]
    if layout == "Odoo":
        site.fill(9)
        artifact, kind = full(site, folder_store), OdooBase
    else:
        (folders.filestore / "a").write_bytes(b"a")
        (folders.filestore / "b").write_bytes(b"b")
        artifact, kind = take(folder_store, folders)[0], PlainBase
        if what in ("another name", "something before a line"):
            what = "an empty line"  # any name is one of layout Plain: the restore refuses it
    damaged = rewritten(folder_store, artifact, WRONG[what])
    with kind(snapshot_of(damaged), tmp_path) as base, pytest.raises(Corrupt):
        base.read(folder_store)
    with kind(snapshot_of(artifact), tmp_path) as base, pytest.raises(Corrupt):
        base.read(folder_store)  # the digest differs


def test_a_scratch_that_cannot_be_written_is_named(
    site: Site, folder_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.fill(3)
    monkeypatch.setattr(base_module, "IN_MEMORY", 1)
    artifact = full(site, folder_store)
    with OdooBase(snapshot_of(artifact), site.claim / "none") as base, pytest.raises(MoverError) as error:
        base.read(folder_store)
    assert error.value.reason == conditions.INTERNAL_ERROR
    assert "scratch" in error.value.message


# --- layout Plain --------------------------------------------------------------------------------------------


def plain_full(store: Store, folders: ClaimFolders) -> FilestoreArtifact:
    with plain_freeze.freeze(folders, "a1") as frozen:
        frozen.extend()
        return plain_copy.store_plain(store, OF_FULL, frozen, counter())[0]


def plain_differential(
    store: Store,
    folders: ClaimFolders,
    artifact: FilestoreArtifact,
) -> tuple[FilestoreArtifact, tuple[str, ...]]:
    with PlainBase(snapshot_of(artifact), folders.claim) as base:
        base.read(store)
        with plain_freeze.freeze(folders, "a2") as frozen:
            frozen.extend()
            return plain_copy.store_plain(store, OWN, frozen, counter(), base=base)


def entries_of(store: Store, artifact: FilestoreArtifact) -> dict[str, index.Entry]:
    return {entry.name: entry for entry in unpack.entries(store, artifact, index.parse)}


def test_a_plain_differential_is_the_folder(folders: ClaimFolders, store: Store) -> None:
    root = folders.filestore
    make_tree(root)
    (root / "large").write_bytes(some_bytes(3, 3_000_000))
    for name in ("becomes a folder", "gone", "moved", "other mode", "other time", "same size"):
        (root / name).write_bytes(name.encode() * 50)
    (root / "becomes a file").mkdir()
    (root / "becomes a file" / "x").write_bytes(b"x")
    first = plain_full(store, folders)
    (root / "becomes a folder").unlink()
    (root / "becomes a folder").mkdir()
    (root / "becomes a folder" / "y").write_bytes(b"y")
    shutil.rmtree(root / "becomes a file")
    (root / "becomes a file").write_bytes(b"a file")
    (root / "gone").unlink()
    (root / "moved").rename(root / "deep" / "moved")
    (root / "other mode").chmod(0o600)
    os.utime(root / "other time", ns=(1, 1))
    (root / "same size").write_bytes(b"SAME SIZE" * 50)
    (root / "new").write_bytes(b"new")
    before = tree(root)
    found, warnings = plain_differential(store, folders, first)
    assert found.base is not None
    assert not any("instead of a differential" in warning for warning in warnings)
    assert tree(stage(store, found, folders)) == before
    entries = entries_of(store, found)
    assert {name for name, entry in entries.items() if entry.kind == "file" and not entry.base} == {
        *("becomes a folder/y", "becomes a file", "deep/moved", "other mode", "other time", "same size", "new")
    }
    assert all(not entry.base for entry in entries.values() if entry.kind != "file")
    assert found.file_count == sum(value[0] == "file" for value in before.values())


def test_a_file_of_the_base_that_changed_since_its_freeze_is_stored_again(
    folders: ClaimFolders,
    folder_store: Store,
) -> None:
    """It may have been changed once more within the same step of the clock, with the same size and time."""
    (folders.filestore / "old").write_bytes(b"o" * 1000)
    (folders.filestore / "racy").write_bytes(b"r")
    first = plain_full(folder_store, folders)
    status = (folders.filestore / "racy").stat()
    racy = first.model_copy(update={"frozen_ns": status.st_mtime_ns})
    os.utime(folders.filestore / "old", ns=(1, 1))
    (folders.filestore / "racy").write_bytes(b"R")
    os.utime(folders.filestore / "racy", ns=(status.st_mtime_ns, status.st_mtime_ns))
    first = plain_full(folder_store, folders).model_copy(update={"frozen_ns": racy.frozen_ns})
    found, _ = plain_differential(folder_store, folders, first)
    assert {name: entry.base for name, entry in entries_of(folder_store, found).items()} == {"old": True, "racy": False}


def opened_files(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that a copy opens from now on."""
    found: list[str] = []
    real = os.open

    def note(path: Any, flags: int, *more: Any, **options: Any) -> int:
        if flags == links.OPEN_FILE:
            found.append(str(path))
        return real(path, flags, *more, **options)

    monkeypatch.setattr(plain_copy.os, "open", note)
    return found


def packages(folders: ClaimFolders) -> None:
    """All of one year, as npm and reproducible builds write them."""
    for name in ("changed", "same", "rewritten", "untouched"):
        (folders.filestore / name).write_bytes(name[:1].encode() * 5000)
        os.utime(folders.filestore / name, (499_162_500, 499_162_500))


def replace(path: Path, data: bytes) -> None:
    """By a file of the same size and time under the same name."""
    new = path.with_name("new")
    new.write_bytes(data)
    os.utime(new, (499_162_500, 499_162_500))
    new.rename(path)


def test_row_66_a_file_replaced_by_one_of_the_same_size_and_time(
    folders: ClaimFolders, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages(folders)
    first = plain_full(store, folders)
    replace(folders.filestore / "changed", b"C" * 5000)
    replace(folders.filestore / "same", b"s" * 5000)
    before = tree(folders.filestore)
    read = opened_files(monkeypatch)
    found, _ = plain_differential(store, folders, first)
    assert set(read) == {"changed", "same"}
    assert tree(stage(store, found, folders)) == before
    assert {name for name, entry in entries_of(store, found).items() if not entry.base} == {"changed"}
    assert (found.file_count, found.size_bytes) == (4, 20_000)


def test_row_66_a_file_removed_and_written_again(folders: ClaimFolders, folder_store: Store) -> None:
    """A file system may give it the inode of the one that was removed: the time of its creation differs."""
    packages(folders)
    first = plain_full(folder_store, folders)
    (folders.filestore / "changed").unlink()
    (folders.filestore / "changed").write_bytes(b"C" * 5000)
    os.utime(folders.filestore / "changed", (499_162_500, 499_162_500))
    found, _ = plain_differential(folder_store, folders, first)
    assert {name for name, entry in entries_of(folder_store, found).items() if not entry.base} == {"changed"}


def test_row_66_the_second_differential_reads_no_file(
    folders: ClaimFolders, folder_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hard links of ours change the files' change times."""
    packages(folders)
    first = plain_full(folder_store, folders)
    plain_differential(folder_store, folders, first)
    read = opened_files(monkeypatch)
    found, _ = plain_differential(folder_store, folders, first)
    assert read == []
    assert found.file_count == 4


def test_row_66_without_hard_links_the_change_time_tells(
    folders: ClaimFolders, folder_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages(folders)
    no_links(monkeypatch)
    os.utime(folders.filestore, (1, 1))
    first = plain_full(folder_store, folders)
    (folders.filestore / "rewritten").write_bytes(b"R" * 5000)
    os.utime(folders.filestore / "rewritten", (499_162_500, 499_162_500))
    found, _ = plain_differential(folder_store, folders, first)
    assert {name for name, entry in entries_of(folder_store, found).items() if not entry.base} == {"rewritten"}


def test_row_66_an_index_of_an_earlier_version(
    folders: ClaimFolders, folder_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has neither inodes nor times of creation: size and time decide, as before."""
    packages(folders)
    with monkeypatch.context() as patched:
        real = plain_copy.plain_line
        patched.setattr(plain_copy, "plain_line", lambda entry: real(entry._replace(inode=0, born_ns=0, ctime_ns=0)))
        first = plain_full(folder_store, folders)
    assert all(entry.inode == 0 for entry in entries_of(folder_store, first).values())
    (folders.filestore / "changed").write_bytes(b"shorter" * 50)
    read = opened_files(monkeypatch)
    found, _ = plain_differential(folder_store, folders, first)
    assert read == ["changed"]
    assert {name for name, entry in entries_of(folder_store, found).items() if not entry.base} == {"changed"}


def test_row_66_a_file_that_changes_while_it_is_compared_is_stored(
    folders: ClaimFolders, folder_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages(folders)
    first = plain_full(folder_store, folders)
    replace(folders.filestore / "same", b"s" * 5000)
    real = plain_copy._identity
    calls: list[int] = []

    def differs_once(status: os.stat_result) -> tuple[int, int, int]:
        calls.append(1)
        return (len(calls), 0, 0) if len(calls) <= 2 else real(status)

    monkeypatch.setattr(plain_copy, "_identity", differs_once)
    found, _ = plain_differential(folder_store, folders, first)
    assert not entries_of(folder_store, found)["same"].base


def test_row_66_times_after_the_year_2262_can_be_compared(folders: ClaimFolders, folder_store: Store) -> None:
    packages(folders)
    late = 13_000_000_000
    os.utime(folders.filestore / "same", (late, late))
    with plain_freeze.freeze(folders, "a1") as frozen:
        frozen.extend()
        first = plain_copy.store_plain(folder_store, OF_FULL, frozen, counter(), consistency="BestEffort")[0]
    with PlainBase(snapshot_of(first), folders.claim) as base:
        base.read(folder_store)
        with plain_freeze.freeze(folders, "a2") as frozen:
            frozen.extend()
            found = plain_copy.store_plain(folder_store, OWN, frozen, counter(), base=base, consistency="BestEffort")[0]
    assert {name for name, entry in entries_of(folder_store, found).items() if not entry.base} == {"same"}


def test_what_has_outgrown_its_base_is_a_full(folders: ClaimFolders, store: Store) -> None:
    (folders.filestore / "old").write_bytes(bytes(1000))
    first = plain_full(store, folders)
    (folders.filestore / "new").write_bytes(bytes(1001))
    before = tree(folders.filestore)
    found, warnings = plain_differential(store, folders, first)
    assert found.base is None
    assert "1001 B of 2" in warnings[0]
    assert "50%" in warnings[0]
    assert tree(stage(store, found, folders)) == before
    (folders.filestore / "new").write_bytes(bytes(1000))
    assert plain_differential(store, folders, first)[0].base is not None


def all_other_inodes(root: Path) -> None:
    """As after a rollback: the same files, each another one."""
    for path in list(root.iterdir()):
        status = path.stat()
        copy = path.with_name("copy")
        copy.write_bytes(path.read_bytes())
        copy.chmod(status.st_mode & 0o7777)
        os.utime(copy, ns=(status.st_mtime_ns, status.st_mtime_ns))
        copy.rename(path)


def test_row_130_after_a_rollback_a_differential_stores_what_differs(folders: ClaimFolders, store: Store) -> None:
    root = folders.filestore
    for number in range(BATCH + 10):
        (root / f"{number}").write_bytes(some_bytes(number, 1000))
        os.utime(root / f"{number}", ns=(number, number))
    first = plain_full(store, folders)
    all_other_inodes(root)
    (root / "new").write_bytes(b"new")
    (root / "3").write_bytes(some_bytes(1003, 1000))  # of the same size and time
    os.utime(root / "3", ns=(3, 3))
    before = tree(root)
    found, warnings = plain_differential(store, folders, first)
    assert warnings == ()
    assert found.base is not None
    stored = {n for n, entry in entries_of(store, found).items() if not entry.base}
    assert stored == {"new", "3"}
    assert (found.file_count, found.size_bytes) == (BATCH + 11, (BATCH + 10) * 1000 + 3)
    assert tree(stage(store, found, folders)) == before


@pytest.mark.parametrize("new", [0, 30_000])
def test_row_130_the_figures_of_an_outgrown_base_are_true(folders: ClaimFolders, folder_store: Store, new: int) -> None:
    """With 30,000 new bytes it is known without a read of the others."""
    root = folders.filestore
    for number in range(20):
        (root / f"{number}").write_bytes(some_bytes(number, 1000))
        os.utime(root / f"{number}", ns=(number, number))
    first = plain_full(folder_store, folders)
    all_other_inodes(root)
    for number in range(12):
        (root / f"{number}").write_bytes(some_bytes(number + 1000, 1000))
        os.utime(root / f"{number}", ns=(number, number))
    (root / "new").write_bytes(bytes(new))
    before = tree(root)
    found, warnings = plain_differential(folder_store, folders, first)
    assert found.base is None
    assert (f"{human(30_000)} of {human(50_000)}" if new else f"{human(12_000)} of {human(20_000)}") in warnings[0]
    assert found.file_count == 21
    assert tree(stage(folder_store, found, folders)) == before


def test_the_share_is_of_the_bytes() -> None:
    assert not outgrown(0, 0)
    assert not outgrown(500, 500)
    assert outgrown(501, 500)
    assert outgrown(1, 0)


def test_sorted_runs_on_disk(folders: ClaimFolders, folder_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sorting, "RUN_BYTES", 200)
    for number in range(200):
        (folders.filestore / f"file {number}").write_bytes(bytes(number))
    first = plain_full(folder_store, folders)
    for number in range(0, 200, 9):
        (folders.filestore / f"file {number}").write_bytes(bytes(3))
    before = tree(folders.filestore)
    found, _ = plain_differential(folder_store, folders, first)
    assert found.base is not None
    assert tree(stage(folder_store, found, folders)) == before


def test_a_filestore_that_cannot_be_linked(
    folders: ClaimFolders, folder_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The live files are compared."""
    make_tree(folders.filestore)
    first = plain_full(folder_store, folders)
    (folders.filestore / "new").write_bytes(b"new")
    before = tree(folders.filestore)
    no_links(monkeypatch)
    found, warnings = plain_differential(folder_store, folders, first)
    assert any("no hard links" in warning for warning in warnings)
    assert found.base is not None
    assert tree(stage(folder_store, found, folders)) == before


# --- hostile indexes of differentials --------------------------------------------------------------------------


#: Lines of a differential's index that name what is not theirs.
LYING = {
    "another pack of the base": lambda line: line.replace(b'"pack":"pack-0000', b'"pack":"pack-0007'),
    "a path to a pack": lambda line: line.replace(b'"pack":"pack', b'"pack":"../../a1/filestore/pack'),
    "a pack of the base as its own": lambda line: line.replace(b',"base":true', b""),
    "its own pack as one of the base": lambda line: line if b'"base"' in line else line[:-1] + b',"base":true}',
    "base is no flag": lambda line: line.replace(b'"base":true', b'"base":1'),
}


@pytest.mark.parametrize("how", LYING)
def test_an_index_names_listed_packs_only(site: Site, other: Site, folder_store: Store, how: str) -> None:
    site.fill(60)
    first = full(site, folder_store)
    site.add(b"new")
    found = differential(site, folder_store, first)
    lying = rewritten(folder_store, found, lambda lines: [LYING[how](line) for line in lines])
    with pytest.raises(Corrupt):
        other.add_missing(folder_store, lying)
    assert other.on_disk() == {}


@pytest.mark.parametrize("how", ["unlisted", "in a full"])
def test_a_manifest_lists_the_packs_of_the_base(site: Site, other: Site, folder_store: Store, how: str) -> None:
    site.fill(60)
    first = full(site, folder_store)
    site.add(b"new")
    found = differential(site, folder_store, first)
    assert found.base is not None
    fewer = found.base.model_copy(update={"packs": found.base.packs[1:]})
    lying = found.model_copy(update={"base": fewer if how == "unlisted" else None})
    with pytest.raises(Corrupt, match="of the base, which is not in the manifest"):
        other.add_missing(folder_store, lying)
    assert other.on_disk() == {}


def test_a_pack_of_the_base_that_is_damaged_is_found(site: Site, other: Site, folder_store: Store) -> None:
    site.fill(40)
    first = full(site, folder_store)
    site.add(b"new")
    found = differential(site, folder_store, first)
    assert found.base is not None
    assert folder_store.local_root is not None
    path = folder_store.local_root / found.base.packs[0].key
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(Corrupt):
        other.add_missing(folder_store, found)
    assert other.on_disk() == {}


def test_a_lost_pack_of_the_base_ends_the_restore(site: Site, other: Site, store: Store) -> None:
    site.fill(40)
    first = full(site, store)
    site.add(b"new")
    found = differential(site, store, first)
    assert found.base is not None
    store.delete([found.base.packs[0].key])
    with pytest.raises(Corrupt, match=found.base.packs[0].key):
        other.add_missing(store, found)
    assert other.on_disk() == {}


# --- any changes -----------------------------------------------------------------------------------------------

_NAMES = st.sampled_from(["a", "b", "a b", "dir/a", "dir/b", "dir/a/x", "a\udcff", "ü", "zz"])
_CHANGES = st.lists(
    st.tuples(st.sampled_from(["write", "remove", "chmod", "touch", "link"]), _NAMES, st.integers(0, 3)), max_size=12
)


def change_tree(root: Path, change: tuple[str, str, int]) -> None:
    """One change; what is in its place before is removed."""
    what, name, value = change
    path = root / name
    if what in ("chmod", "touch"):
        if path.is_file() and not path.is_symlink():
            path.chmod(0o600 + value) if what == "chmod" else os.utime(path, ns=(value, value))
        return
    for above in list(path.relative_to(root).parents)[-2::-1]:
        if (root / above).is_file() or (root / above).is_symlink():
            (root / above).unlink()
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    if what == "write":
        path.write_bytes(b"%d" % value * value * 10)
    elif what == "link":
        path.symlink_to(f"target {value}")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=_CHANGES, after=_CHANGES)
def test_any_changes_of_a_folder(
    tmp_path_factory: pytest.TempPathFactory, before: list[tuple[str, str, int]], after: list[tuple[str, str, int]]
) -> None:
    place = tmp_path_factory.mktemp("any")
    folders = ClaimFolders(place / "claim", "app/files", ENVIRONMENT)
    folders.filestore.mkdir(parents=True)
    store = open_store((place / "store").as_uri())
    (folders.filestore / "weight").write_bytes(bytes(5000))  # so that nothing outgrows the base
    for change in before:
        change_tree(folders.filestore, change)
    first = plain_full(store, folders)
    for change in after:
        change_tree(folders.filestore, change)
    expected = tree(folders.filestore)
    found, _ = plain_differential(store, folders, first)
    assert found.base is not None
    assert tree(stage(store, found, folders)) == expected
    shutil.rmtree(place)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    before=st.sets(st.integers(0, 30), max_size=20),
    after=st.sets(st.integers(0, 30), max_size=20),
    lost=st.sets(st.integers(0, 30), max_size=3),
)
def test_any_changes_of_an_odoo_filestore(
    tmp_path_factory: pytest.TempPathFactory, before: set[int], after: set[int], lost: set[int]
) -> None:
    """`lost`: files of the base that vanish although the database names them."""
    place = tmp_path_factory.mktemp("any")
    site, other = new_site(place / "claim"), new_site(place / "other")
    store = open_store((place / "store").as_uri())
    for number in before:
        site.add(b"file %d" % number * number)
    first = full(site, store)
    gone = {site.add(b"file %d" % n * n) for n in before - after}
    for name in gone:
        site.unlink(name)
        del site.contents[name]
    for number in after:
        site.add(b"file %d" % number * number)
    for number in lost & before & after:
        name = hashlib.sha1(b"file %d" % number * number, usedforsecurity=False).hexdigest()
        (site.filestore / name[:2] / name).unlink(missing_ok=True)
    found = differential(site, store, first)
    assert found.file_count == len(site.contents)
    other.add_missing(store, found)
    assert other.on_disk() == site.contents
    shutil.rmtree(place)
