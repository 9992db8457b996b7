"""Layout Plain: the staged folder takes the filestore's place.

One exchange of names (renameat2) does it: the filestore is never missing. The kernel swaps the two folders under the
names `filestore` and `stage`; then `stage` is renamed to `prev`. Before the exchange, ``swap-<short>`` gets the inodes
of both folders: it is the journal of the time in which the names do not say which folder is which.

Where the file system has no exchange, two renames do it: filestore to `prev`, `stage` to filestore. In between, an
application that was not stopped may make the folder again. What has the name then is renamed to ``aside-<short>-<n>``:
it is reported, and never deleted. An empty folder is replaced.

The folders' names are the journal of the renames: after any kill they show the position of the switch. The caller
chooses the direction, because the databases' names decide it (docs/architecture.md).

=====================  =======  =======  ========================================
filestore              stage    prev     position
=====================  =======  =======  ========================================
previous content       exists   none     Old
none, or any           exists   exists   Between
restored content       none     exists   New
any content, or none   none     none     Nothing: never staged, or cleaned up
=====================  =======  =======  ========================================
"""

import contextlib
import errno
import logging
import os
from pathlib import Path
from typing import NamedTuple

from ocore_crds import conditions, failpoints
from ocore_mover import disk
from ocore_mover.disk import closing_fd, sync_entries
from ocore_mover.errors import MoverError
from ocore_mover.filestore.folders import ClaimFolders, claim_errors, filesystem_error
from ocore_mover.filestore.layout import Position
from ocore_mover.filestore.links import CREATE_FILE, OPEN_FILE, names_in

log = logging.getLogger(__name__)

#: Times that something takes the filestore's name between the two renames.
INTRUDERS = 100
#: Errors of a rename whose target is a folder with contents, or no folder.
_TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)
_JOURNAL_BYTES = 64


class _Swap(NamedTuple):
    """The journal of an exchange: inodes."""

    previous: int
    restored: int


def position(folders: ClaimFolders, rollback_id: str) -> Position:
    """The position of this rollback's switch. Raises MoverError SwitchFailed if the folders fit no position."""
    live, stage, previous = folders.filestore, folders.stage(rollback_id), folders.previous(rollback_id)
    exists = (folders.is_folder(live), folders.is_folder(stage), folders.is_folder(previous))
    match exists:
        case (True, True, False) | (True, False, True):
            swap = _read_swap(folders, rollback_id)
            if swap is not None:
                return _swapped(folders, swap, stage if exists[1] else previous)
            return "Old" if exists[1] else "New"
        case (_, True, True):
            return "Between"
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
    _finish_swap(folders, rollback_id)
    found = position(folders, rollback_id)
    if found == "Nothing":
        raise MoverError(conditions.SWITCH_FAILED, f"{stage.name} is not on the claim. Run the restore first.")
    if found == "Old":
        _replace(folders, stage, previous, rollback_id, restored=stage)
    elif found == "Between":
        _put(folders, stage, live, rollback_id)


def switch_back(folders: ClaimFolders, rollback_id: str) -> None:
    """filestore → stage, prev → filestore. Idempotent: continues where a killed switch stopped."""
    live, stage, previous = folders.filestore, folders.stage(rollback_id), folders.previous(rollback_id)
    _finish_swap(folders, rollback_id)
    found = position(folders, rollback_id)
    if found == "New":
        _replace(folders, previous, stage, rollback_id, restored=live)
    elif found == "Between":
        _put(folders, previous, live, rollback_id)


def remove_previous(folders: ClaimFolders, rollback_id: str) -> bool:
    """Removes ``prev-<short>``; returns False if it does not exist.

    Raises MoverError SwitchFailed between the two renames: the folder is then the only copy of the filestore.
    """
    return _remove(folders, folders.previous(rollback_id), rollback_id)


def remove_stage(folders: ClaimFolders, rollback_id: str) -> bool:
    """Removes ``stage-<short>``; returns False if it does not exist. Raises MoverError SwitchFailed between the two
    renames."""
    return _remove(folders, folders.stage(rollback_id), rollback_id)


