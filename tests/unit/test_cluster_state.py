"""localcluster/lib/node.sh: a removal of a cluster that is ended half-way leaves no half of its state for the next
start."""

import signal
import subprocess
from pathlib import Path

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
