"""Which Snapshots are kept, until when, and by which rule. Pure.

A Snapshot is kept by the union of all rules. `keepHourly: 24` keeps the newest Snapshot of each of the last 24 hours that have one (as restic's
`forget` does), in the policy's time zone. Whatever the rules say, the newest Complete and the newest Verified Snapshot stay, a pinned one, and
one that a Rollback uses.
"""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from . import conditions
from .snapshotpolicy import Retention

#: A failed Snapshot is listed for so long: it holds no data, only the reason.
FAILED_FOR = timedelta(days=7)

LATEST = "latest"  # the newest Complete one
LATEST_VERIFIED = "latestVerified"
PINNED = "pinned"
IN_USE = "inUse"  # a Rollback that is not terminal names it, or has created it
UNDO_WINDOW = "undoWindow"  # the safety snapshot of a Rollback whose undo window is open
FAILED = "failed"  # within FAILED_FOR
DAYS = "retentionDays"
FOREVER = "forever"  # retentionDays: 0
LAST = "keepLast"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A terminal Snapshot with `retention: Policy`."""

    name: str
    time: datetime  # the point in time that it shows; of a failed one, when it ended
    complete: bool
    verified: bool = False
    pinned: bool = False
    in_use: bool = False
    #: Of a safety snapshot: when the undo window of its Rollback ends.
    undo_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Safety:
    """That a Rollback protects its safety snapshot."""

    name: str  # of the Snapshot
    undo_until: datetime | None  # None: the Rollback runs


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a Snapshot is kept, and until when. No rule: it is deleted."""

    rules: tuple[str, ...] = ()
    #: When each of the rules lets it go. None: its end cannot be known now.
    ends: tuple[datetime | None, ...] = ()

    @property
    def until(self) -> datetime | None:
        """When the last rule lets it go. None: that cannot be known now."""
        known = [e for e in self.ends if e is not None]
        return max(known) if known and len(known) == len(self.ends) else None

    @property
    def expired(self) -> bool:
        """Whether it is to be deleted."""
        return not self.rules


@dataclass
class _Found:
    rules: list[str] = field(default_factory=list)
    ends: list[datetime | None] = field(default_factory=list)

    def add(self, rule: str, end: datetime | None) -> None:
        self.rules.append(rule)
        self.ends.append(end)

    def verdict(self) -> Verdict:
        return Verdict(tuple(self.rules), tuple(self.ends))


#: Rule → the local start of the bucket of a moment, and of the bucket `count` later.
Bucket = Callable[[datetime], datetime]


def _hour(local: datetime) -> datetime:
    return local.replace(minute=0, second=0, microsecond=0)


def _day(local: datetime) -> datetime:
    return local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)


def _week(local: datetime) -> datetime:
    return _day(local) - timedelta(days=local.weekday())


def _month(local: datetime) -> datetime:
    return _day(local).replace(day=1)


def _year(local: datetime) -> datetime:
    return _month(local).replace(month=1)


