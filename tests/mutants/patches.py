"""Mutants as patches: what a file says, and how it changes a copy of the tree.

A patch is a unified diff of one file with a header::

    Guard: what the removed line protects
    Killed-by: tests/unit/…/test_x.py::test_name      (one line for each test that must fail)
    Fails-with: SomeError                             (optional: an exception that shows the failure as an assertion
    does)

Line numbers do not count: the lines before the change must occur exactly once in the file. So a patch survives changes
elsewhere in the file, and never changes another place than the one it was written for.
"""

from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
#: What to do about a patch that does not fit any more.
REMEDY = (
    "The guard was moved or rewritten. Find it (docs/architecture.md), change the patch so that it takes the guard out"
    " at its new place, and keep the tests that it names. Delete the patch only together with the guard."
)


class BadPatch(Exception):
    """The file is not a patch of this format, or its lines do not occur exactly once."""


@dataclass(frozen=True)
class Mutant:
    """One patch."""

    name: str
    guard: str
    tests: tuple[str, ...]  # node ids
    file: str  # relative to the root of the tree
    hunks: tuple[tuple[str, str], ...] = field(repr=False)  # text before and after
    fails_with: tuple[str, ...] = ()

    def mutate(self, text: str) -> str:
        """The file's text without the guard. Raises BadPatch where the patch does not fit."""
        for old, new in self.hunks:
            if (count := text.count(old)) != 1:
                found = "not in the file any more" if count == 0 else f"{count} times in the file"
                raise BadPatch(f"{self.name}: these lines are {found} ({self.file}):\n{old}{REMEDY}")
            text = text.replace(old, new)
        return text


def parse(name: str, text: str) -> Mutant:
    """A patch from its text. Raises BadPatch."""
    headers: dict[str, list[str]] = {}
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith("--- "):
            break
        key, colon, value = line.partition(": ")
        if colon:
            headers.setdefault(key, []).append(value.strip())
        elif line.strip():
            raise BadPatch(f"{name}: not a header line: {line}")
    unknown = headers.keys() - {"Guard", "Killed-by", "Fails-with"}
    target = next(lines, "")
    guards, tests = headers.get("Guard", []), headers.get("Killed-by", [])
    if unknown or len(guards) != 1 or not tests or not target.startswith("+++ b/"):
        raise BadPatch(f"{name}: needs one line `Guard: …`, lines `Killed-by: <node id>`, then a unified diff")
    return Mutant(
        name=name,
        guard=guards[0],
        tests=tuple(tests),
        file=target.removeprefix("+++ b/").split("\t")[0],
        hunks=_hunks(name, list(lines)),
        fails_with=tuple(headers.get("Fails-with", [])),
    )


def _hunks(name: str, lines: list[str]) -> tuple[tuple[str, str], ...]:
    found: list[tuple[list[str], list[str]]] = []
    for line in lines:
        if line.startswith("@@"):
            found.append(([], []))
        elif line.startswith(("--- ", "diff ")) or not found:
            raise BadPatch(f"{name}: changes one file only")
        elif line[:1] in (" ", "-", "+", ""):
            old, new = found[-1]
            if line[:1] != "+":
                old.append(line[1:])
            if line[:1] != "-":
                new.append(line[1:])
        else:
            raise BadPatch(f"{name}: not a line of a unified diff: {line}")
    if not found or any(old == new for old, new in found):
        raise BadPatch(f"{name}: changes nothing")
    return tuple(("".join(f"{x}\n" for x in old), "".join(f"{x}\n" for x in new)) for old, new in found)


def load(folder: Path = HERE) -> list[Mutant]:
    """All patches of a folder, by name. Raises BadPatch."""
    return [parse(path.stem, path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.patch"))]
