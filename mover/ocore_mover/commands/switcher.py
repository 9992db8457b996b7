"""Switches the database and the filestore of one rollback together. Slow work runs before connections are refused."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Literal

from ocore_crds import conditions
from ocore_crds.commands.switch import SwitchResult
from ocore_crds.stored.rollback_record import RollbackRun
from ocore_mover.database import copy_access
from ocore_mover.database.connect import Server
from ocore_mover.database.dump.export import copy_names, live_names
from ocore_mover.database.position import Position, RollbackMark
from ocore_mover.database.switch.switch import DatabaseSwitch
from ocore_mover.deadline import Token
from ocore_mover.errors import MoverError
from ocore_mover.filestore import layouts
from ocore_mover.filestore.folders import ClaimFolders
from ocore_mover.filestore.layout import Kept

#: Reads of the position until a difference between database and folders is not the moment between the two reads.
_READS = 3
#: Sentences about replication, and paths, in a result.
_REPORTED = 50


@dataclass(frozen=True)
class RollbackTarget:
    """The environment of one rollback: its database, its filestore, or both."""

    server: Server | None
    folders: ClaimFolders | None
    layout: str
    rollback_id: str
    run: RollbackRun | None = None  # for the comment of the database that becomes live
    allow_replication_loss: bool = False
    #: The position that an undo of this rollback wants; None: not an undo.
    undo_to: Literal["Old", "New"] | None = None
    #: Only a copy that is marked as neutralised may become live.
    neutralized: bool = False

    @property
    def goal(self) -> Literal["Old", "New"]:
        """The position that the run wants."""
        return self.undo_to or "New"

    def kept(self) -> Kept | None:
        """What the rollback has on the claim; None without a filestore."""
        return layouts.of(self.layout).kept(self.folders, self.rollback_id) if self.folders is not None else None


class Switcher:
    """The switch of one rollback. The database names give the position; without a database the folders do."""

    def __init__(self, target: RollbackTarget, token: Token) -> None:
        server, rollback_id = target.server, target.rollback_id
        self._server = server
        self._folders = target.folders
        self._rollback_id = rollback_id
        self._token = token
        self._goal, self._undoes = target.goal, target.undo_to is not None
        self._database = (
            DatabaseSwitch(
                server,
                rollback_id,
                target.run,
                allow_replication_loss=target.allow_replication_loss,
                goal=target.goal,
                neutralized=target.neutralized,
            )
            if server is not None
            else None
        )
        self._kept = target.kept()
        self._replication_ended: tuple[str, ...] = ()

    def close(self) -> None:
        """Closes the connection and the lists of names."""
        if self._database is not None:
            self._database.close()
        if self._kept is not None:
            self._kept.close()

    def rename_until(self, moment: float) -> None:
        """Sets the time after which no database is renamed, in seconds since the epoch: another Job may act then."""
        if self._database is not None:
            self._database.latest = moment

    def repair(self, *, workloads_stopped: bool = False) -> SwitchResult:
        """Completes an interrupted switch of the filestore, and allows connections to the live database. Returns the
        position.

        A folder is moved only where no application can have used it since: the live database refuses connections, or
        the caller says that the workloads are stopped. Raises MoverError Mismatch otherwise.
        """
        if self._database is None:
            if self._kept is not None and self._kept.position() == "Between":
                # Without a database the direction is unknown; forward is one rename away from a complete state.
                self._kept.switch()
            return self._folders_only()
        now = self._database.read()
        if workloads_stopped or now.refuses:
            self._align_folders(now)
        return self._allowed(self._database)

    def before_cleanup(self) -> SwitchResult:
        """As :meth:`repair`, but with a database no folder is moved: raises MoverError Mismatch where one does not
        fit."""
        return self.repair() if self._database is None else self._allowed(self._database)

    def _allowed(self, database: DatabaseSwitch) -> SwitchResult:
        """Allows connections. Raises MoverError Mismatch where the folders do not fit; they stay refused then."""
        if self._folders_differ(database.read()):
            raise self._mismatch(database)
        now = database.allow_live()
        self._end_replication(now)
        return self._result(now)

    def read_position(self) -> SwitchResult:
        """The position. Changes nothing. Raises MoverError Mismatch where the folders do not fit, and no switch
        explains it."""
        if self._database is None:
            return self._folders_only()
        for _ in range(_READS):  # database and folders are not read in one moment, and a switch may run
            now = self._database.read()
            if now.refuses or not self._folders_differ(now):
                return self._result(now)
        raise self._mismatch(self._database)

    def observe(self) -> SwitchResult:
        """The position. Changes nothing. Also after a later rollback has switched: then the result is `superseded`."""
        try:
            return self.read_position()
        except MoverError as error:
            if error.reason != conditions.SWITCH_FAILED or self._database is None or not self._database.is_superseded():
                raise
        return SwitchResult(position="New", superseded=True, live_database=self._database.names.live)

    def marks(self) -> tuple[RollbackMark, ...]:
        """What the live database remembers of the rollbacks that renamed it."""
        live = self._database.read().live if self._database is not None else None
        return live.mark.rollbacks if live is not None else ()

    def prepare(self) -> None:
        """Checks that a switch can work, and reads the attachment names of the restored database (seconds for many).

        Raises MoverError SwitchFailed where the restored copy is missing or incomplete, SessionsRemain where sessions
        that cannot be ended prevent the switch, ReplicationActive and MissingGrants as
        :func:`ocore_mover.database.replication.check`; of an undo PreviousGone where nothing is kept.
        """
        if self._undoes:
            self._check_kept()
        if self._goal == "Old":
            self._prepare_back()
        else:
            self.prepare_forward()

    def _check_kept(self) -> None:
        if self._database is not None:
            self._database.check_kept()
        if self._kept is not None:
            self._kept.check_kept()

    def _prepare_back(self) -> None:
        """Of an undo that switches back. The kept files are relinked by the hold set, without their names."""
        if self._database is not None and self._database.read().position == "New":
            self._database.check_sessions()
            self._database.check_replication()

    def prepare_forward(self) -> None:
        """The part of :meth:`prepare` for a switch to the restored database."""
        if self._database is None or self._server is None:
            return
        now = self._database.check_ready()
        if now.position == "Old":
            self._database.check_sessions()
        if now.position == "Old" and self._goal == "New":
            self._database.check_replication()
        if now.position == "Old" and self._kept is not None:
            self._kept.prepare(lambda: self._restored_names(now))

    @contextmanager
    def _restored_names(self, now: Position) -> Iterator[Iterator[str]]:
        """The attachment names in the restored database."""
        assert self._server is not None and self._database is not None  # noqa: S101, PT018 - of a database only
        with (
            copy_access.opened(self._server, self._database.names, now.owner, self._token) as access,
            copy_names(self._server, access, self._token) as names,
        ):
            yield names

    def forward(self) -> SwitchResult:
        """Switches to the restored copy, or repairs a switch that is already done. Returns the position."""
        if self._database is None:
            return self._switch_folders(back=False)
        now = self._database.read()
        if now.position == "New":
            return self.repair()
        if self._goal == "New":
            self._database.check_replication()  # before any session is ended: one may have been added since the restore
        if self._kept is not None:
            self._kept.before_switch(self._live_names if now.live is not None else None)
        outcome = self._database.switch(self._keep_files, self._settle_forward)
        self._end_replication(outcome.position)
        return self._result(outcome.position, outcome.refused_seconds)

    def back(self) -> SwitchResult:
        """Switches back to the previous database, or repairs a switch back that is already done. Returns the
        position."""
        if self._database is None:
            return self._switch_folders(back=True)
        if self._database.read().position == "Old":
            return self.repair()
        if self._goal == "Old":
            self._database.check_replication()  # as in :meth:`forward`
        if self._kept is not None:
            self._kept.before_switch_back(self._live_names)
        outcome = self._database.switch_back(self._give_back_files, self._align_folders)
        self._end_replication(outcome.position)
        return self._result(outcome.position, outcome.refused_seconds)

    def _end_replication(self, now: Position) -> None:
        if self._database is not None:
            ended = (*self._replication_ended, *self._database.end_replication(now))
            self._replication_ended = tuple(dict.fromkeys(ended))[:_REPORTED]

    def _live_names(self) -> AbstractContextManager[Iterator[str]]:
        assert self._server is not None  # noqa: S101 - of a database only
        return live_names(self._server, self._token)

    def _keep_files(self) -> None:
        if self._kept is not None:
            self._kept.at_switch()

    def _give_back_files(self) -> None:
        if self._kept is not None:
            self._kept.at_switch_back()

    def _folders_differ(self, now: Position) -> bool:
        """Whether the folders are at another position than the databases. Where nothing is staged or kept, they fit
        both."""
        return self._kept is not None and self._kept.position() not in (now.position, "Nothing")

    def _mismatch(self, database: DatabaseSwitch) -> MoverError:
        assert self._kept is not None and self._folders is not None  # noqa: S101, PT018 - only folders can differ
        now, names, path = database.read().position, database.names, self._folders.path
        found = self._kept.position()
        away, into = (names.previous, names.restored) if now == "Old" else (names.restored, names.previous)
        ways = "run `inspect --repair --workloads-stopped`, which moves the folder to the database's position"
        if found != "Between":
            ways += f", or, to keep the files instead, rename {names.live} to {away} and {into} to {names.live}"
        holds = {"Old": "holds the previous files", "New": "holds the restored files"}.get(found, "is half moved")
        return MoverError(
            conditions.MISMATCH,
            f"database and filestore do not fit: the databases' names give position {now} of rollback"
            f" {self._rollback_id}, but folder {path} {holds}. "
            "A failover lost the renames, or someone changed names by hand. Nothing was changed. Stop the workloads,"
            " then "
            f'{ways} (docs/guides/rollback-failed.md, "Repairs by hand")',
        )

    def _settle_forward(self, now: Position) -> None:
        """While this switch refuses connections. Raises MoverError SwitchFailed where the staged folder is gone."""
        if self._kept is not None and now.position == "New":
            self._kept.switch()
        else:
            self._align_folders(now)  # the renames were lost: a failover

    def _align_folders(self, now: Position) -> None:
        """The database names are the commit point: moves the folders to the same position."""
        if self._kept is None:
            return
        found = self._kept.position()
        if now.position == "New" and found in ("Old", "Between"):
            self._kept.switch()
        elif now.position == "Old" and found in ("New", "Between"):
            self._kept.switch_back()

    def _switch_folders(self, *, back: bool) -> SwitchResult:
        assert self._kept is not None  # noqa: S101 - the options require a database or a filestore
        if back:
            self._kept.switch_back()
        else:
            self._kept.switch()
        return self._folders_only()

    def _folders_only(self) -> SwitchResult:
        """Without a database nothing has refused connections."""
        assert self._kept is not None  # noqa: S101 - see above
        return SwitchResult(
            position="New" if self._kept.position() == "New" else "Old", set_aside=self._kept.set_aside[:_REPORTED]
        )

    def _result(self, now: Position, seconds: float | None = None) -> SwitchResult:
        return SwitchResult(
            position=now.position,
            live_database=now.live.name if now.live is not None else "",
            previous_database=now.previous.name if now.previous is not None else "",
            restored_database=now.restored.name if now.restored is not None else "",
            accepting_connections=not now.refuses,
            refused_seconds=seconds,
            relinked_files=self._kept.relinked if self._kept is not None else 0,
            set_aside=self._kept.set_aside[:_REPORTED] if self._kept is not None else (),
            replication_ended=self._replication_ended,
        )
