"""The switch: both databases renamed in one transaction, connections allowed again on every way out."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import psycopg
import structlog
from psycopg import sql

from ocore_crds import conditions, failpoints
from ocore_mover.database import position, sessions
from ocore_mover.database.connect import Connection, Server, connect_maintenance, query_failure, set_timeouts
from ocore_mover.database.position import Names, Position
from ocore_mover.errors import MoverError

log = structlog.get_logger()

APPLICATION = "ocore-switch"
#: RENAME itself waits up to 5 s for sessions that are just ending.
_STATEMENT_TIMEOUT = "30s"
_LOCK_TIMEOUT = "10s"
#: How long a server that went away is asked to put things in order (seconds).
_PATIENCE = 60.0


@dataclass(frozen=True)
class Direction:
    """The same four steps either way."""

    out: tuple[str, str]  # the live database: from, to
    into: tuple[str, str]  # the one that becomes live: from, to
    goal: str  # position afterwards
    refused: str  # failpoints
    renamed: str


@dataclass(frozen=True)
class Outcome:
    """What a switch did."""

    position: Position
    refused_seconds: float


class DatabaseSwitch:
    """Switches one rollback's databases. Holds one connection to the maintenance database, made anew where it was lost."""

    def __init__(self, server: Server, rollback_id: str) -> None:
        self.names = Names(server.live, rollback_id)
        self._server = server
        self._connection: Connection | None = None

    def connection(self) -> Connection:
        """The connection; a new one where the old one is gone."""
        if self._connection is None or self._connection.closed or self._connection.broken:
            self._connection = connect_maintenance(self._server, application=APPLICATION)
            set_timeouts(self._connection, statement=_STATEMENT_TIMEOUT, lock=_LOCK_TIMEOUT)
        return self._connection

    def close(self) -> None:
        """Closes the connection."""
        if self._connection is not None:
            self._connection.close()

    def read(self) -> Position:
        """The position as it is now; the connection is tried twice, since it may have been idle for long."""
        try:
            return position.read(self.connection(), self.names)
        except psycopg.Error as error:
            log.info("position is read again", error=str(error))
        try:
            return position.read(self.connection(), self.names)
        except psycopg.Error as error:
            raise query_failure(
                error, default=conditions.SWITCH_FAILED, doing="reading the databases' names"
            ) from error

    def allow_live(self) -> Position:
        """Connections to the live database are allowed again: what every way out ends with."""
        now = self.read()
        if not now.live.allows_connections:
            sessions.allow(self.connection(), self.names.live, True)
            log.info("connections allowed", database=self.names.live)
            now = self.read()
        return now

    def check_ready(self) -> Position:
        """Raises MoverError where a switch would not work: nothing restored, or not to its end."""
        now = self.read()
        if now.position == "New":
            return now
        if now.restored is None or not now.restored.mark.checked:
            state = "is not there" if now.restored is None else "was not restored and checked to the end"
            raise MoverError(
                conditions.SWITCH_FAILED,
                f"nothing to switch to: {self.names.restored} {state}; run `restore` for rollback {self.names.rollback_id} first",
            )
        return now

    def switch(self, prepare: Callable[[], None], finish: Callable[[], None]) -> Outcome:
        """To the restored database. `prepare` runs when no session is left, before the renames; `finish` right after them.

        Both are idempotent. Before the renames are committed everything is undone on a failure, after it everything is finished.
        """
        names = self.names
        return self._run(
            Direction(
                (names.live, names.previous), (names.restored, names.live), "New", "switch-refused", "switch-renamed"
            ),
            prepare,
            finish,
        )

    def switch_back(self, prepare: Callable[[], None], finish: Callable[[], None]) -> Outcome:
        """To the previous database, in the same way."""
        names = self.names
        return self._run(
            Direction(
                (names.live, names.restored),
                (names.previous, names.live),
                "Old",
                "switch-back-refused",
                "switch-back-renamed",
            ),
            prepare,
            finish,
        )

    def _run(self, way: Direction, prepare: Callable[[], None], finish: Callable[[], None]) -> Outcome:
        self._check_way(way)
        since = time.monotonic()
        failure: BaseException | None = None
        try:
            self._refuse_and_rename(way, prepare)
        except BaseException as error:
            # Whatever it is, the live database must accept connections again.
            failure = error
            log.warning("switch failed", goal=way.goal, error=str(error))
        now = self._settle(way, finish, failure)
        if isinstance(failure, psycopg.Error):
            raise query_failure(failure, default=conditions.SWITCH_FAILED, doing="switching") from failure
        if failure is not None:
            raise failure
        return Outcome(now, round(time.monotonic() - since, 3))

    def _check_way(self, way: Direction) -> None:
        now = self.read()
        if now.position == way.goal:
            raise MoverError(conditions.SWITCH_FAILED, f"already switched: the position is {now.position}")
        if way.goal == "New":
            self.check_ready()
        elif now.previous is None:
            raise MoverError(
                conditions.SWITCH_FAILED,
                f"nothing to switch back to: {self.names.previous} is not there (the undo window is over)",
            )

    def _refuse_and_rename(self, way: Direction, prepare: Callable[[], None]) -> None:
        connection = self.connection()
        both = (way.out[0], way.into[0])
        # The other one first: nothing is down yet.
        for name in reversed(both):
            sessions.allow(connection, name, False)
        failpoints.hit(way.refused)
        sessions.end_all(connection, both)
        failpoints.hit("switch-sessions-ended")
        prepare()
        self._rename(way)
        failpoints.hit(way.renamed)

    def _rename(self, way: Direction) -> None:
        connection = self.connection()
        try:
            with connection.transaction():
                for old, new in (way.out, way.into):
                    connection.execute(
                        sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(old), sql.Identifier(new))
                    )
        except psycopg.errors.ObjectInUse as error:
            raise MoverError(
                conditions.SESSIONS_REMAIN,
                f"a session came up again: {error.diag.message_detail or error}",
                retryable=True,
            ) from error
        except psycopg.OperationalError:
            # The answer to COMMIT may be what was lost: the names tell what happened.
            if self.read().position != way.goal:
                raise

    def _settle(self, way: Direction, finish: Callable[[], None], failure: BaseException | None) -> Position:
        """Finishes what is past the commit point, and allows connections in any case.

        PostgreSQL may be restarting: it is asked for a while before this is left to `inspect --repair`.
        """
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                if self.read().position == way.goal:
                    finish()
                # Only now: connections are never allowed to a new database beside an old filestore.
                now = self.allow_live()
            except (psycopg.Error, MoverError) as error:
                if self._accepting() or time.monotonic() >= until:
                    raise self._unsettled(failure, error) from error
                time.sleep(0.5)
            else:
                return now

    def _accepting(self) -> bool:
        try:
            return self.read().live.allows_connections
        except (psycopg.Error, MoverError):
            return False

    def _unsettled(self, failure: BaseException | None, error: BaseException) -> MoverError:
        first = f"{failure}; and " if failure is not None else ""
        return MoverError(
            conditions.SWITCH_FAILED,
            f"{first}the switch could not be put in order: {error}; run `inspect --rollback-id {self.names.rollback_id} --repair` "
            "when the cause is gone",
            retryable=True,
        )
