"""A filestore layout is one folder of the mover, one row in its table, and one value of the CRD's enum. No other module
names one."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from ocore_crds.resources import layouts as enum
from ocore_mover.filestore import layouts

ROOT = Path(__file__).parents[2]
NAMES = set(get_args(enum.Layout))
#: The folder of each layout in the mover.
FOLDERS = {f"mover/ocore_mover/filestore/{name.lower()}" for name in NAMES}
TABLE = "mover/ocore_mover/filestore/layouts.py"
MAY_NAME = {
    TABLE,
    "crds/ocore_crds/resources/layouts.py",
    "cli/ocore_cli/proposal.py",  # which application has which layout: rows of a table, each for one application
}


def modules() -> Iterator[str]:
    for package in ("crds", "kube", "operator", "mover", "api", "cli"):
        for path in sorted((ROOT / package).rglob("*.py")):
            found = path.relative_to(ROOT).as_posix()
            if not any(found.startswith(f"{folder}/") for folder in FOLDERS):
                yield found


def named(tree: ast.AST) -> Iterator[str]:
    """The layouts that a module names: as a text, or by an import of a layout's folder."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value in NAMES:
            yield str(node.value)
        elif isinstance(node, ast.ImportFrom):
            imported = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
            yield from (each for each in imported if is_layout(each))
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if is_layout(alias.name))


def is_layout(module: str) -> bool:
    return any(f"{module}.".startswith(f"ocore_mover.filestore.{name.lower()}.") for name in NAMES)


def test_only_the_tables_name_a_layout() -> None:
    found = {module: sorted(set(named(ast.parse((ROOT / module).read_text())))) for module in modules()}
    assert len(found) > 400
    assert {module for module, names in found.items() if names} == MAY_NAME, found


def identifiers(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        for field in ("id", "attr", "arg", "name"):
            if isinstance(found := getattr(node, field, None), str):
                yield found


#: Has the application's own assertions in the database (`ocore_mover.database.neutralize.odoo`), not a layout.
OF_APPLICATIONS = "mover/ocore_mover/commands/neutralize.py"


def test_no_name_in_the_shared_code_of_filestores_is_that_of_one_layout() -> None:
    word = re.compile(rf"(^|_)({'|'.join(NAMES)})(_|$|[A-Z])", re.IGNORECASE)
    for module in modules():
        if module.startswith(("mover/ocore_mover/filestore/", "mover/ocore_mover/commands/")) and module not in (
            TABLE,
            OF_APPLICATIONS,
        ):
            found = [name for name in identifiers(ast.parse((ROOT / module).read_text())) if word.search(name)]
            assert not found, module


@pytest.mark.parametrize(
    "text",
    [
        'layout == "Odoo"',
        "from ocore_mover.filestore.plain import switch",
        "from ocore_mover.filestore import odoo",
        "import ocore_mover.filestore.plain.switch",
    ],
)
def test_what_names_a_layout(text: str) -> None:
    assert list(named(ast.parse(text)))


def test_each_value_of_the_enum_has_a_row_and_a_folder() -> None:
    assert [layout.name for layout in layouts.LAYOUTS] == list(get_args(enum.Layout))
    assert all((ROOT / folder / "layout.py").is_file() for folder in FOLDERS)
    with pytest.raises(ValueError, match="not a filestore layout"):
        layouts.of("plain")


def test_the_enum_and_the_mover_agree() -> None:
    assert {layout.name for layout in layouts.LAYOUTS if layout.names_in_database} == enum.NAMED
    assert enum.DEFAULT in NAMES
    assert enum.RENAMED <= NAMES
