"""Takes each guard out of a copy of the tree and demands that the named tests fail (``make test-mutants``).

First every named test must pass on the unchanged copy, once for each file. Then, for each patch, every named test must
fail by an assertion: an error while the tests are collected or set up, a skipped test or a timeout shows nothing, and
is tried once more: a machine may have stood still. Exit code 1 where a mutant survives; the last lines name the
survivors.

The tests of a file are collected once for all mutants. For each one a fork of that process gives the loaded functions
the changed code (named.py). What is outside of functions, and what does not kill its mutant there, is run again with
the changed module loaded from its file.

A mutant that was killed before, with all that its tests depend on as it is now (kept.py), is not tried again, unless it
is named or with --fresh. A verdict that such a run shows to be wrong is reported as one, and removed.
"""

import argparse
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol, Self

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from mutants.kept import Kept, Modules, Sources, inputs
from mutants.opened import Opened
from mutants.patches import HERE, BadPatch, Mutant, load

#: Seconds for one test of a mutant; pytest-timeout ends it. Far more than any needs: a test that a slow machine ends
#: shows nothing.
TEST_SECONDS = 300
#: Seconds for one run of pytest.
RUN_SECONDS = 600
#: How the message of a failed test begins where the test itself noticed something.
ASSERTIONS = ("AssertionError", "assert ", "Failed: DID NOT RAISE", "ExceptionGroup")
#: How a test that does not notice a mutant is recognised. The only outcome that says something about the test: it is
#: never tried again.
PASSES = "passes without the guard"
PACKAGES = ("crds", "kube", "operator", "mover", "api", "cli", "examples/demo")


@dataclass(frozen=True)
class Case:
    """The outcome of one test."""

    test: str  # node id without parameters
    outcome: str  # passed, failed, error, skipped
    message: str = ""


def listed(source: Path) -> list[str]:
    """The files of a checkout that git knows or would add, as they are now."""
    done = subprocess.run(
        ["git", "-C", str(source), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        check=True, capture_output=True,
    )  # fmt: skip
    return [name for name in os.fsdecode(done.stdout).split("\0") if name and (source / name).is_file()]


def copy_tree(source: Path, target: Path) -> list[str]:
    """Copies these files. Returns their names."""
    names = listed(source)
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source / name, target / name, follow_symlinks=False)
    return names


class Change(Protocol):
    """What is changed in a file."""

    @property
    def file(self) -> str:
        """Relative to the root of the tree."""

    def mutate(self, text: str) -> str:
        """The text with the change."""


