"""How much of a volume a restore may use, by figures that no server of the tests has. test_volume.py asks real ones."""

from types import SimpleNamespace
from typing import Any, cast

import psycopg
import pytest

from ocore_mover.database import volume
from ocore_mover.database.connect import Connection
from ocore_mover.errors import MoverError

GIB = 1 << 30
#: Bytes of the server's tables and WAL, and those that max_wal_size allows.
TABLES, WAL, LIMIT = 10 * GIB, 2 * GIB, 3 * GIB


class Rows(list[tuple[Any, ...]]):
    """Of one query."""

    def fetchone(self) -> tuple[Any, ...] | None:
        return self[0] if self else None


class Server:
    """Answers the queries of volume.py."""

    def __init__(
        self, *, down: tuple[str, ...] = (), keep: int | None = None, wal: int = WAL, unreadable: tuple[str, ...] = ()
    ) -> None:
        self.info, self.closed, self.asked = SimpleNamespace(user="o'dd"), False, 0
        self.lost: psycopg.Error | None = None
        self._unreadable = unreadable
        self._answers = {
            volume._TABLESPACES: Rows([(TABLES,)]),
            volume._READABLE: Rows([(TABLES - GIB,)]),
            volume._WAL: Rows([(wal,)]),
            volume._RETAINED: Rows([(wal - GIB,)]),
            volume._LIMITS: Rows([(LIMIT, keep)]),
            volume._DOWN: Rows([(name,) for name in down]),
        }

    def execute(self, query: bytes) -> Rows:
        self.asked += 1
        if self.lost is not None:
            raise self.lost
        if query.decode() in self._unreadable:
            raise psycopg.errors.InsufficientPrivilege
        return self._answers[query.decode()]


def connection(server: Server) -> Connection:
    return cast(Connection, server)


@pytest.mark.parametrize(
    ("capacity", "kept"),
    [(0, 0), (100, 5), (GIB, int(GIB * 0.05)), (20 * GIB, GIB), (21 * GIB, GIB), (19 * GIB, int(19 * GIB * 0.05))],
)
def test_a_twentieth_stays_free_and_a_gibibyte_at_most(capacity: int, kept: int) -> None:
    assert volume.reserve(capacity) == kept


