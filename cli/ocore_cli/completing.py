"""Completion of ``kubectl ocore`` by kubectl's own completion: it runs the program ``kubectl_complete-ocore`` with the
words so far."""

import sys
from collections.abc import Iterator
from typing import Any

import typer
from typer.main import get_command

from ocore_crds.text.sentences import escaped

from .app import app

#: kubectl's sign that no names of files are proposed.
NO_FILES = ":4"


def proposals(words: list[str]) -> list[str]:
    """Lines of kubectl's protocol: a proposal, and its description after a tab. The last word is the one that is
    completed; it may be empty."""
    *before, incomplete = words or [""]
    found = dict(_proposed(before, incomplete))
    return [f"{value}\t{text}" if text else value for value, text in found.items() if value.startswith(incomplete)]


def _proposed(before: list[str], incomplete: str) -> Iterator[tuple[str, str]]:
    """Words that may come next, each with what it means: commands, then options, or the choices of one."""
    commands: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]
    if not before:
        yield from ((name, each.get_short_help_str()) for name, each in commands.items() if not each.hidden)
        return
    command = commands.get(before[0])
    if command is None:
        return
    options = {name: each for each in command.params if not each.hidden for name in each.opts if name.startswith("-")}
    last = options.get(before[-1])
    if incomplete.startswith("-") and (last is None or last.is_flag):
        yield from ((name, each.help or "") for name, each in options.items())
        return
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    for each in arguments if last is None or last.is_flag else [last]:
        yield from ((item.value, item.help or "") for item in each.shell_complete(typer.Context(command), incomplete))


def main() -> None:
    """The console script."""
    for line in proposals(sys.argv[1:]):
        value, _, text = line.partition("\t")
        print(f"{escaped(value)}\t{escaped(text)}" if text else escaped(value))
    print(NO_FILES)


if __name__ == "__main__":
    main()
