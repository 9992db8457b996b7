"""Sorted names in a temporary file."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocore_crds import conditions
from ocore_mover.errors import MoverError
from ocore_mover.filestore import names as names_module
from ocore_mover.filestore.names import Missing, NameFile, Without, spooled

GOOD = f"ab/ab{'c' * 38}"
OLD = f"abc/abc{'d' * 37}"  # Odoo up to 15


def some_names(count: int) -> list[str]:
    return sorted(f"{digest[:2]}/{digest}" for digest in (f"{number * 7919:040x}" for number in range(count)))


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_RDONLY)
    yield fd
    os.close(fd)


def test_names_are_sorted_by_kind(tmp_path: Path) -> None:
    invalid = [f"../{GOOD}", f"AB/AB{'c' * 38}", f"ab/ab{'c' * 37}", f"ab/cd{'c' * 38}", f"{GOOD}\n", ""]
    with spooled(sorted([GOOD, GOOD, OLD, "s3://bucket/x", "azure://c/x", *invalid]), tmp_path) as names:
        assert tuple(names.files) == (GOOD, OLD)
        assert len(names.files) == 2
        assert names.invalid == 6
        assert len(names.invalid_shown) == 3
        assert list(tmp_path.iterdir()) == []  # a killed Job leaves nothing


def test_more_names_than_one_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names_module, "_BATCH", 7)
    wanted = sorted([*some_names(100), OLD])
    with spooled(wanted, tmp_path) as names:
        one, other = iter(names.files), iter(names.files)
        assert [(next(one), next(other)) for _ in wanted] == [(name, name) for name in wanted]
        assert next(one, None) is None


@pytest.mark.parametrize("batch", [1, 2, 3, 100])
@pytest.mark.parametrize("place", range(1, 6))
def test_unsorted_names_are_refused(folder: int, monkeypatch: pytest.MonkeyPatch, batch: int, place: int) -> None:
    monkeypatch.setattr(names_module, "_BATCH", batch)
    names = some_names(6)
    for wrong in (names[place - 1], names[0]):  # twice, and one that came before
        listed = [*names[:place], wrong, *names[place:]]
        with NameFile(folder) as file, pytest.raises(MoverError, match=f"not sorted: {wrong} after {names[place - 1]}"):
            file.write(listed)


def test_a_full_scratch_names_the_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(names_module, "write_all", full)
    with pytest.raises(MoverError, match=r"spec\.scratch\.size") as caught, spooled([GOOD], tmp_path):
        pass
    assert caught.value.reason == conditions.SCRATCH_FULL


def test_without_some_names() -> None:
    names = some_names(50)
    left_out = (names[0], *names[10:20], names[-1])
    found = Without(names, left_out)
    assert list(found) == [name for name in names if name not in left_out]
    assert len(found) == 38
    assert list(found) == list(found)


def test_missing_names_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names_module, "MAX_MISSING", 10)
    missing = Missing()
    missing.add(some_names(25))
    assert missing.count == 25
    assert missing.names == some_names(25)[:10]
