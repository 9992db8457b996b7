"""Rules of imports that no contract in pyproject.toml expresses: no circles of modules, and purity by a module's
name."""

import ast
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import grimp
import pytest

PACKAGES = ("ocore_crds", "ocore_kube", "ocore_operator", "ocore_mover", "ocore_api", "ocore_cli")

#: A module of this name is pure wherever it is, and so is each module of a folder of this name.
PURE = re.compile(r"plan(_\w+)?|decide|transitions|entry|views?(_\w+)?")
#: Packages in which the names have this meaning.
NAMED = ("ocore_operator", "ocore_mover", "ocore_api")
#: Pure modules that have another name, and that no module of such a name imports.
ALSO_PURE = (
    "ocore_operator.imports.rollbacks",
    "ocore_operator.entries.full_snapshots",
    "ocore_operator.policy.due",
    "ocore_operator.rollback.conditions",
)
#: What pure modules may import of the standard library and of libraries. None of it does I/O, reads a clock, draws a
#: random number or writes logs. zoneinfo reads the time zone database, which is data of the installation. catalog.py
#: uses only `intern` of sys.
HARMLESS = {
    "abc",
    "base64",
    "collections",
    "cronsim",
    "dataclasses",
    "datetime",
    "decimal",
    "enum",
    "functools",
    "hashlib",
    "ipaddress",
    "itertools",
    "json",
    "math",
    "pydantic",
    "shlex",
    "pydantic_core",
    "re",
    "statistics",
    "sys",
    "typing",
    "zoneinfo",
}
#: Modules that have types and pure functions beside I/O. Pure modules may import them, but have no `async` or `await`,
#: so they cannot do that I/O.
MIXED = {
    "ocore_crds.failpoints",
    "ocore_crds.troubleshooting",  # reads a file of its package, once
    "ocore_operator.jobs.building.inputs",
    "ocore_operator.jobs.reporting.log",
    "ocore_operator.jobs.signals",
    "ocore_operator.settings",
    "ocore_operator.summarize",
}
#: The module that wraps the clock. Pure modules use the rest of it, and get the time as an argument.
CLOCK = "ocore_operator.clock"


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    """All imports, those under TYPE_CHECKING included, as the contracts count them."""
    return grimp.build_graph(*PACKAGES, include_external_packages=True, cache_dir=None)


def ours(module: str) -> bool:
    return module.split(".")[0] in PACKAGES


def imports(graph: grimp.ImportGraph, module: str) -> list[str]:
    return sorted(graph.find_modules_directly_imported_by(module))


def circle(graph: grimp.ImportGraph) -> list[str]:
    """Modules that import each other in this order, the first one again at the end; empty: there are none."""
    finished: set[str] = set()
    for start in sorted(filter(ours, graph.modules)):
        path, todo = [start], [iter(imports(graph, start))]
        while path and start not in finished:
            found = next(todo[-1], None)
            if found is None:
                finished.add(path.pop())
                todo.pop()
            elif found in path:
                return [*path[path.index(found) :], found]
            elif ours(found) and found not in finished:
                path.append(found)
                todo.append(iter(imports(graph, found)))
    return []


def named_pure(graph: grimp.ImportGraph) -> list[str]:
    """Modules whose name, or the name of a folder around them, says that they are pure."""
    return sorted(
        m for m in graph.modules if m.startswith(NAMED) and any(PURE.fullmatch(name) for name in m.split(".")[1:])
    )


def pure_closure(graph: grimp.ImportGraph) -> dict[str, tuple[str, ...]]:
    """What has to be pure: these modules, and all of ours that they import; each with the chain of imports to it."""
    found = {m: (m,) for m in (*named_pure(graph), *ALSO_PURE)}
    todo = list(found)
    for module in todo:
        for each in imports(graph, module):
            if ours(each) and each not in found and each not in MIXED:
                found[each] = (*found[module], each)
                todo.append(each)
    return found


def impure(graph: grimp.ImportGraph, module: str) -> list[str]:
    """What a module imports of the standard library and of libraries that a pure one may not import."""
    return [m for m in imports(graph, module) if not ours(m) and m.split(".")[0] not in HARMLESS]


def tree(module: str) -> ast.Module:
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    return ast.parse(Path(spec.origin).read_text())


