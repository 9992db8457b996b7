"""What the operator uses of kopf beside its documented API. A new version of kopf may move or change it."""

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kopf
import pytest

#: Module of the operator → what it imports of kopf's private modules.
PRIVATE = {
    "engine/handlers.py": {"kopf._core.reactor.inventory.ResourceMemories"},
    "engine/listing.py": {"kopf._cogs.clients.api", "kopf._cogs.clients.fetching"},
}
#: What is called, or whose method is overridden → parameters that are passed or read.
CALLED = {
    "kopf.spawn_tasks": {"memories"},
    "kopf._core.reactor.inventory.ResourceMemories.recall": {"raw_body", "ephemeral"},
    "kopf._cogs.clients.api.request": {"method", "url", "settings", "logger"},
}
#: What listing.py replaces by a function of the same name, which has to accept what kopf passes.
REPLACED = ("kopf._cogs.clients.fetching.fetch_objs", "kopf._cogs.clients.api.iter_jsonlines")


def private_imports(path: Path) -> Iterator[str]:
    """Names of kopf's private modules that a module imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            found = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        else:
            found = []
        yield from (name for name in found if name.startswith("kopf.") and "._" in name)


def find(name: str) -> Any:
    """The object of that dotted name. Fails the test with the names of the parts that kopf does not have."""
    parts = name.split(".")
    found: Any = kopf
    for end, part in enumerate(parts[1:], 2):
        if not hasattr(found, part):
            try:
                importlib.import_module(".".join(parts[:end]))
            except ImportError:
                pytest.fail(f"kopf has no {'.'.join(parts[:end])}: {remedy()}")
        found = getattr(found, part)
    return found


def remedy() -> str:
    return (
        "adapt engine/handlers.py or engine/listing.py and docs/decisions/0005-what-kopf-does.md, or keep the locked"
        " version of kopf (requirements/operator.txt)."
    )


def parameters(name: str) -> set[str]:
    return set(inspect.signature(find(name)).parameters)


def written_parameters(module: Any, function: str) -> set[str]:
    """Parameters in the source of a module, whatever has replaced the function since."""
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.AsyncFunctionDef) and node.name == function:
            return {each.arg for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)}
    pytest.fail(f"{module.__name__} has no asynchronous function {function}: {remedy()}")


def test_only_these_modules_use_what_kopf_does_not_document(repository: Path) -> None:
    operator = repository / "operator/ocore_operator"
    found = {p.relative_to(operator).as_posix(): set(private_imports(p)) for p in operator.rglob("*.py")}
    assert {path: names for path, names in found.items() if names} == PRIVATE


@pytest.mark.parametrize("name", sorted(set().union(*PRIVATE.values())))
def test_kopf_has_what_is_imported(name: str) -> None:
    find(name)


@pytest.mark.parametrize("name", CALLED)
def test_kopf_accepts_what_is_passed(name: str) -> None:
    missing = CALLED[name] - parameters(name)
    assert not missing, f"{name} of kopf has no parameter {', '.join(sorted(missing))}: {remedy()}"


@pytest.mark.parametrize("name", REPLACED)
def test_a_replacement_has_the_parameters_of_the_original(name: str) -> None:
    module, _, function = name.rpartition(".")
    theirs = written_parameters(find(module), function)
    ours = written_parameters(importlib.import_module("ocore_operator.engine.listing"), function)
    assert ours == theirs, f"{name} of kopf has other parameters than its replacement: {remedy()}"
