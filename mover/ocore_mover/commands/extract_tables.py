"""Tables of a snapshot, for ``extract``: loaded into a closed scratch database, filtered there, and put into the store
or into a new schema of the live database.

Of the dump only ``toc.dat`` and the rows of these tables are read. The scratch database is that of a restore test, with
a name of its own. It is dropped before the tar becomes visible; what a killed attempt left is dropped by the next one
and by ``remove-extract``.
"""

import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from psycopg import sql

from ocore_crds import conditions, failpoints, naming
from ocore_crds.commands.extract import ExtractRequest, ExtractResult, TableRequest
from ocore_crds.reports.base import Step
from ocore_crds.reports.extracted import Extracted, ExtractedTable
from ocore_crds.stored.manifest import DatabaseArtifact
from ocore_mover import encryption, manifests
from ocore_mover.commands import opening
from ocore_mover.commands.runtime import Runtime, best_effort
from ocore_mover.database import copy_access, toc, volume
from ocore_mover.database.connect import Server, connect_maintenance, translating
from ocore_mover.database.extract import choice
from ocore_mover.database.extract.live import LiveSchema
from ocore_mover.database.extract.rows import APPLICATION, Loaded, Reader, reading
from ocore_mover.database.restore import scratch
from ocore_mover.database.restore.fetch import fetched, table_of_contents
from ocore_mover.database.restore.restore import DatabaseRestore
from ocore_mover.database.restore.scratch import ExtractNames
from ocore_mover.errors import MoverError
from ocore_mover.filestore.archive import Archive
from ocore_mover.filestore.index import Entry
from ocore_mover.store.interface import Store

_CHUNK = 1 << 20
#: So that nothing of a script is run twice, and nothing after an error.
_BEGIN = (
    b"\\set ON_ERROR_STOP on\nSET client_encoding = 'UTF8';\nSET standard_conforming_strings = on;\n"
    b"SET lc_monetary = 'C';\nSET array_nulls = on;\nBEGIN;\n"
)
_END = b"\\.\n\nCOMMIT;\n"


@dataclass(frozen=True)
class _File:
    """A table's file in scratch."""

    table: Loaded
    path: Path
    rows: int
    size: int

    @property
    def report(self) -> ExtractedTable:
        """For the result."""
        wanted = self.table.wanted
        return ExtractedTable(schema=wanted.schema_name, name=wanted.name, rows=self.rows, bytes=self.size)


