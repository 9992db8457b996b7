"""Which Snapshots are kept, until when, and by which rule. Pure.

A Snapshot is kept by the union of all rules. `keepHourly: 24` keeps the newest Snapshot of each of the last 24 hours
that have one (as restic's `forget` does), in the policy's time zone. Whatever the rules say, the newest Complete, the
newest Verified and the newest RestoreTested Snapshot stay, a pinned one, and one that a Rollback uses; and a full one
while a differential that stays needs it. Rules that keep the newest of something count with safety snapshots, and
without them: a safety snapshot shows what a Rollback replaced, and takes the place of no good one.

A Snapshot may have a copy in a remote store, with rules of its own: see :func:`_copies`. It is deleted when neither its
data nor its copy is kept.
"""

from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Literal

from ocore_crds import conditions
from ocore_crds.resources import remote_copy
from ocore_crds.resources.snapshot import SAFETY_TRIGGER
from ocore_crds.resources.snapshotpolicy import Retention
from ocore_crds.rules.differentials import needs_of
from ocore_crds.text import timestamps

#: A failed Snapshot is listed for so long: it holds no data, only the reason.
FAILED_FOR = timedelta(days=7)
#: Failed Snapshots of an environment that are listed at most, the newest ones: a broken database with a schedule for
#: each minute makes 1,440 a day.
FAILED_COUNT = 50

LATEST = "latest"  # the newest Complete one
LATEST_VERIFIED = "latestVerified"
LATEST_RESTORE_TESTED = "latestRestoreTested"  # the newest one that a test restore has proven
PINNED = "pinned"
IN_USE = "inUse"  # a Rollback that is not terminal names it, or has created it
DEPENDENTS = "dependents"  # a differential that is kept needs it
UNDO_WINDOW = "undoWindow"  # the safety snapshot of a Rollback whose undo window is open
FAILED = "failed"  # within FAILED_FOR
DAYS = "retentionDays"
FOREVER = "forever"  # retentionDays: 0
LAST = "keepLast"
REMOTE_COPY = "remoteCopy"  # the data stays until the copy that remoteRetentionDays asks for is complete
# Rules that keep a remote copy
REMOTE_DAYS = "remoteRetentionDays"
SNAPSHOT = "snapshot"  # the rules that keep the Snapshot's data
BASE = "base"  # the copy of a differential needs it


@dataclass(frozen=True, slots=True)
class Candidate:
    """A terminal Snapshot with `retention: Policy`."""

    name: str
    time: datetime  # the point in time that it shows; of a failed one, when it ended
    complete: bool
    verified: bool = False
    restore_tested: bool = False
    pinned: bool = False
    in_use: bool = False
    #: status.id, for the differentials that need it.
    id: str = ""
    #: Of a differential: the id of the full Snapshot that it needs.
    needs: str = ""
    #: A Snapshot that the rules are not about needs it: one with `retention: Keep`, one that runs, or one that is being
    #: deleted.
    needed: bool = False
    #: Of a safety snapshot: when the undo window of its Rollback ends.
    undo_until: datetime | None = None
    #: The copy in the remote store: Pending also while it is copied; empty: there is none, or it has failed.
    remote: Literal["", "Pending", "Completed"] = ""
    #: Its own store has the data, as far as is known: not damaged, and not let go of.
    local: bool = True
    #: A safety snapshot: it takes the place of no good one.
    safety: bool = False


@dataclass(frozen=True, slots=True)
class Safety:
    """That a Rollback protects its safety snapshot."""

    name: str  # of the Snapshot
    undo_until: datetime | None  # None: the Rollback runs


#: Rule → when it lets a Snapshot, or a copy, go. None: its end cannot be known now.
Ends = dict[str, datetime | None]


@dataclass(slots=True)
class Verdict:
    """Why a Snapshot is kept, and until when. No rule: it is deleted."""

    rules: Ends = field(default_factory=dict)
    #: The same of its remote copy. None: there is none. No rule: the copy is deleted.
    copy: Ends | None = None

    @property
    def copy_until(self) -> datetime | None:
        """When the last rule lets the remote copy go. None: that cannot be known now."""
        return _last_end((self.copy or {}).values())

    @property
    def until(self) -> datetime | None:
        """When the last rule lets it go. None: that cannot be known now."""
        return _last_end(self.rules.values())

    @property
    def expired(self) -> bool:
        """Whether it is to be deleted: neither its data nor its remote copy is kept."""
        return not self.rules and not self.copy


def _last_end(ends: Collection[datetime | None]) -> datetime | None:
    known = [e for e in ends if e is not None]
    return max(known) if known and len(known) == len(ends) else None


