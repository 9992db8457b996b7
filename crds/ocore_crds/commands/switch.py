"""The command ``switch``: its request, its result and its row. Pure."""

from typing import Literal

from pydantic import Field, model_validator

from ocore_crds.commands.base import RECORD, REPLICATION, ROLLBACK_IDS, SITE, Command, OfRollback
from ocore_crds.commands.parts import SignalWait, StoreAccess
from ocore_crds.reports.base import Failure, Line
from ocore_crds.stored.rollback_record import RollbackRun

#: Seconds after a signal has expired in which a Job that obeyed it in time may still rename. The operator waits longer
#: for its answer.
RENAMED_WITHIN = 75.0


class SwitchRequest(OfRollback):
    """Replace the live environment by the restored copy. Stop the application first: its sessions are ended."""

    store: StoreAccess | None = Field(default=None, description="Has the rollback's record.")
    signal: SignalWait | None = None
    now: bool = Field(default=False, description="Switch at once, without a signal.")
    back: bool = Field(default=False, description="With --now: switch to the previous database.")
    undo_to: Literal["Old", "New"] | None = Field(
        default=None,
        description="Undo the rollback (Old) or its undo (New): the position to reach. --back then reverses this.",
    )
    record: RollbackRun | None = Field(default=None, description=RECORD)
    allow_replication_loss: bool = Field(default=False, description=REPLICATION)
    neutralized: bool = Field(default=False, description="Refuse a copy that is not marked as neutralised.")

    @property
    def goal(self) -> Literal["Old", "New"]:
        """The position that the run wants, unless `back`."""
        return self.undo_to or "New"

    @model_validator(mode="after")
    def _fits(self) -> "SwitchRequest":
        if self.now == (self.signal is not None):
            raise ValueError("give either --now or --signal-file")
        if self.back and not self.now:
            raise ValueError("--back needs --now: a switch that waits for its signal switches forward only")
        record = self.record
        if record is None:
            return self
        named = record.undoes if self.undo_to is not None else record.rollback_id
        if (record.environment_id, named) != (self.environment_id, self.rollback_id):
            raise ValueError("the ids of --record differ from --environment-id and --rollback-id")
        if self.store is None and not self.now and self.undo_to is None:
            raise ValueError("give --store with --record")
        return self


class SwitchResult(Line):
    """Of ``switch`` and ``inspect`` (rollback): what the environment runs on."""

    kind: Literal["switch"] = "switch"
    position: Literal["Old", "New"]
    live_database: str = ""
    previous_database: str = ""
    restored_database: str = ""
    accepting_connections: bool = Field(
        default=True, description="False: an interrupted switch left the live database refusing them."
    )
    refused_seconds: float | None = Field(
        default=None,
        description="How long connections were refused. None: this Job did not switch, or did not see all of it.",
    )
    superseded: bool = Field(
        default=False,
        description=(
            "A later rollback has switched. The position is what this one left: New, and its previous database may"
            " exist."
        ),
    )
    relinked_files: int = 0
    set_aside: tuple[str, ...] = Field(
        default=(),
        description=(
            "Layout Plain: paths on the claim of what an application that was not stopped had put in the filestore's"
            " place during the switch."
        ),
    )
    replication_ended: tuple[str, ...] = Field(
        default=(), description="What happened to slots and subscriptions of the database that is not live any more."
    )
    failure: Failure | None = Field(
        default=None,
        description="Why a switch that received its signal did not switch. The Job has ended, so it never will.",
    )


ROW = Command(
    "switch",
    SwitchRequest,
    (SwitchResult,),
    "free",
    3,
    (f"--now {SITE} {ROLLBACK_IDS}", f"--back --now {SITE} {ROLLBACK_IDS}"),
    restarts=6,
    grace=90.0,
    patience=0.0,
)
