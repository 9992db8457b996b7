"""Layout Plain: the staged folder is switched in, and back, from wherever a switch was killed, by an exchange of names
and without one, whatever an application puts in the filestore's place."""

import contextlib
import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ocore_crds import conditions, failpoints
from ocore_mover import disk
from ocore_mover.errors import MoverError
from ocore_mover.filestore.folders import ClaimFolders
from ocore_mover.filestore.plain import switch
from ocore_mover.filestore.plain.rollback import PlainKept
from ocore_mover.store import Store
from support.mover.filestore import ROLLBACK, counter
from support.mover.plain_tree import stage, take


@pytest.fixture(params=["exchange", "renames"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How the names change: the file system of this test can exchange two; others cannot."""
    chosen: str = request.param
    if chosen == "renames":
        monkeypatch.setattr(disk, "exchange", lambda *_: False)
    return chosen


@pytest.fixture
def staged(folders: ClaimFolders, folder_store: Store) -> ClaimFolders:
    (folders.filestore / "old").write_bytes(b"old")
    artifact, _ = take(folder_store, folders)
    (folders.filestore / "old").unlink()
    (folders.filestore / "new").write_bytes(b"new")
    stage(folder_store, artifact, folders)
    return folders


def live(folders: ClaimFolders) -> list[str]:
    return sorted(path.name for path in folders.filestore.iterdir())


@pytest.mark.usefixtures("way")
def test_switch_and_back(staged: ClaimFolders) -> None:
    assert switch.position(staged, ROLLBACK) == "Old"
    switch.switch_back(staged, ROLLBACK)
    for _ in range(2):
        switch.switch(staged, ROLLBACK)
        assert live(staged) == ["old"]
        assert switch.position(staged, ROLLBACK) == "New"
    for _ in range(2):
        switch.switch_back(staged, ROLLBACK)
        assert live(staged) == ["new"]
        assert switch.position(staged, ROLLBACK) == "Old"
    switch.switch(staged, ROLLBACK)
    assert switch.remove_previous(staged, ROLLBACK)
    assert not switch.remove_previous(staged, ROLLBACK)
    assert not switch.remove_stage(staged, ROLLBACK)
    assert live(staged) == ["old"]
    assert switch.position(staged, ROLLBACK) == "Nothing"
    assert not (staged.claim / ".ocore").exists()


def killed(staged: ClaimFolders, monkeypatch: pytest.MonkeyPatch, first: str) -> None:
    """A switch, or a switch back, that ends between its two changes of names."""
    if first == "switch_back":
        switch.switch(staged, ROLLBACK)
    with monkeypatch.context() as patch:
        patch.setenv(failpoints.ENVIRONMENT_VARIABLE, "switch-filestore-moved=error")
        patch.setattr(failpoints, "_fired", set())
        with pytest.raises(failpoints.FailpointError):
            getattr(switch, first)(staged, ROLLBACK)


@pytest.mark.parametrize("then", ["switch", "switch_back"])
@pytest.mark.parametrize("first", ["switch", "switch_back"])
@pytest.mark.parametrize("subpath", [False, True])
def test_a_switch_killed_between_its_renames(
    staged: ClaimFolders, monkeypatch: pytest.MonkeyPatch, first: str, then: str, subpath: bool
) -> None:
    monkeypatch.setattr(disk, "exchange", lambda *_: False)
    killed(staged, monkeypatch, first)
    assert not staged.filestore.exists()
    if subpath:
        staged.filestore.mkdir()  # the kubelet did
    assert switch.position(staged, ROLLBACK) == "Between"
    for remove in (switch.remove_previous, switch.remove_stage):
        with pytest.raises(MoverError, match="between its two renames"):
            remove(staged, ROLLBACK)
    getattr(switch, then)(staged, ROLLBACK)
    assert live(staged) == (["old"] if then == "switch" else ["new"])
    assert switch.set_aside(staged, ROLLBACK) == ()


@pytest.mark.parametrize("then", ["switch", "switch_back", "remove"])
@pytest.mark.parametrize("first", ["switch", "switch_back"])
def test_row_126_a_switch_killed_after_its_exchange(
    staged: ClaimFolders, monkeypatch: pytest.MonkeyPatch, first: str, then: str
) -> None:
    """The filestore was never missing. The journal says which folder is which, and no part of it is removed."""
    killed(staged, monkeypatch, first)
    position, content = ("New", "old") if first == "switch" else ("Old", "new")
    assert switch.position(staged, ROLLBACK) == position
    assert live(staged) == [content]
    (staged.filestore / "later").touch()  # the application runs again
    if then == "remove":
        wrong = switch.remove_stage if position == "New" else switch.remove_previous
        assert not wrong(staged, ROLLBACK)
        right = switch.remove_previous if position == "New" else switch.remove_stage
        assert right(staged, ROLLBACK)
        assert live(staged) == sorted((content, "later"))
        assert not (staged.claim / ".ocore").exists()
        return
    getattr(switch, then)(staged, ROLLBACK)
    assert live(staged) == (sorted((content, "later")) if then == first else ["new" if first == "switch" else "old"])
    assert [path.name for path in staged.own.iterdir()] == [
        (staged.stage if switch.position(staged, ROLLBACK) == "Old" else staged.previous)(ROLLBACK).name
    ]


def put_folder(path: Path) -> None:
    path.mkdir()
    (path / "upload").write_bytes(b"upload")


INTRUDERS: dict[str, Callable[[Path], object]] = {
    "folder": put_folder,
    "file": lambda path: path.write_bytes(b"upload"),
    "link": lambda path: path.symlink_to("elsewhere"),
    "dangling": lambda path: path.symlink_to("/nonexistent"),
}


@pytest.mark.parametrize("intruder", INTRUDERS)
@pytest.mark.parametrize("then", ["switch", "switch_back"])
@pytest.mark.parametrize("first", ["switch", "switch_back"])
def test_row_126_what_took_the_filestores_name_is_set_aside(
    staged: ClaimFolders, monkeypatch: pytest.MonkeyPatch, first: str, then: str, intruder: str
) -> None:
    monkeypatch.setattr(disk, "exchange", lambda *_: False)
    killed(staged, monkeypatch, first)
    INTRUDERS[intruder](staged.filestore)
    assert switch.position(staged, ROLLBACK) == "Between"
    getattr(switch, then)(staged, ROLLBACK)
    assert live(staged) == (["old"] if then == "switch" else ["new"])
    assert len(switch.set_aside(staged, ROLLBACK)) == 1
    aside = switch.set_aside(staged, ROLLBACK)[0]
    found = staged.claim / aside
    assert found.is_symlink() == (intruder in ("link", "dangling"))
    if intruder in ("folder", "file"):
        assert (found / "upload" if intruder == "folder" else found).read_bytes() == b"upload"
    for change in (switch.switch, switch.switch_back, switch.switch):
        change(staged, ROLLBACK)
    assert switch.remove_previous(staged, ROLLBACK)
    assert live(staged) == ["old"]
    assert switch.set_aside(staged, ROLLBACK) == (aside,)  # never removed


@pytest.mark.parametrize("times", [3, switch.INTRUDERS])
def test_row_126_an_application_that_makes_its_folder_again_and_again(
    staged: ClaimFolders, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    monkeypatch.setattr(disk, "exchange", lambda *_: False)
    real, left = os.rename, [times]

    def rename(source: str, target: str, **options: Any) -> None:
        real(source, target, **options)
        if left[0] and source == staged.filestore.name:
            left[0] -= 1
            put_folder(staged.filestore)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", rename)
        if times == switch.INTRUDERS:
            with pytest.raises(MoverError, match="Stop what writes to the claim") as error:
                switch.switch(staged, ROLLBACK)
            assert (error.value.reason, error.value.retryable) == (conditions.SWITCH_FAILED, True)
    switch.switch(staged, ROLLBACK)
    assert live(staged) == ["old"]
    assert len(switch.set_aside(staged, ROLLBACK)) == (times if times == switch.INTRUDERS else 0)


def test_row_126_a_restore_after_the_switch_has_begun_removes_nothing(
    staged: ClaimFolders, folder_store: Store, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """After the exchange the staged folder's name is that of the previous one, for a moment."""
    artifact, _ = take(folder_store, staged)
    killed(staged, monkeypatch, "switch")
    assert switch.position(staged, ROLLBACK) == ("New" if way == "exchange" else "Between")
    with pytest.raises(MoverError, match="has begun"):
        PlainKept(staged, ROLLBACK).restore(folder_store, artifact, counter(), jobs=1)
    switch.switch_back(staged, ROLLBACK)
    assert live(staged) == ["new"]


def test_row_126_a_filestore_that_its_application_made_again_after_the_exchange(
    staged: ClaimFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder of ours decides, not the application's."""
    killed(staged, monkeypatch, "switch")
    shutil.rmtree(staged.filestore)
    put_folder(staged.filestore)
    assert switch.position(staged, ROLLBACK) == "New"
    switch.switch_back(staged, ROLLBACK)
    assert live(staged) == ["new"]


def test_row_126_folders_that_are_not_those_of_the_journal_are_refused(
    staged: ClaimFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(staged, monkeypatch, "switch")
    for folder in (staged.filestore, staged.stage(ROLLBACK)):
        shutil.copytree(folder, folder.with_name("copy"))
        folder.rename(folder.with_name("original"))  # its inode stays in use
        folder.with_name("copy").rename(folder)
    for change in (switch.switch, switch.switch_back, switch.remove_stage):
        with pytest.raises(MoverError, match="other folders than before the switch"):
            change(staged, ROLLBACK)
    assert live(staged) == ["old"]


FALSE_JOURNALS = ("", "x y", "1 2", "-1 0", "9" * 64, "{live} {stage}", "{stage} {live}", "{live} {live}", "{stage} 1")


@pytest.mark.parametrize("kind", [*FALSE_JOURNALS, "pipe", "link", "folder"])
@pytest.mark.parametrize("first", ["switch", "switch_back", "remove_stage", "remove_previous", "check_not_begun"])
def test_row_126_a_false_journal_harms_nothing_but_this_filestore(staged: ClaimFolders, kind: str, first: str) -> None:
    """The application may have the user of the Jobs, and then writes to our folder. What it can cause by a journal it
    can do to its own filestore anyway: the content of one of its two folders is live. Nothing is deleted but them."""
    other = ClaimFolders(staged.claim, "neighbour", "99999999-0000-4000-8000-000000000009")
    for folder in (other.filestore, other.stage(ROLLBACK), other.previous(ROLLBACK)):
        folder.mkdir(parents=True)
        (folder / "theirs").write_bytes(b"theirs")
    journal = staged.swap(ROLLBACK)
    match kind:
        case "pipe":
            os.mkfifo(journal)
        case "link":
            journal.symlink_to(other.filestore / "theirs")
        case "folder":
            journal.mkdir()
        case _:
            inodes = {
                name: at.stat().st_ino for name, at in (("live", staged.filestore), ("stage", staged.stage(ROLLBACK)))
            }
            journal.write_text(kind.format(**inodes))
    for change in (first, "switch", "switch_back"):
        with contextlib.suppress(MoverError):
            getattr(switch, change)(staged, ROLLBACK)
    assert len(live(staged)) == 1, "one of both contents"
    for folder in (other.filestore, other.stage(ROLLBACK), other.previous(ROLLBACK)):
        assert (folder / "theirs").read_bytes() == b"theirs"
    if first not in ("remove_stage", "remove_previous"):
        found = {path.name for path in staged.claim.rglob("*") if path.name in ("old", "new")}
        assert found == {"old", "new"}


def test_a_switch_without_a_stage_is_refused(folders: ClaimFolders) -> None:
    with pytest.raises(MoverError) as error:
        switch.switch(folders, ROLLBACK)
    assert error.value.reason == conditions.SWITCH_FAILED
    switch.switch_back(folders, ROLLBACK)


def test_a_reader_in_the_folder_is_no_obstacle(staged: ClaimFolders) -> None:
    with (staged.filestore / "new").open("rb"):
        switch.switch(staged, ROLLBACK)
    assert live(staged) == ["old"]


@pytest.mark.parametrize("kept", ["stage", "previous"])
def test_a_filestore_that_is_missing_is_named(staged: ClaimFolders, kept: str) -> None:
    shutil.rmtree(staged.filestore)
    stage_folder, previous = staged.stage(ROLLBACK), staged.previous(ROLLBACK)
    if kept == "previous":
        stage_folder.rename(previous)
    states = ("exists", "does not exist") if kept == "stage" else ("does not exist", "exists")
    for function in (switch.switch, switch.switch_back, switch.remove_previous, switch.remove_stage):
        with pytest.raises(MoverError) as error:
            function(staged, ROLLBACK)
        assert error.value.reason == conditions.SWITCH_FAILED
        assert (
            f"filestore {staged.path} does not exist, {stage_folder.name} {states[0]}, {previous.name} {states[1]}."
            in error.value.message
        )
    assert (stage_folder if kept == "stage" else previous).is_dir()


@pytest.mark.parametrize("back", [False, True], ids=["forward", "back"])
def test_a_rename_that_fails_names_the_folders_and_can_be_repeated(
    staged: ClaimFolders, monkeypatch: pytest.MonkeyPatch, *, back: bool
) -> None:
    if back:
        switch.switch(staged, ROLLBACK)

    real = os.rename

    def refuse(source: str, target: str, **options: Any) -> None:
        if source == staged.filestore.name:
            raise OSError(errno.EIO, "Input/output error")
        real(source, target, **options)

    monkeypatch.setattr(disk, "exchange", lambda *_: False)
    change = switch.switch_back if back else switch.switch
    target = staged.stage(ROLLBACK) if back else staged.previous(ROLLBACK)
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", refuse)
        with pytest.raises(MoverError, match=f"cannot rename {staged.filestore.name} to {target.name}"):
            change(staged, ROLLBACK)
    assert switch.position(staged, ROLLBACK) == ("New" if back else "Old")
    change(staged, ROLLBACK)
    assert live(staged) == (["new"] if back else ["old"])
