"""The CLI's one exception tree.

::

    CliError          ends the command with exit code 1; the message says what to do
    └── Unreachable   the API server did not answer; a wait continues until its deadline
"""


class CliError(Exception):
    """Its message is printed, without a traceback."""


class Unreachable(CliError):
    """A retry may succeed."""
