"""``measure``: the sizes of the live database and filestore, and nothing else. Read-only, and much faster than
``probe``."""

from ocore_crds import conditions
from ocore_crds.commands.measure import MeasureRequest, SizesResult
from ocore_mover.commands import opening
from ocore_mover.commands.runtime import Runtime
from ocore_mover.database import facts
from ocore_mover.database.connect import connect, translating
from ocore_mover.filestore import facts as filestore_facts
from ocore_mover.filestore import layouts


def execute(runtime: Runtime, request: MeasureRequest) -> SizesResult:
    """Measures what the environment has. Raises MoverError where a part of it cannot be read: sizes in part would be
    taken for the whole."""
    database_bytes = filestore_bytes = filestore_files = 0
    warnings: tuple[str, ...] = ()
    server = opening.optional_server(request.database)
    if server is not None:
        with (
            connect(server.app, application=facts.APPLICATION, patience=facts.PATIENCE) as connection,
            translating(conditions.DATABASE_UNREACHABLE, "reading the size of the database"),
        ):
            database_bytes = facts.size_bytes(connection)
    runtime.token.check()
    folders = opening.folders(request.filestore, request.environment_id)
    if folders is not None:
        filestore_bytes, filestore_files, warnings = filestore_facts.sizes(folders, layouts.of(request.layout))
    return SizesResult(
        database_bytes=database_bytes,
        filestore_bytes=filestore_bytes,
        filestore_files=filestore_files,
        warnings=warnings,
    )
