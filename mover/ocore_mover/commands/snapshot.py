"""``snapshot``: stores database, filestore and configuration of one point in time. The manifest is written last."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ocore_crds import conditions, failpoints, naming
from ocore_crds.commands.parts import SignalWait
from ocore_crds.commands.snapshot import SnapshotRequest, SnapshotResult
from ocore_crds.reports.base import Step
from ocore_crds.resources.signing import place_after
from ocore_crds.stored.manifest import (
    AnyManifest,
    ConfigArtifact,
    DatabaseArtifact,
    FilestoreArtifact,
    Identity,
    Manifest,
    OuterManifest,
    format_version,
)
from ocore_crds.stored.snapshot_state import StoredState
from ocore_mover import dependents, manifests, settings, snapshot_results, states
from ocore_mover.commands import base as base_command
from ocore_mover.commands import config_archive, evidence, opening
from ocore_mover.commands.base import Unusable
from ocore_mover.commands.probe import no_attachments
from ocore_mover.commands.runtime import Runtime, best_effort
from ocore_mover.database import artifact as database_artifact
from ocore_mover.database import lock_waits
from ocore_mover.database.artifact import DatabaseProperties
from ocore_mover.database.connect import Server
from ocore_mover.database.dump import dump as database_dump
from ocore_mover.database.dump import export
from ocore_mover.database.dump.export import Exported
from ocore_mover.database.odoo_rows import unfinished_warning
from ocore_mover.deadline import Token
from ocore_mover.encryption import Encrypting
from ocore_mover.errors import Corrupt, MoverError
from ocore_mover.filestore import layouts
from ocore_mover.filestore.base import BaseIndex
from ocore_mover.filestore.folders import ClaimFolders
from ocore_mover.filestore.layout import Capture, CaptureOptions
from ocore_mover.filestore.readable import check_index
from ocore_mover.report import now
from ocore_mover.signals import SignalFile, is_expired
from ocore_mover.signatures import Signer
from ocore_mover.store.interface import Store, abort_uploads
from ocore_mover.store.probe import store_id

log = logging.getLogger(__name__)

#: Database snapshots and copies that are taken of a filestore that changes while it is copied (it has no hard links).
TRIES = 3
#: Seconds for which a store that fails is asked for the base, at most; and as a part of the command's time. Then a full
#: snapshot is taken.
BASE_PATIENCE = 300.0
BASE_SHARE = 0.1
#: Exports beside one frozen folder, while the application deletes files that it has just created.
EXPORTS = 10


@dataclass
class _Taken:
    """What one try has stored."""

    consistent_at: str
    database: DatabaseArtifact | None = None
    filestore: FilestoreArtifact | None = None
    config: ConfigArtifact | None = None
    attachments: int = 0
    warnings: list[str] = field(default_factory=list)
    incomplete: list[str] = field(default_factory=list)  # those of the warnings for which it is no clean success

    def note(self, found: DatabaseProperties, *, files: bool) -> None:
        """What the database says about the snapshot. `files`: the application's files are to be in it."""
        if found.outside.count and files:
            text = (
                f"{found.outside.count} attachments have their contents neither in the database nor in the filestore"
                f" ({found.outside.how}), so they are not in the snapshot"
            )
            self.warnings.append(text)
            self.incomplete.append(text)
        if found.artifact.unfinished_modules:
            self.warnings.append(unfinished_warning(found.artifact.unfinished_modules))


