"""For each alert of the chart: metrics over time, when it fires, and when it must not. promtool's clock begins at 0."""

from dataclasses import dataclass, field

MINUTE, HOUR, DAY = 60, 3600, 86400

#: (second from which the value holds, value; None: the series ends)
Steps = tuple[tuple[int, float | None], ...]


@dataclass(frozen=True)
class Series:
    """One series, as Prometheus stores it if the monitor has honorLabels."""

    name: str
    own: dict[str, str]
    steps: Steps
    pod: str = "ocore-1"

    @property
    def labels(self) -> dict[str, str]:
        """With the labels of the scrape. Those of the metric win."""
        return {"namespace": "ocore-system", "job": "ocore", "pod": self.pod, "instance": self.pod, **self.own}


@dataclass(frozen=True)
class Case:
    """What is evaluated at one moment."""

    why: str
    at: int
    series: tuple[Series, ...]
    #: Labels of the alerts that fire then, without severity. None: it is silent.
    fires: tuple[dict[str, str], ...] = ()
    #: What the annotations print for the value.
    value: str = ""


@dataclass(frozen=True)
class Cases:
    """Of one alert. `step`: seconds between two samples, and between two evaluations."""

    cases: tuple[Case, ...]
    step: int = 5 * MINUTE
    severity: str = field(default="critical")


SHOP = {"namespace": "shop", "environment": "shop"}
OTHER = {"namespace": "other", "environment": "shop"}
NAMED = {"namespace": "shop", "name": "shop"}
OTHER_NAMED = {"namespace": "other", "name": "shop"}


def series(name: str, own: dict[str, str], *steps: tuple[int, float | None] | float, pod: str = "ocore-1") -> Series:
    """A number alone holds from the begin."""
    return Series(name, own, tuple(s if isinstance(s, tuple) else (0, s) for s in steps), pod)


def success(*steps: tuple[int, float | None] | float, own: dict[str, str] = SHOP, pod: str = "ocore-1") -> Series:
    """When the newest Complete Snapshot was completed."""
    return series("ocore_snapshot_last_success_timestamp_seconds", own, *steps, pod=pod)


def created(*steps: tuple[int, float | None] | float, own: dict[str, str] = SHOP) -> Series:
    """When the Environment was created."""
    return series("ocore_environment_created_timestamp_seconds", own, *steps)


def due(*steps: tuple[int, float | None] | float, own: dict[str, str] = SHOP, pod: str = "ocore-1") -> Series:
    """The newest slot that is due."""
    return series("ocore_policy_success_due_timestamp_seconds", own, *steps, pod=pod)


def failure(*steps: tuple[int, float | None] | float, own: dict[str, str] = SHOP) -> Series:
    """When the newest Failed Snapshot ended."""
    return series("ocore_snapshot_last_failure_timestamp_seconds", own, *steps)


def verified(*steps: tuple[int, float | None] | float, own: dict[str, str] = SHOP) -> Series:
    """When the newest Verified Snapshot was completed."""
    return series("ocore_snapshot_last_verified_timestamp_seconds", own, *steps)


def uncopied(*steps: tuple[int, float | None] | float) -> Series:
    """Since when a remote copy is wanted."""
    return series("ocore_snapshot_remote_copy_wanted_since_timestamp_seconds", SHOP, *steps)


def unverified(*steps: tuple[int, float | None] | float) -> Series:
    """When the oldest one was completed that is to be read back."""
    return series("ocore_snapshot_unverified_since_timestamp_seconds", SHOP, *steps)


def restored(*steps: tuple[int, float | None] | float, own: dict[str, str] = SHOP) -> Series:
    """When the newest successful test restore ended."""
    return series("ocore_restore_test_last_success_timestamp_seconds", own, *steps)


def due_tests(*steps: tuple[int, float | None] | float) -> Series:
    """The newest slot of the test restores that is due."""
    return series("ocore_policy_restore_test_due_timestamp_seconds", SHOP, *steps)


def failed_tests(*steps: tuple[int, float | None] | float, pod: str = "ocore-1") -> Series:
    """Whether the newest scheduled test restore failed."""
    return series("ocore_policy_restore_test_failed", SHOP, *steps, pod=pod)


