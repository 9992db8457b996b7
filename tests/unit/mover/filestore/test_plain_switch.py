"""Layout Plain: the staged folder is switched in, and back, from wherever a switch was killed."""

import errno
import os
import shutil
from typing import Any

import pytest

from ocore_crds import conditions, failpoints
from ocore_mover.errors import MoverError
from ocore_mover.filestore.folders import ClaimFolders
from ocore_mover.filestore.plain import switch
from ocore_mover.store import Store
from support.mover.filestore import ROLLBACK
from support.mover.plain_tree import stage, take


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


@pytest.mark.parametrize("then", ["switch", "switch_back"])
@pytest.mark.parametrize("first", ["switch", "switch_back"])
@pytest.mark.parametrize("subpath", [False, True])
def test_a_switch_killed_between_its_renames(
    staged: ClaimFolders, monkeypatch: pytest.MonkeyPatch, first: str, then: str, subpath: bool
) -> None:
    if first == "switch_back":
        switch.switch(staged, ROLLBACK)
    monkeypatch.setenv(failpoints.ENVIRONMENT_VARIABLE, "switch-filestore-moved=error")
    monkeypatch.setattr(failpoints, "_fired", set())
    with pytest.raises(failpoints.FailpointError):
        getattr(switch, first)(staged, ROLLBACK)
    assert not staged.filestore.exists()
    if subpath:
        staged.filestore.mkdir()  # the kubelet did
    assert switch.position(staged, ROLLBACK) == "Between"
    for remove in (switch.remove_previous, switch.remove_stage):
        with pytest.raises(MoverError, match="between its two renames"):
            remove(staged, ROLLBACK)
    getattr(switch, then)(staged, ROLLBACK)
    assert live(staged) == (["old"] if then == "switch" else ["new"])


def test_a_switch_without_a_stage_is_refused(folders: ClaimFolders) -> None:
    with pytest.raises(MoverError) as error:
        switch.switch(folders, ROLLBACK)
    assert error.value.reason == conditions.SWITCH_FAILED
    switch.switch_back(folders, ROLLBACK)


def test_folders_that_fit_no_step_are_refused(staged: ClaimFolders) -> None:
    (staged.previous(ROLLBACK) / "x").mkdir(parents=True)
    for function in (switch.switch, switch.switch_back, switch.remove_stage):
        with pytest.raises(MoverError, match="by hand"):
            function(staged, ROLLBACK)
    assert live(staged) == ["new"]


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

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    change = switch.switch_back if back else switch.switch
    target = staged.stage(ROLLBACK) if back else staged.previous(ROLLBACK)
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", refuse)
        with pytest.raises(MoverError, match=f"cannot rename {staged.filestore.name} to {target.name}"):
            change(staged, ROLLBACK)
    assert switch.position(staged, ROLLBACK) == ("New" if back else "Old")
    change(staged, ROLLBACK)
    assert live(staged) == (["new"] if back else ["old"])
