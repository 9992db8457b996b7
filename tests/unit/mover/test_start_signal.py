"""SIGTERM before a command handles it: in a container the mover is process 1, which has no default for it."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

#: Loaded at the start of Python: an import of the entry point takes long.
SLOW = """
import importlib.abc, sys, time

class Slow(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "ocore_crds.reports.base":
            print("imports", flush=True)
            time.sleep(60)

sys.meta_path.insert(0, Slow())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="a namespace of processes needs root")
def test_row_02_a_pod_that_is_deleted_at_its_start_ends_at_once(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(SLOW)
    paths = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    with subprocess.Popen(
        ["unshare", "--pid", "--fork", "--kill-child", sys.executable, "-m", "ocore_mover", "snapshot"],
        env={**os.environ, "PYTHONPATH": paths}, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "imports\n"
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            os.kill(int(children[0]), signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            assert process.returncode == 128 + signal.SIGTERM
        finally:
            process.kill()
