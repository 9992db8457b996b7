"""The Snapshot that is restored and the Environment that is rolled back: what their statuses say for a rollback. Pure.

A status may not have been written yet, or be of an earlier spec.
"""

from collections.abc import Sequence
from datetime import datetime

from ocore_crds import conditions as c
from ocore_crds.resources.environment import ProbeStatus, connection_of
from ocore_crds.resources.rollback import RollbackTarget
from ocore_crds.resources.snapshot import SnapshotSource
from ocore_crds.text import quantity
from ocore_operator import clock
from ocore_operator.kube.resources import Environment, Snapshot
from ocore_operator.workloads import images
from ocore_operator.workloads.view import WorkloadView

_UNKNOWN = SnapshotSource(environment_id="", environment_name="", environment_type="", project_id="")


# --- the Snapshot ----------------------------------------------------------------------------------------------------


def is_complete(snapshot: Snapshot) -> bool:
    """Whether it is Complete."""
    return c.is_true(snapshot.status.conditions, c.COMPLETE)


def taken_of(snapshot: Snapshot) -> SnapshotSource:
    """The environment as it recorded it; empty where it has not recorded it yet."""
    return snapshot.status.source or _UNKNOWN


def database_bytes(snapshot: Snapshot) -> int:
    """Size of its database; 0: it has none, or it is unknown."""
    return snapshot.status.sizes.database_bytes if snapshot.status.sizes is not None else 0


def has_foreign_image(snapshot: Snapshot, workloads: Sequence[WorkloadView]) -> bool:
    """Whether its image is only what a manifest says that someone may have edited in the bucket, and is not of a
    repository of the workloads. A Snapshot that this operator took had an attempt; of one that was imported or adopted
    only the manifest is known."""
    image = taken_of(snapshot).image
    return snapshot.status.attempt == 0 and bool(image) and not images.of_repository(workloads, image)


# --- the Environment -------------------------------------------------------------------------------------------------


def target_of(environment: Environment) -> RollbackTarget:
    """The connection and the claim that its spec names now."""
    return RollbackTarget.of(environment.spec, environment.status)


def capacity_of(environment: Environment) -> int | None:
    """Bytes of the database's volume; None: unknown."""
    database = connection_of(environment.spec, environment.status)
    return quantity.parse(database.capacity) if database is not None and database.capacity is not None else None


def probe_of(environment: Environment) -> ProbeStatus | None:
    """The last probe of its present spec; None where there is none."""
    probe = environment.status.probe
    return probe if probe is not None and probe.generation == environment.meta.generation else None


def probed_at(environment: Environment) -> datetime | None:
    """When that probe began."""
    probe = probe_of(environment)
    return clock.parse(probe.started_at or probe.time) if probe is not None else None


def server_read(environment: Environment) -> ProbeStatus | None:
    """That probe, where it has read the database server; None where it could not: its numbers of the server are no
    measurements."""
    probe = probe_of(environment)
    return probe if probe is not None and probe.server_major else None


def is_snapshot_ready(environment: Environment) -> bool:
    """Whether a safety snapshot would work."""
    return environment.is_current and c.is_true(environment.status.conditions, c.READY)


def is_rollback_ready(environment: Environment) -> bool:
    """Whether a rollback would work. A proof that failed is no reason against it: it is about today's schema. The
    snapshot has its own, and may be the way out; a restore that fails changes nothing."""
    ready = c.find(environment.status.conditions, c.ROLLBACK_READY)
    return environment.is_current and ready is not None and (ready.status == "True" or ready.reason == c.PROOF_FAILED)


def not_ready(environment: Environment) -> tuple[str, str]:
    """Reason and message of RollbackReady where it is not True; else both empty."""
    ready = c.find(environment.status.conditions, c.ROLLBACK_READY)
    return (ready.reason, ready.message) if ready is not None and ready.status != "True" else ("", "")


def has_target_of_another(environment: Environment) -> bool:
    """Whether another Environment has its database or filestore. It is not probed then."""
    return not_ready(environment)[0] == c.DUPLICATE_TARGET
