"""The page of the REST facade, as `make ui` builds it."""

import os
import subprocess
from pathlib import Path

from support.cluster.cluster import REPOSITORY


def built_page() -> Path:
    """The folder with its files. Built where it is not in the cache."""
    done = subprocess.run(
        ["make", "-s", "-C", str(REPOSITORY), "ui"], check=True, timeout=600, capture_output=True, text=True,
        env={**os.environ, "MAKEFLAGS": ""},
    )  # fmt: skip
    return Path(done.stdout.splitlines()[-1])
