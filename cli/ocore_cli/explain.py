"""``kubectl ocore explain``: the entry of the troubleshooting page for a reason."""

import difflib

from rich.console import Console
from rich.text import Text

from ocore_crds.troubleshooting import Entry, entries

from .errors import CliError


def find(reason: str) -> Entry:
    """The entry of a reason, in any case of letters. Raises CliError, with reasons that are written alike, where there
    is none."""
    known = entries()
    by_lower = {name.lower(): entry for name, entry in known.items()}
    if (found := by_lower.get(reason.lower())) is not None:
        return found
    alike = [by_lower[name].reason for name in difflib.get_close_matches(reason.lower(), by_lower, 3)]
    hint = f". Did you mean {' or '.join(alike)}?" if alike else ". List all: kubectl ocore explain"
    raise CliError(f"no reason {reason!r} is known{hint}")


def show(console: Console, reason: str | None) -> None:
    """Prints the entry; without a reason the names of all."""
    if reason is None:
        for name in sorted(entries()):
            console.print(Text(name))
        return
    entry = find(reason)
    console.print(Text(entry.reason, style="bold"))
    console.print(Text(entry.text), soft_wrap=not console.is_terminal)
