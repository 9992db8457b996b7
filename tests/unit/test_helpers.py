"""What several test modules use is in tests/support: a test module that another one imports cannot be changed, moved or
read alone."""

import ast
from pathlib import Path

import pytest

#: Folders of tests. Modules beside the tests of their own folder are imported relatively.
TESTS = ("unit", "integration", "e2e", "clients")


def refused(source: str) -> list[str]:
    """Names of the test modules, conftests and folders of tests that a module imports."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            # `from ocore_mover.commands import test_restore` is a command.
            names = [f"{module}.{alias.name}" for alias in node.names] if node.level else []
            found += [module, *names]
    return [name for name in found if _is_of_tests(name)]


def _is_of_tests(name: str) -> bool:
    parts = name.strip(".").split(".")
    ours = name.startswith(".") or len(parts) == 1 or parts[0] in ("tests", "support")
    return parts[0] in TESTS or (ours and any(p == "conftest" or p.startswith("test_") for p in parts))


@pytest.mark.parametrize(
    "line",
    [
        "from .test_plan import world",
        "from ..filestore.conftest import Site",
        "from . import test_plan",
        "import test_plan",
        "from test_plan import world",
        "from conftest import Site",
        "from unit.cli.test_cli import FakeObjects",
        "from e2e.soak import plan",
        "import integration.test_operator_snapshots",
        "def test_it():\n    from .test_plan import world",
    ],
)
def test_an_import_of_a_test_module_is_found(line: str) -> None:
    assert refused(line)


@pytest.mark.parametrize(
    "line",
    [
        "from ocore_mover.commands import test_restore",
        "import ocore_mover.commands.test_restore",
        "from support.mover.desk import Desk",
        "from .routes_of_tests import with_routes",
        "from . import faults",
        "from ocore_crds.protocol import TestRestoreResult",
    ],
)
def test_other_imports_are_not(line: str) -> None:
    assert not refused(line)


def test_no_module_imports_a_test_module(repository: Path) -> None:
    found = {
        path.relative_to(repository).as_posix(): names
        for path in sorted((repository / "tests").rglob("*.py"))
        if (names := refused(path.read_text()))
    }
    assert not found, f"move what they share into tests/support: {found}"
