"""Owner, connection limit and grants of a database: what neither its name nor a dump of it has."""

import json
from dataclasses import dataclass

from ocore_crds import conditions
from ocore_mover.database.connect import Connection
from ocore_mover.errors import MoverError


@dataclass(frozen=True)
class Grant:
    """One privilege on a database."""

    role: str | None  # None: PUBLIC
    privilege: str
    grantable: bool


@dataclass(frozen=True)
class Rights:
    """What a database's name does not say."""

    owner: str
    connection_limit: int
    grants: tuple[Grant, ...]

    def text(self) -> str:
        """One line, for the mark in a comment."""
        grants = [[grant.role, grant.privilege, grant.grantable] for grant in self.grants]
        return json.dumps({"owner": self.owner, "limit": self.connection_limit, "grants": grants})

    @classmethod
    def parse(cls, text: str) -> "Rights | None":
        """From :meth:`text`; None where it is not valid."""
        try:
            found = json.loads(text)
            grants = tuple(Grant(role, str(privilege), bool(option)) for role, privilege, option in found["grants"])
            return cls(str(found["owner"]), int(found["limit"]), grants)
        except (ValueError, TypeError, KeyError):
            return None


def read_rights(connection: Connection, database: str) -> Rights:
    """The rights on a database; PostgreSQL's defaults where it has none of its own. Raises MoverError
    DatabaseNotFound."""
    row = connection.execute(
        "SELECT pg_get_userbyid(datdba), datconnlimit FROM pg_database WHERE datname = %s", [database]
    ).fetchone()
    if row is None:
        raise MoverError(
            conditions.DATABASE_NOT_FOUND, f"database {database} does not exist; check dbname in the Secret"
        )
    found = connection.execute(
        "SELECT r.rolname::text, a.privilege_type, a.is_grantable FROM pg_database d,"
        " aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a LEFT JOIN pg_roles r ON r.oid = a.grantee"
        " WHERE d.datname = %s AND (a.grantee = 0 OR r.oid IS NOT NULL) ORDER BY 1, 2",
        [database],
    ).fetchall()
    return Rights(row[0], row[1], tuple(Grant(*grant) for grant in found))
