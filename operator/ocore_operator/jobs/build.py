"""Pure builders of Jobs, one per command of the mover. They return objects and have no client.

What a Job is made of (store, database, claim, scratch) stands in jobs/parts.py; which arguments a command takes, in docs/architecture.md.
"""

import json
from typing import Literal

from ocore_crds.manifest import Identity
from ocore_crds.naming import short_id
from ocore_operator.jobs import failpoints
from ocore_operator.jobs.inputs import JobInputs
from ocore_operator.jobs.parts import (
    ATTEMPT,
    READY_FILE,
    SIGNAL_FILE,
    Parts,
    claim,
    claim_folder,
    config,
    database,
    identity,
    scratch,
    signal,
    store,
)
from ocore_operator.jobs.shape import Command, job, job_name
from ocore_operator.kube.resources import Environment, Object, Rollback, Snapshot
from ocore_operator.settings import Settings

#: Seconds that the mover has less than its Job: it gives up by itself, says why and cleans up before it is killed.
MARGIN = 5.0
#: Seconds that a probe or an inspection may take.
SHORT = 120.0
#: How often the kubelet starts a switch's container again.
SWITCH_RESTARTS = 6


def _environment(job_inputs: JobInputs) -> Environment:
    if job_inputs.environment is None:
        raise ValueError("this Job touches the Environment: load the site with it")
    return job_inputs.environment


def _deadline(seconds: float) -> tuple[str, str]:
    return "--deadline", str(max(int(seconds - MARGIN), 1))


def probe(settings: Settings, job_inputs: JobInputs, *, attempt: str) -> Object:
    """Name ``probe-<uid>-<attempt>``: looks at database and filestore."""
    environment = _environment(job_inputs)
    parts = database(environment.spec) + claim(environment.spec) + identity(environment_id=environment.id)
    parts += Parts(args=("--rollback", *_deadline(SHORT)))
    command = Command(owner=environment, name="probe", attempt=attempt, parts=parts, deadline=SHORT)
    return job(settings, job_inputs, command)


def probe_store(settings: Settings, job_inputs: JobInputs, *, attempt: str) -> Object:
    """Name ``probe-store-<uid>-<attempt>``: writes and reads the store id."""
    parts = store(job_inputs.store) + Parts(args=_deadline(SHORT))
    command = Command(owner=job_inputs.store, name="probe-store", attempt=attempt, parts=parts, deadline=SHORT)
    return job(settings, job_inputs, command)


def snapshot(
    settings: Settings, job_inputs: JobInputs, owner: Snapshot, frozen: Identity, *, attempt: int, deadline: float
) -> Object:
    """Name ``snapshot-<uid>-<attempt>``; `deadline`: seconds from now until the Job is given up."""
    environment = _environment(job_inputs)
    parts = store(job_inputs.store) + database(environment.spec) + claim(environment.spec) + config(environment.spec)
    parts += scratch(environment.spec) + identity(environment_id=environment.id, snapshot_id=owner.id)
    parts += Parts(
        args=(
            # The short id lets `delete --claim` know whose frozen folders they are.
            *("--attempt", f"{short_id(owner.id)}-{attempt}-{ATTEMPT}"),
            *("--identity", json.dumps(frozen.wire(), separators=(",", ":"))),
            *("--verify", owner.spec.verify),
            *("--jobs", str(environment.spec.jobs.parallelism)),
            *_deadline(deadline),
        ),
        failpoints=failpoints.for_job(settings, owner.meta, attempt),
    )
    return job(
        settings, job_inputs, Command(owner=owner, name="snapshot", attempt=attempt, parts=parts, deadline=deadline)
    )


def _of_snapshot(job_inputs: JobInputs, owner: Snapshot, deadline: float) -> Parts:
    """A command on what is stored: needs neither database nor filestore, nor the Environment."""
    source = owner.status.source
    environment_id = source.environment_id if source is not None else ""
    return (
        store(job_inputs.store)
        + identity(environment_id=environment_id, snapshot_id=owner.id)
        + Parts(args=_deadline(deadline))
    )


def verify(settings: Settings, job_inputs: JobInputs, owner: Snapshot, *, attempt: int, deadline: float) -> Object:
    """Name ``verify-<uid>-<attempt>``: reads every byte again."""
    parts = _of_snapshot(job_inputs, owner, deadline) + Parts(
        failpoints=failpoints.for_job(settings, owner.meta, attempt)
    )
    return job(
        settings, job_inputs, Command(owner=owner, name="verify", attempt=attempt, parts=parts, deadline=deadline)
    )


