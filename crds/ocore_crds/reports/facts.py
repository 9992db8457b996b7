"""What ``probe`` finds in the database and in the filestore. Pure."""

from typing import Annotated

from pydantic import Field

from ocore_crds.model import StatusModel
from ocore_crds.reports.base import Line
from ocore_crds.reports.replication import Replication


class FileOwner(StatusModel):
    """The owner of the application's files: the user that the Jobs need."""

    run_as_user: Annotated[int, Field(ge=1, le=2147483647)] = Field(description="User id, for spec.jobs.runAsUser.")
    run_as_group: Annotated[int, Field(ge=1, le=2147483647)] | None = Field(
        default=None, description="Group id, for spec.jobs.runAsGroup."
    )


class DatabaseFacts(Line):
    """What ``probe`` found in the database."""

    name: str = ""
    missing: bool = Field(
        default=False, description="The server has no database of this name; the others are facts of the server."
    )
    empty: bool = Field(default=False, description="The database exists, and no one has made a table in it.")
    server_identity: str = Field(
        default="",
        description="System identifier of the server and when it started: clones of a server differ in the latter.",
    )
    server_version: str = ""
    server_major: int = 0
    size_bytes: int = 0
    used_bytes: int = Field(default=0, description="All databases of the default tablespace.")
    owner: str = ""
    user: str = ""
    attachments: bool = Field(default=False, description="Whether the table ir_attachment exists.")
    outside_attachments: int = Field(
        default=0,
        description=(
            "Attachments among the newest and the oldest ones that the application keeps outside the filestore."
        ),
    )
    extensions: tuple[str, ...] = ()
    schema_fingerprint: str = Field(
        default="",
        description=(
            "Changes with the schema and with all else that a schema-only restore depends on; empty where it could not"
            " be read."
        ),
    )
    replication: Replication | None = Field(default=None, description="None where nothing is replicated.")


class FilestoreFacts(Line):
    """What ``probe`` found in the filestore."""

    file_count: int = 0
    size_bytes: int = 0
    hard_links: bool = False
    free_bytes: int = 0
    uid: int = 0
    gid: int = 0


class SnapshotSizes(StatusModel):
    """Bytes and files."""

    database_bytes: int = Field(default=0, description="Size of the live database when it was dumped.")
    database_stored_bytes: int = Field(default=0, description="Size of the dump in the store.")
    database_restore_bytes: int = Field(default=0, description="Scratch that a restore needs.")
    filestore_bytes: int = Field(default=0, description="Size of the files of the filestore.")
    filestore_files: int = Field(default=0, description="Number of files of the filestore.")
    filestore_stored_bytes: int = Field(default=0, description="Size of the filestore in the store.")
    stored_bytes: int = Field(default=0, description="Size of everything in the store.")
