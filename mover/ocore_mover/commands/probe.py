"""``probe`` and ``probe-store``: a first look, that never fails for what it finds."""

from ocore_crds import conditions
from ocore_crds.protocol import Finding, ProbeResult, StoreProbeResult
from ocore_mover.commands.options import TargetOptions
from ocore_mover.commands.runtime import Runtime
from ocore_mover.database import facts
from ocore_mover.errors import MoverError
from ocore_mover.filestore import facts as filestore_facts
from ocore_mover.store.base import Store
from ocore_mover.store.probe import probe_store as look_at_store


def probe(runtime: Runtime, target: TargetOptions, environment_id: str, *, rollback: bool, jobs: int) -> ProbeResult:
    """Looks at the database and at the filestore."""
    blocking: list[Finding] = []
    later: list[Finding] = []
    warnings: list[str] = []
    database = filestore = None
    odoo = target.claim is not None and target.layout == "Odoo"
    try:
        server = target.server()
    except MoverError as error:
        server = None
        blocking.append(Finding(reason=error.reason, message=error.message))
    if server is not None:
        seen = facts.look(server, rollback=rollback, jobs=jobs, odoo=odoo)
        database = seen.facts
        blocking.extend(seen.blocking)
        later.extend(seen.rollback)
        warnings.extend(seen.warnings)
        if odoo and database is not None and not database.attachments:
            blocking.append(
                Finding(reason=conditions.FILESTORE_LAYOUT_UNSUPPORTED, message=no_attachments(database.name))
            )
    runtime.token.check()
    folders = target.folders(environment_id)
    if folders is not None:
        filestore, more_blocking, more_later, more_warnings = filestore_facts.collect(
            folders, target.layout, rollback=rollback
        )
        blocking.extend(more_blocking)
        later.extend(more_later)
        warnings.extend(more_warnings)
    return ProbeResult(
        database=database,
        filestore=filestore,
        blocking=tuple(blocking),
        rollback=tuple(later),
        warnings=tuple(warnings),
    )


def no_attachments(database: str) -> str:
    """What to do about a filestore whose database names no files."""
    return (
        f"database {database} has no table ir_attachment with a column store_fname on the role's search path, so nothing says which "
        "files belong to it; use layout Plain, or set the role's search_path"
    )


def probe_store(runtime: Runtime, store: Store) -> StoreProbeResult:
    """Looks at a store; what cannot be written is a failure."""
    return look_at_store(runtime.guarded(store))
