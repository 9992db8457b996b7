"""The dump's files on their way to pg_restore: read once, checked, and no larger than the manifest states."""

from pathlib import Path

import pytest
from backports import zstd

from ocore_crds.stored.manifest import DatabaseArtifact, StoredObject
from ocore_mover.database.restore.fetch import fetched
from ocore_mover.errors import Corrupt
from ocore_mover.report import Counter
from ocore_mover.store import Store
from support.mover import contents
from support.mover.contents import put

MIB = 1024 * 1024


def dumped(*files: StoredObject, raw_bytes: int, external: bool) -> DatabaseArtifact:
    return contents.dumped(*files, raw_bytes=raw_bytes, compression="external-zstd" if external else "pg_dump")


@pytest.mark.parametrize("external", [False, True])
def test_what_was_checked_is_what_is_restored(store: Store, scratch: Path, counter: Counter, external: bool) -> None:
    """A write to the store after the check changes nothing."""
    table = zstd.compress(b"rows") if external else b"rows"
    name = "1.dat.zst" if external else "1.dat"
    files = (put(store, "a/toc.dat", b"toc"), put(store, f"a/{name}", table))
    with fetched(store, dumped(*files, raw_bytes=7, external=external), scratch, "rb", counter) as contents:
        folder = contents.folder
        assert store.local_root is not None
        for obj in files:
            (store.local_root / obj.key).write_bytes(b"changed")
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"toc.dat": b"toc", "1.dat": b"rows"}
        assert folder.is_relative_to(scratch)
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("external", [False, True])
def test_a_dump_larger_than_the_manifest_states(
    store: Store, scratch: Path, counter: Counter, external: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few kilobytes that would fill the disk."""
    size = 256 * MIB if external else 2 * MIB
    data = zstd.compress(bytes(size)) if external else bytes(size)
    found = put(store, "a/1.dat.zst", data)
    assert not external or found.size < 64 * 1024
    written: list[int] = []

    def measure(folder: Path, **_: bool) -> None:
        written.extend(path.stat().st_size for path in folder.glob("*"))

    monkeypatch.setattr("ocore_mover.database.restore.fetch.shutil.rmtree", measure)
    with (
        pytest.raises(Corrupt, match=r"larger than the 1\.0 MiB that the manifest states"),
        fetched(store, dumped(found, raw_bytes=MIB, external=external), scratch, "rb", counter),
    ):
        pytest.fail("it was handed out")
    assert written
    assert sum(written) <= MIB


def test_a_frame_that_asks_for_a_huge_window(store: Store, scratch: Path, counter: Counter) -> None:
    options = {zstd.CompressionParameter.window_log: 27, zstd.CompressionParameter.content_size_flag: 0}
    frame = zstd.ZstdCompressor(options=options)
    data = frame.compress(bytes(1000)) + frame.flush()
    found = put(store, "a/1.dat.zst", data)
    with (
        pytest.raises(Corrupt, match="memory"),
        fetched(store, dumped(found, raw_bytes=MIB, external=True), scratch, "rb", counter),
    ):
        pytest.fail("it was handed out")
