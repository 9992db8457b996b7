"""``cleanup``: removes what a rollback keeps beside the live environment."""

import logging

from ocore_crds import conditions, failpoints
from ocore_crds.commands.cleanup import CleanupRequest, CleanupResult
from ocore_crds.commands.parts import CleanupPart
from ocore_mover.commands import opening
from ocore_mover.commands.runtime import Runtime
from ocore_mover.commands.switcher import RollbackTarget, Switcher
from ocore_mover.database.connect import connect_maintenance
from ocore_mover.database.dump.export import live_names
from ocore_mover.database.restore import scratch
from ocore_mover.database.switch import cleanup as database_cleanup
from ocore_mover.errors import MoverError

log = logging.getLogger(__name__)


def execute(runtime: Runtime, request: CleanupRequest) -> CleanupResult:
    """Removes the database first, then the folders. Returns what was removed, and how many files are left to the
    application's garbage collection.

    Raises MoverError SwitchFailed where the environment runs on what would be removed, Mismatch where database and
    folder do not fit; nothing is removed then.
    """
    target, part = opening.rollback_target(request, request.rollback_id), request.what
    position = _position(runtime, target, part)
    runtime.token.check()
    dropped = _drop_database(target, part, position)
    failpoints.hit("cleanup-database-dropped")
    if target.server is not None:  # of a proof or a test restore that was killed
        with connect_maintenance(target.server, application=scratch.APPLICATION) as maintenance:
            dropped += scratch.drop_all(maintenance, target.server.live, request.environment_id)
    listed, not_listed = _list_leftovers(runtime, target)
    return CleanupResult(
        databases_dropped=dropped,
        folders_removed=_remove_folder(target, part),
        files_listed=listed,
        not_listed=not_listed,
    )


def _position(runtime: Runtime, target: RollbackTarget, part: CleanupPart) -> str:
    """The position. Connections are allowed; with a database no folder is moved, because the application runs on it.

    Raises MoverError Mismatch. A later rollback has its own names: reading with the names of this one would refuse.
    """
    if (
        part == "previous"
        and target.server is not None
        and database_cleanup.superseded(target.server, target.rollback_id)
    ):
        return "New"
    switcher = Switcher(target, runtime.token)
    try:
        return switcher.before_cleanup().position
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


def _list_leftovers(runtime: Runtime, target: RollbackTarget) -> tuple[int | None, str]:
    """Hands the files that only the dropped database has named to the application's garbage collection. Returns their
    number, or why they are not listed: that must not keep a database of the size of production's on the server."""
    server, kept = target.server, target.kept()
    if server is None or kept is None:
        return 0, ""
    try:
        return kept.list_leftovers(lambda: live_names(server, runtime.token)), ""
    except MoverError as error:
        log.warning("left-over files are not on the checklist", extra={"reason": error.reason, "error": error.message})
        return None, error.message


def _remove_folder(target: RollbackTarget, part: CleanupPart) -> tuple[str, ...]:
    """Removes the rollback's folder on the claim; returns it where it existed."""
    kept = target.kept()
    removed = kept.remove(part) if kept is not None else None
    return (str(removed),) if removed is not None else ()
