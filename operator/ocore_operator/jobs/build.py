"""Pure builders of Jobs, one per command of the mover. They return objects and have no client.

The parts of a Job (store, database, claim, scratch) are in parts.py. docs/architecture.md lists the arguments of each
command.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from ocore_crds import quantity
from ocore_crds.commands.table import SWITCH
from ocore_crds.manifest import Identity
from ocore_crds.naming import short_id
from ocore_crds.neutralize import WRAPPER, Neutralize
from ocore_crds.restore_test import RestoreTests
from ocore_crds.rollback_record import RollbackRun
from ocore_crds.snapshot_state import StoredState
from ocore_operator.jobs import failpoints
from ocore_operator.jobs.inputs import JobInputs, resources_of
from ocore_operator.jobs.listeners import Listeners
from ocore_operator.jobs.parts import (
    ATTEMPT,
    CONFIG,
    READY_FILE,
    SHARED,
    SIGNAL_FILE,
    Parts,
    administrator,
    assertions,
    claim,
    claim_folder,
    claim_store,
    config,
    config_file,
    database,
    identity,
    optional_store,
    options,
    read_only,
    restore_test_server,
    scratch,
    signal,
    source_store,
    store,
)
from ocore_operator.jobs.parts import neutralize as parts_of_neutralize
from ocore_operator.jobs.series import Deletes, Series, copying, deletion, state_writing
from ocore_operator.jobs.shape import DEFAULT_RESOURCES, JobRequest, job, job_name
from ocore_operator.kube.resources import Environment, Object, Rollback, Snapshot, Store, project_of
from ocore_operator.settings import Settings

#: Seconds by which the mover's deadline is earlier than its Job's: it can report why and clean up before it is killed.
MARGIN = 5.0
#: Deadline in seconds of a probe or an inspection, from the start of its container.
SHORT = 120.0
#: Deadline in seconds of a proof: the schema is dumped, restored and dropped.
PROOF = 900.0
#: Deadline in seconds of one attempt at a remote copy.
COPY = 86400.0
#: Deadline in seconds of a command that reads all that a store contains.
LONG = 3600.0
#: Age in seconds from which an object that no manifest names is an orphan: longer than any snapshot may run.
ORPHAN_AGE = 7 * 86400
NO_LISTENERS = Listeners()


def _environment(job_inputs: JobInputs) -> Environment:
    if job_inputs.environment is None:
        raise ValueError("this Job needs the Environment: load the inputs with inputs.load")
    return job_inputs.environment


def _deadline(seconds: float) -> tuple[str, str]:
    return "--deadline", str(max(int(seconds - MARGIN), 1))


def _short(settings: Settings) -> float:
    """Deadline of the Job of a short command: a slow start must not use up the command's own time."""
    return SHORT + settings.start_deadline


def probe(settings: Settings, job_inputs: JobInputs, *, attempt: str) -> Object:
    """Name ``probe-<uid>-<attempt>``: checks database and filestore, and whether the Jobs' user can use a store on a
    claim. Where that user is unknown it reports the owner of the files, and can change nothing on the claim."""
    environment = _environment(job_inputs)
    files = claim(environment.spec)
    if job_inputs.user_unknown and environment.spec.filestore is not None:
        files = read_only(files) + Parts(args=("--propose-user",))
    parts = database(environment.spec) + administrator(environment.spec) + files
    parts += identity(environment_id=environment.id)
    if not job_inputs.user_unknown:
        parts += claim_store(job_inputs.store) + config_file(environment.spec)
    parts += Parts(args=("--rollback", *_deadline(SHORT)))
    command = JobRequest(owner=environment, name="probe", attempt=attempt, parts=parts, deadline=_short(settings))
    return job(settings, job_inputs, command)


def measure(settings: Settings, job_inputs: JobInputs, *, attempt: str) -> Object:
    """Name ``measure-<uid>-<attempt>``: the sizes of database and filestore. It only reads, as the application's
    role."""
    environment = _environment(job_inputs)
    parts = read_only(database(environment.spec) + claim(environment.spec)) + identity(environment_id=environment.id)
    parts += Parts(args=_deadline(SHORT))
    command = JobRequest(owner=environment, name="measure", attempt=attempt, parts=parts, deadline=_short(settings))
    return job(settings, job_inputs, command)


