"""An application as Odoo is one: attachments in files named by their SHA-1, rows that name them, garbage collection."""

import hashlib
import random
import threading
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from support.mover.site import Site

TABLE = "CREATE TABLE IF NOT EXISTS ir_attachment (id serial PRIMARY KEY, name text, store_fname text, file_size int)"


@dataclass
class Application:
    """Writes attachments into a site's database and a folder on a claim."""

    site: Site
    claim: Path
    path: str = "odoo/filestore/live"
    generator: random.Random = field(default_factory=lambda: random.Random(1))  # noqa: S311

    def __post_init__(self) -> None:
        self.filestore.mkdir(parents=True, exist_ok=True)
        self.site.sql(TABLE)

    @property
    def filestore(self) -> Path:
        return self.claim / self.path

    def connect(self) -> psycopg.Connection[tuple[object, ...]]:
        return self.site.server.connect(self.site.live, self.site.role.name, self.site.role.password)

    def write(self, connection: psycopg.Connection[tuple[object, ...]], name: str, content: bytes) -> str:
        """File in place, its name in the checklist, then the row committed: Odoo's order."""
        digest = hashlib.sha1(content).hexdigest()  # noqa: S324 - the format's
        fname = f"{digest[:2]}/{digest}"
        with connection.transaction():
            connection.execute(
                "INSERT INTO ir_attachment (name, store_fname, file_size) VALUES (%s, %s, %s)",
                [name, fname, len(content)],
            )
            path = self.filestore / fname
            path.parent.mkdir(exist_ok=True)
            if not path.exists():
                path.write_bytes(content)
            checklist = self.filestore / "checklist" / fname
            checklist.parent.mkdir(parents=True, exist_ok=True)
            checklist.touch()
        return fname

    def write_many(self, count: int) -> list[str]:
        """Attachments of 1 to 3000 random bytes."""
        with self.connect() as connection:
            return [
                self.write(connection, f"file {i}", self.generator.randbytes(self.generator.randrange(1, 3000)))
                for i in range(count)
            ]

    def collect_garbage(self, connection: psycopg.Connection[tuple[object, ...]]) -> int:
        """As Odoo's: under a SHARE lock, unlinks the files of the checklist that no row names."""
        removed = 0
        with connection.transaction():
            connection.execute("SET LOCAL lock_timeout = '10s'")
            connection.execute("LOCK ir_attachment IN SHARE MODE")
            for path in [p for p in (self.filestore / "checklist").rglob("*") if p.is_file()]:
                fname = f"{path.parent.name}/{path.name}"
                found = connection.execute("SELECT 1 FROM ir_attachment WHERE store_fname = %s", [fname]).fetchone()
                if found is None:
                    (self.filestore / fname).unlink(missing_ok=True)
                    removed += 1
                path.unlink(missing_ok=True)
        return removed

    def delete_some(self, connection: psycopg.Connection[tuple[object, ...]], count: int) -> None:
        """Deletes rows; what they name goes into the checklist."""
        with connection.transaction():
            found = connection.execute(
                "DELETE FROM ir_attachment WHERE id IN (SELECT id FROM ir_attachment ORDER BY random() LIMIT %s)"
                " RETURNING store_fname",
                [count],
            ).fetchall()
            for (fname,) in found:
                checklist = self.filestore / "checklist" / str(fname)
                checklist.parent.mkdir(parents=True, exist_ok=True)
                checklist.touch()

    def missing(self, database: str = "") -> list[str]:
        """Attachments of a database whose file is not there or not right."""
        wrong = []
        for (fname,) in self.site.sql(
            "SELECT DISTINCT store_fname FROM ir_attachment WHERE store_fname ~ '^../'", database
        ):
            path = self.filestore / str(fname)
            if not path.is_file() or hashlib.sha1(path.read_bytes()).hexdigest() != path.name:  # noqa: S324
                wrong.append(str(fname))
        return wrong

    def load(self, stop: threading.Event, seed: int) -> None:
        """Writes, deletes and collects garbage until it is stopped."""
        generator = random.Random(seed)  # noqa: S311
        with self.connect() as connection:
            while not stop.is_set():
                for _ in range(generator.randrange(1, 10)):
                    self.write(connection, "load", generator.randbytes(generator.randrange(1, 20_000)))
                self.delete_some(connection, generator.randrange(1, 8))
                if generator.random() < 0.3:
                    self.collect_garbage(connection)
