"""docs/failure-modes.md names real tests, by the number of their row, and misses none of those."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from support.cluster.cluster import REPOSITORY

TABLE = REPOSITORY / "docs/failure-modes.md"


def rows() -> dict[int, str]:
    """Number of the row → its last cell."""
    lines = [line.strip("| \n").split(" | ") for line in TABLE.read_text().splitlines() if re.match(r"\| \d+ \|", line)]
    return {int(cells[0]): cells[-1] for cells in lines}


def named_in(cell: str) -> list[tuple[str, str]]:
    """The cell's tests: file and function."""
    return re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", cell)


@cache
def functions(path: Path) -> set[str]:
    """The module's functions, by its syntax: importing it would need a cluster's libraries."""
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}


@cache
def marked_long(path: Path) -> set[str]:
    """The module's functions that only `make test-all` runs: by their decorator, or by the module's `pytestmark`."""
    if "mark.long" not in (text := path.read_text()):
        return set()
    tree = ast.parse(text)
    module = any(
        isinstance(node, ast.Assign) and "pytestmark" in ast.unparse(node) and "mark.long" in ast.unparse(node.value)
        for node in tree.body
    )
    found = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return {f.name for f in found if module or any("mark.long" in ast.unparse(d) for d in f.decorator_list)}


def test_every_row_is_there() -> None:
    numbers = sorted(rows())
    assert numbers == list(range(1, max(numbers) + 1))


@pytest.mark.parametrize("number", sorted(rows()))
def test_a_row_names_tests_that_exist(number: int) -> None:
    cell = rows()[number]
    named = named_in(cell)
    assert named, f"row {number} has no test"
    for file, function in named:
        assert function.startswith(f"test_row_{number:02}_"), function
        assert function in functions(REPOSITORY / file), f"{file} has no {function}"
    assert [n for n in named if n[1] not in marked_long(REPOSITORY / n[0])], f"`make test` runs no test of row {number}"


def test_no_row_test_is_left_out() -> None:
    named = {found for cell in rows().values() for found in named_in(cell)}
    written = {
        (str(path.relative_to(REPOSITORY)), function)
        for path in (REPOSITORY / "tests").rglob("test_*.py")
        if "def test_row_" in path.read_text()
        for function in functions(path)
        if re.match(r"test_row_\d{2,}_", function)
    }
    assert written == named
