"""Layout Plain: the staged folder takes the filestore's place, by two renames.

The three folders' names are the journal: whatever is killed and whenever, what is there says how far a switch has come,
and the caller says which way to go (for it is the databases' names that decide, docs/architecture.md).

=====================  ======  =====  ============================================
filestore              stage   prev   position
=====================  ======  =====  ============================================
previous content       there   none   Old
none                   there   there  Between
restored content       none    there  New
some                   none    none   Nothing: never staged, or cleaned up
=====================  ======  =====  ============================================
"""

from pathlib import Path
from typing import Literal

from ocore_crds import conditions, failpoints
from ocore_mover.errors import MoverError
from ocore_mover.filestore.folders import ClaimFolders, filesystem_error, remove_tree
from ocore_mover.store.folder import sync_folder

Position = Literal["Old", "Between", "New", "Nothing"]


def position(folders: ClaimFolders, rollback_id: str) -> Position:
    """Where the switch of this rollback stands. Raises MoverError SwitchFailed where what is there fits no position."""
    live, stage, previous = folders.filestore, folders.stage(rollback_id), folders.previous(rollback_id)
    there = (live.is_dir(), stage.is_dir(), previous.is_dir())
    if all(there) and not any(live.iterdir()):
        there = (False, True, True)  # the kubelet makes an empty folder for a pod's subPath
    match there:
        case (True, True, False):
            return "Old"
        case (False, True, True):
            return "Between"
        case (True, False, True):
            return "New"
        case (True, False, False):
            return "Nothing"
    raise MoverError(
        conditions.SWITCH_FAILED,
        f"the folders on the claim fit no step of a switch: filestore {folders.path} {_word(there[0])}, {stage.name} {_word(there[1])}, "
        f"{previous.name} {_word(there[2])}. Somebody moved or made one of them; put it right by hand.",
    )


def switch(folders: ClaimFolders, rollback_id: str) -> None:
    """filestore → prev, stage → filestore. Idempotent: goes on from wherever a killed one stopped; done already: nothing.

    Raises MoverError SwitchFailed.
    """
    live, stage, previous = folders.filestore, folders.stage(rollback_id), folders.previous(rollback_id)
    found = position(folders, rollback_id)
    if found == "Nothing":
        raise MoverError(conditions.SWITCH_FAILED, f"{stage.name} is not on the claim: the restore has to run first")
    if found == "Old":
        _rename(live, previous)
        failpoints.hit("switch-filestore-moved")
    if found in ("Old", "Between"):
        _rename(stage, live)


def switch_back(folders: ClaimFolders, rollback_id: str) -> None:
    """filestore → stage, prev → filestore. Idempotent in the same way."""
    live, stage, previous = folders.filestore, folders.stage(rollback_id), folders.previous(rollback_id)
    found = position(folders, rollback_id)
    if found == "New":
        _rename(live, stage)
        failpoints.hit("switch-filestore-moved")
    if found in ("New", "Between"):
        _rename(previous, live)


def is_switched(folders: ClaimFolders, rollback_id: str) -> bool:
    """Whether the restored folder stands in the filestore's place. Between two renames: it does not yet."""
    return position(folders, rollback_id) == "New"


def remove_previous(folders: ClaimFolders, rollback_id: str) -> bool:
    """Removes ``prev-<short>``; False where there is none. Refuses between two renames: it is all there is of the filestore."""
    if position(folders, rollback_id) == "Between":
        raise MoverError(conditions.SWITCH_FAILED, "the switch stands between two renames: finish it first")
    found = remove_tree(folders.previous(rollback_id))
    folders.drop_own_if_empty()
    return found


def remove_stage(folders: ClaimFolders, rollback_id: str) -> bool:
    """Removes ``stage-<short>``; False where there is none. Refuses between two renames."""
    if position(folders, rollback_id) == "Between":
        raise MoverError(conditions.SWITCH_FAILED, "the switch stands between two renames: finish it first")
    found = remove_tree(folders.stage(rollback_id))
    folders.drop_own_if_empty()
    return found


def _word(there: bool) -> str:
    return "is there" if there else "is missing"


def _rename(source: Path, target: Path) -> None:
    """Renames, durably: both parents are flushed before anything else happens."""
    try:
        source.rename(target)  # an empty folder is replaced, one that holds anything is an error
        for parent in {source.parent, target.parent}:
            sync_folder(parent)
    except OSError as error:
        raise filesystem_error(error, f"rename {source.name} to {target.name}") from error
