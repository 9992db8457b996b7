"""Pure builders of Jobs, one per command of the mover. They return objects and have no client.

Each fills the command's request (``ocore_crds.commands``) and collects the volumes that it refers to
(request_parts.py).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from ocore_crds import conditions as c
from ocore_crds.commands import table as t
from ocore_crds.commands.base import Command, Request
from ocore_crds.commands.extract import TableRequest
from ocore_crds.commands.parts import BaseSnapshot, DatabaseAccess, StoreAccess
from ocore_crds.commands.probe import ProbeRequest
from ocore_crds.commands.restore import Preflight
from ocore_crds.naming import short_id
from ocore_crds.resources.environment import connection_of
from ocore_crds.resources.extract import ExtractSpec
from ocore_crds.resources.neutralize import DEFAULT_COMMAND, WRAPPER, Neutralize
from ocore_crds.resources.restore_test import RestoreTests
from ocore_crds.stored.manifest import Identity
from ocore_crds.stored.rollback_record import RollbackRun
from ocore_crds.stored.snapshot_state import StoredState
from ocore_crds.text import quantity
from ocore_operator.errors import Failed
from ocore_operator.jobs.building import request_parts, stores
from ocore_operator.jobs.building.inputs import JobInputs
from ocore_operator.jobs.building.job import DEFAULT_RESOURCES, JobRequest, job, job_name
from ocore_operator.jobs.building.listeners import Listeners
from ocore_operator.jobs.building.request_parts import CLAIM, CONFIG, SCRIPTS, SHARED, Volumes
from ocore_operator.jobs.observing.snapshot_jobs import Deletes, copying, deletion, state_writing
from ocore_operator.kube.resources import Environment, Extract, Object, Rollback, Snapshot, Store, project_of
from ocore_operator.settings import Settings

#: Seconds by which the mover's deadline is earlier than its Job's: it can report why and clean up before it is killed.
MARGIN = 5.0
#: Deadline in seconds of a probe or an inspection, from the start of its container.
SHORT = 120.0
#: Deadline in seconds of a probe that follows a command in its Job, which may have the operation lock.
FOLLOWING = 30.0
#: Deadline in seconds of a proof: the schema is dumped, restored and dropped.
PROOF = 900.0
#: Deadline in seconds of one attempt at a remote copy.
COPY = 86400.0
#: Deadline in seconds of a command that reads all that a store contains.
LONG = 3600.0
NO_LISTENERS = Listeners()


def _environment(job_inputs: JobInputs) -> Environment:
    if job_inputs.environment is None:
        raise ValueError("this Job needs the Environment: load the inputs with inputs.load")
    return job_inputs.environment


def _deadline(seconds: float) -> float:
    return max(int(seconds - MARGIN), 1)


def _short(settings: Settings, job_inputs: JobInputs) -> float:
    """Deadline of the Job of a short command: a slow start must not use up the command's own time."""
    return SHORT + _start(settings, job_inputs)


def _start(settings: Settings, job_inputs: JobInputs) -> float:
    """Seconds until the container of the Job must run."""
    return job_inputs.template.start_deadline or settings.start_deadline


def probe(settings: Settings, job_inputs: JobInputs, *, attempt: str, asked: bool = False) -> Object:
    """Name ``probe-<uid>-<attempt>``: checks database and filestore, and whether the Jobs' user can use a store on a
    claim. Where that user is unknown it reports the owner of the files, and can change nothing on the claim. `asked`: a
    Rollback or a person waits for it."""
    environment, volumes = _environment(job_inputs), Volumes()
    request = _probe(job_inputs, volumes, _deadline(SHORT))
    return job(
        settings,
        job_inputs,
        JobRequest(environment, request, attempt, volumes, _short(settings, job_inputs), of_operation=asked),
    )


def _probe(job_inputs: JobInputs, volumes: Volumes, deadline: float) -> ProbeRequest:
    environment, unknown = _environment(job_inputs), job_inputs.user_unknown
    spec = environment.spec
    url, name = stores.of(job_inputs.store).probed(volumes) if not unknown else ("", "")
    return t.PROBE.request(
        database=request_parts.database(volumes, environment, admin=True),
        filestore=request_parts.filestore(volumes, spec, read_only=unknown),
        environment_id=environment.id,
        propose_user=unknown and spec.filestore is not None,
        store=url,
        store_name=name,
        config_file=request_parts.config_file(spec) if not unknown else "",
        deadline=deadline,
    )


