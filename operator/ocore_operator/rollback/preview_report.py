"""The report of a preview, from what the operator and the Job have read. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from ocore_crds.protocol import PreviewResult
from ocore_crds.resources.preview import (
    TABLES,
    Preview,
    PreviewDatabase,
    PreviewFiles,
    PreviewRefusal,
    PreviewSpace,
    PreviewTable,
    PreviewVersion,
)
from ocore_crds.resources.rollback import RollbackSpec
from ocore_crds.text import quantity
from ocore_operator.clock import parse
from ocore_operator.kube.resources import Environment, Snapshot
from ocore_operator.rollback import neutralizing, plan_preflight
from ocore_operator.rollback.plan_undo import Refusal
from ocore_operator.rollback.prediction import predict, rates_of
from ocore_operator.rollback.snapshot_and_environment import (
    capacity_of,
    database_bytes,
    is_complete,
    server_read,
    taken_of,
    target_of,
)
from ocore_operator.rollback.transitions import stamp
from ocore_operator.rollback.world import PreviewFacts, World
from ocore_operator.workloads.view import first_with_template


@dataclass(frozen=True)
class _Read:
    """What the report is made of."""

    snapshot: Snapshot
    environment: Environment
    result: PreviewResult


def report(
    spec: RollbackSpec,
    world: World,
    result: PreviewResult | None,
    refusals: Iterable[Refusal],
    unread: tuple[str, ...],
    now: datetime,
) -> Preview:
    """`result`: what the Job has read; None: nothing. `refusals`: found by the operator; those of the Job are added."""
    found = [(r.reason, r.message) for r in refusals]
    known = result if result is not None else PreviewResult()
    found += [(r.reason, r.message) for r in known.refusals]
    facts, snapshot = world.preview or PreviewFacts(), world.snapshot
    point = known.consistent_at or (snapshot.status.consistent_at if snapshot is not None else None)
    unread = (*unread, *known.unread)
    holder = world.lock.holder if world.lock.state == "Other" else None
    preview = Preview(
        created_at=stamp(now),
        would_run=not found and not unread,
        refusals=tuple(PreviewRefusal(reason=reason, message=text) for reason, text in dict.fromkeys(found)),
        unread=unread,
        waits_for=f"{holder} has locked the environment: a rollback waits for it" if holder is not None else "",
        point_in_time=point or None,
        lost_minutes=round((now - parse(point)).total_seconds() / 60, 1) if point else None,
    )
    if snapshot is None or world.environment is None:
        return preview
    read = _Read(snapshot, world.environment, known)
    rates = rates_of(snapshot.status)
    return preview.model_copy(
        update={
            "database": _database(read),
            "files": _files(read),
            "version": _version(read, world),
            "neutralizes": _neutralizes(spec, read, world),
            "space": tuple(_space(read)),
            "prediction": predict(facts.past, facts.tested, rates, known.bytes_to_move, world.workloads),
        }
    )


def _database(read: _Read) -> PreviewDatabase | None:
    result, probe = read.result, read.environment.status.probe
    if read.environment.spec.database is None:
        return None
    return PreviewDatabase(
        exists_now=not result.database_missing,
        bytes_now=result.database_bytes_now,
        bytes_in_snapshot=result.database_bytes_then or database_bytes(read.snapshot) or None,
        server_version_now=result.server_version_now or (probe.server_version if probe is not None else ""),
        server_version_in_snapshot=result.server_version_then or read.snapshot.status.server_version or "",
        rows_counted=result.rows_counted,
        tables=tuple(
            PreviewTable(
                name=t.name, rows_now_estimated=t.now, rows_in_snapshot_counted=t.then, exists_now=t.exists
            )
            for t in result.tables[:TABLES]
        ),
    )  # fmt: skip


def _files(read: _Read) -> PreviewFiles | None:
    result, layout = read.result, target_of(read.environment).layout
    if layout is None or result.files_to_move is None or result.bytes_to_move is None:
        return None
    return PreviewFiles(
        layout=layout,
        files_in_snapshot=result.files_then or 0,
        bytes_in_snapshot=result.file_bytes_then or 0,
        files_to_move=result.files_to_move,
        bytes_to_move=result.bytes_to_move,
    )


def _version(read: _Read, world: World) -> PreviewVersion | None:
    """Of the first Deployment or StatefulSet, whose image the snapshot recorded: as the warnings compare it."""
    first = first_with_template(world.workloads)
    if first is None:
        return None
    return PreviewVersion(
        image_now=first.image,
        image_in_snapshot=taken_of(read.snapshot).image,
        commit_now=first.commit,
        commit_in_snapshot=taken_of(read.snapshot).commit_sha,
    )


def _neutralizes(spec: RollbackSpec, read: _Read, world: World) -> bool | None:
    if not is_complete(read.snapshot):  # what it is of is not known yet
        return None
    plan = neutralizing.planned(spec, read.environment, read.snapshot, world.workloads)
    return plan is not None and plan.required


def _space(read: _Read) -> Iterable[PreviewSpace]:
    environment, result, sizes = read.environment, read.result, read.snapshot.status.sizes
    if environment.spec.database is not None and database_bytes(read.snapshot):
        capacity, probe = capacity_of(environment), server_read(environment)
        free = capacity - probe.database_used_bytes if capacity is not None and probe is not None else None
        yield PreviewSpace(
            volume="Database",
            needed_bytes=plan_preflight.space_wanted(read.snapshot),
            free_bytes=max(free, 0) if free is not None else None,
            source="spec.database.capacity less what the server used at the last probe",
        )
    if result.filestore_needed_bytes is not None:
        yield PreviewSpace(
            volume="Filestore",
            needed_bytes=result.filestore_needed_bytes,
            free_bytes=result.filestore_free_bytes,
            source="read from the volume; what must stay free for the application is included in what is needed",
        )
    if environment.spec.database is not None and sizes is not None and sizes.database_restore_bytes:
        yield PreviewSpace(
            volume="Scratch",
            needed_bytes=sizes.database_restore_bytes,
            free_bytes=quantity.parse(environment.spec.scratch.size),
            source="spec.scratch.size; an emptyDir also depends on what the node has free",
        )
