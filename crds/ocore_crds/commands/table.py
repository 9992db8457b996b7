"""The table of the mover's commands: all of their rows. The request of each is in the module of its name. Pure."""

from typing import Any

from .base import Command
from .check_copy import ROW as CHECK_COPY
from .cleanup import ROW as CLEANUP
from .copy_remote import ROW as COPY_REMOTE
from .delete import ROW as DELETE
from .extract import ROW as EXTRACT
from .inspect import ROW as INSPECT
from .list_manifests import ROW as LIST_MANIFESTS
from .measure import ROW as MEASURE
from .neutralize import ROW as NEUTRALIZE
from .preview import ROW as PREVIEW
from .probe import ROW as PROBE
from .probe_store import ROW as PROBE_STORE
from .prove import ROW as PROVE
from .remove_extract import ROW as REMOVE_EXTRACT
from .remove_orphans import ROW as REMOVE_ORPHANS
from .restore import ROW as RESTORE
from .snapshot import ROW as SNAPSHOT
from .sweep import ROW as SWEEP
from .switch import ROW as SWITCH
from .test_restore import ROW as RESTORE_TEST
from .verify import ROW as VERIFY
from .write_state import ROW as WRITE_STATE

__all__ = [
    "CHECK_COPY",
    "CLEANUP",
    "COMMANDS",
    "COPY_REMOTE",
    "DELETE",
    "EXTRACT",
    "INSPECT",
    "LIST_MANIFESTS",
    "MEASURE",
    "NEUTRALIZE",
    "PREVIEW",
    "PROBE",
    "PROBE_STORE",
    "PROVE",
    "REMOVE_EXTRACT",
    "REMOVE_ORPHANS",
    "RESTORE",
    "RESTORE_TEST",
    "SNAPSHOT",
    "SWEEP",
    "SWITCH",
    "VERIFY",
    "WRITE_STATE",
]

COMMANDS: dict[str, Command[Any]] = {
    row.name: row
    for row in (
        PROBE,
        MEASURE,
        PROVE,
        PROBE_STORE,
        SNAPSHOT,
        VERIFY,
        WRITE_STATE,
        RESTORE_TEST,
        PREVIEW,
        RESTORE,
        NEUTRALIZE,
        SWITCH,
        LIST_MANIFESTS,
        SWEEP,
        REMOVE_ORPHANS,
        DELETE,
        CHECK_COPY,
        COPY_REMOTE,
        CLEANUP,
        INSPECT,
        EXTRACT,
        REMOVE_EXTRACT,
    )
}
