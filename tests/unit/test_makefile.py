"""What the Makefile runs, and when."""

import os
import subprocess
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
#: What brings up clusters or runs tests, and what is called by it.
PROGRAMS = ("tests/with-cluster", "tests/side-by-side", "tests/part.py", "tests/in-memory")


@pytest.mark.parametrize("target", ["lint", "test", "test-all", "test-guards", "test-cluster", "test-nodes"])
def test_make_n_starts_nothing(tmp_path: Path, target: str) -> None:
    """Make runs a line of a recipe that names the variable MAKE, also with -n. This shell notes it instead."""
    noted, shell = tmp_path / "noted", tmp_path / "shell"
    patterns = " | ".join(f"*{each}*" for each in PROGRAMS)
    shell.write_text(
        f'#!/bin/bash\ncase "$*" in {patterns}) printf "%s\\n" "$*" >>{noted} ;; *) exec /bin/bash "$@" ;; esac\n'
    )
    shell.chmod(0o755)
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(
        ["make", "-n", f"SHELL={shell}", target], cwd=REPOSITORY, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert any(each in done.stdout for each in PROGRAMS)
    assert not noted.exists(), noted.read_text()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the Makefile, in which `make demo` runs scripts: each notes its name in `began-NAME` and `done`.
    `run` also makes the virtual environment. They wait for what has contents: a file exists before it is written."""
    for name in ("Makefile", "localcluster/cluster.mk"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text((REPOSITORY / name).read_text())
    for name, program in (("build", "localcluster/cluster"), ("run", "examples/demo/run")):
        path = tmp_path / program
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"""#!/bin/bash
cd {tmp_path}
echo >began-{name}
waits_for() {{ for i in $(seq 600); do [ -s "$1" ] && return; sleep 0.1; done; exit 1; }}
[ ! -e do-{name} ] || . ./do-{name}
echo {name} >>done
""")
        path.chmod(0o755)
    return tmp_path


def make_demo(checkout: Path) -> int:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    command = ["make", "demo", "VENV=made", "DEMO_VENV=made-for-it", "PYTHON=python3"]
    return subprocess.run(command, cwd=checkout, env=env, check=False, timeout=120).returncode


@pytest.mark.parametrize("there", ["made", "made-for-it"])
def test_the_first_demo_builds_the_node_beside_the_python(checkout: Path, there: str) -> None:
    """Compiling takes longest: it began when the Python was there, after a minute with one idle processor."""
    (checkout / "do-build").write_text("waits_for began-run")
    (checkout / "do-run").write_text("waits_for began-build; waits_for done")
    assert make_demo(checkout) == 0
    assert (checkout / "done").read_text().split() == ["build", "run"]
    for name in ("done", "do-run"):
        (checkout / name).unlink()
    (checkout / there).mkdir()
    (checkout / there / ".done").touch()
    assert make_demo(checkout) == 0
    assert (checkout / "done").read_text().split() == ["run"]


def test_a_demo_that_fails_ends_the_build(checkout: Path) -> None:
    (checkout / "do-build").write_text("trap 'touch ended; exit 143' TERM; echo >ready; while :; do sleep 0.1; done")
    (checkout / "do-run").write_text("waits_for ready; exit 3")
    assert make_demo(checkout) != 0
    for _ in range(600):
        if (checkout / "ended").exists():
            break
        time.sleep(0.1)
    assert (checkout / "ended").exists()
