"""The programs in docs/rest-api-quickstart.md, as they are there."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.api.browser import showing
from support.api.clients import Clients
from support.api.page import page
from support.api.serving import Serving, serving
from support.api.world import World, id_of

PROJECT = id_of("project", "shop")
DEADLINE = 60


def part(repository: Path, language: str) -> str:
    """The program in that language."""
    text = (repository / "docs/rest-api-quickstart.md").read_text()
    (found,) = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    assert len(found.splitlines()) <= 15
    return str(found)


def check(world: World, last: dict[str, object]) -> None:
    """It has taken a snapshot, and has followed it to its end."""
    (snapshot,) = world.snapshots()
    assert (last["id"], last["status"]) == (snapshot["metadata"]["uid"], "completed")
    assert "rollbackLogs" in last


@pytest.fixture
def env(world: World, served: Serving) -> dict[str, str]:
    here = served.call(world.environment, PROJECT, "shop")
    token = served.issuer.token("ann", projects=(PROJECT,), scope="read snapshot")
    return {**os.environ, "URL": served.url, "TOKEN": token, "ENVIRONMENT": here}


def run(command: list[str], env: dict[str, str], folder: Path) -> list[str]:
    done = subprocess.run(command, env=env, cwd=folder, text=True, capture_output=True, timeout=DEADLINE, check=False)
    assert done.returncode == 0, done.stderr
    return [line for line in done.stdout.splitlines() if line]


def test_curl(world: World, env: dict[str, str], repository: Path, tmp_path: Path) -> None:
    lines = run(["sh", "-ec", part(repository, "sh")], env, tmp_path)
    assert any(line.startswith("data: ") and '"percent":100' in line for line in lines)
    check(world, json.loads(lines[-1]))


def test_python(world: World, env: dict[str, str], repository: Path, tmp_path: Path) -> None:
    lines = run([sys.executable, "-c", part(repository, "python")], env, tmp_path)
    assert any("'percent': 100" in line for line in lines)
    assert world.snapshots()[0]["metadata"]["uid"] in lines[-1]


def test_typescript(world: World, env: dict[str, str], repository: Path, clients: Clients) -> None:
    lines = run(["node", clients.compile("quickstart", part(repository, "ts"))], env, clients.folder)
    assert any('"percent":100' in line for line in lines)
    check(world, json.loads(lines[-1]))


def test_a_browser(world: World, repository: Path, tmp_path: Path) -> None:
    with (
        page() as (origin, document, posted),
        serving(cache=world.cache, client=world.server, cors_origins=origin) as served,
    ):
        here = served.call(world.environment, PROJECT, "shop")
        token = served.issuer.token("ann", projects=(PROJECT,), scope="read snapshot")
        document["text"] = f"""<!doctype html><script>{part(repository, "js")}
          const shown = [], send = () => fetch("/", {{ method: "POST", body: JSON.stringify(shown) }});
          snapshotOf({json.dumps(served.url)}, {json.dumps(token)}, {json.dumps(here)}, (each) => shown.push(each))
            .catch((error) => shown.push(String(error))).then(send);
        </script>"""
        with showing(origin, tmp_path / "profile"):
            items = posted.get(timeout=DEADLINE)
    assert items[-2]["percent"] == 100, items
    check(world, items[-1])
