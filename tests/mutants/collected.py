"""Runs tests for one change of a module after the other, each time in a fork of this process, which has collected them.
``collected.py MODULE ARGUMENT…``: the arguments are those of pytest.

To start, load and collect takes far longer than most tests of pure code. So the loaded functions get the code of the
changed text. Only the tests run that enter the changed function, those first that noticed an earlier change. What is
outside functions, and what a test runs in another process, stays as it is.

The first line on stdout is whether the tests pass without a change. Then one request is one line of JSON on stdin,
{"line": first line of the function that is changed, "text": the module's text}, and the answer is whether the tests
pass.
"""

import json
import os
import sys
import threading
from pathlib import Path
from time import monotonic
from types import FrameType, FunctionType
from typing import TextIO

import pytest
from hypothesis import Phase, settings

from mutants.loaded import CPU_SECONDS, functions, in_fork, loaded_functions, put_in

# A shorter example is of no use here.
settings.register_profile("sweep", settings.get_profile("ci"), phases=(Phase.explicit, Phase.generate))


class Collected:
    """A plugin of pytest that runs instead of its loop over the tests."""

    def __init__(self, path: str, requests: TextIO, answers: TextIO) -> None:
        self._path, self._requests, self._answers = path, requests, answers
        #: First line of an outermost function → the tests that enter it, by their places, the best ones first.
        self._tests: dict[int, list[int]] = {}
        self._loaded: list[FunctionType] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Answers until there are no more requests."""
        if session.testsfailed:
            raise session.Interrupted("errors during collection")
        tests = in_fork(lambda: self._entered(session), cpu_seconds=10 * CPU_SECONDS)
        self._answer(passed=tests is not None)
        self._loaded = loaded_functions().get(self._path, [])
        self._tests = {int(line): places for line, places in (tests or {}).items()}
        for request in map(json.loads, self._requests):
            self._answer(passed=self._passes(session, request["line"], request["text"]))
        return True

    def _answer(self, *, passed: bool) -> None:
        print(json.dumps(passed), file=self._answers, flush=True)

    def _entered(self, session: pytest.Session) -> dict[int, list[int]] | None:
        """The quickest test first; None where one fails."""
        with open(self._path, encoding="utf-8") as file:  # noqa: PTH123 - a path as the process got it
            code = compile(file.read(), self._path, "exec")
        first = {(inner.co_qualname, inner.co_firstlineno): line for line, inner in functions(code)}
        lines: set[int] = set()

        def note(frame: FrameType, event: str, _: object) -> None:
            if event == "call" and frame.f_code.co_filename == self._path:
                lines.add(first.get((frame.f_code.co_qualname, frame.f_code.co_firstlineno), 0))

        found: list[tuple[float, int, set[int]]] = []
        threading.setprofile(note)
        sys.setprofile(note)
        for place, item in enumerate(session.items):
            since = monotonic()
            following = session.items[place + 1] if place + 1 < len(session.items) else None
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            found.append((monotonic() - since, place, set(lines)))
            lines.clear()
        tests: dict[int, list[int]] = {}
        for _, place, entered in sorted(found):
            for line in entered:
                tests.setdefault(line, []).append(place)
        return None if session.testsfailed else tests

    def _passes(self, session: pytest.Session, line: int, text: str) -> bool:
        """Whether no test fails. One that fails is the first one next time."""
        places = self._tests.get(line, [])
        tried = in_fork(lambda: self._tried(session, places, text))
        if tried == len(places):
            return True
        if tried is not None:
            places.insert(0, places.pop(tried))
        return False

    def _tried(self, session: pytest.Session, places: list[int], text: str) -> int:
        """How many of the tests pass before one fails."""
        put_in(self._loaded, self._path, Path(self._path).read_text(encoding="utf-8"), text)
        items = [session.items[place] for place in places]
        for number, item in enumerate(items):
            following = items[number + 1] if number + 1 < len(items) else None
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if session.testsfailed:
                session._setupstate.teardown_exact(None)  # servers that a fixture has started
                return number
        return len(items)


def main() -> None:
    """The process."""
    path = os.path.realpath(sys.argv[1])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what pytest prints
    plugin = Collected(path, os.fdopen(os.dup(0)), answers)
    sys.exit(pytest.main([*sys.argv[2:], "--hypothesis-profile=sweep"], plugins=[plugin]))


if __name__ == "__main__":
    main()
