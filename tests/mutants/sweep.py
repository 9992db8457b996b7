"""Changes every line of the guard modules, one change at a time, and lists the changes that no test notices
(``make mutants``, not in CI).

The changes are those of cosmic-ray: https://cosmic-ray.readthedocs.io. The tests run in a copy of the tree. A change in
a function is put into the loaded module (collected.py); one that is outside, and each that seems to survive, is made in
the file.
"""

import argparse
import ast
import difflib
import json
import re
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from mutants.patches import HERE
from mutants.run import Tree

#: For pytest. No test of these modules takes longer, unless a change makes it wait. Of the tests that run with a store
#: in a folder and with S3 the folder's are enough: each fork would start a server.
OPTIONS = ("-q", "-x", "-p", "no:cacheprovider", "--timeout=120", "-k", "not s3_store and not [s3")


class Failed(Exception):
    """The tests of a module do not pass without a change."""


@dataclass(frozen=True)
class Change:
    """One change of a module."""

    file: str  # relative to the root of the tree
    operator: str
    line: int
    #: First line of the outermost function whose body is changed; 0: none.
    function: int
    before: str
    after: str

    def mutate(self, _: str) -> str:
        """The changed text."""
        return self.after

    def __str__(self) -> str:
        lines = difflib.unified_diff(self.before.splitlines(), self.after.splitlines(), lineterm="", n=0)
        changed = [f"    {line}" for line in lines if not line.startswith(("+++", "---", "@@"))]
        return "\n".join((f"{self.file}:{self.line}  {self.operator}", *changed))


def bodies(text: str) -> list[tuple[tuple[int, int], tuple[int, int], int]]:
    """Of each outermost function: where its body begins and ends, and its first line (that of a decorator)."""
    found = []
    inside = [ast.parse(text)]
    while inside:
        for node in ast.iter_child_nodes(inside.pop()):
            match node:
                case ast.FunctionDef() | ast.AsyncFunctionDef():
                    body, first = node.body[0], min([node.lineno, *(d.lineno for d in node.decorator_list)])
                    end = (node.end_lineno or 0, node.end_col_offset or 0)
                    found.append(((body.lineno, body.col_offset), end, first))
                case ast.ClassDef():
                    inside.append(node)
    return found


def changes(file: str, text: str, excluded: Sequence[str]) -> Iterator[Change]:
    """All changes of a module. `excluded`: expressions for the names of operators."""
    ranges, nodes = bodies(text), list(ast_nodes(get_ast(text)))
    for name in operator_names():
        if any(re.match(each, name) for each in excluded) or get_operator(name).arguments():
            continue
        operator = get_operator(name)()
        starts = [start for node in nodes for start, _ in operator.mutation_positions(node)]
        for occurrence, start in enumerate(starts):
            try:
                after = mutate_code(text, operator, occurrence)
            except AttributeError:  # cosmic-ray cannot replace an exception of a module, such as `psycopg.Error`
                continue
            function = next((first for begin, end, first in ranges if begin <= tuple(start) < end), 0)
            if after is not None:
                yield Change(file, name, start[0], function, text, after)


class Loaded:
    """The process that has collected the tests of a module (collected.py). A context manager. Raises Failed."""

    def __init__(self, tree: Tree, file: str, tests: Sequence[str]) -> None:
        options = (*OPTIONS, f"--basetemp={tree.temporary}/pytest")
        self._process = subprocess.Popen(
            [sys.executable, "-P", HERE / "collected.py", file, *options, *tests],
            cwd=tree.root,
            env=tree.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        if not self._answer():
            self.__exit__()
            raise Failed(f"the tests do not pass without a change:\n{tree.run(tests, *OPTIONS)[1]}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def passes(self, change: Change) -> bool:
        """Whether no test that enters the changed function notices the change."""
        assert self._process.stdin is not None
        print(json.dumps({"line": change.function, "text": change.after}), file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> bool:
        assert self._process.stdout is not None
        return self._process.stdout.readline() == "true\n"


def survives(tree: Tree, change: Change, tests: Sequence[str]) -> bool:
    """Whether all tests pass with the change in the file."""
    with tree.changed(change):
        cases, _ = tree.run(tests, *OPTIONS)
    return bool(cases) and all(case.outcome in ("passed", "skipped") for case in cases)


def sweep(
    tree: Tree, file: str, tests: Sequence[str], excluded: Sequence[str], survived: Callable[[Change], None]
) -> int:
    """How many changes there are. Raises Failed."""
    every = list(changes(file, (tree.root / file).read_text(encoding="utf-8"), excluded))
    with Loaded(tree, file, tests) as loaded:
        left = [each for each in every if not each.function or loaded.passes(each)]
    for each in left:
        if survives(tree, each, tests):
            survived(each)
    return len(every)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", help="as in sweep.toml, or the end of it; none: all")
    options = parser.parse_args()
    settings = tomllib.loads((HERE / "sweep.toml").read_text(encoding="utf-8"))
    chosen = {m: t for m, t in settings["modules"].items() if not options.modules or m.endswith(tuple(options.modules))}
    if not chosen:
        print(f"no such module in sweep.toml: {options.modules}")
        return 2
    table = []
    with tempfile.TemporaryDirectory(prefix="ocore-sweep-") as folder, Tree(HERE.parents[1], Path(folder)) as tree:
        for module, tests in chosen.items():
            since, survivors = time.monotonic(), 0

            def show(change: Change) -> None:
                nonlocal survivors
                survivors += 1
                print(change, flush=True)

            try:
                count = sweep(tree, module, tests, settings["excluded-operators"], show)
            except Failed as error:
                print(f"{module}: {error}", flush=True)
                return 1
            table.append(f"{count:>8} {survivors:>10} {time.monotonic() - since:>8.0f}  {module}")
    print(f"{'mutants':>8} {'survivors':>10} {'seconds':>8}  module", *table, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
