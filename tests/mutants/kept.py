"""Which mutants were killed by tests that would see the same today. A verdict is kept with the digests of everything
that they may have depended on:

- the patch, Python, its packages, the machine's packages, some variables, and the program that runs mutants;
- every file of the tree that any process opened from the collection of the tests on, and the names in every folder that
  was listed (opened.py); also what the modules that are in memory before have opened;
- every conftest.py above the tests, also where there is none;
- the modules that were in memory already: what an opened file imports or names in a text, what that imports, and so on.
  Where a file imports by a name that it computes, all
  modules below the packages that it mentions in texts such as "package.", or below all that it mentions.

Only killed mutants are kept: one that survives is tried in each run. Not seen is a file of which a test only asks
whether it exists: a run with --fresh finds a verdict that is wrong.
"""

import ast
import contextlib
import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from mutants.patches import HERE, Mutant

#: Variables that a test may depend on begin with these, but for those that say where something is kept.
VARIABLES = ("LANG", "LC_", "TZ", "PG", "OCORE_", "PYDANTIC_", "HYPOTHESIS_")
OF_A_RUN = ("OCORE_CACHE", "OCORE_PARTS", "OCORE_CLUSTER")
#: Of files of which only the contents count. Each checkout of CI has its own copy, in another folder.
OF_A_FILE = ("OCORE_ODOO",)
COMPUTED_IMPORTS = ("import_module", "__import__", "walk_packages", "iter_modules", "resolve_name")


class Sources:
    """What a tree held when it was copied: digests of its files and folders. `names`: its files."""

    def __init__(self, root: Path, names: Iterable[str]) -> None:
        self.root = root
        self._names = frozenset(names)
        self._folders: dict[str, set[str]] = {"": set()}
        for name in self._names:
            path = PurePosixPath(name)
            for child, parent in zip([path, *path.parents], path.parents, strict=False):
                self._folders.setdefault(_folder(parent), set()).add(child.name)
        self._digests: dict[str, str | None] = {}

    @property
    def folders(self) -> Iterable[str]:
        """Each with "/" at its end; the root is empty."""
        return self._folders

    def digest(self, name: str) -> str | None:
        """Of a file, or of the names in a folder ("/" at the end). None where the tree has none."""
        if name not in self._digests:
            self._digests[name] = self._digest(name)
        return self._digests[name]

    def digest_of(self, names: Iterable[str]) -> str:
        """Of several together."""
        return _sha256(json.dumps([(name, self.digest(name)) for name in sorted(names)]).encode())

    def text(self, name: str) -> str:
        return (self.root / name).read_text(encoding="utf-8")

    def has(self, name: str) -> bool:
        return name in self._names

    def below(self, folder: str) -> Iterator[str]:
        return (name for name in self._names if name.startswith(folder) and name.endswith(".py"))

    def _digest(self, name: str) -> str | None:
        if not name or name.endswith("/"):
            children = self._folders.get(name)
            return None if children is None else _sha256("\0".join(sorted(children)).encode())
        if name not in self._names:
            return None
        path = self.root / name
        return _sha256(f"{path.stat().st_mode & 0o111:o}\0".encode() + path.read_bytes())


def _folder(path: PurePosixPath) -> str:
    return "" if path == PurePosixPath() else f"{path}/"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Modules:
    """What the tree's modules import and name. `packages`: folders whose children are importable."""

    def __init__(self, sources: Sources, packages: Sequence[str]) -> None:
        self._sources = sources
        self._packages = packages
        self._named: dict[str, frozenset[str]] = {}

    def reached(self, files: Iterable[str]) -> set[str]:
        """The files of all modules that these files reach, and the folders in which a new one would come before."""
        found: set[str] = set()
        left = [name for name in files if name.endswith(".py") and self._sources.has(name)]
        while left:
            name = left.pop()
            if name not in self._named:
                self._named[name] = frozenset(self._names(name))
            left += self._named[name] - found
            found |= self._named[name]
        return found | {_folder(PurePosixPath(name).parent) for name in found}

    def _names(self, name: str) -> Iterator[str]:
        text = self._sources.text(name)
        dotted = set(_dotted(ast.parse(text), name))
        for each in dotted:
            parts = each.rstrip(".").split(".")
            for end in range(1, len(parts) + 1):
                yield from self._files("/".join(parts[:end]))
        if any(each in text for each in COMPUTED_IMPORTS):
            for each in {each for each in dotted if each.endswith(".")} or dotted:
                for package in self._packages:
                    yield from self._sources.below(f"{package}/{each.rstrip('.').replace('.', '/')}/")

    def _files(self, module: str) -> Iterator[str]:
        for package in self._packages:
            for file in (f"{package}/{module}.py", f"{package}/{module}/__init__.py"):
                if self._sources.has(file):
                    yield file


