"""`tests/part.py`, which measures the parts of a test run and compares them with their budget."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from support.cluster.cluster import REPOSITORY

PROGRAM = str(REPOSITORY / "tests/part.py")
#: Uses a second of processor time.
BUSY = "import time\nwhile time.process_time() < 1: pass"


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("OCORE_PARTS", "OCORE_CLUSTER")}
    return subprocess.run(
        [PROGRAM, *arguments], capture_output=True, text=True, timeout=60, check=False, env=kept | environment
    )


def rows(output: str) -> dict[str, list[str]]:
    """Part → the rest of its row."""
    table = output[output.rindex("part ") :]
    return {line.split()[0]: line.split()[1:] for line in table.splitlines()[1:]}


def test_each_part_stands_beside_its_budget_and_the_total_is_last() -> None:
    script = f"{PROGRAM} run b echo one; {PROGRAM} run a true; {PROGRAM} run a true; {PROGRAM} run new true"
    done = run("table", "total=1,60", "a=1,60", "b=1,60", "--", "bash", "-c", script)
    assert done.stdout.startswith("one\n")
    found = rows(done.stdout)
    assert list(found) == ["a", "b", "new", "total"]
    assert found["a"] == ["0.0", "1", "0", "s", "60", "s"]
    assert " ".join(found["new"]).endswith("no budget: add it to BUDGET in the Makefile")
    assert done.returncode == 0


def test_what_is_above_its_budget_is_marked_and_fails_nothing() -> None:
    done = run("table", "slow=0,60", "busy=1,0.5", "fine=1,60", "--", "bash", "-c", (
        f"{PROGRAM} run slow sleep 0.1; {PROGRAM} run busy python3 -c '{BUSY}'; {PROGRAM} run fine true"
    ))  # fmt: skip
    marked = {name for name, row in rows(done.stdout).items() if row[-2:] == ["ABOVE", "BUDGET"]}
    assert (marked, done.returncode) == ({"slow", "busy"}, 0)


def test_a_part_that_did_not_run_is_said() -> None:
    done = run("table", "a=1,60", "--", "false")
    assert (rows(done.stdout)["a"][-2:], done.returncode) == (["not", "run"], 1)


def test_processes_that_the_command_left_alone_count(tmp_path: Path) -> None:
    """A server that a test starts is a daemon: its parent has ended before it."""
    daemon = f"(setsid sh -c \"python3 -c '{BUSY}'; touch {tmp_path}/done\" &)"
    wait = f"until [ -e {tmp_path}/done ]; do sleep 0.1; done; sleep 0.3"
    done = run("table", "a=1,0.5", "--", PROGRAM, "run", "a", "bash", "-c", f"{daemon}; {wait}")
    assert rows(done.stdout)["a"][-2:] == ["ABOVE", "BUDGET"]


def test_outside_of_a_table_it_only_runs_the_command() -> None:
    done = run("run", "a", "bash", "-c", "echo $OCORE_PARTS one; exit 3")
    assert (done.returncode, done.stdout) == (3, "one\n")


@pytest.mark.parametrize(("command", "code"), [("exit 7", 7), ("kill -9 $$", 137)])
def test_the_exit_code_is_that_of_the_command(command: str, code: int) -> None:
    done = run("table", "a=1,1", "--", PROGRAM, "run", "a", "bash", "-c", command)
    assert done.returncode == code


def test_a_signal_ends_the_command_and_the_table_is_still_printed(tmp_path: Path) -> None:
    command = f"trap 'touch {tmp_path}/down; exit 4' TERM; echo up; while :; do sleep 0.05; done"
    with subprocess.Popen(
        [PROGRAM, "table", "a=1,1", "--", PROGRAM, "run", "a", "bash", "-c", command],
        stdout=subprocess.PIPE,
        text=True,
        env={k: v for k, v in os.environ.items() if k != "OCORE_PARTS"},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 4
    assert (tmp_path / "down").exists()
    assert "a" in rows(output)


@pytest.mark.parametrize("arguments", [[], ["run", "a"], ["table", "a=1,1"], ["table", "--"], ["other", "x", "y"]])
def test_wrong_arguments_print_the_usage(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert "tests/part.py run NAME COMMAND" in done.stderr


def test_every_part_of_the_makefile_has_a_budget() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    budget = makefile.split("BUDGET := ")[1].split("test:")[0]
    budgets = {item.partition("=")[0] for item in budget.replace("\\", "").split()}
    used = {line.split("$(PART) ")[1].split()[0] for line in makefile.splitlines() if "$(PART) " in line}
    assert budgets == used | {"total"}
