"""Writes the reference of `kubectl ocore` from its commands, and that of the operator's settings:
``python -m ocore_website.commands [--check]``.

With ``--check`` nothing is written: the exit code is 1 if a page differs.
"""

import argparse
import sys
from pathlib import Path

import typer
from pydantic import BaseModel
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption
from typer.main import get_command

from ocore_cli.app import app
from ocore_operator.settings import Settings

DOCS = Path(__file__).resolve().parents[2] / "docs"
HEAD = """\
# Options of kubectl ocore

<!-- Made by `make generate` from cli/ocore_cli; do not edit. -->

Every command with its arguments and options, as `--help` prints them. What each command is for, exit codes and
completion: [kubectl-ocore.md](kubectl-ocore.md).
"""
SETTINGS_HEAD = """\
# Settings of the operator

<!-- Made by `make generate` from operator/ocore_operator/settings.py; do not edit. -->

For the values of the chart: [its README](../charts/ocore-snapshots/README.md#values).

## Settings

Read once, at start. Lists are separated by commas. In the chart, `settings.<camelCase>` sets them.

| variable | default | meaning |
|---|---|---|
"""
#: Options that nearly every command has: described once.
COMMON = ("namespace", "context", "kubeconfig")


def page() -> str:
    """The whole page."""
    commands = get_command(app)
    if not isinstance(commands, TyperGroup):
        raise TypeError("the program has no commands")
    named = {n: c for n, c in commands.commands.items() if isinstance(c, TyperCommand) and not c.hidden}
    shared = next(c for c in named.values() if set(COMMON) <= {p.name for p in c.params})
    common = table("rollback", shared, only=True)
    sections = [line for name, command in named.items() for line in section(name, command)]
    return "\n".join([HEAD, "## Options of all commands", "", *common, "", *sections])


def section(name: str, command: TyperCommand) -> list[str]:
    """A command: its usage, what it does, its arguments and options."""
    context = typer.Context(command, info_name=f"kubectl ocore {name}")
    usage = command.get_usage(context).removeprefix("Usage: ")
    about = " ".join((command.help or "").split())
    lines = [f"## {name}", "", "```", " ".join(usage.split()), "```", "", escaped(about), ""]
    rows = table(name, command)
    return [*lines, *rows, ""] if rows else lines


def table(name: str, command: TyperCommand, only: bool = False) -> list[str]:
    """Arguments and options; `only`: those of all commands."""
    context = typer.Context(command, info_name=name)
    rows = []
    for parameter in command.params:
        if not isinstance(parameter, TyperArgument | TyperOption) or (parameter.name in COMMON) is not only:
            continue
        if record := parameter.get_help_record(context):
            rows.append(f"| `{escaped(record[0])}` | {escaped(' '.join(record[1].split()))} |")
    return ["| argument or option | meaning |", "|---|---|", *rows] if rows else []


def escaped(text: str) -> str:
    """As a cell of a table."""
    return text.replace("|", "\\|")


def settings_page() -> str:
    """A row for each setting of the operator."""
    rows = [
        f"| `OCORE_{name.upper()}` | {default(field.get_default(call_default_factory=True))} |"
        f" {escaped(field.description or '')} |\n"
        for name, field in Settings.model_fields.items()
    ]
    return SETTINGS_HEAD + "".join(rows)


def default(value: object) -> str:
    """As the variable is written; a model is empty by default."""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    text = ",".join(map(str, value)) if isinstance(value, tuple) else "" if value in (None, {}) else str(value)
    return f"`{text}`" if text and not isinstance(value, BaseModel) else "none"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ocore_website.commands")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a page differs")
    check = parser.parse_args().check
    for name, text in (("kubectl-ocore-options.md", page()), ("settings.md", settings_page())):
        path = DOCS / name
        if not check:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            sys.exit(f"{name} differs from the code. Run `make generate` and commit the result.")


if __name__ == "__main__":
    main()
