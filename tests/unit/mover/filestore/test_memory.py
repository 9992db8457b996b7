"""Memory does not grow with the number of names: the operations of bench/names.py, for few names and for many."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[4]
SCRIPT = REPOSITORY / "bench" / "names.py"
#: Bytes for each further name. A name in a list takes about 100, in a set about 150.
GROWTH = 12
#: Peaks of the same operation differ by this much (bytes): threads, the allocator's arenas.
NOISE = 4_000_000
#: Smaller packs, and fewer records in memory, fill up with fewer names: what remains is what grows.
CHILD = """
import names
from ocore_mover.filestore import base, packset

packset.PACK_FILES = 1000
base.IN_MEMORY = 1024 * 1024
names.main()
"""


def peak(operation: str, count: int, folder: Path) -> int:
    """Bytes, measured in a process of its own."""
    sys.path.insert(0, str(SCRIPT.parent))
    try:
        import names
    finally:
        sys.path.remove(str(SCRIPT.parent))
    fill = names.OPERATIONS[operation][1]
    folder.mkdir()
    if fill is not None:
        fill(folder / "claim" / "files", count)
    done = subprocess.run(
        [sys.executable, "-c", CHILD, "--child", operation, str(count), str(folder)],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(str(REPOSITORY / part) for part in ("bench", "crds", "mover")),
        },
        stdout=subprocess.PIPE,
        check=True,
        timeout=280,
    )
    return int(done.stdout)


@pytest.mark.parametrize(
    ("operation", "few", "many"),
    [
        ("list", 50_000, 150_000),
        ("index", 50_000, 150_000),
        # Records of both sizes exceed what stays in memory.
        ("base", 75_000, 200_000),
        # With real files: these keep the names of one folder, a 256th of them.
        ("freeze", 10_000, 80_000),
        ("hold", 10_000, 80_000),
        # 30 packs show the peak of those that are filled and stored at a time, 20 do not always.
        ("plain", 30_000, 90_000),
    ],
)
def test_row_43_memory_does_not_grow_with_names(operation: str, few: int, many: int, tmp_path: Path) -> None:
    first = peak(operation, few, tmp_path / "few")
    second = peak(operation, many, tmp_path / "many")
    assert second - first < NOISE + GROWTH * (many - few), f"{first} bytes for {few} names, {second} for {many}"
