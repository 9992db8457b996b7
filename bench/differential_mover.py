"""One command of the mover without a database, for differential.py, in a process of its own. It imports what the mover
imports, and nothing of the benchmark: its start is measured. The names that a database would give are in SCRATCH/names.

python bench/differential_mover.py full|differential|restore URL ENDPOINT CREDENTIALS JOBS SCRATCH CLAIM
"""

import contextlib
import sys
from pathlib import Path

from ocore_crds import naming
from ocore_crds.commands import parts
from ocore_crds.protocol import Step
from ocore_crds.stored.manifest import Identity, Manifest, format_version
from ocore_mover import manifests
from ocore_mover.commands import base as base_command
from ocore_mover.filestore.folders import ClaimFolders
from ocore_mover.filestore.names import name_files, spooled
from ocore_mover.filestore.odoo.base import OdooBase
from ocore_mover.filestore.odoo.copy import store_odoo
from ocore_mover.filestore.odoo.freeze import Freezing
from ocore_mover.report import Reporter
from ocore_mover.store import S3Options, open_store

ENVIRONMENT = "11111111-1111-4111-8111-111111111111"
FULL = "33333333-3333-4333-8333-333333333333"
NEXT = "44444444-4444-4444-8444-444444444444"
TIME = "2026-01-02T03:04:05Z"


def main(operation: str, url: str, endpoint: str, credentials: str, jobs: str, scratch: str, claim: str) -> None:
    """Runs it."""
    store = open_store(
        url, S3Options(endpoint=endpoint or None, credentials=Path(credentials) if credentials else None)
    )
    folders = ClaimFolders(Path(claim), "filestore", ENVIRONMENT)
    counter = Reporter().counter(Step.COPY_FILESTORE)
    place = Path(scratch)
    if operation == "restore":
        from ocore_mover.filestore.odoo import restore  # a snapshot's process does not import it

        stored = manifests.read(store, ENVIRONMENT, NEXT)
        assert stored.manifest.filestore is not None
        restore.add_missing(store, stored.manifest.filestore, folders, None, counter, jobs=int(jobs))
        return
    snapshot_id = FULL if operation == "full" else NEXT
    prefix = naming.attempt_prefix(ENVIRONMENT, snapshot_id, "1")
    with contextlib.ExitStack() as stack:
        base = None
        if operation == "differential":
            full = (place / "full").read_text()
            choice = parts.BaseSnapshot(snapshot_id=FULL, manifest_sha256=full)
            found = base_command.find(store, ENVIRONMENT, snapshot_id, "Odoo", choice)
            base = stack.enter_context(base_command.read(store, found, place))
            assert isinstance(base, OdooBase)
        freezing = stack.enter_context(Freezing(folders, "1"))
        names = (place / "names").read_text().split()
        for _ in range(2):  # before the lock, and the names of the exported snapshot
            listed = stack.enter_context(spooled(names, place)).files
            new, reused = listed, None
            if base is not None:
                new, known = stack.enter_context(name_files(place, 2))
                reused = base.split(listed, new, known)
                freezing.size(new)
            freezing.link(new)
        if base is not None:
            assert freezing.lost(known).count == 0
        frozen = stack.enter_context(freezing.finish(new, named=len(listed)))
        artifact = store_odoo(store, prefix, frozen, counter, jobs=int(jobs), reused=reused)
    identity = Identity(
        environment_id=ENVIRONMENT,
        environment_name="bench",
        environment_type="development",
        project_id=ENVIRONMENT,
        snapshot_id=snapshot_id,
    )
    manifest = Manifest(
        format_version=format_version(artifact),
        store_id="bench",
        attempt="1",
        identity=identity,
        started_at=TIME,
        consistent_at=TIME,
        completed_at=TIME,
        filestore=artifact,
    )
    manifests.check_base(store, manifest)
    manifests.check_objects(store, manifest)
    written = manifests.write(store, manifest)
    manifests.check_base(store, manifest)
    if operation == "full":
        (place / "full").write_text(written.sha256)
    else:
        assert manifest.base is not None


if __name__ == "__main__":
    main(*sys.argv[1:])