class Tree:
    """A copy of the tree and the process that runs tests in it. A context manager."""

    def __init__(self, source: Path, folder: Path) -> None:
        self.root = folder / "tree"
        self.temporary = folder / "tmp"
        self._changes = 0
        self._changed = self._original = ""
        self.temporary.mkdir(parents=True)
        self.sources = Sources(self.root, copy_tree(source, self.root))
        self._modules = Modules(self.sources, PACKAGES)
        packages = [*(self.root / package for package in PACKAGES), self.root / "tests"]
        self.environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, [*packages, HERE.parent])),
            "PYTHONPYCACHEPREFIX": str(folder / "compiled"),
            "PYTHONDONTWRITEBYTECODE": "",
            "OCORE_PAGE_IN": str(folder / "page"),  # support/built.py
        }
        compiled = Path(sys.pycache_prefix or folder / "nothing") / source.resolve().relative_to("/")
        if compiled.is_dir():  # the tests have just run: also theirs, as pytest compiles them
            # Those that are being written, `….pyc.PID`, are gone in a moment: tests run beside this.
            own = folder / "compiled" / self.root.resolve().relative_to("/")
            shutil.copytree(compiled, own, ignore=shutil.ignore_patterns("*.pyc.*"))
        subprocess.run([sys.executable, "-m", "compileall", "-q", *packages[:-1]], env=self.environment, check=True)
        #: The tests that are collected; the files that the packages read while they were loaded.
        self._collected: Sequence[str] = ()
        self._data: set[str] | None = None
        self._opened = self._watch(folder / "compiled" / self.root.resolve().relative_to("/"))
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "mutants.worker"],
            cwd=self.root, env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        if self._opened is not None:
            self._opened.close()

    def _watch(self, compiled: Path) -> Opened | None:
        """None where the kernel does not report what is opened: then no verdict is kept."""
        folders = {folder: (self.root / folder, compiled / folder) for folder in self.sources.folders}
        for _, place in folders.values():
            place.mkdir(parents=True, exist_ok=True)
        try:
            return Opened(folders)
        except OSError:
            return None

    def inputs(self, mutant: Mutant) -> set[str]:
        """What the tests depended on since others were collected; nothing where that is not known."""
        if self._opened is None or self._opened.lost:
            return set()
        return inputs(mutant, self._opened.names | (self._data or set()), self.sources, self._modules)

    @contextmanager
    def changed(self, mutant: Change) -> Iterator[None]:
        """Changes a file for the block. Raises BadPatch, FileNotFoundError."""
        path = self.root / mutant.file
        original, stamp = path.read_text(encoding="utf-8"), path.stat()
        try:
            path.write_text(mutant.mutate(original), encoding="utf-8")
            # A compiled file is taken by time (in seconds) and size: that of the original, or of another mutant, must
            # not stand for this one.
            self._changes += 1
            os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns + 2 * 10**9 * self._changes))
            self._changed, self._original = str(path), original
            yield
        finally:
            self._changed = self._original = ""
            path.write_text(original, encoding="utf-8")
            os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))

    def run(self, tests: Sequence[str], *options: str) -> tuple[list[Case], str]:
        """Runs tests, with more options of pytest. Returns their outcomes and what pytest printed."""
        report, output = self.temporary / "report.xml", self.temporary / "output"
        report.unlink(missing_ok=True)
        arguments = [
            *self._arguments(tests), f"--junitxml={report}", "-o", "junit_family=xunit1", *options,
        ]  # fmt: skip
        request = {"arguments": arguments, "output": str(output), "seconds": RUN_SECONDS, "changed": self._changed}
        if self._ask(request) is None:
            return [], f"pytest did not end within {RUN_SECONDS} s"
        return (list(_cases(report)) if report.exists() else []), output.read_text(errors="replace")

    def run_loaded(self, mutant: Mutant, collected: Sequence[str]) -> list[Case]:
        """The mutant's tests with the functions changed that are loaded; none where that is not possible. The file is
        changed already. `collected`: tests that are collected where those before were others."""
        if self._opened is not None and self._collected != collected:
            self._forget(self._opened)
        self._collected = collected
        path = self.root / mutant.file
        text = path.read_text(encoding="utf-8")
        named = {
            "file": str(path), "before": self._original, "text": text, "tests": mutant.tests, "seconds": RUN_SECONDS,
        }  # fmt: skip
        request = {"collect": self._arguments(collected), "output": str(self.temporary / "output"), "named": named}
        return [Case(*case) for case in self._ask(request) or []]

    def _forget(self, opened: Opened) -> None:
        if self._data is None:
            self._ask(
                {"arguments": ["--version"], "output": str(self.temporary / "output"), "seconds": 60, "changed": ""}
            )
            self._data = {name for name in opened.names if not name.endswith((".py", "/"))}
        opened.forget()

    def _arguments(self, tests: Sequence[str]) -> list[str]:
        return [
            *tests, "-q", "-p", "no:cacheprovider", f"--timeout={TEST_SECONDS}", "--tb=line",
            "-o", "tmp_path_retention_policy=none", "--hypothesis-profile=ci", f"--basetemp={self.temporary}/pytest",
        ]  # fmt: skip

    def _ask(self, request: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(request), file=self._process.stdin, flush=True)
        if self._opened is not None:
            # In the meantime also: the kernel keeps a limited number of events.
            while self._process.stdout not in select.select([self._process.stdout, self._opened.descriptor], [], [])[0]:
                self._opened.read()
        answer = self._process.stdout.readline()
        if self._opened is not None:
            self._opened.read()
        return json.loads(answer or "null")


