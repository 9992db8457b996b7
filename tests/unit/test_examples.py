"""Examples for other tools, as far as no API server is needed: annotations and options have no schema, only a
manual."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from support.cluster.cluster import REPOSITORY, Object
from support.other_tools import CRDS, load

EXAMPLES = REPOSITORY / "examples"
PREFIX = "argocd.argoproj.io/"
FILES = sorted(p for p in EXAMPLES.rglob("*.yaml") if "templates" not in p.parts)
PRESYNC = EXAMPLES / "before-deployment/argocd-presync.yaml"


def objects() -> Iterator[tuple[Path, Object]]:
    """All objects of the examples that are whole YAML."""
    for path in FILES:
        for found in yaml.safe_load_all(path.read_text()):
            if isinstance(found, dict) and "metadata" in found:
                yield path, found


@pytest.fixture(scope="module")
def manual() -> Object:
    """The values that Argo CD's manual names."""
    return load("argocd-annotations")


def wrong_annotations(obj: Object, manual: Object) -> list[str]:
    """Annotations for Argo CD that it does not know, or values that it does not know."""
    known = {
        "hook": lambda v: v in manual["hooks"],
        "hook-delete-policy": lambda v: v in manual["hookDeletePolicies"],
        "sync-options": lambda v: v in manual["syncOptions"],
        "sync-wave": lambda v: v.lstrip("-").isdigit(),
    }
    found = (obj["metadata"].get("annotations") or {}).items()
    ours = [(name.removeprefix(PREFIX), value) for name, value in found if name.startswith(PREFIX)]
    return [
        f"{name}={each}"
        for name, value in ours
        for each in value.split(",")
        if name not in known or not known[name](each)
    ]


def test_argo_cd_knows_every_annotation(manual: Object) -> None:
    seen = 0
    for path, obj in objects():
        assert wrong_annotations(obj, manual) == [], path
        seen += any(name.startswith(PREFIX) for name in obj["metadata"].get("annotations") or {})
    assert seen >= 4, "the examples have annotations for Argo CD"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hook", "Presync"),
        ("hook-delete-policy", "before-hook-creation"),
        ("sync-options", "Prune=false,Delete=no"),
        ("hooks", "Sync"),
    ],
)
def test_another_annotation_is_found(manual: Object, name: str, value: str) -> None:
    assert wrong_annotations({"metadata": {"annotations": {PREFIX + name: value}}}, manual)


def test_argo_cd_knows_every_sync_option(manual: Object) -> None:
    applications = [obj for _, obj in objects() if obj["kind"] == "Application"]
    assert applications
    for each in applications:
        assert set(each["spec"]["syncPolicy"]["syncOptions"]) <= set(manual["syncOptions"])


def test_the_hook_of_argo_cd_runs_before_the_sync_and_again() -> None:
    """A Job cannot be changed: the one of the last sync has to go first."""
    (job,) = yaml.safe_load_all(PRESYNC.read_text())
    assert job["metadata"]["annotations"] == {
        PREFIX + "hook": "PreSync",
        PREFIX + "hook-delete-policy": "BeforeHookCreation",
    }
    assert (job["kind"], job["spec"]["backoffLimit"]) == ("Job", 0)


def test_the_kustomization_of_flux_waits_and_replaces_the_job() -> None:
    snapshot, release = yaml.safe_load_all((EXAMPLES / "before-deployment/flux.yaml").read_text())
    assert (snapshot["spec"]["wait"], snapshot["spec"]["force"]) == (True, True)
    assert release["spec"]["dependsOn"] == [{"name": snapshot["metadata"]["name"]}]


@pytest.mark.parametrize("name", CRDS)
def test_each_schema_names_its_origin(name: str) -> None:
    assert load(name)["crd"]["metadata"]["name"] == name


def test_every_kind_of_others_has_a_schema() -> None:
    """But the file for `kubectl kustomize`, which is no object."""
    schemas = [load(name)["crd"]["spec"] for name in CRDS]
    known = {(f"{s['group']}/{s['versions'][0]['name']}", s["names"]["kind"]) for s in schemas}
    used = {
        (o["apiVersion"], o["kind"])
        for _, o in objects()
        if "argoproj.io" in o["apiVersion"] or "fluxcd.io" in o["apiVersion"]
    }
    assert used == known, "a kind without a schema, or a schema that no example needs"


#: An image in YAML, in a value of Helm or an argument; and one of ours anywhere.
_IMAGE = re.compile(
    r"""^[ \t-]*(?:image|cliImage):[ ]+["']?([^\s"'#]+)"""
    r"""|\s--image[= ]([^\s`]+)|(?<![\w./-])(ocore-snapshots/[a-z0-9]+:\w[\w.-]*)""",
    re.MULTILINE,
)
#: What the chart completes by `global.imageRegistry`, and refuses without one (tests/integration/test_chart_render.py).
COMPLETED = {"charts/ocore-snapshots/values.yaml", "charts/ocore-snapshots/values.schema.json"}
PAGES = sorted(
    path
    for folder in ("examples", "docs", "charts", "README.md", "images", "website")
    for path in ([REPOSITORY / folder] if folder.endswith(".md") else (REPOSITORY / folder).rglob("*"))
    if path.suffix in (".md", ".yaml", ".yml", ".txt", ".tpl", ".json", ".sh")
)


def without_registry(text: str) -> list[str]:
    """Images whose first part names no registry: anyone may own them on the default one. `REGISTRY` in capitals is
    refused by every runtime until it is replaced."""
    found = ["".join(each) for each in _IMAGE.findall(text)]
    return [each for each in found if "{{" not in each and not _names_registry(each)]


def _names_registry(image: str) -> bool:
    first, slash, _ = image.partition("/")
    return bool(slash) and (first in ("localhost", "REGISTRY") or "." in first or ":" in first)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_row_125_every_image_names_a_registry(path: Path) -> None:
    if str(path.relative_to(REPOSITORY)) not in COMPLETED:
        assert without_registry(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("image: ocore-snapshots/cli:0.1.0 # x", ["ocore-snapshots/cli:0.1.0"]),
        ("image: postgres:17", ["postgres:17"]),
        ("kubectl run x --image=busybox", ["busybox"]),
        ("docker build -t ocore-snapshots/cli:1 .", ["ocore-snapshots/cli:1"]),
        ("image: REGISTRY/ocore-snapshots/cli:0.1.0", []),
        ("image: registry.example.org/a:1 and localhost/ocore-snapshots/mover:17", []),
        ("image: {{ .Values.cliImage }}", []),
    ],
)
def test_an_image_without_a_registry_is_found(text: str, found: list[str]) -> None:
    assert without_registry(text) == found
