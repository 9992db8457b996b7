"""`ocore_crds` does no I/O, except in the modules that its docstring names. Read from the syntax tree."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import ocore_crds

PACKAGE = Path(ocore_crds.__file__).parent
#: Modules that do I/O, as the package's docstring says.
WITH_IO = {"failpoints", "generate", "troubleshooting"}
#: All that a module without I/O may import.
PURE = {
    "base64",
    "collections",
    "cronsim",
    "dataclasses",
    "datetime",
    "decimal",
    "enum",
    "functools",
    "hashlib",
    "itertools",
    "json",
    "math",
    "pydantic",
    "pydantic_core",
    "re",
    "shlex",
    "statistics",
    "typing",
    "zoneinfo",  # it reads the system's time zones, which are the same for all
}
#: Methods that read the clock.
CLOCK = {"now", "today", "utcnow"}
IO_BUILTINS = {"open", "print", "input", "exec", "eval", "breakpoint", "__import__"}
MODULES = sorted(str(path.relative_to(PACKAGE).with_suffix("")) for path in PACKAGE.rglob("*.py"))


def imported(tree: ast.Module) -> Iterator[str]:
    """Top-level names of the imports; of ours the whole names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None
            assert not node.level
            top = node.module.partition(".")[0]
            ours = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            yield from ours if top == ocore_crds.__name__ else [top]


def offences(source: str) -> set[str]:
    """Imports and calls in this source that a module without I/O may not have."""
    tree = ast.parse(source)
    modules = {name for name in imported(tree) if not name.startswith("ocore_crds") and name not in PURE}
    calls = {n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
    methods = {n.func.attr for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)}
    return modules | (calls & IO_BUILTINS) | (methods & CLOCK)


@pytest.mark.parametrize("module", [m for m in MODULES if m not in WITH_IO])
def test_a_module_does_no_io(module: str) -> None:
    assert offences((PACKAGE / f"{module}.py").read_text()) == set()


@pytest.mark.parametrize("module", sorted(WITH_IO))
def test_the_exceptions_are_exceptions(module: str) -> None:
    """Else the list is longer than it must be, and the docstring wrong."""
    assert offences((PACKAGE / f"{module}.py").read_text())
    assert f"``{module}``" in (ocore_crds.__doc__ or "")


def test_no_model_uses_a_module_with_io() -> None:
    """`reference` lists the failpoints, `generate` is imported by nothing."""
    users = {
        (module, name)
        for module in MODULES
        for name in imported(ast.parse((PACKAGE / f"{module}.py").read_text()))
        if name.removeprefix("ocore_crds.") in WITH_IO
    }
    assert users == {("schema/reference", "ocore_crds.failpoints")}


@pytest.mark.parametrize(
    "source",
    [
        "import os",
        "from pathlib import Path",
        "import time as t",
        "def f():\n    import socket",
        "open('x')",
        "print(1)",
        "from datetime import datetime\ndatetime.now()",
    ],
)
def test_io_is_found(source: str) -> None:
    assert offences(source)
