"""The mutants of tests/mutants fit the tree, and their runner takes nothing for killed that is not."""

import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mutants import patches, run
from mutants.patches import BadPatch, Mutant

MODULE = """def half(number):
    if number % 2:
        raise ValueError("odd")
    return number // 2
"""
TESTS = """import time
from pathlib import Path
import pytest
from mod import half

stood_still = [Path(__file__).with_name(f"stood-still-{n}") for n in range(2)]

def test_odd_is_refused():
    with pytest.raises(ValueError, match="odd"):
        half(3)

def test_even():
    assert half(4) == 2

@pytest.fixture
def refused():
    with pytest.raises(ValueError):
        half(3)

def test_with_fixture(refused):
    pass

def test_skips():
    try:
        half(3)
    except ValueError:
        return
    pytest.skip("nothing to test")

def test_hangs():
    try:
        half(3)
    except ValueError:
        return
    time.sleep(60)

def test_raises():
    try:
        half(3)
    except ValueError:
        return
    raise KeyError("none")

def test_hangs_at_first():
    try:
        half(3)
    except ValueError:
        return
    for each in stood_still:
        if not each.exists():
            each.touch()
            time.sleep(60)
    assert half(3) is None
"""
PATCH = """Guard: odd numbers are refused
{headers}

--- a/mod.py
+++ b/mod.py
@@ -1,4 +1,4 @@
 def half(number):
-    if number % 2:
+    if False:
         raise ValueError("odd")
"""
#: Modules of a package that stays loaded between the runs.
LOADED = {
    "kube/ocore_kube/__init__.py": "",
    "kube/ocore_kube/limits.py": "LIMIT = 3\n",
    "kube/ocore_kube/rules/__init__.py": "from ocore_kube.limits import LIMIT\n\nTWICE = 2 * LIMIT\n",
    "kube/ocore_kube/rules/inner.py": "from ocore_kube import rules\n\nMORE = rules.TWICE + 1\n",
    "kube/ocore_kube/apart.py": "import os\n\nLOADED_BY = os.getpid()\n",
    "test_loaded.py": """import os
from ocore_kube import apart, limits
from ocore_kube.rules import TWICE, inner

def test_limit():
    assert limits.LIMIT == 3

def test_twice():
    assert TWICE == 6

def test_more():
    assert inner.MORE == 7

def test_loaded_before():
    assert apart.LOADED_BY != os.getpid()
""",
}


def mutant(*tests: str, more: str = "", text: str = PATCH) -> Mutant:
    headers = "\n".join(f"Killed-by: test_mod.py::{test}" for test in tests) + (f"\n{more}" if more else "")
    return patches.parse("m", text.format(headers=headers))


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[run.Tree]:
    source = tmp_path_factory.mktemp("source")
    (source / "mod.py").write_text(MODULE)
    (source / "test_mod.py").write_text(TESTS)
    for name, text in LOADED.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(text)
    subprocess.run(["git", "init", "--quiet", str(source)], check=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "TEST_SECONDS", 2)
        with run.Tree(source, tmp_path_factory.mktemp("copy")) as made:
            yield made


def outcome(tree: run.Tree, *mutants: Mutant) -> tuple[bool, str]:
    said: list[str] = []
    runner = run.Run([tree], said.append)
    killed = runner.all(mutants)
    assert killed == (not runner.problems)
    assert (tree.root / "mod.py").read_text() == MODULE, "the copy is as it was"
    return killed, "\n".join(said)


def test_a_mutant_whose_test_notices_it_is_killed(tree: run.Tree) -> None:
    assert outcome(tree, mutant("test_odd_is_refused"))[0]


@pytest.mark.parametrize(
    ("test", "says"),
    [
        ("test_even", "test_even passes without the guard"),
        ("test_with_fixture", "test_with_fixture: error, which shows nothing"),
        ("test_skips", "test_skips: skipped, which shows nothing"),
        ("test_hangs", "test_hangs fails by something else than an assertion: Failed: Timeout"),
        ("test_raises", "test_raises fails by something else than an assertion: KeyError"),
    ],
)
def test_what_shows_nothing_does_not_kill(tree: run.Tree, test: str, says: str) -> None:
    killed, said = outcome(tree, mutant("test_odd_is_refused", test))
    assert not killed
    assert says in said
    assert ("again " in said) == ("passes without" not in says)


def test_a_test_that_a_machine_stopped_is_tried_once_more(tree: run.Tree) -> None:
    """In the loaded module and with the file at first."""
    killed, said = outcome(tree, mutant("test_hangs_at_first"))
    assert killed
    again = "again     m: test_mod.py::test_hangs_at_first fails by something else than an assertion: Failed: Timeout"
    assert again in said


