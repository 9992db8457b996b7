"""Hold sets: what garbage collection takes comes back."""

import errno
import hashlib
import os
import shutil
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ocore_crds import conditions
from ocore_mover.errors import MoverError
from ocore_mover.filestore.odoo import hold as hold_module
from ocore_mover.filestore.odoo import restore as restore_module
from ocore_mover.store import Store
from support.mover.filestore import ROLLBACK, Site, new_site, no_links, some_bytes


def test_what_is_unlinked_is_linked_again(site: Site) -> None:
    site.fill(100)
    hold = site.hold
    assert not hold.exists
    assert hold.hold_all() == 100
    assert hold.exists
    assert hold.hold_all() == 0
    gone = site.names[::3]
    inodes = {name: (site.filestore / name).stat().st_ino for name in gone}
    for name in gone:
        site.unlink(name)
    assert site.hold.relink(site.names) == len(gone)  # found again by its name
    assert site.on_disk() == site.contents
    assert {name: (site.filestore / name).stat().st_ino for name in gone} == inodes
    assert hold.relink(site.names) == 0
    assert hold.remove()
    assert not hold.remove()
    assert site.own_folders() == []
    assert site.on_disk() == site.contents


def test_whole_folders_that_are_gone_come_back(site: Site) -> None:
    site.fill(30)
    site.hold.hold_all()
    shutil.rmtree(site.filestore)
    site.filestore.mkdir()
    assert site.hold.relink(site.names) == 30
    assert site.on_disk() == site.contents


def test_row_69_left_over_files_are_put_on_the_checklist(site: Site) -> None:
    site.fill(300)
    site.hold.hold_all()
    new = site.add(b"written after the switch")
    gone = site.names[1]
    site.unlink(gone)
    live = [name for name in site.names if name not in site.names[::7]]
    left = set(site.names[::7]) - {gone, new}
    assert site.hold.give_up(sorted([*live, "s3://bucket/x"])) == len(left)
    checklist = site.filestore / "checklist"
    assert {str(p.relative_to(checklist)) for p in checklist.glob("*/*")} == left
    assert all((site.filestore / name).exists() for name in left)
    assert site.hold.give_up(sorted(live)) == len(left)  # again, after a kill


def test_row_69_without_a_name_in_the_database_nothing_is_left_over(site: Site) -> None:
    """Its table may be missing, or read by another schema: no file is proposed for deletion."""
    site.fill(10)
    site.hold.hold_all()
    assert site.hold.give_up(["s3://bucket/x"]) == 0
    assert not (site.filestore / "checklist").exists()


def test_extend_adds_what_is_new(site: Site) -> None:
    site.fill(20)
    hold = site.hold
    hold.hold_all()
    new = site.add(b"written while the restore ran")
    assert hold.hold_all() == 1
    site.unlink(new)
    assert hold.relink([new]) == 1


def test_settled_folders_are_not_read_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.fill(60)
    for folder in site.filestore.iterdir():
        os.utime(folder, (1_600_000_000, 1_600_000_000))
    hold = site.hold
    hold.hold_all()
    new = site.add(b"one more")
    listed: list[int] = []
    real = hold_module.names_in

    def spy(fd: int) -> list[str]:
        listed.append(fd)
        return real(fd)

    monkeypatch.setattr(hold_module, "names_in", spy)
    assert hold.hold_all() == 1
    assert len(listed) == 3  # the filestore itself; the changed folder and its held twin
    held = site.folders.hold(ROLLBACK) / new[:2]
    assert {path.name for path in held.iterdir()} == {path.name for path in (site.filestore / new[:2]).iterdir()}


def test_a_settled_folder_that_changes_is_read_again(site: Site) -> None:
    name = site.add(b"first")
    folder = (site.filestore / name).parent
    os.utime(folder, (1_600_000_000, 1_600_000_000))
    hold = site.hold
    assert (hold.hold_all(), hold.hold_all()) == (1, 0)
    other = folder / f"{folder.name}{'0' * 38}"
    other.write_bytes(b"second")
    assert (hold.hold_all(), hold.hold_all()) == (1, 0)
    os.utime(folder, (1_600_000_001, 1_600_000_001))
    other.rename(folder / f"{folder.name}{'1' * 38}")
    os.utime(folder, (1_500_000_000, 1_500_000_000))  # a backup tool sets times back
    assert hold.hold_all() == 1