def rollback(word: str, *steps: tuple[int, float | None] | float, own: dict[str, str] = SHOP) -> Series:
    """When the newest Rollback with that result ended."""
    return series(f"ocore_rollback_last_{word}_timestamp_seconds", own, *steps)


def ready(kind: str, *steps: tuple[int, float | None] | float, own: dict[str, str] = NAMED) -> Series:
    """The condition Ready."""
    return series("ocore_ready", {"kind": kind, **own}, *steps)


def phases(kind: str, phase: str, *steps: tuple[int, float | None] | float) -> Series:
    """How many objects have that phase."""
    return series("ocore_resources", {"kind": kind, "namespace": "shop", "phase": phase}, *steps)


def policy(what: str, *steps: tuple[int, float | None] | float, own: dict[str, str] = NAMED) -> Series:
    """A gauge of a SnapshotPolicy."""
    return series(f"ocore_policy_{what}", own, *steps)


def rollback_ready(*steps: tuple[int, float | None] | float, own: dict[str, str] = NAMED) -> Series:
    """The condition RollbackReady."""
    return series("ocore_environment_rollback_ready", own, *steps)


def leader(*steps: tuple[int, float | None] | float, pod: str = "ocore-1") -> Series:
    """Whether the process holds the Lease."""
    return series("ocore_leader", {}, *steps, pod=pod)


def readable(*steps: tuple[int, float | None] | float, namespace: str = "shop") -> Series:
    """Whether a watched namespace can be listed."""
    return series("ocore_namespace_readable", {"namespace": namespace}, *steps)


