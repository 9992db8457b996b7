"""The dump under stress: bounded scratch, a killed pg_dump, full disks, a slow store."""

import itertools
import os
import random
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ocore_crds.stored.manifest import StoredObject
from ocore_mover.database import programs
from ocore_mover.database.dump import drain, follow
from ocore_mover.deadline import Token
from ocore_mover.errors import Cancelled, MoverError
from ocore_mover.report import Counter
from ocore_mover.store import Store
from ocore_mover.store.interface import abort_uploads
from support.mover.disk import Peak
from support.mover.dumps import FarStore, bring_back, take
from support.mover.postgres_majors import Server
from support.mover.site import Site, make_site

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def wide17(server17: Server, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A database of 60 MB that does not compress: several steps for every file."""
    made = make_site(server17, tmp_path_factory.mktemp("wide"))
    fill_wide(made)
    return made


@pytest.fixture(scope="module")
def wide15(server15: Server, tmp_path_factory: pytest.TempPathFactory) -> Site:
    made = make_site(server15, tmp_path_factory.mktemp("wide"))
    fill_wide(made)
    return made


def fill_wide(site: Site) -> None:
    for table in ("a", "b"):
        site.sql(
            f"CREATE TABLE wide_{table} AS SELECT i, (SELECT string_agg(md5(random()::text || i || j), '')"
            " FROM generate_series(1, 60) j) AS text FROM generate_series(1, 16000) i"
        )


@pytest.fixture
def wide(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Site:
    site: Site = request.getfixturevalue(request.param)
    monkeypatch.setenv("OCORE_PG_BIN", str(site.server.bin))
    return site


both = pytest.mark.parametrize("wide", ["wide15", "wide17"], indirect=True)
newer = pytest.mark.parametrize("wide", ["wide17"], indirect=True)


class SlowStore(FarStore):
    """Takes `delay` seconds for every 8 MiB step, so that the dump is faster."""

    delay = 0.02
    #: Called before a step is written.
    before_step: Callable[[], object] = staticmethod(lambda: None)

    def writer(self, key: str):  # type: ignore[no-untyped-def]
        inner = super().writer(key)
        write, delay, before = inner.write, self.delay, self.before_step

        def slow(data: bytes) -> None:
            before()
            time.sleep(delay)
            write(data)

        inner.write = slow  # type: ignore[method-assign]
        return inner


@both
def test_scratch_is_given_back_and_the_bytes_are_the_same(
    wide: Site, store: Store, scratch: Path, counter: Counter, token: Token, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How much lies there in between depends on who is faster; what has been stored must take no space any more."""
    left: dict[str, int] = {}
    close = follow.Follower.close

    def noted(self: follow.Follower) -> None:
        left[self.path.name] = self.path.stat().st_blocks * 512
        close(self)

    monkeypatch.setattr(follow.Follower, "close", noted)
    found = take(wide, FarStore(store, token), scratch, counter, token)
    assert list(scratch.iterdir()) == []
    assert found.raw_bytes > 20 * MIB
    assert sum(left.values()) < MIB, f"holes are missing: {left}"
    before = wide.sql("SELECT md5(string_agg(text, '' ORDER BY i)) FROM wide_a")
    bring_back(wide, found, store, scratch, counter, token)
    assert wide.copy_sql("SELECT md5(string_agg(text, '' ORDER BY i)) FROM wide_a") == before


@pytest.fixture
def little_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """The dump is at most 10 MiB ahead of the store, so it lasts as long as the store needs for the rest."""
    monkeypatch.setattr(drain, "HIGH", 10 * MIB)
    monkeypatch.setattr(drain, "LOW", 4 * MIB)


@both
@pytest.mark.usefixtures("little_on_the_way")
def test_a_slow_store_stops_the_dump(
    wide: Site, store: Store, scratch: Path, counter: Counter, token: Token, monkeypatch: pytest.MonkeyPatch
) -> None:
    paused = []
    pause = programs.Running.pause
    monkeypatch.setattr(programs.Running, "pause", lambda self: (paused.append(1), pause(self)))
    slow = SlowStore(store, token)
    slow.delay = 0.15
    with Peak(scratch) as peak:
        found = take(wide, slow, scratch, counter, token)
    assert paused, "the dump was never stopped"
    # What is on the way never exceeds the limit by more than what pg_dump writes between two looks.
    assert peak.bytes < 0.8 * found.raw_bytes


def size(path: Path) -> int:
    """Bytes, holes included; 0 where it is gone by now."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


@pytest.mark.parametrize("jobs", [1, 2])
def test_row_132_a_table_that_row_security_hides_is_dumped_once(
    site_any: Site, store: Store, scratch: Path, counter: Counter, token: Token, jobs: int
) -> None:
    """The server refuses it again, whether pg_dump itself or a worker of it asks."""
    site_any.sql(
        "CREATE TABLE t (a int); ALTER TABLE t ENABLE ROW LEVEL SECURITY; ALTER TABLE t FORCE ROW LEVEL SECURITY"
    )
    with pytest.raises(MoverError, match="row-level security") as raised:
        take(site_any, store, scratch, counter, token, jobs=jobs)
    assert (raised.value.reason, raised.value.retryable) == ("DumpFailed", False)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.usefixtures("little_on_the_way")
@newer
def test_row_10_a_killed_pg_dump_fails(
    wide: Site, store: Store, scratch: Path, counter: Counter, token: Token, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As soon as a random part is written, the leader or one of its workers: never by time, which is over too soon on a
    fast machine.

    The store takes nothing from then on until the process is killed: pg_dump stops, and cannot be over before.
    """
    threshold = random.Random(seed).randint(1, 12 * MIB)  # noqa: S311
    start, killed = programs.Running.__init__, threading.Event()

    def written() -> int:
        return sum(size(path) for path in scratch.rglob("*.dat*"))

    def killing(self: programs.Running, *args: object, **kwargs: object) -> None:
        start(self, *args, **kwargs)  # type: ignore[arg-type]
        victim = self.process.pid
        worker = seed % 2 == 1

        def kill() -> None:
            until = time.monotonic() + 30
            while written() < threshold and time.monotonic() < until:
                time.sleep(0.001)
            pid = victim
            if worker:
                found = subprocess.run(["pgrep", "-P", str(victim)], capture_output=True, text=True, check=False)
                pid = int(found.stdout.split()[-1]) if found.stdout else victim
            os.kill(pid, 9)
            killed.set()

        threading.Thread(target=kill, daemon=True).start()

    monkeypatch.setattr(programs.Running, "__init__", killing)
    slow = SlowStore(store, token)
    slow.before_step = lambda: killed.wait(60) if written() >= threshold else None
    with pytest.raises(MoverError) as raised:
        take(wide, slow, scratch, counter, token)
    assert killed.is_set()
    assert raised.value.reason == "DumpFailed"
    assert "SIGKILL" in raised.value.message or "worker process died" in raised.value.message
    assert raised.value.retryable
    assert list(scratch.iterdir()) == []


@both
def test_ended_in_the_middle(wide: Site, store: Store, scratch: Path, counter: Counter) -> None:
    token = Token(120)
    slow = SlowStore(store, token)
    slow.delay = 0.3
    steps = itertools.count(1)
    slow.before_step = lambda: token.cancel() if next(steps) == 3 else None
    since = time.monotonic()
    with pytest.raises(Cancelled) as raised:
        take(wide, slow, scratch, counter, token)
    assert raised.value.reason == "Cancelled"
    assert time.monotonic() - since < 60
    assert list(scratch.iterdir()) == []
    assert abort_uploads(store, "") == 0, "partial objects"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of 24 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("cannot mount a tmpfs here")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@both
def test_scratch_full(wide: Site, store: Store, small_disk: Path, counter: Counter, token: Token) -> None:
    slow = SlowStore(store, token)
    slow.delay = 0.5
    with pytest.raises(MoverError) as raised:
        take(wide, slow, small_disk, counter, token)
    assert raised.value.reason == "ScratchFull"
    assert "spec.scratch.size" in raised.value.message
    assert list(small_disk.iterdir()) == []


@newer
def test_store_volume_full(wide: Site, small_disk: Path, scratch: Path, counter: Counter, token: Token) -> None:
    from ocore_mover.store import open_store

    with pytest.raises(MoverError) as raised:
        take(wide, open_store(small_disk.as_uri()), scratch, counter, token)
    assert raised.value.reason == "NoSpace"
    assert not list(small_disk.rglob("*.dat*"))


@both
def test_too_little_scratch_for_a_restore(
    wide: Site, store: Store, scratch: Path, small_disk: Path, counter: Counter, token: Token
) -> None:
    found = take(wide, FarStore(store, token), scratch, counter, token)
    with pytest.raises(MoverError) as raised:
        bring_back(wide, found, FarStore(store, token), small_disk, counter, token)
    assert raised.value.reason == "ScratchFull"
    assert wide.names.restored not in wide.databases()


@pytest.mark.parametrize("position", [0.0, 0.5, 1.0])
@both
def test_a_flipped_bit_is_found_before_anything_is_created(
    wide: Site, store: Store, scratch: Path, counter: Counter, token: Token, position: float
) -> None:
    found = take(wide, store, scratch, counter, token)
    victim = max(found.files, key=lambda obj: obj.size)
    flip(store, victim, position)
    for somewhere in (store, FarStore(store, token)):
        with pytest.raises(MoverError) as raised:
            bring_back(wide, found, somewhere, scratch, counter, token)
        assert raised.value.reason == "Corrupt"
        assert victim.key in raised.value.message
    assert wide.names.restored not in wide.databases()
    assert list(scratch.iterdir()) == []


def flip(store: Store, obj: StoredObject, position: float) -> None:
    assert store.local_root is not None
    path = store.local_root / obj.key
    path.chmod(0o644)
    with path.open("rb+") as file:
        file.seek(int(position * (obj.size - 1)))
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 0x10]))
