"""A dump of a site's database into a store, and its restore."""

from pathlib import Path

from ocore_crds.stored.manifest import DatabaseArtifact
from ocore_mover.cancellable import GuardedStore
from ocore_mover.database import artifact
from ocore_mover.database.dump import dump, export
from ocore_mover.database.restore.restore import DatabaseRestore, RestoredDatabase
from ocore_mover.deadline import Token
from ocore_mover.report import Counter
from ocore_mover.store import Store
from support.mover.site import Site

PREFIX = "environments/e/snapshots/s/1/"


def take(site: Site, store: Store, scratch: Path, counter: Counter, token: Token, *, jobs: int = 2) -> DatabaseArtifact:
    with export.export(site.target, token) as exported:
        properties = artifact.read(exported.connection)
        return dump.dump(site.target, exported, properties, store, PREFIX, scratch, counter, token, jobs=jobs)


def bring_back(
    site: Site, found: DatabaseArtifact, store: Store, scratch: Path, counter: Counter, token: Token
) -> RestoredDatabase:
    return DatabaseRestore(
        server=site.target,
        names=site.names,
        artifact=found,
        store=store,
        scratch=scratch,
        counter=counter,
        token=token,
        jobs=2,
    ).run()


class FarStore(GuardedStore):
    """A folder that pretends to be somewhere else: the way that S3 takes."""

    @property
    def local_root(self) -> None:
        return None