def _then(job_inputs: JobInputs, volumes: Volumes) -> ProbeRequest | None:
    """The probe that follows in the same Job; None where it mounts anything else: a Job never gets more for it."""
    own = Volumes()
    request = _probe(job_inputs, own, FOLLOWING)
    return request if own == volumes and not job_inputs.user_unknown else None


def measure(settings: Settings, job_inputs: JobInputs, *, attempt: str) -> Object:
    """Name ``measure-<uid>-<attempt>``: the sizes of database and filestore. It only reads, as the application's
    role."""
    environment, volumes = _environment(job_inputs), Volumes(read_only=True)
    request = t.MEASURE.request(
        database=request_parts.database(volumes, environment, admin=False),
        filestore=request_parts.filestore(volumes, environment.spec),
        environment_id=environment.id,
        deadline=_deadline(SHORT),
    )
    return job(settings, job_inputs, JobRequest(environment, request, attempt, volumes, _short(settings, job_inputs)))


def prove(settings: Settings, job_inputs: JobInputs, *, attempt: str) -> Object:
    """Name ``prove-<uid>-<attempt>``: restores the schema into a scratch database. It mounts neither the claim nor the
    store: a dump without data fits into the pod's /tmp. Raises ValueError where the Environment has no database."""
    environment, volumes = _environment(job_inputs), Volumes()
    request = t.PROVE.request(
        database=_needed(request_parts.database(volumes, environment, admin=True)),
        environment_id=environment.id,
        jobs=environment.spec.jobs.parallelism,
        deadline=_deadline(PROOF),
    )
    return job(settings, replace(job_inputs, node=None), JobRequest(environment, request, attempt, volumes, PROOF))


def _needed(found: DatabaseAccess | None) -> DatabaseAccess:
    if found is None:
        raise ValueError("this Job needs spec.database of the Environment")
    return found


def list_manifests(
    settings: Settings, job_inputs: JobInputs, environments: Mapping[str, str], *, after: str, attempt: str
) -> Object:
    """Name ``list-manifests-<uid>-<attempt>``: one page of the snapshots of these environments (id → project id)."""
    volumes = Volumes()
    request = t.LIST_MANIFESTS.request(
        store=stores.of(job_inputs.store).access(volumes),
        environments=dict(sorted(environments.items())),
        after=after,
        deadline=_deadline(LONG),
    )
    return _of_contents(settings, job_inputs, request, volumes, attempt)


def sweep(settings: Settings, job_inputs: JobInputs, *, attempt: str) -> Object:
    """Name ``sweep-<uid>-<attempt>``: finds orphans. Their list goes into the store, unless that is read-only."""
    writes, volumes = job_inputs.store.spec.access == "ReadWrite", Volumes()
    request = t.SWEEP.request(
        store=stores.of(job_inputs.store).access(volumes),
        report_id=job_inputs.store.meta.uid if writes else None,
        deadline=_deadline(LONG),
    )
    return _of_contents(settings, job_inputs, request, volumes, attempt)


def remove_orphans(settings: Settings, job_inputs: JobInputs, *, report: str, attempt: str) -> Object:
    """Name ``remove-orphans-<uid>-<attempt>``: deletes what the report lists, where it still is an orphan."""
    volumes = Volumes()
    request = t.REMOVE_ORPHANS.request(
        store=stores.of(job_inputs.store).access(volumes),
        report_id=job_inputs.store.meta.uid,
        sha256=report,
        deadline=_deadline(LONG),
    )
    return _of_contents(settings, job_inputs, request, volumes, attempt)


def _of_contents(settings: Settings, job_inputs: JobInputs, request: Request, volumes: Volumes, attempt: str) -> Object:
    """A command on all that a store contains."""
    deadline = LONG + _start(settings, job_inputs)
    return job(settings, job_inputs, JobRequest(job_inputs.store, request, attempt, volumes, deadline))


