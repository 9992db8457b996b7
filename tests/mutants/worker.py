"""Runs pytest in one copy of the tree, again and again: each time in a fork of this process, which has the libraries
and the packages of the tree loaded.

Loading them takes most of the time of a short run. The fork loads the changed module again, and all that import it.
One request is one line of JSON: {"arguments": [...], "output": FILE, "seconds": N, "changed": FILE}; `changed` is empty
where the tree is as it was. The answer is the exit code, or null after `seconds`. Requests come on stdin.

Most changes are inside functions, and need no module again: {"collect": [argument...], "output": FILE, "named": request
of named.py}. A fork collects the tests of these arguments, and answers such requests until other tests are asked for.
"""

import contextlib
import gc
import importlib
import importlib.util
import json
import os
import pkgutil
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from types import FunctionType
from typing import Any, Self

import grimp

from mutants.loaded import begin_fork, loaded_functions
from mutants.named import Named

#: What runs tests.
RUNNER = (
    "pytest",
    "_pytest.assertion.rewrite",
    "_pytest.junitxml",
    "hypothesis.stateful",
    "pytest_timeout",
    "xdist.plugin",
    "time_machine",
    "anyio.pytest_plugin",
    "_hypothesis_pytestplugin",
)
#: What the tree's packages and tests import. One that is missing here is loaded by each fork.
LIBRARIES = (
    *(
        "pydantic",
        "pydantic_settings",
        "structlog",
        "typer.testing",
        "pythonjsonlogger.json",
        "psycopg",
        "boto3",
        "kopf",
        "kubernetes.aio.client",
    ),
    *("kubernetes.aio.config", "aiohttp", "prometheus_client", "yaml", "unittest.mock", "multiprocessing"),
    *("fastapi", "starlette.middleware.cors", "starlette.middleware.exceptions", "opentelemetry", "anyio", "click"),
    *("uvicorn", "uvloop", "httptools", "httpx", "jwt", "cryptography.hazmat.primitives.asymmetric.rsa", "cronsim"),
)

#: The tree's, those first that the others import. They register nothing outside of themselves while they are loaded.
PACKAGES = ("ocore_crds", "ocore_kube", "ocore_operator", "ocore_mover", "ocore_api", "ocore_cli")


def run(graph: grimp.ImportGraph, arguments: list[str], output: str, seconds: float, changed: str) -> int | None:
    """pytest's exit code; None where it was ended."""
    child = os.fork()
    if child == 0:
        _begin(output)
        import pytest

        if changed:
            forget(graph, changed)
        code = 3
        try:
            code = int(pytest.main(arguments))
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _begin(output: str) -> None:
    begin_fork()
    with open(output, "wb", buffering=0) as file:  # noqa: PTH123 - a path as the request has it
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)


class Collected:
    """A fork that has collected tests. A context manager."""

    def __init__(self, arguments: list[str], output: str, functions: Mapping[str, Sequence[FunctionType]]) -> None:
        self.arguments = arguments
        (reading, to), (back, writing) = os.pipe(), os.pipe()
        self._child = os.fork()
        if self._child == 0:
            _begin(output)
            os.close(to)
            os.close(back)
            import pytest

            try:
                pytest.main(arguments, plugins=[Named(os.fdopen(reading), os.fdopen(writing, "w"), functions)])
            finally:
                os._exit(0)
        os.close(reading)
        os.close(writing)
        self._requests, self._answers = os.fdopen(to, "w"), os.fdopen(back)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for stream in (self._requests, self._answers):
            with contextlib.suppress(BrokenPipeError):
                stream.close()
        os.waitpid(self._child, 0)

    def answer(self, request: dict[str, Any]) -> Any:
        """That of named.py; null where the tests could not be collected."""
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(request), file=self._requests, flush=True)
        return json.loads(self._answers.readline() or "null")


def reached(graph: grimp.ImportGraph, name: str) -> set[str]:
    """The module, what imports it, and so on. A package is loaded with all that it holds."""
    found: set[str] = set()
    left = {name}
    while left:
        found |= left
        left = {m for n in left for m in graph.find_modules_that_directly_import(n) | graph.find_descendants(n)} - found
    return found


def forget(graph: grimp.ImportGraph, changed: str) -> None:
    """Takes out of memory what a changed file may reach: all packages where it is no module of them."""
    path = os.path.realpath(changed)
    name = next((name for name in graph.modules if getattr(sys.modules.get(name), "__file__", None) == path), None)
    for each in graph.modules if name is None else reached(graph, name):
        sys.modules.pop(each, None)
        package, _, last = each.rpartition(".")
        if package in sys.modules:  # `from package import last` would take the old one
            vars(sys.modules[package]).pop(last, None)


def load() -> grimp.ImportGraph:
    """Loads the libraries and the tree's packages. Returns which modules of these import which."""
    packages = [package for package in PACKAGES if importlib.util.find_spec(package)]
    for name in (*RUNNER, *(LIBRARIES if packages else ())):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    for package in packages:
        for found in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            if not found.name.endswith(".__main__"):
                importlib.import_module(found.name)
    graph = grimp.build_graph(*packages, cache_dir=None) if packages else grimp.ImportGraph()
    # pytest collects garbage five times at its end: a fork need not go through what it shares with this process, and
    # copy it by that.
    gc.collect()
    gc.freeze()
    return graph


def main() -> None:
    graph = load()
    functions = loaded_functions()
    with contextlib.ExitStack() as stack:
        collected = None
        for request in map(json.loads, sys.stdin):
            if "collect" not in request:
                print(json.dumps(run(graph, **request)), flush=True)
                continue
            if collected is None or collected.arguments != request["collect"]:
                stack.close()
                collected = stack.enter_context(Collected(request["collect"], request["output"], functions))
            print(json.dumps(collected.answer(request["named"])), flush=True)


if __name__ == "__main__":
    main()
