"""`kill -9` at every failpoint, and the promises afterwards: old or new and never half, terminal in time, nothing left over.

One site serves all tests of a module: each leaves it whole, or the next one fails.
"""

import json
import time
from collections.abc import Iterator

import pytest

from ocore_crds.failpoints import REGISTRY
from support.cluster import Cluster, Object, condition, is_true, wait_for
from support.operator import NAMESPACE, Operator
from support.site import DEMO_IMAGE, Servers, Site, make_site

SNAPSHOT_POINTS = [n for n in REGISTRY if n.startswith(("snapshot-", "after-"))]
RESTORE_POINTS = [n for n in REGISTRY if n.startswith("restore-")]
SWITCH_POINTS = [n for n in REGISTRY if n.startswith("switch-") and not n.startswith("switch-back-")]
SWITCH_BACK_POINTS = [n for n in REGISTRY if n.startswith("switch-back-")]
OPERATOR_SNAPSHOT_POINTS = [n for n in REGISTRY if n.startswith("operator-snapshot-")]
OPERATOR_ROLLBACK_POINTS = [n for n in REGISTRY if n.startswith("operator-rollback-")]


def test_every_failpoint_is_driven() -> None:
    """A failpoint without a test would be a promise without proof."""
    driven = {
        *SNAPSHOT_POINTS,
        *RESTORE_POINTS,
        *SWITCH_POINTS,
        *SWITCH_BACK_POINTS,
        *OPERATOR_SNAPSHOT_POINTS,
        *OPERATOR_ROLLBACK_POINTS,
        "cleanup-database-dropped",
        "delete-manifest-gone",
    }
    assert driven == set(REGISTRY)


@pytest.fixture(scope="module")
def site(cluster: Cluster, servers: Servers) -> Iterator[Site]:
    """A site with some data and one snapshot, `base`."""
    with make_site(cluster, servers) as site:
        code, log = site.in_app("load", "--seconds", "3", "--writers", "2", "--seed", "3")
        assert code == 0, log
        site.completed("Snapshot", site.snapshot("base"))
        yield site


class Case:
    """Names of one test's objects."""

    def __init__(self, point: str) -> None:
        self.name = point[:40] + "-" + format(time.time_ns() % 16**6, "06x")


def marker(site: Site) -> int:
    """How many rows the application's own mark has: tells old data from new."""
    return int(site.query("SELECT count(*) FROM fault_marker")[0][0])


def set_marker(site: Site, rows: int) -> None:
    """Makes the live database recognisable."""
    with site.connect() as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS fault_marker (n int)")
        connection.execute("DELETE FROM fault_marker")
        connection.execute("INSERT INTO fault_marker SELECT generate_series(1, %s)", [rows])


def folders(site: Site) -> list[str]:
    """Folders of ours on the filestore's claim."""
    _, log = site.cluster.run_pod(
        site.namespace,
        DEMO_IMAGE,
        ["sh", "-c", "ls -d /claim/.ocore/*/* 2>/dev/null | sed 's,.*/,,'"],
        claims={"/claim": site.filestore_claim},
    )
    return log.split()


def stored_keys(site: Site) -> set[str]:
    """Keys in the bucket below the store's prefix."""
    pages = site.servers.s3_client().get_paginator("list_objects_v2").paginate(Bucket=site.bucket)
    return {o["Key"].removeprefix("test/") for page in pages for o in page.get("Contents", [])}


def named_keys(site: Site) -> set[str]:
    """Keys that the manifests of the Complete snapshots name, and the manifests."""
    s3, named = site.servers.s3_client(), {"ocore-store.json"}
    for obj in site.cluster.objects("Snapshot", site.namespace):
        if is_true(obj, "Complete"):
            key = obj["status"]["manifestKey"]
            manifest = json.loads(s3.get_object(Bucket=site.bucket, Key=f"test/{key}")["Body"].read())
            named.add(key)
            named.update(o["key"] for o in manifest["database"]["files"])
            named.update(o["key"] for o in manifest["filestore"]["packs"])
            named.add(manifest["filestore"]["index"]["key"])
            named.add(manifest["config"]["archive"]["key"])
    return named


