"""``kubectl ocore certificate``: the certificate of a Snapshot's newest test restore, and how to get one."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Literal

from rich.console import Console
from rich.text import Text

from ocore_crds import conditions as c
from ocore_crds.kinds import SNAPSHOT
from ocore_crds.model import API_VERSION
from ocore_crds.naming import ANNOTATION_RESTORE_TEST_REQUESTED
from ocore_crds.quantity import human, span
from ocore_crds.restore_test import RestoreTestStatus, run_of
from ocore_crds.snapshot import SnapshotStatus

from .errors import CliError, TimedOut
from .objects import Object, Objects, needed

Output = Literal["text", "json"]
#: Seconds between two reads while a test runs.
PAUSE = 2.0


def request(objects: Objects, name: str, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> str:
    """Asks for a test restore now. Returns what names the request. Raises CliError where the Snapshot does not exist or
    cannot be restored."""
    status = _status(needed(objects, SNAPSHOT, name))
    if status.phase != "Complete":
        raise CliError(f"Snapshot {name} is {status.phase or 'Pending'}: only a Complete one can be tested")
    text = now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
    objects.annotate(SNAPSHOT, name, {ANNOTATION_RESTORE_TEST_REQUESTED: text})
    return run_of("annotation", text)


def wait(objects: Objects, name: str, run: str, pause: Callable[[], None], left: Callable[[], bool]) -> None:
    """Waits until the test has a result. `left`: whether there is time. Raises CliError where there is none, or the
    Snapshot is gone."""
    while True:
        status = _status(needed(objects, SNAPSHOT, name))
        test = status.restore_test
        if (test is not None and run in test.answered) or status.phase != "Complete":
            return
        if not left():
            found = c.find(status.conditions, c.RESTORE_TESTED)
            why = f": {found.message}" if found is not None and found.status == "Unknown" else ""
            raise TimedOut(
                f"the test restore of Snapshot {name} has not ended{why}. It continues; run `kubectl ocore certificate"
                f" {name}` later"
            )
        pause()


def show(objects: Objects, console: Console, name: str, output: Output) -> bool:
    """Prints the certificate, or why there is none. Returns whether it is current and shows a success. Raises CliError
    where the Snapshot does not exist."""
    obj = needed(objects, SNAPSHOT, name)
    status = _status(obj)
    problem = invalid(status, name)
    if output == "json":
        console.print_json(json.dumps(certificate(obj, status, problem)))
    else:
        _print(console, name, status, problem)
    return not problem


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


def certificate(obj: Object, status: SnapshotStatus, problem: str) -> Object:
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
        },
        "test": status.restore_test.wire() if status.restore_test is not None else None,
    }


def _print(console: Console, name: str, status: SnapshotStatus, problem: str) -> None:
    verdict = ("no certificate", "bold red") if problem else ("restored and checked", "bold green")
    console.print(Text.assemble((f"Snapshot {name}: ", "bold"), verdict))
    if problem:
        console.print(Text(f"  {problem}"), soft_wrap=True)
    for label, value in _lines(status):
        console.print(Text.assemble((f"  {label}: ", "bold"), value), soft_wrap=True)


def _lines(status: SnapshotStatus) -> Iterator[tuple[str, str]]:
    source, test = status.source, status.restore_test
    if source is not None:
        yield "Environment", f"{source.environment_name} ({source.environment_type}, id {source.environment_id})"
    if status.consistent_at is not None:
        yield "Shows", status.consistent_at
    if status.manifest_sha256 is not None:
        yield "Manifest", f"{status.manifest_key}, SHA-256 {status.manifest_sha256}"
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
            f"{human(test.database_bytes)}: {test.tables} tables with {test.rows} rows, as counted in the dump",
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


def _status(obj: Object) -> SnapshotStatus:
    return SnapshotStatus.model_validate(obj.get("status") or {})
