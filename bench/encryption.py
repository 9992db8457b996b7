"""Encrypted snapshots of a filestore, their restores, and single files of them: beside plain ones, in turns, into a
folder and to SeaweedFS.

    bench/run python3 bench/encryption.py --runs 3

Seconds on the clock, and processor seconds of the mover's process: both sides wait for the same disk and the same
server.
"""

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import filestore_mover
from figures import Figure, at_most, report
from filestore import BUCKET, make_filestore, warm

from ocore_mover.store import S3Options, Store, open_store
from ocore_mover.store.age import Identity
from ocore_mover.store.encrypted import EncryptedStore
from support.mover.seaweed import SeaweedFS

#: An encrypted operation may take so many times the plain one's.
FACTOR = 1 / 0.85
PLAIN, ENCRYPTED = "plain", "encrypted"
#: Bytes of a single file, and how many are read for one figure.
ONE, TIMES = 200_000, 20
CLOCKS = {"s": time.monotonic, "s of processor time": time.process_time}
#: By operation, clock and kind of the snapshot.
Seconds = dict[tuple[str, str, str], list[float]]


def measured(seconds: Seconds, what: str, kind: str, operation: Callable[[], None]) -> None:
    """By each clock."""
    os.sync()
    before = {name: clock() for name, clock in CLOCKS.items()}
    operation()
    for name, clock in CLOCKS.items():
        seconds.setdefault((what, name, kind), []).append(clock() - before[name])


def single_files(store: Store, made: filestore_mover.FilestoreArtifact) -> None:
    """As an Extract reads one file: a part of a pack, each time as a new Job does."""
    pack = max(made.packs, key=lambda obj: obj.size)
    for number in range(TIMES):
        start = number * (pack.size - ONE) // TIMES
        assert sum(map(len, store.read_range(pack, start, ONE))) == ONE


def once(opened: Callable[[str], Store], claim: Path, work: Path, seconds: Seconds) -> None:
    """A snapshot and its restore of each kind, in stores of their own."""
    artifact, new = work / "artifact.json", work / "new"
    for kind in (PLAIN, ENCRYPTED):
        below = opened(kind)
        store = EncryptedStore(below, Identity.generate()) if kind == ENCRYPTED else below
        (new / "filestore").mkdir(parents=True)
        measured(seconds, "stored", kind, partial(filestore_mover.snapshot, store, claim, artifact, 2))
        made = filestore_mover.FilestoreArtifact.model_validate_json(artifact.read_text())
        measured(seconds, "restored", kind, partial(filestore_mover.restore, store, made, new, artifact, 2))
        measured(seconds, f"{TIMES} single files", kind, partial(single_files, store, made))
        shutil.rmtree(new)
        below.delete([found.key for found in below.list("")])


def figures(name: str, seconds: Seconds) -> list[Figure]:
    """One of each operation and clock."""
    return [
        at_most(
            f"filestore {what}, {name}, {clock}",
            seconds[what, clock, ENCRYPTED],
            seconds[what, clock, PLAIN],
            PLAIN,
            FACTOR,
        )
        for what, clock, kind in seconds
        if kind == PLAIN
    ]


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--megabytes", type=int, default=500)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found: list[Figure] = []
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="ocore-encryption-") as folder:
        work, claim = Path(folder), Path(folder) / "claim"
        make_filestore(claim / "filestore", arguments.files, arguments.megabytes * 1_000_000)
        warm(claim)
        (work / "seaweed").mkdir()
        seaweed = SeaweedFS(work / "seaweed")
        options = S3Options(endpoint=seaweed.endpoint, credentials=seaweed.credentials())
        try:
            for name, url, s3 in (("folder", (work / "store").as_uri(), None), ("S3", f"s3://{BUCKET}/b", options)):
                seconds: Seconds = {}
                for number in range(arguments.runs + 1):  # the first one warms up
                    counted: Seconds = seconds if number else {}
                    once(lambda kind, u=url, o=s3: open_store(f"{u}/{kind}", o), claim, work, counted)  # type: ignore[misc]
                found += figures(name, seconds)
        finally:
            seaweed.stop()
    report(found, arguments.json)


if __name__ == "__main__":
    main()