class _Tables:
    """One run of the command. It can be repeated."""

    def __init__(self, runtime: Runtime, request: ExtractRequest, store: Store) -> None:
        self._runtime = runtime
        self._request = request
        self._counter = runtime.counter(Step.EXTRACT)
        guarded = runtime.guarded(store)
        stored = manifests.read(guarded, request.environment_id, request.snapshot_id, sha256=request.manifest_sha256)
        opened = encryption.opened(guarded, stored, request.identity)
        self._store, self._results, manifest = opened.store, opened.results, opened.manifest
        if manifest.database is None:
            raise MoverError(
                conditions.TABLES_NOT_FOUND,
                f"snapshot {request.snapshot_id} has no database. Choose another snapshot.",
            )
        self._artifact: DatabaseArtifact = manifest.database
        #: What is read of it.
        self._part = self._artifact

    def listed(self) -> ExtractResult:
        """Writes the tables of the dump to the store."""
        with tempfile.TemporaryDirectory() as folder:
            contents = table_of_contents(self._store, self._artifact, Path(folder))
            tables = list(choice.listing(contents, self._artifact))
            self._counter.add(bytes_=(contents.folder / toc.FILE_NAME).stat().st_size, files=1)
        with self._results.writer(self._key("listing.jsonl")) as writer:
            for table in tables:
                writer.write(json.dumps({"type": "table", **asdict(table)}).encode() + b"\n")
            stored = writer.commit()
        extracted = Extracted(
            files=len(tables),
            rows=sum(table.rows or 0 for table in tables),
            bytes=sum(table.bytes for table in tables),
            bytes_read=self._counter.bytes_done,
            key=stored.key,
            size=stored.size,
            sha256=stored.sha256,
        )
        return ExtractResult(extracted=extracted)

    def run(self, server: Server) -> ExtractResult:
        """Loads the tables, writes the tar or the new schema. Raises MoverError TablesNotFound, RowFilterFailed,
        TargetRefused, CapacityUnknown, InsufficientCapacity, MissingGrants, RestoreFailed and those of a restore."""
        names = ExtractNames(server.live, self._request.extract_id)
        folder = opening.scratch(self._request.scratch) / f"ocore-tables-{names.restored}"
        shutil.rmtree(folder, ignore_errors=True)
        schema = LiveSchema(server, self._request.extract_id, self._runtime.token)
        made = schema.made() if self._request.into_database else None
        if made is not None:  # by an attempt whose report was lost
            return made
        try:
            folder.mkdir()
            try:
                files = list(self._files(server, names, folder))
            finally:
                self._drop(server, names)
            result = ExtractResult(extracted=self._extracted(files), tables=tuple(each.report for each in files))
            if self._request.into_database:
                result = result.model_copy(
                    update={"extracted": result.extracted.model_copy(update={"schema_name": schema.name})}
                )
                loaded = [(each.table, each.path) for each in files]
                schema.create(loaded, result, self._counter, self._request.capacity or 0)
            else:
                result = result.model_copy(update={"extracted": self._stored(files, result.extracted)})
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        self._counter.finish()
        return result

    def _files(self, server: Server, names: ExtractNames, folder: Path) -> Iterator[_File]:
        request, token, space = self._request, self._runtime.token, opening.scratch(self._request.scratch)
        with fetched(
            self._store, self._artifact, space, names.restored, self._counter, lambda all_: self._choose(server, all_)
        ) as contents:
            restored = DatabaseRestore(
                server=server,
                names=names,
                artifact=self._part,
                store=self._store,
                scratch=space,
                counter=self._counter,
                token=token,
                jobs=1,
                capacity=request.capacity,
                contents=contents,
                statistics=False,  # each table is read once, from its begin to its end
            ).run()
        failpoints.hit("extract-loaded")
        with ExitStack() as stack:
            access = stack.enter_context(copy_access.opened(server, names, restored.owner, token))
            reader = stack.enter_context(reading(access, token))
            for table in request.tables:
                path = folder / _file_name(table, request.format)
                loaded = reader.table(table)
                rows = self._write(reader, loaded, path)
                yield _File(loaded, path, rows, path.stat().st_size)

    def _choose(self, server: Server, contents: toc.TableOfContents) -> toc.Chosen:
        """The part of the dump, once it is known to fit on the server's volume."""
        chosen = choice.choose(contents, self._request.tables)
        self._part = choice.part(self._artifact, chosen)
        if self._request.capacity is None:
            raise MoverError(
                conditions.CAPACITY_UNKNOWN,
                "the capacity of the database's volume is unknown, and a table that fills it would stop the live"
                " database. Set spec.database.capacity of the Environment",
            )
        with (
            translating(conditions.DATABASE_UNREACHABLE, "reading the server's used space"),
            connect_maintenance(server, application=APPLICATION, token=self._runtime.token) as maintenance,
        ):
            copies = 2 if self._request.into_database else 1
            size, capacity = copies * self._part.size_bytes, self._request.capacity
            volume.check(maintenance, size, capacity, setting="spec.database.capacity")
        return chosen

    def _write(self, reader: Reader, loaded: Loaded, path: Path) -> int:
        with path.open("xb") as file:
            if self._request.into_database:
                return reader.copy(loaded, "SQL", file)
            if self._request.format == "CSV":
                return reader.copy(loaded, "CSV", file)
            file.write(_BEGIN + self._statements(loaded) + b"\n")
            rows = reader.copy(loaded, "SQL", file)
            file.write(_END)
            return rows

    def _statements(self, table: Loaded) -> bytes:
        schema = naming.restored_schema(self._request.extract_id)
        place = sql.Identifier(schema, table.wanted.name)
        create = sql.SQL("CREATE SCHEMA IF NOT EXISTS {};\n{};\n{};").format(
            sql.Identifier(schema), table.definition(schema), table.loading(place)
        )
        return create.as_bytes()

    def _extracted(self, files: list[_File]) -> Extracted:
        return Extracted(
            files=len(files),
            rows=sum(each.rows for each in files),
            bytes=sum(each.size for each in files),
            bytes_read=sum(obj.size for obj in self._part.files),
        )

    def _stored(self, files: list[_File], extracted: Extracted) -> Extracted:
        now = time.time_ns()
        with self._results.writer(self._key("tables.tar")) as writer:
            archive = Archive(writer, self._counter)
            for each in files:
                with each.path.open("rb") as file:
                    entry = Entry(each.path.name, "", 0, size=each.size, mtime_ns=now)
                    archive.file(entry, iter(lambda: file.read(_CHUNK), b""))
            archive.end()
            failpoints.hit("extract-written")
            stored = writer.commit()
        return extracted.model_copy(update={"key": stored.key, "size": stored.size, "sha256": stored.sha256})

    def _drop(self, server: Server, names: ExtractNames) -> None:
        """Drops the scratch database and its roles. Where that fails, the next attempt or the removal does it."""
        best_effort("the scratch database", lambda: scratch.drop_named(server, names))

    def _key(self, name: str) -> str:
        return naming.extract_prefix(self._request.environment_id, self._request.extract_id) + name


def _file_name(table: TableRequest, format_: str) -> str:
    """Of a table's file; another one for every name. No folder, and not hidden."""
    name = table.name.replace("%", "%25").replace("/", "%2F")
    return (f"%2E{name[1:]}" if name.startswith(".") else name) + f".{format_.lower()}"


def run(runtime: Runtime, request: ExtractRequest, store: Store) -> ExtractResult:
    """As :meth:`_Tables.run` or :meth:`_Tables.listed`."""
    server, tables = opening.optional_server(request.database), _Tables(runtime, request, store)
    return tables.run(server) if server is not None else tables.listed()