def delete(
    settings: Settings,
    job_inputs: JobInputs,
    owner: Snapshot,
    *,
    series: Literal["", "left"],
    attempt: int,
    deadline: float,
) -> Object:
    """Name ``delete-<uid>-<series><attempt>``: the whole snapshot, or (`left`) the left-overs that its manifest does not name. Where the site has
    the Environment, also what the snapshot's attempts froze on its claim."""
    parts = _of_snapshot(job_inputs, owner, deadline) + Parts(
        args=("--attempts-only",) if series == "left" else (),
        failpoints=failpoints.for_job(settings, owner.meta, attempt),
    )
    if job_inputs.environment is not None and job_inputs.environment.spec.filestore is not None:
        parts += claim_folder(job_inputs.environment.spec.filestore.claim_name)
    command = Command(owner=owner, name="delete", attempt=f"{series}{attempt}", parts=parts, deadline=deadline)
    return job(settings, job_inputs, command)


def inspect_snapshot(settings: Settings, job_inputs: JobInputs, owner: Snapshot, *, attempt: str) -> Object:
    """Name ``inspect-<uid>-<attempt>``: the manifest's result as ``snapshot`` would have reported it."""
    parts = _of_snapshot(job_inputs, owner, SHORT)
    return job(settings, job_inputs, Command(owner=owner, name="inspect", attempt=attempt, parts=parts, deadline=SHORT))


def _of_rollback(settings: Settings, job_inputs: JobInputs, owner: Rollback, attempt: int, deadline: float) -> Parts:
    """A command on the environment itself."""
    environment = _environment(job_inputs)
    parts = database(environment.spec) + claim(environment.spec)
    parts += identity(environment_id=environment.id, rollback_id=owner.id)
    return parts + Parts(args=_deadline(deadline), failpoints=failpoints.for_job(settings, owner.meta, attempt))


def restore(
    settings: Settings,
    job_inputs: JobInputs,
    owner: Rollback,
    *,
    snapshot_id: str,
    manifest_sha256: str,
    attempt: int,
    deadline: float,
) -> Object:
    """Name ``restore-<uid>-<attempt>``: the snapshot beside the live environment."""
    environment = _environment(job_inputs)
    parts = (
        _of_rollback(settings, job_inputs, owner, attempt, deadline)
        + store(job_inputs.store)
        + scratch(environment.spec)
    )
    parts += identity(snapshot_id=snapshot_id)
    parts += Parts(args=("--manifest-sha256", manifest_sha256, "--jobs", str(environment.spec.jobs.parallelism)))
    return job(
        settings, job_inputs, Command(owner=owner, name="restore", attempt=attempt, parts=parts, deadline=deadline)
    )


def switch(
    settings: Settings, job_inputs: JobInputs, owner: Rollback, *, attempt: int, wait: float, deadline: float
) -> Object:
    """Name ``switch-<uid>-<attempt>``: waits `wait` seconds for the signal. Its pod is Running(ready=True) once it waits."""
    parts = _of_rollback(settings, job_inputs, owner, attempt, deadline) + signal()
    parts += Parts(args=("--signal-file", SIGNAL_FILE, "--wait", str(int(wait)), "--ready-file", READY_FILE))
    command = Command(
        owner=owner, name="switch", attempt=attempt, parts=parts, deadline=deadline, restarts=SWITCH_RESTARTS
    )
    return job(settings, job_inputs, command)


def switch_now(
    settings: Settings, job_inputs: JobInputs, owner: Rollback, *, back: bool, attempt: int, deadline: float
) -> Object:
    """Name ``switch-<uid>-<attempt>`` too: switches (back) at once and ends."""
    parts = _of_rollback(settings, job_inputs, owner, attempt, deadline)
    parts += Parts(args=("--back", "--now") if back else ("--now",))
    command = Command(
        owner=owner, name="switch", attempt=attempt, parts=parts, deadline=deadline, restarts=SWITCH_RESTARTS
    )
    return job(settings, job_inputs, command)


def cleanup(
    settings: Settings,
    job_inputs: JobInputs,
    owner: Rollback,
    *,
    what: Literal["previous", "restored"],
    attempt: int,
    deadline: float,
) -> Object:
    """Name ``cleanup-<uid>-<attempt>``."""
    parts = _of_rollback(settings, job_inputs, owner, attempt, deadline) + Parts(args=("--what", what))
    return job(
        settings, job_inputs, Command(owner=owner, name="cleanup", attempt=attempt, parts=parts, deadline=deadline)
    )


def inspect_rollback(
    settings: Settings, job_inputs: JobInputs, owner: Rollback, *, repair: bool, attempt: int
) -> Object:
    """Name ``inspect-<uid>-<attempt>``: where the environment stands."""
    parts = _of_rollback(settings, job_inputs, owner, attempt, SHORT) + Parts(args=("--repair",) if repair else ())
    return job(settings, job_inputs, Command(owner=owner, name="inspect", attempt=attempt, parts=parts, deadline=SHORT))


__all__ = [
    "cleanup",
    "delete",
    "inspect_rollback",
    "inspect_snapshot",
    "job_name",
    "probe",
    "probe_store",
    "restore",
    "snapshot",
    "switch",
    "switch_now",
    "verify",
]
