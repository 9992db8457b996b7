"""The restore of a snapshot into another Environment, by the command line."""

from pathlib import Path
from typing import Any

from support.mover.beside import ENVIRONMENT, Finished
from support.mover.desk import Desk
from support.mover.records import option, run_of
from support.mover.site import Site

STAGING = "7f1c2f6e-3f0a-4c52-9a54-0e8e0c5f6a02"


class Into(Desk):
    """A person who restores the snapshot of another desk."""

    def __init__(self, site: Site, folder: Path, source: Desk, *, layout: str = "Odoo") -> None:
        folder.mkdir(exist_ok=True)
        super().__init__(site, folder, layout=layout)
        self.source = source
        self.run_ = run_of(site.rollback_id, STAGING)

    @property
    def target(self) -> list[str]:
        return [STAGING if part == ENVIRONMENT else part for part in super().target]

    def restored(self, *more: str) -> Finished:
        return self.run("restore", *self.reading, *option(self.run_), *more)

    @property
    def reading(self) -> list[str]:
        self.snapshot_id = self.source.snapshot_id
        return ["--source-store", self.source.store.as_uri(), "--source-environment-id", ENVIRONMENT]


def ok(done: Finished) -> Any:
    assert done.code == 0, done.stdout + done.stderr
    return done.result["payload"]
