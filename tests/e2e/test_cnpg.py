"""A real CloudNativePG: its operator, and a Cluster of two instances with the application's database.

`make test-all` loads the image; by hand: localcluster/cluster images cnpg:dev.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from support.cluster.cluster import Cluster, Object, condition, is_true, wait_for
from support.cluster.cnpg import CNPG, DATABASE, NAME, WITHOUT_ADMINISTRATOR, Instances, cluster_of, installed
from support.cluster.failpoints import armed, held, held_open
from support.cluster.promises import fresh, holds_all_promises, marker, old_or_new, set_marker, terminal_in_time
from support.cluster.site import Servers, Site, make_site

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def site(cluster: Cluster, servers: Servers) -> Iterator[Site]:
    """The environment whose database CloudNativePG runs, with some data and one snapshot, `base`."""
    with (
        installed(cluster),
        make_site(cluster, servers, own_server=cluster_of, environment={"database": DATABASE}) as site,
    ):
        site.environment_ready()
        site.load(5)
        site.completed("Snapshot", site.snapshot("base"))
        yield site


@pytest.fixture
def instances(cluster: Cluster, site: Site) -> Iterator[Instances]:
    """The Cluster, healthy before the test and after it."""
    instances = Instances(cluster, site.namespace)
    instances.healthy()
    yield instances
    instances.healthy()


@pytest.mark.parametrize("database", [DATABASE, WITHOUT_ADMINISTRATOR], ids=["cnpg", "secretRef"])
@pytest.mark.usefixtures("instances")
def test_a_rollback_and_its_undo(site: Site, database: Object) -> None:
    """With the Secrets of a Cluster, the superuser's among them, and with the owner's alone."""
    site.cluster.apply(site.environment_object(database=database))
    ready = site.environment_ready()
    assert ("HiddenOnly" in json.dumps(ready["status"])) == (database == WITHOUT_ADMINISTRATOR)
    set_marker(site, 2)
    back = site.rollback(fresh("back"), "base", undoWindowSeconds=3600)
    site.completed("Rollback", back)
    assert marker(site) == 0
    undo = site.undo(fresh("undo"), back, undoWindowSeconds=0)
    site.completed("Rollback", undo)
    assert marker(site) == 2
    site.gone("Rollback", undo, back)
    holds_all_promises(site)
    site.cluster.apply(site.environment_object(database=DATABASE))
    site.environment_ready()


def prevented(site: Site, reason: str) -> None:
    """The Environment says why no Job can start."""

    def seen(obj: Object) -> bool:
        found = condition(obj, "Ready")
        return found is not None and found["reason"] == reason and is_true(obj, "Stalled")

    site.cluster.wait("Environment", site.environment, site.namespace, seen, 90, reason)


@pytest.mark.parametrize(
    ("annotation", "value", "reason"),
    [("cnpg.io/hibernation", "on", "ClusterHibernated"), ("cnpg.io/fencedInstances", '["*"]', "ClusterFenced")],
)
def test_a_cluster_that_does_not_run_is_a_condition(
    site: Site, instances: Instances, annotation: str, value: str, reason: str
) -> None:
    """A Snapshot fails for it without a Job. Once the Cluster runs again the Environment is ready."""
    name = fresh("prevented")
    instances.annotate(annotation, value)
    try:
        wait_for("no primary answers", lambda: not databases(site), 90)
        site.snapshot(name, deletionPolicy="Delete")
        uid = site.failed("Snapshot", name, reason)["metadata"]["uid"]
        jobs = site.cluster.objects("Job", site.namespace)
        assert not [job for job in jobs if job["metadata"]["labels"].get("ocore.dev/uid") == uid]
        again = {"metadata": {"annotations": {"read-again": reason}}}  # Clusters are not watched
        site.cluster.patch("Environment", site.environment, site.namespace, again)
        prevented(site, reason)
    finally:
        instances.annotate(annotation, None)
        wait_for("the primary answers", lambda: databases(site), 120)
        instances.healthy()
    site.environment_ready()
    site.app_ready()
    site.gone("Snapshot", name)
    holds_all_promises(site)


def test_a_replica_cluster_is_a_condition(site: Site, instances: Instances) -> None:
    """A Cluster that follows the site's, with databases that are read-only."""
    with instances.follower() as follower:
        site.cluster.apply(site.environment_object(database={"cnpg": {"cluster": follower}}))
        prevented(site, "ReplicaCluster")
    site.cluster.apply(site.environment_object(database=DATABASE))
    site.environment_ready()


def limits(site: Site) -> dict[str, int]:
    """Connection limit of each database of the site."""
    with site.servers.admin(site.host) as connection:
        rows = connection.execute(
            "SELECT datname, datconnlimit FROM pg_database WHERE starts_with(datname, %s)", [site.database]
        )
        return dict(rows.fetchall())


