"""What a switch does with database and folders, for each position of both. Without a server: which of the two moves is
decided before either is asked."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, cast

import pytest

from ocore_crds import conditions
from ocore_crds.protocol import SwitchResult
from ocore_mover.commands import switcher as module
from ocore_mover.commands.switcher import RollbackTarget, Switcher
from ocore_mover.database.connect import Server
from ocore_mover.database.position import DatabaseRow, Mark, Names, Position, RollbackMark
from ocore_mover.database.switch.switch import Outcome
from ocore_mover.deadline import Token
from ocore_mover.errors import MoverError
from ocore_mover.filestore import layout
from ocore_mover.filestore.folders import ClaimFolders
from support.mover.filestore import ENVIRONMENT, ROLLBACK

Goal = Literal["Old", "New"]
NAMES = Names("shop", ROLLBACK)
MARK = RollbackMark("to-monday", "a" * 32, "uid", ENVIRONMENT, "Switched")


def found(position: Goal, *, refuses: bool = False, live: bool = True) -> Position:
    def row(name: str, **mark: Any) -> DatabaseRow:
        return DatabaseRow(name, Mark(**mark), "app", not refuses)

    if position == "New":
        return Position("New", row("shop", rollbacks=(MARK,)), None, row(NAMES.previous))
    return Position("Old", row("shop") if live else None, row(NAMES.restored), None)


class Databases:
    """As DatabaseSwitch. `reads`: what the next reads find; the last one stays."""

    def __init__(self, calls: list[str], *reads: Position) -> None:
        self.names = NAMES
        self.options: tuple[Any, ...] = ()
        self.superseded = False
        self.error: MoverError | None = None
        self._calls = calls
        self._reads = list(reads)

    def __getattr__(self, name: str) -> Callable[[], None]:
        if not name.startswith("check_") and name != "close":
            raise AttributeError(name)
        return lambda: self._calls.append(f"database {name}")

    def read(self) -> Position:
        if self.error is not None:
            raise self.error
        return self._reads.pop(0) if len(self._reads) > 1 else self._reads[0]

    def is_superseded(self) -> bool:
        return self.superseded

    def check_ready(self) -> Position:
        self._calls.append("database check_ready")
        return self.read()

    def allow_live(self) -> Position:
        self._calls.append("database allow_live")
        return found(self.read().position)

    def end_replication(self, now: Position) -> list[str]:
        return [f"ended at {now.position}", "the same each time"]

    def switch(self, prepare: Callable[[], None], settle: Callable[[Position], None]) -> Outcome:
        return self._switch("New", "switch", prepare, settle)

    def switch_back(self, prepare: Callable[[], None], settle: Callable[[Position], None]) -> Outcome:
        return self._switch("Old", "switch_back", prepare, settle)

    def _switch(
        self, goal: Goal, name: str, prepare: Callable[[], None], settle: Callable[[Position], None]
    ) -> Outcome:
        self._calls.append(f"database {name}")
        prepare()
        self._calls.append("database renamed")
        self._reads = [found(goal)]
        settle(found(goal))
        return Outcome(found(goal), 0.5)


class Folders:
    """As Kept: a folder that moves."""

    def __init__(self, calls: list[str], position: layout.Position) -> None:
        self.relinked = 3
        self.set_aside: tuple[str, ...] = ()
        self.at = position
        self.prepared_by: Any = None
        self.live_names: Any = None
        self._calls = calls

    def __getattr__(self, name: str) -> Callable[[], None]:
        if name not in ("check_kept", "close", "at_switch", "at_switch_back"):
            raise AttributeError(name)
        return lambda: self._calls.append(f"folders {name}")

    def position(self) -> layout.Position:
        return self.at

    def prepare(self, names: Any) -> None:
        self._calls.append("folders prepare")
        self.prepared_by = names

    def before_switch(self, names: Any) -> None:
        self._calls.append("folders before_switch")
        self.live_names = names

    def before_switch_back(self, names: Any) -> None:
        self._calls.append("folders before_switch_back")
        self.live_names = names

    def switch(self) -> None:
        self._calls.append("folders switch")
        self.at = "New"

    def switch_back(self) -> None:
        self._calls.append("folders switch_back")
        self.at = "Old"


class Bench:
    """A switcher over both, and what it calls."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, claim: Path) -> None:
        self._patch = monkeypatch
        self._claim = claim
        self.calls: list[str] = []
        self.databases: Any = None
        self.folders: Any = None
        self.server = cast(Server, SimpleNamespace(live="shop"))
        self.token = Token(60)

    def make(
        self, *reads: Position, folders: layout.Position | None = None, undo_to: Goal | None = None, **options: Any
    ) -> Switcher:
        self.calls.clear()
        self.databases = Databases(self.calls, *reads) if reads else None
        self.folders = Folders(self.calls, folders) if folders is not None else None

        def made(*args: Any, **named: Any) -> Databases:
            self.databases.options = (args, named)
            return cast(Databases, self.databases)

        self._patch.setattr(module, "DatabaseSwitch", made)
        self._patch.setattr(module.layouts, "of", lambda _: SimpleNamespace(kept=lambda *_: self.folders))
        target = RollbackTarget(
            self.server if reads else None,
            ClaimFolders(self._claim, "files", ENVIRONMENT) if folders is not None else None,
            "Odoo",
            ROLLBACK,
            undo_to=undo_to,
            **options,
        )
        return Switcher(target, self.token)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bench:
    return Bench(monkeypatch, tmp_path)