def check_not_begun(folders: ClaimFolders, rollback_id: str) -> None:
    """Raises MoverError SwitchFailed where a restore would remove what the switch has moved."""
    _finish_swap(folders, rollback_id)
    found = position(folders, rollback_id)
    if found not in ("Old", "Nothing"):
        raise MoverError(
            conditions.SWITCH_FAILED,
            f"the switch of this rollback has begun (position {found}), so nothing was restored. Run `inspect"
            " --repair`, or create a new Rollback.",
        )


def set_aside(folders: ClaimFolders, rollback_id: str) -> tuple[str, ...]:
    """What took the filestore's name during the switch, by its path on the claim."""
    start = folders.aside(rollback_id, 0).name.removesuffix("0")
    try:
        with folders.opened(folders.own) as own:
            numbers = [name.removeprefix(start) for name in names_in(own) if name.startswith(start)]
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise filesystem_error(error, "list the folder .ocore on the claim") from error
    found = [folders.aside(rollback_id, number) for number in sorted(int(n) for n in numbers if n.isdecimal())]
    return tuple(path.relative_to(folders.claim).as_posix() for path in found)


def _remove(folders: ClaimFolders, folder: Path, rollback_id: str) -> bool:
    _finish_swap(folders, rollback_id)
    if position(folders, rollback_id) == "Between":
        raise MoverError(conditions.SWITCH_FAILED, "the switch is between its two renames. Finish it first.")
    found = folders.remove(folder)
    folders.drop_own_if_empty()
    return found


def _state(exists: bool) -> str:
    return "exists" if exists else "does not exist"


def _replace(folders: ClaimFolders, source: Path, away: Path, rollback_id: str, *, restored: Path) -> None:
    """Puts a folder of ours in the filestore's place, whose folder then has the name `away`. `restored`: which of the
    two has the restored content."""
    live = folders.filestore
    if _exchange(folders, source, rollback_id, restored=restored):
        failpoints.hit("switch-filestore-moved")
        _finish_swap(folders, rollback_id)
        return
    _rename(folders, live, away)
    failpoints.hit("switch-filestore-moved")
    _put(folders, source, live, rollback_id)


# --- the exchange ------------------------------------------------------------------------------------------------


def _exchange(folders: ClaimFolders, source: Path, rollback_id: str, *, restored: Path) -> bool:
    """Exchanges a folder of ours and the filestore durably, after the journal. False where the file system cannot."""
    live, journal = folders.filestore, folders.swap(rollback_id)
    with (
        claim_errors(f"exchange {live.name} and {source.name}"),
        folders.opened_parent(live) as (above, name),
        folders.opened_parent(source) as (own, source_name),
    ):
        inodes = _inode(folders, live), _inode(folders, source)
        swap = _Swap(*(inodes if restored == source else inodes[::-1]))
        _write_swap(journal.name, own, swap)
        if not disk.exchange(name, above, source_name, own):
            os.unlink(journal.name, dir_fd=own)
            return False
        sync_entries(own)
        sync_entries(above)
        return True


def _finish_swap(folders: ClaimFolders, rollback_id: str) -> None:
    """After an exchange, or a kill in it: gives the folder beside the filestore its name, and removes the journal."""
    if _read_swap(folders, rollback_id) is None:
        return
    stage, previous = folders.stage(rollback_id), folders.previous(rollback_id)
    match position(folders, rollback_id):
        case "New" if folders.is_folder(stage):
            _rename(folders, stage, previous)
        case "Old" if folders.is_folder(previous):
            _rename(folders, previous, stage)
        case _:
            pass  # the names are right
    with folders.opened(folders.own) as own:
        os.unlink(folders.swap(rollback_id).name, dir_fd=own)
        sync_entries(own)


