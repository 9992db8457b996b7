"""A store without a free byte: a snapshot fails and leaves nothing, and a deletion works, because it writes nothing
first."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.mover.application import Application
from support.mover.beside import call
from support.mover.desk import Desk
from support.mover.site import Site


@pytest.fixture
def desk(site: Site, tmp_path: Path) -> Iterator[Desk]:
    """Its store is a file system of 16 MiB."""
    desk = Desk(site, tmp_path)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(desk.store)], check=True)
    assert call("probe-store", "--store", desk.store.as_uri()).code == 0
    yield desk
    subprocess.run(["umount", "--lazy", str(desk.store)], check=True)


def fill(folder: Path) -> None:
    """Until no byte is left."""
    command = ["dd", "if=/dev/zero", f"of={folder / 'ballast'}", "bs=4k"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "No space left" in done.stderr
    assert os.statvfs(folder).f_bavail == 0


def test_row_09_a_full_store_can_be_cleaned(desk: Desk) -> None:
    Application(desk.site, desk.claim).write_many(5)
    desk.ok("snapshot")
    assert desk.stored()
    fill(desk.store)
    desk.ok("delete")
    assert [p.name for p in desk.stored()] == ["ballast"]


def test_row_09_a_snapshot_that_finds_no_room_leaves_nothing(desk: Desk) -> None:
    Application(desk.site, desk.claim).write_many(5)
    fill(desk.store)
    done = desk.run("snapshot")
    assert done.code != 0
    assert "No space left" in done.stdout or "NoSpace" in done.stdout
    desk.ok("delete")
    assert [p.name for p in desk.stored()] == ["ballast"]
