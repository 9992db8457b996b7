"""The program age, which decrypts and encrypts on this computer."""

import shutil

from .errors import CliError

PROGRAM = "age"


def need_program() -> None:
    """Raises CliError where it is not installed."""
    if shutil.which(PROGRAM) is None:
        raise CliError("the program age is not installed. Install it: it decrypts and encrypts on this computer")
