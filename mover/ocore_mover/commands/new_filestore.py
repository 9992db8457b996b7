"""A filestore whose folder does not exist yet, on a claim that may be new: a rollback creates it."""

from ocore_mover.database.connect import Server
from ocore_mover.database.dump.export import live_names
from ocore_mover.errors import MoverError
from ocore_mover.filestore import facts
from ocore_mover.filestore.folders import ClaimFolders
from ocore_mover.filestore.layout import Layout
from ocore_mover.filestore.names import valid


def may_be_made(folders: ClaimFolders, layout: Layout, server: Server | None, *, without_database: bool) -> bool:
    """Whether a rollback may create the folder: no application has files at this path. `without_database`: the live
    database does not exist. A folder that should exist is not created: the path or the claim may be wrong."""
    if not facts.is_missing(folders):
        return False
    if without_database or layout.absent(folders) is not None:
        return True
    return layout.names_in_database and server is not None and names_no_file(server, folders)


def names_no_file(server: Server, folders: ClaimFolders) -> bool:
    """Whether the filestore does not exist and the database names no file of it. Then a snapshot needs no folder."""
    try:
        if not folders.filestore_is_absent():
            return False
        with live_names(server) as names:
            return next(valid(names), None) is None
    except (MoverError, OSError):  # each has a finding already
        return False