def applied(site: Site, **spec: object) -> None:
    """Changes the `Database` resource, and waits until CloudNativePG has applied it."""
    body: Object = {"name": site.database, "owner": site.role, "cluster": {"name": NAME}, **spec}
    metadata = {"name": "shop", "namespace": site.namespace}
    site.cluster.apply({"apiVersion": CNPG, "kind": "Database", "metadata": metadata, "spec": body})
    site.cluster.wait(
        "Database",
        "shop",
        site.namespace,
        lambda o: o.get("status", {}).get("observedGeneration") == o["metadata"]["generation"],
        90,
        "reconciled",
    )
    found = site.cluster.get("Database", "shop", site.namespace)
    assert found is not None
    assert found["status"]["applied"] is True, found["status"]


def test_a_database_resource_follows_the_name(site: Site, instances: Instances) -> None:
    """It names a database, and has its settings applied to whichever has that name: what was set aside is not touched,
    nothing is created again, and nothing is dropped. The rollback hands over what the resource set."""
    del instances
    applied(site, connectionLimit=40, databaseReclaimPolicy="retain")
    set_marker(site, 2)
    back = site.rollback(fresh("back"), "base", undoWindowSeconds=3600)
    kept = site.completed("Rollback", back)["status"]["previousDatabase"]
    live = site.database
    assert limits(site) == {live: 40, kept: 40}
    applied(site, connectionLimit=50, databaseReclaimPolicy="retain")
    assert limits(site) == {live: 50, kept: 40}
    undo = site.undo(fresh("undo"), back, undoWindowSeconds=0)
    site.completed("Rollback", undo)
    assert marker(site) == 2
    site.gone("Rollback", undo, back)
    assert limits(site) == {live: 50}
    site.gone("Database", "shop")
    holds_all_promises(site)


def test_declared_roles_do_not_fight_a_restore(site: Site, instances: Instances) -> None:
    """CloudNativePG reconciles its roles in the middle of a restore."""
    name = site.rollback(fresh("roles"), "base", annotations=held_open("restore-database-loaded"), undoWindowSeconds=0)
    wait_for(f"{name} at the failpoint", lambda: held(site, "restore-database-loaded", name), 150)
    roles = instances.current()["spec"]["managed"]["roles"]
    (role,) = (r for r in roles if r["name"] == site.role)
    role["comment"] = name
    instances.change(managed={"roles": roles})

    def comment() -> str:
        with site.servers.admin(site.host) as connection:
            row = connection.execute(
                "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = %s", [site.role]
            ).fetchone()
            return str(row and row[0])

    wait_for("the roles are reconciled", lambda: comment() == name, 60)
    assert not is_true(site.cluster.get("Rollback", name, site.namespace) or {}, "Complete")
    site.completed("Rollback", name)
    site.gone("Rollback", name)
    holds_all_promises(site)


def marked(connection: psycopg.Connection[Any]) -> bool:
    """Whether the database of the connection has the marker."""
    return connection.execute("SELECT to_regclass('fault_marker') IS NOT NULL").fetchall() == [(True,)]


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_sessions_behind_a_pooler_end_and_come_back(site: Site, instances: Instances, mode: str) -> None:
    """Those of the application, and of another client that no rollback stops: PgBouncer keeps them open."""
    set_marker(site, 2)
    with instances.pooler(mode) as host, through(site, host):
        account = {"host": host, "user": site.role, "password": site.password, "dbname": site.database}
        with psycopg.connect(**account, autocommit=True) as other:
            assert marked(other)
            (before,) = other.execute("SELECT pg_backend_pid()").fetchall()
            name = site.rollback(fresh(mode), "base", undoWindowSeconds=0)
            site.completed("Rollback", name)
            if mode == "session":
                with pytest.raises(psycopg.OperationalError):
                    marked(other)
            else:  # each transaction may have another session of the server
                assert not marked(other)
                assert other.execute("SELECT pg_backend_pid()").fetchall() != [before]
        with psycopg.connect(**account, autocommit=True) as again:
            assert not marked(again)
        site.load(7, 4)
        site.gone("Rollback", name)
    holds_all_promises(site)


@contextmanager
def through(site: Site, host: str) -> Iterator[None]:
    """The application connects to that host within the block."""
    connects_to(site, host)
    try:
        yield
    finally:
        connects_to(site, site.host)


def connects_to(site: Site, host: str) -> None:
    metadata = {"name": "database", "namespace": site.namespace}
    site.cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"host": host}})
    site.patch_shop({"metadata": {"annotations": {"connects-to": host}}})
    site.app_ready()


def replicates(site: Site, instances: Instances, state: str) -> None:
    """Makes a commit wait for the replica (`quorum`) or not (`async`)."""
    instances.change(postgresql={"synchronous": {"method": "any", "number": 1} if state == "quorum" else None})

    def seen() -> bool:
        with site.servers.admin(site.host) as connection:
            return connection.execute("SELECT sync_state FROM pg_stat_replication").fetchall() == [(state,)]

    wait_for(f"the replica is {state}", seen, 60)


