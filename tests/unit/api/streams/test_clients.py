"""Streams read by clients that others wrote: curl, npm's `eventsource` with the Authorization header, and fetch in
Chromium."""

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from support.api import objects
from support.api.browser import showing
from support.api.clients import Clients
from support.api.fed import SNAPSHOT_PATH, Fed
from support.api.page import page

DEADLINE = 60
PAGE = """<!doctype html><title>stream</title><script>
const lines = [];
const show = (text) => lines.push(text);
(async () => {
  const answer = await fetch(URL_, { headers: { Authorization: "Bearer " + TOKEN } });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    const parts = (rest + value).split("\\n\\n");
    rest = parts.pop();
    for (const part of parts) {
      const data = part.split("\\n").find((line) => line.startsWith("data: "));
      if (data) show(data.slice(6));
    }
  }
  show("end");
})().catch((error) => show("error " + error)).then(() => fetch("/", { method: "POST", body: JSON.stringify(lines) }));
</script>"""


def token(fed: Fed) -> str:
    """Of a caller that may see the project."""
    return fed.serving.issuer.token(projects=[objects.PROJECT])


def statuses(lines: list[str]) -> list[tuple[str, int]]:
    """Status and percent of each event."""
    return [(e["status"], e["percent"]) for e in map(json.loads, lines)]


def feed_when_open(fed: Fed) -> None:
    """Two changes, once the client reads."""
    fed.wait_for_streams(1)
    fed.running(50)
    fed.complete()


def test_curl(fed: Fed) -> None:
    command = [
        "curl",
        "-sSN",
        "--max-time",
        str(DEADLINE),
        "-H",
        f"Authorization: Bearer {token(fed)}",
        fed.serving.url + SNAPSHOT_PATH,
    ]
    with subprocess.Popen(command, text=True, stdout=subprocess.PIPE) as curl:
        assert curl.stdout is not None
        lines: list[str] = []
        for line in curl.stdout:
            lines.append(line)
            if line.startswith("data: ") and '"percent":10,' in line:
                feed_when_open(fed)
    assert curl.returncode == 0
    data = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    assert statuses(data)[0] == ("running", 10)
    assert statuses(data)[-1] == ("completed", 100)


def test_curl_of_a_refused_stream(fed: Fed) -> None:
    command = [
        "curl",
        "-sS",
        "--max-time",
        str(DEADLINE),
        "-w",
        "\n%{http_code} %{content_type}",
        fed.serving.url + SNAPSHOT_PATH,
    ]
    done = subprocess.run(command, text=True, capture_output=True, check=True)
    assert done.stdout.splitlines()[-1] == "401 application/problem+json"


@pytest.fixture(scope="module")
def eventsource(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the compiled program `listen`."""
    return Clients(tmp_path_factory.mktemp("eventsource")).folder


@contextmanager
def listening(folder: Path, fed: Fed) -> Iterator["subprocess.Popen[str]"]:
    """`listen` on the Snapshot's stream. Its output is a pipe."""
    env = {**os.environ, "OCORE_API": fed.serving.url, "OCORE_TOKEN": token(fed)}
    command = ["node", "dist/listen.js", SNAPSHOT_PATH]
    process = subprocess.Popen(command, cwd=folder, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = threading.Timer(DEADLINE, process.kill)
    deadline.start()
    try:
        yield process
    finally:
        deadline.cancel()
        process.kill()
        process.communicate()


def test_npm_eventsource(fed: Fed, eventsource: Path) -> None:
    with listening(eventsource, fed) as client:
        assert client.stdout is not None
        first = client.stdout.readline()
        feed_when_open(fed)
        rest = client.stdout.read()
        assert client.wait(DEADLINE) == 0
    assert statuses([first, *rest.splitlines()])[0] == ("running", 10)
    assert statuses(rest.splitlines())[-1] == ("completed", 100)


def test_npm_eventsource_resumes(fed: Fed, eventsource: Path) -> None:
    """The stream ends before the operation, as at SIGTERM. The client opens it again automatically, with Last-Event-ID,
    and sees nothing twice."""
    with listening(eventsource, fed) as client:
        assert client.stdout is not None
        first = client.stdout.readline()
        fed.wait_for_streams(1)
        fed.serving.call(lambda: [r.close("bye") for r in tuple(fed.serving.facade.hub.readers)])
        fed.wait_for_streams(0)
        fed.wait_for_streams(1)
        fed.running(60)
        fed.complete()
        rest = client.stdout.read()
        assert client.wait(DEADLINE) == 0
    seen = statuses([first, *rest.splitlines()])
    assert seen.count(("running", 10)) == 1
    assert seen[-1] == ("completed", 100)


def test_npm_eventsource_of_a_refused_stream_gives_up(fed: Fed, eventsource: Path) -> None:
    fed.remove("Snapshot", "before")
    with listening(eventsource, fed) as client:
        assert client.wait(DEADLINE) == 1
        assert client.stderr is not None
        assert "stream refused: 404" in client.stderr.read()


def test_fetch_in_chromium(feed: Callable[..., Fed], tmp_path: Path) -> None:
    """A page of an origin that CORS allows, with the token in a header."""
    with page() as (origin, document, posted):
        fed = feed(cors_origins=(origin,))
        constants = (
            f"<script>const URL_ = {json.dumps(fed.serving.url + SNAPSHOT_PATH)}, TOKEN ="
            f" {json.dumps(token(fed))};</script>"
        )
        document["text"] = constants + PAGE
        with showing(origin, tmp_path / "profile"):
            feed_when_open(fed)
            items = posted.get(timeout=DEADLINE)
    assert items[-1:] == ["end"], items
    assert statuses(items[:-1])[0][0] == "running"
    assert statuses(items[:-1])[-1] == ("completed", 100)
    # Debian's command of the browser is a script: its process had ended before, and the browser had not.
    until = time.monotonic() + DEADLINE
    while left := processes_with(tmp_path / "profile"):
        assert time.monotonic() < until, left
        time.sleep(0.1)


def processes_with(argument: Path) -> list[bytes]:
    """The command lines that contain it."""
    found = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended
            found.append(line.read_bytes())
    return [each for each in found if os.fsencode(argument) in each]
