"""The text files of the checkout that are ours."""

import subprocess
from pathlib import Path

from .cluster.cluster import REPOSITORY

#: Files that others have written.
THEIRS = REPOSITORY / "api/ocore_api/swagger_ui/dist"


def tracked(*paths: str) -> list[Path]:
    """Our text files that git tracks below these paths (also not yet committed ones)."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *paths],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    files = (REPOSITORY / name for name in listed.split("\0") if name)
    return [f for f in files if f.is_file() and f.suffix not in {".sum", ".mod", ".png"} and f.parent != THEIRS]
