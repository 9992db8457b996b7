"""SnapshotPolicies, as the catalog knows them. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from ocore_operator.kube.catalog import Entry


@dataclass(frozen=True, slots=True)
class PolicyFacts:
    """What /metrics shows of a SnapshotPolicy."""

    schedule: tuple[str, ...]  # none while it is suspended
    time_zone: str
    spread_minutes: int
    timeout: int  # seconds
    scheduled_from: str  # since when the schedule, or the suspension, is as it is now; empty: not observed yet
    pinned: int
    kept: int  # Complete Snapshots that its rules are about
    test_schedule: tuple[str, ...] = ()  # of test restores; none while it is suspended
    test_timeout: int = 0  # seconds
    tests_from: str = ""  # as scheduled_from, of the test restores
    last_test: str = ""  # when the newest successful test restore ended; empty: there was none
    last_test_failed: bool = False  # the newest scheduled one


@dataclass(frozen=True, slots=True)
class PolicyEntry(Entry):
    """One SnapshotPolicy."""

    KIND: ClassVar[str] = "SnapshotPolicy"

    ready: str  # status of the condition Ready
    ready_reason: str
    scheduled: bool  # it has a next slot
    policy: PolicyFacts

    def times(self) -> Iterator[str]:
        """As all entries, and those of its slots and tests."""
        yield self.created
        yield from (t for t in (self.policy.scheduled_from, self.policy.tests_from, self.policy.last_test) if t)
