"""``kubectl ocore retention``: the rules of a SnapshotPolicy applied to the Snapshots as they are now, with the
policy's values or others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ocore_crds import conditions
from ocore_crds.kinds import ROLLBACK, SNAPSHOT, SNAPSHOT_POLICY
from ocore_crds.resources.snapshotpolicy import SnapshotPolicySpec, age
from ocore_crds.rules.costs import Pace, Stored, in_a_year, pace_of, stored, taken_of
from ocore_crds.rules.differentials import needs_of
from ocore_crds.rules.retention import (
    Candidate,
    Listed,
    Verdict,
    candidate_of,
    candidates_of,
    judged,
    safety_of,
    snapshot_used_by,
    told_of,
)
from ocore_crds.text.quantity import counted, human, span

from . import tables
from .errors import CliError
from .objects import Object, Objects

#: Bytes that have a price.
_GB = 1_000_000_000


@dataclass(frozen=True)
class Prices:
    """Of a GB and month: in the Snapshots' own store, and in the remote one. None: not shown."""

    own: float | None = None
    remote: float | None = None


def show(
    objects: Objects,
    console: Console,
    environment: str,
    given: Mapping[str, int],
    now: datetime,
    prices: Prices = Prices(),
) -> None:
    """Prints each Snapshot with its verdict, then what is deleted, and what is stored now and in a year. `given`:
    fields of the policy to try instead of its own."""
    policy = objects.get(SNAPSHOT_POLICY, environment)
    spec = policy_spec(policy, environment, given)
    snapshots = _snapshots(objects, environment)
    rollbacks = objects.list(ROLLBACK)
    running = (o for o in rollbacks if not conditions.is_terminal((o.get("status") or {}).get("conditions") or ()))
    used = {name for where, name in filter(None, map(snapshot_used_by, running)) if where == objects.namespace}
    safeties = [s for s in map(safety_of, rollbacks) if s is not None]
    listed = [
        Listed(o["metadata"]["name"], candidate_of(o, used), needs_of(o.get("status") or {}), told_of(o))
        for o in snapshots
    ]
    candidates = candidates_of(listed, safeties)
    found = judged(listed, safeties, spec, _zone(spec.time_zone), now, told=policy is None and not given)
    console.print(Text(_rules(spec, policy is not None, given)))
    if not candidates:
        console.print(Text(f"No snapshot of environment {environment} has retention Policy and is terminal."))
    else:
        console.print(_table(candidates, found))
    kept = len(snapshots) - len(candidates)
    if kept:
        console.print(Text(f"The rules do not concern {kept} more: retention Keep, running, or being deleted."))
    _print_expired(console, snapshots, found, dry_run=bool(given))
    _print_stored(console, snapshots, candidates, spec, now, prices)


def policy_spec(policy: Object | None, environment: str, given: Mapping[str, int] | None = None) -> SnapshotPolicySpec:
    """The policy's values, or the defaults, with the given ones in their place."""
    own = policy["spec"] if policy is not None else {"environmentRef": {"name": environment}}
    return SnapshotPolicySpec.model_validate({**own, **(given or {})}, extra="ignore")


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise CliError(f"the policy's time zone {name!r} is unknown: correct spec.timeZone") from error


def _snapshots(objects: Objects, environment: str) -> list[Object]:
    return [o for o in objects.list(SNAPSHOT) if o["spec"]["environmentRef"]["name"] == environment]


def _rules(spec: SnapshotPolicySpec, there: bool, given: Mapping[str, int]) -> str:
    fields = ("retentionDays", "keepLast", "keepHourly", "keepDaily", "keepWeekly", "keepMonthly", "keepYearly")
    wire = spec.wire()
    values = [f"{f} {wire[f]}" for f in fields if wire.get(f)]
    if spec.days is not None and not wire.get("retentionDays"):
        values.insert(0, f"retentionDays {spec.days}" + (" (no limit)" if spec.days == 0 else " (the default)"))
    source = "Rules" if there else "No SnapshotPolicy; the defaults"
    if given:
        source = "Rules with the values to try"
    return f"{source}: {', '.join(values)}; time zone {spec.time_zone}."


