"""Runs tests that mutants name, for one mutant after the other: each time in a fork of this process, which has
collected them. A part of worker.py.

One request is one line of JSON: {"file": FILE, "before": its text, "text": the changed text, "tests": [node id...],
"seconds": N}. The file has the changed text already, for what tests load and start later. The answer is the outcome of
each test, or null where the fork did not end, or where a loaded module would have to be loaded again.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import FunctionType
from typing import Any, TextIO

import pytest

from mutants.loaded import in_fork, loaded_functions, outside, put_in


class Named:
    """A plugin of pytest that runs instead of its loop over the tests."""

    def __init__(
        self, requests: Iterable[str], answers: TextIO, functions: Mapping[str, Sequence[FunctionType]]
    ) -> None:
        self._requests, self._answers = requests, answers
        #: Those that were loaded before the tests, by their file.
        self._functions = functions
        self._reports: list[pytest.TestReport] = []

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._reports.append(report)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Answers until there are no more requests."""
        for request in map(json.loads, self._requests):
            print(json.dumps(self._answer(session, **request)), file=self._answers, flush=True)
        return True

    def _answer(
        self, session: pytest.Session, file: str, before: str, text: str, tests: list[str], seconds: float
    ) -> Any:
        loaded = any(getattr(module, "__file__", None) == file for module in [*sys.modules.values()])
        if loaded and outside(compile(before, file, "exec")) != outside(compile(text, file, "exec")):
            return None
        if loaded and file not in self._functions:
            self._functions = loaded_functions()

        def run() -> list[tuple[str, str, str]]:
            if loaded:
                put_in(self._functions.get(file, []), file, before, text)
            items = [item for item in session.items if {item.nodeid, item.nodeid.partition("[")[0]} & {*tests}]
            for item, following in zip(items, [*items[1:], None], strict=True):
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            return [*_outcomes(self._reports)]

        return in_fork(run, seconds, int(seconds))


def _outcomes(reports: list[pytest.TestReport]) -> Iterator[tuple[str, str, str]]:
    """Of each test: its node id without parameters, its outcome as in a JUnit report, the message."""
    found: dict[str, tuple[str, str, str]] = {}
    for report in reports:
        test = report.nodeid.partition("[")[0]
        if report.outcome == "passed":
            found.setdefault(report.nodeid, (test, "passed", ""))
        elif found.get(report.nodeid, ("", "passed", ""))[1] == "passed":
            outcome = "error" if report.failed and report.when != "call" else report.outcome
            crash = getattr(report.longrepr, "reprcrash", None)
            found[report.nodeid] = (test, outcome, crash.message if crash is not None else str(report.longrepr))
    yield from found.values()
