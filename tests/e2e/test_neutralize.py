"""Neutralising on a real cluster: by scripts, by the application's image behind rules that the test sets, and what is
refused."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import sql

from support.cluster.administrator import create_administrator
from support.cluster.cluster import Object, condition, unique, wait_for
from support.cluster.neutralising import ALWAYS, acting, change, config_map, is_neutralised, neutralising
from support.cluster.node import PodNetwork
from support.cluster.promises import fresh, holds_all_promises, marker, set_marker
from support.cluster.site import DEMO_IMAGE, Site, Sites

ALL = ["jobs", "mail", "payments"]


def proven(obj: Object) -> str:
    return " ".join(obj["status"]["evidence"]["proven"])


def as_it_was(site: Site, value: int) -> None:
    """The live database is the one from before, and no copy is left."""
    assert marker(site) == value
    assert acting(site) == ALL
    wait_for("the copy is removed", lambda: site.databases() == [site.database], 60)


def test_auto_where_the_environment_is_production_no_more(site: Site) -> None:
    """The snapshot is of production, which is not neutralised by accident. Without anything that could neutralise it,
    nothing is restored."""
    set_marker(site, 1)
    before = site.query("SELECT value FROM ir_config_parameter WHERE key = 'database.uuid'")
    with neutralising(site):
        site.failed(
            "Rollback", site.rollback(fresh("by-accident"), "base", neutralize="Always"), "NeutralizesProduction"
        )
    change(site, None, type="staging")
    try:
        site.failed("Rollback", site.rollback(fresh("nothing-can"), "base"), "CannotNeutralize")
        assert marker(site) == 1
        with neutralising(site):
            obj = site.completed("Rollback", site.rollback(fresh("auto"), "base", undoWindowSeconds=0))
    finally:
        change(site, None, type="production")
    assert acting(site) == []
    assert marker(site) == 0
    assert site.query("SELECT value FROM ir_config_parameter WHERE key = 'database.uuid'") == before
    status = obj["status"]
    assert "public.ir_mail_server" in proven(obj)
    assert (status["neutralize"]["required"], status["neutralize"]["ownIdentity"]) == (True, False)
    evidence = status["recoveryEvidence"]
    assert "Neutralize" in evidence["requiredSteps"]
    assert evidence["canWriteCleanSuccess"], evidence["whyNotGreen"]
    # A snapshot of it says so, and is kept out of production.
    neutral = site.snapshot(fresh("neutral"))
    taken = site.completed("Snapshot", neutral)
    assert taken["status"]["neutralized"] is True
    site.failed("Rollback", site.rollback(fresh("into-production"), neutral), "NeutralizedSnapshot")
    is_neutralised(site)
    holds_all_promises(site)


def test_a_failure_leaves_the_target_as_it_was(site: Site) -> None:
    """An assertion that does not hold. Other failures of the command: tests/unit/mover/commands/test_neutralize.py."""
    set_marker(site, 3)
    own = config_map(site, "own", check="SELECT key FROM ir_config_parameter WHERE key = 'database.uuid'")
    with neutralising(site, assertions={"configMapRef": {"name": own}}):
        site.failed("Rollback", site.rollback(fresh("assertion"), "base", **ALWAYS), "AssertionFailed")
        as_it_was(site, 3)
    holds_all_promises(site)


# --- by the application's image --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def with_image(sites: Sites) -> Iterator[Site]:
    """Within the module's tests the Environment has an administrator, and the demo application's own command
    neutralises."""
    site, admin = sites.of(), unique("admin").replace("-", "_")
    assert (condition(site.environment_ready(), "RollbackReady") or {})["reason"] == "HiddenOnly"
    create_administrator(site, admin)
    command = ["python3", "-m", "demo_app", "neutralize"]
    by_image = {"command": command, "image": DEMO_IMAGE, "testListeners": [node_listener(site)]}
    try:
        change(site, by_image, database={"adminSecretRef": {"name": "admin"}})
        assert (condition(site.environment_ready(), "RollbackReady") or {})["reason"] == "Succeeded"
        yield site
    finally:
        change(site, None, database={"adminSecretRef": None})
    with site.servers.admin(site.host) as connection:
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(admin)))


def node_listener(site: Site) -> str:
    """The API server at the node's own address: outside of the networks of pods and services."""
    (endpoints,) = [e for e in site.cluster.objects("Endpoints", "default") if e["metadata"]["name"] == "kubernetes"]
    subset = endpoints["subsets"][0]
    return f"{subset['addresses'][0]['ip']}:{subset['ports'][0]['port']}"


