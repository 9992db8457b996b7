"""The verbs that the chart grants on what is not ours are those that the operator uses, no more and no less."""

import ast
import re
from collections.abc import Iterator

import yaml

from ocore_kube import types
from support.cluster.cluster import REPOSITORY

SOURCE = REPOSITORY / "operator/ocore_operator"
#: Methods of the client → what they add to the resource's path, and the verb.
VERBS = {
    "get": ("", "get"),
    "list": ("", "list"),
    "pages": ("", "list"),
    "create": ("", "create"),
    "delete": ("", "delete"),
    "annotate": ("", "patch"),
    "merge_patch": ("", "patch"),
    "set_template": ("", "patch"),
    "set_scale": ("/scale", "patch"),
}
#: Read in the whole cluster, or with a Role of their own.
ELSEWHERE = {types.NAMESPACES.plural, types.CRDS.plural, types.LEASES.plural}


def granted() -> set[tuple[str, str]]:
    """Resource and verb in a watched namespace. Helm's lines are left out: what they decide is granted in some installation."""
    text = (REPOSITORY / "charts/ocore-snapshots/templates/_rules.tpl").read_text()
    rules = text.partition('define "ocore-snapshots.rules"')[2].partition("{{- end }}\n\n{{/*")[0].partition("\n")[2]
    return {
        (resource, verb)
        for rule in yaml.safe_load(re.sub(r"^\{\{.*\}\}$", "", rules, flags=re.MULTILINE))
        if "ocore.dev" not in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def named(node: ast.expr) -> tuple[types.Type, ...]:
    """The types that an argument names; none where it is a variable or one of ours."""
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "WORKLOADS":
        return tuple(types.WORKLOADS.values())
    found = getattr(types, node.id, None) if isinstance(node, ast.Name) else None
    return (found,) if isinstance(found, types.Type) and found not in types.OURS.values() else ()


def used() -> Iterator[tuple[str, str]]:
    """Resource and verb of each request in the operator's source."""
    for path in SOURCE.rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if not isinstance(call, ast.Call) or not call.args:
                continue
            name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            if name == "follow_log":
                yield "pods/log", "get"
            if name == "event" and len(call.args) > 2 and isinstance(call.args[2], ast.Constant):
                yield from ((str(call.args[2].value), verb) for verb in ("list", "watch"))
            if name == "need":  # jobs/inputs.py
                yield from ((each.plural, "get") for each in named(call.args[1]))
            if name in ("set_scale", "set_template"):  # of the workload's own type
                yield from ((each.plural + VERBS[name][0], VERBS[name][1]) for each in types.WORKLOADS.values())
            elif name in VERBS:
                yield from ((each.plural, VERBS[name][1]) for each in named(call.args[0]))


def test_row_83_the_operator_has_the_verbs_that_it_uses() -> None:
    found = {(resource, verb) for resource, verb in used() if resource not in ELSEWHERE}
    assert granted() - found == set(), "granted and not used"
    assert found - granted() == set(), "used and not granted"
