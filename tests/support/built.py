"""What the Makefile builds for the tests."""

import os
import shutil
import subprocess
from pathlib import Path

from support.cluster.cluster import REPOSITORY

#: Where a run of mutants wants the page: it is built there without a check of its types, which takes 50 times as long.
PAGE_IN = "OCORE_PAGE_IN"


def built_page() -> Path:
    """The page of the REST facade: the folder with its files. Built where it is not in the cache."""
    if PAGE_IN not in os.environ:
        return make("ui")
    folder = Path(os.environ[PAGE_IN])
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(REPOSITORY / "ui", folder, ignore=shutil.ignore_patterns("node_modules"))
    (folder / "node_modules").symlink_to(make("ui-modules") / "node_modules")
    subprocess.run(["node", "build.mjs"], cwd=folder, check=True, timeout=120)
    return folder / "dist"


def make(target: str) -> Path:
    """The program or folder that it prints."""
    done = subprocess.run(
        ["make", "-s", "-C", str(REPOSITORY), target], check=True, timeout=1800, capture_output=True, text=True,
        env={**os.environ, "MAKEFLAGS": ""},
    )  # fmt: skip
    return Path(done.stdout.splitlines()[-1])