class SnapshotRun:
    """One run of the command."""

    def __init__(self, runtime: Runtime, request: SnapshotRequest) -> None:
        self._runtime = runtime
        self._raw_store = opening.store(request.store)
        self._store = runtime.guarded(self._raw_store)
        self._encrypting = Encrypting(self._store, request.recipients) if request.recipients else None
        #: For what the snapshot consists of. The manifest, the state and the key objects are not encrypted by it.
        self._data: Store = self._encrypting.view if self._encrypting is not None else self._store
        self._scratch = opening.scratch(request.scratch)
        self._folders = opening.folders(request.filestore, request.environment_id)
        self._server = opening.optional_server(request.database)
        self._config = _config_source(request, self._folders)
        self._request = request
        self._identity = request.identity or Identity(
            environment_id=request.environment_id,
            environment_name=request.environment_id,
            environment_type="development",
            project_id=request.environment_id,
            snapshot_id=request.snapshot_id,
        )
        self._attempt = "-".join(filter(None, (request.attempt, settings.pod_uid())))
        self._prefix = naming.attempt_prefix(request.environment_id, request.snapshot_id, self._attempt)
        self._may_resume = request.quiesce is None  # whether the workloads may run
        self._base: BaseIndex | None = None
        self._warnings: list[str] = []  # about the base

    def run(self) -> SnapshotResult:
        """Takes the snapshot and returns its result. Where this attempt's manifest already exists, that is the result.

        Raises MoverError ManifestExists (written by another attempt) and the failures of each step; partial objects are
        removed.
        """
        failpoints.hit("snapshot-start")
        started_at = now()
        with self._runtime.step(Step.PREPARE):
            found = self._already_there()
            if found is not None:
                self._check_base_again(found.manifest)
                return snapshot_results.of(found, state=self._stored_state())
            signer = self._signer()
            identity_of_store = store_id(self._store)
            self._remove_leftovers()
            self._open_base()
        try:
            if self._request.quiesce is not None:
                self._await_signal(self._request.quiesce)
            taken = self._take()
            stored, contents = self._publish(taken, identity_of_store, started_at, signer)
        except BaseException:
            best_effort("partial objects", self._remove_partial)
            raise
        finally:
            if self._base is not None:
                self._base.close()
        failpoints.hit("after-manifest")
        return snapshot_results.of(stored, contents=contents, read_back=self._verify(stored), state=self._request.state)

    def _signer(self) -> Signer | None:
        request = self._request
        if request.signing_key is None:
            return None
        return Signer.load(Path(request.signing_key), request.store.signers)

    def _open_base(self) -> None:
        """Reads what the base has, before anything is frozen. Where it cannot be used, the snapshot is a full one, with
        a warning."""
        request = self._request
        if request.base is None or self._folders is None:
            return
        try:
            left = self._runtime.token.seconds_left
            patience = BASE_PATIENCE if left is None else min(left * BASE_SHARE, BASE_PATIENCE)
            self._base = base_command.opened(
                self._runtime.guarded(self._raw_store, patience=patience),
                request.environment_id,
                request.snapshot_id,
                request.layout,
                request.base,
                scratch=self._scratch,
                encrypting=self._encrypting,
                identity=request.base_identity,
            )
        except Unusable as error:
            self._warnings.append(base_command.unused_warning(request.base.snapshot_id, error))
            log.warning(
                "the base cannot be used: taking a full snapshot",
                extra={"base": request.base.snapshot_id, "error": str(error)},
            )

    def _await_signal(self, quiesce: SignalWait) -> None:
        """Waits until the workloads are stopped. Raises MoverError QuiesceFailed where no valid signal arrives."""
        if quiesce.ready_file is not None:
            Path(quiesce.ready_file).touch()
        self._runtime.reporter.step(Step.QUIESCE, "Running")
        failpoints.hit("snapshot-waiting")
        signal = SignalFile(quiesce, "Freeze").awaited(self._runtime.token)
        if signal is None:
            raise MoverError(
                conditions.QUIESCE_FAILED,
                f"no signal to freeze arrived within {quiesce.wait:.0f} s; the operator sends it in the pod's"
                " annotation ocore.dev/signal",
                retryable=True,
            )
        if is_expired(signal):
            raise MoverError(
                conditions.QUIESCE_FAILED,
                f"the signal to freeze expired {time.time() - signal.not_after:.1f} s ago: the workloads may run again."
                " Compare the clocks of the nodes.",
                retryable=True,
            )

    def _report_may_resume(self) -> None:
        """What the workloads do from now on is not in the snapshot."""
        if self._may_resume:
            return
        self._may_resume = True
        failpoints.hit("snapshot-may-resume")
        self._runtime.reporter.step(Step.QUIESCE, "Done", "the workloads may start again")

    def _already_there(self) -> manifests.StoredManifest | None:
        identity = self._identity
        signers = self._request.store.signers
        found = manifests.find(self._store, identity.environment_id, identity.snapshot_id, signers=signers)
        if found is not None and found.manifest.attempt != self._attempt:
            raise MoverError(
                conditions.MANIFEST_EXISTS,
                f"attempt {found.manifest.attempt} has already written snapshot {identity.snapshot_id}; `inspect`"
                " reports it",
            )
        return found

    def _stored_state(self) -> StoredState | None:
        identity = self._identity
        return states.readable(self._store, identity.environment_id, identity.snapshot_id)

    def _remove_leftovers(self) -> None:
        """Removes objects of a killed container of this attempt, and the frozen folders of every attempt."""
        self._delete_attempt(self._store)
        if self._folders is not None:
            self._folders.remove_frozen()

    def _remove_partial(self) -> None:
        """Removes this attempt's objects, unless a manifest names them: the manifest may be written and only its answer
        lost."""
        identity, store = self._identity, self._raw_store
        found = manifests.find(store, identity.environment_id, identity.snapshot_id)
        if found is not None and found.manifest.attempt == self._attempt:
            return
        self._delete_attempt(store)

    def _delete_attempt(self, store: Store) -> None:
        identity = self._identity
        of_keys = f"{naming.keys_prefix(identity.environment_id, identity.snapshot_id)}{self._attempt}-"
        abort_uploads(store, self._prefix)
        store.delete([obj.key for prefix in (self._prefix, of_keys) for obj in store.list(prefix)])

    def _take(self) -> _Taken:
        tries = TRIES
        while True:
            try:
                return self._take_once()
            except MoverError as error:
                tries -= 1
                if error.reason != conditions.FILESTORE_CHANGING or tries <= 0 or self._runtime.token.cancelled:
                    raise
                if self._request.quiesce is not None and self._may_resume:
                    raise  # the workloads run again: another database snapshot would not be a quiesced one
                log.warning(
                    "the filestore changed while it was copied; taking a new database snapshot",
                    extra={"error": error.message},
                )
                self._remove_leftovers()

    def _take_once(self) -> _Taken:
        taken = _Taken(consistent_at=now(), warnings=[*self._warnings])
        with ExitStack() as stack:
            dump: Callable[[], DatabaseArtifact | None] = _nothing
            with self._freezing():
                capture = self._freeze(stack)
                if self._server is not None:
                    exported = export_beside(capture, self._server, self._runtime.token, stack)
                    if capture is not None and capture.freezer is not None and not exported.attachments:
                        why = no_attachments(self._server.live)
                        raise MoverError(conditions.FILESTORE_LAYOUT_UNSUPPORTED, why)
                    properties = database_artifact.read(exported.connection)
                    taken.note(properties, files=self._folders is not None)
                    dump = self._dumping(self._server, exported, properties)
                    at = exported.consistent_at.isoformat(timespec="milliseconds")
                    taken.consistent_at = at.replace("+00:00", "Z")
                if capture is not None:
                    capture.complete()
            copy = self._copying(capture, taken)
            # Files that never change are protected by their links. Others are only once they are copied.
            if capture is None or capture.protected:
                self._report_may_resume()
            if self._folders is None or self._server is None:
                taken.database, taken.filestore = dump(), copy()
            else:
                taken.database, taken.filestore = self._runtime.both(dump, copy)
        if self._config is not None:
            with self._runtime.step(Step.CAPTURE_CONFIG):
                taken.config, found = config_archive.capture(self._data, self._prefix, self._config)
                taken.warnings.extend(found)
        else:
            self._runtime.reporter.step(Step.CAPTURE_CONFIG, "Skipped", "no configuration is given")
        return taken

    @contextmanager
    def _freezing(self) -> Iterator[None]:
        """Reports the freeze, and what it waits for, in the step that follows."""
        server, runtime = self._server, self._runtime
        step, doing = Step.COPY_FILESTORE, "freezing the filestore"
        if self._folders is None:
            step, doing = Step.DUMP_DATABASE, "exporting a snapshot of the database"
        with runtime.step(step, doing, ends=False):
            if server is None:
                yield
            else:
                with lock_waits.watched(server.app, export.APPLICATION, lambda text: runtime.say(text or doing, step)):
                    yield

    def _freeze(self, stack: ExitStack) -> Capture | None:
        """Begins to freeze the filestore; None where there is none."""
        request = self._request
        if self._folders is None or request.filestore is None:
            return None
        return stack.enter_context(
            layouts.of(request.layout).capture(
                self._folders,
                self._attempt,
                CaptureOptions(
                    self._scratch,
                    request.filestore.missing_files,
                    request.filestore.consistency,
                    quiesced=request.quiesce is not None,
                ),
                self._base,
            )
        )

    def _dumping(
        self, server: Server, exported: Exported, properties: DatabaseProperties
    ) -> Callable[[], DatabaseArtifact]:
        def dump() -> DatabaseArtifact:
            with self._runtime.step(Step.DUMP_DATABASE):
                return database_dump.dump(
                    server,
                    exported,
                    properties,
                    self._data,
                    self._prefix,
                    self._scratch,
                    self._runtime.counter(Step.DUMP_DATABASE),
                    self._runtime.token,
                    jobs=self._request.jobs,
                    say=lambda text: self._runtime.say(text, Step.DUMP_DATABASE),
                )

        return dump

    def _copying(self, capture: Capture | None, taken: _Taken) -> Callable[[], FilestoreArtifact | None]:
        """Copies the frozen files; what was found in them goes into `taken`."""
        if capture is None:
            return _nothing

        def copy() -> FilestoreArtifact:
            with self._runtime.step(Step.COPY_FILESTORE):
                counter = self._runtime.counter(Step.COPY_FILESTORE)
                copied = capture.copy(self._data, self._prefix, counter, jobs=self._request.jobs)
                self._report_may_resume()
                check_index(self._data, copied.artifact, self._scratch, live=copied.live)
                taken.attachments = copied.named
                taken.warnings.extend(copied.warnings)
                taken.incomplete.extend(copied.incomplete)
                return copied.artifact

        return copy

    def _publish(
        self, taken: _Taken, identity_of_store: str, started_at: str, signer: Signer | None
    ) -> tuple[manifests.StoredManifest, Manifest]:
        """The manifest in the store, and the contents of the snapshot."""
        with self._runtime.step(Step.PUBLISH):
            manifest = Manifest(
                format_version=format_version(taken.filestore),
                store_id=identity_of_store,
                attempt=self._attempt,
                identity=self._identity,
                started_at=started_at,
                consistent_at=taken.consistent_at,
                completed_at=now(),
                signature=place_after(self._request.previous, signer.fingerprint) if signer is not None else None,
                database=taken.database,
                filestore=taken.filestore,
                config=taken.config,
            )
            encrypting = self._encrypting
            manifests.check_base(self._store, encrypting.converted(manifest) if encrypting is not None else manifest)
            if encrypting is not None:
                taken.warnings += encrypting.choose_job(manifest.base, self._request.job_identity)
            manifest = manifest.model_copy(
                update={
                    "evidence": evidence.of_snapshot(
                        manifest,
                        self._data,
                        taken.attachments,
                        taken.warnings,
                        incomplete=taken.incomplete,
                        quiesced=self._request.quiesce is not None,
                        recipients=self._request.recipients,
                    )
                }
            )
            published = encrypting.outer(manifest) if encrypting is not None else manifest
            if encrypting is not None and isinstance(published, OuterManifest):
                encrypting.write_key(published)
            manifests.check_objects(self._store, published)
            failpoints.hit("after-upload-before-manifest")
            # Before the manifest: a snapshot that exists has its state. One without a manifest is removed with all
            # below its prefix.
            if self._request.state is not None:
                states.write(
                    self._store,
                    self._identity.environment_id,
                    self._identity.snapshot_id,
                    self._request.state,
                )
            dependents.enter(self._store, published)
            stored = manifests.write(self._store, published, signer)
            self._check_base_again(published)
            return stored, manifest

    def _check_base_again(self, manifest: AnyManifest) -> None:
        """A deletion of the base that began before the manifest was written did not know of this snapshot. One that
        begins later does."""
        try:
            manifests.check_base(self._store, manifest)
        except MoverError as error:
            if error.reason == conditions.BASE_GONE:
                identity = self._identity
                best_effort(
                    "the snapshot without its base",
                    lambda: manifests.delete_snapshot(self._raw_store, identity.environment_id, identity.snapshot_id),
                )
            raise

    def _verify(self, stored: manifests.StoredManifest) -> bool:
        """With `verify` Full, reads every byte again and deletes a corrupt snapshot. Returns whether the bytes were
        read."""
        if self._request.verify != "Full":
            self._runtime.reporter.step(
                Step.VERIFY,
                "Done",
                "every object's SHA-256 was checked as it was written; the bytes were not read again",
            )
            return False
        with self._runtime.step(Step.VERIFY):
            counter = self._runtime.counter(Step.VERIFY)
            counter.bytes_total = stored.manifest.needed_bytes()
            try:
                manifests.verify_objects(self._store, stored.manifest, counter, jobs=self._request.jobs)
            except Corrupt:
                identity = self._identity
                best_effort(
                    "the corrupt snapshot",
                    lambda: manifests.delete_snapshot(self._raw_store, identity.environment_id, identity.snapshot_id),
                )
                raise
        return True


def export_beside(capture: Capture | None, server: Server, token: Token, stack: ExitStack) -> Exported:
    """Enters the exported snapshot into the stack, and freezes the files with it. It is exported again where files came
    and went in the milliseconds around the export."""
    freezer = capture.freezer if capture is not None else None
    just_before = capture.approach if capture is not None else _nothing
    for tries in range(EXPORTS - 1, -1, -1):
        with ExitStack() as scope:
            exported: Exported = scope.enter_context(
                export.export(server, token, freezer=freezer, just_before=just_before)
            )
            if capture is None or capture.confirm() or not tries:
                stack.push(scope.pop_all())
                return exported
            log.info("files changed during the export; exporting again", extra={"names": capture.doubts[:3]})
    raise AssertionError("the last try returns")


def _nothing() -> None:
    return None


def execute(runtime: Runtime, request: SnapshotRequest) -> SnapshotResult:
    """As :meth:`SnapshotRun.run`."""
    return SnapshotRun(runtime, request).run()


def _config_source(request: SnapshotRequest, folders: ClaimFolders | None) -> config_archive.Source | None:
    if folders is not None and request.config_file:
        return config_archive.ClaimFile(folders, request.config_file)
    return config_archive.Keys(Path(request.config)) if request.config is not None else None
