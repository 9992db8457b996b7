"""`kubectl ocore retention`: what it shows is what the operator does next, and other values change nothing."""

import io
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from ocore_cli import retention
from ocore_cli.errors import CliError
from support.cli import FakeObjects, Object

NOW = datetime(2026, 5, 20, 12, tzinfo=UTC)


def snapshot(name: str, days: float, phase: str = "Complete", **spec: object) -> Object:
    time = f"{NOW - timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}"
    return {
        "metadata": {"name": name, "namespace": "shop", "creationTimestamp": time},
        "spec": {"environmentRef": {"name": "shop"}, "retention": "Policy", **spec},
        "status": {
            "completedAt": time,
            "conditions": [{"type": phase, "status": "True", "reason": "X", "lastTransitionTime": time}],
            "sizes": {"storedBytes": 1024**2},
        },
    }


def shown(objects: FakeObjects, **given: int) -> str:
    console = Console(file=io.StringIO(), width=140)
    retention.show(objects, console, "shop", given, NOW)
    assert objects.created == []
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def cluster(policy: Object | None, *snapshots: Object, rollbacks: tuple[Object, ...] = ()) -> FakeObjects:
    objects = FakeObjects(snapshotpolicy=[policy])
    objects.others = {"snapshot": list(snapshots), "rollback": list(rollbacks)}
    return objects


META = {"name": "r", "namespace": "shop"}
POLICY: Object = {
    "metadata": {"name": "shop", "namespace": "shop"},
    "spec": {"environmentRef": {"name": "shop"}, "keepDaily": 2, "timeZone": "Europe/Berlin"},
}


def test_each_snapshot_and_what_goes_next() -> None:
    said = shown(cluster(POLICY, *(snapshot(f"s{n}", n) for n in range(4)), snapshot("mine", 9, retention="Keep")))
    lines = {line.split()[0]: line for line in said.splitlines() if line.startswith("s")}
    assert "latest, keepDaily" in lines["s0"]
    assert "keepDaily" in lines["s1"]
    assert "2026-05-20 22:00" in lines["s1"], "the day after tomorrow begins at that time in Berlin"
    assert "deleted next" in lines["s2"]
    assert "deletes 2 snapshots, 2.0 MiB" in said
    assert "do not concern 1 more" in said


def test_other_values_are_a_dry_run() -> None:
    said = shown(cluster(POLICY, *(snapshot(f"s{n}", n) for n in range(4))), keepDaily=1)
    assert "would delete 3 snapshots" in said
    assert "values to try" in said


def test_a_used_one_stays() -> None:
    rollback: Object = {"metadata": META, "spec": {"snapshotRef": {"name": "s3"}}, "status": {}}
    said = shown(cluster(POLICY, *(snapshot(f"s{n}", n) for n in range(4)), rollbacks=(rollback,)))
    assert "deletes 1 snapshot," in said


def test_a_preview_keeps_nothing_as_the_operator_decides() -> None:
    """A Rollback with dryRun restores nothing, so what it names can be deleted."""
    preview: Object = {"metadata": META, "spec": {"snapshotRef": {"name": "s3"}, "dryRun": True}, "status": {}}
    said = shown(cluster(POLICY, *(snapshot(f"s{n}", n) for n in range(4)), rollbacks=(preview,)))
    assert "deletes 2 snapshots" in said


def test_a_full_one_stays_with_the_differential_that_needs_it() -> None:
    """Also in a dry run. What goes is counted with its differentials."""
    full, kept, gone = snapshot("s5", 5), snapshot("s4", 4, pin={}), snapshot("s3", 3)
    full["status"]["id"] = "F"
    for each in (kept, gone):
        each["status"]["base"] = {"name": "s5", "id": "F"}
    objects = cluster(POLICY, snapshot("s0", 0), full, kept, gone)
    lines = {line.split()[0]: line for line in shown(objects, keepDaily=1).splitlines() if line.startswith("s")}
    assert "dependents" in lines["s5"]
    assert "would delete 1 snapshot," in shown(objects, keepDaily=1)
    del kept["spec"]["pin"]
    assert "would delete 3 snapshots" in shown(objects, keepDaily=1)