def holds_all_promises(site: Site, *, timeout: float = 120) -> None:
    """The invariants of design.md section 2 and that nothing is left over."""
    wait_for("live database accepts connections", site.accepts_connections, 30)
    wait_for("only the live database is left", lambda: site.databases() == [site.database], timeout)
    site.app_ready()
    deployment = site.cluster.get("Deployment", "shop", site.namespace)
    assert deployment is not None
    assert deployment["spec"]["replicas"] == 1
    environment = site.cluster.wait(
        "Environment", site.environment, site.namespace, lambda o: not o["status"].get("operation"), 60, "hold released"
    )
    assert is_true(environment, "Ready")
    wait_for("store holds what is named and no more", lambda: stored_keys(site) == named_keys(site), timeout)
    uploads = site.servers.s3_client().list_multipart_uploads(Bucket=site.bucket).get("Uploads", [])
    assert uploads == []
    wait_for("no folder of ours is left", lambda: folders(site) == [], timeout, interval=2)

    def idle() -> bool:
        jobs = site.cluster.objects("Job", site.namespace)
        return all(not j.get("status", {}).get("active") for j in jobs)

    wait_for("no Job runs", idle, 60)
    code, log = site.in_app("check")
    assert code == 0, log


@pytest.mark.parametrize("point", SNAPSHOT_POINTS)
def test_mover_killed_in_a_snapshot(site: Site, point: str) -> None:
    """Killed in the first attempt: another attempt completes it, or the manifest that was written counts."""
    name = site.snapshot(
        Case(point).name, annotations={"ocore.dev/failpoints": f"{point}=kill@1"}, deletionPolicy="Delete"
    )
    status = site.completed("Snapshot", name, 120)["status"]
    assert status["attempt"] == (1 if point == "after-manifest" else 2)
    holds_all_promises(site)


def test_mover_killed_in_every_attempt(site: Site) -> None:
    """Killed again and again: Failed, said so, nothing left."""
    name = site.snapshot(Case("all").name, annotations={"ocore.dev/failpoints": "after-upload-before-manifest=kill"})
    obj = site.finished("Snapshot", name, 180)
    found = condition(obj, "Failed")
    assert found is not None
    assert found["reason"] in ("JobFailed", "JobLost")
    assert obj["status"]["attempt"] == 3
    holds_all_promises(site)


def test_mover_killed_in_a_deletion(site: Site) -> None:
    """Killed after the manifest is gone: the rest follows."""
    name = site.snapshot(
        Case("delete").name,
        annotations={"ocore.dev/failpoints": "delete-manifest-gone=kill@1"},
        deletionPolicy="Delete",
    )
    site.completed("Snapshot", name)
    site.cluster.delete("Snapshot", name, site.namespace)
    site.cluster.wait_gone("Snapshot", name, site.namespace, 120)
    holds_all_promises(site)


def roll_back(site: Site, name: str, failpoints: str, **spec: object) -> Object:
    """A rollback to `base` with nothing kept afterwards; its terminal state."""
    site.rollback(
        name,
        "base",
        annotations={"ocore.dev/failpoints": failpoints} if failpoints else {},
        undoWindowSeconds=0,
        **spec,
    )
    return site.finished("Rollback", name, 240)


def old_or_new(site: Site, obj: Object) -> None:
    """What the status says is what the database shows."""
    has_marker = bool(site.query("SELECT to_regclass('fault_marker') IS NOT NULL")[0][0])
    if is_true(obj, "Complete"):
        assert obj["status"]["position"] == "New"
        assert not has_marker, "Complete, but the old data is live"
    else:
        assert obj["status"].get("position") in (None, "Old")
        assert has_marker, "Failed, but the old data is gone"


@pytest.mark.parametrize("point", RESTORE_POINTS)
def test_mover_killed_in_a_restore(site: Site, point: str) -> None:
    set_marker(site, 5)
    obj = roll_back(site, Case(point).name, f"{point}=kill@1")
    assert is_true(obj, "Complete"), obj["status"]
    old_or_new(site, obj)
    holds_all_promises(site)


