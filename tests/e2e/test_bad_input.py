"""Bad input: a terminal state in bounded time, a message that says what to do, and nothing lost."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from support.cluster.cluster import GROUP, Cluster, Object, condition, is_true, unique, wait_for
from support.cluster.deaths import Deaths
from support.cluster.facade import Facade
from support.cluster.failpoints import armed, at_failpoint, running_pod
from support.cluster.operator import Operator
from support.cluster.site import Servers, Site, claim, create_database, secret

#: From the object's creation to its terminal state, in seconds, where nothing but bad input is in the way.
BOUND = 150


@pytest.fixture
def other(site: Site) -> Iterator[Callable[..., str]]:
    """Makes another Environment of the same namespace and returns its name. They are gone after the test: one that is
    not ready is probed often."""
    made: list[str] = []

    def make(**changes: object) -> str:
        made.append(unique("other"))
        obj = site.environment_object(**changes)
        obj["metadata"]["name"] = made[-1]
        site.cluster.apply(obj)
        return made[-1]

    yield make
    for name in made:
        site.cluster.delete("Environment", name, site.namespace)


@contextmanager
def changed(site: Site, **changes: object) -> Iterator[None]:
    """Within the block the site's own Environment is changed; afterwards it is as it was, and ready."""
    site.cluster.apply(site.environment_object(**changes))
    try:
        yield
    finally:
        site.cluster.apply(site.environment_object())
    site.environment_ready()


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


def test_unknown_snapshot(site: Site) -> None:
    name = site.rollback(unique("bad"), "no-such-snapshot")
    obj = site.failed("Rollback", name, "SnapshotNotFound", BOUND)
    assert "no-such-snapshot" in str(condition(obj, "Failed"))


def test_store_unreachable(site: Site, other: Callable[..., str]) -> None:
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
    environment = other(storeRef={"name": store})
    message = snapshot_fails(site, environment, "StoreNotReady")
    assert store in message
    site.cluster.delete("SnapshotStore", store, site.namespace)


def test_a_wrong_password_is_stalled(site: Site, other: Callable[..., str]) -> None:
    """For kstatus it was InProgress without an end."""
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
    environment = other(filestore=None, database={"secretRef": {"name": "wrong"}, "capacity": "50Gi"})
    message = not_ready(site, environment, "AuthenticationFailed")
    assert "only-for-tests-wrong" not in message
    assert site.role in message
    found = site.cluster.get("Environment", environment, site.namespace)
    assert found is not None
    stalled = condition(found, "Stalled") or {}
    assert (stalled["status"], stalled["reason"]) == ("True", "AuthenticationFailed")
    assert condition(found, "Reconciling") is None
    snapshot_fails(site, environment, "AuthenticationFailed")


def test_missing_secret(site: Site, other: Callable[..., str]) -> None:
    environment = other(filestore=None, database={"secretRef": {"name": "no-such-secret"}, "capacity": "50Gi"})
    message = snapshot_fails(site, environment, "PodNotStarted")
    assert "no-such-secret" in message


def test_missing_claim(site: Site, other: Callable[..., str]) -> None:
    environment = other(filestore={"claimName": "no-such-claim", "path": site.path, "layout": "Odoo"})
    message = not_ready(site, environment, "ClaimNotFound")
    assert "no-such-claim" in message
    snapshot_fails(site, environment, "ClaimNotFound")


def own_database(servers: Servers, site: Site, name: str) -> Object:
    """A database of that name on the site's server, and a Secret for it: `spec.database` of an Environment. Two
    Environments may not share one."""
    role, password = unique("role").replace("-", "_"), unique("only-for-tests")
    create_database(servers, site.host, name, role, password)
    keys = {**site.credentials, "dbname": name, "user": role, "password": password}
    site.cluster.apply(secret(name.replace("_", "-"), site.namespace, host=site.host, **keys))
    return {"secretRef": {"name": name.replace("_", "-")}, "capacity": "50Gi"}


def test_name_too_long(site: Site) -> None:
    obj = site.environment_object()
    obj["metadata"]["name"] = "x" * 201
    with pytest.raises(Exception, match="name") as refused:
        site.cluster.apply(obj)
    assert "200" in str(refused.value)