def result(position: Goal, **fields: Any) -> SwitchResult:
    """Of :func:`found`, with folders."""
    names = {
        "live_database": "shop",
        "previous_database": NAMES.previous if position == "New" else "",
        "restored_database": NAMES.restored if position == "Old" else "",
        "relinked_files": 3,
    }
    return SwitchResult(position=position, **{**names, **fields})


ENDED = {position: (f"ended at {position}", "the same each time") for position in ("Old", "New")}
OLD, NEW = found("Old"), found("New")


@pytest.mark.parametrize("undo_to", [None, "Old", "New"])
@pytest.mark.parametrize("flag", [False, True])
def test_the_database_gets_the_goal_and_what_guards_it(bench: Bench, undo_to: Goal | None, *, flag: bool) -> None:
    switcher = bench.make(OLD, folders="Old", undo_to=undo_to, allow_replication_loss=flag, neutralized=not flag)
    assert bench.databases.options == (
        (bench.server, ROLLBACK, None),
        {"allow_replication_loss": flag, "goal": undo_to or "New", "neutralized": not flag},
    )
    switcher.close()
    assert bench.calls == ["database close", "folders close"]


def test_a_switch_may_break_no_replication_unless_it_is_told(bench: Bench) -> None:
    bench.make(OLD)
    assert bench.databases.options[1] == {"allow_replication_loss": False, "goal": "New", "neutralized": False}


def test_what_is_open_is_closed(bench: Bench) -> None:
    bench.make(OLD).close()
    assert bench.calls == ["database close"]
    bench.make(folders="Old").close()
    assert bench.calls == ["folders close"]


# --- repair ------------------------------------------------------------------------------------------------------

#: Position of the database, of the folders, → how a folder moves that may move; None: it fits.
MOVES: list[tuple[Goal, layout.Position, str | None]] = [
    ("Old", "Old", None), ("Old", "Nothing", None), ("Old", "New", "switch_back"), ("Old", "Between", "switch_back"),
    ("New", "New", None), ("New", "Nothing", None), ("New", "Old", "switch"), ("New", "Between", "switch"),
]  # fmt: skip


@pytest.mark.parametrize(("database", "folders", "move"), MOVES)
@pytest.mark.parametrize(("refuses", "stopped"), [(False, False), (True, False), (False, True)])
def test_a_folder_is_moved_only_where_no_application_can_have_used_it(
    bench: Bench, database: Goal, folders: layout.Position, move: str | None, *, refuses: bool, stopped: bool
) -> None:
    switcher = bench.make(found(database, refuses=refuses), folders=folders)
    if move is not None and not refuses and not stopped:
        with pytest.raises(MoverError) as raised:
            switcher.repair()
        assert raised.value.reason == conditions.MISMATCH
        assert bench.calls == []
        return
    found_position = switcher.repair(workloads_stopped=stopped) if stopped else switcher.repair()
    assert found_position == result(database, replication_ended=ENDED[database])
    assert bench.calls == [*([f"folders {move}"] if move is not None else []), "database allow_live"]


@pytest.mark.parametrize(("folders", "moved", "position"), [
    ("Old", [], "Old"), ("New", [], "New"), ("Nothing", [], "Old"), ("Between", ["folders switch"], "New"),
])  # fmt: skip
def test_without_a_database_the_folders_give_the_position(
    bench: Bench, folders: layout.Position, moved: list[str], position: Goal
) -> None:
    switcher = bench.make(folders=folders)
    assert switcher.read_position().position == ("New" if folders == "New" else "Old")
    assert (switcher.observe(), switcher.marks()) == (switcher.read_position(), ())
    assert bench.calls == []
    assert switcher.before_cleanup() == switcher.repair() == SwitchResult(position=position)
    assert bench.calls == moved
    switcher.prepare()
    assert bench.calls == moved