@pytest.mark.parametrize(
    ("server", "size", "grows"),
    [
        # Without a slot that is down, the WAL grows up to max_wal_size.
        ({}, GIB, GIB),
        ({}, GIB // 2, GIB // 2),
        ({}, 9 * GIB, GIB),
        ({"wal": 3 * GIB}, 9 * GIB, 0),
        ({"wal": 5 * GIB}, 9 * GIB, 0),
        # With one, all that is loaded stays, or what max_slot_wal_keep_size allows.
        ({"down": ("a",)}, 9 * GIB, 9 * GIB),
        ({"down": ("a",), "keep": 7 * GIB}, 9 * GIB, 5 * GIB),
        ({"down": ("a",), "keep": 7 * GIB}, 4 * GIB, 4 * GIB),
        ({"down": ("a",), "keep": GIB}, 9 * GIB, GIB),
        ({"down": ("a",), "keep": GIB, "wal": 5 * GIB}, 9 * GIB, 0),
    ],
)
def test_a_copy_fits_beside_the_rest_and_the_wal_of_its_load(server: dict[str, Any], size: int, grows: int) -> None:
    wal = server.get("wal", WAL)
    whole = TABLES + wal + size * 3 // 2 + grows
    # Above 20 GiB the reserve is one, and the last byte counts; below, a twentieth is rounded.
    capacity, least = (whole + GIB, 1) if whole >= 19 * GIB else (-(-whole * 20 // 19), 2)
    assert volume.check(connection(Server(**server)), size, capacity, setting="spec.database.capacity") == ()
    with pytest.raises(MoverError, match=r"spec\.database\.capacity") as refused:
        volume.check(connection(Server(**server)), size, capacity - least, setting="spec.database.capacity")
    assert refused.value.reason == "InsufficientCapacity"
    assert ("retained by replication slots without a client: a)" in refused.value.message) is ("down" in server)


def test_the_message_has_every_figure() -> None:
    server = Server(down=tuple("abcdefg"), keep=5 * GIB)
    with pytest.raises(MoverError) as refused:
        volume.check(connection(server), 4 * GIB, 21 * GIB, setting="--capacity")
    assert refused.value.message == (
        "the server uses 12.0 GiB (2.0 GiB of it for WAL), and the restored copy needs up to 6.0 GiB (1.5 times"
        " 4.0 GiB) and 3.0 GiB of WAL (retained by replication slots without a client: a, b, c, d, e), but the volume"
        " holds 21.0 GiB (--capacity), of which 1.0 GiB stay free. Enlarge the volume, or free space on it"
    )


@pytest.mark.parametrize(
    ("unreadable", "tables", "wal", "grants"),
    [
        ((), TABLES, WAL, ()),
        ((volume._TABLESPACES,), TABLES - GIB, WAL, ("pg_read_all_stats",)),
        ((volume._WAL,), TABLES, WAL - GIB, ("pg_monitor",)),
        ((volume._TABLESPACES, volume._WAL), TABLES - GIB, WAL - GIB, ("pg_read_all_stats", "pg_monitor")),
    ],
)
def test_what_a_role_may_not_read_is_a_warning(
    unreadable: tuple[str, ...], tables: int, wal: int, grants: tuple[str, ...]
) -> None:
    found = volume.used(connection(Server(unreadable=unreadable)))
    assert (found.tables, found.wal, found.total) == (tables, wal, tables + wal)
    assert [text.partition("a member of ")[2] for text in found.warnings] == [f"{grant} counts all" for grant in grants]


def test_a_role_that_may_read_nothing_is_an_error() -> None:
    server = Server(unreadable=(volume._TABLESPACES, volume._READABLE))
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        volume.used(connection(server))


# --- the watch --------------------------------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """`now`, and the seconds that each measurement takes."""
    found = SimpleNamespace(now=100.0, takes=0.0)
    monkeypatch.setattr(volume.time, "monotonic", lambda: found.now)
    used = volume.used

    def measured(asked: Connection) -> volume.Used:
        found.now += found.takes
        return used(asked)

    monkeypatch.setattr(volume, "used", measured)
    return found


def test_a_load_ends_before_the_reserve_is_used(clock: SimpleNamespace) -> None:
    server = Server(wal=10 * GIB)
    volume.Watch(21 * GIB, "shop_rb")(connection(server))
    with pytest.raises(MoverError, match=r"1\.0 GiB of the volume's 21\.0 GiB must stay free"):
        volume.Watch(21 * GIB - 1, "shop_rb")(connection(server))
    with pytest.raises(MoverError) as stopped:
        volume.Watch(12 * GIB * 20 // 19 - 2, "shop_rb")(connection(Server()))
    assert stopped.value.reason == "InsufficientCapacity"
    assert stopped.value.message.startswith(
        "loading shop_rb was stopped, and it is dropped: the server uses 12.0 GiB (2.0 GiB of it for WAL), and"
        " 646.7 MiB of the volume's 12.6 GiB must stay free for the live database."
    )


@pytest.mark.parametrize(("takes", "pause"), [(0.0, 1.0), (0.05, 1.0), (0.5, 5.0)])
def test_it_measures_once_a_second_and_a_tenth_of_the_time(clock: SimpleNamespace, takes: float, pause: float) -> None:
    clock.takes = takes
    server, watch = Server(), volume.Watch(100 * GIB, "shop_rb")
    watch(connection(server))
    ended = clock.now
    assert server.asked == 2
    clock.now = ended + pause - 0.001
    watch(connection(server))
    assert server.asked == 2
    clock.now = ended + pause
    watch(connection(server))
    assert server.asked == 4


def test_a_server_that_does_not_answer_is_not_asked_at_once_again(clock: SimpleNamespace) -> None:
    server, watch = Server(), volume.Watch(0, "shop_rb")
    server.lost = psycopg.OperationalError("gone")
    watch(connection(server))
    clock.now += 0.5
    watch(connection(server))
    assert server.asked == 1
    server.closed = True
    clock.now += 1
    watch(connection(server))
    assert server.asked == 1
    server.lost, server.closed = None, False
    with pytest.raises(MoverError):
        watch(connection(server))
