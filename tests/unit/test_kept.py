"""A mutant that was killed is not tried again only where nothing changed that its tests depend on."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mutants import kept, patches, run
from mutants.kept import Kept, Sources
from mutants.patches import Mutant

FILES = {
    "kube/ocore_kube/__init__.py": "",
    "kube/ocore_kube/limits.py": "def allowed(number):\n    if number > 3:\n        return False\n    return True\n",
    "kube/ocore_kube/page.py": "from pathlib import Path\nPAGE = Path(__file__).with_suffix('.html').read_text()\n",
    "kube/ocore_kube/page.html": "<p>",
    "kube/ocore_kube/rules.py": "def rule(n):\n    from ocore_kube.limits import allowed\n    return allowed(n)\n",
    "kube/ocore_kube/kinds/__init__.py": "",
    "kube/ocore_kube/kinds/one.py": "ONE = 1\n",
    "kube/ocore_kube/named.py": "import importlib\n\ndef kind(name):\n"
    "    return importlib.import_module(f'ocore_kube.kinds.{name}')\n",
    "kube/ocore_kube/other.py": "OTHER = 1\n",
    "data/read.txt": "3",
    "data/beside.txt": "3",
    "texts/a.txt": "a",
    "tests/conftest.py": "",
    "tests/helper.py": "TEXT = 'ocore_kube.patched'\n",
    "kube/ocore_kube/patched.py": "PATCHED = 1\n",
    "tests/unit/test_rules.py": """import subprocess
from pathlib import Path
from helper import TEXT
from ocore_kube import page
from ocore_kube.named import kind
from ocore_kube.rules import rule

ROOT = Path(__file__).parents[2]

def test_limit():
    assert kind("one").ONE == 1
    read = subprocess.run(["cat", ROOT / "data" / "read.txt"], capture_output=True, text=True, check=True).stdout
    assert [path.name for path in (ROOT / "texts").iterdir()] == ["a.txt"]
    assert not rule(int(read) + 1)

def test_even():
    assert rule(2)
""",
}
TEST = "tests/unit/test_rules.py"


def mutant(test: str) -> Mutant:
    change = ("    if number > 3:\n", "    if False:\n")
    return Mutant(name=test, guard="g", tests=(f"{TEST}::{test}",), file="kube/ocore_kube/limits.py", hunks=(change,))


KILLED, SURVIVES = mutant("test_limit"), mutant("test_even")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    subprocess.run(["git", "init", "--quiet", str(folder)], check=True)
    return folder


@pytest.fixture(scope="module")
def tree(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[run.Tree]:
    with run.Tree(source, tmp_path_factory.mktemp("copy")) as made:
        yield made


@pytest.fixture(scope="module")
def entry(tree: run.Tree, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What is kept of the killed mutant."""
    folder = tmp_path_factory.mktemp("first")
    assert run.Run([tree], print, Kept(folder)).all([KILLED])
    return (folder / "test_limit.json").read_bytes()


@pytest.fixture
def folder(tmp_path: Path, entry: bytes) -> Path:
    (tmp_path / "test_limit.json").write_bytes(entry)
    return tmp_path


def holds(folder: Path, source: Path, each: Mutant = KILLED) -> bool:
    return Kept(folder).holds(each, Sources(source, run.listed(source)))


def test_it_is_kept_where_nothing_changed(folder: Path, source: Path) -> None:
    assert holds(folder, source)
    assert not holds(folder, source, SURVIVES)


@pytest.mark.parametrize(
    "name",
    [
        TEST,  # the tests
        "tests/conftest.py",
        "tests/helper.py",  # what they import
        "kube/ocore_kube/limits.py",  # the mutant's file: in memory before the tests, imported within a function
        "kube/ocore_kube/rules.py",
        "kube/ocore_kube/kinds/one.py",  # imported by a name that is computed
        "kube/ocore_kube/patched.py",  # named in a text
        "kube/ocore_kube/page.html",  # read before the tests were collected
        "data/read.txt",  # read by a program
    ],
)
def test_it_is_tried_again_where_a_file_changed(name: str, folder: Path, source: Path) -> None:
    (source / name).write_text(FILES[name] + "\n")
    try:
        assert not holds(folder, source)
        (source / name).unlink()
        assert not holds(folder, source)
    finally:
        (source / name).write_text(FILES[name])
    (source / name).chmod(0o755)
    try:
        assert not holds(folder, source)
    finally:
        (source / name).chmod(0o644)
    assert holds(folder, source)