@contextmanager
def isolated(site: Site) -> Iterator[list[str]]:
    """Each pod that neutralises reaches PostgreSQL and names only, as a NetworkPolicy does it. Yields the names of
    these pods."""
    address = socket.gethostbyname(site.host)
    stop, found = threading.Event(), list[str]()

    def watch() -> None:
        while not stop.is_set():
            for pod in site.cluster.pods(site.namespace, "ocore.dev/command=neutralize"):
                name = pod["metadata"]["name"]
                if name in found or not pod.get("status", {}).get("podIP"):
                    continue
                try:
                    PodNetwork(pod, address).allow_only(5432)
                except (AssertionError, ValueError):
                    continue  # its sandbox does not run yet, or no longer
                found.append(name)
            stop.wait(0.3)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join()


def test_isolation_that_is_not_enforced_is_refused(with_image: Site) -> None:
    """The local cluster enforces no NetworkPolicy: the pod reaches the API server."""
    site = with_image
    set_marker(site, 4)
    obj = site.failed("Rollback", site.rollback(fresh("open"), "base", **ALWAYS), "IsolationUnproven", 240)
    assert "443" in obj["status"]["failureMessage"]
    as_it_was(site, 4)
    holds_all_promises(site)


def test_isolated_by_rules(with_image: Site) -> None:
    site = with_image
    set_marker(site, 6)
    with isolated(site) as pods:
        obj = site.completed("Rollback", site.rollback(fresh("isolated"), "base", undoWindowSeconds=0, **ALWAYS), 240)
    assert pods
    assert "isolation: the pod could not reach" in proven(obj)
    assert "the command of the application's image ended with exit code 0" in proven(obj)
    is_neutralised(site)
    no_role_is_left(site, obj["status"]["id"][:8])
    holds_all_promises(site)


def test_row_29_with_an_administrator_the_copy_is_closed(with_image: Site) -> None:
    """While it is loaded, and while the application's command neutralises it: no role of the application can connect,
    not the application's own either. After the switchover the live database has its owner again. The isolation of that
    command is best effort."""
    site = with_image
    set_marker(site, 15)
    failpoints = {"ocore.dev/failpoints": "restore-database-loaded=sleep:20,neutralize-opened=sleep:15"}
    name = site.rollback(
        fresh("closed"), "base", undoWindowSeconds=0, isolation="BestEffort", annotations=failpoints, **ALWAYS
    )
    wait_for("a copy", lambda: len(site.databases()) == 2, 120)
    (copy,) = set(site.databases()) - {site.database}
    wait_for("the copy is open for the load", lambda: allows_connections(site, copy), 60)
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        site.connect(copy).close()

    def stage() -> bool:
        obj = site.cluster.get("Rollback", name, site.namespace)
        return obj is not None and obj["status"].get("stage") == "Neutralize"

    wait_for("the stage Neutralize", stage, 120)
    tried = 0
    while stage():
        with pytest.raises(psycopg.OperationalError):
            site.connect(copy).close()
        tried += 1
    assert tried
    obj = site.completed("Rollback", name, 240)
    assert any("IsolationUnproven" in w for w in obj["status"]["evidence"]["warnings"])
    assert marker(site) == 0
    is_neutralised(site)
    with site.servers.admin(site.host) as connection:
        query = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s"
        assert connection.execute(query, [site.database]).fetchone() == (site.role,)
    holds_all_promises(site)
    no_role_is_left(site, copy.rpartition("_")[2])


def allows_connections(site: Site, database: str) -> bool:
    """Whether a database accepts connections of those who have the right."""
    with site.servers.admin(site.host) as connection:
        row = connection.execute("SELECT datallowconn FROM pg_database WHERE datname = %s", [database]).fetchone()
    return bool(row and row[0])


def no_role_is_left(site: Site, short: str) -> None:
    """By the id of the rollback: others, and proofs, have roles of their own."""
    with site.servers.admin(site.host) as connection:
        found = connection.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE %s", [f"ocore_rb_{short}_%"])
        assert found.fetchall() == []
