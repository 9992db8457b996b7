"""A failpoint kills for certain, also the first process of a container, which is deaf to a SIGKILL of its own."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
from ocore_crds import failpoints
try:
    failpoints.hit("switch-renamed")
finally:
    print("still here", flush=True)
"""


@pytest.mark.parametrize("first", [False, True], ids=["any process", "first of its namespace"])
def test_nothing_runs_after_it(first: bool) -> None:
    command = [sys.executable, "-c", PROGRAM]
    if first:
        command = ["unshare", "--pid", "--fork", *command]
        if subprocess.run(["unshare", "--pid", "--fork", "true"], capture_output=True, check=False).returncode != 0:
            pytest.skip("needs the right to make a PID namespace")
    done = subprocess.run(
        command,
        env={**os.environ, "OCORE_FAILPOINTS": "switch-renamed=kill", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode in (-9, 137)
    assert "still here" not in done.stdout
