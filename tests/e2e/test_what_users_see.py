"""What a status says is what is true: after a switch by hand, a version that differs, a workload that was broken
before.

The shared site of layout Plain serves all tests: each leaves it whole.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from support.cluster.cluster import GROUP, Object, condition, is_true, wait_for
from support.cluster.promises import folders, fresh, holds_all_promises, marker, set_marker
from support.cluster.site import IMAGE, Site, Sites


@pytest.fixture
def site(sites: Sites) -> Site:
    """The shared one of layout Plain."""
    return sites.of(layout="Plain")


def status(site: Site, kind: str, name: str) -> Object:
    """Its status, as it is."""
    obj = site.cluster.get(kind, name, site.namespace)
    assert obj is not None
    return dict(obj["status"])


def message(obj: Object, type_: str) -> str:
    """The condition's message."""
    found = condition(obj, type_)
    assert found is not None, f"no condition {type_}"
    return str(found["message"])


def switch_back_by_hand(site: Site, rollback: Object) -> None:
    """The commands of docs/mover.md, in a pod with the mover's image, with the application stopped."""
    site.scale(0)
    arguments = [
        *("switch", "--now", "--back", "--database", "/secrets/database", "--claim", "/claim"),
        *("--filestore", site.path, "--layout", "Plain"),
        *("--environment-id", rollback["status"]["environmentId"], "--rollback-id", rollback["status"]["id"]),
    ]
    code, log = site.cluster.run_pod(
        site.namespace,
        f"{IMAGE}/mover:{site.major}",
        ["python3", "-m", "ocore_mover", *arguments],
        claims={"/claim": site.filestore_claim},
        secrets_={"/secrets/database": "database"},
    )
    assert code == 0, log
    site.scale(1)


@contextmanager
def another_config(site: Site) -> Iterator[None]:
    """Within the block the application's ConfigMap has another content."""
    metadata = {"name": "config", "namespace": site.namespace}
    config: Object = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    site.cluster.apply({**config, "data": {"app.conf": "workers = 4\n"}})
    try:
        yield
    finally:
        site.cluster.apply({**config, "data": {"app.conf": "workers = 2\n"}})


def test_row_42_deleted_after_a_switch_back_by_hand(site: Site) -> None:
    """`_rb_…` and `stage-…` were left behind. The rollback had warned of a ConfigMap that has changed since the
    snapshot, which prevents nothing."""
    set_marker(site, 3)
    name = fresh("hand")
    with another_config(site):
        site.rollback(name, "base", undoWindowSeconds=3600)
        obj = site.completed("Rollback", name)
    assert "ConfigMap config has changed since snapshot base" in message(obj, "PreflightWarnings")
    assert "The application was down for" in message(obj, "Complete")
    switch_back_by_hand(site, obj)
    assert marker(site) == 3
    assert site.databases() == sorted([site.database, obj["status"]["restoredDatabase"]])
    site.cluster.delete("Rollback", name, site.namespace)
    site.cluster.wait_gone("Rollback", name, site.namespace, 90)
    assert site.databases() == [site.database]
    assert marker(site) == 3
    assert folders(site) == []
    holds_all_promises(site)


def test_row_42_the_position_is_observed_at_the_end_of_the_undo_window(site: Site) -> None:
    """And replicas come back as they were: none stays none."""
    set_marker(site, 4)
    name = fresh("observed")
    site.scale(0)
    site.rollback(name, "base", undoWindowSeconds=45)
    obj = site.completed("Rollback", name)
    shop = site.cluster.get("Deployment", "shop", site.namespace)
    assert shop is not None
    assert (marker(site), shop["spec"]["replicas"]) == (0, 0)
    switch_back_by_hand(site, obj)
    seen = site.cluster.wait(
        "Rollback", name, site.namespace, lambda o: o["status"]["phase"] == "SwitchedBack", 120, "switched back"
    )
    assert seen["status"]["position"] == "Old"
    assert is_true(seen, "Complete")
    assert is_true(seen, "Stalled")
    assert condition(seen, "Ready")["reason"] == "SwitchedBack"  # type: ignore[index]
    assert is_true(seen, "SwitchedBackRetained")
    assert condition(seen, "PreviousRetained") is None
    # What was live may have users' changes: kept for another window.
    assert seen["status"]["restoredDatabase"] in site.databases()
    site.cluster.wait(
        "Rollback", name, site.namespace, lambda o: o["status"].get("residue") == "None", 120, "cleaned up"
    )
    assert site.databases() == [site.database]
    assert marker(site) == 4
    holds_all_promises(site)


# What the messages are made of: tests/unit/operator/rollback/test_preflight.py and test_parts.py.
@pytest.mark.long
def test_another_version_and_a_broken_workload_are_said_before(site: Site) -> None:
    """A Deployment that was broken before was stopped, switched and switched back without a word."""
    migrate: dict[str, Any] = {
        "name": "migrate",
        "image": f"{IMAGE}/demo:dev",
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", "echo column x does not exist; exit 7"],
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    set_marker(site, 5)
    annotations = {"ocore.dev/commit-sha": "c0ffee"}
    template = {"metadata": {"annotations": annotations}, "spec": {"initContainers": [migrate]}}
    site.patch_shop(template, ready=False)
    wait_for("the pod fails", lambda: "restartCount" in json.dumps(site.cluster.pods(site.namespace, "app=shop")), 60)
    time.sleep(5)
    name = fresh("broken")
    with another_config(site):
        site.rollback(name, "base", undoWindowSeconds=0, readyTimeoutSeconds=10)
        obj = site.failed("Rollback", name, "SwitchedBack", 240)
    warned = message(obj, "PreflightWarnings")
    assert "ConfigMap config has changed since snapshot base" in warned
    assert "Deployment shop is not available to begin with: 0 of 1 replicas are ready" in warned
    failed = message(obj, "Failed")
    assert "init container migrate" in failed
    assert "last exit code 7, Error: column x does not exist" in failed
    assert "Known since the preflight: ConfigMap config has changed" in failed
    site.patch_shop({"spec": {"initContainers": None}})
    assert marker(site) == 5
    holds_all_promises(site)


def test_a_stored_snapshot_is_adopted_by_its_id(site: Site) -> None:
    """docs/recovery.md: the Snapshot object is lost, its data is not."""
    lost = site.completed("Snapshot", site.snapshot(fresh("lost")))
    site.cluster.delete("Snapshot", lost["metadata"]["name"], site.namespace)
    site.cluster.wait_gone("Snapshot", lost["metadata"]["name"], site.namespace, 60)
    set_marker(site, 6)
    name = site.snapshot(fresh("recovered"), id=lost["status"]["id"], verify="Full")
    found = site.completed("Snapshot", name)
    assert found["apiVersion"] == GROUP
    assert "Found in the store and adopted" in message(found, "Complete")
    assert found["status"]["consistentAt"] == lost["status"]["consistentAt"]
    assert found["status"]["manifestSha256"] == lost["status"]["manifestSha256"]
    assert found["status"]["source"] == lost["status"]["source"], "it reports what the manifest says"
    taken = f"ocore.dev/uid={found['metadata']['uid']},ocore.dev/command=snapshot"
    assert site.cluster.objects("Job", site.namespace, taken) == [], "no second copy is taken"
    holds_all_promises(site)
