"""The console script ``kubectl-ocore``, which kubectl runs as ``kubectl ocore``."""

import gc
import sys

from . import interrupts

#: What `kubectl_complete-ocore` calls: the words to complete follow. The name is that of cobra's programs.
COMPLETE = "__complete"


def main() -> None:
    """Starts the commands. Ctrl-C ends without a traceback, also while they are loaded."""
    try:
        interrupts.install()
        # All that the imports make stays. Without this the garbage collector visits it again and again: two fifths of
        # the start.
        gc.disable()
        if sys.argv[1:2] == [COMPLETE]:
            del sys.argv[1]
            from .completing import main as commands
        else:
            from .app import main as commands

        gc.freeze()
        gc.enable()
        commands()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
