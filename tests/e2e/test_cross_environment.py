"""A rollback into another environment in another namespace: with a grant, from a store that may only be read, and
back."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from support.api.clients import Clients
from support.cluster.cluster import Cluster, condition, wait_for
from support.cluster.facade import Facade
from support.cluster.neutralising import acting, neutralising
from support.cluster.other_namespace import grant, into, store_to_read
from support.cluster.promises import fresh, holds_all_promises, marker, set_marker, snapshot_keys
from support.cluster.site import PROJECT, Servers, Site, make_site

#: Seconds for which a Snapshot that does not exist, or is not granted, may still appear; and some for the operator.
PATIENCE = 120
ANN = "ann@example.org"
#: Steps of a snapshot that read the environment.
WORK = frozenset({"DumpDatabase", "CopyFilestore"})


@pytest.fixture(scope="module")
def two_sites(cluster: Cluster, servers: Servers) -> Iterator[tuple[Site, Site]]:
    """A source with some data, and a target in another namespace: other database, other owner, other bucket. It has a
    second SnapshotStore, for the source's bucket, with keys that may only read."""
    with (
        make_site(cluster, servers, environment={"type": "staging"}) as source,
        make_site(cluster, servers, environment={"type": "development"}) as target,
    ):
        source.environment_ready()
        target.environment_ready()
        source.load(5)
        store_to_read(source, target)
        yield source, target


def taken(source: Site) -> str:
    """A new snapshot of the source, with the marker 3."""
    set_marker(source, 3)
    name = source.snapshot(fresh("base"), deletionPolicy="Delete")
    source.completed("Snapshot", name)
    return name


@contextmanager
def held_at_work(site: Site, known: set[str]) -> Iterator[None]:
    """Within the block a Snapshot that is not among the known ones waits for a table, until its status shows one of
    WORK: on a fast machine a small snapshot ends between two figures."""

    def shown() -> bool:
        new = [o for o in site.cluster.objects("Snapshot", site.namespace) if o["metadata"]["name"] not in known]
        return any(((o.get("status") or {}).get("progress") or {}).get("step") in WORK for o in new)

    with site.connect() as connection, ThreadPoolExecutor(1) as pool:
        connection.execute("BEGIN; LOCK sale_order IN ACCESS EXCLUSIVE MODE")

        def release() -> None:
            try:
                wait_for("a snapshot that waits", shown, 120, interval=0.5)
            finally:
                connection.execute("ROLLBACK")

        released = pool.submit(release)
        yield
        released.result(timeout=150)


def owners(site: Site) -> set[str]:
    return {row[0] for row in site.query("SELECT tableowner FROM pg_tables WHERE schemaname = 'public'")}


def message(obj: dict[str, Any]) -> str:
    return str((condition(obj, "Failed") or {})["message"])


