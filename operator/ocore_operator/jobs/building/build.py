"""Builds Jobs, one method per command of the mover. Pure.

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
from ocore_crds.commands.parts import BaseSnapshot, DatabaseAccess, FilestoreAccess, SourceStore, StoreAccess
from ocore_crds.commands.probe import ProbeRequest
from ocore_crds.commands.restore import Preflight
from ocore_crds.model import LocalRef
from ocore_crds.naming import short_id
from ocore_crds.resources.environment import EnvironmentSpec, connection_of
from ocore_crds.resources.extract import ExtractSpec
from ocore_crds.resources.neutralize import DEFAULT_COMMAND, WRAPPER, Neutralize
from ocore_crds.resources.restore_test import RestoreTests
from ocore_crds.resources.snapshot import SAFETY_TRIGGER
from ocore_crds.stored.manifest import Identity
from ocore_crds.stored.rollback_record import RollbackRun
from ocore_crds.stored.snapshot_state import StoredState
from ocore_crds.text import quantity
from ocore_operator.errors import Failed
from ocore_operator.jobs.building import request_parts, stores
from ocore_operator.jobs.building.inputs import JobInputs
from ocore_operator.jobs.building.job import DEFAULT_RESOURCES, JobRequest, job, job_name
from ocore_operator.jobs.building.listeners import Listeners
from ocore_operator.jobs.building.request_parts import CLAIM, CONFIG, SCRIPTS, SHARED, SHOWN_BY_LOG, Volumes
from ocore_operator.jobs.observing.snapshot_jobs import Deletes
from ocore_operator.kube.resources import Environment, Extract, Object, Resource, Rollback, Snapshot, Store, project_of
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


class JobBuilder:
    """Builds one Job: an attempt at a command, whose name ends with `attempt`. Deadlines are in seconds from now."""

    def __init__(self, settings: Settings, job_inputs: JobInputs, attempt: int | str) -> None:
        self._settings = settings
        self._inputs = job_inputs
        self._attempt = attempt
        self._volumes = Volumes()

    # --- parts of all ------------------------------------------------------------------------------------------------

    def _job(self, owner: Resource, request: Request, deadline: float, **more: Any) -> Object:  # type: ignore[type-arg]
        """`more`: fields of the JobRequest."""
        found = JobRequest(owner, request, self._attempt, self._volumes, deadline, **more)
        return job(self._settings, self._inputs, found)

    @property
    def _environment(self) -> Environment:
        if self._inputs.environment is None:
            raise ValueError("this Job needs the Environment: load the inputs with inputs.load")
        return self._inputs.environment

    @property
    def _spec(self) -> EnvironmentSpec:
        return self._environment.spec

    @property
    def _start(self) -> float:
        """Seconds until the container of the Job must run."""
        return self._inputs.template.start_deadline or self._settings.start_deadline

    @property
    def _short(self) -> float:
        """Deadline of the Job of a short command: a slow start must not use up the command's own time."""
        return SHORT + self._start

    def _store(self, *, read_only: bool = False) -> StoreAccess:
        found, signing = self._inputs.store, self._inputs.store.spec.signing
        access = stores.of(found).access(self._volumes, read_only=read_only)
        return access.model_copy(update={"signers": signing.public_keys if signing is not None else ()})

    def _source(self) -> SourceStore | None:
        source = self._inputs.source
        return stores.of(source).source(self._volumes) if source is not None else None

    def _database(self, *, admin: bool) -> DatabaseAccess | None:
        return request_parts.database(self._volumes, self._environment, admin=admin)

    def _needed_database(self) -> DatabaseAccess:
        """Raises ValueError where the Environment has no database."""
        found = self._database(admin=True)
        if found is None:
            raise ValueError("this Job needs spec.database of the Environment")
        return found

    def _filestore(self) -> FilestoreAccess | None:
        return request_parts.filestore(self._volumes, self._spec)

    def _signing_key(self) -> str | None:
        signing = self._inputs.store.spec.signing
        return request_parts.signing_key(self._volumes, signing.secret_ref if signing is not None else None)

    def _scratch(self) -> str:
        return request_parts.scratch(self._volumes, self._spec)

    def _capacity(self) -> int | None:
        """Bytes that the volume of the server's databases holds, where that is known: the Job does not fill it."""
        found = connection_of(self._spec, self._environment.status)
        return _bytes(found.capacity if found is not None else None)

    # --- Environment and SnapshotStore -------------------------------------------------------------------------------

    def probe(self, *, asked: bool = False) -> Object:
        """Checks database and filestore, and whether the Jobs' user can use a store on a claim. Where that user is
        unknown it reports the owner of the files, and can change nothing on the claim. `asked`: a Rollback or a person
        waits for it."""
        request = self._probe(self._volumes, _deadline(SHORT))
        return self._job(self._environment, request, self._short, of_operation=asked)

    def _probe(self, volumes: Volumes, deadline: float) -> ProbeRequest:
        spec, unknown = self._spec, self._inputs.user_unknown
        url, name = stores.of(self._inputs.store).probed(volumes) if not unknown else ("", "")
        return t.PROBE.request(
            database=request_parts.database(volumes, self._environment, admin=True),
            filestore=request_parts.filestore(volumes, spec, read_only=unknown),
            environment_id=self._environment.id,
            propose_user=unknown and spec.filestore is not None,
            store=url,
            store_name=name,
            config_file=request_parts.config_file(spec) if not unknown else "",
            deadline=deadline,
        )

    def _then(self) -> ProbeRequest | None:
        """The probe that follows in the same Job; None where it mounts anything else: a Job never gets more for it."""
        own = Volumes()
        request = self._probe(own, FOLLOWING)
        return request if own == self._volumes and not self._inputs.user_unknown else None

    def measure(self) -> Object:
        """The sizes of database and filestore. It only reads, as the application's role."""
        self._volumes.read_only = True
        request = t.MEASURE.request(
            database=self._database(admin=False),
            filestore=self._filestore(),
            environment_id=self._environment.id,
            deadline=_deadline(SHORT),
        )
        return self._job(self._environment, request, self._short)

    def prove(self) -> Object:
        """Restores the schema into a scratch database. It mounts neither the claim nor the store: a dump without data
        fits into the pod's /tmp. Raises ValueError where the Environment has no database."""
        request = t.PROVE.request(
            database=self._needed_database(),
            environment_id=self._environment.id,
            jobs=self._spec.jobs.parallelism,
            deadline=_deadline(PROOF),
        )
        self._inputs = replace(self._inputs, node=None)
        return self._job(self._environment, request, PROOF)

    def probe_store(self) -> Object:
        """Writes and reads the store id."""
        # It finds the id: a store that was made again is reported, not refused.
        request = t.PROBE_STORE.request(store=self._store().model_copy(update={"id": None}), deadline=_deadline(SHORT))
        return self._job(self._inputs.store, request, self._short)

    def list_manifests(self, environments: Mapping[str, str], *, after: str) -> Object:
        """One page of the snapshots of these environments (id → project id)."""
        request = t.LIST_MANIFESTS.request(
            store=self._store(),
            environments=dict(sorted(environments.items())),
            after=after,
            hidden=self._inputs.store.spec.import_hidden,
            deadline=_deadline(LONG),
        )
        return self._job(self._inputs.store, request, LONG + self._start)

    def sweep(self, *, renew_locks: bool) -> Object:
        """Finds orphans, and renews locks. The list goes into the store, unless that is read-only."""
        store = self._inputs.store
        report = store.meta.uid if store.spec.access == "ReadWrite" else None
        request = t.SWEEP.request(
            store=self._store(), report_id=report, renew_locks=renew_locks, deadline=_deadline(LONG)
        )
        return self._job(store, request, LONG + self._start)

    def remove_orphans(self, *, report: str) -> Object:
        """Deletes what the report lists, where it still is an orphan."""
        store = self._inputs.store
        request = t.REMOVE_ORPHANS.request(
            store=self._store(), report_id=store.meta.uid, sha256=report, deadline=_deadline(LONG)
        )
        return self._job(store, request, LONG + self._start)

    # --- Snapshot ----------------------------------------------------------------------------------------------------

    def snapshot(
        self,
        owner: Snapshot,
        frozen: Identity,
        base: BaseSnapshot | None,
        *,
        base_identity: str | None = None,
        state: StoredState,
        deadline: float,
    ) -> Object:
        """With a base a differential. `base_identity`: the Secret with the Job identity of an encrypted base."""
        signature, encryption = owner.status.signature, owner.status.encryption
        own_identity = encryption.job_identity_secret if encryption is not None else None
        request = t.SNAPSHOT.request(
            store=self._store(),
            database=self._database(admin=False),
            filestore=self._filestore(),
            config=request_parts.config(self._volumes, self._spec),
            config_file=request_parts.config_file(self._spec),
            scratch=self._scratch(),
            environment_id=self._environment.id,
            snapshot_id=owner.id,
            # By the short id `delete --claim` recognises the snapshot's frozen folders.
            attempt=f"{short_id(owner.id)}-{self._attempt}",
            identity=frozen,
            recipients=encryption.recipients if encryption is not None else (),
            job_identity=request_parts.job_identity(self._volumes, request_parts.JOB_IDENTITY, own_identity),
            base_identity=request_parts.job_identity(self._volumes, request_parts.BASE_IDENTITY, base_identity),
            signing_key=self._signing_key() if signature is not None else None,
            previous=signature.previous if signature is not None else None,
            verify=owner.spec.verify,
            state=state,
            base=base,
            quiesce=request_parts.signal(self._volumes, deadline, self._name(owner, t.SNAPSHOT))
            if owner.spec.quiesce
            else None,
            jobs=self._spec.jobs.parallelism,
            deadline=_deadline(deadline),
        )
        safety = owner.spec.trigger == SAFETY_TRIGGER
        return self._job(owner, request, deadline, of_operation=safety, stays=owner.spec.quiesce)

    def verify(self, owner: Snapshot, *, deadline: float) -> Object:
        """Reads every byte again."""
        request = t.VERIFY.request(
            store=self._store(),
            environment_id=_of_snapshot(owner),
            snapshot_id=owner.id,
            manifest_sha256=owner.status.manifest_sha256,
            deadline=_deadline(deadline),
        )
        return self._job(owner, request, deadline)

    def write_state(self, owner: Snapshot, state: StoredState) -> Object:
        """Stores pin, retention and deletionPolicy in the store of the inputs."""
        request = t.WRITE_STATE.request(
            store=self._store(),
            environment_id=_of_snapshot(owner),
            snapshot_id=owner.id,
            state=state,
            deadline=_deadline(SHORT),
        )
        return self._job(owner, request, self._short)

    def restore_test(
        self, owner: Snapshot, verify: RestoreTests | None, *, identity: LocalRef | None = None, deadline: float
    ) -> Object:
        """Restores the snapshot into a scratch database and drops it. `verify`: the policy's; None: on the
        environment's own server. `identity`: the Secret that opens it.

        It has the environment's Secrets only where it restores on its server, never its claim, and it only reads the
        store. One table at a time: the server also serves the live database.
        """
        server = verify.server if verify is not None else None
        if server is not None:
            database: DatabaseAccess | None = request_parts.restore_test_server(self._volumes, server)
        else:
            database = self._database(admin=True)
        request = t.RESTORE_TEST.request(
            store=self._store(read_only=True),
            database=database,
            environment_id=_of_snapshot(owner),
            snapshot_id=owner.id,
            scratch=self._scratch(),
            manifest_sha256=owner.status.manifest_sha256,
            identity=request_parts.identity(self._volumes, identity),
            capacity=_bytes(server.capacity) if server is not None else self._capacity(),
            assertions=request_parts.assertions(self._volumes, verify.assertions if verify is not None else None),
            separate_server=server is not None,
            jobs=1,
            deadline=_deadline(deadline),
        )
        return self._job(owner, request, deadline)

    def delete(self, owner: Snapshot, deletes: Deletes, *, deadline: float) -> Object:
        """Deletes that in the store of the inputs. Where the inputs have the Environment, also the folders that the
        snapshot's attempts froze on its claim. Where they have a source, that is the store of the remote copy: nothing
        is deleted unless it has the whole copy."""
        files = self._inputs.environment.spec.filestore if self._inputs.environment is not None else None
        request = t.DELETE.request(
            store=self._store(),
            source=self._source(),
            environment_id=_of_snapshot(owner),
            snapshot_id=owner.id,
            attempts_only=deletes is Deletes.LEFTOVERS,
            known_state=_known_state(owner, deletes) if deletes is not Deletes.LEFTOVERS else None,
            manifest_sha256=owner.status.manifest_sha256 if self._inputs.source is not None else None,
            claim=self._volumes.claim("claim", CLAIM, files.claim_name) if files is not None else None,
            deadline=_deadline(deadline),
        )
        return self._job(owner, request, deadline)

    def check_copy(self, owner: Snapshot) -> Object:
        """Asks the store of the inputs whether it has every object of the copy."""
        self._volumes.read_only = True
        request = t.CHECK_COPY.request(
            store=self._store(),
            environment_id=_of_snapshot(owner),
            snapshot_id=owner.id,
            manifest_sha256=owner.status.manifest_sha256 or "",
            deadline=_deadline(SHORT),
        )
        return self._job(owner, request, self._short)

    def copy_remote(self, owner: Snapshot) -> Object:
        """Copies the snapshot from the source of the inputs into their store. An attempt ends after a day; the next one
        continues it. Raises ValueError without a source."""
        if self._inputs.source is None:
            raise ValueError(f"the copy of {owner.key} needs a source")
        request = t.COPY_REMOTE.request(
            store=self._store(),
            source=self._source(),
            environment_id=_of_snapshot(owner),
            snapshot_id=owner.id,
            manifest_sha256=owner.status.manifest_sha256,
            deadline=_deadline(COPY),
        )
        return self._job(owner, request, COPY)

    def inspect_snapshot(self, owner: Snapshot) -> Object:
        """Reads the result of ``snapshot`` back from the manifest."""
        request = t.INSPECT.request(
            store=self._store(),
            environment_id=_of_snapshot(owner),
            snapshot_id=owner.id,
            deadline=_deadline(SHORT),
        )
        return self._job(owner, request, self._short)

    # --- Rollback ----------------------------------------------------------------------------------------------------

    def restore(
        self,
        owner: Rollback,
        run: RollbackRun,
        *,
        identity: LocalRef | None = None,
        preflight: Preflight | None = None,
        deadline: float,
        switch: tuple[float, float] | None = None,
    ) -> Object:
        """Restores the snapshot of the rollback's status beside the live environment. `identity`: the Secret that opens
        it. `preflight`: what a probe must find before that; the store is then the Environment's own. `switch`: it makes
        the first attempt at the switch, too: seconds that it waits for its signal, and for all that comes after the
        restore."""
        status = owner.status
        other = status.source_environment_id not in (None, status.environment_id)
        request = t.RESTORE.request(
            database=self._database(admin=True),
            filestore=self._filestore(),
            store=self._store(),
            source=self._source(),
            scratch=self._scratch(),
            environment_id=self._environment.id,
            rollback_id=_names_id(owner),
            snapshot_id=status.snapshot_id or "",
            manifest_sha256=status.manifest_sha256 or "",
            identity=request_parts.identity(self._volumes, identity),
            record=run,
            allow_replication_loss=owner.spec.allow_replication_loss,
            source_environment_id=status.source_environment_id if other else None,
            project_id=project_of(self._environment) if other else None,
            neutralize=status.neutralize is not None,
            capacity=self._capacity(),
            preflight=self._with_probed(preflight) if preflight is not None else None,
            signal=request_parts.late_signal(self._volumes, switch[0], self._name(owner, t.RESTORE))
            if switch is not None
            else None,
            jobs=self._spec.jobs.parallelism,
            deadline=_deadline(deadline),
        )
        whole = deadline + (switch[1] if switch is not None else 0)
        return self._job(owner, request, whole, stays=switch is not None)

    def _name(self, owner: Snapshot | Rollback, command: Command[Any]) -> str:
        return job_name(command.name, owner.meta.uid, self._attempt)

    def _with_probed(self, preflight: Preflight) -> Preflight:
        """With what a probe checks beside database and filestore. The restore mounts it already."""
        url, name = stores.of(self._inputs.store).probed(Volumes())
        config_file = request_parts.config_file(self._spec)
        return preflight.model_copy(update={"store": url, "store_name": name, "config_file": config_file})

    def neutralize(self, owner: Rollback, *, deadline: float, listeners: Listeners = NO_LISTENERS) -> Object:
        """Neutralises the restored copy, as the rollback's status says. It mounts neither the claim nor the store.
        `listeners`: what the pod of an image must not reach.

        Raises ValueError where the status says nothing, Failed(CannotNeutralize) where the scripts were removed since.
        """
        environment, plan, volumes = self._environment, owner.status.neutralize, self._volumes
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
            database=self._needed_database(),
            environment_id=environment.id,
            rollback_id=owner.id,
            built_in=plan.method is not None,
            sql=volumes.config_map("scripts", SCRIPTS, sql.config_map_ref.name) if sql is not None else None,
            hand_over=volumes.mount("shared", SHARED, shared) if image else None,
            listeners=listeners.others if image else (),
            outside=listeners.outside if image else (),
            assertions=request_parts.assertions(volumes, found.assertions if plan.method is not None else None),
            capacity=self._capacity(),
            own_identity=plan.own_identity,
            base_url=found.base_url if plan.own_identity else None,
            isolation=owner.spec.isolation,
            deadline=_deadline(deadline),
        )
        self._inputs = replace(self._inputs, node=None)
        return self._job(
            owner, request, deadline, beside=self._application(owner, found, plan.image) if image else None
        )

    def _application(self, owner: Rollback, found: Neutralize, image: str) -> Object:
        """The container with the application's image. It has none of our Secrets: the mover hands temporary credentials
        over."""
        mounts: list[Object] = [
            {"name": "shared", "mountPath": SHARED},
            {"name": "application-tmp", "mountPath": "/tmp"},  # noqa: S108 - an emptyDir of the pod
        ]
        self._volumes.volumes.append({"name": "application-tmp", "emptyDir": {}})
        config_map = self._spec.config.config_map_ref if self._spec.config is not None else None
        if config_map is not None:
            self._volumes.volumes.append({"name": "config", "configMap": {"name": config_map.name}})
            mounts.append({"name": "config", "mountPath": CONFIG, "readOnly": True})
        return {
            "name": "application",
            "image": image,
            "command": ["/bin/sh", "-c", WRAPPER, SHARED],
            "args": list(found.command or DEFAULT_COMMAND),
            "env": [
                {"name": "PGDATABASE", "value": owner.status.restored_database or ""},
                {"name": "HOME", "value": "/tmp"},  # noqa: S108
            ],
            "resources": self._inputs.template.resources or DEFAULT_RESOURCES,
            "volumeMounts": mounts,
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }

    def switch(self, owner: Rollback, run: RollbackRun, *, wait: float, deadline: float) -> Object:
        """Waits `wait` seconds for the signal, switches, and ends. Its pod is Running(ready=True) once it waits and the
        store has the record that the switch starts."""
        plan, store = owner.status.neutralize, self._store()
        signal = request_parts.signal(self._volumes, wait, self._name(owner, t.SWITCH), delay=SHOWN_BY_LOG)
        # The switch refuses a copy that is not marked as neutralised, whatever the operator believes.
        neutralized = plan is not None and plan.required
        return self._switch(owner, run, deadline, store=store, signal=signal, neutralized=neutralized)

    def undo(self, owner: Rollback, run: RollbackRun, record: Store | None, *, wait: float, deadline: float) -> Object:
        """As :meth:`switch`, for an undo, which does not depend on the store of the record: it must work when nothing
        else does."""
        signal = request_parts.signal(self._volumes, wait, self._name(owner, t.SWITCH), delay=SHOWN_BY_LOG)
        return self._switch(owner, run, deadline, store=self._optional(record), signal=signal)

    def switch_back(self, owner: Rollback, run: RollbackRun, record: Store | None, *, deadline: float) -> Object:
        """Switches back at once. A store of the record that is missing does not prevent it: then the outcome is only in
        the database."""
        return self._switch(owner, run, deadline, store=self._optional(record), now=True, back=True)

    def _switch(self, owner: Rollback, run: RollbackRun, deadline: float, **more: Any) -> Object:
        """What every switch needs. `more`: fields of the request."""
        undo = owner.status.undo
        request = t.SWITCH.request(
            database=self._database(admin=True),
            filestore=self._filestore(),
            environment_id=self._environment.id,
            rollback_id=_names_id(owner),
            undo_to=undo.to if undo is not None else None,
            record=run,
            allow_replication_loss=owner.spec.allow_replication_loss,
            deadline=_deadline(deadline),
            **more,
        )
        return self._job(owner, request, deadline, stays=True)

    def _optional(self, store: Store | None) -> StoreAccess | None:
        return stores.of(store).optional(self._volumes) if store is not None else None

    def cleanup(
        self, owner: Rollback, *, what: Literal["previous", "restored"], probe: bool = False, deadline: float
    ) -> Object:
        """Removes the restored or the previous database and folders. `probe`: and probes the Environment."""
        request = t.CLEANUP.request(
            database=self._database(admin=True),
            filestore=self._filestore(),
            environment_id=self._environment.id,
            rollback_id=_names_id(owner),
            what=what,
            then=self._then() if probe else None,
            deadline=_deadline(deadline),
        )
        return self._job(owner, request, deadline)

    def preview(self, owner: Rollback, snapshot: Snapshot, *, identity: LocalRef | None = None) -> Object:
        """Reads what a rollback to the Snapshot would do. `identity`: the Secret that opens it. It cannot write to a
        claim: all are mounted read-only."""
        self._volumes.read_only = True
        request = t.PREVIEW.request(
            database=self._database(admin=False),
            filestore=self._filestore(),
            store=self._store(),
            # Where the manifest is: below the id of the environment that the snapshot was taken of.
            environment_id=_of_snapshot(snapshot) or self._environment.id,
            snapshot_id=snapshot.id,
            manifest_sha256=snapshot.status.manifest_sha256 or "",
            identity=request_parts.identity(self._volumes, identity),
            capacity=self._capacity(),
            deadline=_deadline(SHORT),
        )
        return self._job(owner, request, self._short)

    def inspect_rollback(self, owner: Rollback, *, repair: bool, stopped: bool = False, probe: bool = False) -> Object:
        """Finds the position. `repair`: finishes half a switch and allows connections. `stopped`: no workload runs.
        `probe`: it also probes the Environment."""
        request = t.INSPECT.request(
            database=self._database(admin=True),
            filestore=self._filestore(),
            environment_id=self._environment.id,
            rollback_id=_names_id(owner),
            repair=repair,
            workloads_stopped=stopped,
            allow_replication_loss=owner.spec.allow_replication_loss,
            then=self._then() if probe else None,
            deadline=_deadline(SHORT),
        )
        return self._job(owner, request, self._short, stays=stopped)

    # --- Extract -----------------------------------------------------------------------------------------------------

    def extract(self, owner: Extract, *, deadline: float) -> Object:
        """Reads files of the snapshot into the store, or into a new folder on the claim. Else it only reads the store.
        Tables go through a scratch database."""
        spec, status = owner.spec, owner.status
        claim = spec.target.claim
        request = t.EXTRACT.request(
            store=self._store(read_only=spec.target.store is None),
            environment_id=status.environment_id or "",
            snapshot_id=status.snapshot_id or "",
            extract_id=owner.id,
            manifest_sha256=status.manifest_sha256,
            identity=request_parts.identity(self._volumes, _identity_of(owner)),
            paths=spec.files.paths if spec.files is not None else (),
            model=spec.attachments.model if spec.attachments is not None else None,
            record=spec.attachments.record_id if spec.attachments is not None else None,
            name=spec.attachments.name if spec.attachments is not None else None,
            listing=spec.listing.path if spec.listing is not None and not spec.listing.tables else None,
            list_tables=spec.listing is not None and spec.listing.tables,
            **self._of_tables(spec),
            filestore=self._filestore() if claim is not None else None,
            folder=claim.path if claim is not None else None,
            deadline=_deadline(deadline),
        )
        return self._job(owner, request, deadline)

    def _of_tables(self, spec: ExtractSpec) -> dict[str, Any]:
        """What an Extract of tables needs more; nothing for another."""
        if spec.tables is None:
            return {}
        target = spec.target.store
        return {
            "tables": tuple(TableRequest.model_validate(table.wire()) for table in spec.tables),
            "into_database": spec.target.database is not None,
            "format": (target.format if target is not None else None) or "CSV",
            "database": self._needed_database(),
            "scratch": self._scratch(),
            "capacity": self._capacity(),
        }

    def remove_extract(self, owner: Extract) -> Object:
        """Removes what the Extract has made. Of tables also their scratch database, where the inputs have the
        Environment."""
        target = owner.spec.target
        claim = target.claim
        scratch = owner.spec.tables is not None and self._inputs.environment is not None
        request = t.REMOVE_EXTRACT.request(
            environment_id=owner.status.environment_id or "",
            extract_id=owner.id,
            store=self._store() if target.store is not None else None,
            filestore=self._filestore() if claim is not None else None,
            folder=claim.path if claim is not None else None,
            database=self._database(admin=True) if scratch else None,
            from_database=target.database is not None,
            deadline=_deadline(SHORT),
        )
        return self._job(owner, request, self._short)


