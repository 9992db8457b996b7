"""What the Snapshots of an environment take in their stores, now and in a year by the rules of a policy. Pure.

The year is played: Snapshots are taken at the pace of the newest ones, and are as large as those, with their growth.
The rules decide which of them are kept at its end, with those of today.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo
from itertools import pairwise
from statistics import median
from typing import Any

from ocore_crds import conditions
from ocore_crds.resources.snapshotpolicy import Retention
from ocore_crds.rules.differentials import needs_of
from ocore_crds.rules.retention import Candidate, protected, verdicts
from ocore_crds.text import timestamps

YEAR = timedelta(days=365)
DAY = timedelta(days=1)
#: Snapshots whose pace and size count, the newest ones: rules leave gaps between the older ones.
COUNTED = 10
#: Snapshots of the year that are played at most, the last ones.
PLAYED = 50_000


@dataclass(frozen=True, slots=True)
class Taken:
    """A Complete Snapshot. Bytes are those in the store."""

    time: datetime
    id: str
    needs: str  # id of the full one that it needs; empty: it is full
    database: int
    files: int
    local: bool = True  # its own store has the data
    copied: bool = False  # a remote store has it


@dataclass(frozen=True, slots=True)
class Stored:
    """Snapshots in a store, and their bytes."""

    full: int = 0
    differential: int = 0
    database: int = 0
    files: int = 0

    @property
    def count(self) -> int:
        """All of them."""
        return self.full + self.differential

    @property
    def bytes(self) -> int:
        """Database and files."""
        return self.database + self.files


@dataclass(frozen=True, slots=True)
class Pace:
    """How Snapshots are taken now. Bytes are those in the store."""

    every: timedelta
    database: float
    #: Of a full one.
    files: float
    database_a_day: float
    files_a_day: float
    #: Bytes of the files of a differential for each day since its full one. None: every Snapshot is full.
    differential_a_day: float | None
    copied: bool


def taken_of(snapshot: Mapping[str, Any]) -> Taken | None:
    """From a Snapshot as the API server has it; None: it is not Complete, or its sizes are unknown."""
    status = snapshot.get("status") or {}
    sizes, remote = status.get("sizes"), status.get("remote") or {}
    if not sizes or conditions.outcome(status.get("conditions") or ()) != "Complete":
        return None
    time = status.get("consistentAt") or status.get("completedAt") or snapshot["metadata"]["creationTimestamp"]
    return Taken(
        time=timestamps.parse(time),
        id=status.get("id") or snapshot["metadata"].get("uid") or "",
        needs=needs_of(status),
        database=int(sizes.get("databaseStoredBytes") or 0),
        files=int(sizes.get("filestoreStoredBytes") or 0),
        local=not remote.get("localDeletedAt"),
        copied=remote.get("state") == "Completed",
    )


def stored(taken: Iterable[Taken]) -> Stored:
    """What they take together."""
    every = list(taken)
    full = sum(not each.needs for each in every)
    database, files = sum(each.database for each in every), sum(each.files for each in every)
    return Stored(full, len(every) - full, database, files)


def pace_of(taken: Iterable[Taken]) -> Pace | None:
    """None: with fewer than two Snapshots the pace is unknown."""
    newest = sorted(taken, key=lambda each: each.time, reverse=True)
    recent = newest[:COUNTED]
    gaps = [(later.time - earlier.time).total_seconds() for later, earlier in pairwise(recent)]
    every = timedelta(seconds=median(gaps)) if gaps else timedelta()
    if not every:
        return None
    full = [each for each in newest if not each.needs]
    began = {each.id: each.time for each in full}
    differentials = [each for each in recent if each.needs and each.time > began.get(each.needs, each.time)]
    shares = [each.files / ((each.time - began[each.needs]) / DAY) for each in differentials]
    return Pace(
        every=every,
        database=median(each.database for each in recent),
        files=full[0].files if full else 0,
        database_a_day=_a_day([(each.time, each.database) for each in newest]),
        files_a_day=_a_day([(each.time, each.files) for each in full]),
        differential_a_day=median(shares) if shares else None,
        copied=newest[0].copied,
    )


def _a_day(sizes: Sequence[tuple[datetime, int]]) -> float:
    """Bytes by which it grows each day, from the oldest to the newest; 0 within a day, where chance says more."""
    if len(sizes) < 2 or (days := (sizes[0][0] - sizes[-1][0]) / DAY) < 1:
        return 0
    return (sizes[0][1] - sizes[-1][1]) / days


def in_a_year(
    candidates: Iterable[Candidate],
    taken: Mapping[str, Taken],
    pace: Pace,
    rules: Retention,
    full_every: timedelta,
    zone: tzinfo,
    now: datetime,
) -> tuple[Stored, Stored]:
    """What is kept a year from now: in the Snapshots' own stores, and of remote copies. `taken`: by the name of the
    candidate. Pins and Rollbacks of today are not counted: they end."""
    end = now + YEAR
    known = {c.name: taken[c.name] for c in candidates if c.name in taken}
    played = [
        replace(c, pinned=False, in_use=False, needed=False, undo_until=None) for c in candidates if c.name in known
    ]
    for number, each in enumerate(_played(pace, full_every, now, end)):
        known[f"{number} to come"] = each
        new = Candidate(f"{number} to come", each.time, complete=True, id=each.id, needs=each.needs)
        played.append(replace(new, remote="Completed") if each.copied else new)
    found = protected(verdicts(played, rules, zone, end), played)
    own = stored(known[name] for name, verdict in found.items() if verdict.rules)
    return own, stored(known[name] for name, verdict in found.items() if verdict.copy)


def _played(pace: Pace, full_every: timedelta, now: datetime, end: datetime) -> Iterable[Taken]:
    """The Snapshots from now until the end of the year."""
    full: Taken | None = None
    for number in range(min(int((end - now) / pace.every), PLAYED), 0, -1):
        time = end - (number - 1) * pace.every
        days = (time - now) / DAY
        database = max(pace.database + pace.database_a_day * days, 0)
        if full is None or pace.differential_a_day is None or time - full.time >= full_every:
            files = max(pace.files + pace.files_a_day * days, 0)
            full = Taken(time, f"full {number}", "", int(database), int(files), copied=pace.copied)
            yield full
        else:
            files = pace.differential_a_day * ((time - full.time) / DAY)
            yield Taken(time, "", full.id, int(database), int(files), copied=pace.copied)