def probe_store(settings: Settings, job_inputs: JobInputs, *, attempt: str) -> Object:
    """Name ``probe-store-<uid>-<attempt>``: writes and reads the store id."""
    volumes = Volumes()
    # It finds the id: a store that was made again is reported, not refused.
    access = stores.of(job_inputs.store).access(volumes).model_copy(update={"id": None})
    request = t.PROBE_STORE.request(store=access, deadline=_deadline(SHORT))
    return job(
        settings, job_inputs, JobRequest(job_inputs.store, request, attempt, volumes, _short(settings, job_inputs))
    )


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
    environment, volumes = _environment(job_inputs), Volumes()
    spec = environment.spec
    request = t.SNAPSHOT.request(
        store=stores.of(job_inputs.store).access(volumes),
        database=request_parts.database(volumes, environment, admin=False),
        filestore=request_parts.filestore(volumes, spec),
        config=request_parts.config(volumes, spec),
        config_file=request_parts.config_file(spec),
        scratch=request_parts.scratch(volumes, spec),
        environment_id=environment.id,
        snapshot_id=owner.id,
        # By the short id `delete --claim` recognises the snapshot's frozen folders.
        attempt=f"{short_id(owner.id)}-{attempt}",
        identity=frozen,
        verify=owner.spec.verify,
        state=state,
        base=(
            BaseSnapshot(snapshot_id=base_snapshot_id, manifest_sha256=base_manifest_sha256)
            if base_snapshot_id
            else None
        ),
        quiesce=request_parts.signal(volumes, deadline) if owner.spec.quiesce else None,
        jobs=spec.jobs.parallelism,
        deadline=_deadline(deadline),
    )
    safety = owner.spec.trigger == "PreRollback"
    command = JobRequest(owner, request, attempt, volumes, deadline, of_operation=safety, stays=owner.spec.quiesce)
    return job(settings, job_inputs, command)


def _of_snapshot(owner: Snapshot) -> str:
    """The id of the environment that the snapshot was taken of: a command on stored objects needs neither database nor
    filestore nor the Environment."""
    return owner.status.source.environment_id if owner.status.source is not None else ""


def verify(settings: Settings, job_inputs: JobInputs, owner: Snapshot, *, attempt: int, deadline: float) -> Object:
    """Name ``verify-<uid>-<attempt>``: reads every byte again."""
    volumes = Volumes()
    request = t.VERIFY.request(
        store=stores.of(job_inputs.store).access(volumes),
        environment_id=_of_snapshot(owner),
        snapshot_id=owner.id,
        manifest_sha256=owner.status.manifest_sha256,
        deadline=_deadline(deadline),
    )
    return job(settings, job_inputs, JobRequest(owner, request, attempt, volumes, deadline))


def write_state(
    settings: Settings,
    job_inputs: JobInputs,
    owner: Snapshot,
    state: StoredState,
    *,
    remote: bool,
    attempt: int,
) -> Object:
    """A Job of :func:`~ocore_operator.jobs.observing.snapshot_jobs.state_writing`: stores pin, retention and
    deletionPolicy in the store of the inputs."""
    volumes = Volumes()
    request = t.WRITE_STATE.request(
        store=stores.of(job_inputs.store).access(volumes),
        environment_id=_of_snapshot(owner),
        snapshot_id=owner.id,
        state=state,
        deadline=_deadline(SHORT),
    )
    name, deadline = state_writing(owner, remote=remote).attempt(attempt), _short(settings, job_inputs)
    return job(settings, job_inputs, JobRequest(owner, request, name, volumes, deadline))


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
    environment, volumes = _environment(job_inputs), Volumes()
    server = verify.server if verify is not None else None
    if server is not None:
        database: DatabaseAccess | None = request_parts.restore_test_server(volumes, server)
        capacity = server.capacity
    else:
        database = request_parts.database(volumes, environment, admin=True)
        capacity = _connected_capacity(environment)
    request = t.RESTORE_TEST.request(
        store=stores.of(job_inputs.store).access(volumes, read_only=True),
        database=database,
        environment_id=_of_snapshot(owner),
        snapshot_id=owner.id,
        scratch=request_parts.scratch(volumes, environment.spec),
        manifest_sha256=owner.status.manifest_sha256,
        capacity=_capacity(capacity),
        assertions=request_parts.assertions(volumes, verify.assertions if verify is not None else None),
        separate_server=server is not None,
        jobs=1,
        deadline=_deadline(deadline),
    )
    return job(settings, job_inputs, JobRequest(owner, request, f"{run}-{attempt}", volumes, deadline))