def prove(settings: Settings, job_inputs: JobInputs, *, attempt: str) -> Object:
    """Name ``prove-<uid>-<attempt>``: restores the schema into a scratch database. It mounts neither the claim nor the
    store: a dump without data fits into the pod's /tmp."""
    environment = _environment(job_inputs)
    parts = database(environment.spec) + administrator(environment.spec) + identity(environment_id=environment.id)
    parts += Parts(args=("--jobs", str(environment.spec.jobs.parallelism), *_deadline(PROOF)))
    command = JobRequest(owner=environment, name="prove", attempt=attempt, parts=parts, deadline=PROOF)
    return job(settings, replace(job_inputs, node=None), command)


def list_manifests(
    settings: Settings, job_inputs: JobInputs, environments: Mapping[str, str], *, after: str, attempt: str
) -> Object:
    """Name ``list-manifests-<uid>-<attempt>``: one page of the snapshots of these environments (id → project id)."""
    wanted = tuple(a for pair in sorted(environments.items()) for a in ("--environment", ":".join(pair)))
    return _of_contents(settings, job_inputs, "list-manifests", Parts(args=wanted) + options(after=after), attempt)


def sweep(settings: Settings, job_inputs: JobInputs, *, attempt: str) -> Object:
    """Name ``sweep-<uid>-<attempt>``: finds orphans. Their list goes into the store, unless that is read-only."""
    writes = job_inputs.store.spec.access == "ReadWrite"
    parts = options(older_than=ORPHAN_AGE, report_id=job_inputs.store.meta.uid if writes else "")
    return _of_contents(settings, job_inputs, "sweep", parts, attempt)


def remove_orphans(settings: Settings, job_inputs: JobInputs, *, report: str, attempt: str) -> Object:
    """Name ``remove-orphans-<uid>-<attempt>``: deletes what the report lists, where it still is an orphan."""
    parts = options(report_id=job_inputs.store.meta.uid, sha256=report)
    return _of_contents(settings, job_inputs, "remove-orphans", parts, attempt)


def _of_contents(settings: Settings, job_inputs: JobInputs, command: str, parts: Parts, attempt: str) -> Object:
    """A command on all that a store contains."""
    found = store(job_inputs.store) + parts + Parts(args=_deadline(LONG))
    request = JobRequest(
        owner=job_inputs.store, name=command, attempt=attempt, parts=found, deadline=LONG + settings.start_deadline
    )
    return job(settings, job_inputs, request)


def probe_store(settings: Settings, job_inputs: JobInputs, *, attempt: str) -> Object:
    """Name ``probe-store-<uid>-<attempt>``: writes and reads the store id."""
    parts = store(job_inputs.store) + Parts(args=_deadline(SHORT))
    command = JobRequest(
        owner=job_inputs.store, name="probe-store", attempt=attempt, parts=parts, deadline=_short(settings)
    )
    return job(settings, job_inputs, command)


def snapshot(
    settings: Settings,
    job_inputs: JobInputs,
    owner: Snapshot,
    frozen: Identity,
    *,
    state: StoredState,
    attempt: int,
    deadline: float,
    base_snapshot_id: str = "",
    base_manifest_sha256: str = "",
) -> Object:
    """Name ``snapshot-<uid>-<attempt>``; `deadline`: seconds from now. With a base (id and SHA-256 of the manifest of a
    full Snapshot) a differential."""
    environment = _environment(job_inputs)
    parts = store(job_inputs.store) + database(environment.spec) + claim(environment.spec) + config(environment.spec)
    parts += scratch(environment.spec) + identity(environment_id=environment.id, snapshot_id=owner.id)
    parts += options(base_snapshot_id=base_snapshot_id, base_manifest_sha256=base_manifest_sha256)
    parts += Parts(
        args=(
            # By the short id `delete --claim` recognises the snapshot's frozen folders.
            *("--attempt", f"{short_id(owner.id)}-{attempt}-{ATTEMPT}"),
            *("--identity", _json(frozen.wire())),
            *("--verify", owner.spec.verify),
            *("--state", _json(state.wire())),
            *("--jobs", str(environment.spec.jobs.parallelism)),
            *_deadline(deadline),
        ),
        failpoints=failpoints.for_job(settings, owner.meta, attempt),
    )
    if owner.spec.quiesce:
        parts += signal()
        parts += Parts(args=("--signal-file", SIGNAL_FILE, "--wait", str(int(deadline)), "--ready-file", READY_FILE))
    return job(
        settings, job_inputs, JobRequest(owner=owner, name="snapshot", attempt=attempt, parts=parts, deadline=deadline)
    )


