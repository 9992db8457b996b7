"""Owners and grants inside the restored database: one statement at a time, what cannot be applied is a warning."""

import re
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

import psycopg
from psycopg import sql

from ocore_crds import conditions
from ocore_mover import settings
from ocore_mover.database import toc
from ocore_mover.database.connect import Connection
from ocore_mover.database.programs import Program
from ocore_mover.errors import MoverError

_APPLIED = ("GRANT ", "REVOKE ", "ALTER DEFAULT PRIVILEGES ", "COMMENT ON ", "CREATE EXTENSION ")


def statements(program: Program, folder: Path, entries: Iterable[toc.Entry], work: Path) -> Iterator[str]:
    """The SQL of these entries (grants, comments, extensions), as pg_restore writes it; `work` is a file for its list."""
    chosen = toc.write_list(work, entries)
    done = subprocess.run(
        [program.path, "--file=-", f"--use-list={chosen}", str(folder)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env=settings.program_environment(),
    )
    if done.returncode != 0:
        raise MoverError(conditions.RESTORE_FAILED, f"pg_restore cannot write the grants: {done.stderr.strip()[-500:]}")
    for statement in split(done.stdout):
        if statement.startswith(_APPLIED):
            yield statement


def split(text: str) -> Iterator[str]:
    """Statements of a script that has quoted names and strings and no function bodies; comments and psql's commands left out."""
    lines = re.sub(r"^(--.*|\\.*)$", "", text, flags=re.MULTILINE)
    # A quoted name or string may hold semicolons and line breaks; a doubled quote in it just begins the next piece.
    for match in re.finditer(r"(?:[^;\"']|\"[^\"]*\"|'[^']*')+", lines):
        statement = match[0].strip()
        if statement:
            yield statement


def apply(connection: Connection, found: Iterable[str], *, role: str | None = None) -> list[str]:
    """Runs each in a savepoint, as `role` where one is given; returns the warnings."""
    warnings: list[str] = []
    with connection.transaction():
        if role is not None:
            connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role)))
        for statement in found:
            try:
                with connection.transaction():
                    connection.execute(statement.encode())
            except (psycopg.OperationalError, psycopg.InterfaceError):
                raise
            except psycopg.Error as error:
                said = error.diag.message_primary or str(error)
                warnings.append(f"skipped ({said}): {' '.join(statement.split())}")
    return warnings


#: Objects of the live database that belong to another role than the database's owner → what gives them to it. Sequences and
#: indexes follow their table, row types their relation, extensions' members their extension.
_OWNERS = """
WITH d AS (SELECT datdba FROM pg_database WHERE datname = current_database()),
members AS (SELECT classid, objid FROM pg_depend WHERE deptype = 'e')
SELECT format('ALTER %s %s OWNER TO %I',
    CASE relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW'
      WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END, c.oid::regclass, pg_get_userbyid(relowner))
  FROM pg_class c, d WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.oid >= 16384 AND relowner <> datdba
   AND relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_')
   AND NOT EXISTS (SELECT FROM pg_depend o WHERE o.classid = 'pg_class'::regclass AND o.objid = c.oid
     AND c.relkind = 'S' AND o.deptype IN ('a', 'i'))
   AND NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_class'::regclass AND m.objid = c.oid)
UNION ALL
SELECT format('ALTER ROUTINE %s OWNER TO %I', p.oid::regprocedure, pg_get_userbyid(proowner))
  FROM pg_proc p, d WHERE p.oid >= 16384 AND proowner <> datdba AND prokind <> 'a'
   AND NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_proc'::regclass AND m.objid = p.oid)
UNION ALL
SELECT format('ALTER TYPE %s OWNER TO %I', t.oid::regtype, pg_get_userbyid(typowner))
  FROM pg_type t, d WHERE t.oid >= 16384 AND typowner <> datdba AND typtype IN ('e', 'd', 'r')
   AND NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_type'::regclass AND m.objid = t.oid)
UNION ALL
SELECT format('ALTER SCHEMA %I OWNER TO %I', nspname, pg_get_userbyid(nspowner))
  FROM pg_namespace n, d WHERE n.oid >= 16384 AND nspowner <> datdba AND nspname !~ '^pg_'
   AND NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_namespace'::regclass AND m.objid = n.oid)
"""


def owners(live: Connection) -> list[str]:
    """Statements that give the live database's other owners their objects in a copy of it."""
    live.execute("SELECT set_config('search_path', '', false)")
    return [row[0] for row in live.execute(_OWNERS.encode())]
