"""The sweep (tests/mutants/sweep.py) lists each change that no test notices, and none that a test notices."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from mutants import sweep
from mutants.loaded import in_fork
from mutants.run import Tree

MODULE = """import functools

LIMIT = 3
UNUSED = 4


def logged(function):
    @functools.wraps(function)
    def wrapper(*arguments):
        return function(*arguments)
    return wrapper


@logged
def within(number):
    return number <= LIMIT


class Counter:
    def count(self, numbers):
        return sum(1 for n in numbers if n > 1)


def elsewhere(number):
    return number < 7


def untested(number):
    return number < 0
"""
TESTS = """import subprocess
import sys
import mod

def test_limit():
    assert mod.within(3)
    assert not mod.within(4)

def test_count():
    assert mod.Counter().count([1, 2, 3]) == 2

def test_elsewhere():
    subprocess.run([sys.executable, "-c", "import mod; assert mod.elsewhere(6) and not mod.elsewhere(7)"], check=True)
"""

#: As that of our tests.
CONFTEST = """import gc

def pytest_collection_finish():
    gc.freeze()
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tree]:
    source = tmp_path_factory.mktemp("source")
    (source / "mod.py").write_text(MODULE)
    (source / "test_mod.py").write_text(TESTS)
    (source / "conftest.py").write_text(CONFTEST)
    (source / "test_bad.py").write_text("def test_bad():\n    assert 1 == 2\n")
    subprocess.run(["git", "init", "--quiet", str(source)], check=True)
    with Tree(source, tmp_path_factory.mktemp("copy")) as made:
        yield made


def test_what_no_test_notices_is_listed(tree: Tree) -> None:
    """A constant that nothing reads, a function that no test enters, and a comparison whose other side no test tries.
    Not listed: what decorators hide, and what only another process notices."""
    survivors: list[sweep.Change] = []
    excluded = [r"core/(?!NumberReplacer|ReplaceComparisonOperator_Gt_NotEq)"]
    assert sweep.sweep(tree, "mod.py", ["test_mod.py"], excluded, survivors.append) == 13
    lines = MODULE.splitlines()
    assert {lines[each.line - 1].strip() for each in survivors} == {
        "UNUSED = 4",
        "return sum(1 for n in numbers if n > 1)",
        "return number < 0",
    }
    assert (tree.root / "mod.py").read_text() == MODULE


def test_a_change_of_a_function_is_noticed_in_the_loaded_module(tree: Tree) -> None:
    """Not only once it is made in the file, which takes many times as long."""
    found = list(sweep.changes("mod.py", MODULE, [r"core/(?!ReplaceComparisonOperator_LtE_Gt$)"]))
    with sweep.Loaded(tree, "mod.py", ["test_mod.py"]) as loaded:
        assert [loaded.passes(each) for each in found] == [False]


def test_tests_must_pass_without_a_change(tree: Tree) -> None:
    with pytest.raises(sweep.Failed, match="assert 1 == 2"):
        sweep.sweep(tree, "mod.py", ["test_bad.py"], [], print)


def test_a_change_is_shown_with_its_line() -> None:
    text = "def half(number):\n    return number // 2\n"
    found = [each for each in sweep.changes("mod.py", text, ["core/ReplaceBinary.*"]) if "NumberR" in each.operator]
    assert [(each.line, each.function) for each in found] == [(2, 1), (2, 1)]
    assert str(found[0]).splitlines()[0] == "mod.py:2  core/NumberReplacer"
    assert "    -    return number // 2" in str(found[0]).splitlines()


@pytest.mark.parametrize("act", [lambda: time.sleep(60), lambda: sys.exit(1)])
def test_a_fork_that_does_not_answer_is_ended(act: Callable[[], object]) -> None:
    since = time.monotonic()
    assert in_fork(act, 0.2) is None
    assert time.monotonic() - since < 30
    assert in_fork(lambda: [1, "a"], 60) == [1, "a"]