ALERTS = {
    "OcoreSnapshotNeverSucceeded": Cases((
        Case("older than a day", DAY + 20 * MINUTE, (success(0), created(0)), (SHOP,)),
        Case("a slot is due", 2 * HOUR, (success(0), created(0), due((HOUR, 1800))), (SHOP,)),
        Case("younger than a day, no schedule", DAY - 5 * MINUTE, (success(0), created(0))),
        Case("it has a success", DAY + HOUR, (success(HOUR), created(0), due(2 * HOUR))),
        Case("the first list of a started operator is incomplete", DAY + 20 * MINUTE,
             (success(HOUR, (DAY + 15 * MINUTE, 0)), created(0))),
        Case("each environment for itself", 2 * HOUR,
             (success(0), created(0), success(0, own=OTHER), created(0, own=OTHER), due((HOUR, 1800), own=OTHER)),
             (OTHER,)),
    )),
    "OcoreSnapshotStale": Cases((
        Case("the slot of 26:00 had until 27:00", 27 * HOUR + 15 * MINUTE,
             (success(2 * HOUR), due(2 * HOUR, (27 * HOUR, 26 * HOUR))), (SHOP,), "1d 1h 15m 0s"),
        Case("two pods are scraped while one replaces the other", 27 * HOUR + 15 * MINUTE,
             (success(2 * HOUR), success(2 * HOUR, pod="ocore-2"), due(26 * HOUR), due(26 * HOUR, pod="ocore-2")),
             (SHOP,), "1d 1h 15m 0s"),
        Case("it has just become due", 27 * HOUR + 5 * MINUTE,
             (success(2 * HOUR), due(2 * HOUR, (27 * HOUR, 26 * HOUR)))),
        Case("the slot's Snapshot is Complete", 28 * HOUR,
             (success(2 * HOUR, (26 * HOUR, 26 * HOUR)), due(2 * HOUR, (27 * HOUR, 26 * HOUR)))),
        Case("without a schedule", 2 * DAY, (success(2 * HOUR),)),
        Case("a weekend without a slot", 2 * DAY, (success(2 * HOUR + 60), due(2 * HOUR))),
        Case("never a success: another alert", 28 * HOUR, (success(0), due(26 * HOUR))),
        Case("the slot of another environment", 28 * HOUR,
             (success(2 * HOUR), success(27 * HOUR, own=OTHER), due(26 * HOUR, own=OTHER))),
    )),
    "OcoreSnapshotFailed": Cases((
        Case("the last one failed", 3 * HOUR, (success(HOUR), failure((2 * HOUR, 2 * HOUR)), created(0)), (SHOP,)),
        Case("the first one failed", 3 * HOUR, (success(0), failure(2 * HOUR), created(0)), (SHOP,)),
        Case("it has just failed", 2 * HOUR + 5 * MINUTE, (success(HOUR), failure((2 * HOUR, 2 * HOUR)), created(0))),
        Case("a later one is Complete", 3 * HOUR, (success(2 * HOUR + 60), failure(2 * HOUR), created(0))),
        Case("none failed", 3 * HOUR, (success(0), created(0))),
        Case("the environment was deleted", 3 * HOUR, (success(HOUR), failure(2 * HOUR), created(0, own=OTHER))),
    ), severity="warning"),
    "OcoreSnapshotNotVerified": Cases((
        Case("never verified", 30 * DAY + 8 * HOUR, (success(DAY), created(0)), (SHOP,)),
        Case("verified long ago", 32 * DAY, (success(31 * DAY), verified(DAY), created(0)), (SHOP,)),
        Case("since a moment", 30 * DAY + 4 * HOUR, (success(DAY), created(0))),
        Case("verified within 30 days", 32 * DAY, (success(31 * DAY), verified(3 * DAY), created(0))),
        Case("a new environment", 32 * DAY, (success(31 * DAY), created(3 * DAY))),
        Case("nothing to verify", 32 * DAY, (success(0), created(0))),
        Case("another environment is verified", 32 * DAY,
             (success(31 * DAY), verified(31 * DAY, own=OTHER), success(31 * DAY, own=OTHER), created(0),
              created(0, own=OTHER)), (SHOP,)),
    ), step=4 * HOUR, severity="warning"),
    "OcoreSnapshotVerificationPending": Cases((
        Case("asked for and not done", 13 * HOUR + 10 * MINUTE, (unverified((HOUR, HOUR)),), (SHOP,)),
        Case("an old one, asked for now", 40 * HOUR + 5 * HOUR, (unverified((40 * HOUR, HOUR)),)),
        Case("it may take its time", 12 * HOUR + 30 * MINUTE, (unverified((HOUR, HOUR)),)),
        Case("done", 20 * HOUR, (unverified((HOUR, HOUR), (12 * HOUR, None)),)),
        Case("another one each hour", 20 * HOUR, (unverified(*((h * HOUR, h * HOUR) for h in range(1, 21))),)),
        Case("never asked for", 20 * HOUR, (success(HOUR),)),
    ), severity="warning"),
    "OcoreRemoteCopyLate": Cases((
        Case("the remote store is down", 14 * HOUR + 10 * MINUTE, (uncopied((HOUR, HOUR)),), (SHOP,)),
        Case("it may take its time", 13 * HOUR + 30 * MINUTE, (uncopied((HOUR, HOUR)),)),
        Case("copied", 20 * HOUR, (uncopied((HOUR, HOUR), (12 * HOUR, None)),)),
        Case("another one each hour", 20 * HOUR, (uncopied(*((h * HOUR, h * HOUR) for h in range(1, 21))),)),
        Case("no remote store", 20 * HOUR, (success(HOUR),)),
    ), severity="warning"),
    "OcoreSnapshotCorrupt": Cases((
        Case("one is corrupt", 20 * MINUTE, (phases("Snapshot", "Corrupt", (10 * MINUTE, 1)),),
             ({"namespace": "shop"},)),
        Case("found a moment ago", 10 * MINUTE, (phases("Snapshot", "Corrupt", (10 * MINUTE, 1)),)),
        Case("other phases", HOUR, (phases("Snapshot", "Failed", 3), phases("Snapshot", "Complete", 3))),
        Case("deleted", HOUR, (phases("Snapshot", "Corrupt", 1, (40 * MINUTE, None)),)),
    )),
    "OcoreRestoreNeverTested": Cases((
        Case("older than 30 days", 30 * DAY + 8 * HOUR, (restored(0), created(0), success(DAY)), (SHOP,)),
        Case("a slot is due", 8 * DAY, (restored(0), created(0), success(DAY), due_tests((7 * DAY, 6 * DAY))), (SHOP,)),
        Case("since a moment", 30 * DAY + 4 * HOUR, (restored(0), created(0), success(DAY))),
        Case("younger, no schedule", 29 * DAY, (restored(0), created(0), success(DAY))),
        Case("it was tested", 40 * DAY, (restored(DAY), created(0), success(DAY), due_tests(30 * DAY))),
        Case("there is nothing to test", 40 * DAY, (restored(0), created(0), success(0))),
        Case("each environment for itself", 40 * DAY,
             (restored(0), created(0), success(DAY), restored(DAY, own=OTHER), created(0, own=OTHER),
              success(DAY, own=OTHER)), (SHOP,)),
    ), step=4 * HOUR, severity="warning"),
    "OcoreRestoreTestStale": Cases((
        Case("a later slot had its time", 9 * DAY, (restored(DAY), due_tests((8 * DAY, 7 * DAY))), (SHOP,),
             "8d 0h 0m 0s"),
        Case("it has just become due", 8 * DAY, (restored(DAY), due_tests((8 * DAY, 7 * DAY)))),
        Case("tested since", 9 * DAY, (restored(DAY, (7 * DAY, 7 * DAY)), due_tests((8 * DAY, 7 * DAY - HOUR)))),
        Case("never tested", 9 * DAY, (restored(0), due_tests(7 * DAY))),
        Case("no schedule", 90 * DAY, (restored(DAY),)),
    ), step=4 * HOUR, severity="warning"),
    "OcoreRestoreTestFailed": Cases((
        Case("the newest one failed", HOUR, (failed_tests((30 * MINUTE, 1)),), (SHOP,)),
        Case("a moment ago", 35 * MINUTE, (failed_tests((30 * MINUTE, 1)),)),
        Case("another one succeeded", 2 * HOUR, (failed_tests(1, (HOUR, 0)),)),
        Case("two pods are scraped while one replaces the other", HOUR,
             (failed_tests(1), failed_tests(1, pod="ocore-2")), (SHOP,)),
    )),
    "OcoreRollbackFailed": Cases((
        Case("the only one failed", HOUR + 10 * MINUTE, (rollback("failure", (HOUR, HOUR)),), (SHOP,)),
        Case("the last one failed", 2 * HOUR + 10 * MINUTE,
             (rollback("success", HOUR), rollback("failure", (2 * HOUR, 2 * HOUR))), (SHOP,)),
        Case("a moment ago", HOUR, (rollback("failure", (HOUR, HOUR)),)),
        Case("the next one is Complete", 2 * HOUR,
             (rollback("success", (90 * MINUTE, 90 * MINUTE)), rollback("failure", HOUR))),
        Case("a day ago", 25 * HOUR + 5 * MINUTE, (rollback("failure", HOUR),)),
        Case("deleted", 2 * HOUR, (rollback("failure", (HOUR, HOUR), (90 * MINUTE, None)),)),
        Case("another environment's is Complete", 2 * HOUR,
             (rollback("failure", HOUR), rollback("success", 90 * MINUTE, own=OTHER)), (SHOP,)),
    ), severity="warning"),
    "OcorePolicyNotReady": Cases((
        Case("its schedule is invalid", 45 * MINUTE, (ready("SnapshotPolicy", 0),), (NAMED,)),
        Case("the Environment is created later", 45 * MINUTE, (ready("SnapshotPolicy", 0, (25 * MINUTE, 1)),)),
        Case("since a moment", 25 * MINUTE, (ready("SnapshotPolicy", 0),)),
        Case("other kinds", HOUR, (ready("SnapshotPolicy", 1), ready("Environment", 0), ready("SnapshotStore", 0))),
    )),
    "OcorePolicySuspended": Cases((
        Case("for 7 days", 7 * DAY + HOUR, (policy("suspended_since_timestamp_seconds", 0),), (NAMED,)),
        Case("since a moment longer than that", 7 * DAY + 30 * MINUTE,
             (policy("suspended_since_timestamp_seconds", 0),)),
        Case("for 6 days", 7 * DAY + HOUR, (policy("suspended_since_timestamp_seconds", DAY),)),
        Case("not suspended", 8 * DAY, (policy("suspended", 0),)),
        Case("it continues", 8 * DAY, (policy("suspended_since_timestamp_seconds", 0, (8 * DAY - HOUR, None)),)),
    ), step=30 * MINUTE, severity="warning"),
    "OcorePinLimitExceeded": Cases((
        Case("too many", 20 * MINUTE, (policy("pin_limit_exceeded", 1),), (NAMED,)),
        Case("since a moment", 10 * MINUTE, (policy("pin_limit_exceeded", 1),)),
        Case("unpinned", HOUR, (policy("pin_limit_exceeded", 1, (50 * MINUTE, 0)),)),
        Case("within the limit", HOUR, (policy("pin_limit_exceeded", 0),)),
    ), severity="warning"),
    "OcoreStoreUnreachable": Cases((
        Case("not ready", 20 * MINUTE,
             (ready("SnapshotStore", 1, (5 * MINUTE, 0)), ready("SnapshotStore", 1, own=OTHER_NAMED)), (NAMED,)),
        Case("a short interruption", 20 * MINUTE, (ready("SnapshotStore", 1, (5 * MINUTE, 0), (15 * MINUTE, 1)),)),
        Case("since a moment", 15 * MINUTE, (ready("SnapshotStore", 1, (5 * MINUTE, 0)),)),
        Case("other kinds", HOUR, (ready("SnapshotStore", 1), ready("Environment", 0), ready("SnapshotPolicy", 0))),
    )),
    "OcoreEnvironmentNotReady": Cases((
        Case("not ready", 35 * MINUTE, (ready("Environment", 0), ready("Environment", 1, own=OTHER_NAMED)), (NAMED,)),
        Case("since a moment", 25 * MINUTE, (ready("Environment", 0),)),
        Case("a restart of the database", HOUR, (ready("Environment", 1, (20 * MINUTE, 0), (40 * MINUTE, 1)),)),
        Case("other kinds", HOUR, (ready("Environment", 1), ready("SnapshotStore", 0), ready("SnapshotPolicy", 0))),
    ), severity="warning"),
    "OcoreEnvironmentNotRollbackReady": Cases((
        Case("snapshots would work", 70 * MINUTE,
             (rollback_ready(0), ready("Environment", 1), ready("Environment", 0, own=OTHER_NAMED)), (NAMED,)),
        Case("since a moment", 55 * MINUTE, (rollback_ready(0), ready("Environment", 1))),
        Case("not ready at all: another alert", 2 * HOUR, (rollback_ready(0), ready("Environment", 0))),
        Case("ready", 2 * HOUR, (rollback_ready(1), ready("Environment", 1))),
        Case("fixed", 2 * HOUR, (rollback_ready(0, (110 * MINUTE, 1)), ready("Environment", 1))),
    ), severity="warning"),
    "OcoreOperatorDown": Cases((
        Case("nothing is scraped", 10 * MINUTE, (), ({},)),
        Case("it has disappeared", HOUR + 15 * MINUTE, (leader(1, (HOUR, None)),), ({},)),
        Case("it is replaced", HOUR + 10 * MINUTE,
             (leader(1, (HOUR, None)), leader((HOUR + 4 * MINUTE, 1), pod="ocore-2"))),
        Case("it runs", HOUR, (leader(1),)),
        Case("it runs and does not lead: another alert", HOUR, (leader(0),)),
        Case("Prometheus has just started", 4 * MINUTE, ()),
    ), step=MINUTE),
    "OcoreOperatorNotLeader": Cases((
        Case("no process leads", 20 * MINUTE, (leader(1, (5 * MINUTE, 0)),),
             ({"namespace": "ocore-system", "job": "ocore"},)),
        Case("another one leads", HOUR, (leader(0), leader(1, pod="ocore-2"))),
        Case("since a moment", 9 * MINUTE, (leader(1, (5 * MINUTE, 0)),)),
        Case("it leads", HOUR, (leader(1),)),
    ), step=MINUTE),
    "OcoreNamespaceUnreadable": Cases((
        Case("one cannot be read", 20 * MINUTE, (readable(1, (5 * MINUTE, 0)), readable(1, namespace="other")),
             ({"namespace": "shop"},)),
        Case("since a moment", 10 * MINUTE, (readable(1, (5 * MINUTE, 0)),)),
        Case("read again", HOUR, (readable(0, (55 * MINUTE, 1)),)),
        Case("all are read", HOUR, (readable(1), readable(1, namespace="other"))),
    )),
}  # fmt: skip