def test_row_11_disk_full_in_mid_dump(cluster: Cluster, site: Site) -> None:
    cluster.apply(
        claim("small", site.namespace, size="16Mi", storage_class="sized"),
        {
            "apiVersion": GROUP,
            "kind": "SnapshotStore",
            "metadata": {"name": "small", "namespace": site.namespace},
            "spec": {"claim": {"claimName": "small"}},
        },
    )
    site.ballast("ballast", 40_000)
    with changed(site, storeRef={"name": "small"}):
        site.environment_ready()
        snapshot = site.snapshot(unique("before"))
        obj = site.failed("Snapshot", snapshot, "NoSpace", BOUND)
        cluster.wait(
            "Snapshot", snapshot, site.namespace, lambda o: o["status"].get("residue") == "None", 90, "cleaned up"
        )
        assert obj["status"].get("manifestKey") is None
        assert site.accepts_connections()
        with site.connect() as connection:
            connection.execute("DROP TABLE ballast")
        site.gone("Snapshot", snapshot)
    cluster.delete("SnapshotStore", "small", site.namespace)


#: Processes that together have more memory than the container may use; each has less than the mover, so that the kernel
#: kills the mover first.
BALLOON = """
import os, time
for _ in range(40):
    if os.fork() == 0:
        held = bytearray(b"x") * (12 << 20)
        time.sleep(60)
time.sleep(60)
"""


def limited(servers: Servers, site: Site, other: Callable[..., str], memory: str) -> tuple[str, str]:
    """An Environment of a database alone whose Jobs have a limit of memory. Returns its name and the database."""
    database = unique("oom").replace("-", "_")
    resources = {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": memory}}
    spec: Object = {"database": own_database(servers, site, database), "filestore": None, "workloads": []}
    return other(**spec, jobs={"resources": resources}), database


def twice_out_of_memory(site: Site, name: str, deaths: Deaths) -> str:
    """The Snapshot fails after its second attempt, and the kernel has killed a process in both. Returns the message."""
    obj = site.failed("Snapshot", name, "OutOfMemory", BOUND)
    assert obj["status"]["attempt"] == 2
    deaths.out_of_memory(obj, 2)
    assert obj["status"].get("manifestKey") is None
    message = str((condition(obj, "Failed") or {})["message"])
    assert "increase spec.jobs.resources.limits.memory of the environment" in message.lower()
    return message


def test_row_74_a_mover_and_then_its_pg_dump_run_out_of_memory(
    servers: Servers, site: Site, other: Callable[..., str]
) -> None:
    """At the container's limit the kernel kills the Job's own process in the first attempt, and pg_dump in the second
    one: it has the one row of 200 MB in memory more than once, and the mover does not."""
    environment, database = limited(servers, site, other, "256Mi")
    with servers.admin(site.host, database) as connection:
        row = connection.execute(
            "SELECT quote_ident(pg_get_userbyid(datdba)) FROM pg_database WHERE datname = current_database()"
        ).fetchone()
        assert row is not None
        connection.execute(f"SET ROLE {row[0]}".encode())
        connection.execute("CREATE TABLE wide AS SELECT repeat('x', 200000000) AS text")
    with Deaths(site.cluster, site.namespace) as deaths:
        name = site.snapshot(
            unique("oom"), environmentRef={"name": environment}, annotations=armed("snapshot-start=sleep:60@1")
        )
        pod = running_pod(site, "Snapshot", name, "snapshot")
        at_failpoint(site, pod, "snapshot-start")
        site.cluster.exec_in(site.namespace, pod["metadata"]["name"], "python3", "-c", BALLOON)
        message = twice_out_of_memory(site, name, deaths)
        # Where the kernel kills all processes of a container together (cgroup v2), the mover cannot say which of them
        # had too much.
        assert "a process of it ran out of memory" in message or "(OOMKilled)" in message


def test_row_16_image_cannot_be_pulled(cluster: Cluster, site: Site, operator: Operator) -> None:
    """And row 101: the Job that deletes what the Snapshot left was created with that image, too, and gives way to
    another one when the operator has the right one again."""
    facade, soon = Facade(cluster).values(), ("--set", "settings.startDeadline=20")
    image = "mover.image=ocore-snapshots/no-such-image:{major}"  # with it the policy on the operator's Jobs
    operator.install(*facade, "--set", image, *soon)
    try:
        name = site.snapshot(unique("before"))
        obj = site.failed("Snapshot", name, "PodNotStarted", BOUND)
        assert "no-such-image" in str(condition(obj, "Failed"))
        deletes = f"ocore.dev/uid={obj['metadata']['uid']},ocore.dev/command=delete"
        wait_for("a Job that deletes", lambda: cluster.objects("Job", site.namespace, deletes), BOUND)
        operator.install(*facade, *soon)
        site.cluster.wait(
            "Snapshot", name, site.namespace, lambda o: o["status"]["residue"] == "None", BOUND, "left nothing"
        )
    finally:
        operator.install(*facade)
    site.environment_ready()
