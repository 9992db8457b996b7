"""What stopped people who tried this for the first time (issue 9, item 27): the examples work as they are, and the
pages say what is needed."""

import ast
import re
import subprocess
import tomllib
import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest
import yaml

from ocore_crds.kinds import KINDS
from ocore_crds.resources.environment import Database
from support.cluster import procedures
from support.cluster.cluster import REPOSITORY
from support.tracked import tracked

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
    """`capacity` is optional in the schema, and RollbackReady is False without it, unless a Cluster has it."""
    databases = [(w, o["spec"]["database"]) for w, o in OURS if o["kind"] == "Environment" and "database" in o["spec"]]
    assert len(databases) >= 3
    assert [where for where, database in databases if not {"capacity", "cnpg"} & set(database)] == []
    description = Database.model_fields["capacity"].description or ""
    assert "without it RollbackReady is False" in description


def test_no_example_store_asks_for_encryption_that_the_server_may_lack() -> None:
    """The test server answers InternalError; mover/store has the test of what is said then."""
    stores = [(w, o["spec"]) for w, o in OURS if o["kind"] == "SnapshotStore"]
    assert len(stores) >= 3
    assert [where for where, spec in stores if "serverSideEncryption" in spec.get("s3", {})] == []


#: Waits out a failure. `status.completedAt` is there after both ends.
SUCCESS_ONLY = re.compile(r"kubectl[^\n]*\bwait\b[^\n]*--for=condition=[Cc]omplete\b")


def test_no_command_waits_for_success_alone() -> None:
    assert SUCCESS_ONLY.search("kubectl -n shop wait snapshots.ocore.dev/a --for=condition=Complete --timeout=1h")
    pages = tracked("README.md", "docs", "examples", "charts")
    assert len(pages) > 100
    found = {str(p.relative_to(REPOSITORY)): SUCCESS_ONLY.findall(p.read_text()) for p in pages}
    # One page says why not.
    assert {name for name, hits in found.items() if hits} == {"docs/install.md"}
    assert len(found["docs/install.md"]) == 1


def test_no_example_replaces_a_secret() -> None:
    """`kubectl apply` of a page or a file must not overwrite the keys that an application uses."""
    for path in tracked("README.md", "docs", "examples"):
        if "demo" in path.parts:  # in namespaces that the demo creates
            continue
        blocks = re.findall(r"^```yaml\n(.*?)^```$", path.read_text(), re.MULTILINE | re.DOTALL)
        for text in [path.read_text()] if path.suffix == ".yaml" and "templates" not in path.parts else blocks:
            kinds = [obj.get("kind") for obj in yaml.safe_load_all(text) if isinstance(obj, dict)]
            assert "Secret" not in kinds, path


def test_the_secret_of_a_store_is_created_before_the_store() -> None:
    for page in (
        REPOSITORY / "README.md",
        REPOSITORY / "examples/snapshotstore-s3.yaml",
        REPOSITORY / "docs/install.md",
    ):
        text = page.read_text()
        created = text.find("create secret generic s3")
        used = [
            at
            for word in ("credentialsSecretRef", "apply -f examples/snapshotstore-s3.yaml")
            if (at := text.find(word)) >= 0
        ]
        assert 0 <= created < min(used), page


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


# --- the README ------------------------------------------------------------------------------------------------------


def test_the_readme_is_short_and_has_the_two_commands() -> None:
    text = (REPOSITORY / "README.md").read_text()
    assert len(text.splitlines()) <= 120
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert "make demo\n" in blocks
    assert "make test\n" in blocks
    (own,) = [block for block in blocks if "helm" in block]
    assert len(own.splitlines()) == 4


def test_the_first_page_of_the_documentation_links_every_page() -> None:
    """Folders whose pages are of one kind have a first page of their own."""
    folder = REPOSITORY / "docs"
    text = (folder / "README.md").read_text()
    assert "(docs/README.md)" in (REPOSITORY / "README.md").read_text()
    pages = {path.relative_to(folder).as_posix() for path in folder.rglob("*.md")} - {"README.md"}
    kinds = {path.parent.relative_to(folder).as_posix() for path in folder.glob("*/README.md")}
    own = {page for page in pages if page.endswith("/README.md") or page.partition("/")[0] not in kinds}
    assert {page for page in own if f"({page})" not in text} == set()


def test_the_picture_needs_no_other_file_and_no_background() -> None:
    """It is shown on white and on black pages: text is inside filled shapes."""
    picture = ElementTree.parse(REPOSITORY / "docs/overview.svg").getroot()  # noqa: S314 - our own file
    names = [element.tag.rpartition("}")[2] for element in picture.iter()]
    assert "title" in names
    assert not {"image", "script", "style", "use", "foreignObject"} & set(names)
    assert not [key for element in picture.iter() for key in element.attrib if key.rpartition("}")[2] == "href"]
    assert "(docs/overview.svg)" in (REPOSITORY / "README.md").read_text()


# --- docs/tutorial.md ------------------------------------------------------------------------------------------------


def test_each_command_of_the_tutorial_is_run_by_its_test_and_its_variables_are_set() -> None:
    page = REPOSITORY / "docs/tutorial.md"
    titles = re.findall(r"^## (.*)$", page.read_text(), re.MULTILINE)
    scripts = {title: procedures.blocks(procedures.section(title, page)) for title in titles}
    (names,) = scripts.pop("Names")
    known = set(re.findall(r"^export (\w+)=", names, re.MULTILINE)) | {"ENDPOINT", "EDITOR"}
    test = (REPOSITORY / "tests/e2e/test_tutorial.py").read_text()
    for title, commands in scripts.items():
        assert f'"{title}"' in test or not commands, f"{title} is not run"
        for command in commands:
            subprocess.run(["bash", "-n"], input=command, text=True, check=True)
            assert set(re.findall(r"\$\{?(\w+)", command)) <= known, command
    assert {name for name in known if f'"{name}"' not in test} == set()
    # No block of another kind, which the test would not see.
    assert len(re.findall(r"^ *```\w*$", page.read_text(), re.MULTILINE)) == 2 * (1 + sum(map(len, scripts.values())))


def test_what_the_demo_runs_is_installed_with_the_cluster() -> None:
    """A bare Debian has no curl: the demo ended with a traceback at its eleventh step of twelve."""
    commands = {
        node.elts[0].value
        for file in (REPOSITORY / "examples/demo/demo_run").glob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.List) and node.elts and isinstance(node.elts[0], ast.Constant)
        if re.fullmatch("[a-z]+", str(node.elts[0].value))
    }
    assert {"bash", "curl", "kubectl"} <= commands
    build = (REPOSITORY / "localcluster/lib/build.sh").read_text()
    installed = set(re.findall(r"([a-z0-9]+)=", re.findall(r"^DEPS='(.*?)'", build, re.MULTILINE | re.DOTALL)[0]))
    built = set(re.findall(r"COMPONENTS\+?='(.*?)'", build)[0].split()) | {"helm"}
    assert commands <= installed | built | {"bash"}
