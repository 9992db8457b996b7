"""``cleanup``: removes what a rollback keeps beside the live environment."""

from collections.abc import Iterator
from pathlib import Path

from ocore_crds import conditions, failpoints
from ocore_crds.protocol import CleanupPart, CleanupResult
from ocore_mover.commands.runtime import Runtime
from ocore_mover.commands.switcher import RollbackTarget, Switcher
from ocore_mover.database.restore import scratch
from ocore_mover.database.switch import cleanup as database_cleanup
from ocore_mover.errors import MoverError
from ocore_mover.filestore.odoo.hold import HoldSet
from ocore_mover.filestore.plain import switch as plain_switch


def cleanup(runtime: Runtime, target: RollbackTarget, part: CleanupPart, environment_id: str) -> CleanupResult:
    """Removes the database first, then the folders. Returns what was removed.

    Raises MoverError SwitchFailed where the environment runs on what would be removed; nothing is removed then.
    """
    position = _repaired_position(runtime, target, part)
    runtime.token.check()
    dropped = _drop_database(target, part, position)
    failpoints.hit("cleanup-database-dropped")
    if target.server is not None:  # of a proof or a test restore that was killed
        dropped += scratch.drop_all(target.server, environment_id)
    return CleanupResult(
        databases_dropped=dropped, folders_removed=tuple(str(folder) for folder in _remove_folders(target, part))
    )


def _repaired_position(runtime: Runtime, target: RollbackTarget, part: CleanupPart) -> str:
    """The position, after an interrupted switch was completed or undone.

    A later rollback has its own names: repairing with the names of this one would refuse.
    """
    if (
        part == "previous"
        and target.server is not None
        and database_cleanup.superseded(target.server, target.rollback_id)
    ):
        return "New"
    switcher = Switcher(target, runtime.token)
    try:
        return switcher.repair().position
    finally:
        switcher.close()


def _drop_database(target: RollbackTarget, part: CleanupPart, position: str) -> tuple[str, ...]:
    """Drops the rollback's database. Without a database, checks the position that the folders give."""
    if target.server is not None:
        return database_cleanup.cleanup(target.server, target.rollback_id, part)
    if position != ("New" if part == "previous" else "Old"):
        raise MoverError(
            conditions.SWITCH_FAILED,
            f"the position is {position}: the environment runs on what --what {part} would remove; nothing was removed",
        )
    return ()


def _remove_folders(target: RollbackTarget, part: CleanupPart) -> Iterator[Path]:
    """Removes the rollback's folders on the claim; yields each that existed."""
    folders, rollback_id = target.folders, target.rollback_id
    if folders is None:
        return
    if target.layout == "Odoo":
        if HoldSet(folders, rollback_id).remove():
            yield folders.hold(rollback_id)
    elif part == "previous":
        if plain_switch.remove_previous(folders, rollback_id):
            yield folders.previous(rollback_id)
    elif plain_switch.remove_stage(folders, rollback_id):
        yield folders.stage(rollback_id)
