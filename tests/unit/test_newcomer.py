"""What stopped people who tried this for the first time (issue 9, item 27): the examples work as they are, and the pages say what is needed."""

import re
import tomllib
from typing import Any

import pytest
import yaml

from ocore_crds.environment import Database
from ocore_crds.kinds import KINDS
from support.cluster.cluster import REPOSITORY

MODELS = {kind.kind: kind.spec for kind in KINDS}


def documents() -> list[tuple[str, dict[str, Any]]]:
    """Our objects in the examples and in the YAML of all pages, with where each is."""
    found = []
    for file in sorted((REPOSITORY / "examples").rglob("*.yaml")):
        if "templates" in file.parts:  # of a chart: not YAML before Helm has rendered it
            continue
        found += [(str(file.relative_to(REPOSITORY)), obj) for obj in yaml.safe_load_all(file.read_text())]
    for page in [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]:
        for block in re.findall(r"^```yaml\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
            found += [(str(page.relative_to(REPOSITORY)), obj) for obj in yaml.safe_load_all(block)]
    return [(where, obj) for where, obj in found if isinstance(obj, dict) and obj.get("kind") in MODELS]


OURS = documents()


@pytest.mark.parametrize(("where", "obj"), OURS, ids=[f"{where}:{obj['kind']}" for where, obj in OURS])
def test_every_example_is_valid(where: str, obj: dict[str, Any]) -> None:
    if obj["apiVersion"] == "ocore.dev/v1alpha1":
        MODELS[obj["kind"]].model_validate(obj["spec"])


def test_the_pages_have_examples() -> None:
    assert {"README.md", "docs/recovery.md", "examples/environment.yaml"} <= {where for where, _ in OURS}


def test_every_example_environment_can_be_rolled_back() -> None:
    """`capacity` is optional in the schema, and RollbackReady is False without it."""
    databases = [(w, o["spec"]["database"]) for w, o in OURS if o["kind"] == "Environment" and "database" in o["spec"]]
    assert len(databases) >= 3
    assert [where for where, database in databases if "capacity" not in database] == []
    description = Database.model_fields["capacity"].description or ""
    assert "without it RollbackReady is False" in description


def test_no_example_store_asks_for_encryption_that_the_server_may_lack() -> None:
    """The test server answers InternalError; mover/store has the test of what is said then."""
    stores = [(w, o["spec"]) for w, o in OURS if o["kind"] == "SnapshotStore"]
    assert len(stores) >= 3
    assert [where for where, spec in stores if "serverSideEncryption" in spec.get("s3", {})] == []


def test_the_installation_of_the_plugin_is_documented() -> None:
    """Not on the demo's page only."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert "kubectl-ocore" in project["scripts"]
    assert "cli" in project["optional-dependencies"]
    for page in ("README.md", "docs/install.md"):
        assert "pip install '.[cli]'" in (REPOSITORY / page).read_text()


def test_adoption_by_id_is_documented() -> None:
    page = (REPOSITORY / "docs/recovery.md").read_text()
    (snapshot,) = [obj for where, obj in OURS if where == "docs/recovery.md" and obj["kind"] == "Snapshot"]
    assert "id" in snapshot["spec"]
    assert "manifest.json" in page
    for other in ("README.md", "docs/troubleshooting.md", "docs/gitops.md"):
        assert "recovery.md" in (REPOSITORY / other).read_text()
