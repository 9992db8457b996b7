"""The position of a rollback, derived from the database names and our mark (docs/architecture.md has the table).

The mark is a line in the database's comment. A comment survives renames, can be read without connecting to the
database, and its owner may set it. ``ALTER DATABASE … SET`` cannot be used: only superusers may set a parameter that no
loaded module defines.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

from psycopg import sql

from ocore_crds import conditions, naming
from ocore_crds.stored.rollback_record import MarkedOutcome, RollbackRun
from ocore_mover.database.connect import Connection
from ocore_mover.database.rights import Rights
from ocore_mover.errors import MoverError

#: Second line of the mark: the restore is complete and was checked.
CHECKED = "ocore.checked"
#: Line of a copy that was restored while the live database did not exist: the rights that it gets when it becomes the
#: live one.
CREATES = "ocore.creates"
#: Line of a copy whose data must be changed before the switch, or was: see Neutralization.
NEUTRALIZE = "ocore.neutralize"
#: Of a database. `pending`: it must not become live. `neutralized`: it was neutralised and every assertion held.
#: `identity`: it only got an identity of its own. Empty: nothing was demanded.
Neutralization = Literal["", "pending", "neutralized", "identity"]
#: Number of rollbacks that a live database remembers.
REMEMBERED = 50


@dataclass(frozen=True)
class RollbackMark:
    """A rollback that renamed the live database, in its comment: written in the transaction of the renames."""

    name: str
    spec_hash: str
    uid: str
    environment_id: str  # a copy of the server, made for another environment, has the comments too
    outcome: MarkedOutcome

    @classmethod
    def of(cls, run: RollbackRun, outcome: MarkedOutcome) -> "RollbackMark":
        """The mark of this run."""
        return cls(run.name, run.spec_hash, run.uid, run.environment_id, outcome)

    @classmethod
    def parse(cls, value: str) -> "RollbackMark | None":
        """From the line's value; None where it is not valid."""
        parts = value.split(" ")
        outcome = next((o for o in get_args(MarkedOutcome) if o == parts[-1]), None)
        if outcome is None or len(parts) != 5:
            return None
        return cls(parts[0], parts[1], parts[2], parts[3], outcome)

    def line(self) -> str:
        """The comment's line."""
        return f"{naming.ROLLBACK_MARKER}={self.name} {self.spec_hash} {self.uid} {self.environment_id} {self.outcome}"


@dataclass(frozen=True)
class Mark:
    """Our lines in a database's comment."""

    rollback_id: str = ""
    checked: bool = False
    comment: str = ""  # the user's own part
    rollbacks: tuple[RollbackMark, ...] = ()  # the oldest first
    creates: Rights | None = None  # of a copy that creates the live database
    neutralize: Neutralization = ""

    @classmethod
    def parse(cls, text: str | None) -> "Mark":
        """Parses a comment; `comment` keeps the lines that are not ours."""
        rollback_id, checked, rest = "", False, []
        rollbacks: list[RollbackMark] = []
        creates: Rights | None = None
        neutralize: Neutralization = ""
        for line in (text or "").splitlines():
            name, _, value = line.partition("=")
            if name == naming.DATABASE_MARKER:
                rollback_id = value
            elif name == CHECKED:
                checked = value == "true"
            elif name == NEUTRALIZE:
                # A value that we do not know is none that allows the switch.
                neutralize = next((state for state in get_args(Neutralization) if state == value), "pending")
            elif name == CREATES:
                creates = Rights.parse(value)
            elif name == naming.ROLLBACK_MARKER and (found := RollbackMark.parse(value)) is not None:
                rollbacks.append(found)
            else:
                rest.append(line)
        return cls(rollback_id, checked, "\n".join(rest), tuple(rollbacks), creates, neutralize)

    def text(self) -> str:
        """The comment's text."""
        lines = [self.comment] if self.comment else []
        if self.rollback_id:
            lines.append(f"{naming.DATABASE_MARKER}={self.rollback_id}")
        if self.checked:
            lines.append(f"{CHECKED}=true")
        if self.neutralize:
            lines.append(f"{NEUTRALIZE}={self.neutralize}")
        if self.creates is not None:
            lines.append(f"{CREATES}={self.creates.text()}")
        lines.extend(each.line() for each in self.rollbacks)
        return "\n".join(lines)

    def remembering(self, before: "Mark", latest: RollbackMark) -> "Mark":
        """The mark of a database that becomes live: with all that the one before it remembers, then `latest`."""
        known = dict.fromkeys((*self.rollbacks, *before.rollbacks))
        others = [each for each in known if replace(each, outcome=latest.outcome) != latest]
        return replace(self, rollbacks=(*others, latest)[-REMEMBERED:])


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
        """The restored copy beside the live database."""
        return naming.restored_database(self.live, self.rollback_id)

    @property
    def previous(self) -> str:
        """The name of the live database after the switch."""
        return naming.previous_database(self.live, self.rollback_id)

    def check_length(self) -> None:
        """Raises MoverError DatabaseNameTooLong where PostgreSQL would truncate a name."""
        length = len(self.live.encode())
        if length > naming.MAX_DATABASE_NAME_BYTES:
            raise MoverError(conditions.DATABASE_NAME_TOO_LONG, too_long(self.live))


