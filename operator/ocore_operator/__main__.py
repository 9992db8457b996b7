"""``python -m ocore_operator``."""

import sys

from ocore_operator.main import main as run


def main() -> None:
    """The console script."""
    sys.exit(run())


if __name__ == "__main__":
    main()
