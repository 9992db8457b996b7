"""The scratch databases of an environment: ``prove`` restores the schema of the live one into its own, ``test-restore``
a snapshot into another, ``extract`` tables into one of its own."""

import psycopg
from psycopg import sql

from ocore_crds import naming
from ocore_mover.database.connect import Connection, Server, connect, connect_maintenance
from ocore_mover.database.position import Names
from ocore_mover.database.restore.restore import drop_restored
from ocore_mover.deadline import Token

APPLICATION = "ocore-prove"


class ScratchNames(Names):
    """As for a rollback whose id is that of the environment; only the copy has another name."""

    @property
    def restored(self) -> str:
        """The scratch database."""
        return naming.proof_database(self.live, self.rollback_id)


class RestoreTestNames(Names):
    """As for a rollback; only the copy has another name. The id is of no rollback: temporary roles of one are never
    those of the other."""

    @classmethod
    def of(cls, live: str, environment_id: str) -> "RestoreTestNames":
        """For the test restores of this environment, beside the database `live`."""
        return cls(live, naming.restore_test_id(environment_id))

    @property
    def restored(self) -> str:
        """The scratch database."""
        return naming.restore_test_database(self.live, self.rollback_id)


class ExtractNames(Names):
    """As for a rollback whose id is that of the Extract; only the copy has another name."""

    @property
    def restored(self) -> str:
        """The scratch database."""
        return naming.extract_database(self.live, self.rollback_id)


def drop_all(maintenance: Connection, live: str, environment_id: str) -> tuple[str, ...]:
    """Drops both scratch databases of the environment on its own server, and their temporary roles, whatever still runs
    in them: a rollback goes first. Returns the names of those that existed.

    Raises MoverError as :func:`~.restore.drop_restored`.
    """
    both = (ScratchNames(live, environment_id), RestoreTestNames.of(live, environment_id))
    found = [drop_restored(maintenance, names).restored for names in both]
    return tuple(each.name for each in found if each is not None)


def drop_named(server: Server, names: Names, token: Token | None = None) -> tuple[str, ...]:
    """The same for the scratch database of these names, wherever it is."""
    with connect_maintenance(server, application=APPLICATION, token=token) as maintenance:
        now = drop_restored(maintenance, names)
    return (now.restored.name,) if now.restored is not None else ()


#: Functions of that name whose body is parsed where they are used, without a search_path of their own.
_INLINED = """
SELECT p.oid::pg_catalog.regprocedure::text
  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang
 WHERE p.proname = ANY(%(names)s) AND p.oid >= 16384 AND l.lanname = 'sql' AND p.prosqlbody IS NULL
   AND NOT EXISTS (SELECT FROM pg_catalog.unnest(p.proconfig) s(setting)
                    WHERE pg_catalog.starts_with(setting, 'search_path='))
 ORDER BY 1
"""


def without_search_path(server: Server, names: list[str]) -> list[str]:
    """Functions of the live database that depend on its search_path; none where they cannot be read."""
    try:
        with connect(server.app, application=APPLICATION) as live, live.transaction():
            live.execute(sql.SQL("SET LOCAL search_path = pg_catalog"))
            found = live.execute(_INLINED.encode(), {"names": names}).fetchall()
    except psycopg.Error:
        return []
    return [name for (name,) in found]
