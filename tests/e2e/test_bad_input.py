"""Bad input: a terminal state in bounded time, a message that says what to do, and nothing lost."""

from collections.abc import Iterator

import pytest

from support.cluster.cluster import GROUP, Cluster, Object, condition, is_true, unique
from support.cluster.operator import Operator
from support.cluster.site import Servers, Site, claim, create_database, make_site, secret

#: From the object's creation to its terminal state, in seconds, where nothing but bad input is in the way.
BOUND = 150


@pytest.fixture(scope="module")
def site(cluster: Cluster, servers: Servers) -> Iterator[Site]:
    """A site that is in order; each test spoils one thing of its own."""
    with make_site(cluster, servers) as site:
        yield site


def second_environment(site: Site, **changes: object) -> str:
    """Another Environment of the same namespace; returns its name."""
    name = unique("other")
    obj = site.environment_object(**changes)
    obj["metadata"]["name"] = name
    site.cluster.apply(obj)
    return name


def not_ready(site: Site, name: str, reason: str, *, type_: str = "Ready") -> str:
    """Waits for the Environment's reason; its message."""

    def seen(obj: Object) -> bool:
        found = condition(obj, type_)
        return found is not None and found["status"] == "False" and found["reason"] == reason

    obj = site.cluster.wait("Environment", name, site.namespace, seen, BOUND, f"{type_}=False {reason}")
    found = condition(obj, type_)
    assert found is not None
    return str(found["message"])


def snapshot_fails(site: Site, environment: str, reason: str) -> str:
    """A Snapshot of that environment fails for the reason; its message."""
    name = site.snapshot(unique("bad"), environmentRef={"name": environment})
    obj = site.failed("Snapshot", name, reason, BOUND)
    found = condition(obj, "Failed")
    assert found is not None
    assert not is_true(obj, "Ready")
    return str(found["message"])


def test_unknown_environment(site: Site) -> None:
    message = snapshot_fails(site, "no-such-environment", "EnvironmentNotFound")
    assert "no-such-environment" in message


def test_unknown_snapshot(site: Site) -> None:
    name = site.rollback(unique("bad"), "no-such-snapshot")
    obj = site.failed("Rollback", name, "SnapshotNotFound", BOUND)
    assert "no-such-snapshot" in str(condition(obj, "Failed"))


def test_store_unreachable(site: Site) -> None:
    store = unique("store")
    site.cluster.apply(
        {
            "apiVersion": GROUP,
            "kind": "SnapshotStore",
            "metadata": {"name": store, "namespace": site.namespace},
            "spec": {
                "s3": {
                    "bucket": site.bucket,
                    "endpoint": f"http://nowhere.{site.namespace}.svc.cluster.local:9",
                    "credentialsSecretRef": {"name": "s3"},
                }
            },
        }
    )
    site.cluster.wait(
        "SnapshotStore",
        store,
        site.namespace,
        lambda o: (condition(o, "Ready") or {}).get("reason") == "StoreUnreachable",
        BOUND,
    )
    environment = second_environment(site, storeRef={"name": store})
    message = snapshot_fails(site, environment, "StoreNotReady")
    assert store in message


def test_wrong_password(site: Site) -> None:
    site.cluster.apply(
        secret(
            "wrong",
            site.namespace,
            host=site.host,
            port="5432",
            dbname=site.database,
            user=site.role,
            password="only-for-tests-wrong",
        )
    )
    environment = second_environment(
        site, filestore=None, database={"secretRef": {"name": "wrong"}, "capacity": "50Gi"}
    )
    message = not_ready(site, environment, "AuthenticationFailed")
    assert "only-for-tests-wrong" not in message
    assert site.role in message
    snapshot_fails(site, environment, "AuthenticationFailed")


def test_missing_secret(site: Site) -> None:
    environment = second_environment(
        site, filestore=None, database={"secretRef": {"name": "no-such-secret"}, "capacity": "50Gi"}
    )
    message = snapshot_fails(site, environment, "PodNotStarted")
    assert "no-such-secret" in message


def test_missing_claim(site: Site) -> None:
    environment = second_environment(
        site, filestore={"claimName": "no-such-claim", "path": site.path, "layout": "Odoo"}
    )
    message = not_ready(site, environment, "ClaimNotFound")
    assert "no-such-claim" in message
    snapshot_fails(site, environment, "ClaimNotFound")


def test_database_does_not_exist(site: Site) -> None:
    site.cluster.apply(
        secret(
            "nodb",
            site.namespace,
            host=site.host,
            port="5432",
            dbname="no_such_database",
            user=site.role,
            password=site.password,
        )
    )
    environment = second_environment(site, filestore=None, database={"secretRef": {"name": "nodb"}, "capacity": "50Gi"})
    assert "no_such_database" in not_ready(site, environment, "DatabaseNotFound")
    snapshot_fails(site, environment, "DatabaseNotFound")


def test_missing_createdb(cluster: Cluster, servers: Servers) -> None:
    with make_site(cluster, servers, createdb=False) as site:
        message = not_ready(site, site.environment, "MissingGrants", type_="RollbackReady")
        assert f"ALTER ROLE {site.role} CREATEDB" in message.replace('"', "")
        snapshot = site.snapshot("before")
        site.completed("Snapshot", snapshot)  # a snapshot needs no CREATEDB
        name = site.rollback("back", snapshot)
        site.failed("Rollback", name, "MissingGrants", BOUND)
        assert site.databases() == [site.database]
        assert site.accepts_connections()


