"""What must hold before a snapshot is restored. ``restore`` ends at the first that fails, ``preview`` runs all."""

from collections.abc import Callable
from dataclasses import dataclass

from ocore_crds import conditions
from ocore_crds.stored.manifest import Manifest
from ocore_mover import manifests
from ocore_mover.database import volume
from ocore_mover.database.connect import Connection, Server, maintenance, translating
from ocore_mover.database.position import Names
from ocore_mover.database.restore import check, extensions, requirements
from ocore_mover.errors import MoverError
from ocore_mover.filestore.folders import ClaimFolders
from ocore_mover.manifests import StoredManifest
from ocore_mover.store.interface import Store

#: Of names that are made only to be measured.
_ANY_ID = "00000000-0000-4000-8000-000000000000"


@dataclass(frozen=True)
class Checks:
    """The checks of one snapshot in one environment."""

    store: Store
    stored: StoredManifest
    manifest: Manifest  # its contents
    server: Server | None
    folders: ClaimFolders | None
    layout: str
    project_id: str | None = None  # that the snapshot must belong to; None: any
    capacity: int | None = None  # of the volume of the server's databases, in bytes; None: unknown
    session: Connection | None = None  # of the maintenance database; None: each check that needs one opens it

    def all(self) -> tuple[Callable[[], None], ...]:
        """In their order. Each raises MoverError where it does not hold."""
        return (
            self._same_project,
            lambda: _same_parts("database", self.manifest.database is not None, self.server is not None),
            lambda: _same_parts("filestore", self.manifest.filestore is not None, self.folders is not None),
            self._same_layout,
            self._short_name,
            lambda: manifests.check_objects(self.store, self.stored.manifest),
            self._known_to_the_server,
            self._enough_space,
        )

    def _same_project(self) -> None:
        project = self.manifest.identity.project_id
        if self.project_id not in (None, project):
            raise MoverError(
                conditions.OTHER_PROJECT,
                f"the snapshot's manifest has project {project}, the environment {self.project_id}; a rollback stays"
                " within a project",
            )

    def _same_layout(self) -> None:
        filestore = self.manifest.filestore
        if filestore is not None and self.folders is not None and filestore.layout != self.layout:
            raise MoverError(
                conditions.FILESTORE_LAYOUT_UNSUPPORTED,
                f"the snapshot's filestore has layout {filestore.layout}, the environment's {self.layout}; set the"
                " environment's layout to that of the snapshot",
            )

    def _short_name(self) -> None:
        if self.server is not None:
            Names(self.server.live, _ANY_ID).check_length()

    def _known_to_the_server(self) -> None:
        artifact, server = self.manifest.database, self.server
        if artifact is None or server is None:
            return
        with (
            translating(conditions.DATABASE_UNREACHABLE, "reading what the server has"),
            maintenance(server, self.session, application=check.APPLICATION) as connection,
        ):
            extensions.check_available(connection, artifact)
            requirements.check(connection, self.store, artifact, server)

    def _enough_space(self) -> None:
        artifact, server, capacity = self.manifest.database, self.server, self.capacity
        if artifact is None or server is None or capacity is None:
            return
        with (
            translating(conditions.DATABASE_UNREACHABLE, "reading the used space"),
            maintenance(server, self.session, application=check.APPLICATION) as connection,
        ):
            volume.check(connection, artifact.size_bytes, capacity, setting="spec.database.capacity")


def _same_parts(part: str, snapshot_has: bool, environment_has: bool) -> None:
    """Raises MoverError where only one of snapshot and environment has this part."""
    if snapshot_has != environment_has:
        having, lacking = ("snapshot", "environment") if snapshot_has else ("environment", "snapshot")
        option = "--database" if part == "database" else "--claim"
        raise MoverError(
            conditions.VERIFICATION_FAILED,
            f"the {having} has a {part} and the {lacking} has none, so they cannot be restored as a unit; "
            f"{f'give {option}' if snapshot_has else 'take a new snapshot'}",
        )