#: State of status.remote → Candidate.remote.
_COPIES: Mapping[str, Literal["Pending", "Completed"]] = {
    "Pending": "Pending", "Copying": "Pending", "Completed": "Completed",
}  # fmt: skip
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
    found = {c.name: Verdict() for c in newest_first}
    both = (complete, [c for c in complete if not c.safety])
    for counted in both:
        _newest(counted, found)
    _always(newest_first, now, found)
    _by_age(complete, rules, now, found)
    for counted in both:
        _last(counted, rules, found)
        for rule in BUCKETS:
            _bucketed(rule, counted, getattr(rules, _field(rule)), zone, found)
    _failed(newest_first, complete, now, found)
    _awaiting_copy(complete, rules, now, found)
    _copies(complete, rules, now, found)
    return found


def _field(rule: str) -> str:
    """keepHourly → keep_hourly."""
    return "keep_" + rule.removeprefix("keep").lower()


def _newest(complete: Sequence[Candidate], found: Mapping[str, Verdict]) -> None:
    if complete:
        found[complete[0].name].rules[LATEST] = None
    verified = next((c for c in complete if c.verified), None)
    if verified is not None:
        found[verified.name].rules[LATEST_VERIFIED] = None
    tested = next((c for c in complete if c.restore_tested), None)
    if tested is not None:
        found[tested.name].rules[LATEST_RESTORE_TESTED] = None


def _always(every: Sequence[Candidate], now: datetime, found: Mapping[str, Verdict]) -> None:
    for c in every:
        if c.pinned:
            found[c.name].rules[PINNED] = None
        if c.in_use:
            found[c.name].rules[IN_USE] = None
        if c.complete and c.undo_until is not None and c.undo_until > now:
            found[c.name].rules[UNDO_WINDOW] = c.undo_until


def _by_age(complete: Sequence[Candidate], rules: Retention, now: datetime, found: Mapping[str, Verdict]) -> None:
    days = rules.days
    if days is None:
        return
    for c in complete:
        end = c.time + timedelta(days=days) if days else None
        if end is None or end > now:
            found[c.name].rules[DAYS if days else FOREVER] = end


def _last(complete: Sequence[Candidate], rules: Retention, found: Mapping[str, Verdict]) -> None:
    for c in complete[: rules.keep_last]:
        found[c.name].rules[LAST] = None


def _bucketed(rule: str, complete: Sequence[Candidate], count: int, zone: tzinfo, found: Mapping[str, Verdict]) -> None:
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
        found[c.name].rules[rule] = later(start, count)


def _failed(
    every: Sequence[Candidate], complete: Sequence[Candidate], now: datetime, found: Mapping[str, Verdict]
) -> None:
    """Each for FAILED_FOR, of the newest FAILED_COUNT; the newest one also while no newer Complete one shows that the
    trouble is over."""
    failed = [c for c in every if not c.complete]
    for c in failed[:FAILED_COUNT]:
        if c.time + FAILED_FOR > now:
            found[c.name].rules[FAILED] = c.time + FAILED_FOR
    if failed and (not complete or complete[0].time < failed[0].time) and FAILED not in found[failed[0].name].rules:
        found[failed[0].name].rules[FAILED] = None


def _awaiting_copy(
    complete: Sequence[Candidate], rules: Retention, now: datetime, found: Mapping[str, Verdict]
) -> None:
    """A copy that is to outlive the data is made from it: the data waits, at most as long as the copy would be kept."""
    days = rules.remote_retention_days
    if days is None:
        return
    for c in complete:
        end = c.time + timedelta(days=days) if days else None
        if c.remote == "Pending" and c.local and (end is None or end > now):
            found[c.name].rules[REMOTE_COPY] = end


def _copies(complete: Sequence[Candidate], rules: Retention, now: datetime, found: Mapping[str, Verdict]) -> None:
    """Which remote copies are kept. Without remoteRetentionDays, as long as the Snapshot's data. A copy that is the
    only place of the data is kept by the Snapshot's own rules, too. The newest copy of an environment, and the copy of
    a full that another copy needs, stay in any case."""
    days = rules.remote_retention_days
    copied = [c for c in complete if c.remote == "Completed"]
    newest = {c.name for c in (*copied[:1], *[c for c in copied if not c.safety][:1])}
    for c in copied:
        each = found[c.name]
        copy: Ends = {}
        each.copy = copy
        end = c.time + timedelta(days=days) if days else None
        if c.name in newest:
            copy[LATEST] = None
        if c.pinned:
            copy[PINNED] = None
        if c.in_use:
            copy[IN_USE] = None
        if each.rules and (days is None or not c.local):
            copy[SNAPSHOT] = each.until
        if days == 0:
            copy[FOREVER] = None
        elif end is not None and end > now:
            copy[REMOTE_DAYS] = end
    by_id = {c.id: found[c.name] for c in copied if c.id}
    for c in complete:
        base = by_id.get(c.needs)
        if base is not None and base.copy is not None and (c.remote == "Pending" or found[c.name].copy):
            base.copy[BASE] = None


