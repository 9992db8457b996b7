"""Where a rollback stands, derived from the databases' names and our mark (docs/architecture.md has the table).

The mark is a line in the database's comment: a comment stays through renames, is read without connecting to the database,
and its owner may set it. (A custom setting by ``ALTER DATABASE … SET`` would be the obvious place, but PostgreSQL lets only
superusers set a parameter that no loaded module defines.)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from psycopg import sql

from ocore_crds import conditions, naming
from ocore_mover.database.connect import Connection
from ocore_mover.errors import MoverError

#: Second line of the mark: the restore has ended and everything was checked.
CHECKED = "ocore.checked"


@dataclass(frozen=True)
class Mark:
    """What a database's comment says of us."""

    rollback_id: str = ""
    checked: bool = False
    comment: str = ""  # the user's own part

    @classmethod
    def parse(cls, text: str | None) -> "Mark":
        """From a comment; other people's lines are kept apart."""
        rollback_id, checked, rest = "", False, []
        for line in (text or "").splitlines():
            name, _, value = line.partition("=")
            if name == naming.DATABASE_MARKER:
                rollback_id = value
            elif name == CHECKED:
                checked = value == "true"
            else:
                rest.append(line)
        return cls(rollback_id, checked, "\n".join(rest))

    def text(self) -> str:
        """As a comment."""
        lines = [self.comment] if self.comment else []
        if self.rollback_id:
            lines.append(f"{naming.DATABASE_MARKER}={self.rollback_id}")
        if self.checked:
            lines.append(f"{CHECKED}=true")
        return "\n".join(lines)


@dataclass(frozen=True)
class DatabaseRow:
    """One database of the server."""

    name: str
    mark: Mark
    owner: str
    allows_connections: bool


@dataclass(frozen=True)
class Names:
    """The names that a rollback of `live` uses."""

    live: str
    rollback_id: str

    @property
    def restored(self) -> str:
        """Where the snapshot is restored, beside the live one."""
        return naming.restored_database(self.live, self.rollback_id)

    @property
    def previous(self) -> str:
        """What the live one is called after the switch."""
        return naming.previous_database(self.live, self.rollback_id)

    def check_length(self) -> None:
        """Raises MoverError DatabaseNameTooLong where PostgreSQL would cut a name off."""
        length = len(self.live.encode())
        if length > naming.MAX_DATABASE_NAME_BYTES:
            raise MoverError(conditions.DATABASE_NAME_TOO_LONG, too_long(self.live))


def too_long(name: str) -> str:
    """What to do about a name that leaves no room for ours."""
    return (
        f"the database name {name} has {len(name.encode())} bytes; a rollback needs names of at most "
        f"{naming.MAX_DATABASE_NAME_BYTES} bytes, since it adds _prev_ and eight digits: rename the database"
    )


@dataclass(frozen=True)
class Position:
    """Old: not switched. New: switched."""

    position: Literal["Old", "New"]
    live: DatabaseRow
    restored: DatabaseRow | None
    previous: DatabaseRow | None


def rows(connection: Connection, names: Names) -> dict[str, DatabaseRow]:
    """Those of the three databases that are there."""
    found = connection.execute(
        "SELECT datname, shobj_description(oid, 'pg_database'), pg_get_userbyid(datdba), datallowconn"
        " FROM pg_database WHERE datname = ANY(%s)",
        [[names.live, names.restored, names.previous]],
    )
    return {name: DatabaseRow(name, Mark.parse(text), owner, allow) for name, text, owner, allow in found}


def derive(found: Mapping[str, DatabaseRow], names: Names) -> Position:
    """The position; raises MoverError SwitchFailed where the names say neither, DatabaseNotFound where none is there."""
    live, restored, previous = (found.get(n) for n in (names.live, names.restored, names.previous))
    if not found:
        raise MoverError(
            conditions.DATABASE_NOT_FOUND, f"database {names.live} does not exist; check dbname in the Secret"
        )
    if live is not None:
        ours = live.mark.rollback_id == names.rollback_id
        # An unmarked copy: the restore was killed between CREATE DATABASE and the mark.
        copy_is_ours = restored is not None and restored.mark.rollback_id in ("", names.rollback_id)
        if restored is None and ours:
            return Position("New", live, None, previous)
        if previous is None and not ours and (restored is None or copy_is_ours):
            return Position("Old", live, restored, None)
    raise MoverError(
        conditions.SWITCH_FAILED,
        f"the databases stand neither before nor after the switch of rollback {names.rollback_id}, nothing was changed: "
        f"{_describe(found, names)}. Look at them and rename by hand, so that either {names.live} is the old one and "
        f"{names.previous} is not there, or {names.previous} is the old one and {names.live} carries our mark in its comment",
    )


def read(connection: Connection, names: Names) -> Position:
    """The position as it is now."""
    return derive(rows(connection, names), names)


def _describe(found: Mapping[str, DatabaseRow], names: Names) -> str:
    words = []
    for name in (names.live, names.restored, names.previous):
        row = found.get(name)
        if row is None:
            words.append(f"{name} is not there")
        else:
            mark = f"with the mark of rollback {row.mark.rollback_id}" if row.mark.rollback_id else "without our mark"
            words.append(f"{name} is there {mark}")
    return ", ".join(words)


def write_mark(connection: Connection, database: str, mark: Mark) -> None:
    """Sets a database's comment."""
    connection.execute(
        sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(database), sql.Literal(mark.text() or None))
    )