def test_row_19_snapshot_not_complete(site: Site) -> None:
    snapshot = site.snapshot(unique("bad"), environmentRef={"name": "no-such-environment"})
    site.failed("Snapshot", snapshot, "EnvironmentNotFound", BOUND)
    name = site.rollback(unique("bad"), snapshot)
    site.failed("Rollback", name, "SnapshotNotComplete", BOUND)


def test_snapshot_of_another_project(cluster: Cluster, servers: Servers) -> None:
    with make_site(cluster, servers) as site:
        snapshot = site.snapshot("before")
        identity = site.completed("Snapshot", snapshot)["status"]["source"]["environmentId"]
        cluster.delete("Environment", site.environment, site.namespace)
        cluster.wait_gone("Environment", site.environment, site.namespace)
        cluster.apply(site.environment_object(id=identity, projectId="99999999-2222-3333-4444-555555555555"))
        site.environment_ready()
        name = site.rollback("back", snapshot)
        site.failed("Rollback", name, "OtherProject", BOUND)
        assert site.databases() == [site.database]


def test_database_volume_too_full(cluster: Cluster, servers: Servers) -> None:
    database = {"secretRef": {"name": "database"}, "capacity": "1Mi"}
    with make_site(cluster, servers, environment={"database": database}) as site:
        cluster.wait("Environment", site.environment, site.namespace, lambda o: is_true(o, "Ready"), BOUND)
        snapshot = site.snapshot("before")
        site.completed("Snapshot", snapshot)
        name = site.rollback("back", snapshot)
        obj = site.failed("Rollback", name, "InsufficientCapacity", BOUND)
        assert "1Mi" in str(condition(obj, "Failed")) or "1.0 MiB" in str(condition(obj, "Failed"))
        assert site.databases() == [site.database]
        assert site.accepts_connections()


def test_database_capacity_unknown(cluster: Cluster, servers: Servers) -> None:
    with make_site(cluster, servers, environment={"database": {"secretRef": {"name": "database"}}}) as site:
        assert "capacity" in not_ready(site, site.environment, "CapacityUnknown", type_="RollbackReady")
        snapshot = site.snapshot("before")
        site.completed("Snapshot", snapshot)
        name = site.rollback("back", snapshot)
        site.failed("Rollback", name, "CapacityUnknown", BOUND)


def test_name_too_long(site: Site) -> None:
    obj = site.environment_object()
    obj["metadata"]["name"] = "x" * 201
    with pytest.raises(Exception, match="name") as refused:
        site.cluster.apply(obj)
    assert "200" in str(refused.value)


def test_database_name_too_long(cluster: Cluster, servers: Servers, site: Site) -> None:
    name = unique("x" * 50).replace("-", "_")
    role = unique("role").replace("-", "_")
    create_database(servers, site.host, name, role, "only-for-tests-long")
    site.cluster.apply(
        secret(
            "long", site.namespace, host=site.host, port="5432", dbname=name, user=role, password="only-for-tests-long"
        )
    )
    environment = second_environment(
        site, database={"secretRef": {"name": "long"}, "capacity": "50Gi"}, filestore=None, workloads=[]
    )
    assert "49" in not_ready(site, environment, "DatabaseNameTooLong", type_="RollbackReady")


def test_row_11_disk_full_in_mid_dump(cluster: Cluster, servers: Servers) -> None:
    with make_site(cluster, servers, store="Claim", environment={"storeRef": {"name": "small"}}) as site:
        cluster.apply(
            claim("small", site.namespace, size="16Mi", storage_class="sized"),
            {
                "apiVersion": GROUP,
                "kind": "SnapshotStore",
                "metadata": {"name": "small", "namespace": site.namespace},
                "spec": {"claim": {"claimName": "small"}},
            },
        )
        with site.connect() as connection:
            connection.execute(
                "CREATE TABLE ballast AS SELECT g, (SELECT string_agg(md5(random()::text || g || s), '') "
                "FROM generate_series(1, 60) s) AS t FROM generate_series(1, 40000) g"
            )
        cluster.wait("Environment", site.environment, site.namespace, lambda o: is_true(o, "Ready"), BOUND)
        snapshot = site.snapshot("before")
        obj = site.failed("Snapshot", snapshot, "NoSpace", BOUND)
        cluster.wait(
            "Snapshot", snapshot, site.namespace, lambda o: o["status"].get("residue") == "None", 90, "cleaned up"
        )
        assert obj["status"].get("manifestKey") is None
        assert site.accepts_connections()


def test_quota_refuses_the_job(cluster: Cluster, servers: Servers) -> None:
    with make_site(cluster, servers) as site:
        cluster.apply(
            {
                "apiVersion": "v1",
                "kind": "ResourceQuota",
                "metadata": {"name": "no-jobs", "namespace": site.namespace},
                "spec": {"hard": {"count/jobs.batch": "0"}},
            }
        )
        snapshot = site.snapshot("before", timeoutSeconds=30)
        obj = site.failed("Snapshot", snapshot, "JobRefused", BOUND)
        assert "quota" in str(condition(obj, "Failed"))


def test_row_16_image_cannot_be_pulled(cluster: Cluster, servers: Servers, operator: Operator) -> None:
    with make_site(cluster, servers) as site:
        operator.set_env("OCORE_MOVER_IMAGE=localhost/ocore-snapshots/no-such-image:{major}", "OCORE_START_DEADLINE=20")
        try:
            snapshot = site.snapshot("before")
            obj = site.failed("Snapshot", snapshot, "PodNotStarted", BOUND)
            assert "no-such-image" in str(condition(obj, "Failed"))
        finally:
            operator.set_env("OCORE_MOVER_IMAGE-", "OCORE_START_DEADLINE-")