def test_a_folder_with_a_time_of_the_seventies_gets_no_time_before_them(site: Site) -> None:
    """As in an image that was built reproducibly. Not every file system has such times."""
    name = site.add(b"first")
    os.utime((site.filestore / name).parent, (1, 1))
    assert site.hold.hold_all() == 1
    assert (site.folders.hold(ROLLBACK) / name[:2]).stat().st_mtime > 0


def test_a_file_that_vanishes_as_it_is_held_prevents_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Garbage collection has removed it: no row names it."""
    names = [f"ab/ab{number:038d}" for number in range(3)]
    (site.filestore / "ab").mkdir()
    for name in names:
        (site.filestore / name).touch()
    link, gone = hold_module.link, []

    def collected(name: str, *args: Any) -> None:
        if not gone:
            gone.append(f"ab/{name}")
            site.unlink(gone[0])
        link(name, *args)

    monkeypatch.setattr(hold_module, "link", collected)
    # Not the links that show whether the file system has them.
    monkeypatch.setattr(hold_module, "_require_links", lambda _: None)
    assert site.hold.hold_all() == 2
    assert sorted([*site.hold.held(), *gone]) == names


def test_young_folders_are_read_again(site: Site) -> None:
    """Within one tick of the clock a folder can get another file and keep its time stamp."""
    name = site.add(b"first")
    folder = (site.filestore / name).parent
    hold = site.hold
    hold.hold_all()
    stamp = folder.stat().st_mtime_ns
    other = f"{name[:2]}/{name[:2]}{'0' * 38}"
    (site.filestore / other).write_bytes(b"second")
    os.utime(folder, ns=(stamp, stamp))
    assert hold.hold_all() == 1


def test_a_torn_file_of_a_killed_application_is_replaced(site: Site) -> None:
    site.fill(10)
    site.hold.hold_all()
    name = site.names[4]
    data = site.contents[name]
    site.unlink(name)
    (site.filestore / name).write_bytes(data[: len(data) // 2])
    assert site.hold.relink(site.names) == 1
    assert site.on_disk() == site.contents


@pytest.mark.parametrize("elder", [False, True])
@pytest.mark.parametrize("longer", [False, True])
def test_a_file_of_another_size_is_replaced(site: Site, *, elder: bool, longer: bool) -> None:
    """Whatever its inode's number is."""
    spare = site.claim / "spare"
    if elder:
        spare.touch()
    name = site.add(b"as it was")
    site.hold.hold_all()
    spare.write_bytes(b"as it was, and more" if longer else b"as it")
    spare.rename(site.filestore / name)
    assert site.hold.relink([name]) == 1
    assert site.on_disk() == site.contents


def test_a_symbolic_link_comes_back_as_one(site: Site, tmp_path: Path) -> None:
    """It is not followed: what it names is outside of the filestore."""
    name = site.add(b"x")
    outside = tmp_path / "outside"
    outside.write_bytes(b"of someone else")
    path = site.filestore / name
    path.unlink()
    path.symlink_to(outside)
    site.hold.hold_all()
    path.unlink()
    assert site.hold.relink([name]) == 1
    assert path.is_symlink()
    path.unlink()
    path.write_bytes(b"of someone else")
    assert site.hold.relink([name]) == 1
    assert path.is_symlink()


def test_a_file_that_was_written_again_stays(site: Site) -> None:
    name = site.add(b"uploaded twice")
    site.hold.hold_all()
    site.unlink(name)
    site.add(b"uploaded twice")
    inode = (site.filestore / name).stat().st_ino
    assert site.hold.relink([name]) == 0
    assert (site.filestore / name).stat().st_ino == inode


def test_names_that_nobody_has_are_told_after_the_others_are_back(site: Site) -> None:
    site.fill(10)
    site.hold.hold_all()
    lost = f"ab/ab{'0' * 38}"
    site.unlink(site.names[0])
    with pytest.raises(MoverError) as error:
        site.hold.relink([*site.names, lost])
    assert error.value.reason == conditions.ATTACHMENTS_MISSING
    assert lost in error.value.message
    assert "1 files" in error.value.message
    assert site.on_disk() == site.contents


