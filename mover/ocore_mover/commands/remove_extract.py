"""``remove-extract``: removes what an extract has made."""

from ocore_crds import naming
from ocore_crds.commands.remove_extract import ExtractRemoved, RemoveExtractRequest
from ocore_mover.commands import opening
from ocore_mover.commands.runtime import Runtime
from ocore_mover.filestore.new_folder import Beside
from ocore_mover.store.interface import abort_uploads


def execute(runtime: Runtime, request: RemoveExtractRequest) -> ExtractRemoved:
    """Removes the objects of the extract, or its folder on the claim where that still is the one that it made. What
    does not exist is removed already. Raises MoverError, StoreError."""
    folders = opening.folders(request.filestore, request.environment_id)
    if folders is not None and request.folder is not None:
        return ExtractRemoved(folder=Beside(folders, request.folder, request.extract_id).remove())
    objects, kept = 0, None
    if request.store is not None:
        store = runtime.guarded(opening.store(request.store))
        prefix = naming.extract_prefix(request.environment_id, request.extract_id)
        objects = store.delete([found.key for found in store.list(prefix)])
        abort_uploads(store, prefix)
        kept = store.purge(prefix)
    server = opening.optional_server(request.database)
    dropped = schema = False
    if server is not None:
        from ocore_mover.database.extract.live import LiveSchema  # the client of a database: only for this
        from ocore_mover.database.restore import scratch

        if request.from_database:
            schema = LiveSchema(server, request.extract_id, runtime.token).drop()
        dropped = bool(scratch.drop_named(server, scratch.ExtractNames(server.live, request.extract_id), runtime.token))
    return ExtractRemoved(objects=objects, database=dropped, schema_dropped=schema, kept=kept)