def _cases(report: Path) -> Iterable[Case]:
    for case in ET.parse(report).getroot().iter("testcase"):  # noqa: S314 - pytest wrote it
        test = f"{case.get('file', '')}::{case.get('name', '').split('[')[0]}"
        bad = next((child for child in case if child.tag in ("failure", "error", "skipped")), None)
        if bad is None:
            yield Case(test, "passed")
        else:
            yield Case(test, {"failure": "failed"}.get(bad.tag, bad.tag), bad.get("message", ""))


def why_it_does_not_pass(cases: Sequence[Case], tests: Iterable[str]) -> str:
    """What is wrong with the named tests on the unchanged tree; empty where all pass."""
    for test in tests:
        own = [case for case in cases if case.test == test.split("[")[0]]
        if not own:
            return f"{test} was not run: correct its name in the patch"
        if bad := next((case for case in own if case.outcome != "passed"), None):
            return f"{test} does not pass without the patch: {bad.outcome}: {bad.message[:300]}"
    return ""


def why_it_survives(cases: Sequence[Case], mutant: Mutant) -> str:
    """Why the mutant is not killed; empty where every named test failed as a test fails that notices something."""
    shows = (*ASSERTIONS, *mutant.fails_with)
    for test in mutant.tests:
        own = [case for case in cases if case.test == test.split("[")[0]]
        failed = [case for case in own if case.outcome == "failed"]
        if not own:
            return f"{test} was not run"
        if other := next((case for case in own if case.outcome in ("error", "skipped")), None):
            return f"{test}: {other.outcome}, which shows nothing: {other.message[:300]}"
        if not failed:
            return f"{test} {PASSES}"
        if wrong := next((case for case in failed if not case.message.startswith(shows)), None):
            return f"{test} fails by something else than an assertion: {wrong.message[:300]}"
    return ""


def _groups(mutants: Sequence[Mutant]) -> list[list[Mutant]]:
    """Those together whose tests are in the same files, the largest group first."""
    found: dict[frozenset[str], list[Mutant]] = {}
    for mutant in mutants:
        found.setdefault(frozenset(test.partition("::")[0] for test in mutant.tests), []).append(mutant)
    return sorted(found.values(), key=len, reverse=True)


