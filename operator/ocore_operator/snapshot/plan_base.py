"""What a Snapshot stores of the filestore: all of it, or what a full Snapshot does not have. Pure.

::

    choose ──► record the choice ──► enter the differential in the full Snapshot ──► create the Job
       ▲                                          │
       └────────── the full one has changed ◄─────┘

A differential records its choice first, so that a restarted operator continues with it. It is entered in the full
Snapshot before anything of it is copied: from then on nothing deletes that one. The base is always a full Snapshot, so
a restore needs two at most.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from ocore_operator import clock
from ocore_operator.entries.differentials import Files, Full
from ocore_operator.frame.actions import Note, Record
from ocore_operator.kube.resources import Snapshot
from ocore_operator.snapshot import transitions
from ocore_operator.snapshot.world import Action, EnterInBase, World


@dataclass(frozen=True)
class Wanted:
    """What a full Snapshot must have in common with the one that is taken."""

    environment_id: str
    store_id: str
    #: None: the Environment has no filestore.
    files: Files | None
    #: None: it is not encrypted.
    recipients: tuple[str, ...] | None = None
    #: Its Job can open a base (mode Current).
    current: bool = False

    @classmethod
    def of(cls, snapshot: Snapshot) -> "Wanted":
        """Of a Snapshot that has started."""
        status, files, encryption = snapshot.status, snapshot.status.filestore, snapshot.status.encryption
        return cls(
            environment_id=status.source.environment_id if status.source is not None else "",
            store_id=status.store_id or "",
            files=Files(files.claim_name, files.path, files.layout) if files is not None else None,
            recipients=encryption.recipients if encryption is not None else None,
            current=encryption is not None and encryption.job_identity_secret is not None,
        )


def decide(world: World) -> Action | None:
    """The next action before the Job of an attempt is created; None: create it."""
    snapshot = world.snapshot
    status, wanted = snapshot.status, Wanted.of(snapshot)
    if status.full_filestore is None:
        chosen = choose(snapshot.spec.filestore_mode, wanted, world.fulls, world.full_every, world.now)
        notes = (_instead(snapshot),) if chosen is None and _asks(snapshot, wanted) else ()
        failpoint = "operator-snapshot-base-chosen" if chosen is not None else ""
        return Record(transitions.with_base(snapshot, chosen), notes, failpoint=failpoint)
    if status.base is None:
        return None
    found = world.base
    if found is None or found.full is None or found.full.id != status.base.id or not is_usable(found.full, wanted):
        return Record(transitions.without_base(snapshot))
    return None if found.entered else EnterInBase()


def choose(
    mode: Literal["Auto", "Full", "Differential"],
    wanted: Wanted,
    fulls: Iterable[Full],
    full_every: timedelta,
    now: datetime,
) -> Full | None:
    """The full Snapshot that a differential is taken against; None: store the whole filestore."""
    if mode == "Full" or wanted.files is None:
        return None
    newest = max((f for f in fulls if is_usable(f, wanted)), key=lambda f: (clock.parse(f.time), f.name), default=None)
    if newest is not None and mode == "Auto" and now - clock.parse(newest.time) >= full_every:
        return None
    return newest


def is_usable(full: Full, wanted: Wanted) -> bool:
    """Whether a differential may need it: of the same environment, files and store, not known to be corrupt, not being
    deleted, and open to the Job where it is encrypted."""
    if not _opens(full, wanted):
        return False
    same = (full.environment_id, full.store_id, full.files) == (wanted.environment_id, wanted.store_id, wanted.files)
    return same and full.files is not None and full.sound and not full.deleting


def _opens(full: Full, wanted: Wanted) -> bool:
    """Plain and encrypted ones do not need each other. Who opens the differential has to open the files in its base."""
    if wanted.recipients is None or full.recipients is None:
        return wanted.recipients is full.recipients
    return wanted.current and bool(full.job_identity) and set(wanted.recipients) <= set(full.recipients)


def _asks(snapshot: Snapshot, wanted: Wanted) -> bool:
    return snapshot.spec.filestore_mode == "Differential" and wanted.files is not None


def _instead(snapshot: Snapshot) -> Note:
    return Note("Warning", "FullInsteadOfDifferential", transitions.no_base(snapshot))
