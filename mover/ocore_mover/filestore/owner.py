"""Who owns a filestore: the user that the Jobs must run as. Only names and owners are read, so any user can ask."""

import contextlib
import os
from pathlib import PurePosixPath

from ocore_crds import conditions
from ocore_crds.naming import CLAIM_FOLDER
from ocore_crds.reports.base import Finding
from ocore_crds.reports.facts import FileOwner
from ocore_crds.text.sentences import shown
from ocore_mover.filestore.folders import MAX_DEPTH, ClaimFolders
from ocore_mover.filestore.links import walk

#: Files that are asked for an owner other than root.
ASKED = 1000


def find(folders: ClaimFolders) -> tuple[Finding, FileOwner | None]:
    """What blocks an Environment whose Jobs have no user, and the owner of its files; None: root."""
    uid, gid = _owner(folders)
    where = shown(folders.path) if folders.path else "the claim"
    if uid == 0:
        remedy = (
            f"The files in {where} belong to root, and the Jobs never run as root. Run the application as a user of its"
            " own and give the files to it; then set spec.jobs.runAsUser to that user."
        )
    else:
        group = f" and spec.jobs.runAsGroup to {gid}" if gid else ""
        remedy = (
            f"The files in {where} belong to uid {uid}, gid {gid}. Set spec.jobs.runAsUser of the Environment to"
            f" {uid}{group}."
        )
    message = (
        "The user of the Jobs is unknown: spec.jobs.runAsUser is not set, and the first workload sets none but root."
        f" {remedy}"
    )
    owner = FileOwner(run_as_user=uid, run_as_group=gid or None) if uid else None
    return Finding.of(conditions.JOB_USER_UNKNOWN, message), owner


def _owner(folders: ClaimFolders) -> tuple[int, int]:
    """User and group of a file of the filestore, else of the nearest folder that can be seen. Root only where nothing
    belongs to another user."""
    found = [*_of_path(folders)]
    with contextlib.suppress(OSError, RecursionError):
        found += _of_files(folders)
    return next((each for each in reversed(found) if each[0]), found[-1])


def _of_path(folders: ClaimFolders) -> list[tuple[int, int]]:
    """The owners of the claim's root and of the folders down to the filestore, as far as they exist and can be seen."""
    place, found = folders.claim, []
    with contextlib.suppress(OSError):
        for part in ("", *PurePosixPath(folders.path).parts):
            place /= part
            status = place.stat(follow_symlinks=not part)
            found.append((status.st_uid, status.st_gid))
    return found or [(0, 0)]


def _of_files(folders: ClaimFolders) -> list[tuple[int, int]]:
    """The owners of the first files, up to the first that is not root. Raises OSError, RecursionError."""
    found: list[tuple[int, int]] = []
    with folders.opened(folders.filestore) as root:
        for folder in walk(root, skip=CLAIM_FOLDER.__eq__, failed=lambda *_: None, depth=MAX_DEPTH):
            for item in folder.items:
                if item.kind != "file":
                    continue
                with contextlib.suppress(FileNotFoundError, PermissionError):
                    status = os.stat(item.name, dir_fd=folder.fd, follow_symlinks=False)
                    found.append((status.st_uid, status.st_gid))
                    if status.st_uid or len(found) >= ASKED:
                        return found
    return found
