"""The space that a restore needs on the filestore's volume."""

import os
from dataclasses import dataclass

from ocore_crds import conditions
from ocore_crds.stored.manifest import FilestoreArtifact
from ocore_mover.errors import MoverError

#: Fraction of the volume that must stay free, and its limit in bytes: a full filestore stops the application.
RESERVE = 0.05
MAX_RESERVE = 1024 * 1024 * 1024


@dataclass(frozen=True)
class Space:
    """What a restore would write, and what the volume has."""

    files: int
    size: int
    free: int
    kept: int = 0  # bytes that must stay free for the application

    @property
    def needed(self) -> int:
        """Bytes that must be free; 0 where nothing is written."""
        return self.size + self.kept if self.size else 0

    @property
    def refusal(self) -> MoverError | None:
        """NoSpace where the volume has too little."""
        if self.needed <= self.free:
            return None
        kept = f", and {self.kept} must stay free for the application" if self.kept else " beside the live folder"
        return MoverError(
            conditions.NO_SPACE,
            f"the filestore's volume has {self.free} bytes free. The snapshot's files need {self.size}{kept}. Enlarge"
            " the volume.",
        )

    def check(self) -> None:
        """Raises MoverError NoSpace where the volume has too little."""
        if self.refusal is not None:
            raise self.refusal


def free_bytes(folder: int) -> int:
    """Bytes that are free on the volume of an open folder."""
    volume = os.fstatvfs(folder)
    return volume.f_bavail * volume.f_frsize


def reserve(volume: os.statvfs_result) -> int:
    """Bytes of the volume that must stay free for the application."""
    return min(int(volume.f_blocks * volume.f_frsize * RESERVE), MAX_RESERVE)


def beside(size: int, folder: int) -> MoverError | None:
    """NoSpace where so many bytes do not fit into an open folder beside the live filestore."""
    free, kept = free_bytes(folder), reserve(os.fstatvfs(folder))
    if size + kept <= free:
        return None
    return MoverError(
        conditions.NO_SPACE,
        f"the filestore's volume has {free} bytes free. The files need {size}, and {kept} must stay free for the"
        " application. Enlarge the volume, or use target.store.",
    )


def whole(artifact: FilestoreArtifact, folder: int) -> Space:
    """The space for all files of the snapshot, beside the live folder, on the volume of an open folder."""
    return Space(artifact.file_count, artifact.size_bytes, free_bytes(folder))
