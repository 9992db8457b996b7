"""What the catalog keeps of a SnapshotPolicy, from its raw JSON. Pure."""

from ocore_crds import conditions as c
from ocore_crds.resources.restore_test import DEFAULT_TIMEOUT_SECONDS as DEFAULT_TEST_TIMEOUT
from ocore_crds.resources.snapshotpolicy import DEFAULT_TIMEOUT_SECONDS
from ocore_operator.entries.policies import PolicyEntry, PolicyFacts
from ocore_operator.kube.catalog import common, shared
from ocore_operator.kube.resources import Object


def entry(obj: Object) -> PolicyEntry:
    """Its entry. It is never idle."""
    status = obj.get("status", {})
    ready: Object = next((x for x in status.get("conditions") or () if x["type"] == c.READY), {})
    return PolicyEntry(
        **common("SnapshotPolicy", obj),
        ready=shared(ready.get("status", "Unknown")),
        ready_reason=shared(ready.get("reason", "")),
        scheduled=bool(status.get("nextScheduleTime")),
        policy=_facts(obj),
    )


def _facts(policy: Object) -> PolicyFacts:
    spec, status = policy.get("spec", {}), policy.get("status", {})
    tests = spec.get("verify") or {}
    return PolicyFacts(
        schedule=() if spec.get("suspend") else tuple(spec.get("schedule") or ()),
        time_zone=spec.get("timeZone") or "Etc/UTC",
        spread_minutes=int(spec.get("spreadMinutes") or 0),
        timeout=int(spec.get("timeoutSeconds") or DEFAULT_TIMEOUT_SECONDS),
        scheduled_from=status.get("scheduledFrom") or "",
        pinned=int(status.get("pinned") or 0),
        kept=int((status.get("kept") or {}).get("total") or 0),
        test_schedule=()
        if spec.get("suspend") or not tests.get("restore", True)
        else tuple(tests.get("schedule") or ()),
        test_timeout=int(tests.get("timeoutSeconds") or DEFAULT_TEST_TIMEOUT),
        tests_from=status.get("restoreTestsFrom") or "",
        last_test=status.get("lastRestoreTestTime") or "",
        last_test_failed=(status.get("restoreTest") or {}).get("result") == "Failed",
    )
