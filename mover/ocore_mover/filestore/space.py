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
    needed: int  # bytes that must be free
    free: int
    refusal: MoverError | None  # NoSpace where the volume has too little


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


def whole(artifact: FilestoreArtifact, free: int) -> Space:
    """The space for all files of the snapshot, beside the live folder."""
    return Space(artifact.file_count, artifact.size_bytes, artifact.size_bytes, free, refusal(artifact, free))


def refusal(artifact: FilestoreArtifact, free: int) -> MoverError | None:
    """NoSpace where the snapshot's files do not fit beside the live folder."""
    if artifact.size_bytes <= free:
        return None
    return MoverError(
        conditions.NO_SPACE,
        f"the filestore's volume has {free} bytes free. Restoring the snapshot beside the live folder needs "
        f"{artifact.size_bytes}. Enlarge the volume.",
    )
