"""What the server must have before a dump is fetched: the dump's roles, tablespaces, locales and collations.

Only the table of contents is read, which is small. Without this a restore finds out after hours of loading.
"""

import tempfile
from collections.abc import Iterable
from pathlib import Path

from ocore_crds import conditions
from ocore_crds.stored.manifest import DatabaseArtifact
from ocore_crds.text.sentences import shown
from ocore_mover.database import toc
from ocore_mover.database.connect import Connection, Server, value
from ocore_mover.database.restore import fetch, locales, owners
from ocore_mover.errors import MoverError
from ocore_mover.store.interface import Store

_EXAMPLES = 3


def check(connection: Connection, store: Store, artifact: DatabaseArtifact, server: Server) -> None:
    """Raises MoverError MissingGrants, UnsupportedServer with what the server lacks and the statement that adds it;
    Corrupt.

    `connection` is to the maintenance database.
    """
    with tempfile.TemporaryDirectory(prefix="ocore-toc-") as folder:
        contents = fetch.table_of_contents(store, artifact, Path(folder))
        locales.check(connection, artifact, contents)
        owner = _owner(connection, server)
        owners.check(connection, contents, owner)
        _check_tablespaces(connection, contents, owner)


def _owner(connection: Connection, server: Server) -> str:
    """The role that the restored objects will belong to: the live database's owner; where it does not exist, the
    application's role."""
    query = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s"
    return str(value(connection, query, [server.live]) or server.app.user)


def _check_tablespaces(connection: Connection, contents: Iterable[toc.Entry], owner: str) -> None:
    used: dict[str, list[str]] = {}
    for entry in contents:
        if entry.tablespace:
            examples = used.setdefault(entry.tablespace, [])
            if len(examples) < _EXAMPLES:
                examples.append(entry.name)
    usable: dict[str, bool] = dict(
        connection.execute(
            "SELECT spcname::text, has_tablespace_privilege(%s, oid, 'CREATE') FROM pg_tablespace WHERE spcname ="
            " ANY(%s)",
            [owner, list(used)],
        ).fetchall()
    )
    problems = []
    for name, examples in sorted(used.items()):
        objects = f"(of the snapshot, {', '.join(map(shown, examples))} uses it)"
        if name not in usable:
            problems.append(f"tablespace {shown(name)} does not exist {objects}: create it")
        elif not usable[name]:
            problems.append(
                f"{shown(owner)} may not use tablespace {shown(name)} {objects}: grant it CREATE on the tablespace"
            )
    if problems:
        raise MoverError(conditions.MISSING_GRANTS, "; ".join(problems))
