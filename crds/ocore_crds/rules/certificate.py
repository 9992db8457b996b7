"""The certificate of a Snapshot's newest test restore: whether it holds, and every figure. Pure; the same for ``kubectl
ocore certificate`` and the REST facade."""

from collections.abc import Iterator, Mapping
from typing import Any

from ocore_crds import conditions as c
from ocore_crds.group import API_VERSION
from ocore_crds.resources.encryption import opened_by
from ocore_crds.resources.restore_test import RestoreTestStatus
from ocore_crds.resources.snapshot import SnapshotStatus
from ocore_crds.text.quantity import counted, human, span


def invalid(status: SnapshotStatus, name: str) -> str:
    """Why there is no certificate of what the Snapshot is now, and what to do; empty where there is one."""
    test = status.restore_test
    how = (
        f"Test it now: `kubectl ocore certificate {name} --now`; or every week: `spec.verify.schedule` of the"
        " SnapshotPolicy."
    )
    if test is None:
        found = c.find(status.conditions, c.RESTORE_TESTED)
        if found is not None:
            return f"It has no result of a test restore yet ({found.reason}): {found.message}"
        return f"It has never been restored as a test. {how}"
    if test.findings:
        return f"Its newest test restore failed: {'; '.join(f'{f.reason}: {f.message}' for f in test.findings)}"
    if not c.is_true(status.conditions, c.RESTORE_TESTED):
        return f"The condition RestoreTested is not True. {how}"
    if status.phase != "Complete":
        return f"The Snapshot is {status.phase}: it cannot be restored any more."
    if not status.manifest_sha256 or test.manifest_sha256 != status.manifest_sha256:
        return (
            f"The test restored another manifest: SHA-256 {test.manifest_sha256 or 'unknown'} instead of"
            f" {status.manifest_sha256}. {how}"
        )
    return ""


def certificate(obj: Mapping[str, Any], status: SnapshotStatus, problem: str) -> dict[str, Any]:
    """The certificate as JSON: every figure, and whether it is valid."""
    source = status.source
    return {
        "apiVersion": API_VERSION,
        "kind": "RestoreCertificate",
        "valid": not problem,
        "problem": problem,
        "snapshot": {
            "name": obj["metadata"]["name"],
            "namespace": obj["metadata"].get("namespace", ""),
            "id": status.id,
            "environment": source.environment_name if source is not None else "",
            "environmentId": source.environment_id if source is not None else "",
            "consistentAt": status.consistent_at,
            "manifestKey": status.manifest_key,
            "manifestSha256": status.manifest_sha256,
            "storeId": status.store_id,
            "phase": status.phase,
            "recipients": list(status.encryption.recipients) if status.encryption is not None else None,
            "openedBy": opened_by(status.encryption) if status.encryption is not None else None,
        },
        "test": status.restore_test.wire() if status.restore_test is not None else None,
    }


def lines(status: SnapshotStatus) -> Iterator[tuple[str, str]]:
    """What is printed of it: labels and values."""
    source, test = status.source, status.restore_test
    if source is not None:
        yield "Environment", f"{source.environment_name} ({source.environment_type}, id {source.environment_id})"
    if status.consistent_at is not None:
        yield "Shows", status.consistent_at
    if status.manifest_sha256 is not None:
        yield "Manifest", f"{status.manifest_key}, SHA-256 {status.manifest_sha256}"
    if status.encryption is not None:
        yield "Encrypted to", ", ".join(status.encryption.recipients) or "recipients that are not known here"
        yield "Opened by", opened_by(status.encryption)
    if test is not None:
        yield from _figures(test)


def _figures(test: RestoreTestStatus) -> Iterator[tuple[str, str]]:
    yield "Tested", f"{test.tested_at}, in {span(test.duration_seconds)}"
    if test.manifest_sha256:
        yield "Restored manifest", f"SHA-256 {test.manifest_sha256}"
    if test.server:
        own = "a server of its own" if test.separate_server else "the environment's server"
        yield "Server", f"{test.server}, PostgreSQL {test.server_version}, {own}"
    if test.database_bytes:
        yield (
            "Database",
            f"{human(test.database_bytes)}: {counted(test.tables, 'table')} with {counted(test.rows, 'row')}, as"
            " counted in the dump",
        )
    for text in test.checked:
        yield "Checked", text
    for text in test.not_checked:
        yield "Not checked", text
    if test.bytes:
        yield "Read from the store", human(test.bytes)
    yield (
        "Times",
        (
            f"download {span(test.download_seconds)}, load {span(test.load_seconds)}, checks"
            f" {span(test.check_seconds)}, files {span(test.files_seconds)}"
        ),
    )
    if test.predicted_rollback_seconds is not None:
        yield "A rollback would take", f"{span(test.predicted_rollback_seconds)} at most, from these times"
    for warning in test.warnings:
        yield "Warning", warning
