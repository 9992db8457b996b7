"""The question before ``kubectl ocore rollback``: the preview, then the environment's name."""

import sys
from typing import Any

from rich.console import Console
from rich.text import Text

from . import preview
from .errors import CliError
from .objects import Objects

_HOW = "add --yes to roll back without a question, or run kubectl ocore preview to see what it would do"


def ask(objects: Objects, console: Console, environment: str, spec: dict[str, Any]) -> None:
    """Shows the preview and asks for the environment's name. Returns where it is given.

    Raises CliError where the rollback would be refused, the answer is another one, or no person can answer.
    """
    if not is_interactive():
        raise CliError(f"no question can be asked, because the standard input is no terminal: {_HOW}")
    report = preview.make(objects, console, spec)
    preview.show(console, report, "text")
    if report.preview.refusals:
        raise CliError("the rollback was not started, because it would be refused. The environment is as it was")
    console.print(Text(f"\nThe rollback replaces what {environment} has now."), soft_wrap=True)
    given = answer(console, "Type the environment's name to roll back: ")
    if given != environment:
        raise CliError(f"not rolled back: {given!r} is not {environment!r}. The environment is as it was")


def is_interactive() -> bool:
    """Whether a person can answer."""
    return sys.stdin is not None and sys.stdin.isatty()


def answer(console: Console, question: str) -> str:
    """The line that is typed; empty at the end of the input."""
    try:
        return console.input(question).strip()
    except EOFError:
        return ""