def test_names_that_lead_elsewhere_are_not_followed(site: Site, tmp_path: Path) -> None:
    site.fill(3)
    (tmp_path / "secret").write_bytes(b"x")
    site.hold.hold_all()
    assert site.hold.relink(["../../../secret", "/etc/passwd", "s3://elsewhere/x", ""]) == 0


def test_other_folders_of_the_application_are_not_held(site: Site) -> None:
    site.fill(3)
    (site.filestore / "checklist" / "ab").mkdir(parents=True)
    (site.filestore / "checklist" / "ab" / "x").touch()
    (site.filestore / "notes.txt").touch()
    assert site.hold.hold_all() == 3


def test_restored_files_are_held_before_they_are_seen(site: Site, folder_store: Store) -> None:
    site.fill(40)
    artifact = site.store(folder_store)
    for name in site.names[:10]:
        site.unlink(name)
    hold = site.hold
    hold.hold_all()
    assert site.add_missing(folder_store, artifact, hold).files_added == 10
    for name in site.names:
        site.unlink(name)  # the live database names none of them
    assert hold.relink(site.names) == 40
    assert site.on_disk() == site.contents


def test_a_file_that_came_before_restored_ones_is_held(
    site: Site, folder_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The held folder and the filestore's get their restored files in the same tick of the clock."""
    site.fill(20)
    artifact = site.store(folder_store)
    for name in site.names:
        site.unlink(name)
    hold = site.hold
    hold.hold_all()
    folder = site.names[0].partition("/")[0]
    new = hashlib.sha1(b"new", usedforsecurity=False).hexdigest()
    (site.filestore / folder / f"{folder}{new[2:]}").write_bytes(b"written while the restore ran")
    for call in ("link", "rename"):
        monkeypatch.setattr(os, call, _in_one_tick(getattr(os, call)))
    site.add_missing(folder_store, artifact, hold)
    assert hold.hold_all() == 1


def _in_one_tick(call: Callable[..., None]) -> Callable[..., None]:
    def changed(*names: str, dst_dir_fd: int, **options: Any) -> None:
        call(*names, dst_dir_fd=dst_dir_fd, **options)
        os.utime(dst_dir_fd, (1_700_000_000, 1_700_000_000))

    return changed


def test_row_56_a_folder_that_changes_as_its_twin_is_made_is_held(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both get the same time stamp: within one tick of the clock, which is some milliseconds. Found as a file that a
    rollback had lost."""
    name = site.add(b"named by the snapshot")
    stamp = time.time_ns()
    os.utime((site.filestore / name).parent, ns=(stamp, stamp))
    mkdir = os.mkdir

    def in_one_tick(path: str, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        mkdir(path, mode, dir_fd=dir_fd)
        os.utime(path, ns=(stamp, stamp), dir_fd=dir_fd)

    monkeypatch.setattr(os, "mkdir", in_one_tick)
    assert site.hold.hold_all() == 1
    site.unlink(name)
    assert site.hold.relink([name]) == 1


@pytest.mark.parametrize("linked", [True, False], ids=["links", "copies"])
def test_row_56_a_file_that_was_there_only_while_it_was_checked_is_held(
    site: Site, folder_store: Store, monkeypatch: pytest.MonkeyPatch, *, linked: bool
) -> None:
    """The application writes a file again that the snapshot names, after the set was made; garbage collection removes
    it before the database is checked."""
    site.fill(20)
    artifact = site.store(folder_store)
    if not linked:
        no_links(monkeypatch)
    hold = site.hold
    for name in site.names:
        site.unlink(name)
    hold.hold_all()
    for name in site.names:
        (site.filestore / name).write_bytes(site.contents[name])
    assert site.add_missing(folder_store, artifact, hold).files_checked == 20
    assert list(hold.held()) == sorted(site.names)
    for name in site.names:
        site.unlink(name)
    assert hold.relink(site.names) == 20
    assert site.on_disk() == site.contents


def test_an_empty_filestore_without_hard_links_gets_its_files(
    site: Site, folder_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.fill(5)
    artifact = site.store(folder_store)
    for name in site.names:
        site.unlink(name)
    no_links(monkeypatch)
    hold = site.hold
    hold.hold_all()
    assert site.add_missing(folder_store, artifact, hold).files_added == 5
    assert (hold.consists_of_copies, site.on_disk()) == (True, site.contents)


def test_a_torn_file_that_is_held_is_replaced_by_the_one_that_was_checked(site: Site, folder_store: Store) -> None:
    """The application was killed while it wrote the one that is held."""
    name = site.add(b"a file that was torn")
    artifact = site.store(folder_store)
    (site.filestore / name).write_bytes(b"a file")
    hold = site.hold
    hold.hold_all()
    site.unlink(name)
    (site.filestore / name).write_bytes(site.contents[name])
    assert site.add_missing(folder_store, artifact, hold).files_checked == 1
    assert hold.relink([name]) == 0
    assert site.on_disk() == site.contents


def test_a_file_that_vanishes_as_it_is_checked_is_restored(
    site: Site, folder_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.fill(20)
    artifact = site.store(folder_store)
    hold = site.hold
    for name in site.names:
        site.unlink(name)
    hold.hold_all()
    for name in site.names:
        (site.filestore / name).write_bytes(site.contents[name])
    examine = restore_module._examine

    def collected(entry: Any, *args: Any) -> str:
        found = examine(entry, *args)
        site.unlink(entry.name)
        return found

    monkeypatch.setattr(restore_module, "_examine", collected)
    assert site.add_missing(folder_store, artifact, hold).files_added == 20
    assert site.on_disk() == site.contents


@pytest.mark.parametrize("seconds", [1, 2])
def test_a_coarse_clock_of_the_file_system(site: Site, monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    """The folder, and the links in the held one, have the same time stamp: a further file leaves it as it is."""
    (name,) = (site.add(b"first"),)
    folder = (site.filestore / name).parent
    stamp = (time.time_ns() // 10**9 - seconds) * 10**9
    os.utime(folder, ns=(stamp, stamp))
    link = os.link

    def in_one_tick(*names: str, dst_dir_fd: int, **options: Any) -> None:
        link(*names, dst_dir_fd=dst_dir_fd, **options)
        os.utime(dst_dir_fd, ns=(stamp, stamp))

    monkeypatch.setattr(os, "link", in_one_tick)
    assert site.hold.hold_all() == 1
    (folder / f"{folder.name}{'0' * 38}").write_bytes(b"second")
    os.utime(folder, ns=(stamp, stamp))
    assert site.hold.hold_all() == 1


def test_without_hard_links_copies_of_what_is_named_are_held(
    site: Site, folder_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.fill(30)
    artifact = site.store(folder_store)
    unnamed = site.add(b"named by no row")
    torn = f"ab/ab{'1' * 38}"
    (site.filestore / "ab").mkdir(exist_ok=True)
    (site.filestore / torn).write_bytes(b"half")
    named = [name for name in site.names if name != unnamed]
    restored_only = named[:5]
    for name in restored_only:
        site.unlink(name)
    no_links(monkeypatch)
    hold = site.hold
    assert hold.hold_all(lambda: sorted([*named[5:], torn])) == 25
    assert hold.hold_all(lambda: named[5:]) == 0
    site.add_missing(folder_store, artifact, hold)
    for name in site.names:
        site.unlink(name)
    assert site.hold.relink(named) == 30
    with pytest.raises(MoverError):
        hold.relink([unnamed])
    assert {name: site.on_disk()[name] for name in named} == {name: site.contents[name] for name in named}
    assert hold.remove()


def test_without_a_filestore(site: Site) -> None:
    site.filestore.rmdir()
    with pytest.raises(MoverError) as error:
        site.hold.hold_all()
    assert error.value.reason == conditions.FILESTORE_NOT_FOUND


def held_files(site: Site) -> set[str]:
    """Everything in the hold set, temporary files included."""
    root = site.folders.hold(ROLLBACK)
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("linked", [True, False], ids=["links", "copies"])
def test_a_set_holds_the_applications_files_and_nothing_else(
    site: Site, monkeypatch: pytest.MonkeyPatch, *, linked: bool
) -> None:
    site.fill(20)
    folder = site.names[0].partition("/")[0]
    (site.filestore / folder / "notes.txt").write_bytes(b"not an attachment")
    (site.filestore / "old").mkdir()
    if not linked:
        no_links(monkeypatch)
    hold = site.hold
    for expected in (20, 0):
        assert hold.hold_all() == expected
        assert hold.consists_of_copies == site.hold.consists_of_copies == (not linked)
        assert held_files(site) - {".copies"} == set(site.names)
        assert list(hold.held()) == list(site.names)


def test_a_copy_has_the_mode_of_its_file_and_a_torn_one_is_not_held(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_links(monkeypatch)
    monkeypatch.setattr(hold_module, "COPY_CHUNK", 3)
    site.fill(4)
    for name, mode in zip(site.names, (0o600, 0o640, 0o777, 0o444), strict=True):
        (site.filestore / name).chmod(mode)
    torn = site.add(b"still written")
    (site.filestore / torn).write_bytes(b"still wri")
    absent = [f"{folder}/{folder}{'0' * 38}" for folder in (torn[:2], "zz")]
    assert site.hold.hold_all(lambda: sorted([*site.names, *absent])) == 4
    held = held_files(site)
    assert held == {".copies", *site.names} - {torn}
    root = site.folders.hold(ROLLBACK)
    for name in held - {".copies"}:
        assert (root / name).stat().st_mode == (site.filestore / name).stat().st_mode
        assert (root / name).read_bytes() == site.contents[name]


def test_kept_are_the_names_that_are_in_the_filestore_or_held(site: Site) -> None:
    site.fill(10)
    site.hold.hold_all()
    new = site.add(b"not held yet")
    for name in site.names[::2]:
        if name != new:
            site.unlink(name)
    lost, elsewhere = f"{new[:2]}/{new[:2]}{'f' * 38}", f"00/00{'0' * 38}"
    assert list(site.hold.kept(sorted([*site.names, lost, elsewhere, "s3://bucket/x"]))) == list(site.names)


def test_names_are_spooled_to_the_claim(site: Site) -> None:
    site.fill(10)
    hold = site.hold
    hold.hold_all()
    with hold.spool(sorted([*site.names, "s3://bucket/x"])) as spooled:
        assert tuple(spooled) == site.names
    with pytest.raises(MoverError, match="not sorted"):
        hold.spool(reversed(site.names))
    assert held_files(site) == set(site.names)


def test_many_lost_files_are_counted_and_a_few_are_named(site: Site) -> None:
    """In several folders, of which the set has only some."""
    site.fill(10)
    site.hold.hold_all()
    folders = sorted({name[:2] for name in site.names} | {"00", "ff"})
    lost = [f"{folder}/{folder}{number:038d}" for folder in folders for number in range(2)]
    with pytest.raises(MoverError) as error:
        site.hold.relink(sorted([*site.names, *lost]))
    assert f"{len(lost)} files that the database names" in error.value.message
    named = [name for name in lost if name in error.value.message]
    assert named == lost[: hold_module.LISTED]


def test_a_file_of_a_folder_that_is_not_held_is_not_lost(site: Site) -> None:
    site.hold.hold_all()
    assert site.hold.relink([site.add(b"written after the set was made")]) == 0


@pytest.mark.parametrize("linked", [True, False], ids=["links", "copies"])
@pytest.mark.parametrize("torn", [b"held when", b"held when it was torn, and more"])
def test_keeping_holds_a_whole_file_and_says_where_it_cannot(
    site: Site, monkeypatch: pytest.MonkeyPatch, torn: bytes, *, linked: bool
) -> None:
    if not linked:
        no_links(monkeypatch)
    gone, other_size = site.add(b"gone"), site.add(b"held when it was torn")
    hold = site.hold
    site.unlink(gone)
    hold.hold_all()
    late = site.add(b"written later")
    held = site.folders.hold(ROLLBACK) / other_size
    held.unlink()
    held.write_bytes(torn)
    with hold.keeping() as keep:
        assert not keep(gone, 4)
        assert not keep(f"ab/ab{'0' * 38}", 4)
        assert keep(late, len(site.contents[late]))
        assert keep(other_size, len(site.contents[other_size]))
        site.unlink(late)
        assert keep(late, len(site.contents[late]))  # held already
    assert held_files(site) - {".copies"} == {late, other_size}
    assert held.read_bytes() == site.contents[other_size]
    assert hold.relink([late]) == 1


def test_a_symbolic_link_is_no_file_that_is_held(site: Site, tmp_path: Path) -> None:
    """A file has come in its place since."""
    name = site.add(b"x")
    hold = site.hold
    hold.hold_all()
    held = site.folders.hold(ROLLBACK) / name
    held.unlink()
    (tmp_path / "outside").write_bytes(b"y")
    held.symlink_to(tmp_path / "outside")
    with hold.keeping() as keep:
        assert keep(name, 1)
    assert not held.is_symlink()


@pytest.mark.parametrize("linked", [True, False], ids=["links", "copies"])
def test_restored_files_that_are_held_twice_leave_no_other_name(
    site: Site, monkeypatch: pytest.MonkeyPatch, *, linked: bool
) -> None:
    """Renaming one link of a file over another one of it does nothing."""
    if not linked:
        no_links(monkeypatch)
    name = site.add(b"restored")
    hold = site.hold
    hold.hold_all(list)
    folder, _, file = name.partition("/")
    fd = os.open(site.filestore / folder, os.O_RDONLY)
    for _ in range(2):
        hold.add_verified(fd, folder, [file])
        assert held_files(site) - {".copies"} == {name}
    os.close(fd)


def test_the_checklist_gets_the_applications_files_only(site: Site) -> None:
    """Another application's file in the same folder is never proposed for deletion, nor one that has a row."""
    kept, left = site.add(b"has a row"), site.add(b"has none")
    hold = site.hold
    hold.hold_all()
    for root in (site.filestore, site.folders.hold(ROLLBACK)):
        (root / left[:2] / "notes.txt").write_bytes(b"")
    before = f"00/00{'0' * 38}"  # in a folder that is not held
    assert hold.give_up(sorted([before, kept])) == 1
    checklist = site.filestore / "checklist"
    assert [path.relative_to(checklist).as_posix() for path in checklist.glob("*/*")] == [left]
    os.umask(umask := os.umask(0))
    assert stat.S_IMODE((checklist / left).stat().st_mode) == 0o660 & ~umask


def test_one_content_in_two_folders_is_two_files(site: Site) -> None:
    """Of an Odoo before 16 and since. A row that names one of them says nothing about the other, which is held."""
    sha1 = hashlib.sha1(b"both", usedforsecurity=False).hexdigest()
    held = f"{sha1[:3]}/{sha1}"
    (site.filestore / sha1[:3]).mkdir()
    (site.filestore / held).write_bytes(b"both")
    assert site.hold.hold_all() == 1
    assert site.hold.give_up([site.add(b"both")]) == 1
    assert (site.filestore / "checklist" / held).exists()


def test_a_claim_that_fails_is_named_with_what_was_done(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.fill(3)

    def failing(number: int) -> Callable[..., None]:
        def fail(*_: Any, **__: Any) -> None:
            raise OSError(number, os.strerror(number), "the name")

        return fail

    for number, reason in (
        (errno.ENOSPC, conditions.NO_SPACE),
        (errno.ENOENT, conditions.FILESTORE_NOT_FOUND),
        (errno.EPERM, conditions.FILESTORE_NOT_READABLE),
        (errno.EIO, conditions.FILESTORE_NOT_READABLE),
    ):
        monkeypatch.setattr(hold_module, "ensure_folder", failing(number))
        with pytest.raises(MoverError, match="cannot hold the filestore's files") as raised:
            site.hold.hold_all()
        assert raised.value.reason == reason
    assert held_files(site) == set()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["write", "collect", "extend"]), st.integers(0, 15)), min_size=1, max_size=30
    )
)
def test_nothing_that_was_once_held_is_lost(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    """Writes, garbage collection and extensions in any order: what an extension has seen comes back."""
    site = new_site(tmp_path_factory.mktemp("law"))
    site.fill(4)
    hold = site.hold
    hold.hold_all()
    held = set(site.names)
    for step, number in steps:
        data = some_bytes(number, 50)
        digest = hashlib.sha1(data, usedforsecurity=False).hexdigest()
        name = f"{digest[:2]}/{digest}"
        if step == "write":
            if not (site.filestore / name).exists():  # as Odoo does
                site.add(data)
        elif step == "collect":
            (site.filestore / name).unlink(missing_ok=True)
        else:
            hold.hold_all()
            held |= set(site.on_disk())
    hold.relink(held)
    on_disk = site.on_disk()
    assert {name: on_disk[name] for name in held} == {name: site.contents[name] for name in held}
    shutil.rmtree(site.claim)
