"""A filestore back from its packs: missing files added (Odoo), or a folder staged (Plain)."""

from dataclasses import dataclass

from ocore_crds.manifest import FilestoreArtifact

from ..report import Counter
from ..store.base import Store
from .folders import ClaimFolders
from .hold import HoldSet


@dataclass(frozen=True)
class Restored:
    """What was done."""

    files_added: int
    bytes_added: int
    files_replaced: int  # were there with the right name and wrong content
    files_checked: int  # were there and right


def add_missing(
    store: Store,
    artifact: FilestoreArtifact,
    folders: ClaimFolders,
    hold: HoldSet | None,
    counter: Counter,
    *,
    jobs: int = 2,
) -> Restored:
    """Layout Odoo: adds to the live filestore what the snapshot names and it lacks; never removes anything.

    Files that are there are read and compared with their name. New files are put into `hold` before they are visible.
    Raises Corrupt (nothing of a pack that is not whole becomes visible), MoverError NoSpace, StoreError. Hits the
    failpoint restore-files-added.
    """
    raise NotImplementedError


def stage_plain(
    store: Store,
    artifact: FilestoreArtifact,
    folders: ClaimFolders,
    rollback_id: str,
    counter: Counter,
    *,
    jobs: int = 2,
) -> Restored:
    """Layout Plain: restores into ``stage-<short>``, which is emptied first."""
    raise NotImplementedError
