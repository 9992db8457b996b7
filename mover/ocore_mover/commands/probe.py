"""``probe``: reports what an environment has and what it lacks. A missing right is a finding, never a failure."""

from dataclasses import dataclass, field

from ocore_crds import conditions
from ocore_crds.commands.probe import ProbeRequest, ProbeResult
from ocore_crds.reports.base import Finding
from ocore_crds.reports.facts import DatabaseFacts, FilestoreFacts
from ocore_mover.commands import opening
from ocore_mover.commands.config_archive import ClaimFile, findings
from ocore_mover.commands.new_filestore import may_be_made, names_no_file
from ocore_mover.commands.runtime import Runtime
from ocore_mover.database import facts
from ocore_mover.database.connect import Server
from ocore_mover.errors import MoverError
from ocore_mover.filestore import facts as filestore_facts
from ocore_mover.filestore import layouts, owner
from ocore_mover.filestore.folders import ClaimFolders
from ocore_mover.store import access


@dataclass
class _Found:
    """The findings so far. The fields are those of the result."""

    blocking: list[Finding] = field(default_factory=list)
    creatable: list[Finding] = field(default_factory=list)
    rollback: list[Finding] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def execute(runtime: Runtime, request: ProbeRequest) -> ProbeResult:
    """Probes the database and the filestore, also for what a rollback needs. With `propose_user` the filestore is only
    asked for its owner, which is a finding that blocks. `store`: the own store, if it is on a claim."""
    found, filestore, file_owner = _Found(), None, None
    store = opening.folder_store(request.store, request.store_name) if request.store else None
    server = _server(request, found)
    database = _database(server, request, found) if server is not None else None
    runtime.token.check()
    folders = opening.folders(request.filestore, request.environment_id)
    if folders is not None and request.propose_user:
        unknown, file_owner = owner.find(folders)
        found.blocking.append(unknown)
    elif folders is not None:
        filestore = _filestore(folders, server, database, request, found)
    runtime.token.check()
    own_store = access.check(store, request.environment_id) if store is not None else access.Access()
    config = ClaimFile(folders, request.config_file) if folders is not None and request.config_file else None
    return ProbeResult(
        database=database,
        filestore=filestore,
        blocking=tuple(found.blocking),
        creatable=tuple(found.creatable),
        rollback=tuple(found.rollback),
        own_store=own_store.findings,
        snapshots=findings(config) if config is not None else (),
        warnings=(*found.warnings, *own_store.warnings),
        file_owner=file_owner,
    )


def _server(request: ProbeRequest, found: _Found) -> Server | None:
    try:
        return opening.optional_server(request.database)
    except MoverError as error:
        found.blocking.append(error.finding())
        return None


def _names_files(request: ProbeRequest) -> bool:
    """Whether the database names the files of the filestore."""
    return request.filestore is not None and layouts.of(request.layout).names_in_database


def _database(server: Server, request: ProbeRequest, found: _Found) -> DatabaseFacts | None:
    named = _names_files(request)
    seen = facts.probe(
        server,
        jobs=request.jobs,
        attachments=named,
        files=request.filestore is not None,
    )
    found.blocking.extend(seen.blocking)
    found.creatable.extend(seen.creatable)
    found.rollback.extend(seen.rollback)
    found.warnings.extend(seen.warnings)
    database = seen.facts
    if named and database is not None and not database.missing and not database.attachments:
        (found.creatable if database.empty else found.blocking).append(_without_attachments(database))
    return database


def _filestore(
    folders: ClaimFolders, server: Server | None, database: DatabaseFacts | None, request: ProbeRequest, found: _Found
) -> FilestoreFacts | None:
    layout, named = layouts.of(request.layout), _names_files(request)
    missing = database is not None and (database.missing or database.empty)
    # Layout Odoo asks its database first.
    if (missing or not named) and may_be_made(folders, layout, None, without_database=missing):
        created, against = filestore_facts.of_missing(folders, layout)
        found.creatable.append(created)
        found.rollback.extend(against)
        return None
    filestore, blocking, later, warnings = filestore_facts.collect(folders, layout)
    if blocking and named and server is not None and database is not None and names_no_file(server, folders):
        warnings = (*warnings, NEW_FILESTORE.format(path=folders.path))
        later = tuple(filestore_facts.of_missing(folders, layout)[1])
        blocking = ()
    found.blocking.extend(blocking)
    found.rollback.extend(later)
    found.warnings.extend(warnings)
    return filestore


#: A new application has written no file yet.
NEW_FILESTORE = (
    "The filestore's folder {path} does not exist yet, and the database names no files, so a snapshot stores none. The"
    " application creates it with its first file, or a rollback does; if the application has files already, correct"
    " spec.filestore.path."
)


def _without_attachments(database: DatabaseFacts) -> Finding:
    if database.empty:
        text = (
            f"database {database.name} has no tables yet, so there is nothing to snapshot. A Rollback with this"
            " Environment as its target fills it from a Snapshot; or start the application, which makes its tables"
        )
        return Finding.of(conditions.DATABASE_EMPTY, text)
    return Finding.of(conditions.FILESTORE_LAYOUT_UNSUPPORTED, no_attachments(database.name))


def no_attachments(database: str) -> str:
    """The message for a database that names no files."""
    return (
        f"database {database} has no table ir_attachment with a column store_fname on the role's search path, so its"
        " files are unknown; use layout Plain, or set the role's search_path"
    )
