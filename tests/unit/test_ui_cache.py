"""`make ui` keeps few builds of the page in the cache, and none is removed that may be in use."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from support.cluster.cluster import REPOSITORY


class Cache:
    """A cache, and tools that build at once: what they build does not matter here."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "cache"
        self._tools = folder / "tools"
        for name in ("openapi-typescript", "tsc"):
            self.tool(f"node_modules/.bin/{name}", "exit 0")
        self.tool("bin/node", "mkdir dist && sleep 0.2 && touch dist/index.html")

    def tool(self, name: str, command: str) -> None:
        """A program of that name does this."""
        path = self._tools / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{command}\n")
        path.chmod(0o755)

    def old(self, number: int, hours: float) -> None:
        """A build that was used so many hours ago."""
        path = self._at(number)
        path.mkdir(parents=True)
        os.utime(path, (time.time() - hours * 3600,) * 2)

    def make(self, number: int) -> "subprocess.Popen[str]":
        """Builds the page under this number, or uses that build."""
        given = [f"OCORE_CACHE={self.folder}", f"UI_MODULES={self._tools}", f"UI={self._at(number)}"]
        path = f"{self._tools}/bin:{os.environ['PATH']}"
        return subprocess.Popen(
            ["make", "-s", "-C", str(REPOSITORY), "ui", *given], env={**os.environ, "MAKEFLAGS": "", "PATH": path},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def made(self, started: "subprocess.Popen[str]") -> Path:
        """The folder that it prints."""
        out, problems = started.communicate(timeout=120)
        assert started.returncode == 0, problems
        return Path(out.splitlines()[-1])

    def builds(self) -> list[int]:
        """Numbers of the builds that are there."""
        return sorted(int(path.name.removeprefix("ui-")) for path in self.folder.glob("ui-????????????"))

    def _at(self, number: int) -> Path:
        return self.folder / f"ui-{number:012}"


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path)


def test_the_builds_used_last_stay_also_where_two_build_at_once(cache: Cache) -> None:
    for number in range(9):
        cache.old(number, hours=20 - number)
    (cache.folder / "ui-modules-000000000000").mkdir()
    assert cache.made(cache.make(1)) == cache.folder / "ui-000000000001" / "dist"
    assert cache.builds() == list(range(9)), "nothing was built"
    both = [cache.make(10), cache.make(11), cache.make(11)]
    for started in both:
        assert (cache.made(started) / "index.html").exists()
    assert cache.builds() == [1, 7, 8, 10, 11], "the one that was used again, and the newest"
    assert (cache.folder / "ui-modules-000000000000").exists()
    assert not list(cache.folder.glob("*.new"))


def test_a_build_that_may_be_in_use_stays(cache: Cache) -> None:
    for number in range(8):
        cache.old(number, hours=2)
    cache.made(cache.make(10))
    assert cache.builds() == [*range(8), 10]


def test_a_build_that_fails_is_none(cache: Cache) -> None:
    cache.old(1, hours=5)
    cache.tool("node_modules/.bin/tsc", "exit 2")
    started = cache.make(10)
    started.communicate(timeout=120)
    assert started.returncode != 0
    assert cache.builds() == [1]
