"""Rules of CONTRIBUTING.md that no import contract can express, checked over the source."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

#: Field manager → the only module that writes a status with it (summarize.py lists them).
WRITERS = {
    "MANAGER": {"summarize.py"},
    "MANAGER_PROGRESS": {"jobs/reporting/progress.py"},
    "MANAGER_LOCK": {"operation_lock.py"},
    "MANAGER_EXECUTED": {"rollback/effects.py"},
    "MANAGER_PINS": {"policy/effects.py"},
    "MANAGER_RETENTION": {"policy/effects.py"},
    "MANAGER_DEPENDENTS": {"snapshot/dependents.py"},
    "MANAGER_RESTORE_TEST": {"policy/effects.py"},
}
#: Modules that read the environment: the settings; and, in crds, the failpoints of tests.
READERS = {"operator/ocore_operator/settings.py", "crds/ocore_crds/failpoints.py"}


def modules(package: Path) -> Iterator[tuple[str, ast.Module]]:
    """Path below the package, and its syntax tree."""
    for path in sorted(package.rglob("*.py")):
        yield path.relative_to(package).as_posix(), ast.parse(path.read_text())


@pytest.fixture
def operator(repository: Path) -> Path:
    return repository / "operator/ocore_operator"


def manager_of(call: ast.Call) -> str:
    """Name of the field manager that a call of apply_status passes."""
    passed = call.args[2] if len(call.args) > 2 else next((k.value for k in call.keywords if k.arg == "manager"), None)
    if passed is None:
        return "MANAGER"
    assert isinstance(passed, ast.Name), ast.dump(passed)  # anything else hides who writes
    return passed.id


def status_writers(operator: Path) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for path, tree in modules(operator):
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "apply_status":
                found.setdefault(manager_of(node), set()).add(path)
    return found


def test_every_field_manager_has_one_module_that_writes_with_it(operator: Path) -> None:
    assert status_writers(operator) == WRITERS


def test_no_other_way_to_write_a_status(operator: Path) -> None:
    """`merge_patch` with a subresource is for `scale`, and to remove what another client wrote; both in the client
    itself."""
    for path, tree in modules(operator):
        for node in ast.walk(tree):
            if isinstance(node, ast.keyword) and node.arg == "subresource" and isinstance(node.value, ast.Constant):
                assert (path, node.value.value) in {("kube/client.py", "scale"), ("kube/client.py", "status")}
            if isinstance(node, ast.Constant) and node.value == "status" and path != "kube/client.py":
                assert not _is_path_argument(tree, node), f"{path}:{node.lineno} builds a path to a status"


def test_an_action_of_every_kind_is_declared_once(operator: Path) -> None:
    shared = {"Idle", "Record", "SetFinalizer"}
    found = {
        (path, node.name)
        for path, tree in modules(operator)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and node.name in shared
    }
    assert found == {("frame/actions.py", name) for name in shared}


def test_who_changes_a_status_that_cannot_be_applied(operator: Path) -> None:
    calls = {p for p, tree in modules(operator) for n in ast.walk(tree) if getattr(n, "attr", "") == "patch_status"}
    assert calls == {"policy/effects.py", "engine/unreadable.py"}


def _is_path_argument(tree: ast.Module, constant: ast.Constant) -> bool:
    calls = (n for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute))
    return any(n.func.attr == "path" and constant in n.args for n in calls if isinstance(n.func, ast.Attribute))


def test_the_rule_is_written_where_it_is_looked_up(repository: Path, operator: Path) -> None:
    for page in (operator / "summarize.py", repository / "CONTRIBUTING.md"):
        text = page.read_text()
        for writers in WRITERS.values():
            for module in writers:
                assert f"`{module}`" in text.replace("``", "`"), f"{page.name} does not name {module}"


def test_who_reads_the_environment(repository: Path) -> None:
    found = set()
    for package in ("operator/ocore_operator", "crds/ocore_crds"):
        for path, tree in modules(repository / package):
            names = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
            names |= {a.name for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) for a in n.names}
            if names & {"environ", "environb", "getenv", "BaseSettings"}:
                found.add(f"{package}/{path}")
    assert found == READERS


def test_handlers_hold_decorated_functions_only(operator: Path) -> None:
    """kopf's handlers are in one file, each of five lines or fewer, and no other module decorates with kopf."""
    (registry,) = [n for n in ast.parse((operator / "engine/handlers.py").read_text()).body if _is_function(n)]
    handlers = [n for n in ast.walk(registry) if _is_function(n) and n is not registry]
    assert len(handlers) >= 5
    for handler in handlers:
        assert isinstance(handler, (ast.FunctionDef, ast.AsyncFunctionDef))
        assert handler.decorator_list
        last = handler.body[-1].end_lineno
        assert last is not None
        assert last - handler.body[0].lineno < 5
    for path, tree in modules(operator):
        decorated = [d for n in ast.walk(tree) if _is_function(n) for d in getattr(n, "decorator_list", ())]
        if path != "engine/handlers.py":
            assert not any("kopf" in ast.unparse(d) for d in decorated), path


def _is_function(node: ast.AST) -> bool:
    return isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
