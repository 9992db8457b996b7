"""What the programs do before their work begins."""

import subprocess
import sys

import pytest

#: Ends where the program enables the garbage collector: with 3 if it has hardly run before.
PROGRAM = """if True:
    import gc, runpy, sys
    before = sum(generation["collections"] for generation in gc.get_stats())
    def enable():
        after = sum(generation["collections"] for generation in gc.get_stats())
        sys.exit(3 if after < before + 10 and not gc.isenabled() and gc.get_freeze_count() > 10_000 else after - before)
    gc.enable = enable
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["ocore_mover", "measure", "--layout", "Plain", "--claim", "/tmp", "--filestore", "data"],
        ["ocore_operator"],
        ["ocore_api"],
        ["ocore_cli", "--help"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_the_garbage_collector_begins_after_the_imports(arguments: list[str]) -> None:
    """Visiting what the imports make took a fifth to two fifths of each start. What they made is never visited."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 3, done.stderr
