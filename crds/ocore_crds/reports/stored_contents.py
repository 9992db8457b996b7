"""What a store contains, as the Jobs ``list-manifests`` and ``sweep`` report it, and as the SnapshotStore's status
shows it."""

from typing import Literal

from pydantic import Field

from ocore_crds.model import StatusModel, Timestamp, Tolerant

#: Snapshots in one page of a listing, and bytes of their lines, at most: the kubelet keeps 10 MiB of a log.
PAGE_SNAPSHOTS = 2000
PAGE_BYTES = 4 * 1024 * 1024
#: Bytes of one line at most. The container runtime splits lines of 16 KiB.
LINE_BYTES = 15_000
#: Rollbacks of one environment in a listing, the newest ones, and bytes of the line of each. All of an environment's
#: are in one page.
PAGE_ROLLBACKS = 1000
ROLLBACK_LINE_BYTES = 4000
#: Environments without a place here that a listing names, and manifests that it cannot read.
FOREIGN_NAMED = 10
SKIPPED_NAMED = 5
#: Objects in one report of a sweep at most. The rest is in the next one.
REPORT_OBJECTS = 10_000
EXAMPLES = 5


class ForeignEnvironment(StatusModel):
    """An environment that has snapshots in the store and no Environment in this namespace."""

    environment_id: str = Field(description="The spec.id that an Environment would need.")
    project_id: str = Field(
        default="", description="The projectId that it would need. Empty: no manifest could be read."
    )
    name: str = Field(default="", description="The name that the Environment had.", max_length=253)
    snapshots: int = Field(default=0, description="How many snapshots it has at most: folders below its prefix.")


class SkippedManifest(Tolerant):
    """A manifest that is not imported."""

    key: str
    reason: str


class ManifestsResult(Tolerant):
    """Of ``list-manifests``: one page. The snapshots themselves are lines of the log (listing.StoredSnapshot)."""

    kind: Literal["manifests"] = "manifests"
    store_id: str
    listed: int = Field(description="Lines in the log.")
    lines_sha256: str = Field(description="SHA-256 over these lines, sorted, each with its line end.")
    next: str = Field(
        default="", description="The last key of the page, for the next one. Empty: there is no next one."
    )
    skipped: int = Field(
        default=0, description="Manifests and records of rollbacks that cannot be read, or are of another project."
    )
    incomplete: int = Field(
        default=0, description="Of the skipped ones: manifests that name objects which are not there."
    )
    skipped_examples: tuple[SkippedManifest, ...] = ()
    foreign: tuple[ForeignEnvironment, ...] = Field(default=(), description="On the first page.")
    foreign_environments: int = 0
    rollbacks: int = Field(default=0, description="Of the lines, those of rollbacks.")
    rollbacks_open: int = Field(default=0, description="Rollbacks whose records have no end. They have no line.")
    rollbacks_older: int = Field(
        default=0, description="Rollbacks that are older than PAGE_ROLLBACKS of their environment. They have no line."
    )


class OrphanReport(Tolerant):
    """The list of one sweep, an object in the store. A removal names its SHA-256."""

    format: Literal["ocore-orphans"] = "ocore-orphans"
    format_version: Literal[1] = 1
    store_id: str
    before: float = Field(description="Every object in it is older: seconds since the epoch.")
    objects: tuple["Orphan", ...] = ()


class Orphan(Tolerant):
    """An object that no manifest names."""

    key: str
    size: int
    modified: float = Field(description="By the store, in seconds since the epoch.")
    upload: str = Field(default="", description="Id of an unfinished upload; empty: an object.")


OrphanReport.model_rebuild()


class OrphanFigures(StatusModel):
    """What a sweep has counted."""

    objects: int = Field(default=0, description="How many are older than 7 days.")
    bytes: int = Field(default=0, description="Their bytes.")
    uploads: int = Field(default=0, description="Unfinished uploads that are older than 7 days.")
    oldest: Timestamp | None = Field(default=None, description="When the oldest of them was written.")
    examples: tuple[str, ...] = Field(default=(), description="Keys of some of them.")
    more: bool = Field(default=False, description="There are more than the report holds; a later one has the rest.")
    manifests: int = Field(default=0, description="Snapshots in the store.")
    unreadable: int = Field(default=0, description="Manifests that cannot be read. Their environments are not swept.")
    foreign: int = Field(
        default=0, description="Objects among the snapshots that ocore-snapshots did not write; never touched."
    )
    locks_renewed: int = Field(default=0, description="Objects whose lock was extended (`spec.s3.lock.renew`).")


class OrphansResult(OrphanFigures):
    """Of ``sweep``."""

    kind: Literal["orphans"] = "orphans"
    report: str = Field(default="", description="SHA-256 of the report in the store. Empty: nothing can be removed.")


class RemovedFigures(StatusModel):
    """What a removal of orphans has counted."""

    objects: int = Field(default=0, description="Objects that were removed.")
    bytes: int = Field(default=0, description="Their bytes.")
    uploads: int = Field(default=0, description="Unfinished uploads that were aborted.")
    kept: int = Field(default=0, description="Objects of the report that are no orphans any more, or were gone.")


class RemovedOrphans(RemovedFigures):
    """Of ``remove-orphans``."""

    kind: Literal["removed-orphans"] = "removed-orphans"
