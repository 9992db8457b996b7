"""The Lua that reports the health of our objects to Argo CD, over every state that the operator writes; and what the
examples promise."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from lupa.lua51 import LuaRuntime  # Argo CD runs Lua 5.1

from ocore_crds.kinds import KINDS
from support.cluster.cluster import documents
from support.operator.statuses import ALL, Sample

CUSTOMIZATION = "resource.customizations.health.ocore.dev_"


@pytest.fixture(scope="module")
def scripts() -> dict[str, str]:
    """Kind → script."""
    path = Path(__file__).parents[3] / "examples/gitops/argocd/argocd-cm.yaml"
    data = yaml.safe_load(path.read_text())["data"]
    return {key.removeprefix(CUSTOMIZATION): script for key, script in data.items()}


def health(script: str, obj: dict[str, Any]) -> dict[str, str]:
    """As Argo CD runs it: a global `obj`, a returned table, no libraries that reach outside."""
    lua = LuaRuntime(register_eval=False)
    lua.execute("os, io, require, package, debug, python = nil, nil, nil, nil, nil, nil")
    lua.globals().obj = lua.table_from(obj, recursive=True)
    return dict(lua.execute(script))


def test_every_kind_has_a_script(scripts: dict[str, str]) -> None:
    assert set(scripts) == {kind.kind for kind in KINDS}


@pytest.mark.parametrize(("kind", "sample"), ALL, ids=lambda v: v.name if isinstance(v, Sample) else v)
def test_health(scripts: dict[str, str], kind: str, sample: Sample) -> None:
    found = health(scripts[kind], sample.obj)
    assert found["status"] == sample.argo
    assert sample.says in found["message"]


def test_an_unknown_condition_does_not_matter(scripts: dict[str, str]) -> None:
    (ready,) = [s for kind, s in ALL if kind == "Environment" and s.name == "ready"]
    extra = {"type": "RollbackReady", "status": "False", "reason": "MissingGrants", "lastTransitionTime": "x"}
    status = ready.obj["status"]
    obj = {**ready.obj, "status": {**status, "conditions": [*status["conditions"], extra]}}
    assert health(scripts["Environment"], obj)["status"] == "Healthy"


def test_self_healing_leaves_the_replicas_alone(repository: Path) -> None:
    """Else it starts the application in the middle of a switch."""
    applications = {d["metadata"]["name"]: d for d in documents(repository / "examples/gitops/argocd/application.yaml")}
    spec = applications["shop"]["spec"]
    ignored = {(i["kind"], pointer) for i in spec["ignoreDifferences"] for pointer in i["jsonPointers"]}
    replicas = {("Deployment", "/spec/replicas"), ("StatefulSet", "/spec/replicas")}
    assert ignored == {*replicas, ("CronJob", "/spec/suspend")}
    assert "RespectIgnoreDifferences=true" in spec["syncPolicy"]["syncOptions"]


@pytest.mark.parametrize("name", ["snapshot", "rollback"])
def test_pruning_leaves_what_cannot_be_made_again(repository: Path, name: str) -> None:
    (obj,) = documents(repository / f"examples/gitops/shop/{name}.yaml")
    annotations = obj["metadata"]["annotations"]
    assert annotations["argocd.argoproj.io/sync-options"] == "Prune=false,Delete=false"
    assert annotations["kustomize.toolkit.fluxcd.io/prune"] == "disabled"


def test_a_rollback_in_git_is_no_standing_order(repository: Path) -> None:
    (obj,) = documents(repository / "examples/gitops/shop/rollback.yaml")
    assert "notAfter" in obj["spec"]
