"""Hold sets: hard links that keep files from the application's garbage collection during a rollback."""

from collections.abc import Collection, Iterable

from .folders import ClaimFolders


class HoldSet:
    """The hold set of one rollback, ``hold-<short>``. Made or found again by its name: it survives the Job."""

    def __init__(self, folders: ClaimFolders, rollback_id: str) -> None:
        raise NotImplementedError

    @property
    def exists(self) -> bool:
        raise NotImplementedError

    def hold_all(self, live_names: Collection[str] | None = None) -> int:
        """Holds every file that is in the filestore now (a superset of what the live database names). Where the file system
        has no hard links, copies: only `live_names` (what the live database names) where given. Returns the number held."""
        raise NotImplementedError

    def extend(self, live_names: Collection[str] | None = None) -> int:
        """Adds what is new in the filestore since; call when no session is left. Returns how many."""
        raise NotImplementedError

    def relink(self, names: Iterable[str]) -> int:
        """Links back what is gone from the filestore; returns how many. Raises MoverError AttachmentsMissing where a name is
        neither in the filestore nor held (the message counts and names some), after linking the others."""
        raise NotImplementedError

    def remove(self) -> bool:
        """Removes the set; False where there was none."""
        raise NotImplementedError
