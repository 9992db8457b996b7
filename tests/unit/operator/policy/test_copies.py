"""Which Snapshots are copied to the remote store next."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ocore_operator import clock
from ocore_operator.entries.snapshots import SnapshotEntry
from ocore_operator.kube.resources import Key, Object
from ocore_operator.policy import copies
from ocore_operator.policy.copies import BACKFILL, CHECKS
from ocore_operator.policy.world import CheckCopies, RequestCopies, World
from ocore_operator.snapshot.entry import entry as entry_of
from support.operator.policies import at, complete, snapshot

NOW = at(days=100)


def entry(name: str, time: datetime, remote: str = "", *, base: str = "", own: str = "", **spec: Any) -> SnapshotEntry:
    found: Object = complete(name, time, **spec)
    if remote:
        found["status"]["remote"] = {
            "state": remote,
            "storeName": "far",
            "requestedAt": clock.text(time),
            "checkedAt": clock.text(NOW),
        }
    if base:
        found["status"]["base"] = {"id": base}
    if own:
        found["spec"]["id"] = own
    return entry_of(found)


def world(*entries: SnapshotEntry, store: str = "far", days: int | None = None) -> World:
    found = World(
        key=Key("SnapshotPolicy", "default", "shop"),
        policy=None,
        environment_id="id",
        pins=None,
        snapshots=entries,
        used=frozenset(),
        safeties=(),
        rollbacks=(),
        history_limit=0,
        now=NOW,
        remote_store=store,
    )
    if days is None:
        return found

    class WithDays(World):
        @property
        def spec(self) -> Any:
            return World.spec.fget(self).model_copy(update={"remote_retention_days": days})  # type: ignore[attr-defined]

    return WithDays(**{f: getattr(found, f) for f in found.__dataclass_fields__})


def chosen(found: World) -> list[str]:
    action = copies.decide(found)
    if action is None:
        return []
    assert isinstance(action, RequestCopies)
    assert action.store == found.remote_store
    return [key.name for key in action.keys]


def old(count: int) -> list[SnapshotEntry]:
    """s0 is the newest."""
    return [entry(f"s{n}", at(days=99 - n)) for n in range(count)]


def test_without_a_remote_store_nothing_is_copied() -> None:
    assert chosen(world(*old(3), store="")) == []
    assert chosen(replace(world(*old(3)), environment_id=None)) == []


def test_the_newest_go_first_a_few_at_a_time() -> None:
    assert chosen(world(*old(20))) == ["s0", "s1", "s2", "s3"]
    running = [entry(f"s{n}", at(days=99 - n), "Copying" if n < 4 else "") for n in range(20)]
    assert chosen(world(*running)) == []
    running[0] = entry("s0", at(days=99), "Completed")
    assert chosen(world(*running)) == ["s4"]


def test_a_new_snapshot_waits_for_no_old_one() -> None:
    waiting = [entry(f"s{n}", at(days=90 - n), "Pending") for n in range(BACKFILL)]
    assert chosen(world(*waiting, *old(2), entry("ancient", at(days=1)))) == ["s0", "s1"]


def test_what_fails_holds_up_the_old_ones_only() -> None:
    failed = [entry(f"f{n}", at(days=80 - n), "Failed") for n in range(BACKFILL)]
    assert chosen(world(*failed, entry("older", at(days=2)))) == []
    assert chosen(world(*failed, entry("newer", at(days=99)))) == ["newer"]
    damaged = [replace(e, verified="False") for e in failed]
    assert chosen(world(*damaged, entry("older", at(days=2)))) == ["older"], (
        "its own data is damaged: it waits for nothing"
    )


def test_only_complete_whole_and_lasting_ones() -> None:
    damaged = replace(entry("damaged", at(days=99)), verified="False")
    leaving = replace(entry("leaving", at(days=99)), deleting=True)
    running = entry_of(snapshot("running", at(days=99), "Running"))
    failed = entry_of(snapshot("failed", at(days=99), "Failed"))
    unseen = replace(entry("unseen", at(days=99)), phase="")
    assert chosen(world(damaged, leaving, running, failed, unseen)) == []
    young, aged = entry("young", at(days=95)), entry("aged", at(days=80))
    assert chosen(world(young, aged, days=10)) == ["young"]
    assert chosen(world(young, aged, days=0)) == ["young", "aged"]
    assert chosen(world(entry("kept", at(days=80), retention="Keep"), days=10)) == ["kept"]


def test_the_full_that_a_differential_needs_goes_along() -> None:
    full = entry("full", at(days=1), own="11111111-1111-4111-8111-111111111111")
    need = entry("diff", at(days=99), "Pending", base=full.id)
    others = [entry(f"s{n}", at(days=98 - n), "Pending") for n in range(BACKFILL)]
    assert chosen(world(full, need, *others)) == ["full"]
    assert chosen(world(replace(full, remote=need.remote), need, *others)) == []
    for phase in ("", "Failed"):
        assert chosen(world(replace(full, phase=phase), need, *others)) == []


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(st.integers(0, 50), st.sampled_from(["", "Pending", "Copying", "Completed", "Failed"])), max_size=30
    )
)
def test_it_ends_and_leaves_none_out(states: list[tuple[int, str]]) -> None:
    """Each round the requested ones are copied: in the end all are, and never more old ones at a time than allowed."""
    entries = [entry(f"s{n}", at(days=days) + timedelta(seconds=n), state) for n, (days, state) in enumerate(states)]
    entries = [e for e in entries if e.remote is None or e.remote.state != "Failed"]
    for _ in range(2 * len(entries) + 1):
        names = chosen(world(*entries))
        assert len(set(names)) == len(names)
        running = [e for e in entries if e.remote is not None and e.remote.state != "Completed"]
        newest = max((e.completed for e in running), default=None)
        backfill = [e for e in entries if e.key.name in names and (newest is None or e.completed < newest)]
        assert len(running) + len(backfill) <= max(BACKFILL, len(running))
        if not names and not running:
            break
        done = {e.key.name for e in running} | set(names)
        entries = [
            entry(e.key.name, clock.parse(e.completed), "Completed") if e.key.name in done else e for e in entries
        ]
    assert all(e.remote is not None for e in entries)


# --- the remote store is replaced by another one ---------------------------------------------------------------------


def in_store(found: SnapshotEntry, store_id: str, **facts: Any) -> SnapshotEntry:
    assert found.remote is not None
    return replace(found, remote=replace(found.remote, store_id=store_id, checked=clock.text(NOW), **facts))


def replaced(*entries: SnapshotEntry, ready: str = "new") -> World:
    return replace(world(*entries), remote_store_id=ready)


def test_row_60_full_ones_in_the_store_before_are_copied_again() -> None:
    """Their differentials wait for them."""
    full = in_store(entry("full", at(days=1), "Completed", own="11111111-1111-4111-8111-111111111111"), "old")
    need = entry("diff", at(days=99), "Pending", base=full.id)
    others = [entry(f"s{n}", at(days=98 - n), "Pending") for n in range(BACKFILL)]
    assert chosen(replaced(full, need, *others)) == ["full"]


def test_row_60_all_others_follow_the_newest_first() -> None:
    entries = [in_store(entry(f"s{n}", at(days=99 - n), "Completed"), "old") for n in range(6)]
    assert chosen(replaced(*entries)) == ["s0", "s1", "s2", "s3"]
    assert chosen(replaced(*entries, ready="")) == [], "the new store is not ready: nothing is given up for it"
    assert chosen(replaced(*entries, ready="old")) == []
    assert chosen(replaced(entries[0], ready="other")) == chosen(replaced(entries[0], ready="new")) == ["s0"]
    for state in ("Pending", "Copying", "Failed"):
        assert chosen(replaced(in_store(entries[0], "old", state=state))) == [], "a copy is wanted already"
    assert chosen(replaced(in_store(entries[0], "old", only=True))) == [], "the copy is the only data"
    assert chosen(replaced(replace(entries[0], verified="False"))) == [], "the copy is the only whole data"
    assert chosen(replaced(in_store(entries[0], "old", busy=True))) == []


# --- checks ----------------------------------------------------------------------------------------------------------


def checks(*entries: SnapshotEntry, store: str = "far") -> list[str]:
    action = copies.decide(world(*entries, store=store))
    assert action is None or isinstance(action, CheckCopies)
    return [key.name for key in action.keys] if action is not None else []


def checked(name: str, days_ago: float, **facts: Any) -> SnapshotEntry:
    found = entry(name, at(days=1), "Completed")
    assert found.remote is not None
    return replace(found, remote=replace(found.remote, checked=clock.text(NOW - timedelta(days=days_ago)), **facts))


def test_row_59_copies_are_checked_each_week() -> None:
    assert checks(checked("a", 6.9), checked("b", 7.1), checked("c", 30)) == ["c", "b"]
    assert checks(checked("c", 30), store="") == ["c"], "also where the Environment names no remote store any more"
    assert checks(replace(checked("c", 30), deleting=True)) == []
    assert checks(checked("c", 30, busy=True)) == []
    assert checks(checked("c", 7)) == ["c"]
    assert checks(checked("c", 30, state="Pending")) == [], "it is not complete"
    assert len(checks(*(checked(f"s{n}", 30) for n in range(20)))) == CHECKS
    for busy in (CHECKS, CHECKS + 1):
        assert checks(checked("late", 90), *(checked(f"s{n}", 30, busy=True) for n in range(busy))) == []


def test_what_the_catalog_knows_of_a_copy() -> None:
    found = complete("s", at(days=1))
    days = [clock.text(at(days=n)) for n in range(4)]
    remote = {"state": "Completed", "storeName": "far", "storeId": "id", "requestedAt": days[0], "completedAt": days[1]}

    def facts(**more: Any) -> Any:
        return entry_of({**found, "status": {**found["status"], "remote": {**remote, **more}}}).remote

    assert (facts().store_id, facts().checked, facts().busy, facts().only) == ("id", days[1], False, False)
    assert (facts(checkedAt=days[2]).checked, facts(checkRequestedAt=days[3]).busy) == (days[2], True)
    before = {"storeName": "old", "storeId": "older", "requestedAt": days[0]}
    assert (facts(replaces=before).busy, facts(only=True).only) == (True, True)
