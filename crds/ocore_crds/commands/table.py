"""The table of the mover's commands: all of their rows. The request of each is in the module of its name. Pure."""

from typing import Any

from .base import Command, LimitsClass, OfRollback, OfSnapshot, OnEnvironment, Request
from .check_copy import ROW as CHECK_COPY
from .check_copy import CheckCopyRequest
from .cleanup import ROW as CLEANUP
from .cleanup import CleanupRequest
from .copy_remote import ROW as COPY_REMOTE
from .copy_remote import CopyRemoteRequest
from .delete import ROW as DELETE
from .delete import DeleteRequest
from .extract import ROW as EXTRACT
from .extract import ExtractRequest, TableRequest
from .inspect import ROW as INSPECT
from .inspect import InspectRequest
from .list_manifests import ROW as LIST_MANIFESTS
from .list_manifests import ListManifestsRequest
from .measure import ROW as MEASURE
from .measure import MeasureRequest
from .neutralize import ROW as NEUTRALIZE
from .neutralize import NeutralizeRequest
from .preview import ROW as PREVIEW
from .preview import PreviewRequest
from .probe import ROW as PROBE
from .probe import ProbeRequest
from .probe_store import ROW as PROBE_STORE
from .probe_store import ProbeStoreRequest
from .prove import ROW as PROVE
from .prove import ProveRequest
from .remove_extract import ROW as REMOVE_EXTRACT
from .remove_extract import RemoveExtractRequest
from .remove_orphans import ROW as REMOVE_ORPHANS
from .remove_orphans import RemoveOrphansRequest
from .restore import ROW as RESTORE
from .restore import RestoreRequest
from .snapshot import ROW as SNAPSHOT
from .snapshot import SnapshotRequest
from .sweep import ROW as SWEEP
from .sweep import SweepRequest
from .switch import ROW as SWITCH
from .switch import SwitchRequest
from .test_restore import ROW as RESTORE_TEST
from .test_restore import RestoreTestRequest
from .verify import ROW as VERIFY
from .verify import VerifyRequest
from .write_state import ROW as WRITE_STATE
from .write_state import WriteStateRequest

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
    "CheckCopyRequest",
    "CleanupRequest",
    "Command",
    "CopyRemoteRequest",
    "DeleteRequest",
    "ExtractRequest",
    "InspectRequest",
    "LimitsClass",
    "ListManifestsRequest",
    "MeasureRequest",
    "NeutralizeRequest",
    "OfRollback",
    "OfSnapshot",
    "OnEnvironment",
    "PreviewRequest",
    "ProbeRequest",
    "ProbeStoreRequest",
    "ProveRequest",
    "RemoveExtractRequest",
    "RemoveOrphansRequest",
    "Request",
    "RestoreRequest",
    "RestoreTestRequest",
    "SnapshotRequest",
    "SweepRequest",
    "SwitchRequest",
    "TableRequest",
    "VerifyRequest",
    "WriteStateRequest",
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
