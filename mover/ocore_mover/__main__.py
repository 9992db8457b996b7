"""The mover's entry point.

In a Job the request of the command is a document in the environment (``ocore_crds.commands.request_transport``); at a
shell it is given by options (:mod:`ocore_mover.command_line`, which a Job does not import: most of a short Job's time
is its start).
"""

import gc
import os
import signal

# As process 1 of a container it has no default for SIGTERM. Until the command handles that, a pod that was deleted
# would go on, and act beside the next attempt. Nothing has been done yet.
if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: os._exit(128 + signal.SIGTERM))

# The garbage collector would visit what the imports make again and again, a fifth of the start, and find nothing: all
# of it stays. commands.runtime.run enables it again.
if __name__ == "__main__":
    gc.disable()

import sys
from pathlib import Path

from ocore_crds.reports.base import TERMINATION_MESSAGE_PATH
from ocore_mover import requests, settings
from ocore_mover.commands.runtime import execute
from ocore_mover.errors import UsageError

EXIT_USAGE = 2


def main() -> None:
    """The console script."""
    document = settings.request()
    if document is None:
        from ocore_mover.command_line import app

        app()
    else:
        sys.exit(run_document(sys.argv[1:], document))


def run_document(arguments: list[str], document: str, termination: Path = Path(TERMINATION_MESSAGE_PATH)) -> int:
    """Runs the command that the only argument names, with the request in the document. Returns the exit code."""
    try:
        return execute(*requests.from_document(arguments, document))
    except UsageError as error:
        print(error, file=sys.stderr)
        # Outside a pod this file does not exist, and it is not created.
        if termination.exists():
            termination.write_text(str(error))
        return EXIT_USAGE


if __name__ == "__main__":
    main()
