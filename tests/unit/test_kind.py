"""localcluster/lib/kind.sh, as far as it can be run without a Docker engine: what a machine lacks is named."""

import os
import subprocess
from pathlib import Path

import pytest

from support.cluster.cluster import REPOSITORY


@pytest.mark.parametrize(
    ("docker", "says"),
    [
        ("exit 0", ""),
        ('[ "$1" != info ]', "the Docker engine does not answer (CLUSTER=kind)"),
        ('[ "$1" != buildx ]', "Docker has no Buildx, which the Containerfiles need"),
    ],
)
def test_what_kind_lacks_is_named_before_anything_is_built(tmp_path: Path, docker: str, says: str) -> None:
    for name, text in {"docker": docker, **dict.fromkeys(("kind", "kubectl", "helm"), "exit 1")}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    environment = {
        **os.environ, "CLUSTER": "kind", "PATH": f"{tmp_path}:{os.environ['PATH']}", "OCORE_STATE": str(tmp_path / "s"),
    }  # fmt: skip
    done = subprocess.run(
        [REPOSITORY / "localcluster/cluster", "deps"],
        env=environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode != 0) == bool(says), done.stderr
    assert says in done.stderr
