"""Layout Odoo: a rollback adds the files that the filestore lacks, and a hold set keeps all others."""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

from ocore_crds import conditions
from ocore_crds.commands.parts import CleanupPart
from ocore_crds.stored.manifest import FilestoreArtifact
from ocore_mover.errors import MoverError
from ocore_mover.filestore.folders import ClaimFolders
from ocore_mover.filestore.layout import Kept, Names, Position
from ocore_mover.filestore.names import NameFile, spooled, valid
from ocore_mover.filestore.odoo.hold import HoldSet
from ocore_mover.filestore.odoo.restore import add_missing
from ocore_mover.filestore.unpack import Restored
from ocore_mover.report import Counter
from ocore_mover.store.interface import Store

log = logging.getLogger(__name__)


class OdooKept(Kept):
    """The hold set of one rollback. No folder is switched: old and new files are in the filestore side by side."""

    def __init__(self, folders: ClaimFolders, rollback_id: str) -> None:
        super().__init__(folders, rollback_id)
        self._hold = HoldSet(folders, rollback_id)
        self._restored_names: NameFile | None = None
        self._previous_names: NameFile | None = None
        self._switched_back_names: NameFile | None = None

    def close(self) -> None:
        """Closes the lists of names."""
        for names in (self._restored_names, self._previous_names, self._switched_back_names):
            if names is not None:
                names.close()
        self._restored_names = self._previous_names = self._switched_back_names = None

    def protect(self, live_names: Callable[[], Iterable[str]]) -> None:
        """Links the live files, so that garbage collection loses none of them."""
        # Links are made without a live database, too: someone may find it again.
        self._hold.hold_all(live_names)

    def restore(self, store: Store, artifact: FilestoreArtifact, counter: Counter, *, jobs: int) -> Restored:
        """As :func:`.odoo.restore.add_missing`."""
        return add_missing(store, artifact, self._folders, self._hold, counter, jobs=jobs)

    def check_restored(self, names: Names, artifact: FilestoreArtifact, scratch: Path) -> int:
        """As :meth:`.Kept.check_restored`. Files that garbage collection has removed since are linked again; their
        content was checked as they were added."""
        lost = frozenset(artifact.missing)
        found = 0  # names in `lost`
        with ExitStack() as stack:
            with names() as restored:

                def wanted() -> Iterator[str]:
                    nonlocal found
                    for name in valid(restored):
                        if name in lost:
                            found += 1
                        else:
                            yield name

                files = stack.enter_context(spooled(wanted(), scratch)).files
            if len(files) != artifact.file_count:
                raise MoverError(
                    conditions.VERIFICATION_FAILED,
                    f"the restored database names {len(files)} files and the snapshot has {artifact.file_count}: the"
                    " snapshot is inconsistent; restore another one",
                )
            _relink(self._hold, files)
            return len(files) + found

    def position(self) -> Position:
        """No folder is switched."""
        return "Nothing"

    def check_kept(self) -> None:
        """Raises MoverError PreviousGone where the hold set does not exist."""
        if not self._hold.exists:
            raise MoverError(
                conditions.PREVIOUS_GONE,
                f"the hold set of rollback {self._rollback_id} does not exist any more, so files may be missing, and"
                " nothing was changed; create a Rollback to a snapshot instead",
            )

    def prepare(self, restored_names: Names) -> None:
        """Reads the attachment names of the restored database (seconds for many)."""
        if not self._hold.exists:
            raise MoverError(
                conditions.SWITCH_FAILED,
                f"the hold set of rollback {self._rollback_id} no longer exists, so files may be missing; run `restore`"
                " again",
            )
        with restored_names() as names:
            # Files in neither place were lost before the snapshot: `restore` has checked all others.
            self._restored_names = self._hold.spool(self._hold.kept(names))

    def before_switch(self, live_names: Names | None) -> None:
        """Holds what the application has written since the restore."""
        self._previous_names = self._spool_live(live_names)
        self._hold.hold_all(_listed(self._previous_names))

    def at_switch(self) -> None:
        """Links files added since the restore, and relinks files that the restored database names."""
        self._hold.hold_all(_listed(self._previous_names))
        self.relinked = self._hold.relink(self._restored_names or ())

    def before_switch_back(self, live_names: Names) -> None:
        """Holds what users wrote since the switch."""
        self._switched_back_names = self._names_to_keep(live_names)
        self._keep_switched_back_files()

    def at_switch_back(self) -> None:
        """Relinks every held file: those of the previous database, the last ones that it got included.

        Not by the names in that database: a file that was lost long ago must not prevent the switch back.
        """
        if self._hold.exists:
            self._keep_switched_back_files()
            self.relinked = self._hold.relink(self._hold.held())

    def list_leftovers(self, live_names: Names) -> int:
        """Puts the files that only the dropped database has named on the application's checklist, while the hold set
        says which they are."""
        if not self._hold.exists:
            return 0
        with live_names() as names:
            return self._hold.give_up(names)

    def remove(self, part: CleanupPart) -> Path | None:
        """Removes the hold set, whatever the part."""
        del part
        return self._folders.hold(self._rollback_id) if self._hold.remove() else None

    def _spool_live(self, live_names: Names | None) -> NameFile | None:
        """What the live database names, on the claim, for a hold set of copies; None for one of links, which holds
        everything."""
        if not self._hold.consists_of_copies:
            return None
        if live_names is None:
            return self._hold.spool(())
        with live_names() as names:
            return self._hold.spool(names)

    def _names_to_keep(self, live_names: Names) -> NameFile | None:
        """What the database that is switched back names; None where that cannot be read, which must not prevent the
        switch back."""
        if not self._hold.exists:
            return None
        try:
            return self._spool_live(live_names)
        except MoverError as error:
            log.warning(
                "attachments of the restored database not read", extra={"reason": error.reason, "error": error.message}
            )
            return None

    def _keep_switched_back_files(self) -> None:
        """Adds what users wrote since the switch to the hold set: the garbage collection of the previous application
        would remove it. A failure (no space, for example) must not prevent the switch back."""
        if not self._hold.exists:
            return
        try:
            self._hold.hold_all(_listed(self._switched_back_names))
        except MoverError as error:
            log.warning(
                "files of the restored database not held", extra={"reason": error.reason, "error": error.message}
            )


def _listed(names: NameFile | None) -> Callable[[], Iterable[str]] | None:
    return None if names is None else lambda: names


def _relink(hold: HoldSet, names: Iterable[str]) -> None:
    try:
        hold.relink(names)
    except MoverError as error:
        if error.reason != conditions.ATTACHMENTS_MISSING:
            raise
        raise MoverError(conditions.VERIFICATION_FAILED, error.message) from error