def delete(
    settings: Settings,
    job_inputs: JobInputs,
    owner: Snapshot,
    *,
    deletes: Deletes,
    attempt: int,
    deadline: float,
) -> Object:
    """A Job of :func:`~ocore_operator.jobs.observing.snapshot_jobs.deletion`: deletes that in the store of the inputs.
    Where the inputs have the Environment, also the folders that the snapshot's attempts froze on its claim. Where they
    have a source, that is the store of the remote copy: nothing is deleted unless it has the whole copy."""
    volumes, source = Volumes(), job_inputs.source
    files = job_inputs.environment.spec.filestore if job_inputs.environment is not None else None
    request = t.DELETE.request(
        store=stores.of(job_inputs.store).access(volumes),
        source=stores.of(source).source(volumes) if source is not None else None,
        environment_id=_of_snapshot(owner),
        snapshot_id=owner.id,
        attempts_only=deletes is Deletes.LEFTOVERS,
        known_state=_known_state(owner, deletes) if deletes is not Deletes.LEFTOVERS else None,
        manifest_sha256=owner.status.manifest_sha256 if source is not None else None,
        claim=volumes.claim("claim", CLAIM, files.claim_name) if files is not None else None,
        deadline=_deadline(deadline),
    )
    name = deletion(owner, deletes).attempt(attempt)
    return job(settings, job_inputs, JobRequest(owner, request, name, volumes, deadline))


def _known_state(owner: Snapshot, deletes: Deletes) -> StoredState:
    """The pin that this cluster has written to the store; another one is that of another cluster, and keeps the
    data."""
    remote, spec = owner.status.remote, owner.spec
    stored = remote.stored_state if deletes is Deletes.COPY and remote is not None else owner.status.stored_state
    return stored or StoredState(pin_label=spec.pin.label if spec.pin is not None else None)


def check_copy(settings: Settings, job_inputs: JobInputs, owner: Snapshot, *, attempt: str) -> Object:
    """Name ``check-copy-<uid>-<attempt>``: asks the store of the inputs whether it has every object of the copy."""
    volumes = Volumes(read_only=True)
    request = t.CHECK_COPY.request(
        store=stores.of(job_inputs.store).access(volumes),
        environment_id=_of_snapshot(owner),
        snapshot_id=owner.id,
        manifest_sha256=owner.status.manifest_sha256 or "",
        deadline=_deadline(SHORT),
    )
    return job(settings, job_inputs, JobRequest(owner, request, attempt, volumes, _short(settings, job_inputs)))


def copy_remote(settings: Settings, job_inputs: JobInputs, owner: Snapshot, *, attempt: int) -> Object:
    """A Job of :func:`~ocore_operator.jobs.observing.snapshot_jobs.copying`: copies the snapshot from the source of the
    inputs into their store. An attempt ends after a day; the next one continues it. Raises ValueError without a
    source."""
    if job_inputs.source is None:
        raise ValueError(f"the copy of {owner.key} needs a source")
    volumes = Volumes()
    request = t.COPY_REMOTE.request(
        store=stores.of(job_inputs.store).access(volumes),
        source=stores.of(job_inputs.source).source(volumes),
        environment_id=_of_snapshot(owner),
        snapshot_id=owner.id,
        manifest_sha256=owner.status.manifest_sha256,
        deadline=_deadline(COPY),
    )
    return job(settings, job_inputs, JobRequest(owner, request, copying(owner).attempt(attempt), volumes, COPY))


def inspect_snapshot(settings: Settings, job_inputs: JobInputs, owner: Snapshot, *, attempt: str) -> Object:
    """Name ``inspect-<uid>-<attempt>``: reads the result of ``snapshot`` back from the manifest."""
    volumes = Volumes()
    request = t.INSPECT.request(
        store=stores.of(job_inputs.store).access(volumes),
        environment_id=_of_snapshot(owner),
        snapshot_id=owner.id,
        deadline=_deadline(SHORT),
    )
    return job(settings, job_inputs, JobRequest(owner, request, attempt, volumes, _short(settings, job_inputs)))


def _names_id(owner: Rollback) -> str:
    """The id in the names of the databases: an undo has those of the rollback that restored them."""
    return owner.status.undo.names_id if owner.status.undo is not None else owner.id


def _capacity(capacity: str | None) -> int | None:
    """Bytes that the volume of the server's databases holds, where that is known: the Job does not fill it."""
    return quantity.parse(capacity) if capacity is not None else None


