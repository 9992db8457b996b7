"""When the sizes of an Environment are measured on request, and what is remembered of it. Pure.

A request is the annotation `ocore.dev/probe-requested`: the sizes must be measured at that time or later. Where the
Environment is not ready, a probe runs in its place, which measures as well. Anyone who may write the Environment can
set it to anything, as often as they like. So one request causes one measurement at most,
one runs at a time, and there is a pause between two.
"""

from datetime import datetime

from ocore_crds.protocol import ProbeResult, SizesResult
from ocore_crds.resources.environment import EnvironmentSpec, EnvironmentStatus, SizesStatus
from ocore_operator import clock
from ocore_operator.readiness import schedule

#: Seconds from the end of one measurement to the start of the next one, at least.
PAUSE = 10.0
#: Characters of a failure that the status keeps.
_MESSAGE = 1000


def due_in(now: datetime, sizes: SizesStatus | None, request: datetime | None) -> float | None:
    """Seconds until the sizes are measured, 0 or less: now; None where no request is open.

    A request is answered by every measurement that ended then or later, also by one without a result: it is not
    repeated until the next request.
    """
    if request is None:
        return None
    known = [] if sizes is None else [sizes.measured_at, sizes.attempted_at]
    if any(clock.parse(each) >= request for each in known if each is not None):
        return None
    due = -clock.seconds_since(clock.text(request), now)
    if sizes is not None and sizes.attempted_at is not None:
        due = max(due, PAUSE - clock.seconds_since(sizes.attempted_at, now))
    return min(due, schedule.HORIZON)


def attempt_name(status: EnvironmentStatus) -> str:
    """Eight hexadecimal digits that name the next measurement's Job: the same until it has ended."""
    return schedule.attempt_name(0, status.sizes.attempted_at if status.sizes is not None else None)


def measured(status: EnvironmentStatus, result: SizesResult, *, ended: str) -> EnvironmentStatus:
    """The status after a measurement with a result, which ended at `ended`."""
    sizes = SizesStatus(
        measured_at=ended,
        database_bytes=result.database_bytes,
        filestore_bytes=result.filestore_bytes,
        filestore_files=result.filestore_files,
        warnings=result.warnings[:5],
        attempted_at=ended,
    )
    return status.model_copy(update={"sizes": sizes})


def not_measured(status: EnvironmentStatus, why: str, *, ended: str) -> EnvironmentStatus:
    """The status after a measurement without a result: the last sizes stay, as old as they are."""
    old = status.sizes if status.sizes is not None else SizesStatus()
    sizes = old.model_copy(update={"attempted_at": ended, "attempt_error": why[:_MESSAGE] or "unknown"})
    return status.model_copy(update={"sizes": sizes})


def probed(spec: EnvironmentSpec, status: EnvironmentStatus, result: ProbeResult, *, began: str) -> EnvironmentStatus:
    """The status after a probe that began at `began`. Its sizes count where it could read all that the Environment has,
    and they are not older than those that are known. They count from its begin: a result may be read long after its
    end."""
    database, filestore = result.database, result.filestore
    if spec.database is not None and (database is None or database.missing):
        return status
    if spec.filestore is not None and filestore is None:
        return status
    old = status.sizes if status.sizes is not None else SizesStatus()
    if old.measured_at is not None and clock.parse(old.measured_at) > clock.parse(began):
        return status
    sizes = old.model_copy(
        update={
            "measured_at": began,
            "database_bytes": database.size_bytes if database is not None else 0,
            "filestore_bytes": filestore.size_bytes if filestore is not None else 0,
            "filestore_files": filestore.file_count if filestore is not None else 0,
            "warnings": (),
        }
    )
    return status.model_copy(update={"sizes": sizes})
