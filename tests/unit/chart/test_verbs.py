"""The verbs that the chart grants to the operator and the facade are those that they use, no more and no less.

Used is what the programs' code requests (requests_made.py): the methods of their clients are called with a transport
that records, and the types are read at each call in the source. Beside the clients there are kopf's watches, and those
of the facade's cache. What code that never runs requests counts as used. That the rest is enough for a real account is
shown by the integration tests, which run with these rights. What the aggregated roles grant to people is not compared,
and Jobs have no role.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache

import pytest
import yaml

from ocore_api.cache.entries import KINDS
from ocore_api.writes.client import Client
from ocore_crds.kinds import KINDS as ALL
from ocore_kube import types
from ocore_operator.kube.client import Kube
from support.cluster.cluster import REPOSITORY

from .requests_made import ANY, Program, UnknownTypeError, Verb, methods, sources

TEMPLATES = REPOSITORY / "charts/ocore-snapshots/templates"
#: The mark by which admission policies know an operator: the API server is asked about it, and nothing is served.
MARK = ("ocore.dev", "operators", "run")
CLAIM_DELETE = ("", "persistentvolumeclaims", "delete")
SCALES = {("apps", f"{plural}/scale", "patch") for plural in ("deployments", "statefulsets")}
RESIZE = ("", "pods/resize", "patch")


@cache
def operator() -> Program:
    """The operator's code."""
    return Program(sources(REPOSITORY / "operator/ocore_operator"), Kube, ("kube",))


@cache
def facade() -> Program:
    """The facade's code."""
    return Program(sources(REPOSITORY / "api/ocore_api"), Client, ("client",), 10.0)


def used_by_the_operator() -> Iterator[Verb]:
    """What it requests by its client, and by kopf, which lists and watches."""
    yield from operator().verbs()
    for call in operator().calls:
        if call.name == "event" and len(call.node.args) > 2:  # engine/handlers.py
            group, plural = call.node.args[0], call.node.args[2]
            if isinstance(plural, ast.Constant):
                watched = {(ast.literal_eval(group), ast.literal_eval(plural))}
            else:  # of the table of kinds
                watched = {(group_of(each), each.plural) for each in operator().constructed("Reconciler")}
            yield from ((*each, verb) for each in watched for verb in ("list", "watch"))


def used_by_the_facade() -> Iterator[Verb]:
    """What its writes request, and its cache."""
    yield from facade().verbs()
    yield from (
        (group_of(types.OURS[kind]), types.OURS[kind].plural, verb) for kind in KINDS for verb in ("list", "watch")
    )


def group_of(type_: types.Type) -> str:
    """Its API group."""
    return type_.api_version.rpartition("/")[0]