def test_the_defaults_without_a_policy() -> None:
    told = snapshot("told", 40)
    told["status"] |= {"keptBy": ["keepMonthly"], "expiresAt": "2026-09-01T00:00:00Z"}
    said = shown(cluster(None, snapshot("new", 0), snapshot("old", 31), told))
    assert "No SnapshotPolicy; the defaults: retentionDays 30 (the default)" in said
    assert "deletes 1 snapshot," in said
    assert "keepMonthly" in said


def test_nothing_to_show() -> None:
    assert "No snapshot of environment shop has retention Policy" in shown(cluster(POLICY))


def test_a_bad_time_zone_is_said() -> None:
    bad = {**POLICY, "spec": {**POLICY["spec"], "timeZone": "Mars/Olympus"}}
    with pytest.raises(CliError, match="Mars/Olympus"):
        shown(cluster(bad))


def test_a_corrupt_one_is_not_the_last_good_one() -> None:
    """As the operator sees it: the next one is the newest that can be restored."""
    corrupt = snapshot("corrupt", 0)
    corrupt["status"]["phase"] = "Corrupt"
    said = shown(cluster(POLICY, corrupt, snapshot("good", 1)))
    lines = {line.split()[0]: line for line in said.splitlines() if line}
    assert "latest" in lines["good"]
    assert "latest" not in lines["corrupt"]


def test_a_safety_snapshot_stays_until_its_undo_window_ends() -> None:
    ended = [{"type": "Complete", "status": "True"}]
    status = {"safetySnapshotName": "s3", "undoUntil": "2026-05-21T12:00:00Z", "conditions": ended}
    rollback: Object = {"metadata": META, "spec": {"snapshotRef": {"name": "s9"}}, "status": status}
    said = shown(cluster(POLICY, *(snapshot(f"s{n}", n) for n in range(4)), rollbacks=(rollback,)))
    (line,) = [line for line in said.splitlines() if line.startswith("s3")]
    assert "undoWindow" in line
    assert "2026-05-21 12:00" in line


def sized(name: str, days: float, **status: object) -> Object:
    found = snapshot(name, days)
    found["status"] |= {"sizes": {"databaseStoredBytes": 2 * 10**9, "filestoreStoredBytes": 10**9}, **status}
    return found


def priced(objects: FakeObjects, prices: retention.Prices, **given: int) -> str:
    console = Console(file=io.StringIO(), width=200)
    retention.show(objects, console, "shop", given, NOW, prices)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_what_is_stored_now_and_in_a_year() -> None:
    said = priced(cluster(POLICY, *(sized(f"s{n}", n) for n in range(3))), retention.Prices())
    assert "Stored now: 3 snapshots (3 full), 8.4 GiB: database 5.6 GiB, files 2.8 GiB.\n" in said
    assert "In a year by these rules, with one every 24 h 00 min: 2 snapshots (2 full), 5.6 GiB" in said
    assert "a month" not in said


def test_other_rules_have_another_price() -> None:
    objects = cluster(POLICY, *(sized(f"s{n}", n) for n in range(3)))
    assert "5.6 GiB: database 3.7 GiB, files 1.9 GiB; 0.12 a month" in priced(objects, retention.Prices(0.02))
    assert "(30 full), 83.8 GiB: database 55.9 GiB, files 27.9 GiB; 1.80 a month" in priced(
        objects, retention.Prices(0.02), keepDaily=30
    )


def test_a_copy_has_a_price_of_its_own() -> None:
    copied = (sized(f"s{n}", n, remote={"state": "Completed"}) for n in range(2))
    said = priced(cluster(POLICY, *copied), retention.Prices(0.02, 0.01))
    assert said.count("; remote copies: 2, 5.6 GiB; 0.18 a month.") == 2


def test_growth_is_said() -> None:
    older = sized("s1", 2)
    older["status"]["sizes"]["databaseStoredBytes"] -= 2 * 1024**2
    said = priced(cluster(POLICY, sized("s0", 0), older), retention.Prices())
    assert "and their growth (database +1.0 MiB each day, stored)" in said


def test_one_snapshot_says_nothing_of_a_year() -> None:
    said = priced(cluster(POLICY, sized("s0", 0)), retention.Prices())
    assert "Stored now: 1 snapshot (1 full), 2.8 GiB" in said
    assert "In a year: unknown." in said
