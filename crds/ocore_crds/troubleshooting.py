"""What a reason means and what to do: the entries of docs/reasons-*.md, which are a file of this package. For
``kubectl ocore explain`` and the REST facade."""

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

_ENTRY = re.compile(r"^## (\w+)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
#: `[text](target)`: a terminal shows the text, and the target where it says more.
_LINK = re.compile(r"\[([^]]+)]\(([^)]+)\)")
_BLOCK = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
#: A command within a sentence.
_COMMAND = re.compile(r"`(kubectl [^`]+)`")


@dataclass(frozen=True)
class Entry:
    """What a reason means and what to do, as plain text, and the commands in it."""

    reason: str
    text: str
    commands: tuple[str, ...]


@cache
def entries() -> dict[str, Entry]:
    """Every entry, by its reason."""
    text = (files(__package__) / "troubleshooting.md").read_text(encoding="utf-8")
    return {reason: Entry(reason, _plain(entry), _commands(entry)) for reason, entry in _ENTRY.findall(text)}


def _commands(text: str) -> tuple[str, ...]:
    """Blocks as they are, then the commands within sentences, each once."""
    found = [block.strip() for block in _BLOCK.findall(text)]
    found += [" ".join(command.split()) for command in _COMMAND.findall(_BLOCK.sub("", text))]
    return tuple(dict.fromkeys(found))


def _plain(text: str) -> str:
    """Paragraphs on one line each, lists and code blocks as they are, without marks that only a browser shows."""
    paragraphs = []
    for part in re.split(r"\n{2,}", text.strip()):
        whole = part if re.search(r"^(```|[-|] |\d+\. |    )", part, re.MULTILINE) else " ".join(part.split())
        paragraphs.append(_LINK.sub(_target, whole).replace("**", ""))
    return "\n\n".join(paragraphs)


def _target(link: re.Match[str]) -> str:
    text, target = link[1], link[2]
    page = target.partition("#")[0].removeprefix("../")
    return text if not page or text == page else f"{text} ({page})"