def rules(text: str) -> set[Verb]:
    """What rules of RBAC grant. Helm's lines are left out: what they decide is granted in some installation."""
    plain = re.sub(r"^\s*\{\{.*\}\}$", "", re.sub(r"\{\{/\*.*?\*/\}\}", "", text, flags=re.DOTALL), flags=re.MULTILINE)
    return {
        (group, resource, verb)
        for rule in yaml.safe_load(re.sub(r"\{\{.*?\}\}", "x", plain))
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def defined(file: str, name: str) -> str:
    """The text of a template."""
    return re.split(r"\{\{-? define ", (TEMPLATES / file).read_text().partition(f'define "{name}" -}}}}')[2])[0]


def test_row_83_the_operator_has_the_verbs_that_it_uses() -> None:
    everywhere, _, only_namespaces = defined("_rules.tpl", "ocore-snapshots.clusterRules").partition(
        "{{- if .Values.watchNamespaces }}"
    )
    lease = (TEMPLATES / "rbac-operator.yaml").read_text().partition("-lease\n")[2].partition("rules:\n")[2]
    in_a_namespace = rules(defined("_rules.tpl", "ocore-snapshots.rules"))
    granted = in_a_namespace | rules(everywhere) | rules(lease.partition("---")[0])
    found = {*used_by_the_operator(), MARK}
    assert granted - found == set(), "granted and not used"
    assert found - granted == set(), "used and not granted"
    # The same, once the Role of a namespace is gone.
    assert rules(only_namespaces)
    assert rules(only_namespaces) <= in_a_namespace


def test_row_83_the_facade_has_the_verbs_that_it_uses() -> None:
    granted, found = rules(defined("_api-rules.tpl", "ocore-snapshots.apiRules")), {*used_by_the_facade()}
    assert granted - found == set(), "granted and not used"
    assert found - granted == set(), "used and not granted"


def test_every_request_is_counted() -> None:
    """Requests are made by the clients alone, and by what this module names. The clients have no other names."""
    direct = {
        f"{program}/{call.module}"
        for program, found in (("operator", operator()), ("api", facade()))
        for call in found.calls
        if call.name in ("request", "lines") and "transport" in call.receiver
    }
    assert direct == {
        "operator/kube/client.py",
        "api/writes/client.py",
        "api/cache/watch.py",
        "api/cache/cache.py",
        "api/cache/staleness.py",  # /version, which everyone may read
    }
    assert {each.kind for each in operator().constructed("Reconciler")} == {kind.kind for kind in ALL}
    renamed = re.compile(r"^\s*(?!self\._?kube\b)\S+ = \S*\bkube$", re.M)
    assert renamed.findall("    other = self._ctx.kube")
    assert [n for n, text in sources(REPOSITORY / "operator/ocore_operator").items() if renamed.search(text)] == []


def test_what_a_method_requests() -> None:
    recorded = methods(Kube)
    assert recorded["get"] == {(ANY.api_version.split("/")[0], ANY.plural, "get")}
    assert {verb for *_, verb in recorded["metadata"] | recorded["list"] | recorded["pages"]} == {"list"}
    assert recorded["set_scale"] == {("example.org", "things/scale", "patch")}
    assert recorded["follow_log"] == {("", "pods/log", "get")}
    assert recorded["apply_status"] == {("ocore.dev", f"{kind.plural}/status", "patch") for kind in ALL}
    applied = methods(Client, 10.0)
    assert {verb for *_, verb in applied["apply"]} == {"create", "patch"}
    assert {verb for *_, verb in applied["apply_with_owned"]} == {"patch"}, (
        "with the resourceVersion it creates nothing"
    )


MODULES: dict[str, tuple[str, set[Verb]]] = {
    "a constant": ("async def f(ctx): await ctx.kube.delete(types.CLAIMS, 'a', 'b')", {CLAIM_DELETE}),
    "by a parameter": (
        "async def f(ctx, type_): await ctx.kube.delete(type_, 'a', 'b')\nasync def g(ctx): await f(ctx, CLAIMS)",
        {CLAIM_DELETE},
    ),
    "by a parameter's name": (
        "class A:\n def f(self, type_): return self._kube.delete(type_, 'a', 'b')\n"
        " def g(self, type_): return self.f(type_=type_)\nA().g(CLAIMS)",
        {CLAIM_DELETE},
    ),
    "by a variable": ("def f(kube, kind):\n type_ = WORKLOADS[kind]\n kube.set_scale(type_, 'a', 'b', 1)", SCALES),
    "a subresource": ("def f(kube): kube.merge_patch(PODS, 'a', 'b', {}, subresource='resize')", {RESIZE}),
    "of no client": ("def f(found, type_): found.get(type_, 1)", set()),
}


@pytest.mark.parametrize("name", MODULES)
def test_the_types_are_followed(name: str) -> None:
    text, verbs = MODULES[name]
    assert Program({"m.py": text}, Kube, ("kube",)).verbs() == verbs


@pytest.mark.parametrize(
    "text",
    [
        "def f(kube, type_): kube.get(type_, 'a', 'b')",  # no one calls it
        "def f(kube):\n for each in found(): kube.get(each, 'a', 'b')",
        "def _f(kube, type_): kube.get(type_, 'a', 'b')\ndef g(kube): _f(kube, chosen())",
    ],
)
def test_a_type_that_the_source_does_not_show_is_an_error(text: str) -> None:
    with pytest.raises(UnknownTypeError, match=r"m\.py:"):
        Program({"m.py": text}, Kube, ("kube",)).verbs()


def test_no_other_template_grants_something() -> None:
    roles = {
        path.name
        for path in TEMPLATES.rglob("*")
        if path.is_file() and re.search(r"^kind: (Cluster)?Role$", path.read_text(), re.M)
    }
    assert roles == {"rbac-operator.yaml", "rbac-api.yaml", "rbac-users.yaml"}