def _connected_capacity(environment: Environment) -> str | None:
    found = connection_of(environment.spec, environment.status)
    return found.capacity if found is not None else None


def _own_capacity(environment: Environment) -> int | None:
    return _capacity(_connected_capacity(environment))


def restore(
    settings: Settings,
    job_inputs: JobInputs,
    owner: Rollback,
    run: RollbackRun,
    *,
    preflight: Preflight | None = None,
    attempt: int,
    deadline: float,
    switch: tuple[float, float] | None = None,
) -> Object:
    """Name ``restore-<uid>-<attempt>``: restores the snapshot of the rollback's status beside the live environment.
    `preflight`: what a probe must find before that; the store is then the Environment's own. `switch`: it makes the
    first attempt at the switch, too: seconds that it waits for its signal, and for all that comes after the restore."""
    environment, status, volumes = _environment(job_inputs), owner.status, Volumes()
    spec, source = environment.spec, job_inputs.source
    other = status.source_environment_id not in (None, status.environment_id)
    request = t.RESTORE.request(
        database=request_parts.database(volumes, environment, admin=True),
        filestore=request_parts.filestore(volumes, spec),
        store=stores.of(job_inputs.store).access(volumes),
        source=stores.of(source).source(volumes) if source is not None else None,
        scratch=request_parts.scratch(volumes, spec),
        environment_id=environment.id,
        rollback_id=_names_id(owner),
        snapshot_id=status.snapshot_id or "",
        manifest_sha256=status.manifest_sha256 or "",
        record=run,
        allow_replication_loss=owner.spec.allow_replication_loss,
        source_environment_id=status.source_environment_id if other else None,
        project_id=project_of(environment) if other else None,
        neutralize=status.neutralize is not None,
        capacity=_own_capacity(environment),
        preflight=_with_probed(preflight, job_inputs) if preflight is not None else None,
        signal=request_parts.late_signal(volumes, switch[0], _name(owner, t.RESTORE, attempt))
        if switch is not None
        else None,
        jobs=spec.jobs.parallelism,
        deadline=_deadline(deadline),
    )
    whole = deadline + (switch[1] if switch is not None else 0)
    return job(settings, job_inputs, JobRequest(owner, request, attempt, volumes, whole, stays=switch is not None))


def _name(owner: Rollback, command: Command[Any], attempt: int) -> str:
    return job_name(command.name, owner.meta.uid, attempt)