def _of_snapshot(job_inputs: JobInputs, owner: Snapshot, deadline: float) -> Parts:
    """A command on stored objects: it needs neither database nor filestore nor the Environment."""
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
        settings, job_inputs, JobRequest(owner=owner, name="verify", attempt=attempt, parts=parts, deadline=deadline)
    )


def write_state(
    settings: Settings,
    job_inputs: JobInputs,
    owner: Snapshot,
    state: StoredState,
    *,
    remote: bool,
    attempt: int,
) -> Object:
    """A Job of :func:`~ocore_operator.jobs.series.state_writing`: stores pin, retention and deletionPolicy in the store
    of the inputs."""
    parts = _of_snapshot(job_inputs, owner, SHORT) + Parts(
        args=("--state", _json(state.wire())), failpoints=failpoints.for_job(settings, owner.meta, attempt)
    )
    return job(
        settings, job_inputs, _of_series(state_writing(owner, remote=remote), owner, attempt, parts, _short(settings))
    )


def _json(fields: Object) -> str:
    """For an argument. Texts of users are in it, and the kubelet would expand `$(NAME)` in them and read `$$` as
    `$`."""
    return json.dumps(fields, separators=(",", ":")).replace("$", "\\u0024")


def restore_test(
    settings: Settings,
    job_inputs: JobInputs,
    owner: Snapshot,
    verify: RestoreTests | None,
    *,
    run: str,
    attempt: int,
    deadline: float,
) -> Object:
    """Name ``test-restore-<uid>-<run>-<attempt>``: restores the snapshot into a scratch database and drops it.
    `verify`: the policy's; None: on the environment's own server.

    It has the environment's Secrets only where it restores on its server, never its claim, and it only reads the store.
    One table at a time: the server also serves the live database.
    """
    environment = _environment(job_inputs)
    parts = _of_snapshot(job_inputs, owner, deadline)
    if job_inputs.store.spec.access != "ReadOnly":
        parts += Parts(args=("--store-read-only",))
    parts = read_only(parts) + scratch(environment.spec)
    own = environment.spec.database
    server = verify.server if verify is not None else None
    if server is not None:
        parts += restore_test_server(server) + Parts(args=("--separate-server",))
        capacity = server.capacity
    else:
        parts += database(environment.spec) + administrator(environment.spec)
        capacity = own.capacity if own is not None else None
    parts += _capacity(capacity)
    parts += assertions(verify.assertions if verify is not None else None)
    parts += options(manifest_sha256=owner.status.manifest_sha256) + Parts(
        args=("--jobs", "1"), failpoints=failpoints.for_job(settings, owner.meta, attempt)
    )
    command = JobRequest(owner=owner, name="test-restore", attempt=f"{run}-{attempt}", parts=parts, deadline=deadline)
    return job(settings, job_inputs, command)


def delete(
    settings: Settings,
    job_inputs: JobInputs,
    owner: Snapshot,
    *,
    deletes: Deletes,
    attempt: int,
    deadline: float,
) -> Object:
    """A Job of :func:`~ocore_operator.jobs.series.deletion`: deletes that in the store of the inputs. Where the inputs
    have the Environment, also the folders that the snapshot's attempts
    froze on its claim. Where they have a source, that is the store of the remote copy: nothing is deleted unless it has
    the whole copy."""
    parts = _of_snapshot(job_inputs, owner, deadline)
    if deletes is Deletes.LEFTOVERS:
        parts += Parts(args=("--attempts-only",))
    else:
        parts += Parts(args=("--known-state", _json(_known_state(owner, deletes).wire())))
    parts += Parts(failpoints=failpoints.for_job(settings, owner.meta, attempt))
    if job_inputs.source is not None:
        parts += source_store(job_inputs.source) + _expected_copy(owner, "copy_store_id")
    if job_inputs.environment is not None and job_inputs.environment.spec.filestore is not None:
        parts += claim_folder(job_inputs.environment.spec.filestore.claim_name)
    return job(settings, job_inputs, _of_series(deletion(owner, deletes), owner, attempt, parts, deadline))


def _of_series(series: Series[Any], owner: Snapshot, attempt: int, parts: Parts, deadline: float) -> JobRequest:
    name = series.command.name
    return JobRequest(owner=owner, name=name, attempt=series.attempt(attempt), parts=parts, deadline=deadline)


