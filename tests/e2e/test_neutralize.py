"""Neutralising on a real cluster: by scripts, by the application's image behind rules that the test sets, and what is
refused."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from support.cluster.administrator import create_administrator
from support.cluster.cluster import Cluster, Object, is_true, wait_for
from support.cluster.neutralising import ALWAYS, acting, change, config_map, is_neutralised, neutralising
from support.cluster.node import PodNetwork
from support.cluster.promises import fresh, holds_all_promises, marker, set_marker
from support.cluster.site import DEMO_IMAGE, Servers, Site, make_site

ALL = ["jobs", "mail", "payments"]


def proven(obj: Object) -> str:
    return " ".join(obj["status"]["evidence"]["proven"])


def as_it_was(site: Site, value: int) -> None:
    """The live database is the one from before, and no copy is left."""
    assert marker(site) == value
    assert acting(site) == ALL
    wait_for("the copy is removed", lambda: site.databases() == [site.database], 60)


def test_always_in_place_by_scripts(site: Site) -> None:
    set_marker(site, 1)
    before = site.query("SELECT value FROM ir_config_parameter WHERE key = 'database.uuid'")
    with neutralising(site):
        # Production is not neutralised by accident.
        site.failed(
            "Rollback", site.rollback(fresh("by-accident"), "base", neutralize="Always"), "NeutralizesProduction"
        )
        obj = site.completed("Rollback", site.rollback(fresh("always"), "base", undoWindowSeconds=0, **ALWAYS))
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
    site.completed(
        "Rollback", site.rollback(fresh("wanted"), neutral, undoWindowSeconds=0, allowNeutralizedProduction=True)
    )
    is_neutralised(site)
    holds_all_promises(site)


def test_auto_where_the_environment_is_production_no_more(site: Site) -> None:
    """The snapshot is of production. Without anything that could neutralise it, nothing is restored."""
    set_marker(site, 2)
    change(site, None, type="staging")
    try:
        site.failed("Rollback", site.rollback(fresh("nothing-can"), "base"), "CannotNeutralize")
        with neutralising(site):
            site.completed("Rollback", site.rollback(fresh("auto"), "base", undoWindowSeconds=0))
        is_neutralised(site)
        obj = site.completed("Rollback", site.rollback(fresh("never"), "base", undoWindowSeconds=0, neutralize="Never"))
        assert is_true(obj, "PreflightWarnings")
        assert acting(site) == ALL
    finally:
        change(site, None, type="production")
    holds_all_promises(site)


@pytest.mark.parametrize("case", ["assertion", "built-in", "script", "no such ConfigMap"])
def test_a_failure_leaves_the_target_as_it_was(site: Site, case: str) -> None:
    set_marker(site, 3)
    own = config_map(site, "own", check="SELECT key FROM ir_config_parameter WHERE key = 'database.uuid'")
    more: Object = {"assertions": {"configMapRef": {"name": own}}} if case == "assertion" else {}
    with neutralising(site, **more):
        if case == "built-in":
            config_map(site, "neutralise", a="UPDATE ir_mail_server SET active = false")
        if case == "script":
            config_map(site, "neutralise", a="UPDATE no_such_table SET a = 1")
        if case == "no such ConfigMap":
            change(site, {"sql": {"configMapRef": {"name": "no-such-map"}}})
        reasons = {"script": "NeutralizeFailed", "no such ConfigMap": "PodNotStarted"}
        name = fresh(f"fails-{case.replace(' ', '-').lower()}")
        site.failed("Rollback", site.rollback(name, "base", **ALWAYS), reasons.get(case, "AssertionFailed"))
    as_it_was(site, 3)
    holds_all_promises(site)


# --- by the application's image
# ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def with_image(cluster: Cluster, servers: Servers) -> Iterator[Site]:
    """The Environment has an administrator, and the demo application's own command neutralises: none of the shared
    sites."""
    with make_site(cluster, servers) as site:
        site.completed("Snapshot", site.snapshot("base"))
        create_administrator(site, f"{site.role}_neutral")
        database = {"adminSecretRef": {"name": "admin"}}
        command = ["python3", "-m", "demo_app", "neutralize"]
        listeners = [node_listener(site)]
        change(site, {"command": command, "image": DEMO_IMAGE, "testListeners": listeners}, database=database)
        yield site
    with servers.admin(site.host) as connection:
        connection.execute(f'DROP ROLE "{site.role}_neutral"')


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


def test_best_effort(with_image: Site) -> None:
    site = with_image
    set_marker(site, 5)
    name = site.rollback(fresh("best-effort"), "base", undoWindowSeconds=0, isolation="BestEffort", **ALWAYS)
    obj = site.completed("Rollback", name, 240)
    assert any("IsolationUnproven" in w for w in obj["status"]["evidence"]["warnings"])
    is_neutralised(site)
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
    with site.servers.admin(site.host) as connection:
        left = connection.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'ocore_rb_%'").fetchall()
    assert not [row for row in left if obj["status"]["id"][:8] in str(row[0])]
    holds_all_promises(site)


def test_the_copy_is_closed_while_the_command_runs(with_image: Site) -> None:
    """No role of the application can connect to it: not the application's own either."""
    site = with_image
    set_marker(site, 7)
    failpoints = {"ocore.dev/failpoints": "neutralize-opened=sleep:15"}
    name = site.rollback(
        fresh("closed"), "base", undoWindowSeconds=0, isolation="BestEffort", annotations=failpoints, **ALWAYS
    )
    wait_for("a copy", lambda: len(site.databases()) == 2, 120)
    (copy,) = set(site.databases()) - {site.database}

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
    site.completed("Rollback", name, 240)
    is_neutralised(site)
    holds_all_promises(site)
