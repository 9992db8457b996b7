"""Named places where a test may kill, stop or fail the program. Always compiled in, armed only by the environment
variable.

``OCORE_FAILPOINTS=name=action[,name=action]`` with the actions ``kill`` (SIGKILL to itself), ``error`` (raises
:class:`FailpointError`), ``sleep:SECONDS`` and ``delay:SECONDS``. A ``delay`` fires each time. The others fire once per
process, and once per pod where ``OCORE_FAILPOINT_MARKS`` names a folder that outlives the container.
docs/failpoints.md is made from :data:`REGISTRY`.

This module reads the environment, writes marks and ends the process. Of ``ocore_crds`` only ``generate`` also does I/O
(tests/unit/crds/test_crds_io.py).
"""

import os
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

#: name → the state at that point. Every call of :func:`hit` names one of these.
REGISTRY: dict[str, str] = {
    # mover, snapshot
    "snapshot-start": "nothing has been requested from the database yet",
    "snapshot-waiting": "quiesce: the Job waits for the signal to freeze",
    "snapshot-may-resume": "quiesce: the workloads may start again, this is not reported yet",
    "snapshot-locked": "garbage collection is paused, the snapshot is exported, nothing is frozen yet",
    "snapshot-frozen": "the filestore is frozen and the lock is released, nothing is stored yet",
    "snapshot-dump-running": "pg_dump runs and the first part of it is stored",
    "snapshot-pack-stored": "the first pack of the filestore is stored",
    "after-upload-before-manifest": "every artifact is stored, the manifest is not",
    "state-written": "the state object is written, the manifest or the result is not",
    "after-manifest": "the manifest is stored, the result is not reported yet",
    # mover, restore
    "restore-start": "nothing is restored yet",
    "restore-hold-made": "the hold set is linked, nothing is restored yet",
    "restore-database-created": "the database beside the live one exists and is empty",
    "restore-database-loaded": "pg_restore has ended, settings and grants are not applied yet",
    "restore-files-added": "missing files were added, nothing is checked yet",
    "restore-checked": "everything is checked, the result is not reported yet",
    # mover, test-restore
    "test-restore-loaded": "the scratch database of a test restore is loaded, nothing is checked yet",
    # mover, neutralize
    "neutralize-start": "the copy is restored and closed, nothing is neutralised yet",
    "neutralize-opened": "the copy is open for a temporary role, nothing is neutralised yet",
    "neutralize-applied": "the copy is neutralised, nothing is asserted yet",
    "neutralize-asserted": "every assertion held, the copy is not marked yet",
    "neutralize-marked": "the copy is marked as neutralised, the result is not reported yet",
    # mover, switch
    "switch-ready": "connected and waiting for the signal",
    "switch-refused": "the live database refuses connections, sessions are not ended yet",
    "switch-sessions-ended": "no session is left, nothing is renamed yet",
    "switch-renamed": "both databases are renamed, the new live one still refuses connections",
    "switch-filestore-moved": (
        "layout Plain: the filestore is exchanged, the folder beside it has its old name; without an exchange: the"
        " filestore is moved away, the other folder is not in its place yet"
    ),
    "switch-done": "connections are allowed again, the result is not reported yet",
    "switch-back-refused": "switching back: the live database refuses connections",
    "switch-back-renamed": "switching back: renamed, connections are still refused",
    # mover, cleanup and deletion
    "cleanup-database-dropped": "the previous database is gone, the folders are not",
    "delete-manifest-gone": "the manifest is deleted, the artifacts are not",
    # mover, extract
    "extract-loaded": "the scratch database of an Extract is loaded, no row is read yet",
    "extract-written": "every file is written and compared, the folder, object or schema is not visible yet",
    "extract-visible": "the new schema of the live database is committed, the result is not reported yet",
    # mover, remote copy
    "copy-remote-object": "the first object is in the remote store, the others and the manifest are not",
    "copy-remote-objects": "every object is in the remote store, the manifest is not",
    "copy-remote-manifest": "the manifest is in the remote store, the result is not reported yet",
    "orphans-some-removed": "the orphans of one snapshot's folder are deleted, the others are not",
    # operator
    "operator-remote-job-created": "the copy's Job is created, the status does not name it yet",
    "operator-remote-release-recorded": "the status says that only the remote copy counts, the data is not deleted yet",
    "operator-snapshot-started": "the Snapshot is Running, its Job is not created yet",
    "operator-snapshot-base-chosen": "a differential names its full Snapshot, which does not list it yet",
    "operator-snapshot-base-entered": "the full Snapshot lists the differential, whose Job is not created yet",
    "operator-snapshot-job-created": "the Job is created, the status does not name it yet",
    "operator-snapshot-result-seen": "the Job succeeded, the status does not show it yet",
    "operator-snapshot-replicas-saved": "quiesce: the replicas are saved, nothing is scaled yet",
    "operator-snapshot-scaled-down": "quiesce: the workloads are at zero, the Job has no signal yet",
    "operator-snapshot-signalled": "quiesce: the Job has its signal, its answer is not seen yet",
    "operator-snapshot-frozen": "quiesce: it is frozen, the workloads are not scaled up yet",
    "operator-snapshot-resumed": "quiesce: the workloads are scaled up, the status does not show it yet",
    "operator-rollback-safety-created": "the safety snapshot is created, the Rollback's status does not name it yet",
    "operator-rollback-safety-complete": "the safety snapshot is Complete, the Rollback's status does not show it yet",
    "operator-rollback-restored": "the restore succeeded, the status does not show it yet",
    "operator-rollback-neutralized": "the copy is neutralised, the status does not show it yet",
    "operator-rollback-replicas-saved": "the replicas are saved, nothing is scaled yet",
    "operator-rollback-scaled-down": "the workloads are at zero, the switch Job has no signal yet",
    "operator-undo-taken-over": (
        "the Environment names the undo as owner of what was kept, the switch Job has no signal yet"
    ),
    "operator-rollback-signalled": "the switch Job has its signal, its answer is not seen yet",
    "operator-rollback-switched": "the switch is done, the workloads are not scaled up yet",
    "operator-rollback-image-saved": "the images are saved, none is changed yet",
    "operator-rollback-image-set": "the images are set, the workloads are not scaled up yet",
    "operator-rollback-resumed": "the workloads are scaled up, their health is not known yet",
    "operator-undo-settled": "the Environment has the outcome of the undo, the Rollback is not terminal yet",
    "operator-rollback-cleanup": "the undo window is over, the cleanup Job is not created yet",
}

