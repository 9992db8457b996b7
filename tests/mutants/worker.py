"""Runs pytest in one copy of the tree, again and again: each time in a fork of this process, which has the libraries
loaded.

Loading them takes most of the time of a short run. The packages of the tree are loaded by the fork, after its files
were changed. One request is one line of JSON: {"arguments": [...], "output": FILE, "seconds": N}; the answer is the
exit code, or null after `seconds`. Requests come on stdin.
"""

import contextlib
import ctypes
import gc
import importlib
import json
import os
import signal
import sys
import time

#: What the tree's packages and tests import. One that is missing here is loaded by each fork.
LIBRARIES = (
    *(
        "pytest",
        "_pytest.assertion.rewrite",
        "_pytest.junitxml",
        "hypothesis.stateful",
        "pytest_timeout",
        "xdist.plugin",
        "time_machine",
        "anyio.pytest_plugin",
        "_hypothesis_pytestplugin",
    ),
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

_PR_SET_PDEATHSIG = 1  # linux/prctl.h: a run ends with the process that started it


def run(arguments: list[str], output: str, seconds: float) -> int | None:
    """pytest's exit code; None where it was ended."""
    child = os.fork()
    if child == 0:
        os.setsid()
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        with open(output, "wb", buffering=0) as file:  # noqa: PTH123 - a path as the request has it
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        import pytest

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


def load() -> None:
    """Loads the libraries."""
    for name in LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    # pytest collects garbage five times at its end: a fork need not go through what it shares with this process, and
    # copy it by that.
    gc.collect()
    gc.freeze()


def main() -> None:
    load()
    for line in sys.stdin:
        print(json.dumps(run(**json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
