#!/usr/bin/env python3
"""Writes the schemas of other tools' kinds in this folder, from the Go modules that hold their CRDs. Run it after a
change of a version below. HELM_CONTROLLER names a git checkout of that project, whose module is not to be had.

Only `spec` is kept, without descriptions: tests check examples against it. The module's zip is checked against its
hash, as in a go.sum; of a checkout the commit is pinned.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Module:
    """A Go module. All of these are published under the Apache License 2.0."""

    path: str
    version: str
    sum: str
    licence: str = "Apache-2.0"


ARGO_CD = Module("github.com/argoproj/argo-cd/v3", "v3.6.1", "h1:OmhqeKiR3C//awbFrhQqFdtRI+Qiv17j8vqm3UkMj/g=")
KUSTOMIZE = Module(
    "github.com/fluxcd/kustomize-controller", "v1.10.1", "h1:IjTnrkIy0ULJoTNC2ZKuMb32vkqj7dJ6zt6UqbTFxKA="
)
HELM = Module("github.com/fluxcd/helm-controller", "v1.6.3", "git:372c34e2b4a455d24ef6cbb8321c82c4533dbbd8")
SOURCE = Module("github.com/fluxcd/source-controller", "v1.10.1", "h1:vkYpgpLZu20LQ2UN4lPBdWH7sqTNdQ8FjcZD/HogN2E=")
CRDS = (
    (ARGO_CD, "manifests/crds/application-crd.yaml"),
    (KUSTOMIZE, "config/crd/bases/kustomize.toolkit.fluxcd.io_kustomizations.yaml"),
    (SOURCE, "config/crd/bases/source.toolkit.fluxcd.io_ocirepositories.yaml"),
    (HELM, "config/crd/bases/helm.toolkit.fluxcd.io_helmreleases.yaml"),
)
#: Argo CD's values in annotations have no schema: they are in its manual.
HOOKS, OPTIONS = "/docs/user-guide/sync-waves.md", "/docs/user-guide/sync-options.md"


def main() -> None:
    """Writes all files."""
    for module, file in CRDS:
        crd = reduced(yaml.safe_load(content(module, file)))
        write(crd["metadata"]["name"], module, file, crd=crd)
    hooks, options = content(ARGO_CD, HOOKS), content(ARGO_CD, OPTIONS)
    tables = [
        re.findall(r"^\| `(\w+)` +\|", part, re.MULTILINE) for part in re.split(r"^## ", hooks, flags=re.MULTILINE)
    ]
    values = {
        "hooks": next(t for t in tables if "PreSync" in t),
        "hookDeletePolicies": next(t for t in tables if "BeforeHookCreation" in t),
        "syncOptions": sorted(set(re.findall(r"\b([A-Z][A-Za-z]+=[a-z]+)\b", options))),
    }
    write("argocd-annotations", ARGO_CD, f"{HOOKS}, {OPTIONS}", **values)


def content(module: Module, file: str) -> str:
    """A file of the module. Ends the program where the module is another one than was pinned."""
    if module.sum.startswith("git:"):
        command = ["git", "-C", os.environ["HELM_CONTROLLER"], "show", f"{module.sum.removeprefix('git:')}:{file}"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["go", "mod", "init", "x"], cwd=folder, check=True, capture_output=True)
        # It may fail because the module asks for a newer Go, and has its zip all the same.
        command = ["go", "mod", "download", "-json", f"{module.path}@{module.version}"]
        answer = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True).stdout
    found = json.loads(answer)
    if found.get("Sum") != module.sum:
        sys.exit(
            f"{module.path}@{module.version} has the hash {found.get('Sum')}, not {module.sum}: {found.get('Error')}"
        )
    with zipfile.ZipFile(found["Zip"]) as archive:
        return archive.read(f"{module.path}@{module.version}/{file.lstrip('/')}").decode()


def reduced(crd: dict[str, Any]) -> dict[str, Any]:
    """The CRD with the schema of `spec` alone, of its storage version."""
    (version,) = [v for v in crd["spec"]["versions"] if v["storage"]]
    schema = version["schema"]["openAPIV3Schema"]
    spec = without_descriptions(schema["properties"]["spec"])
    kept = {"type": "object", "required": ["spec"], "properties": {"spec": spec}}
    return {
        "apiVersion": crd["apiVersion"],
        "kind": crd["kind"],
        "metadata": {"name": crd["metadata"]["name"]},
        "spec": {
            "group": crd["spec"]["group"],
            "names": crd["spec"]["names"],
            "scope": crd["spec"]["scope"],
            "versions": [
                {"name": version["name"], "served": True, "storage": True, "schema": {"openAPIV3Schema": kept}}
            ],
        },
    }


def without_descriptions(schema: Any) -> Any:
    """A property may be called `description`: only texts are removed."""
    if isinstance(schema, dict):
        return {
            k: without_descriptions(v) for k, v in schema.items() if not (k == "description" and isinstance(v, str))
        }
    return [without_descriptions(v) for v in schema] if isinstance(schema, list) else schema


def write(name: str, module: Module, file: str, **content: Any) -> None:
    """One JSON file, with the origin of its content and its digest."""
    text = json.dumps(content, sort_keys=True)
    source = {
        "module": module.path,
        "version": module.version,
        "sum": module.sum,
        "licence": module.licence,
        "file": file,
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
    }
    (HERE / f"{name}.json").write_text(json.dumps({"source": source, **content}, indent=1) + "\n")


if __name__ == "__main__":
    main()