def protected(found: Mapping[str, Verdict], candidates: Iterable[Candidate]) -> dict[str, Verdict]:
    """The verdicts with the data of each full Snapshot kept for as long as that of a differential which needs it. The
    last step: what keeps a differential is decided before. Remote copies: see :func:`_copies`."""
    every = list(candidates)
    needing: dict[str, list[Verdict]] = {}
    for c in every:
        if c.needs and found[c.name].rules:
            needing.setdefault(c.needs, []).append(found[c.name])
    result = dict(found)
    for c in every:
        dependents = needing.get(c.id, []) if c.id else []
        if dependents or c.needed:
            end = None if c.needed else _last_end([v.until for v in dependents])
            result[c.name] = replace(found[c.name], rules={**found[c.name].rules, DEPENDENTS: end})
    return result


def without_policy(found: Verdict, told: Verdict | None, now: datetime) -> Verdict:
    """The verdict where the environment has no policy. `found`: by the defaults; `told`: that of the Snapshot's status,
    None: it has none.

    A policy that is deleted, by a person or because a GitOps tool pruned it, must not let the defaults erase in a
    moment what it has kept for years. So each rule of its own continues to keep the Snapshot until the end in its
    status, also a Snapshot that has no end because it is the newest one. What holds for a moment only (`latest`,
    `pinned`) is not remembered.
    """
    if told is None:
        return found
    ends = dict(found.rules)
    for rule, end in told.rules.items():
        if end is None and _is_own(rule):
            ends[rule] = None
        elif end is not None and end > now and (_is_own(rule) or rule == DAYS):
            ends[rule] = max(end, ends.get(rule) or end)
    if found.copy is None:
        return Verdict(ends)
    kept = {
        rule: end
        for rule, end in (told.copy or {}).items()
        if rule == FOREVER or (rule == REMOTE_DAYS and (end is None or end > now))
    }
    return Verdict(ends, found.copy | kept)


def _is_own(rule: str) -> bool:
    """Whether a policy has set the rule: the defaults do not have it."""
    return rule == FOREVER or rule.startswith("keep")


def safety_of(rollback: Mapping[str, Any]) -> Safety | None:
    """The safety snapshot of a Rollback as the API server has it, while it protects that; None: it has none, or
    protects it no more.

    A Rollback that was undone, or is being deleted, keeps nothing.
    """
    status = rollback.get("status") or {}
    name, terminal = status.get("safetySnapshotName"), conditions.is_terminal(status.get("conditions") or ())
    if not name or status.get("undoneBy") or (terminal and "deletionTimestamp" in rollback["metadata"]):
        return None
    if not terminal:
        return Safety(name, None)
    return Safety(name, _time(status["undoUntil"])) if status.get("undoUntil") else None


def named_snapshot(rollback: Mapping[str, Any]) -> str:
    """Name of the Snapshot that a Rollback names in its own namespace; empty where it names none there."""
    ref = rollback.get("spec", {}).get("snapshotRef") or {}
    local = ref.get("namespace") in (None, rollback["metadata"]["namespace"])
    return (ref.get("name") or "") if local else ""


def snapshot_used_by(rollback: Mapping[str, Any]) -> tuple[str, str] | None:
    """Namespace and name of the Snapshot that a Rollback uses: it is not deleted while the Rollback runs. A Snapshot of
    another namespace counts only once the operator has found the grant and entered it in the status, which a tenant
    cannot write: else anyone could prevent deletions there. A preview restores nothing."""
    if rollback["spec"].get("dryRun"):
        return None
    namespace, status = rollback["metadata"]["namespace"], rollback.get("status") or {}
    name = named_snapshot(rollback)
    if name:
        return namespace, name
    if (
        (rollback.get("spec") or {}).get("snapshotRef")
        and status.get("snapshotNamespace")
        and status.get("snapshotName")
    ):
        return str(status["snapshotNamespace"]), str(status["snapshotName"])
    return None


def kept_for(candidate: Candidate, safeties: Iterable[Safety]) -> Candidate:
    """The candidate with what the Rollbacks protect of it."""
    for safety in safeties:
        if safety.name == candidate.name:
            running = safety.undo_until is None
            return replace(candidate, in_use=candidate.in_use or running, undo_until=safety.undo_until)
    return candidate


