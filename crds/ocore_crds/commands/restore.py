"""The command ``restore``: its request, its result and its row. Pure."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ocore_crds.commands.base import (
    CAPACITY,
    IDENTITY,
    JOBS,
    MANIFEST,
    RECORD,
    REPLICATION,
    ROLLBACK_ID,
    SCRATCH,
    SITE,
    SNAPSHOT_IDS,
    SOURCE,
    STORE,
    Capacity,
    Command,
    Jobs,
    OfRollback,
)
from ocore_crds.commands.parts import TMP, Option, SignalWait, SourceStore, StoreAccess
from ocore_crds.commands.probe import ProbeResult
from ocore_crds.commands.switch import SwitchResult
from ocore_crds.model import Model, Uuid
from ocore_crds.reports.base import Line
from ocore_crds.stored.manifest import Evidence
from ocore_crds.stored.rollback_record import RollbackRun


class Preflight(Model):
    """With what a probe must agree before anything is read from the store: the last probe has found nothing against a
    rollback."""

    server_major: int = 0
    server_identity: str = ""
    database_name: str = ""
    most_used: int | None = Field(
        default=None, description="Bytes that the server may use, so that the copy fits beside them."
    )
    store: str = Field(default="", description="As `probe --store`.")
    store_name: str = Field(default="", description="As `probe --store-name`.")
    config_file: str = Field(default="", description="As `probe --config-file`.")

    def passes(self, found: ProbeResult) -> bool:
        """Whether the restore may go on. Whatever the probe has found, the operator judges: it knows more."""
        if found.blocking or found.creatable or found.rollback or found.own_store or found.snapshots:
            return False
        database = found.database
        if database is None:
            return not self.database_name
        agrees = (database.server_major, database.server_identity, database.name) == (
            self.server_major,
            self.server_identity,
            self.database_name,
        )
        return agrees and (self.most_used is None or database.used_bytes <= self.most_used)


class RestoreRequest(OfRollback):
    """Restore a snapshot beside the live environment and check it. The live environment does not change."""

    store: StoreAccess
    source: Annotated[SourceStore | None, Option(SOURCE)] = Field(
        default=None, description="Read the snapshot from this store; --store then has only the record."
    )
    snapshot_id: Uuid = Field(description="Identity of the snapshot (UUID).")
    scratch: str = Field(default=TMP, description=SCRATCH)
    manifest_sha256: str | None = Field(default=None, description=MANIFEST)
    identity: str | None = Field(default=None, description=IDENTITY)
    source_environment_id: Uuid | None = Field(
        default=None,
        description=(
            "Environment that the snapshot was taken of, where it is another one. Its database's name, owner and grants"
            " are not used."
        ),
    )
    project_id: Uuid | None = Field(default=None, description="Expected project of the snapshot, in its manifest.")
    record: RollbackRun | None = Field(default=None, description=RECORD)
    allow_replication_loss: bool = Field(default=False, description=REPLICATION)
    neutralize: bool = Field(
        default=False, description="The copy must not become live before `neutralize` has marked it."
    )
    capacity: Capacity | None = Field(default=None, description=CAPACITY)
    preflight: Preflight | None = Field(
        default=None,
        description=(
            "Probe first, with what the probe must agree (Preflight). Where it does not, its result is that of the"
            " command, and nothing is restored. Default: no probe."
        ),
    )
    signal: SignalWait | None = Field(
        default=None,
        description=(
            "Wait for this signal after the restore, then switch as `switch` does. Where none comes in time, or the"
            " switch cannot be prepared, the result is that of the restore. Default: only restore."
        ),
    )
    jobs: Jobs = Field(default=2, description=JOBS)

    @model_validator(mode="after")
    def _ids(self) -> "RestoreRequest":
        record = self.record
        if record is not None and (record.environment_id, record.rollback_id) != (
            self.environment_id,
            self.rollback_id,
        ):
            raise ValueError("the ids of --record differ from --environment-id and --rollback-id")
        if self.signal is not None and self.neutralize:
            raise ValueError("a copy that is to be neutralised is switched by another command: omit --signal-file")
        return self


class RestoreResult(Line):
    """Of ``restore``: the restored copy exists beside the live one and is checked."""

    kind: Literal["restore"] = "restore"
    restored_database: str = ""
    live_missing: bool = Field(
        default=False, description="There was no live database: the switch creates it, and leaves no previous one."
    )
    database_bytes: int = 0
    files_added: int = 0
    bytes_added: int = 0
    evidence: Evidence = Evidence()


class RestoredReport(Line):
    """The restore is done and checked, and its Job goes on to the switch."""

    type: Literal["restored"] = "restored"
    result: RestoreResult
    time: str


ROW = Command(
    "restore",
    RestoreRequest,
    (RestoreResult, ProbeResult, SwitchResult),
    "rollback",
    3,
    (f"{STORE} {SITE} {SNAPSHOT_IDS} {ROLLBACK_ID} --scratch /tmp",),
    # Then it is another attempt, which reads the remote copy where there is one.
    patience=120.0,
)
