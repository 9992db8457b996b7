"""``kubectl ocore explain``: the entry of the troubleshooting page for a reason. The page is a file of this package."""

import difflib
import re
from dataclasses import dataclass
from importlib.resources import files

from rich.console import Console
from rich.text import Text

from .errors import CliError

_ENTRY = re.compile(r"^### (\w+)\n(.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)
#: `[text](target)`: a terminal shows the text, and the target where it says more.
_LINK = re.compile(r"\[([^]]+)]\(([^)]+)\)")


@dataclass(frozen=True)
class Entry:
    """What a reason means and what to do, as plain text."""

    reason: str
    text: str


def entries() -> dict[str, Entry]:
    """Every entry of the page, by its reason."""
    page = (files(__package__) / "troubleshooting.md").read_text(encoding="utf-8")
    return {reason: Entry(reason, _plain(text)) for reason, text in _ENTRY.findall(page)}


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


def _plain(text: str) -> str:
    """Paragraphs on one line each, lists and code blocks as they are, without marks that only a browser shows."""
    paragraphs = []
    for part in re.split(r"\n{2,}", text.strip()):
        whole = part if re.search(r"^(```|[-|] |\d+\. |    )", part, re.MULTILINE) else " ".join(part.split())
        paragraphs.append(_LINK.sub(_target, whole).replace("**", ""))
    return "\n\n".join(paragraphs)


def _target(link: re.Match[str]) -> str:
    text, target = link[1], link[2]
    page = target.partition("#")[0]
    return text if not page or text == page else f"{text} ({page})"
