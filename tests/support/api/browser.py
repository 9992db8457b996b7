"""Chromium without a window, and without anything that it does of its own accord. The headless shell starts with a
third of the processor time of the whole browser."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: Ubuntu has no package of Chromium. Its hosted runners have Chrome, which takes the same options.
_PROGRAM = (shell,) if (shell := shutil.which("chromium-headless-shell")) else ("google-chrome", "--headless")
BROWSER = (
    *_PROGRAM, "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
)  # fmt: skip


@contextmanager
def showing(url: str, profile: Path) -> Iterator[None]:
    """Within the block the browser shows the URL, with a profile of its own. Its command is a shell script, which hands
    no signal on, so the whole process group is ended."""
    command = [*BROWSER, f"--user-data-dir={profile}", "--remote-debugging-port=0", url]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as browser:
        try:
            yield
        finally:
            os.killpg(browser.pid, signal.SIGTERM)
