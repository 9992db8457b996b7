"""A rollback into another environment in another namespace: with a grant, from a store that may only be read, and back."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from support.cluster.cluster import GROUP, Cluster, condition, is_true
from support.cluster.neutralising import acting, neutralising
from support.cluster.promises import holds_all_promises, marker, set_marker
from support.cluster.site import S3_READER_KEY, S3_READER_SECRET, Servers, Site, make_site, secret

from .test_undo import files_fit, load

#: Seconds for which a Snapshot that does not exist, or is not granted, may still appear; and some for the operator.
PATIENCE = 120


@contextmanager
def two_sites(cluster: Cluster, servers: Servers) -> Iterator[tuple[Site, Site]]:
    """A source with a snapshot, and a target in another namespace: other database, other owner, other bucket. It has a second SnapshotStore, for the
    source's bucket, with keys that may only read."""
    with (
        make_site(cluster, servers, environment={"type": "staging"}) as source,
        make_site(cluster, servers, environment={"type": "development"}) as target,
    ):
        source.environment_ready()
        target.environment_ready()
        load(source, 5)
        set_marker(source, 3)
        source.completed("Snapshot", source.snapshot("base", deletionPolicy="Delete"))
        store_to_read(source, target)
        yield source, target


def store_to_read(source: Site, target: Site) -> None:
    """A SnapshotStore `reader` in the target's namespace: the source's bucket, with keys that may only read."""
    s3 = {"bucket": source.bucket, "prefix": "test", "endpoint": source.endpoint}
    target.cluster.apply(
        secret("s3-reader", target.namespace, accessKeyId=S3_READER_KEY, secretAccessKey=S3_READER_SECRET),
        {
            "apiVersion": GROUP,
            "kind": "SnapshotStore",
            "metadata": {"name": "reader", "namespace": target.namespace},
            "spec": {"s3": {**s3, "credentialsSecretRef": {"name": "s3-reader"}}, "access": "ReadOnly"},
        },
    )
    target.cluster.wait("SnapshotStore", "reader", target.namespace, lambda o: is_true(o, "Ready"), 90, "ready")


def grant(source: Site, *namespaces: str, environment_type: str = "staging") -> None:
    """The namespaces may restore from the source's Environment."""
    granted = [{"namespace": n} for n in namespaces]
    source.cluster.apply(source.environment_object(type=environment_type, allowRollbackTo=granted))


def into(source: Site, target: Site, name: str, snapshot: str = "base", **spec: Any) -> str:
    """Creates the Rollback in the target's namespace."""
    return target.rollback(
        name,
        snapshot,
        snapshotRef={"name": snapshot, "namespace": source.namespace},
        targetEnvironmentRef={"name": target.environment},
        **{"sourceStoreRef": {"name": "reader"}, "undoWindowSeconds": 3600, **spec},
    )


def owners(site: Site) -> set[str]:
    return {row[0] for row in site.query("SELECT tableowner FROM pg_tables WHERE schemaname = 'public'")}


def message(obj: dict[str, Any]) -> str:
    return str((condition(obj, "Failed") or {})["message"])


