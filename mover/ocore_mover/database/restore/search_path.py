"""The application's search_path for functions that are called while the dump is loaded.

pg_restore loads with an empty search_path. A function that finds its names by the search_path of the database or of the
role then fails in a CHECK, an index or a materialized view. Within the load such functions have that search_path as a
setting of their own.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from ocore_mover.database.connect import Connection, Server, value
from ocore_mover.database.copy_access import CopyAccess, application_search_path
from ocore_mover.deadline import Token

APPLICATION = "ocore-restore"
#: Names in a body of the SQL standard are bound when it is created. Functions of extensions belong to other roles.
_FUNCTIONS = """
SELECT pg_catalog.array_agg(p.oid::bigint) FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang
 WHERE p.oid >= 16384 AND p.prokind = 'f' AND p.prosqlbody IS NULL AND l.lanname NOT IN ('c', 'internal')
   AND p.prorettype NOT IN ('pg_catalog.trigger'::pg_catalog.regtype, 'pg_catalog.event_trigger'::pg_catalog.regtype)
   AND NOT EXISTS (SELECT FROM pg_catalog.unnest(p.proconfig) s(setting)
                    WHERE pg_catalog.starts_with(setting, 'search_path='))
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                    WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid
                      AND d.deptype = 'e')
"""
_ALTER = """
DO $ocore$ DECLARE f oid; BEGIN
  FOREACH f IN ARRAY pg_catalog.string_to_array(pg_catalog.current_setting('ocore.functions'), ',')::oid[] LOOP
    EXECUTE pg_catalog.format('ALTER FUNCTION %s {} search_path {}', f::pg_catalog.regprocedure);
  END LOOP;
END $ocore$
"""


@contextmanager
def given(server: Server, access: CopyAccess, token: Token) -> Iterator[None]:
    """Gives the functions of the copy the live database's search_path within the block; their definition is as dumped
    again after it."""
    path = application_search_path(server, access, token)
    with access.connect(application=APPLICATION, token=token) as session:
        functions: list[int] = value(session, _FUNCTIONS) or []
        _alter(session, functions, path, "SET", "FROM CURRENT")
    yield
    with access.connect(application=APPLICATION, token=token) as session:
        _alter(session, functions, path, "RESET", "")


def _alter(session: Connection, functions: list[int], path: str, verb: str, value: str) -> None:
    if not functions:
        return
    with session.transaction():
        session.execute(
            "SELECT pg_catalog.set_config('search_path', %s, true), pg_catalog.set_config('ocore.functions', %s, true)",
            [path, ",".join(map(str, functions))],
        )
        session.execute(_ALTER.format(verb, value).encode())
