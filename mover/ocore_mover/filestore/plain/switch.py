"""Layout Plain: two renames put the staged folder in the filestore's place.

The three folders' names are the journal: after any kill they show the position of the switch. The caller chooses the
direction, because the databases' names decide it (docs/architecture.md).

=====================  =======  =======  ========================================
filestore              stage    prev     position
=====================  =======  =======  ========================================
previous content       exists   none     Old
none                   exists   exists   Between
restored content       none     exists   New
any content, or none   none     none     Nothing: never staged, or cleaned up
=====================  =======  =======  ========================================
"""

import os
from pathlib import Path

from ocore_crds import conditions, failpoints
from ocore_mover.disk import sync_entries
from ocore_mover.errors import MoverError
from ocore_mover.filestore.folders import ClaimFolders, filesystem_error
from ocore_mover.filestore.layout import Position
from ocore_mover.filestore.links import items_in


def position(folders: ClaimFolders, rollback_id: str) -> Position:
    """The position of this rollback's switch. Raises MoverError SwitchFailed if the folders fit no position."""
    live, stage, previous = folders.filestore, folders.stage(rollback_id), folders.previous(rollback_id)
    exists = (folders.is_folder(live), folders.is_folder(stage), folders.is_folder(previous))
    if all(exists) and _is_empty(folders, live):
        exists = (False, True, True)  # the kubelet creates an empty folder for a pod's subPath
    match exists:
        case (True, True, False):
            return "Old"
        case (False, True, True):
            return "Between"
        case (True, False, True):
            return "New"
        case (_, False, False):
            return "Nothing"
        case _:
            raise MoverError(
                conditions.SWITCH_FAILED,
                f"the folders on the claim fit no step of a switch: filestore {folders.path} {_state(exists[0])},"
                f" {stage.name} {_state(exists[1])}, {previous.name} {_state(exists[2])}. Another program moved or"
                " created one of them. Move it back by hand.",
            )


def switch(folders: ClaimFolders, rollback_id: str) -> None:
    """filestore → prev, stage → filestore. Idempotent: continues where a killed switch stopped.

    Raises MoverError SwitchFailed.
    """
    live, stage, previous = folders.filestore, folders.stage(rollback_id), folders.previous(rollback_id)
    found = position(folders, rollback_id)
    if found == "Nothing":
        raise MoverError(conditions.SWITCH_FAILED, f"{stage.name} is not on the claim. Run the restore first.")
    if found == "Old":
        _rename(folders, live, previous)
        failpoints.hit("switch-filestore-moved")
    if found in ("Old", "Between"):
        _rename(folders, stage, live)


def switch_back(folders: ClaimFolders, rollback_id: str) -> None:
    """filestore → stage, prev → filestore. Idempotent: continues where a killed switch stopped."""
    live, stage, previous = folders.filestore, folders.stage(rollback_id), folders.previous(rollback_id)
    found = position(folders, rollback_id)
    if found == "New":
        _rename(folders, live, stage)
        failpoints.hit("switch-filestore-moved")
    if found in ("New", "Between"):
        _rename(folders, previous, live)


def remove_previous(folders: ClaimFolders, rollback_id: str) -> bool:
    """Removes ``prev-<short>``; returns False if it does not exist.

    Raises MoverError SwitchFailed between the two renames: the folder is then the only copy of the filestore.
    """
    return _remove(folders, folders.previous(rollback_id), rollback_id)


def remove_stage(folders: ClaimFolders, rollback_id: str) -> bool:
    """Removes ``stage-<short>``; returns False if it does not exist. Raises MoverError SwitchFailed between the two
    renames."""
    return _remove(folders, folders.stage(rollback_id), rollback_id)


def _remove(folders: ClaimFolders, folder: Path, rollback_id: str) -> bool:
    if position(folders, rollback_id) == "Between":
        raise MoverError(conditions.SWITCH_FAILED, "the switch is between its two renames. Finish it first.")
    found = folders.remove(folder)
    folders.drop_own_if_empty()
    return found


def _state(exists: bool) -> str:
    return "exists" if exists else "does not exist"


def _is_empty(folders: ClaimFolders, folder: Path) -> bool:
    with folders.opened(folder) as fd:
        return next(items_in(fd), None) is None


def _rename(folders: ClaimFolders, source: Path, target: Path) -> None:
    """Renames durably: flushes both parents before it returns. Replaces an empty folder, and fails for any other."""
    try:
        with folders.opened_parent(source) as (old, name), folders.opened_parent(target) as (new, new_name):
            os.rename(name, new_name, src_dir_fd=old, dst_dir_fd=new)
            sync_entries(new)
            sync_entries(old)
    except OSError as error:
        raise filesystem_error(error, f"rename {source.name} to {target.name}") from error
