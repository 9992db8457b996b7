"""tests/clients/independent.py, which knows the document of existing clients and nothing else, goes through the whole
story."""

import os
import subprocess
import sys

from support.api.clients import SOURCES
from support.api.serving import Serving
from support.api.world import World, id_of

PROJECT = id_of("project", "shop")


def test_the_whole_story_of_an_independent_client(world: World, served: Serving) -> None:
    here = served.call(world.environment, PROJECT, "shop")
    there = served.call(world.environment, PROJECT, "copy")
    env = {**os.environ, "OCORE_API": served.url, "OCORE_TOKEN": served.issuer.token("ann", projects=(PROJECT,))}
    command = [sys.executable, "-I", str(SOURCES / "independent.py"), PROJECT, here, there]
    done = subprocess.run(command, env=env, text=True, capture_output=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "as documented\n"), done.stderr
    assert len(world.rollbacks()) == 4, "what was refused has started nothing"