def test_before_a_cleanup_no_folder_is_moved(bench: Bench) -> None:
    with pytest.raises(MoverError):
        bench.make(found("New", refuses=True), folders="Old").before_cleanup()
    assert bench.calls == []
    assert bench.make(found("New", refuses=True), folders="New").before_cleanup().position == "New"
    assert bench.calls == ["database allow_live"]


@pytest.mark.parametrize(("position", "folders", "texts"), [
    ("Old", "New", ("holds the restored files", f"rename shop to {NAMES.previous} and {NAMES.restored} to shop")),
    ("New", "Old", ("holds the previous files", f"rename shop to {NAMES.restored} and {NAMES.previous} to shop")),
    ("New", "Between", ("is half moved",)),
])  # fmt: skip
def test_a_mismatch_names_both_repairs(
    bench: Bench, position: Goal, folders: layout.Position, texts: tuple[str, ...]
) -> None:
    with pytest.raises(MoverError) as raised:
        bench.make(found(position), folders=folders).read_position()
    assert all(
        text in raised.value.message for text in (*texts, f"position {position} of rollback {ROLLBACK}", "folder files")
    )
    assert ("rename shop" in raised.value.message) == (folders != "Between")


# --- the position ------------------------------------------------------------------------------------------------


def test_a_difference_that_a_running_switch_explains_is_none(bench: Bench) -> None:
    assert bench.make(OLD, OLD, NEW, folders="New").read_position() == result("New")
    assert bench.make(found("New", refuses=True), folders="Old").read_position() == result(
        "New", accepting_connections=False
    )
    with pytest.raises(MoverError):
        bench.make(OLD, OLD, OLD, NEW, folders="New").read_position()
    assert bench.make(found("Old", live=False), folders="Nothing").read_position() == result("Old", live_database="")
    assert bench.make(OLD).read_position() == result("Old", relinked_files=0)
    assert bench.calls == []


def test_after_a_later_rollback_the_result_is_superseded(bench: Bench) -> None:
    switcher = bench.make(OLD)
    bench.databases.error = MoverError(conditions.SWITCH_FAILED, "no position")
    with pytest.raises(MoverError, match="no position"):
        switcher.observe()
    bench.databases.superseded = True
    assert switcher.observe() == SwitchResult(position="New", superseded=True, live_database="shop")
    for reason in (conditions.MISMATCH, conditions.UNSUPPORTED_SERVER):  # another error is not explained by it
        bench.databases.error = MoverError(reason, "why")
        with pytest.raises(MoverError, match="why"):
            switcher.observe()


def test_what_the_live_database_remembers(bench: Bench) -> None:
    assert bench.make(NEW).marks() == (MARK,)
    assert bench.make(found("Old", live=False)).marks() == ()


# --- prepare -----------------------------------------------------------------------------------------------------

KEPT = ["database check_kept", "folders check_kept"]
READY = "database check_ready"
BUSY = ["database check_sessions", "database check_replication"]


@pytest.mark.parametrize(("undo_to", "position", "calls"), [
    (None, "Old", [READY, *BUSY, "folders prepare"]),
    (None, "New", [READY]),
    ("New", "Old", [*KEPT, READY, *BUSY, "folders prepare"]),
    ("Old", "New", [*KEPT, *BUSY]),
    ("Old", "Old", KEPT),
])  # fmt: skip
def test_what_is_checked_before_the_signal(
    bench: Bench, undo_to: Goal | None, position: Goal, calls: list[str]
) -> None:
    bench.make(found(position), folders=position, undo_to=undo_to).prepare()
    assert bench.calls == calls
    bench.make(found(position), undo_to=undo_to).prepare()
    assert bench.calls == [call for call in calls if call.startswith("database")]


def test_against_the_goal_replication_is_not_checked(bench: Bench) -> None:
    """An undo to Old is taken back: the switch forward restores what was live when the undo began."""
    switcher = bench.make(OLD, folders="Old", undo_to="Old")
    switcher.prepare_forward()
    assert bench.calls == [READY, "database check_sessions", "folders prepare"]
    switcher.forward()
    assert "database check_replication" not in bench.calls
    switcher = bench.make(NEW, folders="New")
    switcher.back()
    assert "database check_replication" not in bench.calls