def _dotted(tree: ast.Module, name: str) -> Iterator[str]:
    """What may be a module's name in a file: of an import, wherever it is, or a text. One with a dot at its end is the
    beginning of one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            own = PurePosixPath(name).parts[1:-1]  # without the folder that the packages are in
            base = ".".join(own[: len(own) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) < 200:
            yield from (word for word in node.value.replace(":", " ").split() if word.replace(".", "_").isidentifier())


@cache
def environment() -> str:
    """A digest of what is outside of the tree."""
    packages = sorted(f"{each.name}={each.version}" for each in importlib.metadata.distributions())
    debian = ""
    with contextlib.suppress(FileNotFoundError):
        debian = subprocess.run(["dpkg-query", "-W"], capture_output=True, text=True, check=False).stdout
    variables = sorted(
        f"{name}={_known_by(name, value)}"
        for name, value in os.environ.items()
        if name.startswith(VARIABLES) and name not in OF_A_RUN
    )
    in_memory = tempfile.gettempdir().startswith("/dev/shm")
    about = [sys.version, platform.machine(), platform.release(), str(os.geteuid()), str(in_memory), debian]
    runner = [path.read_text(encoding="utf-8") for path in sorted(HERE.glob("*.py"))]
    return _sha256(json.dumps([about, packages, variables, runner]).encode())


def _known_by(name: str, value: str) -> str:
    """What a variable's value means for a test: of an archive its contents, not the folder that it is in."""
    if name in OF_A_FILE and Path(value).is_file():
        with Path(value).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return value


class Kept:
    """The verdicts in a folder, a file for each mutant."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def holds(self, mutant: Mutant, sources: Sources) -> bool:
        """Whether the mutant was killed with all that its tests depended on as it is now."""
        try:
            entry = json.loads((self._folder / f"{mutant.name}.json").read_bytes())
            return bool(entry == _entry(mutant, entry["inputs"], sources))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return False

    def put(self, mutant: Mutant, inputs: Iterable[str], sources: Sources) -> None:
        """The mutant was killed, and its tests depended on these files and folders. Without any: it survived, or what
        they depended on is unknown."""
        path = self._folder / f"{mutant.name}.json"
        path.unlink(missing_ok=True)
        if entry := _entry(mutant, inputs, sources) if inputs else None:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=self._folder, delete=False) as file:
                json.dump(entry, file)
            Path(file.name).replace(path)


def _entry(mutant: Mutant, inputs: Iterable[str], sources: Sources) -> dict[str, Any]:
    key = _sha256(f"{mutant!r}\0{mutant.hunks!r}\0{environment()}".encode())
    return {"key": key, "inputs": sorted(inputs), "digest": sources.digest_of(inputs)}


def inputs(mutant: Mutant, opened: Iterable[str], sources: Sources, modules: Modules) -> set[str]:
    """The files and folders that the mutant's tests depended on. `opened`: from the collection of the tests on."""
    tests = {test.partition("::")[0] for test in mutant.tests}
    above = {f"{_folder(parent)}conftest.py" for test in tests for parent in PurePosixPath(test).parents}
    seen = {name for name in opened if sources.digest(name) is not None} | tests | above | {mutant.file}
    return seen | modules.reached(seen)
