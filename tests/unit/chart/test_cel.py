"""Every CEL expression of the CRDs and policies, in the CEL environment of the oldest Kubernetes that the chart
allows."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.cluster.cluster import REPOSITORY

from .cel import CHART, run

#: Together they render every policy, in both scopes.
VALUES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "everything": {
        "admissionPolicies": {
            "projectLabel": "example.org/project",
            "requestedByTrusted": ["admin"],
            "applicationImages": ["registry.example.org/"],
            "statusWriters": ["admin"],
            "jobWriters": ["admin"],
            "podWriters": [],
        },
        "rbac": {"jobIdentities": True},
        "api": {"enabled": True, "jwt": {"issuer": "i", "audience": ["a"], "sharedSecret": {"name": "s"}}},
    },
    "namespaced": {"watchNamespaces": ["shop"]},
}


def test_row_85_every_rule_compiles_on_the_oldest_kubernetes() -> None:
    code, output = run(VALUES)
    assert code == 0, output
    policies = list((CHART / "templates").glob("admission-*.yaml"))
    crds, found, expressions = map(int, re.findall(r"\d+", output))
    assert crds == len(list((CHART / "templates/crds").iterdir()))
    assert found >= len(policies)
    assert expressions > 3 * len(policies)


def test_a_chart_without_a_registry_is_refused() -> None:
    """A node would ask its own default registry, where anyone may own the name."""
    code, output = run({"none": {"global": {"imageRegistry": ""}}})
    assert code == 1
    assert "names no registry: set global.imageRegistry" in output


def in_needed(text: str) -> str:
    """The list function that only newer API servers know."""
    return text.replace("[0, 1, 2, 3, 4].map(i, variables.dependents[i])", "variables.dependents.slice(0, 5)")


def in_condition(text: str) -> str:
    return text.replace("expression: oldObject != null", "expression: oldObject.metadata.name.nonsense()")


def in_variable(text: str) -> str:
    return text.replace("has(oldObject.status.dependents) ?", "has(oldObject.status.dependents) &&")


def in_crd(text: str) -> str:
    return re.sub(r"rule: .*", "rule: self.nonsense()", text, count=1)


def twice(text: str) -> str:
    return text.replace("  failurePolicy: Fail\n", "  failurePolicy: Fail\n  failurePolicy: Fail\n", 1)


@pytest.mark.parametrize(
    ("file", "change", "fault"),
    [
        ("admission-needed.yaml", in_needed, "undeclared reference to 'slice'"),
        ("admission-needed.yaml", in_condition, "undeclared reference to 'nonsense'"),
        ("admission-needed.yaml", in_variable, "variable dependents"),
        ("admission-needed.yaml", twice, "already set in map"),
        ("crds/ocore.dev_snapshots.yaml", in_crd, "undeclared reference to 'nonsense'"),
    ],
)
def test_row_85_a_rule_that_it_does_not_know_is_named(
    file: str, change: Callable[[str], str], fault: str, tmp_path: Path
) -> None:
    chart = shutil.copytree(CHART, tmp_path / "chart")
    path = chart / "templates" / file
    text = path.read_text()
    path.write_text(change(text))
    assert path.read_text() != text
    code, output = run(VALUES, chart=chart)
    assert code == 1, output
    assert fault in output
    assert ("snapshots.ocore.dev" if "crds" in file else "ocore-ocore-snapshots-needed-snapshots") in output


def test_row_85_the_chart_names_the_version_that_is_checked(tmp_path: Path) -> None:
    chart = shutil.copytree(CHART, tmp_path / "chart")
    meta = chart / "Chart.yaml"
    (oldest,) = re.findall(r'kubeVersion: ">=1\.(\d+)\.0-0"', meta.read_text())
    assert f"k8s.io/apiserver v0.{oldest}.0" in (REPOSITORY / "tests/cel/go.mod").read_text()
    assert f"Kubernetes 1.{oldest} or newer" in (REPOSITORY / "docs/install.md").read_text()
    meta.write_text(meta.read_text().replace(f"1.{oldest}", f"1.{int(oldest) + 1}"))
    code, output = run({"defaults": {}}, chart=chart)
    assert code == 1
    assert "which this program checks" in output
