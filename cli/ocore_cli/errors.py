"""The CLI's one exception tree.

::

    CliError          ends the command with exit code 1; the message says what to do
    └── Unreachable   the API server did not answer; a wait goes on until its deadline
"""


class CliError(Exception):
    """Printed as it is."""


class Unreachable(CliError):
    """The next try may succeed."""