@pytest.mark.parametrize("more", ["", "+# more\n+# more\n"])
def test_a_function_is_changed_in_the_loaded_module(tree: run.Tree, more: str) -> None:
    """Also one that begins in another line then."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run.Tree, "run", lambda *_: pytest.fail("loaded again"))
        text = PATCH.replace(" def half", f"{more} def half")
        assert run.Run([tree], print).all([mutant("test_odd_is_refused", text=text)], passed=True)


def test_a_mutant_is_not_taken_for_one_of_the_same_length(tree: run.Tree) -> None:
    """Each is compiled for itself, and the original again after them."""
    one = mutant("test_odd_is_refused")
    other = mutant("test_even", more="Fails-with: ValueError", text=PATCH.replace("if False", "if not 0"))
    assert len(one.mutate(MODULE)) == len(other.mutate(MODULE))
    said: list[str] = []
    assert run.Run([tree], said.append).all([one, other, one], passed=True), said
    assert outcome(tree, other)[0]


def test_a_change_reaches_all_that_import_the_module(tree: run.Tree) -> None:
    """The rest is not loaded again."""
    tests = ("test_limit", "test_twice", "test_more")
    changed = Mutant(
        name="m",
        guard="g",
        tests=tuple(f"test_loaded.py::{test}" for test in tests),
        file="kube/ocore_kube/limits.py",
        hunks=(("LIMIT = 3\n", "LIMIT = 4\n"),),
    )
    assert outcome(tree, changed)[0]
    apart = replace(changed, tests=("test_loaded.py::test_loaded_before",))
    assert "test_loaded_before passes without the guard" in outcome(tree, apart)[1]


def test_an_expected_error_kills(tree: run.Tree) -> None:
    assert outcome(tree, mutant("test_raises", more="Fails-with: KeyError"))[0]


def test_a_test_that_does_not_exist_is_named(tree: run.Tree) -> None:
    killed, said = outcome(tree, mutant("test_odd_is_refuse"))
    assert not killed
    assert "test_odd_is_refuse was not run" in said


def test_tests_must_pass_without_the_patch(tree: run.Tree) -> None:
    (tree.root / "test_mod.py").write_text(TESTS.replace("half(4) == 2", "half(4) == 3"))
    try:
        killed, said = outcome(tree, mutant("test_even"))
    finally:
        (tree.root / "test_mod.py").write_text(TESTS)
    assert not killed
    assert "test_even does not pass without the patch" in said


def test_tests_that_have_passed_are_not_run_without_the_patch(tree: run.Tree) -> None:
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run.Run, "_passes", lambda *_: pytest.fail("run again"))
        assert run.Run([tree], said.append).all([mutant("test_odd_is_refused")], passed=True)
        assert not run.Run([tree], said.append).all([mutant("test_even")], passed=True)


@pytest.mark.parametrize("change", [("number % 2", "number % 4"), ("def half", "def halves")])
def test_a_patch_that_does_not_fit_says_what_to_do(tree: run.Tree, change: tuple[str, str]) -> None:
    text = PATCH.replace(*change)
    killed, said = outcome(tree, mutant("test_odd_is_refused", text=text))
    assert not killed
    assert "not in the file any more (mod.py)" in said
    assert "change the patch so that it takes the guard out at its new place" in said


@pytest.mark.parametrize(
    "text",
    [
        PATCH.replace("Guard: odd numbers are refused\n", ""),
        PATCH.replace("{headers}", "Killed: x"),
        PATCH.replace("{headers}", ""),
        PATCH.replace("+    if False:\n", "").replace("-    if number % 2:\n", ""),
        PATCH + "--- a/other.py\n+++ b/other.py\n",
    ],
)
def test_other_files_are_no_patches(text: str) -> None:
    with pytest.raises(BadPatch):
        mutant("test_even", text=text)


@pytest.mark.parametrize("each", patches.load(), ids=lambda m: m.name)
def test_every_patch_fits(each: Mutant, repository: Path) -> None:
    """The quick part of `make test-mutants`: the guard is where the patch expects it, and the tests exist."""
    changed = each.mutate((repository / each.file).read_text(encoding="utf-8"))
    if each.file.endswith(".py"):
        compile(changed, each.file, "exec")
    for test in each.tests:
        file, _, name = test.partition("::")
        assert f"def {name}(" in (repository / file).read_text(encoding="utf-8"), test


def test_what_is_swept_exists(repository: Path) -> None:
    modules = tomllib.loads((repository / "tests/mutants/sweep.toml").read_text(encoding="utf-8"))["modules"]
    for name in (*modules, *(test for tests in modules.values() for test in tests)):
        assert (repository / name).is_file(), name
    patched = {each.file for each in patches.load()}
    assert {"mover/ocore_mover/manifests.py", "operator/ocore_operator/operation_lock.py"} <= patched & modules.keys()
