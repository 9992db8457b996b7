"""Runs tests for one change of a module after the other, each time in a fork of this process, which has collected them.
``collected.py MODULE ARGUMENT…``: the arguments are those of pytest.

To start, load and collect takes far longer than most tests of pure code. So the loaded functions get the code of the
changed text. Only the tests run that enter the changed function, those first that noticed an earlier change. What is
outside functions, and what a test runs in another process, stays as it is.

The first line on stdout is whether the tests pass without a change. Then one request is one line of JSON on stdin,
{"line": first line of the function that is changed, "text": the module's text}, and the answer is whether the tests
pass.
"""

import ctypes
import gc
import inspect
import json
import os
import resource
import select
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from time import monotonic
from types import CodeType, FrameType, FunctionType
from typing import Any, TextIO

import pytest
from hypothesis import Phase, settings

#: Processor seconds for the tests of one change, and the seconds after which they wait for something that never comes:
#: on a busy machine far more than they need.
CPU_SECONDS, SECONDS = 60, 600
_PR_SET_PDEATHSIG = 1  # linux/prctl.h: a run ends with the process that started it

# A shorter example is of no use here.
settings.register_profile("sweep", settings.get_profile("ci"), phases=(Phase.explicit, Phase.generate))


def functions(code: CodeType, outermost: int = 0) -> Iterator[tuple[int, CodeType]]:
    """Every function in a module's code, with the first line of the outermost function that it is in."""
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            is_function = bool(inner.co_flags & inspect.CO_NEWLOCALS)
            first = outermost or (inner.co_firstlineno if is_function else 0)
            if is_function:
                yield first, inner
            yield from functions(inner, first)


def loaded_functions(path: str) -> list[FunctionType]:
    """The functions of a module that exist. Also those that the collector does not visit: the tests' conftest.py has
    frozen what their collection made."""
    gc.unfreeze()
    try:
        return [each for each in gc.get_objects() if type(each) is FunctionType and each.__code__.co_filename == path]
    finally:
        gc.freeze()


def put_in(loaded: Sequence[FunctionType], path: str, text: str) -> None:
    """Gives the loaded functions of a module the code of a text. Two that cannot be told apart stay as they are, and
    one that the change gave other variables of the function around it."""
    codes = [inner for _, inner in functions(compile(text, path, "exec"))]
    count = Counter((code.co_qualname, code.co_firstlineno) for code in codes)
    new = {key: code for code in codes if count[key := (code.co_qualname, code.co_firstlineno)] == 1}
    for found in loaded:
        code = new.get((found.__code__.co_qualname, found.__code__.co_firstlineno))
        if code is not None and len(code.co_freevars) == len(found.__code__.co_freevars):
            found.__code__ = code


def in_fork(act: Callable[[], Any], seconds: float = SECONDS, cpu_seconds: int = CPU_SECONDS) -> Any:
    """What it returns, which JSON can hold; None where the process ends before."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
        try:
            os.write(writing, json.dumps(act()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    until, answer = monotonic() + seconds, b""
    with os.fdopen(reading, "rb", 0) as stream:
        while select.select([stream], [], [], max(0, until - monotonic()))[0] and (part := stream.read(1 << 16)):
            answer += part
    # Also what it started: with the group's leader not yet waited for, its number is no other group's.
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return json.loads(answer or "null")


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
        self._loaded = loaded_functions(self._path)
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
        put_in(self._loaded, self._path, text)
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
