"""The report of a Rollback with ``dryRun``: what a rollback would do, and what would refuse it. It never ran."""

from typing import Literal

from pydantic import Field

from ocore_crds.model import Sentence, StatusModel, Timestamp
from ocore_crds.resources.layouts import Layout

#: `spec.notAfter` of a preview by `kubectl ocore`. An operator that does not know dryRun refuses it (Expired), instead
#: of rolling back.
NEVER = "1970-01-01T00:00:00Z"
#: Most tables of a report.
TABLES = 20

#: Where a predicted figure is from. `Rollbacks`: earlier rollbacks of the environment. `TestRestore`: its newest test
#: restore. `Snapshot`: how long the snapshot itself took. `Unknown`: there is no figure.
RateSource = Literal["Rollbacks", "TestRestore", "Snapshot", "Unknown"]


class PreviewRefusal(StatusModel):
    """Something that would refuse the rollback."""

    reason: str = Field(description="Reason that the rollback would fail with.")
    message: Sentence = Field(description="Why, for people, and what to do.")


class PreviewTable(StatusModel):
    """One of the largest tables."""

    name: str = Field(description="Schema and name.")
    rows_now_estimated: int | None = Field(
        default=None,
        description=(
            "Rows in the live database as the server estimates them (pg_class.reltuples); absent: unknown, the table"
            " was never analyzed or does not exist now."
        ),
    )
    rows_in_snapshot_counted: int | None = Field(
        default=None,
        description=(
            "Rows in the snapshot, counted when it was dumped; absent: not counted, or the table is not in the"
            " snapshot."
        ),
    )
    exists_now: bool = Field(default=True, description="Whether the live database has the table.")


class PreviewDatabase(StatusModel):
    """The database, now and in the snapshot."""

    exists_now: bool = Field(default=True, description="False: there is no live database. The rollback creates it.")
    bytes_now: int | None = Field(default=None, description="Size of the live database; absent: not read.")
    bytes_in_snapshot: int | None = Field(
        default=None, description="Size of the live database when it was dumped; absent: not in the snapshot."
    )
    server_version_now: str = Field(default="", description="Version of the server; empty: not read.")
    server_version_in_snapshot: str = Field(default="", description="Version of the server that was dumped.")
    rows_counted: bool | None = Field(
        default=None,
        description=(
            "Whether the snapshot has counted rows. False: a version wrote it that did not count. Absent: its manifest"
            " was not read."
        ),
    )
    tables: tuple[PreviewTable, ...] = Field(
        default=(), description="The largest tables, at most 20, the largest first."
    )


class PreviewFiles(StatusModel):
    """The files that the rollback would write into the filestore's volume."""

    layout: Layout = Field(description="Layout of the filestore.")
    files_in_snapshot: int = Field(description="Number of files in the snapshot.")
    bytes_in_snapshot: int = Field(description="Their bytes.")
    files_to_move: int = Field(
        description=(
            "Files that the rollback writes. `Odoo`: those that the filestore lacks, or has in another size. `Plain`:"
            " all."
        )
    )
    bytes_to_move: int = Field(description="Their bytes.")


class PreviewSpace(StatusModel):
    """Space that the rollback needs on one volume."""

    volume: Literal["Database", "Filestore", "Scratch"] = Field(
        description="Which volume. `Scratch`: the temporary space of the restore's Job."
    )
    needed_bytes: int = Field(description="What the rollback needs while both copies exist.")
    free_bytes: int | None = Field(default=None, description="What is free; absent: unknown.")
    source: Sentence = Field(description="Where the figure of the free space is from.")


class PreviewVersion(StatusModel):
    """Image and commit of the first workload. A rollback changes them only with restoreImage."""

    image_now: str = Field(default="", description="Image now; empty: unknown.")
    image_in_snapshot: str = Field(default="", description="Image when the snapshot was taken; empty: unknown.")
    commit_now: str = Field(default="", description="Commit now; empty: unknown.")
    commit_in_snapshot: str = Field(default="", description="Commit when the snapshot was taken; empty: unknown.")


class PreviewPrediction(StatusModel):
    """How long the rollback would take. An estimate."""

    duration_seconds: float | None = Field(
        default=None, description="From its start until the workloads are ready; absent: unknown."
    )
    duration_source: RateSource = Field(default="Unknown", description="What the duration is predicted from.")
    downtime_seconds: float | None = Field(
        default=None, description="From the stop of the workloads until they are ready; absent: unknown."
    )
    downtime_source: RateSource = Field(default="Unknown", description="What the downtime is predicted from.")
    rollbacks: int = Field(default=0, description="Number of earlier rollbacks that the figures are from.")
    explanation: Sentence = Field(default="", description="How the figures were derived, for people.")


class Preview(StatusModel):
    """What a rollback to the snapshot would do. Nothing was changed."""

    created_at: Timestamp = Field(description="When the report was made; `now` in all its fields.")
    would_run: bool = Field(
        description="Whether everything could be read and nothing was found that would refuse the rollback."
    )
    refusals: tuple[PreviewRefusal, ...] = Field(
        default=(), description="Everything found that would refuse the rollback, with the reasons it would fail with."
    )
    unread: tuple[Sentence, ...] = Field(
        default=(), description="What could not be read, and why. The figures that depend on it are absent."
    )
    waits_for: Sentence = Field(
        default="",
        description="The operation that has locked the environment now; empty: none. A rollback waits for it.",
    )
    point_in_time: Timestamp | None = Field(
        default=None, description="What the snapshot shows: the environment returns to this moment."
    )
    lost_minutes: float | None = Field(
        default=None, description="Minutes of work lost: from the point in time to the report."
    )
    database: PreviewDatabase | None = Field(
        default=None, description="The database, now and in the snapshot; absent: there is none, or nothing is known."
    )
    files: PreviewFiles | None = Field(
        default=None, description="Files to move; absent: there is no filestore, or it was not read."
    )
    version: PreviewVersion | None = Field(default=None, description="Image and commit, now and then.")
    neutralizes: bool | None = Field(
        default=None, description="Whether the restored copy is neutralised before the switchover; absent: unknown."
    )
    space: tuple[PreviewSpace, ...] = Field(default=(), description="Space needed and free, for each volume.")
    prediction: PreviewPrediction | None = Field(default=None, description="Predicted duration and downtime.")
