"""``probe``: reports what an environment has and what it lacks. A missing right is a finding, never a failure."""

from ocore_crds import conditions
from ocore_crds.commands.probe import ProbeRequest, ProbeResult
from ocore_crds.reports.base import Finding
from ocore_crds.reports.facts import DatabaseFacts
from ocore_mover.commands import opening
from ocore_mover.commands.config_archive import ClaimFile, findings
from ocore_mover.commands.new_filestore import may_be_made, names_no_file
from ocore_mover.commands.runtime import Runtime
from ocore_mover.database import facts
from ocore_mover.errors import MoverError
from ocore_mover.filestore import facts as filestore_facts
from ocore_mover.filestore import layouts, owner
from ocore_mover.store import access


def execute(runtime: Runtime, request: ProbeRequest) -> ProbeResult:
    """Probes the database and the filestore; with `rollback` also what a rollback needs. With `propose_user` the
    filestore is only asked for its owner, which is a finding that blocks. `store`: the own store, if it is on a
    claim."""
    rollback, config_file, environment_id = request.rollback, request.config_file, request.environment_id
    store = opening.folder_store(request.store, request.store_name) if request.store else None
    blocking: list[Finding] = []
    creatable: list[Finding] = []
    later: list[Finding] = []
    warnings: list[str] = []
    database = filestore = file_owner = None
    layout = layouts.of(request.layout)
    named = request.filestore is not None and layout.names_in_database
    try:
        server = opening.optional_server(request.database)
    except MoverError as error:
        server = None
        blocking.append(Finding(reason=error.reason, message=error.message))
    if server is not None:
        seen = facts.probe(
            server, rollback=rollback, jobs=request.jobs, attachments=named, files=request.filestore is not None
        )
        database = seen.facts
        blocking.extend(seen.blocking)
        creatable.extend(seen.creatable)
        later.extend(seen.rollback)
        warnings.extend(seen.warnings)
        if named and database is not None and not database.missing and not database.attachments:
            (creatable if database.empty else blocking).append(_without_attachments(database))
    runtime.token.check()
    folders = opening.folders(request.filestore, environment_id)
    missing = database is not None and (database.missing or database.empty)
    without_names = missing or not named  # layout Odoo asks its database first
    if folders is not None and request.propose_user:
        found, file_owner = owner.find(folders)
        blocking.append(found)
    elif folders is not None and without_names and may_be_made(folders, layout, None, without_database=missing):
        created, against = filestore_facts.of_missing(folders, layout)
        creatable.append(created)
        later.extend(against if rollback else ())
    elif folders is not None:
        filestore, more_blocking, more_later, more_warnings = filestore_facts.collect(
            folders, layout, rollback=rollback
        )
        if more_blocking and named and server is not None and database is not None and names_no_file(server, folders):
            more_warnings = (*more_warnings, NEW_FILESTORE.format(path=folders.path))
            more_later = tuple(filestore_facts.of_missing(folders, layout)[1]) if rollback else ()
            more_blocking = ()
        blocking.extend(more_blocking)
        later.extend(more_later)
        warnings.extend(more_warnings)
    runtime.token.check()
    own_store = access.check(store, environment_id) if store is not None else access.Access()
    return ProbeResult(
        database=database,
        filestore=filestore,
        blocking=tuple(blocking),
        creatable=tuple(creatable),
        rollback=tuple(later),
        own_store=own_store.findings,
        snapshots=findings(ClaimFile(folders, config_file)) if folders is not None and config_file else (),
        warnings=(*warnings, *own_store.warnings),
        file_owner=file_owner,
    )


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
        return Finding(reason=conditions.DATABASE_EMPTY, message=text)
    return Finding(reason=conditions.FILESTORE_LAYOUT_UNSUPPORTED, message=no_attachments(database.name))


def no_attachments(database: str) -> str:
    """The message for a database that names no files."""
    return (
        f"database {database} has no table ir_attachment with a column store_fname on the role's search path, so its"
        " files are unknown; use layout Plain, or set the role's search_path"
    )
