"""What belongs to a database and is not in its dump."""

from typing import Any

from support.mover.postgres_majors import Server

#: What belongs to a database and is not in its dump.
PROPERTIES = """
SELECT pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype, {provider}, {locale}, {rules},
       datconnlimit, spcname, shobj_description(d.oid, 'pg_database'),
       ARRAY(SELECT a::text FROM unnest(coalesce(datacl, acldefault('d', datdba))) a ORDER BY 1),
       ARRAY(SELECT coalesce(rolname::text, '') || ':' || c
               FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole, unnest(setconfig) c
              WHERE s.setdatabase = d.oid ORDER BY 1)
  FROM pg_database d JOIN pg_tablespace t ON t.oid = dattablespace WHERE datname = '{name}'
"""
COMMENT = 9  # its column


def properties(server: Server, name: str) -> tuple[Any, ...]:
    """As one row; the comment without our lines."""
    query = PROPERTIES.format(
        name=name,
        provider="datlocprovider",
        locale="datlocale" if server.major >= 17 else "daticulocale",
        rules="daticurules" if server.major >= 16 else "''",
    )
    (row,) = server.execute(query)
    lines = (row[COMMENT] or "").split("\n")
    own = "\n".join(line for line in lines if not line.startswith("ocore."))
    return (*row[:COMMENT], own, *row[COMMENT + 1 :])
