#!/usr/bin/env python3
"""Measures the parts of a test run, and compares them with their budget.

tests/part.py run NAME COMMAND...          runs the command; within `tests/part.py table` its minutes and processor
seconds are recorded tests/part.py table NAME=MINUTES,SECONDS... -- COMMAND...
                                        runs the command, then prints a table of all parts beside their budget

The budget is minutes on the clock and seconds of processor time. What is above it is marked, and fails nothing: hosts
differ. Processor seconds are what is compared over time. They are those of all processes that the command started, also
of those that it left alone (`prctl(2)`, PR_SET_CHILD_SUBREAPER), and of the local cluster $OCORE_CLUSTER, where it
runs. Exit code: that of the command.
"""

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

#: The file that the parts are recorded in, a line each; set by `table`.
RECORD = "OCORE_PARTS"
CLUSTER = Path(__file__).resolve().parent.parent / "localcluster/cluster"
#: Signals that a command gets when this program gets them.
HANDED_ON = (signal.SIGINT, signal.SIGTERM)
SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of linux/prctl.h


def of_cluster() -> float:
    """Processor seconds that the local cluster has used since its start; 0 where none runs."""
    if "OCORE_CLUSTER" not in os.environ:
        return 0.0
    done = subprocess.run([CLUSTER, "usage"], capture_output=True, text=True, check=False, timeout=60)
    return float(done.stdout) if done.returncode == 0 else 0.0


def run(name: str, command: list[str]) -> int:
    """Runs the command and records it; its exit code, or 128 and the signal that ended it."""
    if RECORD not in os.environ:
        os.execvp(command[0], command)
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    began, cluster = time.monotonic(), of_cluster()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    status = follow(command, os.environ)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    own = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    measured = {
        "part": name,
        "minutes": (time.monotonic() - began) / 60,
        "seconds": own + max(0.0, of_cluster() - cluster),
    }
    with Path(os.environ[RECORD]).open("a") as record:
        record.write(json.dumps(measured) + "\n")
    return status


def follow(command: list[str], environment: Mapping[str, str]) -> int:
    """Starts the command and waits for it, reaps what it leaves alone in the meantime, and hands signals on: also one
    that comes while it is being started. Its exit code, or 128 and the signal that ended it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HANDED_ON)
    started = os.posix_spawnp(command[0], command, environment, setsigmask=before)

    def hand_on(number: int, _: FrameType | None) -> None:
        os.kill(started, number)

    for each in HANDED_ON:
        signal.signal(each, hand_on)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    while True:
        pid, status = os.wait()
        if pid == started:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def table(budgets: dict[str, tuple[float, float]], command: list[str]) -> int:
    """Runs the command and prints the parts that it recorded; its exit code."""
    began = time.monotonic()
    with tempfile.NamedTemporaryFile("r", prefix="ocore-parts-") as record:
        code = follow(command, os.environ | {RECORD: record.name})
        parts: dict[str, tuple[float, float]] = {}
        for measured in map(json.loads, record):
            minutes, seconds = parts.get(measured["part"], (0.0, 0.0))
            parts[measured["part"]] = (minutes + measured["minutes"], seconds + measured["seconds"])
    total = ((time.monotonic() - began) / 60, sum(seconds for _, seconds in parts.values()))
    print("\n" + "\n".join(lines(budgets, parts, total)), flush=True)
    return code


def lines(
    budgets: dict[str, tuple[float, float]], parts: dict[str, tuple[float, float]], total: tuple[float, float]
) -> list[str]:
    """The table: a row for each part, in the order of the budget."""
    row = "{:<14} {:>8} {:>8}   {:>10} {:>8}   {}".format
    found = [row("part", "minutes", "budget", "processor", "budget", "")]
    others = [p for p in parts if p not in budgets]
    for name in [*(b for b in budgets if b != "total"), *others, *(b for b in budgets if b == "total")]:
        allowed = budgets.get(name)
        used = total if name == "total" else parts.get(name)
        columns = ["-", "-"] if used is None else [f"{used[0]:.1f}", f"{used[1]:.0f} s"]
        limits = ["-", "-"] if allowed is None else [f"{allowed[0]:g}", f"{allowed[1]:g} s"]
        if used is None:
            mark = "not run"
        elif allowed is None:
            mark = "no budget: add it to BUDGET in the Makefile"
        else:
            mark = "ABOVE BUDGET" if used[0] > allowed[0] or used[1] > allowed[1] else ""
        found.append(row(name, columns[0], limits[0], columns[1], limits[1], mark).rstrip())
    return found


def main(arguments: list[str]) -> int:
    match arguments:
        case ["run", name, *command] if command:
            return run(name, command)
        case ["table", *rest] if "--" in rest and rest[-1] != "--":
            split = rest.index("--")
            budgets = {}
            for item in rest[:split]:
                name, _, limits = item.partition("=")
                minutes, _, seconds = limits.partition(",")
                budgets[name] = (float(minutes), float(seconds))
            return table(budgets, rest[split + 1 :])
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
