"""``python -m ocore_operator``."""

import gc

# All that the imports make stays. Without this the garbage collector visits it again and again: two fifths of the
# start.
gc.disable()

import sys

from ocore_operator.main import main as run


def main() -> None:
    """The console script."""
    gc.freeze()
    gc.enable()
    sys.exit(run())


if __name__ == "__main__":
    main()