@pytest.mark.timeout(900)
def test_a_granted_namespace_and_no_other(cluster: Cluster, servers: Servers, two_sites: tuple[Site, Site]) -> None:
    source, target = two_sites
    stores = [cluster.get("SnapshotStore", n, s.namespace) for n, s in (("reader", target), (source.store, source))]
    assert len({s["status"]["storeId"] for s in stores if s is not None}) == 1
    # A tenant without a grant is refused, and does not learn what exists.
    grant(source, "another-namespace")
    base = taken(source)
    copy, during, undo, again = (fresh(name) for name in ("copy", "during", "undo", "again"))
    asked = [into(source, target, fresh("stolen"), base), into(source, target, fresh("guessed"), "no-such-snapshot")]
    found = [message(target.failed("Rollback", name, "AccessNotGranted", PATIENCE)) for name in asked]
    assert found[0].replace(base, "X") == found[1].replace("no-such-snapshot", "X")

    grant(source, target.namespace)
    target.load(6)
    set_marker(target, 1)
    before = target.databases()
    into(source, target, copy, base)
    cluster.wait(
        "Rollback", copy, target.namespace, lambda o: bool(o.get("status", {}).get("startedAt")), 90, "started"
    )
    # The Snapshot is protected, and the source continues with its snapshots.
    cluster.delete("Snapshot", base, source.namespace)
    source.snapshot(during)
    used = cluster.wait(
        "Snapshot",
        base,
        source.namespace,
        lambda o: (condition(o, "Stalled") or {}).get("reason") == "InUse",
        30,
        "in use",
    )
    assert f"{target.namespace}/{copy}" in (condition(used, "Stalled") or {})["message"]
    source.completed("Snapshot", during)
    obj = target.completed("Rollback", copy)
    status = obj["status"]
    assert (status["sourceEnvironmentName"], status["sourceEnvironmentType"]) == (source.environment, "staging")
    assert (status["snapshotNamespace"], status["sourceStoreName"]) == (source.namespace, "reader")
    assert marker(target) == marker(source) == 3
    target.files_fit()
    source.files_fit()
    assert owners(target) == {target.role}
    assert target.databases() == sorted([*before, status["previousDatabase"]])
    assert source.databases() == [source.database]
    cluster.wait_gone("Snapshot", base, source.namespace, 120)

    # There and back, and forth again. The target's own snapshots go to its own store.
    target.completed("Snapshot", target.snapshot(fresh("of-copy")))
    target.completed("Rollback", target.undo(undo, copy, undoWindowSeconds=3600))
    assert marker(target) == 1
    target.files_fit()
    target.completed("Rollback", target.undo(again, undo, undoWindowSeconds=3600))
    assert marker(target) == 3
    target.files_fit()
    target.gone("Rollback", again, undo, copy)

    # By the target it is known: it does not run twice, though its snapshot is gone.
    set_marker(target, 8)
    into(source, target, copy, base)
    executed = target.completed("Rollback", copy)
    assert (condition(executed, "Complete") or {})["reason"] == "AlreadyExecuted"
    assert marker(target) == 8
    target.gone("Rollback", copy)
    holds_all_promises(source)


def identity(site: Site) -> dict[str, str]:
    keys = ["database.uuid", "database.secret", "web.base.url"]
    return dict(site.query("SELECT key, value FROM ir_config_parameter WHERE key = ANY(%s)", [keys]))


def test_production_leaves_production_only_neutralised(
    cluster: Cluster, servers: Servers, two_sites: tuple[Site, Site]
) -> None:
    """Refused where nothing can neutralise it; else the copy is neutralised and has its own identity, and the source is
    as it was. A target without a database gets one."""
    source, target = two_sites
    source.cluster.apply(source.environment_object(allowRollbackTo=[{"namespace": target.namespace}]))
    source.environment_ready()
    real = taken(source)
    set_marker(target, 7)
    before, databases = identity(source), target.databases()
    began = time.monotonic()
    obj = target.failed("Rollback", into(source, target, fresh("leak"), real), "CannotNeutralize")
    assert time.monotonic() - began < 60
    assert (target.databases(), marker(target)) == (databases, 7)
    assert obj["status"].get("startedAt") is None
    with neutralising(target, baseUrl="https://copy.example.org"):
        with servers.admin(target.host) as connection:
            connection.execute(f'DROP DATABASE "{target.database}" WITH (FORCE)'.encode())
        copy = into(source, target, fresh("copy"), real)
        obj = target.completed("Rollback", copy, 240)
    assert obj["status"]["liveMissing"] is True
    assert target.databases() == [target.database]
    assert owners(target) == {target.role}
    assert obj["status"]["neutralize"]["ownIdentity"] is True
    assert marker(target) == 3
    assert acting(target) == []
    target.files_fit()
    assert identity(source) == before
    assert acting(source) == ["jobs", "mail", "payments"]
    copied = identity(target)
    assert copied["web.base.url"] == "https://copy.example.org"
    assert copied["database.uuid"] != before["database.uuid"]
    assert copied.get("database.secret") != before.get("database.secret", "")
    # A snapshot of the copy says that it is neutralised.
    of_the_copy = target.completed("Snapshot", target.snapshot(fresh("of-the-copy")))
    assert of_the_copy["status"]["neutralized"] is True
    target.gone("Rollback", copy)


