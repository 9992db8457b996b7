"""The vendored schemas of Argo CD and Flux (tests/schemas)."""

import hashlib
import json
from pathlib import Path
from typing import Any

from support.cluster.cluster import REPOSITORY

FOLDER = REPOSITORY / "tests/schemas"
#: Names of the CRDs.
CRDS = tuple(sorted(p.stem for p in FOLDER.glob("*.json") if "." in p.stem))


def load(name: str) -> dict[str, Any]:
    """The content of a file without its origin. Raises AssertionError where it is not what `update.py` wrote."""
    path: Path = FOLDER / f"{name}.json"
    content: dict[str, Any] = json.loads(path.read_text())
    source = content.pop("source")
    text = json.dumps(content, sort_keys=True)
    assert hashlib.sha256(text.encode()).hexdigest() == source["sha256"], f"{path} was changed by hand"
    assert source["licence"] == "Apache-2.0", source
    assert source["module"], path
    assert source["version"].startswith("v"), path
    assert source["sum"].startswith(("h1:", "git:")), path
    return content