def _table(candidates: list[Candidate], found: Mapping[str, Verdict]) -> Table:
    table = tables.plain("Snapshot", "Time", "Result", "Kept by", "Until")
    for c in sorted(candidates, key=lambda c: (c.time, c.name), reverse=True):
        verdict = found[c.name]
        table.add_row(
            Text(c.name),
            Text(f"{c.time.astimezone(UTC):%Y-%m-%d %H:%M}"),
            Text("Complete" if c.complete else "Failed", style="" if c.complete else "red"),
            _kept_by(verdict),
            Text(f"{verdict.until.astimezone(UTC):%Y-%m-%d %H:%M}" if verdict.until else "-"),
        )
    return table


def _kept_by(verdict: Verdict) -> Text:
    """The rules that keep the data; where none does, those that keep the copy in the remote store."""
    if verdict.rules:
        return Text(", ".join(verdict.rules))
    if verdict.copy:
        return Text(f"remote copy only: {', '.join(verdict.copy)}")
    return Text("deleted next", style="yellow")


def _print_expired(console: Console, snapshots: list[Object], found: Mapping[str, Verdict], *, dry_run: bool) -> None:
    expired = [o for o in snapshots if o["metadata"]["name"] in found and found[o["metadata"]["name"]].expired]
    stored = sum(int((o["status"].get("sizes") or {}).get("storedBytes") or 0) for o in expired)
    what = "would delete" if dry_run else "deletes"
    console.print(Text(f"The next run {what} {counted(len(expired), 'snapshot')}, {human(stored)} in the store."))


def _print_stored(
    console: Console,
    snapshots: Sequence[Object],
    candidates: Sequence[Candidate],
    spec: SnapshotPolicySpec,
    now: datetime,
    prices: Prices,
) -> None:
    taken = {o["metadata"]["name"]: found for o in snapshots if (found := taken_of(o)) is not None}
    if not taken:
        return
    ours = stored(t for t in taken.values() if t.local), stored(t for t in taken.values() if t.copied)
    console.print(Text(f"Stored now: {_told(*ours)}{_price(*ours, prices)}."))
    pace = pace_of(taken[c.name] for c in candidates if c.name in taken)
    if pace is None:
        console.print(Text("In a year: unknown. It takes two Complete snapshots with retention Policy to tell."))
        return
    zone = _zone(spec.time_zone)
    later = in_a_year(candidates, taken, pace, spec, age(spec.full_every), zone, now)
    console.print(Text(f"In a year by these rules, {_pace(pace)}: {_told(*later)}{_price(*later, prices)}."))


def _told(own: Stored, copies: Stored) -> str:
    text = (
        f"{counted(own.count, 'snapshot')} ({own.full} full), {human(own.bytes)}: database {human(own.database)},"
        f" files {human(own.files)}"
    )
    return text + (f"; remote copies: {copies.count}, {human(copies.bytes)}" if copies.count else "")


def _price(own: Stored, copies: Stored, prices: Prices) -> str:
    if prices.own is None:
        return ""
    remote = prices.own if prices.remote is None else prices.remote
    return f"; {(own.bytes * prices.own + copies.bytes * remote) / _GB:.2f} a month"


def _pace(pace: Pace) -> str:
    seconds = pace.every.total_seconds()
    text = f"with one every {span(seconds if seconds < 60 else round(seconds / 60) * 60)}"
    grown = {"database": pace.database_a_day, "files": pace.files_a_day}
    grows = [f"{name} {'+' if size > 0 else '-'}{human(abs(round(size)))}" for name, size in grown.items() if size]
    return text + (f" and their growth ({', '.join(grows)} each day, stored)" if grows else "")
