"""Layout Odoo, as the commands use it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ocore_crds import conditions
from ocore_crds.reports.base import Finding
from ocore_crds.reports.facts import FilestoreFacts
from ocore_crds.stored.manifest import FilestoreArtifact
from ocore_mover.filestore.base import BaseIndex, BaseSnapshot
from ocore_mover.filestore.folders import ClaimFolders
from ocore_mover.filestore.index import Entry
from ocore_mover.filestore.layout import Capture, CaptureOptions, Layout
from ocore_mover.filestore.odoo import restore
from ocore_mover.filestore.odoo.base import OdooBase
from ocore_mover.filestore.odoo.capture import OdooCapture
from ocore_mover.filestore.odoo.files import ODOO_FOLDER
from ocore_mover.filestore.odoo.freeze import Freezing
from ocore_mover.filestore.odoo.index_lines import parse_odoo
from ocore_mover.filestore.odoo.rollback import OdooKept
from ocore_mover.filestore.space import Space
from ocore_mover.store.interface import Store


class Odoo(Layout):
    """Content-addressed files, which ``ir_attachment`` names."""

    name = "Odoo"
    names_in_database = True
    algorithm = "sha1"
    required = "filestore: every file that the dumped database names"

    @contextmanager
    def capture(
        self, folders: ClaimFolders, attempt: str, options: CaptureOptions, base: BaseIndex | None
    ) -> Iterator[Capture]:
        """As :meth:`.Layout.capture`."""
        with ExitStack() as stack:
            freezing = stack.enter_context(Freezing(folders, attempt))
            yield OdooCapture(freezing, stack, options, base if isinstance(base, OdooBase) else None)

    def base(self, snapshot: BaseSnapshot, scratch: Path) -> OdooBase:
        """As :meth:`.Layout.base`."""
        return OdooBase(snapshot, scratch)

    def parse(self, line: bytes) -> Entry:
        """As :meth:`.Layout.parse`."""
        return parse_odoo(line)

    def space(self, store: Store, artifact: FilestoreArtifact, folders: ClaimFolders) -> Space:
        """Of the files that the filestore lacks."""
        return restore.missing(store, artifact, folders)

    def kept(self, folders: ClaimFolders, rollback_id: str) -> OdooKept:
        """As :meth:`.Layout.kept`."""
        return OdooKept(folders, rollback_id)

    def proven(self, attachments: int, missing: int) -> tuple[str, ...]:
        """As :meth:`.Layout.proven`."""
        return (
            f"filestore: {attachments - missing} of {attachments} files that the dumped database names are in the copy,"
            " each with the SHA-1 that is its name",
        )

    def is_foreign(self, folder: str) -> bool:
        """As :meth:`.Layout.is_foreign`."""
        return not ODOO_FOLDER.fullmatch(folder)

    def wrong_folder(self, path: str, foreign: int) -> str:
        """As :meth:`.Layout.wrong_folder`."""
        return (
            f"{path or 'the claim'} is not an Odoo filestore: it has no folders 00 to ff, but {foreign} others. The"
            " path of an Odoo filestore ends in filestore/<database>: correct spec.filestore.path"
        )

    def rollback_findings(self, folders: ClaimFolders, facts: FilestoreFacts) -> list[Finding]:
        """As :meth:`.Layout.rollback_findings`."""
        if facts.hard_links or facts.size_bytes <= facts.free_bytes:
            return []
        return [
            Finding.of(
                conditions.INSUFFICIENT_CAPACITY,
                f"without hard links a rollback copies the filestore. It needs {facts.size_bytes} bytes; the volume"
                f" has {facts.free_bytes} free. Enlarge the volume.",
            )
        ]

    def warnings(self, facts: FilestoreFacts, not_writable: str) -> tuple[str, ...]:
        """As :meth:`.Layout.warnings`."""
        if facts.hard_links:
            return ()
        why = not_writable or "the claim's file system does not allow hard links to the application's files"
        return (
            f"{why}. A snapshot reads the live files and starts again when the application deletes one of them. A"
            f" rollback needs space for a copy of the filestore ({facts.size_bytes} bytes).",
        )