def test_an_undo_without_a_database_checks_the_folders(bench: Bench) -> None:
    bench.make(folders="New", undo_to="Old").prepare()
    assert bench.calls == ["folders check_kept"]


def test_the_names_that_the_folders_get(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[Any, ...]] = []

    def noted(name: str, value: Any) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            opened.append((name, *args))
            return nullcontext(value)

        return call

    monkeypatch.setattr(module.copy_access, "opened", noted("access", "access"))
    monkeypatch.setattr(module, "copy_names", noted("copy", iter(["of the copy"])))
    monkeypatch.setattr(module, "live_names", noted("live", iter(["live"])))
    switcher = bench.make(OLD, folders="Old")
    switcher.prepare()
    with bench.folders.prepared_by() as names:
        assert list(names) == ["of the copy"]
    assert opened == [
        ("access", bench.server, NAMES, "app", bench.token),
        ("copy", bench.server, "access", bench.token),
    ]
    switcher.forward()
    with bench.folders.live_names() as names:
        assert list(names) == ["live"]
    assert opened[2:] == [("live", bench.server, bench.token)]
    switcher = bench.make(found("Old", live=False), folders="Old")
    switcher.forward()
    assert bench.folders.live_names is None


# --- the switch --------------------------------------------------------------------------------------------------


def test_the_order_of_a_switch(bench: Bench) -> None:
    done = bench.make(OLD, folders="Old").forward()
    assert bench.calls == [
        "database check_replication", "folders before_switch", "database switch", "folders at_switch",
        "database renamed", "folders switch",
    ]  # fmt: skip
    assert done == result("New", refused_seconds=0.5, replication_ended=ENDED["New"])


def test_the_order_of_a_switch_back(bench: Bench) -> None:
    switcher = bench.make(NEW, folders="New", undo_to="Old")
    done = switcher.back()
    assert bench.calls == [
        "database check_replication", "folders before_switch_back", "database switch_back", "folders at_switch_back",
        "database renamed", "folders switch_back",
    ]  # fmt: skip
    assert done == result("Old", refused_seconds=0.5, replication_ended=ENDED["Old"])
    assert switcher.forward().replication_ended == (*ENDED["Old"], "ended at New")


def test_a_switch_without_a_filestore(bench: Bench) -> None:
    assert bench.make(OLD).forward().position == "New"
    assert bench.calls == ["database check_replication", "database switch", "database renamed"]
    assert bench.make(NEW).back().position == "Old"
    assert bench.calls == ["database switch_back", "database renamed"]


def test_a_switch_without_a_database(bench: Bench) -> None:
    assert bench.make(folders="Old").forward() == SwitchResult(position="New")
    assert bench.calls == ["folders switch"]
    assert bench.make(folders="New").back() == SwitchResult(position="Old")
    assert bench.calls == ["folders switch_back"]


def test_a_switch_that_is_done_is_repaired(bench: Bench) -> None:
    assert bench.make(found("New", refuses=True), folders="Between").forward().position == "New"
    assert bench.calls == ["folders switch", "database allow_live"]
    assert bench.make(found("Old", refuses=True), folders="Between").back().position == "Old"
    assert bench.calls == ["folders switch_back", "database allow_live"]


def test_a_switch_whose_renames_were_lost_moves_the_folder_back(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failover: the renames are gone, and the folder may have been moved."""
    switcher = bench.make(OLD, folders="Old")

    def lost(_: Callable[[], None], settle: Callable[[Position], None]) -> Outcome:
        bench.folders.at = "Between"
        settle(OLD)
        return Outcome(OLD, 0.5)

    monkeypatch.setattr(bench.databases, "switch", lost)
    assert switcher.forward().position == "Old"
    assert bench.calls[-1] == "folders switch_back"


def test_a_staged_folder_that_is_gone_ends_the_switch(bench: Bench) -> None:
    """The folders are switched also where they say that there is nothing: the layout knows that something is
    missing."""
    bench.make(OLD, folders="Nothing").forward()
    assert bench.calls[-1] == "folders switch"


def test_only_some_sentences_about_replication_are_reported(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    switcher = bench.make(OLD, folders="Old")
    monkeypatch.setattr(bench.databases, "end_replication", lambda _: [str(number) for number in range(60)])
    assert switcher.repair().replication_ended == tuple(str(number) for number in range(50))
