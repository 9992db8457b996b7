"""The switch: renames both databases in one transaction, and allows connections again on success and on failure."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import psycopg
from psycopg import sql

from ocore_crds import conditions, failpoints
from ocore_crds.stored.rollback_record import RollbackRun
from ocore_mover.database import blockers, position, replication, sessions
from ocore_mover.database.connect import Connection, Server, connect_maintenance, query_failure, set_timeouts
from ocore_mover.database.position import Mark, Names, Position, RollbackMark
from ocore_mover.database.rights import read_rights
from ocore_mover.database.switch import handover, replication_end
from ocore_mover.errors import MoverError

log = logging.getLogger(__name__)

APPLICATION = "ocore-switch"
#: RENAME itself waits up to 5 s for ending sessions.
_STATEMENT_TIMEOUT = "30s"
_LOCK_TIMEOUT = "10s"
#: Seconds that the transaction of the renames waits for this process.
IDLE_SECONDS = 10
#: Seconds to retry repairing on a server that does not answer.
_PATIENCE = 60.0


@dataclass(frozen=True)
class Direction:
    """One direction of the switch: names and failpoints. The steps are the same in both."""

    out: tuple[str, str]  # the live database: old and new name
    into: tuple[str, str]  # the database that becomes live: old and new name
    goal: str  # position after the switch
    refused: str  # failpoints
    renamed: str


@dataclass(frozen=True)
class Outcome:
    """Result of a switch."""

    position: Position
    refused_seconds: float


class DatabaseSwitch:
    """Switches the databases of one rollback. Keeps one connection to the maintenance database, and reconnects where it
    is lost."""

    def __init__(
        self,
        server: Server,
        rollback_id: str,
        run: RollbackRun | None = None,
        *,
        allow_replication_loss: bool = False,
        goal: Literal["Old", "New"] = "New",
        neutralized: bool = False,
    ) -> None:
        """`goal`: the position that `run` wants. An undo wants the one that another run left. `neutralized`: only a
        copy that is marked as neutralised may become live."""
        self._neutralized = neutralized
        self.names = Names(server.live, rollback_id)
        self._goal = goal
        self._rollback_run = run
        self._allow_replication_loss = allow_replication_loss
        self._server = server
        self._connection: Connection | None = None
        #: Time after which it renames nothing, in seconds since the epoch.
        self.latest = math.inf

    def connection(self) -> Connection:
        """The connection; a new one where the old one is closed or broken."""
        if self._connection is None or self._connection.closed or self._connection.broken:
            self._connection = connect_maintenance(self._server, application=APPLICATION)
            set_timeouts(self._connection, statement=_STATEMENT_TIMEOUT, lock=_LOCK_TIMEOUT)
        return self._connection

    def close(self) -> None:
        """Closes the connection."""
        if self._connection is not None:
            self._connection.close()

    def read(self) -> Position:
        """The current position. Tries twice, since the connection may have been idle and lost. Raises MoverError."""
        try:
            return position.read(self.connection(), self.names)
        except psycopg.Error as error:
            log.info("reading the position failed; retrying", extra={"error": str(error)})
        try:
            return position.read(self.connection(), self.names)
        except psycopg.Error as error:
            raise query_failure(
                error, default=conditions.SWITCH_FAILED, doing="reading the databases' names"
            ) from error

    def is_superseded(self) -> bool:
        """Whether a later rollback has switched: the live database has another rollback's mark, and no copy of this one
        could become live."""
        found = position.rows(self.connection(), self.names)
        live = found.get(self.names.live)
        other = live is not None and live.mark.rollback_id not in ("", self.names.rollback_id)
        return other and self.names.restored not in found

    def allow_live(self) -> Position:
        """Allows connections to the live database. Returns the position."""
        now = self.read()
        if now.refuses:
            sessions.allow(self.connection(), self.names.live, True)
            log.info("connections allowed", extra={"database": self.names.live})
            now = self.read()
        return now

    def check_ready(self) -> Position:
        """Returns the position.

        Raises MoverError SwitchFailed where the restored copy is missing or incomplete, or where the live database was
        dropped or created since the restore; NotNeutralized.
        """
        now = self.read()
        if now.position == "New":
            return now
        if now.restored is None or not now.restored.mark.checked:
            state = "does not exist" if now.restored is None else "is incomplete or was not checked"
            raise MoverError(
                conditions.SWITCH_FAILED,
                f"nothing to switch to: {self.names.restored} {state}; run `restore` for rollback"
                f" {self.names.rollback_id} first",
            )
        self._check_neutralized(now.restored.mark)
        if (now.live is None) != (now.restored.mark.creates is not None):
            raise self._not_as_restored(exists=now.live is not None)
        return now

    def _check_neutralized(self, mark: Mark) -> None:
        """The last guard: whatever ordered the switch, the copy itself says that it may become live."""
        if mark.neutralize != "pending" and (mark.neutralize == "neutralized" or not self._neutralized):
            return
        raise MoverError(
            conditions.NOT_NEUTRALIZED,
            f"{self.names.restored} must not become live: it is not proven to be neutralised. Run `neutralize` for"
            f" rollback {self.names.rollback_id} first",
        )

    def _not_as_restored(self, *, exists: bool) -> MoverError:
        happened = "created" if exists else "dropped or renamed"
        return MoverError(
            conditions.SWITCH_FAILED,
            f"database {self.names.live} was {happened} by someone else after {self.names.restored} was restored, and"
            " nothing was changed; create a new Rollback",
        )

    def check_kept(self) -> None:
        """Raises MoverError PreviousGone where no database is kept beside the live one: someone dropped or renamed
        it."""
        now = self.read()
        kept, name = (
            (now.restored, self.names.restored) if now.position == "Old" else (now.previous, self.names.previous)
        )
        if now.live is None or kept is None:
            raise MoverError(
                conditions.PREVIOUS_GONE,
                f"nothing to undo to: database {name} does not exist any more, and nothing was changed; create a"
                " Rollback to a snapshot instead",
            )

    def check_sessions(self) -> None:
        """Raises MoverError SessionsRemain where a session that cannot be ended, or a prepared transaction, uses the
        live database."""
        try:
            blockers.wait_until_none(self.connection(), self.names.live)
        except psycopg.Error as error:
            raise query_failure(
                error, default=conditions.SWITCH_FAILED, doing="reading the sessions of the live database"
            ) from error

    def check_replication(self) -> None:
        """Raises MoverError ReplicationActive where the switch would break logical replication and may not,
        MissingGrants where it may and cannot."""
        try:
            replication.check(self.connection(), self.names.live, allowed=self._allow_replication_loss)
        except psycopg.Error as error:
            raise query_failure(
                error, default=conditions.SWITCH_FAILED, doing="reading the slots of the live database"
            ) from error

    def end_replication(self, now: Position) -> list[str]:
        """Ends the logical replication of the database that is not live: a slot would retain WAL for the whole undo
        window. Returns what was done, as sentences. Raises nothing."""
        aside = now.previous if now.position == "New" else now.restored
        if aside is None:
            return []
        try:
            connection = self.connection()
        except MoverError as error:
            return [f"logical replication of {aside.name} was not checked: {error.message}"]
        return replication_end.retire(self._server, connection, aside.name, allowed=self._allow_replication_loss)

    def switch(self, prepare: Callable[[], None], settle: Callable[[Position], None]) -> Outcome:
        """Switches to the restored database. `prepare` runs without sessions, before the renames. `settle` runs after
        them, or after a failure, with the position that was found, before connections are allowed again.

        Both are idempotent. A failure before the commit of the renames undoes everything.
        Raises MoverError SwitchFailed, SessionsRemain, DatabaseUnreachable.
        """
        names = self.names
        return self._run(
            Direction(
                (names.live, names.previous), (names.restored, names.live), "New", "switch-refused", "switch-renamed"
            ),
            prepare,
            settle,
        )

    def switch_back(self, prepare: Callable[[], None], settle: Callable[[Position], None]) -> Outcome:
        """Switches back to the previous database. As :meth:`switch`."""
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
            settle,
        )

    def _run(self, direction: Direction, prepare: Callable[[], None], settle: Callable[[Position], None]) -> Outcome:
        self._check_direction(direction)
        since = time.monotonic()
        failure: BaseException | None = None
        try:
            self._refuse_and_rename(direction, prepare)
        except BaseException as error:
            # After any failure the live database must accept connections again.
            failure = error
            log.warning("switch failed", extra={"goal": direction.goal, "error": str(error)})
        now = self._finish(settle, failure)
        if isinstance(failure, psycopg.Error):
            raise query_failure(failure, default=conditions.SWITCH_FAILED, doing="switching") from failure
        if failure is not None:
            raise failure
        return Outcome(now, round(time.monotonic() - since, 3))

    def _check_direction(self, direction: Direction) -> None:
        now = self.read()
        if now.position == direction.goal:
            raise MoverError(conditions.SWITCH_FAILED, f"the switch is already done: the position is {now.position}")
        if direction.goal == "New":
            self.check_ready()
        elif now.previous is None:
            raise MoverError(
                conditions.SWITCH_FAILED,
                f"nothing to switch back to: {self.names.previous} does not exist (the undo window has ended, or"
                f" {self.names.live} did not exist before the rollback)",
            )

    def _check_time(self) -> None:
        """Raises MoverError SwitchFailed where another Job may act in the place of this one, which was held up: its
        node did not answer, and the operator has seen the end of its pod."""
        if time.time() > self.latest:
            raise MoverError(
                conditions.SWITCH_FAILED,
                "this Job was held up for so long that another Job may act in its place, so it has renamed nothing",
                retryable=True,
            )

    def _refuse_and_rename(self, direction: Direction, prepare: Callable[[], None]) -> None:
        self._check_time()
        connection = self.connection()
        both = (direction.out[0], direction.into[0])
        # The live database last: it stays available until then.
        sessions.close(connection, direction.into[0])
        if self.read().live is not None:
            sessions.allow(connection, direction.out[0], False)
        failpoints.hit(direction.refused)
        sessions.end_all(connection, both)
        failpoints.hit("switch-sessions-ended")
        if direction.goal == self._goal:  # from here on no session can add one
            replication.check(connection, direction.out[0], allowed=self._allow_replication_loss)
        prepare()
        self._rename(direction)
        failpoints.hit(direction.renamed)

    def _rename(self, direction: Direction) -> None:
        """Renames both databases, and gives the new live one the owner, the grants and the limit of the old one, in one
        transaction.

        Where no live database exists, it renames the copy only, which has those rights in its mark.
        """
        connection = self.connection()
        try:
            with connection.transaction():
                # While this process does not run, it holds the names for so long only.
                connection.execute(f"SET LOCAL idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'".encode())
                found = position.rows(connection, self.names)
                out, into = found.get(direction.out[0]), found.get(direction.into[0])
                if into is None:
                    raise _renamed_by_another()
                if (out is None) != (into.mark.creates is not None):
                    raise self._not_as_restored(exists=out is not None)
                if direction.goal == "New":
                    self._check_neutralized(into.mark)
                rights = into.mark.creates or read_rights(connection, direction.out[0])
                for old, new in (direction.out, direction.into) if out is not None else (direction.into,):
                    connection.execute(
                        sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(old), sql.Identifier(new))
                    )
                mark = replace(into.mark, creates=None)
                if self._rollback_run is not None:
                    latest = RollbackMark.of(
                        self._rollback_run, "Switched" if direction.goal == self._goal else "SwitchedBack"
                    )
                    mark = mark.remembering(out.mark if out is not None else Mark(), latest)
                if mark != into.mark:  # before the handover: a comment needs the owner's rights
                    position.write_mark(connection, direction.into[1], mark)
                handover.give(connection, direction.into[1], rights)
                if self._server.admin is not None and out is not None:
                    handover.take(connection, direction.out[1])
                self._check_time()
        except (psycopg.errors.DuplicateDatabase, psycopg.errors.InvalidCatalogName) as error:
            raise _renamed_by_another() from error
        except psycopg.errors.ObjectInUse as error:
            raise MoverError(
                conditions.SESSIONS_REMAIN,
                f"a new session appeared: {error.diag.message_detail or error}",
                retryable=True,
            ) from error
        except psycopg.OperationalError:
            # The answer to COMMIT may be lost: the names show what happened.
            if self.read().position != direction.goal:
                raise

    def _finish(self, settle: Callable[[Position], None], failure: BaseException | None) -> Position:
        """Runs `settle`, and allows connections in any case. Returns the position.

        Retries while PostgreSQL restarts. After that, `inspect --repair` has to do it.
        """
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                # First `settle`: a new database must not be used with an old filestore. The position is read again: a
                # failover may have lost the renames.
                settle(self.read())
                now = self.allow_live()
            except (psycopg.Error, MoverError) as error:
                if self._accepting() or time.monotonic() >= until:
                    raise self._unfinished(failure, error) from error
                time.sleep(0.5)
            else:
                return now

    def _accepting(self) -> bool:
        try:
            return not self.read().refuses
        except (psycopg.Error, MoverError):
            return False

    def _unfinished(self, failure: BaseException | None, error: BaseException) -> MoverError:
        first = f"{failure}; and " if failure is not None else ""
        return MoverError(
            conditions.SWITCH_FAILED,
            f"{first}the switch is incomplete: {error}; remove the cause, then run `inspect --rollback-id"
            f" {self.names.rollback_id} --repair`",
            retryable=True,
        )


def _renamed_by_another() -> MoverError:
    text = "another Job, or a person, has renamed the databases at the same time; nothing was changed"
    return MoverError(conditions.SWITCH_FAILED, text, retryable=True)
