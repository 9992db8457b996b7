"""The command ``inspect``: its request, and its row. Pure."""

from pydantic import Field, model_validator

from ocore_crds.commands.base import (
    REPLICATION,
    ROLLBACK_IDS,
    SITE,
    SNAPSHOT_IDS,
    STORE,
    Command,
    OnEnvironment,
    Request,
)
from ocore_crds.commands.parts import StoreAccess
from ocore_crds.commands.probe import THEN, ProbeRequest
from ocore_crds.commands.snapshot import SnapshotResult
from ocore_crds.commands.switch import SwitchResult
from ocore_crds.model import Uuid


class InspectRequest(OnEnvironment):
    """Report a snapshot in the store, or the position of a rollback."""

    store: StoreAccess | None = None
    environment_id: Uuid = Field(description="Identity of the environment (UUID).")
    snapshot_id: Uuid | None = Field(default=None, description="Report this snapshot's manifest.")
    rollback_id: Uuid | None = Field(default=None, description="Report this rollback's position.")
    repair: bool = Field(
        default=False,
        description="With --rollback-id: allow connections, and complete or undo an interrupted switch.",
    )
    workloads_stopped: bool = Field(
        default=False,
        description=(
            "With --repair, layout Plain: move the folder to the database's position. Stop every workload first."
        ),
    )
    allow_replication_loss: bool = Field(default=False, description=REPLICATION)
    then: ProbeRequest | None = Field(default=None, description=THEN)

    @property
    def following(self) -> tuple[str, Request] | None:
        """The probe that was asked for."""
        return ("probe", self.then) if self.then is not None else None

    def needs_target(self) -> bool:
        """The position is that of the environment; the manifest is in the store."""
        return self.rollback_id is not None

    @model_validator(mode="after")
    def _fits(self) -> "InspectRequest":
        if (self.snapshot_id is None) == (self.rollback_id is None):
            raise ValueError("give either --snapshot-id or --rollback-id")
        if self.snapshot_id is not None and self.store is None:
            raise ValueError("give --store with --snapshot-id")
        return self


ROW = Command(
    "inspect",
    InspectRequest,
    (SnapshotResult, SwitchResult),
    "light",
    3,
    (f"{STORE} {SNAPSHOT_IDS}", f"--repair {SITE} {ROLLBACK_IDS}"),
)
