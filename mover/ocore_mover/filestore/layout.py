"""What the commands use of a filestore layout. Each layout implements it in a folder of its own, and has a row in
:mod:`ocore_mover.filestore.layouts`. No other module names a layout.

=================  =====================================================================================
class              one for
=================  =====================================================================================
:class:`Layout`    each layout: facts, index, base of a differential, sentences of the evidence
:class:`Capture`   each try of a snapshot: freeze, copy
:class:`Kept`      each rollback: hold, restore, switch, and what is kept until its undo window ends
=================  =====================================================================================

A method that is not abstract is for a layout which has something to do there: by default it does nothing.
"""

# ruff: noqa: B027 - see above

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from ocore_crds.commands.parts import CleanupPart
from ocore_crds.reports.base import Finding
from ocore_crds.reports.facts import FilestoreFacts
from ocore_crds.resources import layouts
from ocore_crds.stored.manifest import FilestoreArtifact
from ocore_mover.errors import MoverError
from ocore_mover.filestore.base import BaseIndex, BaseSnapshot
from ocore_mover.filestore.folders import ClaimFolders
from ocore_mover.filestore.index import Entry
from ocore_mover.filestore.space import Space
from ocore_mover.filestore.unpack import Restored
from ocore_mover.freezer import Freezer
from ocore_mover.report import Counter
from ocore_mover.store.interface import Store

Consistency = Literal["Strict", "BestEffort"]
#: Opens the file names of a database, sorted, for the block.
Names = Callable[[], AbstractContextManager[Iterator[str]]]
#: Where a switch of folders is. Nothing: it has no folders, so it fits every position of the databases.
Position = Literal["Old", "Between", "New", "Nothing"]


@dataclass(frozen=True)
class CaptureOptions:
    """What a snapshot tolerates in the filestore."""

    scratch: Path
    missing_files: str = "Fail"  # or Report: files that the database names and that do not exist
    consistency: Consistency = "Strict"  # of files that change after the database was exported
    quiesced: bool = False  # the application is stopped


@dataclass(frozen=True)
class Copied:
    """A stored filestore."""

    artifact: FilestoreArtifact
    warnings: tuple[str, ...]
    incomplete: tuple[str, ...]  # those of the warnings for which it is no clean success
    named: int = 0  # files that the database names
    live: bool = False  # the files were read where they are, in folders that changed while they were listed


class Capture(ABC):
    """The filestore in one try of a snapshot: frozen around the export of the database, then copied."""

    #: Freezes the files that the database names; None where the files are frozen without the database.
    freezer: Freezer | None = None

    @property
    def doubts(self) -> Sequence[str]:
        """Names of what the export may have seen, and the copy may lack."""
        return ()

    @property
    def protected(self) -> bool:
        """Whether nothing that the application does from now on changes the copy. Asked after :meth:`complete`."""
        return False

    def approach(self) -> None:
        """Called right before the export."""

    def confirm(self) -> bool:
        """Called right after the export. False: it may have seen files that the copy lacks, so export again."""
        return True

    def complete(self) -> None:
        """Called once the database is exported, or where there is none."""

    @abstractmethod
    def copy(self, store: Store, prefix: str, counter: Counter, *, jobs: int) -> Copied:
        """Stores the frozen files below ``<prefix>filestore/``. Raises MoverError FilestoreChanging, retryable, where
        a new export is needed."""