def candidate_of(snapshot: Mapping[str, Any], used: Container[str]) -> Candidate | None:
    """From a Snapshot as the API server has it; None: the rules are not about it. `used`: names of Snapshots that a
    Rollback uses."""
    meta, spec, status = snapshot["metadata"], snapshot.get("spec") or {}, snapshot.get("status") or {}
    remote = status.get("remote") or {}
    found = status.get("conditions") or ()
    if spec.get("retention") != "Policy" or not conditions.is_terminal(found) or "deletionTimestamp" in meta:
        return None
    time = status.get("consistentAt") or status.get("completedAt") or meta["creationTimestamp"]
    return Candidate(
        name=meta["name"],
        time=timestamps.parse(time),
        # A corrupt one is no snapshot that may stay for others.
        complete=conditions.outcome(found) == "Complete" and status.get("phase") != "Corrupt",
        verified=conditions.raw_status(found, conditions.VERIFIED) == "True",
        restore_tested=conditions.raw_status(found, conditions.RESTORE_TESTED) == "True",
        pinned=spec.get("pin") is not None,
        in_use=meta["name"] in used,
        remote=_COPIES.get(remote.get("state") or "", ""),
        local=not remote.get("only") and not remote_copy.damaged(status),
        id=status.get("id") or meta.get("uid") or "",
        needs=needs_of(status),
        safety=spec.get("trigger") == SAFETY_TRIGGER,
    )


def needed_by_others(candidates: Iterable[Candidate], others: Container[str]) -> list[Candidate]:
    """The candidates, with what Snapshots that the rules are not about need of them. `others`: ids of the full
    Snapshots that those need."""
    return [replace(c, needed=True) if c.id and c.id in others else c for c in candidates]


# --- the recipe: all Snapshots of an environment -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Listed:
    """One Snapshot of an environment."""

    name: str
    candidate: Candidate | None  # None: the rules are not about it
    needs: str  # id of the full Snapshot that it needs; empty: none
    told: Verdict | None  # what its status says; None: nothing yet


def candidates_of(listed: Iterable[Listed], safeties: Iterable[Safety]) -> list[Candidate]:
    """The Snapshots that the rules are about, with what Rollbacks protect and what other Snapshots need of them."""
    every, protectors = list(listed), list(safeties)
    found = [kept_for(each.candidate, protectors) for each in every if each.candidate is not None]
    ours = {c.name for c in found}
    return needed_by_others(found, {each.needs for each in every if each.name not in ours})


def judged(
    listed: Iterable[Listed], safeties: Iterable[Safety], rules: Retention, zone: tzinfo, now: datetime, *, told: bool
) -> dict[str, Verdict]:
    """The verdict on each candidate, by name. `told`: the environment has no policy, so what the statuses say counts
    too."""
    every = list(listed)
    candidates = candidates_of(every, safeties)
    found = verdicts(candidates, rules, zone, now)
    if told:
        said = {each.name: each.told for each in every}
        found = {name: without_policy(verdict, said[name], now) for name, verdict in found.items()}
    return protected(found, candidates)


#: The fields of a Snapshot's status that hold its verdict.
STATUS_FIELDS = ("keptBy", "expiresAt", "ruleEnds", "remoteKeptBy", "remoteExpiresAt")


def status_of(verdict: Verdict) -> dict[str, Any]:
    """The verdict as the fields of a Snapshot's status, with whole seconds."""
    ends = {r: timestamps.text(e) for r, e in verdict.rules.items() if e is not None}
    status: dict[str, Any] = {"keptBy": list(verdict.rules)}
    if verdict.until is not None:
        status["expiresAt"] = timestamps.text(verdict.until)
    if len(verdict.rules) <= 1:  # for one rule, expiresAt is its end
        ends = {}
    if verdict.copy is not None:
        status["remoteKeptBy"] = list(verdict.copy)
        if (end := verdict.copy.get(REMOTE_DAYS)) is not None:
            ends[REMOTE_DAYS] = timestamps.text(end)
    if verdict.copy_until is not None:
        status["remoteExpiresAt"] = timestamps.text(verdict.copy_until)
    if ends:
        status["ruleEnds"] = ends
    return status


def beyond(snapshot: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a verdict in the Snapshot's status that `wanted` lacks, as a merge patch of the status which
    removes them. Another client wrote them: server-side apply removes only what its own manager wrote."""
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
    own = {r: _time(ends.get(r) or last) for r in rules}
    copy, copy_last = status.get("remoteKeptBy"), status.get("remoteExpiresAt")
    return Verdict(own, {r: _time(ends.get(r) or copy_last) for r in copy} if copy is not None else None)


def _time(text: str | None) -> datetime | None:
    return timestamps.parse(text) if text else None
