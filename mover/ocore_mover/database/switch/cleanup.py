"""What a rollback leaves behind in the server, dropped; never the live database."""

from typing import Literal

from ocore_crds import conditions
from ocore_mover.database import position, sessions
from ocore_mover.database.connect import Server
from ocore_mover.database.restore import create
from ocore_mover.database.switch.switch import DatabaseSwitch
from ocore_mover.errors import MoverError

What = Literal["previous", "restored"]


def cleanup(server: Server, rollback_id: str, what: What) -> tuple[str, ...]:
    """Drops the previous database (undo window over) or the restored one (given up before the switch).

    Connections to the live database are allowed first, whatever a killed switch left. Returns the names that were dropped.
    Raises MoverError SwitchFailed where the position says that this would leave half.
    """
    switch = DatabaseSwitch(server, rollback_id)
    try:
        if what == "previous" and _superseded(switch):
            return _drop_superseded(switch)
        now = switch.allow_live()
        wanted = "New" if what == "previous" else "Old"
        if now.position != wanted:
            raise MoverError(
                conditions.SWITCH_FAILED,
                f"the position is {now.position}: {'the previous' if what == 'previous' else 'the restored'} database is the one that "
                f"{server.live} runs on, nothing was dropped; switch first, or clean up --what "
                f"{'restored' if what == 'previous' else 'previous'}",
            )
        victim = now.previous if what == "previous" else now.restored
        if victim is None:
            return ()
        create.drop(switch.connection(), victim.name)
        return (victim.name,)
    finally:
        switch.close()


def superseded(server: Server, rollback_id: str) -> bool:
    """Whether a later rollback was switched in since this one: the live database carries another rollback's mark, and nothing of this one can
    become live any more but by undoing the later one first."""
    switch = DatabaseSwitch(server, rollback_id)
    try:
        return _superseded(switch)
    finally:
        switch.close()


def _superseded(switch: DatabaseSwitch) -> bool:
    found = position.rows(switch.connection(), switch.names)
    live = found.get(switch.names.live)
    other = live is not None and live.mark.rollback_id not in ("", switch.names.rollback_id)
    return other and switch.names.restored not in found


def _drop_superseded(switch: DatabaseSwitch) -> tuple[str, ...]:
    names, connection = switch.names, switch.connection()
    found = position.rows(connection, names)
    if not found[names.live].allows_connections:
        sessions.allow(connection, names.live, True)
    if names.previous not in found:
        return ()
    create.drop(connection, names.previous)
    return (names.previous,)