class Kept(ABC):
    """What one rollback has beside the live filestore, on the claim. It is found again by the rollback's id."""

    def __init__(self, folders: ClaimFolders, rollback_id: str) -> None:
        self._folders = folders
        self._rollback_id = rollback_id
        self.relinked = 0  # files that the switch gave back to the application

    def close(self) -> None:
        """Frees what this process holds; everything on the claim stays."""

    @property
    def set_aside(self) -> tuple[str, ...]:
        """Paths on the claim of what an application put in the filestore's place while it was switched."""
        return ()

    # --- restore -------------------------------------------------------------------------------------------------

    def protect(self, live_names: Callable[[], Iterable[str]]) -> None:
        """Keeps the live files from the application's garbage collection. `live_names` is only called where needed."""

    @abstractmethod
    def restore(self, store: Store, artifact: FilestoreArtifact, counter: Counter, *, jobs: int) -> Restored:
        """Restores the files, checked, and changes none that the application uses. Hits the failpoint
        restore-files-added. Raises Corrupt, StoreError, MoverError."""

    @abstractmethod
    def check_restored(self, names: Names, artifact: FilestoreArtifact, scratch: Path) -> int:
        """Checks that every file that the restored database names exists, or was known to be lost. Returns the number
        of names; 0 where the database names none. Raises MoverError VerificationFailed."""

    # --- switch --------------------------------------------------------------------------------------------------

    @abstractmethod
    def position(self) -> Position:
        """Where the switch of folders is. Raises MoverError SwitchFailed where the folders fit no position."""

    @abstractmethod
    def check_kept(self) -> None:
        """Raises MoverError PreviousGone where an undo has nothing to go back to."""

    @abstractmethod
    def prepare(self, restored_names: Names) -> None:
        """Slow work before a switch. Raises MoverError SwitchFailed where what was restored does not exist any more."""

    def before_switch(self, live_names: Names | None) -> None:
        """While the application still runs. None: the live database does not exist."""

    def at_switch(self) -> None:
        """When no session is left, before the databases are renamed."""

    def before_switch_back(self, live_names: Names) -> None:
        """As :meth:`before_switch`, of the restored database that is live. A failure must not prevent the switch."""

    def at_switch_back(self) -> None:
        """As :meth:`at_switch`."""

    def switch(self) -> None:
        """Moves the restored folder to the filestore's place. Idempotent: continues where a killed switch stopped."""

    def switch_back(self) -> None:
        """Moves the previous folder back. Idempotent."""

    # --- cleanup -------------------------------------------------------------------------------------------------

    def list_leftovers(self, live_names: Names) -> int:
        """Hands files that no database names any more to the application's garbage collection; returns their
        number."""
        del live_names
        return 0

    @abstractmethod
    def remove(self, part: CleanupPart) -> Path | None:
        """Removes the folder of that part; None where it did not exist. Raises MoverError SwitchFailed where it is the
        only copy of the filestore."""


class Layout(ABC):
    """How an application lays its files out. It has no state: there is one of each."""

    name: ClassVar[layouts.Layout]
    #: Whether the database names the files: only these are stored, and a snapshot needs a database.
    names_in_database: ClassVar[bool]
    #: Digest of a file in the index, as hashlib calls it.
    algorithm: ClassVar[str]
    #: What a snapshot is required to have, for its evidence.
    required: ClassVar[str]
    #: What a test restore with a database cannot check.
    not_checked: ClassVar[tuple[str, ...]] = ()

    # --- snapshot ------------------------------------------------------------------------------------------------

    @abstractmethod
    def capture(
        self, folders: ClaimFolders, attempt: str, options: CaptureOptions, base: BaseIndex | None
    ) -> AbstractContextManager[Capture]:
        """Begins to freeze, for the block: what it makes on the claim is removed at the end. `base`: of a
        differential."""

    @abstractmethod
    def base(self, snapshot: BaseSnapshot, scratch: Path) -> BaseIndex:
        """The index of a base, which is not read yet. The caller closes it."""

    def unusable_base(self, artifact: FilestoreArtifact) -> str:
        """Why the full snapshot cannot be a base: "snapshot <id> …"; empty: it can."""
        del artifact
        return ""

    # --- stored files --------------------------------------------------------------------------------------------

    @abstractmethod
    def parse(self, line: bytes) -> Entry:
        """Parses a line of the index. Raises Corrupt for a line or a name that a restore refuses."""

    @abstractmethod
    def space(self, store: Store, artifact: FilestoreArtifact, folders: ClaimFolders) -> Space:
        """What a restore into the existing filestore would write. Reads no file. Raises Corrupt, StoreError,
        OSError."""

    @abstractmethod
    def kept(self, folders: ClaimFolders, rollback_id: str) -> Kept:
        """What a rollback has beside the filestore. Does no I/O."""

    # --- evidence ------------------------------------------------------------------------------------------------

    def proven(self, attachments: int, missing: int) -> tuple[str, ...]:
        """What a snapshot of files has proven about the names in the database."""
        del attachments, missing
        return ()

    # --- probe ---------------------------------------------------------------------------------------------------

    def is_foreign(self, folder: str) -> bool:
        """Whether a folder directly below the filestore has no files of it."""
        del folder
        return False

    def wrong_folder(self, path: str, foreign: int) -> str:
        """The warning about a filestore that has no files, but foreign folders."""
        raise NotImplementedError  # no folder is foreign

    def absent(self, folders: ClaimFolders) -> MoverError | None:
        """Why there is no filestore yet, where that is in order for a new application; None: the path is more likely
        wrong."""
        del folders
        return None

    @abstractmethod
    def rollback_findings(self, folders: ClaimFolders, facts: FilestoreFacts) -> list[Finding]:
        """What prevents a rollback."""

    def warnings(self, facts: FilestoreFacts, not_writable: str) -> tuple[str, ...]:
        """About a snapshot. `not_writable`: why the claim cannot be written; empty: it can."""
        del facts, not_writable
        return ()