def _months_later(start: datetime, count: int) -> datetime:
    months = start.year * 12 + start.month - 1 + count
    return start.replace(year=months // 12, month=months % 12 + 1)


def _hours_later(start: datetime, count: int) -> datetime:
    return (start.astimezone(UTC) + timedelta(hours=count)).astimezone(start.tzinfo)


BUCKETS: Mapping[str, tuple[Bucket, Callable[[datetime, int], datetime]]] = {
    "keepHourly": (_hour, _hours_later),
    "keepDaily": (_day, lambda start, count: start + timedelta(days=count)),
    "keepWeekly": (_week, lambda start, count: start + timedelta(weeks=count)),
    "keepMonthly": (_month, _months_later),
    "keepYearly": (_year, lambda start, count: _months_later(start, 12 * count)),
}


def verdicts(candidates: Iterable[Candidate], rules: Retention, zone: tzinfo, now: datetime) -> dict[str, Verdict]:
    """Name of each candidate → its verdict. Raises nothing; the order of the candidates does not matter."""
    newest_first = sorted(candidates, key=lambda c: (c.time, c.name), reverse=True)
    complete = [c for c in newest_first if c.complete]
    found = {c.name: _Found() for c in newest_first}
    _always(complete, newest_first, now, found)
    _by_age(complete, rules, now, found)
    _last(complete, rules, found)
    for rule in BUCKETS:
        _bucketed(rule, complete, getattr(rules, _field(rule)), zone, found)
    _failed(newest_first, complete, now, found)
    return {name: each.verdict() for name, each in found.items()}


def _field(rule: str) -> str:
    """keepHourly → keep_hourly."""
    return "keep_" + rule.removeprefix("keep").lower()


def _always(
    complete: Sequence[Candidate], every: Sequence[Candidate], now: datetime, found: Mapping[str, _Found]
) -> None:
    if complete:
        found[complete[0].name].add(LATEST, None)
    verified = next((c for c in complete if c.verified), None)
    if verified is not None:
        found[verified.name].add(LATEST_VERIFIED, None)
    for c in every:
        if c.pinned:
            found[c.name].add(PINNED, None)
        if c.in_use:
            found[c.name].add(IN_USE, None)
        if c.complete and c.undo_until is not None and c.undo_until > now:
            found[c.name].add(UNDO_WINDOW, c.undo_until)


def _by_age(complete: Sequence[Candidate], rules: Retention, now: datetime, found: Mapping[str, _Found]) -> None:
    days = rules.days
    if days is None:
        return
    for c in complete:
        end = c.time + timedelta(days=days) if days else None
        if end is None or end > now:
            found[c.name].add(DAYS if days else FOREVER, end)


def _last(complete: Sequence[Candidate], rules: Retention, found: Mapping[str, _Found]) -> None:
    for c in complete[: rules.keep_last]:
        found[c.name].add(LAST, None)


def _bucketed(rule: str, complete: Sequence[Candidate], count: int, zone: tzinfo, found: Mapping[str, _Found]) -> None:
    start_of, later = BUCKETS[rule]
    seen: set[tuple[datetime, int]] = set()
    for c in complete:
        start = start_of(c.time.astimezone(zone))
        bucket = (start, start.fold)
        if bucket in seen:
            continue
        if len(seen) == count:
            return
        seen.add(bucket)
        found[c.name].add(rule, later(start, count))


def _failed(
    every: Sequence[Candidate], complete: Sequence[Candidate], now: datetime, found: Mapping[str, _Found]
) -> None:
    """Each for FAILED_FOR; the newest one also while no newer Complete one shows that the trouble is over."""
    failed = [c for c in every if not c.complete]
    for c in failed:
        if c.time + FAILED_FOR > now:
            found[c.name].add(FAILED, c.time + FAILED_FOR)
    if failed and (not complete or complete[0].time < failed[0].time) and FAILED not in found[failed[0].name].rules:
        found[failed[0].name].add(FAILED, None)


def without_policy(found: Verdict, told: Verdict | None, now: datetime) -> Verdict:
    """The verdict where the environment has no policy. `found`: by the defaults; `told`: what the Snapshot's status says, None: nothing.

    A policy that is deleted, by a person or because a GitOps tool pruned it, must not let the defaults erase in a moment what it has kept for years.
    So each rule of its own continues to keep the Snapshot until the end that was told, also a Snapshot that has no end because it is the newest one.
    What holds for a moment only (`latest`, `pinned`) is not remembered.
    """
    if told is None:
        return found
    ends = dict(zip(found.rules, found.ends, strict=True))
    for rule, end in zip(told.rules, told.ends, strict=True):
        if end is None and _is_own(rule):
            ends[rule] = None
        elif end is not None and end > now and (_is_own(rule) or rule == DAYS):
            ends[rule] = max(end, ends.get(rule) or end)
    return Verdict(tuple(ends), tuple(ends.values()))


def _is_own(rule: str) -> bool:
    """Whether a policy has set the rule: the defaults do not have it."""
    return rule == FOREVER or rule.startswith("keep")


def safety_of(rollback: Mapping[str, Any]) -> Safety | None:
    """The safety snapshot of a Rollback as the API server has it, while it protects that; None: it has none, or protects it no more.

    A Rollback that was undone, or is being deleted, keeps nothing.
    """
    status = rollback.get("status") or {}
    name, terminal = status.get("safetySnapshotName"), conditions.is_terminal(status.get("conditions") or ())
    if not name or status.get("undoneBy") or (terminal and "deletionTimestamp" in rollback["metadata"]):
        return None
    if not terminal:
        return Safety(name, None)
    return Safety(name, _time(status["undoUntil"])) if status.get("undoUntil") else None


def kept_for(candidate: Candidate, safeties: Iterable[Safety]) -> Candidate:
    """The candidate with what the Rollbacks protect of it."""
    for safety in safeties:
        if safety.name == candidate.name:
            running = safety.undo_until is None
            return replace(candidate, in_use=candidate.in_use or running, undo_until=safety.undo_until)
    return candidate


def candidate_of(snapshot: Mapping[str, Any], used: Container[str]) -> Candidate | None:
    """From a Snapshot as the API server has it; None: the rules are not about it. `used`: names of Snapshots that a Rollback uses."""
    meta, spec, status = snapshot["metadata"], snapshot.get("spec") or {}, snapshot.get("status") or {}
    found = status.get("conditions") or ()
    if spec.get("retention") != "Policy" or not conditions.is_terminal(found) or "deletionTimestamp" in meta:
        return None
    time = status.get("consistentAt") or status.get("completedAt") or meta["creationTimestamp"]
    return Candidate(
        name=meta["name"],
        time=datetime.fromisoformat(time.replace("Z", "+00:00")),
        # A corrupt one is no snapshot that may stay for others.
        complete=conditions.outcome(found) == "Complete" and status.get("phase") != "Corrupt",
        verified=any(x["type"] == conditions.VERIFIED and x["status"] == "True" for x in found),
        pinned=spec.get("pin") is not None,
        in_use=meta["name"] in used,
    )


#: The fields of a Snapshot's status that hold its verdict.
STATUS_FIELDS = ("keptBy", "expiresAt", "ruleEnds")


def status_of(verdict: Verdict) -> dict[str, Any]:
    """The verdict as the fields of a Snapshot's status, with whole seconds."""
    ends = {r: _text(e) for r, e in zip(verdict.rules, verdict.ends, strict=True) if e is not None}
    status: dict[str, Any] = {"keptBy": list(verdict.rules)}
    if verdict.until is not None:
        status["expiresAt"] = _text(verdict.until)
    if ends and len(verdict.rules) > 1:  # for one rule, expiresAt is its end
        status["ruleEnds"] = ends
    return status


def beyond(snapshot: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a verdict in the Snapshot's status that `wanted` lacks, as a merge patch of the status which removes them. Another client
    wrote them: server-side apply removes only what its own manager wrote."""
    status = snapshot.get("status") or {}
    patch: dict[str, Any] = {f: None for f in STATUS_FIELDS if f in status and f not in wanted}
    rules = [r for r in status.get("ruleEnds") or {} if r not in wanted.get("ruleEnds", ())]
    if rules and "ruleEnds" not in patch:
        patch["ruleEnds"] = dict.fromkeys(rules)
    return patch


def told_of(snapshot: Mapping[str, Any]) -> Verdict | None:
    """The verdict in a Snapshot's status; None: nothing yet."""
    status = snapshot.get("status") or {}
    rules = status.get("keptBy")
    if rules is None:
        return None
    ends, last = status.get("ruleEnds") or {}, status.get("expiresAt")
    return Verdict(tuple(rules), tuple(_time(ends.get(r) or last) for r in rules))


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text.replace("Z", "+00:00")) if text else None