def too_long(name: str) -> str:
    """The message for a name that leaves no room for our suffix."""
    return (
        f"the database name {name} has {len(name.encode())} bytes; a rollback appends _prev_ and eight digits, which"
        f" allows at most {naming.MAX_DATABASE_NAME_BYTES} bytes: rename the database"
    )


@dataclass(frozen=True)
class Position:
    """Old: not switched. New: switched. `live` is None where the live database does not exist: only at Old."""

    position: Literal["Old", "New"]
    live: DatabaseRow | None
    restored: DatabaseRow | None
    previous: DatabaseRow | None

    @property
    def owner(self) -> str:
        """Owner of the live database, or of the one that the copy will be; empty where neither is known."""
        if self.live is not None:
            return self.live.owner
        creates = self.restored.mark.creates if self.restored is not None else None
        return creates.owner if creates is not None else ""

    @property
    def refuses(self) -> bool:
        """Whether a live database exists and refuses connections, as an interrupted switch leaves it."""
        return self.live is not None and not self.live.allows_connections


def rows(connection: Connection, names: Names) -> dict[str, DatabaseRow]:
    """The rollback's databases that exist, by name."""
    found = connection.execute(
        "SELECT datname, shobj_description(oid, 'pg_database'), pg_get_userbyid(datdba), datallowconn"
        " FROM pg_database WHERE datname = ANY(%s)",
        [[names.live, names.restored, names.previous]],
    )
    return {name: DatabaseRow(name, Mark.parse(text), owner, allow) for name, text, owner, allow in found}


def derive(found: Mapping[str, DatabaseRow], names: Names) -> Position:
    """The position. Raises MoverError SwitchFailed where the names match neither position.

    A live database that does not exist is the position Old, too: a switch then renames the copy only.
    """
    live, restored, previous = (found.get(n) for n in (names.live, names.restored, names.previous))
    # A copy without a mark: the restore was killed between CREATE DATABASE and the mark.
    copy_is_ours = restored is not None and restored.mark.rollback_id in ("", names.rollback_id)
    if live is None and previous is None and (restored is None or copy_is_ours):
        return Position("Old", None, restored, None)
    if live is not None:
        ours = live.mark.rollback_id == names.rollback_id
        if restored is None and ours:
            return Position("New", live, None, previous)
        if previous is None and not ours and (restored is None or copy_is_ours):
            return Position("Old", live, restored, None)
    raise MoverError(
        conditions.SWITCH_FAILED,
        f"the databases match neither the state before nor after the switch of rollback {names.rollback_id}; nothing"
        f" was changed: {_describe(found, names)}. Rename them by hand: either {names.live} is the old database and"
        f" {names.previous} does not exist, or {names.previous} is the old database and {names.live} has our mark in"
        " its comment",
    )


def read(connection: Connection, names: Names) -> Position:
    """The current position. Raises as :func:`derive`."""
    return derive(rows(connection, names), names)


def _describe(found: Mapping[str, DatabaseRow], names: Names) -> str:
    parts = []
    for name in (names.live, names.restored, names.previous):
        row = found.get(name)
        if row is None:
            parts.append(f"{name} does not exist")
        else:
            mark = f"with the mark of rollback {row.mark.rollback_id}" if row.mark.rollback_id else "without our mark"
            parts.append(f"{name} exists {mark}")
    return ", ".join(parts)


def write_mark(connection: Connection, database: str, mark: Mark) -> None:
    """Sets a database's comment to the mark."""
    connection.execute(
        sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(database), sql.Literal(mark.text() or None))
    )
