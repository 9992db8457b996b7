"""The verbs that the chart grants to the operator and the facade are those that they use, no more and no less.

Used is what the calls of the two clients in the source name. A call whose type is a variable is found by the call that
gives the type: CALLS lists both. What the aggregated roles grant to people is not compared, and Jobs have no role.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from ocore_api.cache.entries import KINDS
from ocore_crds.kinds import KINDS as ALL
from ocore_kube import types
from support.cluster.cluster import REPOSITORY

TEMPLATES = REPOSITORY / "charts/ocore-snapshots/templates"
#: API group, resource with its subresource, verb.
Verb = tuple[str, str, str]
#: A call: the argument that names the type, and what is requested of it. A subresource is named with its verb.
CALLS: dict[str, dict[str, tuple[int, tuple[str, ...]]]] = {
    "operator/ocore_operator": {
        # kube/client.py
        "get": (0, ("get",)),
        "list": (0, ("list",)),
        "pages": (0, ("list",)),
        "metadata": (0, ("list",)),
        "create": (0, ("create",)),
        "delete": (0, ("delete",)),
        "annotate": (0, ("patch",)),
        "merge_patch": (0, ("patch",)),
        "set_spec": (0, ("patch",)),
        "set_finalizers": (1, ("patch",)),
        "drop_status_fields": (0, ("status patch",)),
        # What gives one of the above its type.
        "need": (1, ("get",)),  # jobs/inputs.py
        "made": (0, ("get", "create")),  # contents/importing.py
        # engine/kinds.py: kopf lists and watches them, and each status is written (summarize.py, engine/unreadable.py).
        "Reconciler": (0, ("get", "list", "watch", "status patch")),
    },
    "api/ocore_api": {
        # writes/client.py
        "get": (0, ("get",)),
        "list": (0, ("list",)),
        "create": (0, ("create",)),
        "apply": (0, ("create", "patch")),  # an apply creates what does not exist
        "apply_with_owned": (0, ("patch",)),
        "merge_patch": (0, ("patch",)),
        "delete": (0, ("delete",)),
    },
}
#: Calls of a workload's own type.
OF_WORKLOADS = {"set_scale": "scale patch", "set_template": "patch"}
#: Methods of the operator's client that write the statuses of reconciled kinds: counted by Reconciler.
OF_STATUSES = {"apply_status", "set_conditions"}
#: The mark by which admission policies know an operator: the API server is asked about it, and nothing is served.
MARK = ("ocore.dev", "operators", "run")


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


def named(node: ast.expr) -> tuple[types.Type, ...]:
    """The types that an argument names; none where it is a variable."""
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "WORKLOADS":
        return tuple(types.WORKLOADS.values())
    name = node.id if isinstance(node, ast.Name) else getattr(node, "attr", "")
    found = getattr(types, name, None)
    return (found,) if isinstance(found, types.Type) else ()


def verb(type_: types.Type, what: str) -> Verb:
    """What is requested of a type."""
    *subresource, name = what.split()
    group = type_.api_version.rpartition("/")[0]
    return group, "/".join((type_.plural, *subresource)), name


def called(folder: str) -> Iterator[tuple[Path, ast.Call, str]]:
    """File, call and the name of what is called."""
    for path in (REPOSITORY / folder).rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call):
                yield (
                    path,
                    call,
                    call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", ""),
                )


def used(folder: str) -> Iterator[Verb]:
    """What each request in the source asks for."""
    for _, call, name in called(folder):
        place, verbs = CALLS[folder].get(name, (0, ()))
        if len(call.args) > place:
            yield from (verb(each, what) for each in named(call.args[place]) for what in verbs)


def used_by_the_operator() -> Iterator[Verb]:
    """What it requests by its client, and by kopf."""
    yield from used("operator/ocore_operator")
    for _, call, name in called("operator/ocore_operator"):
        if name in OF_WORKLOADS:
            yield from (verb(each, OF_WORKLOADS[name]) for each in types.WORKLOADS.values())
        elif name == "follow_log":
            yield verb(types.PODS, "log get")
        elif name == "event" and len(call.args) > 2 and isinstance(call.args[2], ast.Constant):  # engine/handlers.py
            group, plural = (ast.literal_eval(call.args[n]) for n in (0, 2))
            yield from ((group, plural, each) for each in ("list", "watch"))


def used_by_the_facade() -> Iterator[Verb]:
    """What its writes request, and its cache."""
    yield from used("api/ocore_api")
    yield from (verb(types.OURS[kind], what) for kind in KINDS for what in ("list", "watch"))


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
    """Requests are made by the clients alone, and by what this module names."""
    direct = {
        str(path.relative_to(REPOSITORY))
        for folder in ("operator/ocore_operator", "api/ocore_api")
        for path, call, name in called(folder)
        if name in ("request", "lines") and "transport" in ast.unparse(call.func)
    }
    assert direct == {
        "operator/ocore_operator/kube/client.py",
        "api/ocore_api/writes/client.py",
        "api/ocore_api/cache/watch.py",
        "api/ocore_api/cache/cache.py",
    }
    reconciled = {
        type_
        for _, call, name in called("operator/ocore_operator")
        if name == "Reconciler" and call.args
        for type_ in named(call.args[0])
    }
    assert {each.kind for each in reconciled} == {kind.kind for kind in ALL}


@pytest.mark.parametrize(
    ("folder", "file", "others"),
    [
        ("operator/ocore_operator", "kube/client.py", {*OF_WORKLOADS, *OF_STATUSES, "follow_log"}),
        ("api/ocore_api", "writes/client.py", set()),
    ],
)
def test_every_method_of_the_clients_is_counted(folder: str, file: str, others: set[str]) -> None:
    """A method that CALLS does not have would need rights that no one compares."""
    tree = ast.parse((REPOSITORY / folder / file).read_text())
    methods = {
        node.name
        for each in tree.body
        if isinstance(each, ast.ClassDef)
        for node in each.body
        if isinstance(node, ast.AsyncFunctionDef) and not node.name.startswith("_")
    }
    assert methods
    assert methods <= CALLS[folder].keys() | others
    assert others <= methods


def test_no_other_template_grants_something() -> None:
    roles = {
        path.name
        for path in TEMPLATES.rglob("*")
        if path.is_file() and re.search(r"^kind: (Cluster)?Role$", path.read_text(), re.M)
    }
    assert roles == {"rbac-operator.yaml", "rbac-api.yaml", "rbac-users.yaml"}
