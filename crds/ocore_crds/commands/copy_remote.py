"""The command ``copy-remote``: its request, its result and its row. Pure."""

from typing import Annotated, Literal

from pydantic import Field

from ocore_crds.commands.base import JOBS, SNAPSHOT_IDS, SOURCE, Command, Jobs, OfSnapshot
from ocore_crds.commands.parts import Option, SourceStore
from ocore_crds.reports.base import Line
from ocore_crds.stored.snapshot_state import StoredState


class CopyRemoteRequest(OfSnapshot):
    """Copy a snapshot from --source-store to --store, byte for byte. What an earlier attempt has copied is not sent
    again."""

    source: Annotated[SourceStore, Option(SOURCE)]
    manifest_sha256: str | None = Field(
        default=None, description="Copy only if the manifest has this SHA-256; else the snapshot is corrupt."
    )
    jobs: Jobs = Field(default=4, description=JOBS)


class CopyResult(Line):
    """Of ``copy-remote``: the remote store has every object and the manifest, byte for byte."""

    kind: Literal["copy-remote"] = "copy-remote"
    store_id: str = Field(description="Id of the remote store.")
    manifest_key: str
    manifest_sha256: str
    objects: int = 0
    bytes: int = 0
    objects_sent: int = Field(default=0, description="An earlier attempt had sent the others.")
    bytes_sent: int = 0
    state: StoredState | None = Field(
        default=None, description="What the state object in the remote store has. None: it has none."
    )


ROW = Command(
    "copy-remote",
    CopyRemoteRequest,
    (CopyResult,),
    "background",
    3,
    (f"--source-store file:///var/snapshots --store s3://elsewhere/copies {SNAPSHOT_IDS}",),
    patience=300.0,
)