def _known_state(owner: Snapshot, deletes: Deletes) -> StoredState:
    """The pin that this cluster has written to the store; another one is that of another cluster, and keeps the
    data."""
    remote, spec = owner.status.remote, owner.spec
    stored = remote.stored_state if deletes is Deletes.COPY and remote is not None else owner.status.stored_state
    return stored or StoredState(pin_label=spec.pin.label if spec.pin is not None else None)


def _expected_copy(owner: Snapshot, store_id: str) -> Parts:
    remote = owner.status.remote
    if remote is None or remote.store_id is None:
        raise ValueError(f"{owner.key} has no complete remote copy")
    return options(**{store_id: remote.store_id}, manifest_sha256=owner.status.manifest_sha256)


def check_copy(settings: Settings, job_inputs: JobInputs, owner: Snapshot, *, attempt: str) -> Object:
    """Name ``check-copy-<uid>-<attempt>``: asks the store of the inputs whether it has every object of the copy."""
    parts = read_only(_of_snapshot(job_inputs, owner, SHORT) + _expected_copy(owner, "store_id"))
    command = JobRequest(owner=owner, name="check-copy", attempt=attempt, parts=parts, deadline=_short(settings))
    return job(settings, job_inputs, command)


def copy_remote(settings: Settings, job_inputs: JobInputs, owner: Snapshot, *, attempt: int) -> Object:
    """A Job of :func:`~ocore_operator.jobs.series.copying`: copies the snapshot from the source of the inputs into
    their store. An attempt ends after a day; the next one continues it."""
    parts = _of_snapshot(job_inputs, owner, COPY) + source_store(job_inputs.source)
    parts += options(manifest_sha256=owner.status.manifest_sha256)
    parts += Parts(failpoints=failpoints.for_job(settings, owner.meta, attempt))
    return job(settings, job_inputs, _of_series(copying(owner), owner, attempt, parts, COPY))


def inspect_snapshot(settings: Settings, job_inputs: JobInputs, owner: Snapshot, *, attempt: str) -> Object:
    """Name ``inspect-<uid>-<attempt>``: reads the result of ``snapshot`` back from the manifest."""
    parts = _of_snapshot(job_inputs, owner, SHORT)
    return job(
        settings,
        job_inputs,
        JobRequest(owner=owner, name="inspect", attempt=attempt, parts=parts, deadline=_short(settings)),
    )


def _of_rollback(settings: Settings, job_inputs: JobInputs, owner: Rollback, attempt: int, deadline: float) -> Parts:
    """A command on the environment's database and filestore."""
    environment = _environment(job_inputs)
    parts = database(environment.spec) + administrator(environment.spec) + claim(environment.spec)
    undo = owner.status.undo
    parts += identity(environment_id=environment.id, rollback_id=undo.names_id if undo is not None else owner.id)
    return parts + Parts(args=_deadline(deadline), failpoints=failpoints.for_job(settings, owner.meta, attempt))


def _capacity(capacity: str | None) -> Parts:
    """What the volume of the server's databases holds, where that is known: the Job does not fill it."""
    return options(capacity=quantity.parse(capacity)) if capacity is not None else Parts()


def _record(run: RollbackRun) -> Parts:
    """What the Job writes to the rollback's record. Its attempt is the pod's uid: two pods of one Job never write the
    same object."""
    fields = run.wire()
    del fields["attempt"]
    text = _json(fields)
    return Parts(args=("--record", f'{text[:-1]},"attempt":"{ATTEMPT}"}}'))


def _replication_loss(owner: Rollback) -> Parts:
    """For the commands that check or end logical replication."""
    return Parts(args=("--allow-replication-loss",) if owner.spec.allow_replication_loss else ())


def restore(
    settings: Settings,
    job_inputs: JobInputs,
    owner: Rollback,
    run: RollbackRun,
    *,
    attempt: int,
    deadline: float,
) -> Object:
    """Name ``restore-<uid>-<attempt>``: restores the snapshot of the rollback's status beside the live environment."""
    environment, status = _environment(job_inputs), owner.status
    parts = (
        _of_rollback(settings, job_inputs, owner, attempt, deadline)
        + store(job_inputs.store)
        + scratch(environment.spec)
    )
    parts += identity(snapshot_id=status.snapshot_id or "") + _record(run) + _replication_loss(owner)
    parts += source_store(job_inputs.source)
    if status.source_environment_id not in (None, status.environment_id):
        parts += options(source_environment_id=status.source_environment_id, project_id=project_of(environment))
    if status.neutralize is not None:
        parts += Parts(args=("--neutralize",))
    parts += _capacity(environment.spec.database.capacity if environment.spec.database is not None else None)
    parts += Parts(
        args=("--manifest-sha256", status.manifest_sha256 or "", "--jobs", str(environment.spec.jobs.parallelism))
    )
    return job(
        settings, job_inputs, JobRequest(owner=owner, name="restore", attempt=attempt, parts=parts, deadline=deadline)
    )


