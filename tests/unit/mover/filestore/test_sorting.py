"""Sorting on disk."""

import os
import random
from pathlib import Path

import pytest

from ocore_mover.filestore import sorting
from ocore_mover.filestore.sorting import Descending


@pytest.mark.parametrize(("run", "read"), [(200, 64), (200, 7), (1_000_000, 64)])
def test_records_come_in_descending_order(run: int, read: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sorting, "RUN_BYTES", run)
    monkeypatch.setattr(sorting, "_READ_BYTES", read)
    source = random.Random(7)  # noqa: S311 - no secret
    records = [source.randbytes(source.randrange(40)) for _ in range(500)]
    fd = os.open(tmp_path, os.O_RDONLY)
    with Descending(fd) as found:
        for record in records:
            found.add(record)
        assert list(found) == sorted(records, reverse=True)
    os.close(fd)
    assert list(tmp_path.iterdir()) == []


def test_no_records(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    with Descending(fd) as found:
        assert list(found) == []
    os.close(fd)
