"""Command lines for people to copy. Every value in one was chosen by a tenant, or may have been. Pure."""

import shlex


def command(*words: str) -> str:
    """The words as one command line for a POSIX shell: each reaches the program as it is."""
    return shlex.join(words)
