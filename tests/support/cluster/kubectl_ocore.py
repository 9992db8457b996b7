"""`kubectl ocore` in a site's namespace."""

import os
import subprocess

from support.cluster.cluster import REPOSITORY
from support.cluster.site import Site


def ocore(site: Site, *arguments: str, timeout: float = 120) -> tuple[int, str, str]:
    """Exit code, output and error output of `kubectl ocore` in the site's namespace."""
    env = {**os.environ, **site.cluster.env}
    env["PATH"] = f"{REPOSITORY}/cli:{env['PATH']}"
    done = subprocess.run(
        ["kubectl", "ocore", *arguments, "-n", site.namespace],
        env=env, capture_output=True, text=True, timeout=timeout, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr
