"""Folders on the filestore's claim: the filestore and ours beside it (docs/architecture.md)."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ClaimFolders:
    """Every folder of one environment on its claim."""

    claim: Path
    path: str
    environment_id: str

    @property
    def filestore(self) -> Path:
        """The application's filestore."""
        raise NotImplementedError

    @property
    def own(self) -> Path:
        """``.ocore/<environment id>``."""
        raise NotImplementedError

    def freeze(self, attempt: str) -> Path:
        raise NotImplementedError

    def hold(self, rollback_id: str) -> Path:
        raise NotImplementedError

    def stage(self, rollback_id: str) -> Path:
        raise NotImplementedError

    def previous(self, rollback_id: str) -> Path:
        raise NotImplementedError


@dataclass(frozen=True)
class Names:
    """What a database's attachment column holds, sorted out."""

    files: tuple[str, ...]  # xx/sha1, without duplicates, sorted
    uris: int  # kept elsewhere by the application
    invalid: tuple[str, ...]  # neither: nothing that could be a file of a filestore


def sort_names(store_fnames: Iterable[str]) -> Names:
    """Sorts out ``ir_attachment.store_fname``. Names are untrusted: only ``xx/sha1`` and ``xxx/sha1`` are files."""
    raise NotImplementedError
