"""Two Environments on one database or one filestore path: the younger one is Stalled and names the older one (issue 9,
item 24)."""

import re
from types import SimpleNamespace
from typing import Any

import pytest

from ocore_crds import conditions as c
from ocore_crds.protocol import DatabaseFacts, ProbeResult
from ocore_crds.resources.environment import EnvironmentStatus
from ocore_operator.entries import targets
from ocore_operator.entries.environments import EnvironmentEntry, Target
from ocore_operator.kube import resources
from ocore_operator.kube.resources import Key, Object
from ocore_operator.readiness.effects import wake
from ocore_operator.readiness.entry import of_environment
from ocore_operator.readiness.plan_environment import PROBE, target_of
from support.operator.catalogs import new_catalog
from support.operator.objects import at, environment_object
from support.operator.readiness import world

SERVER = "7301234567890123456@2026-01-01T00:00:00.123456Z"
CLONE = "7301234567890123456@2026-01-02T00:00:00.000000Z"


def env(
    name: str, age: int, *, server: str = "", database: str = "shop", namespace: str = "shop", **spec: Any
) -> Object:
    fields = {"database": {"secretRef": {"name": f"db-{name}"}}, "filestore": None, **spec}
    probe = {"time": at(0), "generation": 1, "serverIdentity": server, "databaseName": database}
    made = environment_object(
        fields,
        {"observedGeneration": 1, "probe": probe} if server else None,
        uid=f"{age:08x}-0000-4000-8000-000000000000",
        creationTimestamp=at(age),
        namespace=namespace,
    )
    made["metadata"]["name"] = name
    return made


def first(mine: Object, *others: Object) -> str:
    catalog = new_catalog()
    for x in (mine, *others):
        catalog.put("Environment", x)
    parsed = resources.environment(mine)
    found = targets.first(catalog.of_kind(EnvironmentEntry), parsed.key, target_of(parsed, parsed.status))
    return found[0].key.name if found is not None else ""


def files(path: str, layout: str = "Odoo", claim: str = "files") -> Object:
    return {"claimName": claim, "path": path, "layout": layout}


def test_one_server_and_database() -> None:
    a, b = env("a", 1, server=SERVER), env("b", 2, server=SERVER)
    assert first(b, a) == "a"
    assert first(a, b) == ""


@pytest.mark.parametrize("change", [{"database": "blog"}, {"server": CLONE}, {"server": ""}])
def test_another_database_a_clone_and_one_without_a_probe(change: Any) -> None:
    assert first(env("b", 2, **{"server": SERVER, **change}), env("a", 1, server=SERVER)) == ""


def test_one_secret_shows_it_before_the_probe() -> None:
    a, b = env("a", 1), env("b", 2)
    b["spec"]["database"] = a["spec"]["database"]
    assert first(b, a) == "a"
    b["metadata"]["namespace"] = "other"
    assert first(b, a) == ""


@pytest.mark.parametrize(
    ("mine", "other", "same"),
    [
        (files("shop"), files("shop"), True),
        (files("shop"), files("blog"), False),
        (files("shop"), files("shop", claim="other"), False),
        (files("shop/a", "Plain"), files("shop", "Plain"), True),
        (files("shop", "Plain"), files("shop/a", "Plain"), True),
        (files("shop2", "Plain"), files("shop", "Plain"), False),
        (files("shop", "Plain"), files(""), False),
    ],
)
def test_paths_of_one_claim(mine: Object, other: Object, same: bool) -> None:
    a, b = env("a", 1, filestore=other), env("b", 2, filestore=mine)
    assert first(b, a) == ("a" if same else "")
    assert first(env("b", 2, namespace="other", filestore=mine), a) == ""


def test_a_probe_that_finds_it_does_not_make_the_environment_ready() -> None:
    """Not even for a moment: a rollback that waits would start."""
    a, b = env("a", 1, server=SERVER), env("b", 2)
    catalog = new_catalog()
    for x in (a, b):
        catalog.put("Environment", x)
    queued: list[Key] = []
    ctx: Any = SimpleNamespace(catalog=catalog, queue=SimpleNamespace(add=queued.append))
    facts = DatabaseFacts(name="shop", server_identity=SERVER, server_version="17.2", server_major=17)
    parsed = resources.environment(b)
    status = PROBE.found(world(parsed, catalog, seconds=9), ProbeResult(database=facts), at(8))
    for type_, value in ((c.READY, "False"), (c.ROLLBACK_READY, "False"), (c.STALLED, "True")):
        got = c.find(status.conditions, type_)
        assert got is not None
        assert (got.status, got.reason) == (value, c.DUPLICATE_TARGET)
        assert "Environment a has database shop" in got.message
    # The other one is reconciled: it may be the younger of the two.
    wake(ctx, parsed, status)
    assert [k.name for k in queued] == ["a"]


def probed(mine: Object, *others: Object) -> tuple[EnvironmentStatus, list[Key]]:
    """The status after a probe of an Environment of SERVER, and what was queued for it."""
    catalog = new_catalog()
    for x in (mine, *others):
        catalog.put("Environment", x)
    parsed = resources.environment(mine)
    facts = DatabaseFacts(name="shop", server_identity=SERVER, server_version="17.2", server_major=17)
    result = ProbeResult(database=facts, warnings=("A warning of the mover.",))
    status = PROBE.found(world(parsed, catalog, seconds=9), result, at(8))
    queued: list[Key] = []
    ctx: Any = SimpleNamespace(catalog=catalog, queue=SimpleNamespace(add=queued.append))
    wake(ctx, parsed, status)
    return status, queued


def test_row_138_an_environment_of_another_namespace_stalls_no_other() -> None:
    """Its owner chooses what its probe says: a Secret may name any database of the server, without rights in it, or a
    server that lies. And who makes theirs first would keep another tenant from snapshots for good."""
    older = env("theirs", 1, server=SERVER, namespace="evil")
    status, queued = probed(env("shop", 2), older)
    assert c.is_true(status.conditions, c.READY)
    assert c.is_true(status.conditions, c.STALLED) is False
    assert queued == []
    assert status.probe is not None
    warning, other = status.probe.warnings
    assert "Another namespace has an Environment of database shop" in warning
    assert other == "A warning of the mover."
    assert not re.search("evil|theirs", str(status.wire())), "who has it is not for others to know"


def test_row_138_other_databases_of_another_namespace_are_not_mentioned() -> None:
    others = (
        env("blog", 1, server=SERVER, database="blog", namespace="other"),
        env("clone", 1, server=CLONE, namespace="other"),
        env("unprobed", 1, namespace="other"),
        env("mine", 3, server=SERVER),
    )
    status, _ = probed(env("shop", 2), *others)
    assert status.probe is not None
    assert status.probe.warnings == ("A warning of the mover.",)


def test_the_catalog_has_the_target_of_the_spec_and_the_probe() -> None:
    made = env("a", 1, server=SERVER, filestore=files("shop"))
    parsed = resources.environment(made)
    assert (
        of_environment(made).target
        == target_of(parsed, parsed.status)
        == Target("db-a", SERVER, "shop", "files", "shop", "Odoo")
    )
