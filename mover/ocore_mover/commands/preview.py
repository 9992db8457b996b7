"""``preview``: reads what a rollback would do, and changes nothing: no database, no file, no object."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg

from ocore_crds import conditions
from ocore_crds.commands.preview import PreviewRequest, PreviewResult, TableRows
from ocore_crds.reports.base import Finding
from ocore_crds.resources.preview import TABLES
from ocore_crds.stored.manifest import Manifest
from ocore_mover import encryption, manifests
from ocore_mover.commands import opening
from ocore_mover.commands.preflight import Checks
from ocore_mover.commands.runtime import Runtime, as_failure
from ocore_mover.database import tables
from ocore_mover.database.connect import Connection, Server, connect, connect_maintenance, set_timeouts, value
from ocore_mover.database.dump.rows import largest
from ocore_mover.database.facts import size_bytes
from ocore_mover.errors import MoverError
from ocore_mover.filestore import layouts, space
from ocore_mover.filestore.facts import is_missing

APPLICATION = "ocore-preview"
#: Seconds to retry connecting: a person waits for the report.
PATIENCE = 2.0
#: Of each statement. None of them reads or locks a table.
STATEMENT_TIMEOUT = "10s"


@dataclass
class _Report:
    """What was found so far."""

    values: dict[str, Any] = field(default_factory=dict)
    refusals: list[Finding] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)

    def refused(self, error: MoverError) -> None:
        """A rollback would fail with this."""
        self.refusals.append(error.finding())

    @contextmanager
    def part(self, what: str) -> Iterator[None]:
        """A part of the report: where it cannot be read, the others are read all the same."""
        try:
            yield
        except (MoverError, psycopg.Error, OSError) as error:
            self.unread.append(f"{what}: {as_failure(error).message}")


class PreviewRun:
    """One run of the command."""

    def __init__(self, runtime: Runtime, request: PreviewRequest) -> None:
        self._runtime = runtime
        self._store = runtime.guarded(opening.store(request.store))
        self._server = opening.optional_server(request.database)
        self._folders = opening.folders(request.filestore, request.environment_id)
        self._request = request
        self._report = _Report()

    def run(self) -> PreviewResult:
        """The report. Raises nothing but what cancels the command: a part that cannot be read is None, and `unread`
        says why."""
        manifest = self._manifest()
        self._runtime.both(lambda: self._database(manifest), lambda: self._filestore(manifest))
        self._runtime.token.check()
        found = self._report
        shown = found.values.get("tables", ())
        return PreviewResult(
            **{**found.values, "table_count": len(shown)}, refusals=tuple(found.refusals), unread=tuple(found.unread)
        )

    # --- the store ------------------------------------------------------------------------------------------------

    def _manifest(self) -> Manifest | None:
        request, report = self._request, self._report
        try:
            stored = manifests.read(
                self._store, request.environment_id, request.snapshot_id, sha256=request.manifest_sha256
            )
            opened = encryption.opened(self._store, stored, request.identity)
        except MoverError as error:
            report.unread.append(f"the snapshot's manifest: {error.message}")
            report.refused(error)
            return None
        self._store, manifest = opened.store, opened.manifest
        checks = Checks(
            self._store, stored, manifest, self._server, self._folders, request.layout, capacity=request.capacity
        )
        for check in checks.all():
            self._checked(check)
        report.values["consistent_at"] = manifest.consistent_at
        if manifest.database is not None:
            report.values |= {
                "server_version_then": manifest.database.server_version,
                "database_bytes_then": manifest.database.size_bytes,
                "rows_counted": manifest.database.table_rows is not None,
            }
        if manifest.filestore is not None:
            report.values |= {
                "files_then": manifest.filestore.file_count,
                "file_bytes_then": manifest.filestore.size_bytes,
            }
        return manifest

    def _checked(self, check: Callable[[], None]) -> None:
        self._runtime.token.check()
        try:
            check()
        except MoverError as error:
            self._report.refused(error)

    # --- the database -----------------------------------------------------------------------------------------------

    def _database(self, manifest: Manifest | None) -> None:
        server = self._server
        if server is None:
            return
        counted = manifest.database.table_rows if manifest is not None and manifest.database is not None else None
        counted = counted or {}
        names = largest(counted, TABLES)
        live: list[tables.LiveTable] = []
        with self._report.part("the live database"):
            live = self._live(server, names)
        rows = {t.name: t.rows for t in live}
        read = "database_bytes_now" in self._report.values
        known = [
            TableRows(name=name, now=rows.get(name), then=counted.get(name), exists=name in rows or not read)
            for name in dict.fromkeys((*rows, *names))
        ]
        known.sort(key=lambda t: (-max(t.now or 0, t.then or 0), t.name))
        self._report.values["tables"] = tuple(known[:TABLES])

    def _live(self, server: Server, names: list[str]) -> list[tables.LiveTable]:
        values = self._report.values
        try:
            connection = connect(server.app, application=APPLICATION, token=self._runtime.token, patience=PATIENCE)
        except MoverError as error:
            if error.reason != conditions.DATABASE_NOT_FOUND:
                raise
            with connect_maintenance(server, application=APPLICATION, token=self._runtime.token) as other:
                values["server_version_now"] = _version(other)
            values |= {"database_missing": True, "database_bytes_now": 0}
            return []
        with connection:
            set_timeouts(connection, statement=STATEMENT_TIMEOUT, lock=STATEMENT_TIMEOUT)
            values["server_version_now"] = _version(connection)
            values["database_bytes_now"] = size_bytes(connection)
            return tables.largest(connection, TABLES, names)

    # --- the filestore ------------------------------------------------------------------------------------------------

    def _filestore(self, manifest: Manifest | None) -> None:
        folders, artifact = self._folders, manifest.filestore if manifest is not None else None
        if folders is None or artifact is None or artifact.layout != self._request.layout:
            return
        with self._report.part("the filestore"):
            if is_missing(folders):  # a rollback creates it where the database does not exist either
                with folders.opened(folders.claim) as root:
                    found = space.whole(artifact, root)
            else:
                found = layouts.of(artifact.layout).space(self._store, artifact, folders)
            self._report.values |= {
                "files_to_move": found.files,
                "bytes_to_move": found.size,
                "filestore_free_bytes": found.free,
                "filestore_needed_bytes": found.needed,
            }
            if found.refusal is not None:
                self._report.refused(found.refusal)


def _version(connection: Connection) -> str:
    return str(value(connection, "SELECT pg_catalog.current_setting('server_version')")).split()[0]


def execute(runtime: Runtime, request: PreviewRequest) -> PreviewResult:
    """As :meth:`PreviewRun.run`."""
    return PreviewRun(runtime, request).run()