def neutralize(
    settings: Settings,
    job_inputs: JobInputs,
    owner: Rollback,
    *,
    attempt: int,
    deadline: float,
    listeners: Listeners = NO_LISTENERS,
) -> Object:
    """Name ``neutralize-<uid>-<attempt>``: neutralises the restored copy, as the rollback's status says. It mounts
    neither the claim nor the store.
    `listeners`: what the pod of an image must not reach.

    Raises ValueError where the status says nothing.
    """
    environment, plan = _environment(job_inputs), owner.status.neutralize
    if plan is None:
        raise ValueError(f"Rollback {owner.meta.name} has nothing to neutralise")
    found = environment.spec.neutralize or Neutralize()
    parts = (
        database(environment.spec)
        + administrator(environment.spec)
        + parts_of_neutralize(found, plan.method, listeners)
    )
    parts += identity(environment_id=environment.id, rollback_id=owner.id)
    if plan.own_identity:
        parts += Parts(args=("--own-identity",)) + options(base_url=found.base_url)
    parts += options(isolation=owner.spec.isolation)
    parts += Parts(args=_deadline(deadline), failpoints=failpoints.for_job(settings, owner.meta, attempt))
    beside: Object | None = None
    if plan.method == "Image":
        beside, volumes = _application(environment, owner, found, plan.image)
        parts += Parts(volumes=volumes)
    command = JobRequest(owner=owner, name="neutralize", attempt=attempt, parts=parts, deadline=deadline, beside=beside)
    return job(settings, replace(job_inputs, node=None), command)


def _resources(environment: Environment) -> Object:
    return resources_of(environment.spec.jobs) or DEFAULT_RESOURCES