def _deadline(seconds: float) -> float:
    return max(int(seconds - MARGIN), 1)


def _identity_of(extract: Extract) -> LocalRef | None:
    """The Secret that opens the Snapshot; None: it is not encrypted."""
    secret = extract.status.job_identity_secret
    if not extract.status.encrypted:
        return None
    return extract.spec.identity_secret_ref or (LocalRef(name=secret) if secret is not None else None)


def _bytes(capacity: str | None) -> int | None:
    return quantity.parse(capacity) if capacity is not None else None


def _of_snapshot(owner: Snapshot) -> str:
    """The id of the environment that the snapshot was taken of: a command on stored objects needs neither database nor
    filestore nor the Environment."""
    return owner.status.source.environment_id if owner.status.source is not None else ""


def _known_state(owner: Snapshot, deletes: Deletes) -> StoredState:
    """The pin that this cluster has written to the store; another one is that of another cluster, and keeps the
    data."""
    remote, spec = owner.status.remote, owner.spec
    stored = remote.stored_state if deletes is Deletes.COPY and remote is not None else owner.status.stored_state
    return stored or StoredState(pin_label=spec.pin.label if spec.pin is not None else None)


def _names_id(owner: Rollback) -> str:
    """The id in the names of the databases: an undo has those of the rollback that restored them."""
    return owner.status.undo.names_id if owner.status.undo is not None else owner.id
