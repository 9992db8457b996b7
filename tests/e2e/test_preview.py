"""A preview on a real cluster: it changes nothing, its numbers are right, and it lists everything that would refuse the
rollback."""

import json
import time
from typing import Any

import pytest

from support.cluster.cluster import Cluster, Object, condition, is_true, wait_for
from support.cluster.kubectl_ocore import ocore
from support.cluster.promises import fresh
from support.cluster.site import Servers, Site, make_site

#: Of the Environment's status: what a probe and a proof renew, which come anyway.
RENEWED = ("probe", "proof", "sizes")


def everything(site: Site) -> dict[str, Any]:
    """What a rollback could change: databases with their comments, sessions allowed, files, objects of the store,
    workloads, the Environment."""
    with site.servers.admin(site.host) as connection:
        databases = connection.execute(
            "SELECT datname, datallowconn, datconnlimit, shobj_description(oid, 'pg_database') FROM pg_database"
            " WHERE starts_with(datname, %s) AND NOT starts_with(datname, %s) ORDER BY 1",
            [site.database, f"{site.database}_try_"],
        ).fetchall()
    code, files = site.in_shop(
        "python3", "-c",
        "import os;print(sorted((r, f, os.lstat(os.path.join(r, f)).st_mtime_ns, os.lstat(os.path.join(r, f)).st_nlink)"
        " for r, _, fs in os.walk('/claim') for f in fs))",
    )  # fmt: skip
    assert code == 0, files
    listed = site.servers.s3_client(site.endpoint).list_objects_v2(Bucket=site.bucket).get("Contents", [])
    environment = site.cluster.get("Environment", site.environment, site.namespace)
    shop = site.cluster.get("Deployment", "shop", site.namespace)
    assert environment is not None
    assert shop is not None
    status = json.loads(json.dumps(environment["status"], default=str))
    for field in RENEWED:
        status.pop(field, None)
    status["conditions"] = sorted((c["type"], c["status"]) for c in status["conditions"])  # the messages have sizes
    return {
        "databases": databases,
        "files": files,
        "objects": sorted((o["Key"], o["Size"], str(o["LastModified"])) for o in listed),
        "workload": (shop["spec"]["replicas"], shop["metadata"]["generation"]),
        "environment": status,
    }


def files(site: Site) -> dict[str, int]:
    """Name below the filestore → size."""
    script = (
        "import json,os,sys;r=sys.argv[1];print(json.dumps("
        "{os.path.relpath(os.path.join(d,f),r):os.path.getsize(os.path.join(d,f))"
        " for d,_,fs in os.walk(r) for f in fs}))"
    )
    code, text = site.in_shop("python3", "-c", script, f"/claim/{site.path}")
    assert code == 0, text
    found: dict[str, int] = json.loads(text)
    return found


# Both majors: tests/unit/mover/commands/test_preview.py.
@pytest.mark.parametrize("major", [15, pytest.param(17, marks=pytest.mark.long)])
def test_it_changes_nothing_and_its_numbers_are_right(cluster: Cluster, servers: Servers, major: int) -> None:
    with make_site(cluster, servers, major=major) as site:
        site.load(5)
        site.completed("Snapshot", site.snapshot("base"))
        counted = site.query("SELECT count(*) FROM ir_attachment")[0][0]
        named = {row[0] for row in site.query("SELECT DISTINCT store_fname FROM ir_attachment")}
        stored = {name: size for name, size in files(site).items() if name in named}
        site.load(6)
        site.query(
            "DELETE FROM ir_attachment WHERE id IN (SELECT id FROM ir_attachment ORDER BY id LIMIT 3) RETURNING id"
        )
        now = site.query("SELECT count(*) FROM ir_attachment")[0][0]
        # An idle session of the application reports what it wrote some seconds later. An ANALYZE before that would
        # count it twice.
        written = "SELECT n_tup_ins - n_tup_del FROM pg_stat_user_tables WHERE relname = 'ir_attachment'"
        wait_for("the statistics", lambda: site.query(written) == [(now,)], 90)
        with site.connect() as connection:
            connection.execute("ANALYZE ir_attachment")
        # Files that only the snapshot has: some are removed by hand, others perhaps by the application's garbage
        # collection.
        code, text = site.in_shop("rm", *(f"/claim/{site.path}/{name}" for name in sorted(stored)[:4]))
        assert code == 0, text
        left = files(site)
        missing = [size for name, size in stored.items() if left.get(name) != size]
        assert len(missing) >= 4
        before = everything(site)

        began = time.monotonic()
        site.rollback("look", "base", dryRun=True)
        status = site.previewed("look")
        seconds = time.monotonic() - began
        assert everything(site) == before
        print(f"preview of PostgreSQL {major}: {seconds:.1f} s")

        preview = status["preview"]
        assert (preview["wouldRun"], preview.get("refusals"), preview.get("unread")) == (True, [], []), preview
        table = next(t for t in preview["database"]["tables"] if t["name"] == "public.ir_attachment")
        assert (table["rowsInSnapshotCounted"], table["rowsNowEstimated"]) == (counted, now)
        assert (preview["files"]["filesToMove"], preview["files"]["bytesToMove"]) == (len(missing), sum(missing))
        assert preview["database"]["serverVersionNow"].startswith(f"{major}.")
        assert preview["prediction"]["durationSource"] == "Snapshot"
        assert 0 < preview["lostMinutes"] < 30
        assert status["phase"] == "Previewed"
        assert "Complete" not in {c["type"] for c in status["conditions"]}
        assert status.get("recoveryEvidence") is None

        # What was predicted is what a rollback does. It is no rollback that has run before: the same name and spec
        # without dryRun runs.
        site.cluster.delete("Rollback", "look", site.namespace)
        site.cluster.wait_gone("Rollback", "look", site.namespace, 30)
        site.rollback("look", "base", undoWindowSeconds=0)
        real = site.completed("Rollback", "look")["status"]
        assert (condition({"status": real}, "Complete") or {})["reason"] == "Succeeded"
        assert site.query("SELECT count(*) FROM ir_attachment")[0][0] == counted

        site.rollback("again", "base", dryRun=True)
        preview = site.previewed("again")["preview"]
        assert (preview["prediction"]["durationSource"], preview["prediction"]["rollbacks"]) == ("Rollbacks", 1)
        assert preview["prediction"]["downtimeSeconds"] > 0
        assert preview["files"]["filesToMove"] == 0


