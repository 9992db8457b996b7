"""A PostgreSQL server of a test's own: Debian's binaries, a folder that is removed, a free port on loopback."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

PASSWORD = "only-for-tests"
ROLE = "shop"


def binaries() -> Path:
    """The folder of initdb and postgres, of the newest major version that is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[4]))
    if not found:
        raise RuntimeError("no PostgreSQL server is installed: run `make deps` (apt-get install postgresql)")
    return found[-1].parent


class PrivatePostgres:
    """A running server; its superuser is `postgres`, the role `shop` owns what the tests make and is none."""

    def __init__(self, port: int, bin_folder: Path) -> None:
        self.port = port
        self.bin = bin_folder

    def parameters(self, database: str, role: str = ROLE) -> dict[str, str]:
        """Keys and values as a database's Secret has them."""
        return {
            "host": "127.0.0.1",
            "port": str(self.port),
            "dbname": database,
            "user": role,
            "password": PASSWORD,
        }

    def connect(self, database: str = "postgres", role: str = "postgres") -> psycopg.Connection[Any]:
        """A connection in autocommit."""
        return psycopg.connect(**self.parameters(database, role), autocommit=True, connect_timeout=5)  # type: ignore[arg-type]

    def create_database(self, name: str) -> None:
        """A database that `shop` owns."""
        with self.connect() as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(ROLE))
            )

    def drop_database(self, name: str) -> None:
        """Whoever is connected."""
        with self.connect() as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def tool(self, *arguments: str, database: str) -> None:
        """Runs pg_dump or pg_restore as `shop`."""
        values = self.parameters(database)
        env = {
            **os.environ,
            "PGHOST": values["host"],
            "PGPORT": values["port"],
            "PGUSER": values["user"],
            "PGPASSWORD": values["password"],
            "PGDATABASE": values["dbname"],
        }
        done = subprocess.run(
            [str(self.bin / arguments[0]), *arguments[1:]],
            env=env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def private_postgres(*settings: str) -> Iterator[PrivatePostgres]:
    """The server, for the block. `settings` are such as ``max_connections=50``."""
    bin_folder = binaries()
    # Not pytest's tmp_path: the server runs as another user, who may not enter it.
    base = Path(tempfile.mkdtemp(prefix="ocore-pg-"))
    user = _server_user()
    try:
        if user is not None:
            os.chown(base, user, -1)
        data = base / "data"
        password = base / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        _run(
            [bin_folder / "initdb", "-D", data, "-U", "postgres", "--pwfile", password, "-A", "scram-sha-256",
             "-E", "UTF8", "--locale", "C.UTF-8", "--no-sync"],
            user,
        )  # fmt: skip
        port = _free_port()
        options = [f"-c {s}" for s in ("fsync=off", "listen_addresses=127.0.0.1", f"port={port}", *settings)]
        options.append(f"-c unix_socket_directories={base}")
        _run(
            [bin_folder / "pg_ctl", "-D", data, "-l", base / "log", "-o", " ".join(options), "-w", "-t", "60", "start"],
            user,
        )
        server = PrivatePostgres(port, bin_folder)
        try:
            with server.connect() as connection:
                connection.execute(
                    sql.SQL("CREATE ROLE {} LOGIN NOSUPERUSER CREATEDB PASSWORD {}").format(
                        sql.Identifier(ROLE), sql.Literal(PASSWORD)
                    )
                )
            yield server
        finally:
            _run([bin_folder / "pg_ctl", "-D", data, "-m", "immediate", "-w", "-t", "30", "stop"], user)
    finally:
        shutil.rmtree(base, ignore_errors=True)


def _server_user() -> int | None:
    """PostgreSQL refuses to run as root: its package's own user then, else whoever we are."""
    return pwd.getpwnam("postgres").pw_uid if os.geteuid() == 0 else None


def _run(command: Sequence[str | Path], user: int | None) -> None:
    done = subprocess.run(
        [str(c) for c in command],
        user=user,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=90,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]}: {done.stdout}")