def test_a_granted_namespace_and_no_other(cluster: Cluster, servers: Servers) -> None:
    with two_sites(cluster, servers) as (source, target):
        stores = [cluster.get("SnapshotStore", n, s.namespace) for n, s in (("reader", target), (source.store, source))]
        assert len({s["status"]["storeId"] for s in stores if s is not None}) == 1
        # A tenant without a grant is refused, and is not told what exists.
        grant(source, "another-namespace")
        into(source, target, "stolen")
        into(source, target, "guessed", "no-such-snapshot")
        found = [message(target.failed("Rollback", n, "AccessNotGranted", PATIENCE)) for n in ("stolen", "guessed")]
        assert found[0].replace("base", "X") == found[1].replace("no-such-snapshot", "X")

        grant(source, target.namespace)
        load(target, 6)
        set_marker(target, 1)
        before = target.databases()
        into(source, target, "copy")
        cluster.wait(
            "Rollback", "copy", target.namespace, lambda o: bool(o.get("status", {}).get("startedAt")), 90, "started"
        )
        # The Snapshot is protected, and the source goes on with its snapshots.
        cluster.delete("Snapshot", "base", source.namespace)
        source.snapshot("during")
        used = cluster.wait(
            "Snapshot",
            "base",
            source.namespace,
            lambda o: (condition(o, "Stalled") or {}).get("reason") == "InUse",
            30,
            "in use",
        )
        assert f"{target.namespace}/copy" in (condition(used, "Stalled") or {})["message"]
        source.completed("Snapshot", "during")
        obj = target.completed("Rollback", "copy")
        status = obj["status"]
        assert (status["sourceEnvironmentName"], status["sourceEnvironmentType"]) == (source.environment, "staging")
        assert (status["snapshotNamespace"], status["sourceStoreName"]) == (source.namespace, "reader")
        assert marker(target) == marker(source) == 3
        files_fit(target)
        files_fit(source)
        assert owners(target) == {target.role}
        assert target.databases() == sorted([*before, status["previousDatabase"]])
        assert source.databases() == [source.database]
        cluster.wait_gone("Snapshot", "base", source.namespace, 120)

        # By the target it is known: it does not run twice, though its snapshot is gone.
        cluster.delete("Rollback", "copy", target.namespace)
        cluster.wait_gone("Rollback", "copy", target.namespace, 120)
        set_marker(target, 8)
        into(source, target, "copy")
        again = target.completed("Rollback", "copy")
        assert (condition(again, "Complete") or {})["reason"] == "AlreadyExecuted"
        assert marker(target) == 8
        holds_all_promises(source)


def test_there_and_back(cluster: Cluster, servers: Servers) -> None:
    with two_sites(cluster, servers) as (source, target):
        grant(source, target.namespace)
        load(target, 6)
        set_marker(target, 1)
        into(source, target, "copy")
        target.completed("Rollback", "copy")
        assert marker(target) == 3
        # The target's own snapshots go to its own store.
        target.completed("Snapshot", target.snapshot("of-copy"))
        target.completed("Rollback", target.undo("undo", "copy", undoWindowSeconds=3600))
        assert marker(target) == 1
        files_fit(target)
        target.completed("Rollback", target.undo("again", "undo", undoWindowSeconds=3600))
        assert marker(target) == 3
        files_fit(target)


def test_a_target_without_a_database_gets_one(cluster: Cluster, servers: Servers) -> None:
    with two_sites(cluster, servers) as (source, target):
        grant(source, target.namespace)
        with servers.admin(target.host) as connection:
            connection.execute(f'DROP DATABASE "{target.database}" WITH (FORCE)'.encode())
        into(source, target, "first")
        obj = target.completed("Rollback", "first", 240)
        assert obj["status"]["liveMissing"] is True
        assert target.databases() == [target.database]
        assert owners(target) == {target.role}
        assert marker(target) == 3
        files_fit(target)


def identity(site: Site) -> dict[str, str]:
    keys = ["database.uuid", "database.secret", "web.base.url"]
    return dict(site.query("SELECT key, value FROM ir_config_parameter WHERE key = ANY(%s)", [keys]))


def test_production_leaves_production_only_neutralised(cluster: Cluster, servers: Servers) -> None:
    """Refused where nothing can neutralise it; else the copy is neutralised and has its own identity, and the source is as it was."""
    with two_sites(cluster, servers) as (source, target):
        source.cluster.apply(source.environment_object(allowRollbackTo=[{"namespace": target.namespace}]))
        source.environment_ready()
        source.completed("Snapshot", source.snapshot("real"))
        before = identity(source)
        began = time.monotonic()
        obj = target.failed("Rollback", into(source, target, "leak", "real"), "CannotNeutralize")
        assert time.monotonic() - began < 60
        assert target.databases() == [target.database]
        assert obj["status"].get("startedAt") is None
        with neutralising(target, baseUrl="https://copy.example.org"):
            obj = target.completed("Rollback", into(source, target, "copy", "real"), 240)
        assert obj["status"]["neutralize"]["ownIdentity"] is True
        assert marker(target) == 3
        assert acting(target) == []
        files_fit(target)
        assert identity(source) == before
        assert acting(source) == ["jobs", "mail", "payments"]
        copied = identity(target)
        assert copied["web.base.url"] == "https://copy.example.org"
        assert copied["database.uuid"] != before["database.uuid"]
        assert copied.get("database.secret") != before.get("database.secret", "")
        # A snapshot of the copy says that it is neutralised.
        taken = target.completed("Snapshot", target.snapshot("of-the-copy"))
        assert taken["status"]["neutralized"] is True
