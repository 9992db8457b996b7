"""The new schema of the live database into which an Extract restores tables, beside what is live.

All of it is made in one transaction: a killed attempt leaves nothing, or the whole schema, which the next attempt finds
by its comment. The comment is also the condition for the removal: another schema of that name is never touched.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql
from pydantic import ValidationError

from ocore_crds import conditions, failpoints, naming
from ocore_crds.commands.extract import ExtractResult
from ocore_crds.text.sentences import shown
from ocore_mover.database import volume
from ocore_mover.database.connect import (
    Connection,
    Server,
    connect,
    connect_maintenance,
    set_timeouts,
    translating,
    value,
)
from ocore_mover.database.extract.rows import APPLICATION, SETTINGS, Loaded
from ocore_mover.deadline import Token
from ocore_mover.errors import MoverError
from ocore_mover.report import Counter

#: Line of the schema's comment with the id of the Extract; the next one has what was extracted.
MARK = "ocore.extract"
_RESULT = "ocore.result"
_ABOUT = "Made by an Extract of ocore-snapshots, and dropped when that expires. To keep it, rename it."
_CHUNK = 1 << 20
_COMMENT = (
    "SELECT coalesce(pg_catalog.obj_description(oid, 'pg_namespace'), '') FROM pg_catalog.pg_namespace"
    " WHERE nspname = %s"
)


@dataclass(frozen=True)
class LiveSchema:
    """The schema of one Extract."""

    server: Server
    extract_id: str
    token: Token

    @property
    def name(self) -> str:
        """Its name."""
        return naming.restored_schema(self.extract_id)

    def made(self) -> ExtractResult | None:
        """What an attempt has made whose report was lost; None: nothing. Raises MoverError TargetRefused where the live
        database cannot have the schema, MissingGrants."""
        with self._session() as live:
            comment = self._comment(live)
            if comment is not None and not self._is_ours(comment):
                raise MoverError(
                    conditions.TARGET_REFUSED,
                    f"the live database has a schema {self.name} that this Extract has not made. Create a new Extract",
                )
            if comment is not None:
                return _result(comment)
            name = value(live, "SELECT pubname::text FROM pg_catalog.pg_publication WHERE puballtables")
            if name is not None:
                raise MoverError(
                    conditions.TARGET_REFUSED,
                    f"publication {name} of the live database has all tables, so its subscribers would stop at the"
                    " new ones. Use target.store with format SQL",
                )
            if not value(live, "SELECT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')"):
                raise MoverError(
                    conditions.MISSING_GRANTS,
                    f"the application's role {shown(self.server.app.user)} may not create a schema: grant it CREATE on"
                    f" database {shown(self.server.live)}",
                )
        return None

    def create(
        self, tables: Sequence[tuple[Loaded, Path]], result: ExtractResult, counter: Counter, capacity: int
    ) -> None:
        """Makes the schema with these tables, each with its rows in COPY's text format. The volume is watched until the
        end. Raises MoverError TargetRefused, InsufficientCapacity, RestoreFailed."""
        schema = sql.Identifier(self.name)
        lines = (_ABOUT, f"{MARK}={self.extract_id}", f"{_RESULT}={result.model_dump_json(by_alias=True)}")
        name = f"the schema {self.name}"
        with (
            connect_maintenance(self.server, application=APPLICATION, token=self.token) as maintenance,
            self._session() as live,
            self.token.on_cancel(live.cancel_safe),
        ):
            watch = volume.Watch(capacity, name)
            set_timeouts(live, statement="0", lock="30s")
            with live.transaction():
                live.execute(sql.SQL("CREATE SCHEMA {}").format(schema))
                for table, path in tables:
                    live.execute(table.definition(self.name))
                    self._load(live, table, path, counter, lambda: watch(maintenance))
                volume.Watch(capacity, name)(maintenance)  # also where the last rows took less than an interval
                comment = sql.SQL("COMMENT ON SCHEMA {} IS {}").format(schema, sql.Literal("\n".join(lines)))
                live.execute(comment)
                failpoints.hit("extract-written")
        failpoints.hit("extract-visible")

    def _load(self, live: Connection, table: Loaded, path: Path, counter: Counter, watch: Callable[[], None]) -> None:
        statement = table.loading(sql.Identifier(self.name, table.wanted.name))
        with live.cursor() as cursor, cursor.copy(statement) as rows, path.open("rb") as file:
            for chunk in iter(lambda: file.read(_CHUNK), b""):
                self.token.check()
                watch()
                rows.write(chunk)
                counter.add(bytes_=len(chunk))
        counter.add(files=1)

    def drop(self) -> bool:
        """Drops the schema where it is the one that the Extract made; whether it was. Raises MoverError where it
        contains something else, or something depends on its tables: that is not ours to drop."""
        with self._session() as live, live.transaction():
            comment = self._comment(live)
            if comment is None or not self._is_ours(comment):
                return False
            for table in _result(comment).tables:
                place = sql.Identifier(self.name, table.name)
                live.execute(sql.SQL("DROP TABLE IF EXISTS {} RESTRICT").format(place))
            live.execute(sql.SQL("DROP SCHEMA {} RESTRICT").format(sql.Identifier(self.name)))
        return True

    @contextmanager
    def _session(self) -> Iterator[Connection]:
        """A session of the application's role in the live database."""
        with (
            translating(conditions.RESTORE_FAILED, f"schema {self.name} of the live database"),
            connect(self.server.app, application=APPLICATION, token=self.token) as live,
        ):
            live.execute(SETTINGS.encode())
            try:
                yield live
            except psycopg.errors.DuplicateSchema as error:
                raise MoverError(
                    conditions.TARGET_REFUSED,
                    f"a schema {self.name} was made in the live database at the same time. Create a new Extract",
                ) from error

    def _comment(self, live: Connection) -> str | None:
        found: str | None = value(live, _COMMENT, [self.name])
        return found

    def _is_ours(self, comment: str) -> bool:
        return f"{MARK}={self.extract_id}" in comment.splitlines()


def _result(comment: str) -> ExtractResult:
    """From the comment, which everyone with the application's role can change. Raises MoverError TargetRefused."""
    text = next((line.partition("=")[2] for line in comment.splitlines() if line.startswith(f"{_RESULT}=")), "")
    try:
        return ExtractResult.model_validate_json(text)
    except ValidationError as error:
        raise MoverError(
            conditions.TARGET_REFUSED, "the comment of the new schema was changed. Drop the schema by hand"
        ) from error
