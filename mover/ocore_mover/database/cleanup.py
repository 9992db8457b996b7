"""What a rollback leaves behind in the server, dropped; never the live database."""

from typing import Literal

from ocore_crds import conditions

from ..errors import MoverError
from . import create
from .connect import Server
from .switch import DatabaseSwitch

What = Literal["previous", "restored"]


def cleanup(server: Server, rollback_id: str, what: What) -> tuple[str, ...]:
    """Drops the previous database (undo window over) or the restored one (given up before the switch).

    Connections to the live database are allowed first, whatever a killed switch left. Returns the names that were dropped.
    Raises MoverError SwitchFailed where the position says that this would leave half.
    """
    switch = DatabaseSwitch(server, rollback_id)
    try:
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