def _with_probed(preflight: Preflight, job_inputs: JobInputs) -> Preflight:
    """With what a probe checks beside database and filestore. The restore mounts it already."""
    url, name = stores.of(job_inputs.store).probed(Volumes())
    config_file = request_parts.config_file(_environment(job_inputs).spec)
    return preflight.model_copy(update={"store": url, "store_name": name, "config_file": config_file})


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

    Raises ValueError where the status says nothing, Failed(CannotNeutralize) where the scripts were removed since.
    """
    environment, plan, volumes = _environment(job_inputs), owner.status.neutralize, Volumes()
    if plan is None:
        raise ValueError(f"Rollback {owner.meta.name} has nothing to neutralise")
    found = environment.spec.neutralize or Neutralize()
    sql = found.sql if plan.scripts else None
    image = plan.method == "Image"
    if plan.scripts and sql is None:
        message = f"Environment {environment.meta.name} has no spec.neutralize.sql any more. Set it again."
        raise Failed(c.CANNOT_NEUTRALIZE, message)
    shared: Object = {"emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}}
    request = t.NEUTRALIZE.request(
        database=_needed(request_parts.database(volumes, environment, admin=True)),
        environment_id=environment.id,
        rollback_id=owner.id,
        built_in=plan.method is not None,
        sql=volumes.config_map("scripts", SCRIPTS, sql.config_map_ref.name) if sql is not None else None,
        hand_over=volumes.mount("shared", SHARED, shared) if image else None,
        listeners=listeners.others if image else (),
        outside=listeners.outside if image else (),
        assertions=request_parts.assertions(volumes, found.assertions if plan.method is not None else None),
        capacity=_own_capacity(environment),
        own_identity=plan.own_identity,
        base_url=found.base_url if plan.own_identity else None,
        isolation=owner.spec.isolation,
        deadline=_deadline(deadline),
    )
    command = JobRequest(owner, request, attempt, volumes, deadline)
    if image:
        beside, more = _application(
            environment, owner, found, plan.image, job_inputs.template.resources or DEFAULT_RESOURCES
        )
        volumes.volumes += more
        command = replace(command, beside=beside)
    return job(settings, replace(job_inputs, node=None), command)


def _application(
    environment: Environment, owner: Rollback, found: Neutralize, image: str, resources: Object
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
        "args": list(found.command or DEFAULT_COMMAND),
        "env": [
            {"name": "PGDATABASE", "value": owner.status.restored_database or ""},
            {"name": "HOME", "value": "/tmp"},  # noqa: S108
        ],
        "resources": resources,
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
    volumes, plan = Volumes(), owner.status.neutralize
    return _switch(
        settings, job_inputs, owner, volumes, run, attempt, deadline,
        store=stores.of(job_inputs.store).access(volumes),
        signal=request_parts.signal(volumes, wait, _name(owner, t.SWITCH, attempt)),
        # The switch refuses a copy that is not marked as neutralised, whatever the operator believes.
        neutralized=plan is not None and plan.required,
    )  # fmt: skip


def _switch(
    settings: Settings,
    job_inputs: JobInputs,
    owner: Rollback,
    volumes: Volumes,
    run: RollbackRun,
    attempt: int,
    deadline: float,
    **more: Any,
) -> Object:
    """What every switch needs. `more`: fields of the request."""
    environment, undo = _environment(job_inputs), owner.status.undo
    request = t.SWITCH.request(
        database=request_parts.database(volumes, environment, admin=True),
        filestore=request_parts.filestore(volumes, environment.spec),
        environment_id=environment.id,
        rollback_id=_names_id(owner),
        undo_to=undo.to if undo is not None else None,
        record=run,
        allow_replication_loss=owner.spec.allow_replication_loss,
        deadline=_deadline(deadline),
        **more,
    )
    return job(settings, job_inputs, JobRequest(owner, request, attempt, volumes, deadline, stays=True))


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
    volumes = Volumes()
    signal = request_parts.signal(volumes, wait, _name(owner, t.SWITCH, attempt))
    store = _optional(volumes, store_of_record)
    return _switch(settings, job_inputs, owner, volumes, run, attempt, deadline, store=store, signal=signal)


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
    volumes = Volumes()
    store = _optional(volumes, store_of_record)
    return _switch(settings, job_inputs, owner, volumes, run, attempt, deadline, store=store, now=True, back=True)


def _optional(volumes: Volumes, store: Store | None) -> StoreAccess | None:
    return stores.of(store).optional(volumes) if store is not None else None


def cleanup(
    settings: Settings,
    job_inputs: JobInputs,
    owner: Rollback,
    *,
    what: Literal["previous", "restored"],
    probe: bool = False,
    attempt: int,
    deadline: float,
) -> Object:
    """Name ``cleanup-<uid>-<attempt>``: removes the restored or the previous database and folders. `probe`: and probes
    the Environment."""
    environment, volumes = _environment(job_inputs), Volumes()
    request = t.CLEANUP.request(
        database=request_parts.database(volumes, environment, admin=True),
        filestore=request_parts.filestore(volumes, environment.spec),
        environment_id=environment.id,
        rollback_id=_names_id(owner),
        what=what,
        then=_then(job_inputs, volumes) if probe else None,
        deadline=_deadline(deadline),
    )
    return job(settings, job_inputs, JobRequest(owner, request, attempt, volumes, deadline))


def preview(settings: Settings, job_inputs: JobInputs, owner: Rollback, snapshot: Snapshot, *, attempt: int) -> Object:
    """Name ``preview-<uid>-<attempt>``: reads what a rollback to the Snapshot would do. It cannot write to a claim: all
    are mounted read-only."""
    environment, source, volumes = _environment(job_inputs), snapshot.status.source, Volumes(read_only=True)
    request = t.PREVIEW.request(
        database=request_parts.database(volumes, environment, admin=False),
        filestore=request_parts.filestore(volumes, environment.spec),
        store=stores.of(job_inputs.store).access(volumes),
        # Where the manifest is: below the id of the environment that the snapshot was taken of.
        environment_id=source.environment_id if source is not None else environment.id,
        snapshot_id=snapshot.id,
        manifest_sha256=snapshot.status.manifest_sha256 or "",
        capacity=_own_capacity(environment),
        deadline=_deadline(SHORT),
    )
    return job(settings, job_inputs, JobRequest(owner, request, attempt, volumes, _short(settings, job_inputs)))


def inspect_rollback(
    settings: Settings,
    job_inputs: JobInputs,
    owner: Rollback,
    *,
    repair: bool,
    stopped: bool = False,
    probe: bool = False,
    attempt: int,
) -> Object:
    """Name ``inspect-<uid>-<attempt>``: finds the position. `repair`: finishes half a switch and allows connections.
    `stopped`: no workload runs. `probe`: it also probes the Environment."""
    environment, volumes = _environment(job_inputs), Volumes()
    request = t.INSPECT.request(
        database=request_parts.database(volumes, environment, admin=True),
        filestore=request_parts.filestore(volumes, environment.spec),
        environment_id=environment.id,
        rollback_id=_names_id(owner),
        repair=repair,
        workloads_stopped=stopped,
        allow_replication_loss=owner.spec.allow_replication_loss,
        then=_then(job_inputs, volumes) if probe else None,
        deadline=_deadline(SHORT),
    )
    short = _short(settings, job_inputs)
    return job(settings, job_inputs, JobRequest(owner, request, attempt, volumes, short, stays=stopped))


def extract(settings: Settings, job_inputs: JobInputs, owner: Extract, *, attempt: int, deadline: float) -> Object:
    """Name ``extract-<uid>-<attempt>``: reads files of the snapshot into the store, or into a new folder on the claim.
    Else it only reads the store. Tables go through a scratch database."""
    spec, status, volumes = owner.spec, owner.status, Volumes()
    claim = spec.target.claim
    request = t.EXTRACT.request(
        store=stores.of(job_inputs.store).access(volumes, read_only=spec.target.store is None),
        environment_id=status.environment_id or "",
        snapshot_id=status.snapshot_id or "",
        extract_id=owner.id,
        manifest_sha256=status.manifest_sha256,
        paths=spec.files.paths if spec.files is not None else (),
        model=spec.attachments.model if spec.attachments is not None else None,
        record=spec.attachments.record_id if spec.attachments is not None else None,
        name=spec.attachments.name if spec.attachments is not None else None,
        listing=spec.listing.path if spec.listing is not None and not spec.listing.tables else None,
        list_tables=spec.listing is not None and spec.listing.tables,
        **_of_tables(volumes, job_inputs, spec),
        filestore=request_parts.filestore(volumes, _environment(job_inputs).spec) if claim is not None else None,
        folder=claim.path if claim is not None else None,
        deadline=_deadline(deadline),
    )
    return job(settings, job_inputs, JobRequest(owner, request, attempt, volumes, deadline))


def _of_tables(volumes: Volumes, job_inputs: JobInputs, spec: ExtractSpec) -> dict[str, Any]:
    """What an Extract of tables needs more; nothing for another."""
    if spec.tables is None:
        return {}
    environment, target = _environment(job_inputs), spec.target.store
    return {
        "tables": tuple(TableRequest.model_validate(table.wire()) for table in spec.tables),
        "into_database": spec.target.database is not None,
        "format": (target.format if target is not None else None) or "CSV",
        "database": _needed(request_parts.database(volumes, environment, admin=True)),
        "scratch": request_parts.scratch(volumes, environment.spec),
        "capacity": _own_capacity(environment),
    }


def remove_extract(settings: Settings, job_inputs: JobInputs, owner: Extract, *, attempt: int) -> Object:
    """Name ``remove-extract-<uid>-<attempt>``: removes what the Extract has made. Of tables also their scratch
    database, where the inputs have the Environment."""
    target, volumes = owner.spec.target, Volumes()
    claim = target.claim
    server = job_inputs.environment if owner.spec.tables is not None else None
    request = t.REMOVE_EXTRACT.request(
        environment_id=owner.status.environment_id or "",
        extract_id=owner.id,
        store=stores.of(job_inputs.store).access(volumes) if target.store is not None else None,
        filestore=request_parts.filestore(volumes, _environment(job_inputs).spec) if claim is not None else None,
        folder=claim.path if claim is not None else None,
        database=request_parts.database(volumes, server, admin=True) if server is not None else None,
        from_database=target.database is not None,
        deadline=_deadline(SHORT),
    )
    return job(settings, job_inputs, JobRequest(owner, request, attempt, volumes, _short(settings, job_inputs)))
