"""Maintainer and contacts: filled in once, in project.toml."""

import shutil
from pathlib import Path

import pytest
import yaml

from ocore_release import __main__, contacts, source
from ocore_release.build import Settings
from support.cluster.cluster import REPOSITORY

FILES = ("README.md", "SECURITY.md", "CODE_OF_CONDUCT.md", contacts.CHART, "project.toml", "ui/src/icon.svg")
FILLED = """maintainer = "A \\"small\\" team: é"
home = "https://example.org/snapshots"
source = "https://git.example.org/snapshots"
questions = "https://forum.example.org"
security = "security@example.org"
conduct = "conduct@example.org"
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, tmp_path / name)
    return tmp_path


def test_the_files_have_what_project_toml_says() -> None:
    for name, text in contacts.written(REPOSITORY).items():
        assert (REPOSITORY / name).read_text() == text, f"{name}: make generate"


def test_each_contact_gets_into_its_page_and_the_chart(tree: Path) -> None:
    (tree / "project.toml").write_text(FILLED)
    found = contacts.written(tree)
    assert "Questions: <https://forum.example.org>." in found["README.md"]
    assert "How to report: <!-- contacts --><security@example.org><!-- /contacts -->." in found["SECURITY.md"]
    assert "<conduct@example.org>" in found["CODE_OF_CONDUCT.md"]
    about = yaml.safe_load(found[contacts.CHART])
    assert about["home"] == "https://example.org/snapshots"
    assert about["sources"] == ["https://git.example.org/snapshots"]
    assert about["maintainers"] == [{"name": 'A "small" team: é', "url": "https://forum.example.org"}]
    assert about["icon"].startswith("data:image/svg+xml;base64,")
    assert contacts.missing(tree) == []
    # Written twice is written once.
    for name, text in found.items():
        (tree / name).write_text(text)
    assert contacts.written(tree) == found


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("https://example.org/snapshots", "example.org", "home 'example.org' is no https URL$"),
        ("conduct@example.org", "at example.org", "conduct 'at example.org' is no https URL or e-mail address"),
        ("conduct =", "behaviour =", "see behaviour, conduct"),
    ],
)
def test_a_value_of_the_wrong_form_is_refused(tree: Path, old: str, new: str, said: str) -> None:
    (tree / "project.toml").write_text(FILLED.replace(old, new, 1))
    with pytest.raises(source.ReleaseError, match=said):
        contacts.written(tree)


def test_a_version_without_a_maintainer_is_not_released(tree: Path) -> None:
    """A pre-release may be."""
    (tree / "project.toml").write_text(FILLED.replace("security@example.org", ""))
    settings = Settings(version="1.2.3", cache=tree / "cache", out=tree / "dist")
    with pytest.raises(source.ReleaseError, match=r"project\.toml does not name: security\."):
        __main__.release(tree, settings)
