"""The mover's entry point: the command line (:mod:`ocore_mover.command_line`)."""

import gc

# The garbage collector would visit what the imports make again and again, a fifth of the start, and find nothing: all
# of it stays. commands.runtime.run enables it again.
if __name__ == "__main__":
    gc.disable()

from ocore_mover.command_line import app


def main() -> None:
    """The console script."""
    app()


if __name__ == "__main__":
    main()