@pytest.mark.parametrize("name", ["data/beside.txt", "kube/ocore_kube/other.py"])
def test_another_file_changes_nothing(name: str, folder: Path, source: Path) -> None:
    (source / name).write_text(FILES[name] + "\n")
    try:
        assert holds(folder, source)
    finally:
        (source / name).write_text(FILES[name])


@pytest.mark.parametrize("name", ["conftest.py", "tests/unit/conftest.py", "texts/b.txt", "kube/ocore_kube/helper.py"])
def test_it_is_tried_again_where_a_file_was_added(name: str, folder: Path, source: Path) -> None:
    """One that pytest loads, one in a folder that a test lists, one in a folder of modules."""
    (source / name).write_text("")
    try:
        assert not holds(folder, source)
    finally:
        (source / name).unlink()
    assert holds(folder, source)


@pytest.mark.parametrize("variable", ["LC_ALL", "OCORE_ODOO", "PGHOST"])
def test_it_is_tried_again_in_another_environment(
    variable: str, folder: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "other")
    kept.environment.cache_clear()
    try:
        assert not holds(folder, source)
        monkeypatch.delenv(variable)
    finally:
        kept.environment.cache_clear()


def test_of_an_archive_only_the_contents_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Odoo of CI is in another folder at each run."""
    found = []
    for place, contents in (("a", b"odoo"), ("b", b"odoo"), ("c", b"other")):
        (tmp_path / place).mkdir()
        archive = tmp_path / place / "odoo.tar"
        archive.write_bytes(contents)
        monkeypatch.setenv("OCORE_ODOO", str(archive))
        kept.environment.cache_clear()
        found.append(kept.environment())
    kept.environment.cache_clear()
    assert found[0] == found[1] != found[2]


def test_it_is_tried_again_where_the_patch_changed(folder: Path, source: Path) -> None:
    other = patches.parse(
        KILLED.name,
        f"Guard: g\nKilled-by: {TEST}::test_limit\n\n--- a/{KILLED.file}\n+++ b/{KILLED.file}\n@@ -2 +2 @@\n"
        "-    if number > 3:\n+    if not number:\n",
    )
    assert (other.name, other.tests, other.file) == (KILLED.name, KILLED.tests, KILLED.file)
    assert not holds(folder, source, other)


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"inputs": 1}', '{"inputs": [1], "key": ""}'])
def test_what_is_no_entry_is_not_believed(text: str, folder: Path, source: Path) -> None:
    (folder / "test_limit.json").write_text(text)
    assert not holds(folder, source)


@pytest.mark.parametrize("change", ["key", "digest", "inputs"])
def test_a_planted_entry_of_other_inputs_is_not_believed(change: str, entry: bytes, folder: Path, source: Path) -> None:
    other = json.loads(entry)
    other[change] = [] if change == "inputs" else "0" * 64
    (folder / "test_limit.json").write_text(json.dumps(other))
    assert not holds(folder, source)


def test_a_run_without_the_cache_finds_a_planted_wrong_entry(
    tree: run.Tree, entry: bytes, folder: Path, source: Path
) -> None:
    """With the right digests, which no comparison finds. It is removed."""
    verdicts = Kept(folder)
    verdicts.put(SURVIVES, json.loads(entry)["inputs"], tree.sources)
    assert holds(folder, source, SURVIVES)
    said: list[str] = []
    assert not run.Run([tree], said.append, verdicts).all([SURVIVES], passed=True)
    assert "Its kept verdict was wrong" in "\n".join(said)
    assert not holds(folder, source, SURVIVES)
    assert not (folder / "test_even.json").exists()


def test_nothing_is_kept_where_events_were_lost(tree: run.Tree, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tree._opened is not None
    monkeypatch.setattr(tree._opened, "forget", lambda: None)
    monkeypatch.setattr(tree._opened, "lost", True)
    assert run.Run([tree], print, Kept(folder)).all([KILLED], passed=True)
    assert not (folder / "test_limit.json").exists()
