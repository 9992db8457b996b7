"""The CLI's one exception tree, and the exit codes.

::

    CliError             ends the command with its exit code; the message says what to do
    ├── Unreachable      the API server did not answer; a wait continues until its deadline
    ├── NotInstalled     the API server does not serve the kind
    ├── Refused          nothing was changed: a check or the API server refused it
    │   └── Denied       the caller has not the right
    ├── TimedOut         the wait is over; what was created continues in the cluster
    └── Interrupted      the same, by Ctrl-C
"""

from typing import ClassVar

#: An operation failed, or the command could not do its work. 2, wrong usage, is typer's.
FAILED = 1
REFUSED = 3
TIMED_OUT = 4
#: `doctor` found a problem.
FINDINGS = 5
INTERRUPTED = 130


class CliError(Exception):
    """Its message is printed, without a traceback."""

    code: ClassVar[int] = FAILED


class Unreachable(CliError):
    """A retry may succeed."""


class NotInstalled(CliError):
    """The CRD does not exist."""


class Refused(CliError):
    """Nothing was changed."""

    code = REFUSED


class Denied(Refused):
    """The API server answered 403."""


class TimedOut(CliError):
    """What was created continues."""

    code = TIMED_OUT


class Interrupted(CliError):
    """What was created continues."""

    code = INTERRUPTED
