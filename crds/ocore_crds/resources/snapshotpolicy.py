"""SnapshotPolicy: when snapshots of an environment are taken, and how long they are kept."""

import re
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from ocore_crds.conditions import ObjectStatus
from ocore_crds.model import NAME_PATTERN, Model, StatusModel, Timestamp
from ocore_crds.resources.restore_test import RestoreTests
from ocore_crds.schema.cel_rules import immutable, validations

#: Days that snapshots are kept where no rule is given.
DEFAULT_RETENTION_DAYS = 30
DEFAULT_MAX_PINNED = 10
DEFAULT_TIMEOUT_SECONDS = 3600

Count = Annotated[int, Field(ge=0, le=1000)]


#: Age of the newest full snapshot from which the next one is full, too.
DEFAULT_FULL_EVERY = "7d"
#: Hours, days or weeks.
AGE_PATTERN = r"^[1-9][0-9]{0,4}[hdw]$"
_AGE_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def age(text: str) -> timedelta:
    """The age that a text of AGE_PATTERN says. Raises ValueError for any other text."""
    if re.fullmatch(AGE_PATTERN, text) is None:
        raise ValueError(f"{text!r} is not an age; write for example 36h, 7d or 2w")
    return int(text[:-1]) * _AGE_UNITS[text[-1]]


class Retention(Model):
    """Rules that keep snapshots with `retention: Policy`. A snapshot is kept while any rule keeps it."""

    retention_days: Annotated[int, Field(ge=0, le=36500)] | None = Field(
        default=None,
        description=(
            "Keeps every snapshot for so many days. 0: no limit. The default is 30 where no other rule is given, else"
            " this rule does not apply."
        ),
    )
    keep_last: Count = Field(default=0, description="Keeps so many of the newest snapshots.")
    keep_hourly: Count = Field(
        default=0, description="Keeps the newest snapshot of each of so many hours that have one."
    )
    keep_daily: Count = Field(default=0, description="The same for days, in the policy's time zone.")
    keep_weekly: Count = Field(default=0, description="The same for weeks, which begin on Monday.")
    keep_monthly: Count = Field(default=0, description="The same for months.")
    keep_yearly: Count = Field(default=0, description="The same for years.")
    remote_retention_days: Annotated[int, Field(ge=0, le=36500)] | None = Field(
        default=None,
        description=(
            "Keeps the copy of each snapshot in the Environment's remote store for so many days, whatever the other"
            " rules keep. 0: no limit. Absent: the copy is kept as long as the Snapshot. The Snapshot stays listed"
            " until its last copy goes."
        ),
    )

    @property
    def days(self) -> int | None:
        """The days that apply; None: no rule by age. 0: no limit."""
        if self.retention_days is not None:
            return self.retention_days
        counts = (
            self.keep_last, self.keep_hourly, self.keep_daily, self.keep_weekly, self.keep_monthly, self.keep_yearly,
        )  # fmt: skip
        return None if any(counts) else DEFAULT_RETENTION_DAYS


class PolicyEnvironmentRef(Model):
    """The environment; the policy has its name."""

    name: Annotated[str, StringConstraints(pattern=NAME_PATTERN, min_length=1, max_length=200)] = Field(
        description="Name of the Environment, in the namespace of this resource."
    )


