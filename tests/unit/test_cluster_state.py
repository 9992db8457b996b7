"""localcluster/lib/node.sh: a removal of a cluster that is ended half-way leaves no half of its state for the next
start."""

import signal
import subprocess
import time
from pathlib import Path

import pytest

from support.cluster.cluster import REPOSITORY


def delete_state(folder: Path, before: str = "") -> int:
    """The exit code. `before`: what the shell runs first."""
    here = REPOSITORY / "localcluster"
    files = "; ".join(f"source {here}/lib/{name}.sh" for name in ("common", "build", "node"))
    script = f"set -euo pipefail; HERE={here} REPO={REPOSITORY}; {files}; {before} delete_state"
    environment = {
        "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
        "HOME": str(folder),
        "OCORE_STATE": str(folder / "state"),
        "OCORE_CLUSTER": "test",
    }
    return subprocess.run(["bash", "-c", script], env=environment, check=False, timeout=60).returncode


def test_a_removal_that_is_killed_leaves_nothing_to_start_upon(tmp_path: Path) -> None:
    state = tmp_path / "state"
    (state / "test/containerd").mkdir(parents=True)
    (state / "test/port").write_text("6443")
    killed = 'rm() { [ ! -e "${@: -1}" ] || kill -KILL $$; };'
    assert delete_state(tmp_path, killed) == -signal.SIGKILL
    assert [path.name for path in state.iterdir()] == [".gone-test"]
    assert delete_state(tmp_path) == 0, "the next one removes the rest"
    assert not state.exists()


def wait_until_gone(argument: str) -> bool:
    """No process has it in its command any more."""
    for _ in range(600):
        if subprocess.run(["pgrep", "-f", argument], check=False, stdout=subprocess.DEVNULL).returncode == 1:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize(("then", "code"), [("true", 0), ("exit 3", 3)])
def test_what_runs_beside_ends_with_what_fails_and_is_waited_for_otherwise(
    tmp_path: Path, then: str, code: int
) -> None:
    """The end of a subshell of its own, as each lock has one, is none of it."""
    long = f"step long sh -c 'touch began; until [ -e {tmp_path}/go ]; do sleep 0.05; done; touch finished'"
    script = f"""set -euo pipefail; cd {tmp_path}; source {REPOSITORY}/localcluster/lib/common.sh
        long() {{ {long}; }}
        beside with_lock one long
        until [ -e began ]; do sleep 0.05; done
        with_lock two {then}
        touch go
        join_beside"""
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "OCORE_CLUSTER": "test"}
    done = subprocess.run(["bash", "-c", script], env=environment, check=False, timeout=60)
    assert done.returncode == code
    assert (tmp_path / "finished").exists() == (code == 0)
    assert wait_until_gone(f"{tmp_path}/go")
