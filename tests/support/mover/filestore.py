"""A claim with a filestore, as an application fills it, and what the tests of filestores call it."""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ocore_crds.protocol import Step
from ocore_crds.stored.manifest import FilestoreArtifact
from ocore_mover.filestore.folders import ClaimFolders
from ocore_mover.filestore.odoo import restore
from ocore_mover.filestore.odoo.copy import store_odoo
from ocore_mover.filestore.odoo.freeze import Freezing, Frozen
from ocore_mover.filestore.odoo.hold import HoldSet
from ocore_mover.filestore.unpack import Restored
from ocore_mover.report import Counter, Reporter
from ocore_mover.store import Store

ENVIRONMENT = "11111111-1111-4111-8111-111111111111"
ROLLBACK = "22222222-2222-4222-8222-222222222222"
PREFIX = "environments/e/snapshots/s/a1/"
#: Value of system.posix_acl_access with one named user.
ACL = bytes.fromhex("0200000001000600ffffffff02000400e803000004000400ffffffff10000600ffffffff20000400ffffffff")


class SilentReporter(Reporter):
    """Reports nothing."""

    def emit(self, line: object) -> None:
        pass


def counter() -> Counter:
    return SilentReporter(Path("/nonexistent")).counter(Step.COPY_FILESTORE)


def some_bytes(seed: int, size: int, *, compressible: bool = False) -> bytes:
    """The same ones each time."""
    source = random.Random(seed)  # noqa: S311 - no secret
    if not compressible:
        return source.randbytes(size)
    return (b"%d invoice line, amount %d; " % (seed, size) * (size // 20 + 1))[:size]


@dataclass
class Site:
    """A claim with an Odoo filestore, as an application fills it."""

    claim: Path
    path: str = "data/filestore/db"
    contents: dict[str, bytes] = field(default_factory=dict, repr=False)

    @property
    def folders(self) -> ClaimFolders:
        return ClaimFolders(self.claim, self.path, ENVIRONMENT)

    @property
    def filestore(self) -> Path:
        return self.claim / self.path

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self.contents))

    @property
    def hold(self) -> HoldSet:
        return HoldSet(self.folders, ROLLBACK)

    def add(self, data: bytes) -> str:
        """A file in place, named by its SHA-1."""
        digest = hashlib.sha1(data, usedforsecurity=False).hexdigest()
        name = f"{digest[:2]}/{digest}"
        path = self.filestore / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        self.contents[name] = data
        return name

    def fill(self, count: int, *, largest: int = 20_000) -> None:
        """Files of both kinds."""
        for number in range(count):
            self.add(some_bytes(number, number * 7919 % largest, compressible=bool(number % 2)))

    def unlink(self, name: str) -> None:
        """What garbage collection does."""
        (self.filestore / name).unlink()

    def on_disk(self) -> dict[str, bytes]:
        """What is in the filestore now."""
        return {
            path.relative_to(self.filestore).as_posix(): path.read_bytes()
            for path in sorted(self.filestore.rglob("*"))
            if path.is_file()
        }

    def own_folders(self) -> list[str]:
        """What of ours is on the claim."""
        own = self.claim / ".ocore"
        return sorted(path.relative_to(own).as_posix() for path in own.rglob("*") if path.is_dir())

    def store(self, store: Store, *, attempt: str = "a1", jobs: int = 2) -> FilestoreArtifact:
        """Freezes and stores what the database names: everything."""
        with frozen_files(self, attempt) as frozen:
            return store_odoo(store, PREFIX, frozen, counter(), jobs=jobs)

    def add_missing(
        self, store: Store, artifact: FilestoreArtifact, hold: HoldSet | None = None, *, jobs: int = 2
    ) -> Restored:
        """As a restore does."""
        return restore.add_missing(store, artifact, self.folders, hold, counter(), jobs=jobs)


@contextmanager
def frozen_files(site: Site, attempt: str = "a1") -> Iterator[Frozen]:
    """What the database names, frozen for the block."""
    with Freezing(site.folders, attempt) as freezing:
        freezing.link(site.names)
        yield freezing.finish(site.names)


def new_site(claim: Path) -> Site:
    site = Site(claim)
    site.filestore.mkdir(parents=True)
    return site


def no_links(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("ocore_mover.filestore.links.os.link", refuse)