@pytest.mark.parametrize("point", SWITCH_POINTS)
def test_mover_killed_in_a_switch(site: Site, point: str) -> None:
    set_marker(site, 6)
    obj = roll_back(site, Case(point).name, f"{point}=kill")
    old_or_new(site, obj)
    holds_all_promises(site)


def probe_for_marker(site: Site, table: str) -> None:
    """The application counts as ready only where the live database has that table."""
    code = (
        "from demo_app.settings import Settings; from demo_app.database import connect; "
        f"connect(Settings.from_environment()).execute('SELECT 1 FROM {table} LIMIT 1')"
    )
    patch = {
        "spec": {
            "template": {
                "spec": {
                    "containers": [
                        {
                            "name": "app",
                            "readinessProbe": {
                                "httpGet": None,
                                "exec": {"command": ["python3", "-c", code]},
                                "periodSeconds": 2,
                                "timeoutSeconds": 5,
                            },
                        }
                    ]
                }
            }
        }
    }
    site.cluster.kubectl("-n", site.namespace, "patch", "deployment", "shop", "--patch", json.dumps(patch))
    site.cluster.kubectl("-n", site.namespace, "rollout", "status", "deployment/shop", "--timeout=60s")


@pytest.mark.parametrize("point", ["", *SWITCH_BACK_POINTS])
def test_mover_killed_in_switching_back(site: Site, point: str) -> None:
    """The application does not come up on the restored database: switched back, whoever dies."""
    set_marker(site, 7)
    probe_for_marker(site, "fault_marker")
    try:
        name = Case(point or "switch-back").name
        obj = roll_back(site, name, f"{point}=kill" if point else "", readyTimeoutSeconds=10)
        assert is_true(obj, "Failed"), obj["status"]
        old_or_new(site, obj)
    finally:
        probe_for_marker(site, "ir_attachment")
    holds_all_promises(site)


def test_mover_killed_in_the_cleanup(site: Site) -> None:
    obj = roll_back(site, Case("cleanup").name, "cleanup-database-dropped=kill@1")
    assert is_true(obj, "Complete")
    holds_all_promises(site)


@pytest.fixture
def armed_operator(operator: Operator, request: pytest.FixtureRequest) -> Iterator[str]:
    """The operator with one failpoint that kills it once."""
    point = str(request.param)
    operator.set_env(f"OCORE_FAILPOINTS={point}=kill", "OCORE_FAILPOINT_MARKS=/tmp")
    yield point
    restarts = operator.pod()["status"]["containerStatuses"][0]["restartCount"]  # type: ignore[index]
    operator.set_env("OCORE_FAILPOINTS-", "OCORE_FAILPOINT_MARKS-")
    assert restarts >= 1, f"{point} was never reached"


@pytest.mark.parametrize("armed_operator", OPERATOR_SNAPSHOT_POINTS, indirect=True)
def test_operator_killed_in_a_snapshot(site: Site, armed_operator: str) -> None:
    name = site.snapshot(Case(armed_operator).name, deletionPolicy="Delete")
    status = site.completed("Snapshot", name, 150)["status"]
    assert status["attempt"] == 1
    holds_all_promises(site)


@pytest.mark.parametrize("armed_operator", OPERATOR_ROLLBACK_POINTS, indirect=True)
def test_operator_killed_in_a_rollback(site: Site, armed_operator: str) -> None:
    set_marker(site, 8)
    obj = roll_back(site, Case(armed_operator).name, "")
    old_or_new(site, obj)
    assert is_true(obj, "Complete"), obj["status"]
    holds_all_promises(site)


def test_operator_runs_in_its_namespace(cluster: Cluster, operator: Operator) -> None:
    """The tests above killed the operator that everybody uses: it must be well."""
    operator.ready()
    assert cluster.pods(NAMESPACE, "app.kubernetes.io/component=operator")
