"""Layout Plain: the staged folder takes the filestore's place, by renames that can be rolled forward or back."""

from .folders import ClaimFolders


def switch(folders: ClaimFolders, rollback_id: str) -> None:
    """filestore → prev, stage → filestore. Idempotent: goes on from wherever a killed one stopped; done already: nothing."""
    raise NotImplementedError


def switch_back(folders: ClaimFolders, rollback_id: str) -> None:
    """filestore → stage, prev → filestore. Idempotent in the same way."""
    raise NotImplementedError


def is_switched(folders: ClaimFolders, rollback_id: str) -> bool:
    """Whether the restored folder stands in the filestore's place (between two renames: repaired first towards the
    direction that the journal names)."""
    raise NotImplementedError


def remove_previous(folders: ClaimFolders, rollback_id: str) -> bool:
    """Removes ``prev-<short>``; False where there is none."""
    raise NotImplementedError


def remove_stage(folders: ClaimFolders, rollback_id: str) -> bool:
    """Removes ``stage-<short>``; False where there is none."""
    raise NotImplementedError