def _swapped(folders: ClaimFolders, swap: _Swap, beside: Path) -> Position:
    """The position by the folders themselves. `beside`: the one of ours that exists. It is asked first: the application
    owns the other one, and may have made that again.

    Raises MoverError SwitchFailed.
    """
    inode, live = _inode(folders, beside), _inode(folders, folders.filestore)
    if inode == swap.previous or live == swap.restored:
        return "New"
    if inode == swap.restored or live == swap.previous:
        return "Old"
    raise MoverError(
        conditions.SWITCH_FAILED,
        f"filestore {folders.path} and {beside.name} are other folders than before the switch. Another program"
        " copied or moved them. Put the content that is to be live into the filestore by hand, and remove"
        f" swap-{beside.name.rpartition('-')[2]}.",
    )


def _inode(folders: ClaimFolders, folder: Path) -> int:
    with folders.opened(folder) as fd:
        return os.fstat(fd).st_ino


def _write_swap(name: str, own: int, swap: _Swap) -> None:
    """Durably, in one step."""
    new = f"{name}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(new, dir_fd=own)
    with closing_fd(os.open(new, CREATE_FILE, 0o600, dir_fd=own)) as fd:
        disk.write_all(fd, f"{swap.previous} {swap.restored}".encode())
        os.fsync(fd)
    os.rename(new, name, src_dir_fd=own, dst_dir_fd=own)
    sync_entries(own)


def _read_swap(folders: ClaimFolders, rollback_id: str) -> _Swap | None:
    """Raises MoverError."""
    try:
        with (
            folders.opened(folders.own) as own,
            closing_fd(os.open(folders.swap(rollback_id).name, OPEN_FILE, dir_fd=own)) as fd,
        ):
            text = os.read(fd, _JOURNAL_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise filesystem_error(error, "read the journal of the switch") from error
    try:
        previous, restored = map(int, text.split())
    except ValueError:
        raise MoverError(
            conditions.SWITCH_FAILED,
            f"{folders.swap(rollback_id)} is damaged. Compare the folders beside it, and remove it.",
        ) from None
    return _Swap(previous, restored)


# --- two renames -------------------------------------------------------------------------------------------------


def _put(folders: ClaimFolders, source: Path, live: Path, rollback_id: str) -> None:
    """Renames a folder of ours to the filestore's name, which should be free. Sets aside what has it."""
    for _ in range(INTRUDERS):
        try:
            _rename_once(folders, source, live)
        except OSError as error:
            if error.errno not in _TAKEN:
                raise filesystem_error(error, f"rename {source.name} to {live.name}") from error
        else:
            return
        _set_aside(folders, live, rollback_id)
    raise MoverError(
        conditions.SWITCH_FAILED,
        f"an application makes the filestore's folder {folders.path} again whenever it is moved: {INTRUDERS} times."
        " Stop what writes to the claim; the switch then continues.",
        retryable=True,
    )


def _set_aside(folders: ClaimFolders, live: Path, rollback_id: str) -> None:
    numbers = [int(path.rpartition("-")[2]) for path in set_aside(folders, rollback_id)]
    target = folders.aside(rollback_id, max(numbers, default=0) + 1)
    try:
        _rename_once(folders, live, target)
    except FileNotFoundError:
        return  # it is gone again
    except OSError as error:
        raise filesystem_error(error, f"rename {live.name} to {target.name}") from error
    log.warning("set aside what had the filestore's name", extra={"folder": str(target)})


def _rename(folders: ClaimFolders, source: Path, target: Path) -> None:
    """Renames durably. Replaces an empty folder, and fails for any other. Raises MoverError."""
    with claim_errors(f"rename {source.name} to {target.name}"):
        _rename_once(folders, source, target)


def _rename_once(folders: ClaimFolders, source: Path, target: Path) -> None:
    """Flushes both parents before it returns. Raises OSError."""
    with folders.opened_parent(source) as (old, name), folders.opened_parent(target) as (new, new_name):
        os.rename(name, new_name, src_dir_fd=old, dst_dir_fd=new)
        sync_entries(new)
        sync_entries(old)
