"""A person at a shell: a site, a claim, a store, and the commands."""

import uuid
from pathlib import Path

from ocore_crds.stored.manifest import Manifest
from support.mover.beside import ENVIRONMENT, Finished, call, finish, start
from support.mover.site import Site


class Desk:
    """A person at a shell: a site, a claim, a store, and the commands."""

    def __init__(self, site: Site, folder: Path, *, layout: str = "Odoo") -> None:
        self.site = site
        self.layout = layout
        self.claim = folder / "claim"
        self.store = folder / "snapshots"
        self.scratch = folder / "scratch"
        self.path = "odoo/filestore/live"
        (self.claim / self.path).mkdir(parents=True)
        self.store.mkdir()
        self.scratch.mkdir(exist_ok=True)
        self.snapshot_id = str(uuid.uuid4())
        assert call("probe-store", "--store", self.store.as_uri()).code == 0

    @property
    def target(self) -> list[str]:
        return ["--database", str(self.site.secret), "--claim", str(self.claim), "--filestore", self.path,
                "--layout", self.layout, "--environment-id", ENVIRONMENT]  # fmt: skip

    @property
    def where(self) -> list[str]:
        return ["--store", self.store.as_uri()]

    @property
    def which(self) -> list[str]:
        return [*self.where, "--environment-id", ENVIRONMENT, "--snapshot-id", self.snapshot_id]

    def arguments(self, name: str, *more: str) -> list[str]:
        match name:
            case "snapshot":
                own = [*self.where, *self.target, "--snapshot-id", self.snapshot_id, "--scratch", str(self.scratch)]
            case "restore":
                own = [*self.where, *self.target, "--snapshot-id", self.snapshot_id, "--scratch", str(self.scratch),
                       "--rollback-id", self.site.rollback_id]  # fmt: skip
            case "preview":
                own = [*self.where, *self.target, "--snapshot-id", self.snapshot_id]
            case "probe":
                own = self.target
            case "verify" | "delete":
                own = self.which
            case _:
                own = [*self.target, "--rollback-id", self.site.rollback_id]
        return [name, *own, *more]

    def run(self, name: str, *more: str) -> Finished:
        return call(*self.arguments(name, *more))

    def ok(self, name: str, *more: str) -> Finished:
        done = self.run(name, *more)
        assert done.code == 0, done.stdout + done.stderr
        return done

    def armed(self, name: str, failpoint: str, *more: str) -> Finished:
        return finish(start(self.site, *self.arguments(name, *more), failpoints=failpoint))

    def manifest(self) -> Manifest:
        path = next(self.store.rglob("manifest.json"))
        return Manifest.model_validate_json(path.read_text())

    def own_folders(self) -> set[str]:
        """What of ours is on the claim."""
        base = self.claim / ".ocore" / ENVIRONMENT
        return {path.name for path in base.iterdir()} if base.exists() else set()

    def stored(self) -> list[Path]:
        return [path for path in self.store.rglob("*") if path.is_file() and path.name != "ocore-store.json"]
