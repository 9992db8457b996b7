"""``kubectl ocore certificate``: the certificate of a Snapshot's newest test restore, and how to get one."""

import json
import math
import time
from datetime import UTC, datetime

from rich.console import Console
from rich.text import Text

from ocore_crds import conditions as c
from ocore_crds.kinds import SNAPSHOT
from ocore_crds.naming import ANNOTATION_RESTORE_TEST_REQUESTED
from ocore_crds.resources.restore_test import run_of
from ocore_crds.resources.snapshot import SnapshotStatus
from ocore_crds.rules.certificate import certificate, invalid, lines
from ocore_crds.text.timestamps import exact

from .errors import CliError, TimedOut
from .interrupts import pause
from .objects import Object, Objects, needed
from .options import Output

#: Seconds between two reads while a test runs.
PAUSE = 2.0


def request(objects: Objects, name: str) -> str:
    """Asks for a test restore now. Returns what names the request. Raises CliError where the Snapshot does not exist or
    cannot be restored."""
    status = _status(needed(objects, SNAPSHOT, name))
    if status.phase != "Complete":
        raise CliError(f"Snapshot {name} is {status.phase or 'Pending'}: only a Complete one can be tested")
    text = exact(datetime.now(UTC))
    objects.patch(SNAPSHOT, name, {"metadata": {"annotations": {ANNOTATION_RESTORE_TEST_REQUESTED: text}}})
    return run_of("annotation", text)


def wait(objects: Objects, name: str, run: str, timeout: float | None) -> None:
    """Waits until the test has a result; None: as long as it takes. Raises CliError where there is none in time, or the
    Snapshot is gone."""
    until = time.monotonic() + timeout if timeout is not None else math.inf
    while True:
        status = _status(needed(objects, SNAPSHOT, name))
        test = status.restore_test
        if (test is not None and run in test.answered) or status.phase != "Complete":
            return
        if time.monotonic() >= until:
            found = c.find(status.conditions, c.RESTORE_TESTED)
            why = f": {found.message}" if found is not None and found.status == "Unknown" else ""
            raise TimedOut(
                f"the test restore of Snapshot {name} has not ended{why}. It continues; run `kubectl ocore certificate"
                f" {name}` later"
            )
        pause(PAUSE)


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


def _print(console: Console, name: str, status: SnapshotStatus, problem: str) -> None:
    verdict = ("no certificate", "bold red") if problem else ("restored and checked", "bold green")
    console.print(Text.assemble((f"Snapshot {name}: ", "bold"), verdict))
    if problem:
        console.print(Text(f"  {problem}"), soft_wrap=True)
    for label, value in lines(status):
        console.print(Text.assemble((f"  {label}: ", "bold"), value), soft_wrap=True)


def _status(obj: Object) -> SnapshotStatus:
    return SnapshotStatus.model_validate(obj.get("status") or {})
