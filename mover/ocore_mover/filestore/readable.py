"""Reads a new index as a restore will read it, before a manifest names it: what is Complete can be restored."""

import os
from pathlib import Path

from ocore_crds import conditions
from ocore_crds.stored.manifest import FilestoreArtifact
from ocore_mover.disk import closing_fd
from ocore_mover.errors import Corrupt, MoverError
from ocore_mover.filestore import layouts
from ocore_mover.filestore.index import Entry
from ocore_mover.filestore.names import scratch_errors
from ocore_mover.filestore.sorting import Descending
from ocore_mover.filestore.unpack import entries
from ocore_mover.store.interface import Store


def check_index(store: Store, artifact: FilestoreArtifact, scratch: Path, *, live: bool) -> None:
    """`live`: the files were read where they are, in folders that changed while they were listed.

    Raises Corrupt where a restore would refuse the index, MoverError FilestoreChanging where it has a name twice,
    ScratchFull, StoreError.
    """
    line = layouts.of(artifact.layout).parse
    files = size = 0
    with scratch_errors(scratch):
        folder = os.open(scratch, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    with closing_fd(folder), Descending(folder) as names:
        for entry in entries(store, artifact, line):
            files += entry.kind == "file"
            size += entry.size
            if live:
                with scratch_errors(scratch):
                    names.add(_record(entry))
        _check_unique(names)
    if (files, size) != (artifact.file_count, artifact.size_bytes):
        raise Corrupt(
            f"the new index names {files} files of {size} bytes, and {artifact.file_count} of {artifact.size_bytes}"
            " were stored"
        )


def _record(entry: Entry) -> bytes:
    """In descending order, what is below a name comes directly before it."""
    return os.fsencode(entry.name).replace(b"/", b"\0") + b"\0\0" + entry.kind.encode()


def _check_unique(names: Descending) -> None:
    before = b""
    for record in names:
        name, _, kind = record.rpartition(b"\0\0")
        if name == before or (before.startswith(name + b"\0") and kind != b"folder"):
            raise MoverError(
                conditions.FILESTORE_CHANGING,
                f"the application replaced {os.fsdecode(name.replace(bytes(1), b'/'))} in the filestore while its"
                " folder was listed. The snapshot starts again.",
                retryable=True,
            )
        before = name
