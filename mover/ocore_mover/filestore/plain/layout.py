"""Layout Plain, as the commands use it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ocore_crds import conditions
from ocore_crds.reports.base import Finding
from ocore_crds.reports.facts import FilestoreFacts
from ocore_crds.stored.manifest import FilestoreArtifact
from ocore_mover.errors import MoverError
from ocore_mover.filestore import space
from ocore_mover.filestore.base import BaseIndex, BaseSnapshot
from ocore_mover.filestore.folders import ClaimFolders
from ocore_mover.filestore.index import Entry, check_name, parse
from ocore_mover.filestore.layout import Capture, CaptureOptions, Layout
from ocore_mover.filestore.plain.base import PlainBase
from ocore_mover.filestore.plain.capture import PlainCapture
from ocore_mover.filestore.plain.freeze import freeze
from ocore_mover.filestore.plain.rollback import PlainKept
from ocore_mover.filestore.space import Space
from ocore_mover.store.interface import Store


class Plain(Layout):
    """Any tree of files."""

    name = "Plain"
    names_in_database = False
    algorithm = "sha256"
    required = "filestore: every file of the folder"
    not_checked = (
        "whether every file that the database names is in the snapshot: in layout Plain only the application knows its"
        " files' names",
    )

    @contextmanager
    def capture(
        self, folders: ClaimFolders, attempt: str, options: CaptureOptions, base: BaseIndex | None
    ) -> Iterator[Capture]:
        """As :meth:`.Layout.capture`."""
        with freeze(folders, attempt) as frozen:
            yield PlainCapture(frozen, options, base if isinstance(base, PlainBase) else None)

    def base(self, snapshot: BaseSnapshot, scratch: Path) -> PlainBase:
        """As :meth:`.Layout.base`."""
        return PlainBase(snapshot, scratch)

    def unusable_base(self, artifact: FilestoreArtifact) -> str:
        """As :meth:`.Layout.unusable_base`."""
        if artifact.frozen_ns is None:
            return "was taken by a version that did not store when its files were frozen"
        return ""

    def parse(self, line: bytes) -> Entry:
        """As :meth:`.Layout.parse`."""
        return check_name(parse(line))

    def space(self, store: Store, artifact: FilestoreArtifact, folders: ClaimFolders) -> Space:
        """Of all files, beside the live folder."""
        del store
        with folders.opened(folders.filestore) as root:
            return space.whole(artifact, root)

    def kept(self, folders: ClaimFolders, rollback_id: str) -> PlainKept:
        """As :meth:`.Layout.kept`."""
        return PlainKept(folders, rollback_id)

    def absent(self, folders: ClaimFolders) -> MoverError | None:
        """That a new application has not created the filestore's folder yet. No database says whether it has files."""
        try:
            if not folders.may_be_created():
                return None
        except OSError:
            return None
        return MoverError(
            conditions.FILESTORE_NOT_CREATED,
            f"the filestore's folder {folders.path} does not exist yet. Nothing to do for a new application: the"
            " Environment becomes ready after the application has created the folder. If the application has files,"
            " correct spec.filestore.path and claimName, and check that the claim has not lost them.",
        )

    def rollback_findings(self, folders: ClaimFolders, facts: FilestoreFacts) -> list[Finding]:
        """As :meth:`.Layout.rollback_findings`."""
        found = []
        try:
            folders.require_switchable()
        except MoverError as error:
            found.append(error.finding())
        if facts.size_bytes > facts.free_bytes:
            found.append(
                Finding.of(
                    conditions.INSUFFICIENT_CAPACITY,
                    f"a rollback restores the filestore beside the live one. It needs {facts.size_bytes} bytes; the"
                    f" volume has {facts.free_bytes} free. Enlarge the volume.",
                )
            )
        return found
