"""What gives a role what it lacks, for findings: SQL, or entries of ``spec.managed.roles`` of a CloudNativePG Cluster.

CloudNativePG sets all attributes and memberships of a managed role as its entry has them, and reverts SQL. So an entry
must be complete: it has what the role has now, and what is missing. An administrator gets SQL: as a managed role it
would lose its membership in the temporary role of a restore (copy_access.py).
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from ocore_crds import conditions
from ocore_crds.reports import Finding
from ocore_mover.database.connect import Connection, Server, membership_statement, quoted

#: Attribute in SQL → field of an entry. An attribute that an entry lacks is false, but for `inherit`.
_FIELDS = {
    "CREATEDB": "createdb",
    "REPLICATION": "replication",
    "BYPASSRLS": "bypassrls",
    "INHERIT": "inherit",
}
_PRESENT = """
SELECT r.rolname::text, r.rolcanlogin, r.rolcreatedb, r.rolcreaterole, r.rolreplication, r.rolbypassrls, r.rolinherit,
       r.rolconnlimit, to_char(r.rolvaliduntil AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
       pg_catalog.shobj_description(r.oid, 'pg_authid'),
       (SELECT coalesce(array_agg(DISTINCT g.rolname::text), '{}') FROM pg_auth_members m
          JOIN pg_roles g ON g.oid = m.roleid WHERE m.member = r.oid)
  FROM pg_roles r WHERE r.rolname = ANY(%s) ORDER BY 1
"""


@dataclass
class _Change:
    attributes: set[str] = field(default_factory=set)
    member_of: set[str] = field(default_factory=set)


class Remedies:
    """Writes what to do. With a Cluster it remembers the entries that the findings need."""

    def __init__(self, cluster: str = "", admin: str = "") -> None:
        self.cluster, self._admin = cluster, admin
        self._changes: dict[str, _Change] = {}

    def attribute(self, role: str, attribute: str) -> str:
        """Gives the role an attribute, such as ``CREATEDB``."""
        if not self._managed(role):
            return f"ALTER ROLE {quoted(role)} {attribute};"
        self._change(role).attributes.add(attribute)
        return f"set {_FIELDS[attribute]}: true in the entry of {role}"

    def grant(self, group: str, role: str) -> str:
        """Makes the role a member of a group."""
        return self._entry(group, role) if self._managed(role) else f"GRANT {quoted(group)} TO {quoted(role)};"

    def predefined(self, group: str, role: str) -> str:
        """Makes the role a member of one of PostgreSQL's own roles."""
        return self._entry(group, role) if self._managed(role) else f"GRANT {group} TO {quoted(role)};"

    def member(self, group: str, role: str, server_version: int) -> str:
        """Makes the role a full member of the group."""
        if not self._managed(role):
            return membership_statement(group, role, server_version)
        self._change(role).attributes.add("INHERIT")  # CloudNativePG grants without options
        return self._entry(group, role)

    @property
    def superuser(self) -> str:
        """Makes a superuser the administrator."""
        if not self.cluster:
            return "set adminSecretRef to a superuser's Secret"
        return f"set enableSuperuserAccess: true in Cluster {self.cluster}"

    @property
    def needed(self) -> bool:
        """Whether an entry was named."""
        return bool(self._changes)

    def findings(self, connection: Connection) -> Iterator[Finding]:
        """The entries that were named, complete. Raises psycopg.Error."""
        if not self.needed:
            return
        found = connection.execute(_PRESENT.encode(), [list(self._changes)]).fetchall()
        entries = ", ".join(_flow(_complete(row, self._changes[row[0]])) for row in found)
        text = (
            f"entries of spec.managed.roles in Cluster {self.cluster}, complete, since CloudNativePG takes away what an"
            f" entry lacks; keep the passwordSecret of an entry that exists: [{entries}]"
        )
        yield Finding(reason=conditions.MISSING_GRANTS, message=text)

    def _managed(self, role: str) -> bool:
        return bool(self.cluster) and role != self._admin

    def _change(self, role: str) -> _Change:
        return self._changes.setdefault(role, _Change())

    def _entry(self, group: str, role: str) -> str:
        self._change(role).member_of.add(group)
        return f"add {group} to inRoles in the entry of {role}"


def remedies_of(server: Server) -> Remedies:
    """For findings about the server's roles."""
    return Remedies(server.cluster, server.admin.user if server.admin is not None else "")


#: Of a server without a Cluster. It remembers nothing.
SQL = Remedies()


def _complete(row: tuple[object, ...], change: _Change) -> dict[str, object]:
    """The entry of a role as it is, with the change."""
    name, login, createdb, createrole, replication, bypassrls, inherit, limit, until, comment, groups = row
    now = {
        "login": login,
        "createdb": createdb or "CREATEDB" in change.attributes,
        "createrole": createrole,
        "replication": replication or "REPLICATION" in change.attributes,
        "bypassrls": bypassrls or "BYPASSRLS" in change.attributes,
    }
    entry: dict[str, object] = {"name": name, **{key: True for key, value in now.items() if value}}
    if not inherit and "INHERIT" not in change.attributes:
        entry["inherit"] = False
    if limit != -1:
        entry["connectionLimit"] = limit
    for key, value in (("validUntil", until), ("comment", comment)):
        if value is not None:
            entry[key] = value
    members = sorted({*(groups if isinstance(groups, list) else ()), *change.member_of})
    return entry | ({"inRoles": members} if members else {})


def _flow(value: object) -> str:
    """YAML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str) and re.fullmatch(r"(?!(?:true|false|null|yes|no|on|off)$)[A-Za-z_][A-Za-z0-9_-]*", value):
        return value
    return json.dumps(value, ensure_ascii=False)
