"""What the mover does without a database, for filestore.py, in a process of its own. It imports what the mover imports,
and nothing of the benchmark: its start is measured.

python bench/filestore_mover.py store|one|restore URL ENDPOINT CREDENTIALS JOBS ARTIFACT CLAIM
"""

import dataclasses
import json
import os
import sys
from pathlib import Path

from ocore_crds.reports.base import Step
from ocore_crds.stored.manifest import FilestoreArtifact
from ocore_mover.filestore.folders import ClaimFolders
from ocore_mover.filestore.odoo.index_lines import parse_odoo
from ocore_mover.report import Reporter
from ocore_mover.store import S3Options, Store, open_store

ENVIRONMENT = "11111111-1111-4111-8111-111111111111"
ROLLBACK = "22222222-2222-4222-8222-222222222222"
PREFIX = "environments/e/snapshots/s/1/"


def main(operation: str, url: str, endpoint: str, credentials: str, jobs: str, artifact: str, claim: str) -> None:
    """Runs it. For `one`, the last argument is the file's name."""
    store = open_store(
        url, S3Options(endpoint=endpoint or None, credentials=Path(credentials) if credentials else None)
    )
    place = Path(artifact)
    if operation == "store":
        snapshot(store, Path(claim), place, int(jobs))
        return
    made = FilestoreArtifact.model_validate_json(place.read_text())
    if operation == "one":
        one(store, made, claim, place.parent)
    else:
        restore(store, made, Path(claim), place, int(jobs))


def snapshot(store: Store, claim: Path, artifact: Path, jobs: int) -> None:
    """Stores the filestore; writes its artifact."""
    from ocore_mover.filestore.odoo.copy import store_odoo
    from ocore_mover.filestore.odoo.freeze import Freezing

    folders = ClaimFolders(claim, "filestore", ENVIRONMENT)
    names = sorted(
        f"{folder.name}/{file.name}"
        for folder in os.scandir(folders.filestore)
        if len(folder.name) == 2
        for file in os.scandir(folder)
    )
    with Freezing(folders, "1") as freezing:
        freezing.link(names)
        frozen = freezing.finish(names)
        made = store_odoo(store, PREFIX, frozen, Reporter().counter(Step.COPY_FILESTORE), jobs=jobs)
    artifact.write_text(made.model_dump_json())


def one(store: Store, made: FilestoreArtifact, name: str, place: Path) -> None:
    """Reads one file; writes the number of bytes of the store that it read."""
    from ocore_mover.filestore import selection
    from ocore_mover.filestore.unpack import PackReader

    found = selection.select(store, made, parse_odoo, [name])
    with PackReader(store, "sha1") as reader:
        for _, pieces in found.contents(reader):
            (place / "one-file").write_bytes(b"".join(pieces))
    read = made.index.size + reader.packs_read.bytes_in_part + reader.packs_read.bytes_whole
    (place / "one").write_text(str(read))


def restore(store: Store, made: FilestoreArtifact, claim: Path, artifact: Path, jobs: int) -> None:
    """Restores the missing files; writes the numbers."""
    from ocore_mover.filestore.odoo import restore
    from ocore_mover.filestore.odoo.hold import HoldSet

    folders = ClaimFolders(claim, "filestore", ENVIRONMENT)
    hold = HoldSet(folders, ROLLBACK)
    hold.hold_all()
    counter = Reporter().counter(Step.COPY_FILESTORE)
    restored = restore.add_missing(store, made, folders, hold, counter, jobs=jobs)
    artifact.with_name("restored").write_text(json.dumps(dataclasses.asdict(restored)))


if __name__ == "__main__":
    main(*sys.argv[1:])
