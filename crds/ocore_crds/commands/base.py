"""What the requests and the rows of several commands share. Pure."""

from dataclasses import dataclass
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import ConfigDict, Field, model_validator

from ocore_crds.commands.parts import DatabaseAccess, FilestoreAccess, StoreAccess
from ocore_crds.model import Model, Uuid
from ocore_crds.resources import layouts
from ocore_crds.resources.layouts import Layout

#: The commands. Each has a module of its name here and in ``ocore_mover.commands``, with ``_`` for the hyphen, so that
#: the mover can import what one of them needs.
NAMES = (
    "probe",
    "measure",
    "prove",
    "probe-store",
    "snapshot",
    "verify",
    "write-state",
    "test-restore",
    "preview",
    "restore",
    "neutralize",
    "switch",
    "list-manifests",
    "sweep",
    "remove-orphans",
    "delete",
    "check-copy",
    "copy-remote",
    "cleanup",
    "inspect",
    "extract",
    "remove-extract",
)

#: Which Jobs share a limit: ``ocore_operator.jobs.slots.slots``.
LimitsClass = Literal["rollback", "asked", "heavy", "light", "background", "free"]
Jobs = Annotated[int, Field(ge=1, le=32)]
JOBS = "Tables to dump or restore, and packs to write, in parallel."
Capacity = Annotated[int, Field(ge=1)]
CAPACITY = "Bytes that the volume of the server's databases holds."
SCRATCH = "Folder for temporary dump files."
MANIFEST = "Expected SHA-256 of the manifest."
IDENTITY = "Folder with identity files of age, to open an encrypted snapshot. Each file in it is read."
REPLICATION = (
    "Break logical replication of the live database: after the switch drop its slots and detach its subscriptions."
)
RECORD = (
    "The Rollback for the record in the store (rollback_record.RollbackRun), so that it runs once. Default: no record."
)
SOURCE = "source-"
#: Of a command that reports on an environment which may have no id yet.
NO_ID = "00000000-0000-0000-0000-000000000000"


class Request(Model):
    """What every command may be asked."""

    model_config = ConfigDict(defer_build=True)

    deadline: float | None = Field(default=None, ge=1, description="Seconds after which the command fails.")
    verbose: bool = Field(default=False, description="Log debug events to stderr.")

    @property
    def following(self) -> "tuple[str, Request] | None":
        """The command that the same Job carries out after this one has succeeded, and its request."""
        return None


RequestT = TypeVar("RequestT", bound=Request)


@dataclass(frozen=True)
class Command(Generic[RequestT]):
    """The row of one command."""

    name: str
    request: type[RequestT]
    #: What it reports: the models of ``Result.payload``.
    results: tuple[type[Model], ...]
    limits: LimitsClass
    #: Attempts in all at a Job whose failure may pass, one soon after the other. Then the object fails, or further ones
    #: are made after long pauses, as its plan says.
    attempts: int
    #: The options of a call at a shell, as examples.
    examples: tuple[str, ...]
    #: How often the kubelet restarts the container of one Job.
    restarts: int = 0
    #: Seconds for which a store may fail before the command does; infinity: until its deadline. 0 where a person waits
    #: for the answer, or the application is stopped.
    patience: float = 60.0
    #: Seconds for the command to clean up and end once it is cancelled.
    grace: float = 20.0


class OnEnvironment(Request):
    """A command on the environment itself: database, filestore, or both."""

    database: DatabaseAccess | None = None
    filestore: FilestoreAccess | None = None

    @model_validator(mode="after")
    def _target(self) -> "OnEnvironment":
        if self.needs_target():
            check_target(self.database, self.filestore)
        return self

    def needs_target(self) -> bool:
        """Whether the command works on the environment."""
        return True

    @property
    def layout(self) -> Layout:
        """The filestore's layout; the default without a filestore."""
        return self.filestore.layout if self.filestore is not None else layouts.DEFAULT


def check_target(database: DatabaseAccess | None, filestore: FilestoreAccess | None) -> None:
    """Raises ValueError where both are missing, or do not fit together."""
    if database is None and filestore is None:
        raise ValueError("give --database, --claim or both")
    if filestore is not None and filestore.layout in layouts.NAMED and database is None:
        raise ValueError("layout Odoo needs --database, which names the files; or give --layout Plain")
    if filestore is not None and filestore.layout in layouts.RENAMED and not filestore.path:
        raise ValueError("layout Plain needs --filestore, a path below the claim's root")


class OfSnapshot(Request):
    """A command on a stored snapshot."""

    store: StoreAccess
    environment_id: Uuid = Field(description="Identity of the environment (UUID).")
    snapshot_id: Uuid = Field(description="Identity of the snapshot (UUID).")


class OfRollback(OnEnvironment):
    """A command on what a rollback has restored."""

    environment_id: Uuid = Field(description="Identity of the environment (UUID).")
    rollback_id: Uuid = Field(description="Identity of the rollback (UUID).")


STORE = "--store file:///var/snapshots"
IDS = "--environment-id 6f1c2f6e-3f0a-4c52-9a54-0e8e0c5f6a01"
SNAPSHOT_IDS = f"{IDS} --snapshot-id 0b0f4b5e-58f4-4d0e-8a53-2b1f3f3f7c02"
ROLLBACK_ID = "--rollback-id 9c7d1f0a-1111-4222-8333-444455556666"
ROLLBACK_IDS = f"{IDS} {ROLLBACK_ID}"
SITE = "--database ~/secret --claim /srv --filestore odoo/filestore/live"
DIGEST = "0" * 64