def not_rollback_ready(site: Site, reason: str) -> str:
    """Waits for the Environment's reason; its message."""

    def seen(obj: Object) -> bool:
        found = condition(obj, "RollbackReady") or {}
        return (found.get("status"), found.get("reason")) == ("False", reason)

    obj = site.cluster.wait("Environment", site.environment, site.namespace, seen, 150, f"not ready: {reason}")
    return str((condition(obj, "RollbackReady") or {})["message"])


def test_everything_that_refuses_is_listed_and_the_rollback_fails_with_it(
    cluster: Cluster, servers: Servers, site: Site
) -> None:
    """A right is missing, the database's volume is too full, and then its capacity is unknown. A snapshot needs neither
    the right nor the room."""
    look = fresh("look")
    with servers.admin(site.host) as connection:
        connection.execute(f'ALTER ROLE "{site.role}" NOCREATEDB'.encode())
    try:
        cluster.apply(site.environment_object(database={"secretRef": {"name": "database"}, "capacity": "1Mi"}))
        said = not_rollback_ready(site, "MissingGrants")
        assert "ALTER ROLE <application> CREATEDB;" in said
        site.completed("Snapshot", site.snapshot(fresh("without"), deletionPolicy="Delete"))
        site.rollback(look, "base", dryRun=True, notAfter="2026-01-01T00:00:00Z")
        preview = site.previewed(look)["preview"]
        reasons = list(dict.fromkeys(r["reason"] for r in preview["refusals"]))  # the mover refuses for the volume, too
        assert reasons == ["Expired", "MissingGrants", "InsufficientCapacity"], preview["refusals"]
        assert preview["wouldRun"] is False
        site.failed("Rollback", site.rollback(fresh("late"), "base", notAfter="2026-01-01T00:00:00Z"), reasons[0])
        site.failed("Rollback", site.rollback(fresh("back"), "base"), reasons[1])
        with servers.admin(site.host) as connection:
            connection.execute(f'ALTER ROLE "{site.role}" CREATEDB'.encode())
        obj = site.failed("Rollback", site.rollback(fresh("back"), "base"), reasons[2])
        assert "1Mi" in str(condition(obj, "Failed")) or "1.0 MiB" in str(condition(obj, "Failed"))
        assert site.databases() == [site.database]
        assert site.accepts_connections()

        cluster.apply(site.environment_object(database={"secretRef": {"name": "database"}}))
        assert "capacity" in not_rollback_ready(site, "CapacityUnknown")
        site.failed("Rollback", site.rollback(fresh("back"), "base"), "CapacityUnknown")
    finally:
        with servers.admin(site.host) as connection:
            connection.execute(f'ALTER ROLE "{site.role}" CREATEDB'.encode())
        cluster.apply(site.environment_object())
    site.environment_ready()


def test_it_runs_beside_a_snapshot_and_holds_no_lock(cluster: Cluster, site: Site) -> None:
    name = site.snapshot(fresh("slow"), annotations={"ocore.dev/failpoints": "after-manifest=sleep:20"})
    cluster.wait("Snapshot", name, site.namespace, lambda o: o["status"].get("phase") == "Running", 60, "running")
    look = site.rollback(fresh("look"), "base", dryRun=True)
    preview = site.previewed(look, 30)["preview"]
    assert preview["wouldRun"] is True
    slow = cluster.get("Snapshot", name, site.namespace)
    assert slow is not None
    if not is_true(slow, "Complete"):
        assert f"Snapshot {name}" in preview["waitsFor"]
    site.completed("Snapshot", name)


def test_kubectl_ocore_preview_and_rollback(cluster: Cluster, site: Site) -> None:
    before = cluster.objects("Rollback", site.namespace)
    code, out, err = ocore(site, "preview", "base")
    assert code == 0, err
    assert "Rows in snapshot (counted)" in out
    assert len(cluster.objects("Rollback", site.namespace)) == len(before)
    # Without a terminal no question can be asked.
    code, _, err = ocore(site, "rollback", "base")
    assert (code, "--yes" in err) == (1, True)
    assert len(cluster.objects("Rollback", site.namespace)) == len(before)
    name = fresh("back")
    code, out, err = ocore(site, "rollback", "base", "--yes", "--name", name, "--wait", timeout=240)
    assert code == 0, out + err
    site.gone("Rollback", name)