ENVIRONMENT_VARIABLE = "OCORE_FAILPOINTS"
MARKS_VARIABLE = "OCORE_FAILPOINT_MARKS"
_fired: set[str] = set()


class FailpointError(RuntimeError):
    """Raised by the action ``error``."""


def parse(text: str) -> dict[str, str]:
    """name → action. Raises ValueError for a name that is not registered or an unknown action."""
    armed: dict[str, str] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, _, action = item.partition("=")
        if name not in REGISTRY:
            raise ValueError(f"no failpoint {name!r}; docs/failpoints.md lists them")
        if action not in ("kill", "error") and not action.startswith(("sleep:", "delay:")):
            raise ValueError(
                f"failpoint {name}: unknown action {action!r}; use kill, error, sleep:SECONDS or delay:SECONDS"
            )
        armed[name] = action
    return armed


def for_attempt(text: str, attempt: int) -> str:
    """The items of an annotation that apply to this attempt: ``name=kill@1`` to the first only, ``name=kill`` to
    all."""
    kept = []
    for item in filter(None, (part.strip() for part in text.split(","))):
        body, at, number = item.rpartition("@")
        if not at:
            kept.append(item)
        elif number == str(attempt):
            kept.append(body)
    return ",".join(kept)


def repeats(action: str) -> bool:
    """Whether it fires each time, and not only once."""
    return action.startswith("delay:")


def begin(name: str, action: str) -> float:
    """Ends the process, raises FailpointError, or returns the seconds that the caller has to sleep."""
    if action == "kill":
        _die()
    if action == "error":
        raise FailpointError(f"failpoint {name}")
    return float(action.partition(":")[2])


def _die() -> NoReturn:
    """Ends the process as `kill -9` does: no handler, no `finally`, no flush.

    The first process of a container ignores a SIGKILL that it sends itself (pid_namespaces(7)). It therefore exits by
    the system call, which also ends all other processes of the container.
    """
    os.kill(os.getpid(), signal.SIGKILL)
    os._exit(128 + signal.SIGKILL)


def hit(name: str) -> None:
    """Runs the failpoint's action if it is armed and has not fired yet, a delay each time; else does nothing.

    Raises FailpointError for the action ``error``, ValueError for a name that is not registered.
    """
    text = os.environ.get(ENVIRONMENT_VARIABLE, "")
    if not text:
        return
    if name not in REGISTRY:
        raise ValueError(f"failpoint {name!r} is not in the registry")
    action = parse(text).get(name)
    if action is None or not (repeats(action) or _first(name)):
        return
    print(f"failpoint {name}: {action}", file=sys.stderr, flush=True)
    time.sleep(begin(name, action))


def _first(name: str) -> bool:
    """Whether it has not fired yet, which it does now."""
    if name in _fired:
        return False
    marks = os.environ.get(MARKS_VARIABLE)
    if marks:
        mark = Path(marks) / f"failpoint-{name}"
        if mark.exists():
            return False
        mark.touch()
    _fired.add(name)
    return True