# In `make test` the generated client has a simulated operator (tests/unit/api/clients/test_generated_client.py). The
# real one has other clients: the demo's curl, the page, test_rest_api.py.
@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_story_with_a_generated_client(
    cluster: Cluster, facade: Facade, clients: Clients, two_sites: tuple[Site, Site]
) -> None:
    """The REST API with a client that is generated from docs/openapi.json: a snapshot, a rollback in place, and one
    into the other environment of the project."""
    source, target = two_sites
    grant(source, target.namespace)
    source.environment_ready()
    here, there = source.environment_id, target.environment_id
    token = facade.token(ANN, projects=(PROJECT,))

    def story(*arguments: str) -> Any:
        return json.loads(clients.run("story", *arguments, api=facade.url, token=token, timeout=240))

    source.load("story")
    set_marker(source, 3)
    before = {o["metadata"]["name"] for o in cluster.objects("Snapshot", source.namespace)}
    keys = snapshot_keys(source)
    with held_at_work(source, before):
        taken = story("snapshot", here, PROJECT)
    # The repeated Idempotency-Key made no second one.
    (snapshot,) = (o for o in cluster.objects("Snapshot", source.namespace) if o["metadata"]["name"] not in before)
    assert (snapshot["status"]["id"], snapshot["spec"]["requestedBy"]) == (taken["snapshotId"], ANN)
    assert (snapshot["spec"]["retention"], snapshot["spec"]["trigger"]) == ("Policy", "Manual")
    assert {e["step"] for e in taken["events"]} & WORK, taken["events"]
    assert taken["size"]["dbSizeBytes"] > 1_000_000
    row, status = taken["row"], snapshot["status"]
    assert row["totalSizeBytes"] == status["sizes"]["storedBytes"]
    assert row["recoveryEvidence"] == status["recoveryEvidence"]
    assert None not in (row["dbDumpPath"], row["filestorePath"], row["configPath"])
    policy = cluster.get("SnapshotPolicy", source.environment, source.namespace)
    assert policy is not None
    assert policy["spec"]["failurePolicy"] == "Continue"

    # In place.
    set_marker(source, 1)
    back = story("rollback", here, taken["snapshotId"])
    assert marker(source) == 3
    source.files_fit()
    assert back["log"]["performedBy"] == ANN
    assert len({e["step"] for e in back["events"]}) > 2, back["events"]

    # Into another environment, in another namespace.
    set_marker(target, 7)
    across = story("rollback", here, taken["snapshotId"], there)
    assert marker(target) == marker(source) == 3
    target.files_fit()
    assert across["log"]["environmentId"] == there
    with facade.client(ANN, projects=(PROJECT,)) as client:
        details = client.get(f"/api/environments/{here}/snapshots/{taken['snapshotId']}").json()
        assert [log["id"] for log in details["rollbackLogs"]] == [across["deploymentId"], back["deploymentId"]]
    with facade.client("bob", environments=(here,)) as client:  # sees the source, and nothing of the target
        details = client.get(f"/api/environments/{here}/snapshots/{taken['snapshotId']}").json()
        assert [log["id"] for log in details["rollbackLogs"]] == [back["deploymentId"]]
        refused = client.post(
            f"/api/environments/{here}/rollback",
            json={"snapshotId": taken["snapshotId"], "targetEnvironmentId": there},
        )
        assert refused.status_code == 404

    # The data leaves the store with the Snapshot.
    assert snapshot_keys(source) > keys
    story("delete", here, taken["snapshotId"])
    cluster.wait_gone("Snapshot", snapshot["metadata"]["name"], source.namespace, 120)
    assert snapshot_keys(source) == keys
    cluster.delete("SnapshotPolicy", source.environment, source.namespace)