class SnapshotPolicySpec(Retention):
    """Settings of one environment. The policy has the environment's name, so each environment has one at most."""

    environment_ref: PolicyEnvironmentRef = Field(description="The environment. The policy must have the same name.")
    auto_enabled: bool = Field(
        default=True, description="Whether `kubectl ocore snapshot --before-deployment` takes a snapshot."
    )
    failure_policy: Literal["Block", "Continue"] = Field(
        default="Block",
        description="What a failed snapshot before a deployment does to the deployment: stop it, or let it continue.",
    )
    schedule: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=100)], ...], Field(max_length=16)] = Field(
        default=(),
        description=(
            "When snapshots are taken: cron expressions of five fields, or @hourly, @daily, @weekly, @monthly, @yearly."
            " Without one, no snapshots are scheduled."
        ),
    )
    time_zone: Annotated[str, Field(min_length=1, max_length=64)] = Field(
        default="Etc/UTC",
        description=(
            "Time zone of the schedule and of the days, weeks and months of the rules; a name of the IANA database such"
            " as Europe/Berlin."
        ),
    )
    spread_minutes: Annotated[int, Field(ge=0, le=1440)] = Field(
        default=0,
        description=(
            "Delays the schedule by a fixed time below this, which depends on the environment's id, so that a fleet"
            " does not start at once."
        ),
    )
    starting_deadline_seconds: Annotated[int, Field(ge=10, le=604800)] | None = Field(
        default=None,
        description=(
            "A scheduled snapshot that could not be created for so many seconds is left out. Without it, the newest"
            " missed one is caught up, however late."
        ),
    )
    full_every: Annotated[str, StringConstraints(pattern=AGE_PATTERN, max_length=6)] = Field(
        default=DEFAULT_FULL_EVERY,
        description=(
            "A snapshot with `filestoreMode: Auto` stores the whole filestore once the newest usable full one is this"
            " old: hours (`36h`), days (`7d`) or weeks (`2w`)."
        ),
    )
    suspend: bool = Field(default=False, description="Takes no scheduled snapshots. Retention continues.")
    max_pinned: Annotated[int, Field(ge=0, le=10000)] = Field(
        default=DEFAULT_MAX_PINNED, description="Snapshots of the environment that may be pinned. 0: no limit."
    )
    timeout_seconds: Annotated[int, Field(ge=30, le=604800)] = Field(
        default=DEFAULT_TIMEOUT_SECONDS,
        description="spec.timeoutSeconds of the snapshots that are scheduled or precede a deployment.",
    )

    verify: RestoreTests | None = Field(
        default=None, description="Test restores of the newest snapshot. Absent: none are scheduled."
    )

    model_config = ConfigDict(json_schema_extra=validations(immutable("environmentRef")))


class Kept(StatusModel):
    """How many snapshots are kept, and by which rules. One snapshot may be kept by several."""

    total: int = Field(default=0, description="Complete snapshots with `retention: Policy`.")
    failed: int = Field(default=0, description="Failed ones that are still listed.")
    by_rule: dict[str, int] = Field(default_factory=dict, description="Rule → how many snapshots it keeps.")
    next_expiry: Timestamp | None = Field(default=None, description="When the next one is deleted, as far as is known.")


class PolicyRestoreTest(StatusModel):
    """The newest slot of `verify.schedule` that was dealt with. Written before the test begins, so that a slot runs
    once."""

    slot: Timestamp = Field(description="The slot.")
    run: str = Field(description="Names the slot; the same for the same policy and slot.")
    snapshot: str = Field(default="", description="The Snapshot that is tested; empty: the slot was left out.")
    result: Literal["Succeeded", "Failed", "LeftOut"] | None = Field(
        default=None, description="How it ended; absent: it has not."
    )


class SnapshotPolicyStatus(ObjectStatus):
    """Observed state."""

    phase: Literal["Active", "Suspended", "NotReady"] | None = Field(
        default=None, description="Summary of the conditions."
    )
    schedule_hash: str | None = Field(
        default=None, description="Digest of the fields that decide when snapshots are taken."
    )
    scheduled_from: Timestamp | None = Field(
        default=None, description="Since when the schedule is as it is now. Slots before that do not count."
    )
    last_schedule_time: Timestamp | None = Field(default=None, description="The newest slot that was dealt with.")
    next_schedule_time: Timestamp | None = Field(default=None, description="When the next snapshot is created.")
    last_snapshot: str | None = Field(default=None, description="Snapshot that was created for the last slot.")
    last_successful_time: Timestamp | None = Field(
        default=None,
        description="When the newest Complete snapshot of the environment was completed, safety snapshots apart.",
    )
    pinned: int = Field(default=0, description="Pinned snapshots of the environment, whatever their retention.")
    kept: Kept | None = Field(default=None, description="What is kept, in numbers.")
    restore_test_hash: str | None = Field(
        default=None, description="Digest of the fields that decide when snapshots are tested."
    )
    restore_tests_from: Timestamp | None = Field(
        default=None,
        description="Since when the schedule of the test restores is as it is now. Slots before that do not count.",
    )
    restore_test: PolicyRestoreTest | None = Field(default=None, description="The newest slot that was dealt with.")
    last_restore_test_time: Timestamp | None = Field(
        default=None, description="When the newest successful test restore of a snapshot of the environment ended."
    )
    next_restore_test_time: Timestamp | None = Field(default=None, description="When the next test restore is due.")
