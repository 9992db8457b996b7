"""What the live database had, from the snapshot's manifest: for a live database that does not exist any more.

The manifest comes from the store. So it gives the application nothing that it could not give itself: its database
belongs to its own role, or to one that it is a member of, and a setting that only a superuser or another role may
change is a warning.
"""

from collections.abc import Iterator

from ocore_crds import conditions
from ocore_crds.stored.manifest import DatabaseArtifact, DatabaseSetting
from ocore_mover.database.connect import Connection, Server
from ocore_mover.database.position import Names
from ocore_mover.database.restore import create
from ocore_mover.database.rights import Grant, Rights
from ocore_mover.errors import MoverError

#: For the evidence.
OLDER_MANIFEST = (
    "the snapshot's manifest does not have owner, grants, settings and comment of the database (it was written by an"
    " older version): the created database has the application's role as its owner, and PostgreSQL's defaults"
)


def check_name(server: Server, artifact: DatabaseArtifact) -> None:
    """Raises MoverError DatabaseNotFound for another name than the snapshot's: a Secret with a wrong `dbname` must not
    create a database."""
    if artifact.name != server.live:
        raise MoverError(
            conditions.DATABASE_NOT_FOUND,
            f"database {server.live} does not exist, and the snapshot is of database {artifact.name}: a rollback"
            " creates a missing database only under the snapshot's name. Correct dbname in the Secret; if"
            f" {server.live} is right, create an empty database of this name first",
        )


def rights(connection: Connection, server: Server, artifact: DatabaseArtifact) -> tuple[Rights, list[str]]:
    """Owner, connection limit and grants of the database to create, and warnings. Grants to roles that do not exist are
    left out."""
    owner, warnings = _owner(connection, server, artifact)
    if artifact.grants is None:
        # As CREATE DATABASE gives them.
        defaults = (Grant(None, "CONNECT", False), Grant(None, "TEMPORARY", False))
        own = tuple(Grant(owner, privilege, False) for privilege in ("CREATE", "CONNECT", "TEMPORARY"))
        return Rights(owner, -1, defaults + own), [*warnings, OLDER_MANIFEST]
    found: list[Grant] = []
    for grant in artifact.grants:
        role = owner if grant.role and grant.role == artifact.owner else grant.role
        if role and not _exists(connection, role):
            warnings.append(f"{grant.privilege} on the database is not granted: role {role} does not exist")
            continue
        found.append(Grant(role or None, grant.privilege, grant.grantable))
    return Rights(owner, artifact.connection_limit, tuple(dict.fromkeys(found))), warnings


def rights_of_copy(server: Server, artifact: DatabaseArtifact) -> tuple[Rights, list[str]]:
    """The same for a snapshot of another environment, and warnings. The database belongs to the application's role. Of
    the grants only those to PUBLIC are kept: roles of the other environment get nothing here, and what it did not open
    stays closed."""
    owner = server.app.user
    kept = tuple(g for g in artifact.grants or () if not g.role)
    others = sorted({g.role for g in artifact.grants or () if g.role and g.role != artifact.owner})
    warnings = [f"rights of roles on the source database are not granted: {', '.join(others)}"] if others else []
    if artifact.grants is None:
        warnings.append(OLDER_MANIFEST)
    own = tuple(Grant(owner, privilege, False) for privilege in ("CREATE", "CONNECT", "TEMPORARY"))
    public = tuple(Grant(None, g.privilege, False) for g in kept)
    return Rights(owner, artifact.connection_limit, (*public, *own)), warnings


def settings_of_copy(artifact: DatabaseArtifact, owner: str) -> DatabaseArtifact:
    """The artifact with the settings of the dumped database's owner as those of this owner."""
    settings = tuple(
        s.model_copy(update={"role": owner}) if s.role and s.role == artifact.owner else s for s in artifact.settings
    )
    return artifact.model_copy(update={"settings": settings})


def _owner(connection: Connection, server: Server, artifact: DatabaseArtifact) -> tuple[str, list[str]]:
    """The snapshot's owner where the application's role has its rights and we may give them; else the application's
    role."""
    application = server.app.user
    if artifact.owner in ("", application):
        return application, []
    become = "SET" if connection.info.server_version >= 160000 else "MEMBER"
    row = connection.execute(
        "SELECT pg_has_role(a.oid, o.oid, 'MEMBER') AND pg_has_role(o.oid, %s) FROM pg_roles a, pg_roles o"
        " WHERE a.rolname = %s AND o.rolname = %s",
        [become, application, artifact.owner],
    ).fetchone()
    if row is not None and row[0]:
        return artifact.owner, []
    return application, [
        f"the database belonged to role {artifact.owner} and now belongs to {application}: {artifact.owner} "
        + (
            "does not exist"
            if not _exists(connection, artifact.owner)
            else f"has rights that {application}, or the role that restores, does not have"
        )
    ]


def _exists(connection: Connection, role: str) -> bool:
    return connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [role]).rowcount > 0


def settings(
    connection: Connection, names: Names, artifact: DatabaseArtifact, owner: str
) -> tuple[list[DatabaseSetting], list[str]]:
    """The settings that the owner may make, and a warning for each other one."""
    allowed: list[DatabaseSetting] = []
    warnings: list[str] = []
    for setting in artifact.settings:
        problems = list(_problems(connection, setting, owner))
        if problems:
            warnings.append(create.not_set(names, setting, problems[0]))
        else:
            allowed.append(setting)
    return allowed, warnings


def _problems(connection: Connection, setting: DatabaseSetting, owner: str) -> Iterator[str]:
    if setting.role:
        row = connection.execute(
            "SELECT pg_has_role(%s, oid, 'MEMBER') FROM pg_roles WHERE rolname = %s", [owner, setting.role]
        ).fetchone()
        if row is None:
            yield f"role {setting.role} does not exist"
        elif not row[0]:
            yield f"{owner} is not a member of role {setting.role}"
    if not _may_set(connection, setting.name, owner):
        yield f"{owner} may not set {setting.name}"


def _may_set(connection: Connection, parameter: str, owner: str) -> bool:
    """Whether the role may set it. A name with a dot that no module defines is the application's own, unless an
    extension or a procedural language (`plperl.on_plperlu_init` is code) may define it later."""
    granted = "false"
    if connection.info.server_version >= 150000:
        granted = "has_parameter_privilege(%(owner)s, %(name)s, 'SET')"
    row = connection.execute(
        f"SELECT (SELECT context = 'user' OR context <> 'internal' AND {granted}"  # noqa: S608 - our own text
        " FROM pg_settings WHERE lower(name) = lower(%(name)s)),"
        " EXISTS (SELECT FROM pg_available_extensions WHERE lower(name) = lower(split_part(%(name)s, '.', 1))"
        ") OR starts_with(lower(%(name)s), 'pl')".encode(),
        {"owner": owner, "name": parameter},
    ).fetchone()
    known, extension = row or (None, True)
    return bool(known) if known is not None else "." in parameter and not extension
