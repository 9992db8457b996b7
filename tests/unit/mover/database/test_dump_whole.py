"""A dump is stored whole or not at all: a pg_dump that lies about its end, a file that grows late, a transaction that
is lost."""

import os
import sys
from pathlib import Path

import pytest

from ocore_crds import conditions
from ocore_crds.stored.manifest import StoredObject
from ocore_mover.database.dump import export
from ocore_mover.database.dump.drain import Drain
from ocore_mover.database.dump.follow import Sink
from ocore_mover.database.programs import Running
from ocore_mover.deadline import Token
from ocore_mover.errors import MoverError
from ocore_mover.report import Counter
from ocore_mover.store import Store
from support.mover.dumps import take
from support.mover.site import Site

#: The real pg_dump writes into another folder; what it wrote is damaged and then handed over. It ends with 0.
PG_DUMP = """#!/bin/bash
set -e
arguments=()
for argument in "$@"; do
  case $argument in --file=*) target=${{argument#--file=}} ;; *) arguments+=("$argument") ;; esac
done
[ -n "$target" ] || exec {real}/pg_dump "$@"
rm -rf {spool} # of the call that asks whether it knows zstd
{real}/pg_dump "${{arguments[@]}}" --file={spool}
cd {spool}
{damage}
cp * "$target"
"""


def lying_pg_dump(site: Site, folder: Path, damage: str) -> Path:
    """A folder with a pg_dump that damages its output."""
    programs = folder / "bin"
    programs.mkdir()
    (programs / "pg_restore").symlink_to(site.server.bin / "pg_restore")
    script = PG_DUMP.format(real=site.server.bin, spool=folder / "spool", damage=damage)
    # Written by another name and renamed: a program that is open for writing cannot be started.
    (programs / "new").write_text(script)
    (programs / "new").chmod(0o755)
    (programs / "new").rename(programs / "pg_dump")
    return programs


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ("rm $(ls | grep -v toc.dat | head -n 1)", "1 data files are missing in the dump: TABLE DATA"),
        ("rm toc.dat", "pg_dump wrote no table of contents"),
        ("truncate -s 300 toc.dat", ""),
    ],
    ids=["no data file", "no table of contents", "half a table of contents"],
)
def test_a_pg_dump_that_ends_well_without_all_its_files(
    site_any: Site, store: Store, scratch: Path, counter: Counter, token: Token, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, damage: str, says: str,
) -> None:  # fmt: skip
    site_any.sql("CREATE TABLE a AS SELECT 1 AS x; CREATE TABLE b AS SELECT 2 AS x")
    monkeypatch.setenv("OCORE_PG_BIN", str(lying_pg_dump(site_any, tmp_path, damage)))
    with pytest.raises(MoverError) as raised:
        take(site_any, store, scratch, counter, token)
    assert raised.value.reason in (conditions.DUMP_FAILED, conditions.CORRUPT)
    assert says in raised.value.message
    assert list(scratch.iterdir()) == []


def test_the_lying_pg_dump_is_honest_without_damage(
    site_any: Site, store: Store, scratch: Path, counter: Counter, token: Token, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    site_any.sql("CREATE TABLE a AS SELECT 1 AS x; CREATE TABLE b AS SELECT 2 AS x")
    monkeypatch.setenv("OCORE_PG_BIN", str(lying_pg_dump(site_any, tmp_path, "true")))
    assert len(take(site_any, store, scratch, counter, token).files) == 3


#: Closes a file, waits until it is stored, and writes some more.
WRITER = """
import sys, time
from pathlib import Path
path, stored, more = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
path.write_text("rows")
until = time.monotonic() + 30
while not stored.exists() and time.monotonic() < until:
    time.sleep(0.01)
with path.open("a") as file:
    file.write(more)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "dumped"
    made.mkdir()
    return made


class Watched:
    """An upload that leaves a note where its object is stored."""

    def __init__(self, inner: Sink, note: Path) -> None:
        self._inner = inner
        self._note = note
        self.write, self.abort = inner.write, inner.abort

    def commit(self) -> StoredObject:
        stored = self._inner.commit()
        self._note.touch()
        return stored


@pytest.mark.parametrize("more", ["", "later rows"])
def test_a_file_that_grows_after_it_was_stored(
    store: Store, folder: Path, token: Token, tmp_path: Path, more: str
) -> None:
    note = tmp_path / "stored"
    drain = Drain(folder, lambda name: Watched(store.writer(name), note), punch=False)
    running = Running(
        [sys.executable, "-c", WRITER, str(folder / "1.dat"), str(note), more], environment=dict(os.environ)
    )
    try:
        if more:
            with pytest.raises(RuntimeError, match=r"1\.dat has 14 bytes, of which 4 were stored"):
                drain.run(running, token, lambda: None)
        else:
            assert drain.run(running, token, lambda: None) == 0
            assert drain.stored["1.dat"].size == 4
    finally:
        running.close()
    assert note.exists()


def test_a_lost_transaction_is_found_at_the_end_of_the_dump(site_any: Site, token: Token) -> None:
    """Its names were read in that transaction. pg_dump has its own, so it does not notice."""
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s AND datname = %s"
    with pytest.raises(MoverError) as raised, export.export(
        site_any.target, token
    ), site_any.server.connect() as superuser:  # fmt: skip
        assert superuser.execute(end, [export.APPLICATION, site_any.live]).fetchall() == [(True,)]
    assert (raised.value.reason, raised.value.retryable) == (conditions.DATABASE_UNREACHABLE, True)
    assert "ending the snapshot's transaction" in raised.value.message