def _application(
    environment: Environment, owner: Rollback, found: Neutralize, image: str
) -> tuple[Object, tuple[Object, ...]]:
    """The container with the application's image, and its volumes. It has none of our Secrets: the mover hands
    temporary credentials over."""
    mounts: list[Object] = [
        {"name": "shared", "mountPath": SHARED},
        {"name": "application-tmp", "mountPath": "/tmp"},  # noqa: S108 - an emptyDir of the pod
    ]
    volumes: list[Object] = [{"name": "application-tmp", "emptyDir": {}}]
    config_map = environment.spec.config.config_map_ref if environment.spec.config is not None else None
    if config_map is not None:
        volumes.append({"name": "config", "configMap": {"name": config_map.name}})
        mounts.append({"name": "config", "mountPath": CONFIG, "readOnly": True})
    container: Object = {
        "name": "application",
        "image": image,
        "command": ["/bin/sh", "-c", WRAPPER, SHARED],
        "args": list(found.command),
        "env": [
            {"name": "PGDATABASE", "value": owner.status.restored_database or ""},
            {"name": "HOME", "value": "/tmp"},  # noqa: S108
        ],
        "resources": _resources(environment),
        "volumeMounts": mounts,
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    return container, tuple(volumes)


def switch(
    settings: Settings,
    job_inputs: JobInputs,
    owner: Rollback,
    run: RollbackRun,
    *,
    attempt: int,
    wait: float,
    deadline: float,
) -> Object:
    """Name ``switch-<uid>-<attempt>``: waits `wait` seconds for the signal, switches, and ends. Its pod is
    Running(ready=True) once it waits and the store has the record that the switch starts."""
    parts = _of_rollback(settings, job_inputs, owner, attempt, deadline) + signal()
    parts += store(job_inputs.store) + _record(run) + _replication_loss(owner) + _neutralized(owner)
    parts += Parts(args=("--signal-file", SIGNAL_FILE, "--wait", str(int(wait)), "--ready-file", READY_FILE))
    command = JobRequest(
        owner=owner, name="switch", attempt=attempt, parts=parts, deadline=deadline, restarts=SWITCH.restarts
    )
    return job(settings, job_inputs, command)


def _neutralized(owner: Rollback) -> Parts:
    """The switch refuses a copy that is not marked as neutralised, whatever the operator believes."""
    plan = owner.status.neutralize
    return Parts(args=("--neutralized",) if plan is not None and plan.required else ())


def _undo_to(owner: Rollback) -> Parts:
    """The position that an undo wants."""
    undo = owner.status.undo
    return Parts(args=("--undo-to", undo.to) if undo is not None else ())


def undo(
    settings: Settings,
    job_inputs: JobInputs,
    owner: Rollback,
    run: RollbackRun,
    *,
    store_of_record: Store | None,
    attempt: int,
    wait: float,
    deadline: float,
) -> Object:
    """As :func:`switch`, for an undo, which does not depend on the store: it must work when nothing else does."""
    parts = _of_rollback(settings, job_inputs, owner, attempt, deadline) + signal()
    parts += optional_store(store_of_record) + _record(run) + _replication_loss(owner) + _undo_to(owner)
    parts += Parts(args=("--signal-file", SIGNAL_FILE, "--wait", str(int(wait)), "--ready-file", READY_FILE))
    command = JobRequest(
        owner=owner, name="switch", attempt=attempt, parts=parts, deadline=deadline, restarts=SWITCH.restarts
    )
    return job(settings, job_inputs, command)


def switch_back(
    settings: Settings,
    job_inputs: JobInputs,
    owner: Rollback,
    run: RollbackRun,
    *,
    store_of_record: Store | None,
    attempt: int,
    deadline: float,
) -> Object:
    """Name ``switch-<uid>-<attempt>``: switches back at once. A store that is missing does not prevent it: then the
    outcome is only in the database."""
    parts = _of_rollback(settings, job_inputs, owner, attempt, deadline) + _record(run) + _replication_loss(owner)
    parts += optional_store(store_of_record) + _undo_to(owner) + Parts(args=("--back", "--now"))
    command = JobRequest(
        owner=owner, name="switch", attempt=attempt, parts=parts, deadline=deadline, restarts=SWITCH.restarts
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
    """Name ``cleanup-<uid>-<attempt>``: removes the restored or the previous database and folders."""
    parts = _of_rollback(settings, job_inputs, owner, attempt, deadline) + Parts(args=("--what", what))
    return job(
        settings, job_inputs, JobRequest(owner=owner, name="cleanup", attempt=attempt, parts=parts, deadline=deadline)
    )


def preview(settings: Settings, job_inputs: JobInputs, owner: Rollback, snapshot: Snapshot, *, attempt: int) -> Object:
    """Name ``preview-<uid>-<attempt>``: reads what a rollback to the Snapshot would do. It cannot write to a claim: all
    are mounted read-only."""
    environment, source = _environment(job_inputs), snapshot.status.source
    parts = database(environment.spec) + claim(environment.spec) + store(job_inputs.store)
    # Where the manifest is: below the id of the environment that the snapshot was taken of.
    of = source.environment_id if source is not None else environment.id
    parts += identity(environment_id=of, snapshot_id=snapshot.id)
    parts += _capacity(environment.spec.database.capacity if environment.spec.database is not None else None)
    parts += Parts(args=("--manifest-sha256", snapshot.status.manifest_sha256 or "", *_deadline(SHORT)))
    command = JobRequest(
        owner=owner, name="preview", attempt=attempt, parts=read_only(parts), deadline=_short(settings)
    )
    return job(settings, job_inputs, command)


def inspect_rollback(
    settings: Settings, job_inputs: JobInputs, owner: Rollback, *, repair: bool, stopped: bool = False, attempt: int
) -> Object:
    """Name ``inspect-<uid>-<attempt>``: finds the position. `repair`: finishes half a switch and allows connections.
    `stopped`: no workload runs."""
    parts = _of_rollback(settings, job_inputs, owner, attempt, SHORT) + _replication_loss(owner)
    parts += Parts(args=(*(("--repair",) if repair else ()), *(("--workloads-stopped",) if stopped else ())))
    return job(
        settings,
        job_inputs,
        JobRequest(owner=owner, name="inspect", attempt=attempt, parts=parts, deadline=_short(settings)),
    )


__all__ = [
    "check_copy",
    "cleanup",
    "copy_remote",
    "delete",
    "inspect_rollback",
    "inspect_snapshot",
    "job_name",
    "list_manifests",
    "measure",
    "neutralize",
    "preview",
    "probe",
    "probe_store",
    "prove",
    "remove_orphans",
    "restore",
    "snapshot",
    "sweep",
    "switch",
    "switch_back",
    "undo",
    "verify",
    "write_state",
]
