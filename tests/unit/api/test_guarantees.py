"""The table of guarantees in docs/rest-api-guarantees.md names tests that exist."""

import ast
import re

from support.cluster.cluster import REPOSITORY

ROW = re.compile(r"^\| (.+) \| ((?:`tests/[\w/]+\.py::\w+`(?:, )?)+) \|$", re.MULTILINE)


def test_every_guarantee_names_tests_that_exist() -> None:
    section = (REPOSITORY / "docs/rest-api-guarantees.md").read_text()
    rows = ROW.findall(section)
    assert len(rows) == section.count("\n| ") - 1 >= 10  # but for the heading
    for guarantee, tests in rows:
        for file, function in re.findall(r"`([^`:]+)::(\w+)`", tests):
            tree = ast.parse((REPOSITORY / file).read_text())
            found = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
            assert function in found, f"{guarantee}: {file} has no {function}"
