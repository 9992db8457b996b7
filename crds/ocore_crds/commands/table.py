"""The table of the mover's commands: all of their rows. The request of each is in the module of its name. Pure."""

from typing import Any

from ocore_crds.commands.base import Command
from ocore_crds.commands.check_copy import ROW as CHECK_COPY
from ocore_crds.commands.cleanup import ROW as CLEANUP
from ocore_crds.commands.copy_remote import ROW as COPY_REMOTE
from ocore_crds.commands.delete import ROW as DELETE
from ocore_crds.commands.extract import ROW as EXTRACT
from ocore_crds.commands.inspect import ROW as INSPECT
from ocore_crds.commands.list_manifests import ROW as LIST_MANIFESTS
from ocore_crds.commands.measure import ROW as MEASURE
from ocore_crds.commands.neutralize import ROW as NEUTRALIZE
from ocore_crds.commands.preview import ROW as PREVIEW
from ocore_crds.commands.probe import ROW as PROBE
from ocore_crds.commands.probe_store import ROW as PROBE_STORE
from ocore_crds.commands.prove import ROW as PROVE
from ocore_crds.commands.remove_extract import ROW as REMOVE_EXTRACT
from ocore_crds.commands.remove_orphans import ROW as REMOVE_ORPHANS
from ocore_crds.commands.restore import ROW as RESTORE
from ocore_crds.commands.snapshot import ROW as SNAPSHOT
from ocore_crds.commands.sweep import ROW as SWEEP
from ocore_crds.commands.switch import ROW as SWITCH
from ocore_crds.commands.test_restore import ROW as RESTORE_TEST
from ocore_crds.commands.verify import ROW as VERIFY
from ocore_crds.commands.write_state import ROW as WRITE_STATE

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