#: Holds the switch open where nothing is renamed yet, and after the renames.
BOTH_HELD = armed("switch-sessions-ended=sleep:8,switch-renamed=sleep:20")


@contextmanager
def renames_not_replicated(site: Site, instances: Instances, name: str) -> Iterator[None]:
    """From the moment at which the sessions are ended the replica gets nothing."""
    wait_for("the sessions are ended", lambda: held(site, "switch-sessions-ended", name), 150)
    with instances.replica_cut_off():
        yield


def fails_over_without_renames(site: Site, instances: Instances) -> None:
    """The promoted replica has no renamed database."""
    assert any("_prev_" in name for name in site.databases())
    instances.fail_over()
    found = wait_for("the new primary answers", lambda: databases(site), 60)
    assert not any("_prev_" in name for name in found)


def databases(site: Site) -> list[str]:
    """None while no primary answers."""
    try:
        return site.databases()
    except psycopg.OperationalError:
        return []


def waits_for_the_replica(site: Site) -> bool:
    """Whether a commit of the switch does. No one sees it until the replica has answered."""
    with site.servers.admin(site.host) as connection:
        query = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND application_name = 'ocore-switch'"
        return bool(connection.execute(query).fetchall())


@pytest.mark.parametrize("replication", ["async", "quorum"])
def test_a_failover_that_loses_the_renames_in_the_switch(site: Site, instances: Instances, replication: str) -> None:
    replicates(site, instances, replication)
    set_marker(site, 3)
    name = site.rollback(fresh("lost"), "base", annotations=BOTH_HELD, undoWindowSeconds=0)
    with renames_not_replicated(site, instances, name):
        if replication == "async":
            wait_for(f"{name} has renamed", lambda: held(site, "switch-renamed", name), 60)
            fails_over_without_renames(site, instances)
        else:
            wait_for("the renames wait for the replica", lambda: waits_for_the_replica(site), 60)
            instances.fail_over()
    obj = terminal_in_time(site, "Rollback", name)
    wait_for("live database accepts connections", site.accepts_connections, 60)
    old_or_new(site, obj)
    instances.healthy()
    holds_all_promises(site, timeout=180)


def test_row_100_a_failover_that_loses_the_renames_after_the_end(site: Site, instances: Instances) -> None:
    """The live database refuses connections, as the replica saw it last. The Environment says so, the position is read,
    connections are allowed again, and the Rollback says on what the environment runs."""
    replicates(site, instances, "async")
    set_marker(site, 3)
    annotations = armed("switch-sessions-ended=sleep:8")
    name = site.rollback(fresh("lost"), "base", annotations=annotations, undoWindowSeconds=600)
    with renames_not_replicated(site, instances, name):
        site.completed("Rollback", name)
        assert marker(site) == 0
        fails_over_without_renames(site, instances)
    assert not site.accepts_connections()
    obj = site.cluster.wait(
        "Rollback", name, site.namespace, lambda o: o["status"].get("phase") == "SwitchedBack", 200, "switched back"
    )
    assert obj["status"]["position"] == "Old"
    assert "failover that lost the renames" in str(condition(obj, "Ready"))
    assert site.accepts_connections()
    assert marker(site) == 3
    site.app_ready()
    site.gone("Rollback", name)
    holds_all_promises(site, timeout=180)


#: In a snapshot, in a restore, and in each part of the switch
CASES = [
    ("async", "snapshot-dump-running"),
    ("async", "restore-database-loaded"),
    ("async", "switch-refused"),
    ("async", "switch-renamed"),
    ("async", "switch-done"),
    ("quorum", "switch-refused"),
    ("quorum", "switch-renamed"),
]


@pytest.mark.parametrize("fault", ["switchover", "failover"])
@pytest.mark.parametrize(("replication", "point"), CASES)
def test_another_primary_in_the_middle(
    site: Site, instances: Instances, replication: str, point: str, fault: str
) -> None:
    """Old or new, never between."""
    replicates(site, instances, replication)
    set_marker(site, 3)
    snapshot = point.startswith("snapshot-")
    annotations = held_open(point)
    if snapshot:
        kind, name = "Snapshot", site.snapshot(fresh(point), annotations=annotations, deletionPolicy="Delete")
    else:
        kind, name = "Rollback", site.rollback(fresh(point), "base", annotations=annotations, undoWindowSeconds=0)
    before = instances.primary()
    wait_for(f"{name} at {point}", lambda: held(site, point, name), 150)
    after = instances.switch_over() if fault == "switchover" else instances.fail_over()
    assert after != before
    obj = terminal_in_time(site, kind, name)
    wait_for("live database accepts connections", site.accepts_connections, 60)
    if snapshot:
        assert is_true(obj, "Complete"), obj["status"]
        assert marker(site) == 3
    else:
        old_or_new(site, obj)
    instances.healthy()
    holds_all_promises(site, timeout=180)
