"""Opens what a request names: stores, the database's server, folders. What a command does not need is not imported."""

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ocore_crds.commands.base import OfRollback, Request
from ocore_crds.commands.parts import DatabaseAccess, FilestoreAccess, SourceStore, StoreAccess
from ocore_mover import settings
from ocore_mover.errors import UsageError
from ocore_mover.store.interface import Store

if TYPE_CHECKING:
    from ocore_crds.commands.inspect import InspectRequest
    from ocore_crds.stored.rollback_record import RollbackRun
    from ocore_mover.commands.switcher import RollbackTarget
    from ocore_mover.database.connect import Server
    from ocore_mover.filestore.folders import ClaimFolders
    from ocore_mover.rollback_records import RollbackRecords
    from ocore_mover.store.folder import FolderStore

log = logging.getLogger(__name__)

#: The modes of Object Lock, as S3 names them.
LOCK_MODES: "dict[str, Literal['GOVERNANCE', 'COMPLIANCE']]" = {"Governance": "GOVERNANCE", "Compliance": "COMPLIANCE"}


def store(found: StoreAccess, again: Store | None = None) -> Store:
    """The store. `again`: what :func:`opened` returned, with its connections and what it knows of the server. Raises
    UsageError where its URL is not valid."""
    from ocore_mover.store.read_only import ReadOnlyStore

    bound = _bound(found, again or opened(found))
    return ReadOnlyStore(bound) if found.read_only else bound


def opened(found: StoreAccess) -> Store:
    """The store as it is, for :func:`store`: nothing keeps it from being another one, or from being written to. Raises
    UsageError where its URL is not valid."""
    return _open(
        found,
        sse=found.sse,
        kms_key=found.kms_key,
        lock=LOCK_MODES[found.lock] if found.lock is not None else None,
        lock_days=found.lock_days or 0,
    )


def source(found: SourceStore) -> Store:
    """A store that is never written to. Raises UsageError where its URL is not valid."""
    from ocore_mover.store.read_only import ReadOnlyStore

    return ReadOnlyStore(_bound(found, _open(found)))


def _bound(found: SourceStore, opened: Store) -> Store:
    from ocore_mover.store.identity import BoundStore

    return BoundStore(opened, found.id) if found.id is not None else opened


def ask_ids(request: Request) -> None:
    """Asks the stores of the request for their ids once more: a verdict about what a store lacks counts only for the
    store that it is about. Raises StoreError StoreIdConflict where one is another store, or why one does not answer."""
    from ocore_mover.store.identity import BoundStore

    for name in ("store", "source"):
        found = getattr(request, name, None)
        if isinstance(found, SourceStore) and found.id is not None:
            BoundStore(_open(found), found.id).ask()


def _open(found: SourceStore, **writing: Any) -> Store:
    """`writing`: the options of S3 for what is written."""
    from ocore_mover.store import S3Options, open_store

    s3 = found.s3
    try:
        return open_store(
            found.url,
            S3Options(
                endpoint=s3.endpoint,
                region=s3.region,
                credentials=optional_path(s3.credentials),
                ca=optional_path(s3.ca),
                path_style=s3.path_style,
                instance_metadata=s3.instance_metadata,
                **writing,
            ),
        )
    except ValueError as error:
        raise UsageError(str(error)) from error


def folder_store(url: str, name: str) -> "FolderStore":
    """The store of a folder, which messages call `name`. Raises UsageError where the URL is no folder's."""
    from ocore_mover.store import open_store
    from ocore_mover.store.folder import FolderStore

    try:
        root = open_store(url).local_root
    except ValueError as error:
        raise UsageError(str(error)) from error
    if root is None:
        raise UsageError(f"{url} is not a folder")
    return FolderStore(root, name)


def server(found: DatabaseAccess, *, dbname: str = "") -> "Server":
    """The database's server. `dbname`: where the Secret has none. Raises MoverError SecretInvalid."""
    from ocore_mover.database.connect import Server
    from ocore_mover.database.credentials import load
    from ocore_mover.database.tls import TlsOptions

    tls = TlsOptions(
        found.tls.mode, optional_path(found.tls.ca), optional_path(found.tls.cert), optional_path(found.tls.key)
    )
    host = found.host or ""
    # The admin's Secret need not name a database: connections name theirs.
    admin = (
        load(Path(found.admin), dbname=found.dbname or "postgres", host=host, options=tls)
        if found.admin is not None
        else None
    )
    app = load(Path(found.secret), dbname=found.dbname or dbname, host=host, options=tls)
    return Server(app, admin, found.cluster or "", frozenset(found.managed_roles))


def optional_server(found: DatabaseAccess | None, *, dbname: str = "") -> "Server | None":
    """As :func:`server`; None without a database."""
    return server(found, dbname=dbname) if found is not None else None


def folders(found: FilestoreAccess | None, environment_id: str) -> "ClaimFolders | None":
    """The folders on the claim; None without a filestore."""
    from ocore_mover.filestore.folders import ClaimFolders

    return ClaimFolders(Path(found.claim), found.path, environment_id) if found is not None else None


def scratch(folder: str) -> Path:
    """The folder for temporary files. Raises UsageError where it does not exist or cannot be written."""
    path = Path(folder)
    if not path.is_dir() or not os.access(path, os.W_OK):
        raise UsageError(f"--scratch: {folder} is not a folder that can be written")
    return path


def optional_path(text: str | None) -> Path | None:
    """The path; None where there is none."""
    return Path(text) if text is not None else None


def run_of(record: "RollbackRun | None") -> "RollbackRun | None":
    """The run that the record names. Its attempt is the pod's uid: two pods of one Job never write the same object."""
    uid = settings.pod_uid()
    return record.model_copy(update={"attempt": uid}) if record is not None and uid else record


def rollback_target(
    request: "OfRollback | InspectRequest",
    rollback_id: str,
    *,
    run: "RollbackRun | None" = None,
    allow_replication_loss: bool = False,
    undo_to: Literal["Old", "New"] | None = None,
    neutralized: bool = False,
) -> "RollbackTarget":
    """The environment of the rollback."""
    from ocore_mover.commands.switcher import RollbackTarget

    return RollbackTarget(
        optional_server(request.database),
        folders(request.filestore, request.environment_id),
        request.layout,
        rollback_id,
        run,
        allow_replication_loss,
        undo_to,
        neutralized,
    )


def optional_records(found: StoreAccess, run: "RollbackRun") -> "RollbackRecords | None":
    """None where the store cannot be opened: it must not prevent a switch back, and the database's comment has the
    outcome, too."""
    from ocore_mover.rollback_records import RollbackRecords

    try:
        return RollbackRecords(store(found), run)
    except Exception as error:
        log.warning("store not opened; the outcome is only in the database's comment", extra={"error": str(error)})
        return None
