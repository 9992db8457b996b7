"""A person at a shell who takes a snapshot of a database and rolls back to it, with or without an administrator."""

import threading
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from support.mover.beside import ENVIRONMENT, Finished, call
from support.mover.postgres_majors import create_role, write_secret
from support.mover.site import Site

#: What Odoo runs without `db_name` to find the databases whose scheduled jobs it runs.
ODOO_LIST = (
    "SELECT datname FROM pg_database WHERE datdba = (SELECT usesysid FROM pg_user WHERE usename = current_user)"
    " AND NOT datistemplate AND datallowconn AND datname NOT IN ('postgres') ORDER BY datname"
)


@dataclass
class Shell:
    """Runs the mover's commands on a site's database; the store and the scratch folder are below `folder`."""

    site: Site
    folder: Path
    admin: Path | None = None  # a mounted Secret
    snapshot_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def __post_init__(self) -> None:
        for name in ("snapshots", "scratch"):
            (self.folder / name).mkdir(exist_ok=True)
        assert call("probe-store", "--store", self._store).code == 0

    @property
    def _store(self) -> str:
        return (self.folder / "snapshots").as_uri()

    def options(self) -> list[str]:
        admin = ["--admin", str(self.admin)] if self.admin is not None else []
        return ["--database", str(self.site.secret), *admin, "--environment-id", ENVIRONMENT]

    def run(self, name: str, *more: str) -> Finished:
        stored = ["--store", self._store, "--scratch", str(self.folder / "scratch"), "--snapshot-id", self.snapshot_id]
        rollback = ["--rollback-id", self.site.rollback_id]
        match name:
            case "snapshot":
                # The application's role dumps: a snapshot Job has no administrator.
                arguments = ["--database", str(self.site.secret), "--environment-id", ENVIRONMENT, *stored]
            case "probe":
                arguments = self.options()
            case "restore":
                arguments = [*self.options(), *stored, *rollback]
            case "preview":
                arguments = [*self.options(), *stored[:2], *stored[4:]]
            case "test-restore":
                arguments = [*self.options(), *stored]
            case "prove":
                arguments = [*self.options(), "--scratch", str(self.folder / "scratch")]
            case "verify":
                arguments = ["--store", self._store, "--environment-id", ENVIRONMENT, "--snapshot-id", self.snapshot_id]
            case _:
                arguments = [*self.options(), *rollback]
        return call(name, *arguments, *more)

    def ok(self, name: str, *more: str) -> Finished:
        done = self.run(name, *more)
        assert done.code == 0, done.stdout + done.stderr
        return done

    def warnings(self, done: Finished) -> list[str]:
        """Those in the evidence of a restore."""
        return list(done.result["payload"]["evidence"]["warnings"])


def superuser_secret(site: Site, folder: Path) -> Path:
    """The Secret of an administrator who is a superuser."""
    admin = create_role(site.server, f"root-{site.live}", "SUPERUSER")
    return write_secret(folder / "superuser", site.server, admin, "postgres")


def admin_secret(site: Site, folder: Path) -> Path:
    """The Secret of an administrator who is no superuser and has what the probe asks for."""
    admin = create_role(site.server, f"admin-{site.live}", "NOSUPERUSER CREATEDB CREATEROLE")
    option = " WITH ADMIN OPTION" if site.server.major >= 16 else ""
    site.server.execute(f'GRANT "{site.role.name}" TO "{admin.name}"{option}')
    return write_secret(folder / "admin", site.server, admin, "postgres")


class Intruder:
    """An application that connects, as fast as it can, to every database that it finds. A context manager.

    `listed`: finds them as Odoo does; else it tries every name that the server has.
    """

    def __init__(self, site: Site, *, listed: bool) -> None:
        self._site = site
        self._query = ODOO_LIST if listed else f"SELECT datname FROM pg_database WHERE datname LIKE '{site.live}%'"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.entered: set[str] = set()
        self.rounds = 0

    def __enter__(self) -> "Intruder":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        role = self._site.role
        while not self._stop.is_set():
            try:
                with self._site.server.connect("postgres", role.name, role.password) as connection:
                    names = [str(row[0]) for row in connection.execute(self._query.encode())]
            except psycopg.Error:
                continue
            for name in names:
                self._enter(name)
            self.rounds += 1

    def _enter(self, name: str) -> None:
        role = self._site.role
        try:
            with self._site.server.connect(name, role.name, role.password) as connection:
                row = connection.execute("SELECT current_database(), clock_timestamp()").fetchone()
        except psycopg.Error:
            return
        if row is not None:
            self.entered.add(str(row[0]))