class Run:
    """One run over some patches, with as many copies of the tree as workers."""

    def __init__(self, trees: Sequence[Tree], report: Callable[[str], None], kept: Kept | None = None) -> None:
        self._free: SimpleQueue[Tree] = SimpleQueue()
        for tree in trees:
            self._free.put(tree)
        self._workers = len(trees)
        self._report = report
        self._kept = kept
        #: What was reported of tests that do not pass and of mutants that survive.
        self.problems: list[str] = []

    def all(self, mutants: Sequence[Mutant], *, passed: bool = False) -> bool:
        """Whether every mutant is killed. `passed`: the named tests have just passed on this tree."""
        files: dict[str, list[str]] = {}
        for mutant in mutants:
            for test in mutant.tests:
                known = files.setdefault(test.partition("::")[0], [])
                known += [test] if test not in known else []
        with ThreadPoolExecutor(self._workers) as pool:
            if not passed and not all(list(pool.map(self._passes, files.values()))):
                return False
            return all(list(pool.map(self._are_killed, _groups(mutants))))

    def _passes(self, tests: list[str]) -> bool:
        tree = self._free.get()
        try:
            cases, printed = tree.run(tests)
        finally:
            self._free.put(tree)
        if problem := why_it_does_not_pass(cases, tests):
            self._tell(f"FAILED    {problem}", printed if not cases else "")
        return not problem

    def _are_killed(self, mutants: list[Mutant]) -> bool:
        tree = self._free.get()
        try:
            tests = list(dict.fromkeys(test for mutant in mutants for test in mutant.tests))
            killed = [self._is_killed(tree, mutant, tests) for mutant in mutants]
        finally:
            self._free.put(tree)
        return all(killed)

    def _is_killed(self, tree: Tree, mutant: Mutant, collected: list[str]) -> bool:
        since = time.monotonic()
        problem, printed = self._try(tree, mutant, collected)
        if problem and not problem.endswith(PASSES):
            self._report(f"again     {mutant.name}: {problem}")
            problem, printed = self._try(tree, mutant, [])
        if problem:
            if self._kept is not None and self._kept.holds(mutant, tree.sources):
                problem += "\n          Its kept verdict was wrong: kept.py does not see what the tests depend on"
            self._tell(f"SURVIVED  {mutant.name}: {mutant.guard}\n          {problem}", printed)
        else:
            self._report(f"killed    {mutant.name} ({time.monotonic() - since:.1f} s)")
        if self._kept is not None:
            self._kept.put(mutant, set() if problem else tree.inputs(mutant), tree.sources)
        return not problem

    def _try(self, tree: Tree, mutant: Mutant, collected: list[str]) -> tuple[str, str]:
        """Why the mutant is not killed, empty where it is; what pytest printed where no test was run. `collected`: the
        tests of its group, none where they are not to be tried in the loaded modules."""
        try:
            with tree.changed(mutant):
                if collected and not why_it_survives(tree.run_loaded(mutant, collected), mutant):
                    return "", ""
                cases, printed = tree.run(mutant.tests)
        except (BadPatch, FileNotFoundError) as error:
            return str(error), ""
        return why_it_survives(cases, mutant), printed if not cases else ""

    def _tell(self, problem: str, printed: str) -> None:
        self.problems.append(problem)
        self._report(f"{problem}\n{printed}")


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="names of patches, without .patch; none: all")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--passed", action="store_true", help="the named tests have just passed on this tree")
    parser.add_argument("--fresh", action="store_true", help="also try those that were killed with the same inputs")
    options = parser.parse_args()
    since = time.monotonic()
    try:
        mutants = [m for m in load() if not options.names or m.name in options.names]
    except BadPatch as error:
        print(error)
        return 1
    if not mutants or len(mutants) < len(options.names):
        print(f"no such patch in {HERE}: {options.names}")
        return 2
    cache = os.environ.get("OCORE_CACHE")
    kept = Kept(Path(cache) / "mutants") if cache else None
    tried = mutants
    if kept is not None and not options.fresh and not options.names:
        sources = Sources(HERE.parents[1], listed(HERE.parents[1]))
        tried = [m for m in mutants if not kept.holds(m, sources)]
        print(
            f"{len(mutants) - len(tried)} of {len(mutants)} mutants were killed with the same inputs before (--fresh)"
        )
    problems = _run(tried, options.workers, kept, passed=options.passed) if tried else []
    print(*problems, sep="\n", end="\n" if problems else "")
    killed = "NOT all killed" if problems else "all killed"
    print(f"{len(mutants)} mutants, {killed}, {time.monotonic() - since:.0f} s")
    return 1 if problems else 0


def _run(mutants: Sequence[Mutant], workers: int, kept: Kept | None, *, passed: bool) -> list[str]:
    """What is wrong, empty where all are killed."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ocore-mutants-")))
        copies = range(min(workers, len(mutants)))
        trees = [stack.enter_context(Tree(HERE.parents[1], folder / str(number))) for number in copies]
        run = Run(trees, lambda text: print(text, flush=True), kept)
        assert run.all(mutants, passed=passed) == (not run.problems)
        return run.problems


if __name__ == "__main__":
    sys.exit(main())