def clock_reads_and_awaits(module: ast.Module) -> Iterator[int]:
    """Lines in which a module reads the clock, or may wait for I/O."""
    for node in ast.walk(module):
        reads = isinstance(node, ast.Attribute) and node.attr in {"now", "utcnow", "today"}
        if reads and isinstance(node.value, ast.Name) and node.value.id in {"clock", "datetime", "date"}:
            yield node.lineno
        if isinstance(node, (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)):
            yield node.lineno
        if isinstance(node, ast.ImportFrom) and node.module == CLOCK and any(name.name == "now" for name in node.names):
            yield node.lineno


def test_no_module_imports_itself_through_others(graph: grimp.ImportGraph) -> None:
    assert " -> ".join(circle(graph)) == ""


def test_a_circle_is_found() -> None:
    made = grimp.ImportGraph()
    for importer, imported in (("a", "b"), ("a", "c"), ("b", "d"), ("c", "d"), ("d", "e")):
        made.add_import(importer=f"ocore_crds.{importer}", imported=f"ocore_crds.{imported}")
    assert circle(made) == []
    made.add_import(importer="ocore_crds.e", imported="ocore_crds.c")
    assert circle(made) == [f"ocore_crds.{m}" for m in "decd"]


def test_pure_modules_reach_no_io(graph: grimp.ImportGraph) -> None:
    chains = pure_closure(graph)
    found = [" -> ".join((*chain, external)) for m, chain in chains.items() for external in impure(graph, m)]
    assert found == [], "Move what does I/O out of these modules, or add what does none to HARMLESS."


def test_pure_modules_read_no_clock_and_wait_for_nothing(graph: grimp.ImportGraph) -> None:
    checked = sorted(set(pure_closure(graph)) - {CLOCK})
    assert [f"{m}:{line}" for m in checked for line in clock_reads_and_awaits(tree(m))] == []


def test_the_names_are_in_use(graph: grimp.ImportGraph) -> None:
    """A folder that is renamed does not leave the rule silently."""
    names = named_pure(graph)
    for room in ("ocore_api.views", "ocore_operator.policy", "ocore_operator.rollback", "ocore_operator.snapshot"):
        assert [m for m in names if m.startswith(f"{room}.")], room
    assert [m for m in ALSO_PURE if m in names] == []


def test_every_exception_is_needed(graph: grimp.ImportGraph) -> None:
    """A module that became pure, or that no pure module imports any more, leaves MIXED."""
    pure = pure_closure(graph)
    for module in sorted(MIXED):
        assert any(each in pure for each in graph.find_modules_that_directly_import(module)), module
        assert any(impure(graph, each) for each in {module, *filter(ours, graph.find_upstream_modules(module))}), module


def test_only_main_and_the_engine_of_the_operator_know_kopf(graph: grimp.ImportGraph) -> None:
    users = graph.find_modules_that_directly_import("kopf")
    assert users
    assert [m for m in users if m != "ocore_operator.main" and not m.startswith("ocore_operator.engine.")] == []


def readers_of_states() -> set[str]:
    """Modules of the operator that import a state of a Job."""
    states = {"Absent", "Starting", "Running", "Succeeded", "NoResult", "JobFailed"}
    root = Path(str(importlib.util.find_spec("ocore_operator").origin)).parent  # type: ignore[union-attr]
    found = set()
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            named = isinstance(node, ast.ImportFrom) and node.module == "ocore_operator.jobs.observing.outcome"
            if named and any(name.name in states for name in node.names):
                found.add(path.relative_to(root).as_posix())
    return found


def test_only_the_driver_reads_the_state_of_a_job() -> None:
    """A plan matches on the driver's answers. A Rollback signals its Jobs, so it has a view of its own."""
    assert readers_of_states() == {"jobs/observing/attempts.py", "rollback/observe.py"}


def test_nothing_private_of_typer_is_imported() -> None:
    """A private module is in one version and not in the next: the lower bound in pyproject.toml would be false."""
    private = re.compile(r"^\s*(?:from|import)\s+(?:typer\S*\._|typer\._|_?click\b)", re.MULTILINE)
    specs = [spec for name in PACKAGES if (spec := importlib.util.find_spec(name)) is not None]
    files = [
        path for spec in specs for place in spec.submodule_search_locations or () for path in Path(place).rglob("*.py")
    ]
    assert len(specs) == len(PACKAGES)
    assert [str(path) for path in files if private.search(path.read_text(encoding="utf-8"))] == []
    assert private.search("from typer._click.shell_completion import ShellComplete")
