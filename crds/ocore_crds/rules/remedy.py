"""What the administrator of a database server may be asked to run: a right of a closed list, and which of the
environment's roles lacks it. Pure.

The data comes from a Job's result, which a tenant may have forged, and from a database that its application owns. So it
has no text. Every name in a statement is a placeholder such as ``<owner>``, which no SQL program accepts: the
administrator writes the names there, and knows what they stand for (SECURITY.md, "What an administrator is asked to
run").
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Self

from pydantic import Field, model_validator

from ocore_crds.model import StatusModel

#: The role of `adminSecretRef`, and that of `secretRef`.
Party = Literal["Administrator", "Application"]
#: Since this version a membership itself says whether it inherits, and whether it allows SET ROLE.
FIRST_WITH_MEMBERSHIP_OPTIONS = 16


class Right(StrEnum):
    """What a role can lack. No superuser, no replication, no membership in a role that the data names."""

    CREATE_DATABASES = "CreateDatabases"
    CREATE_ROLES = "CreateRoles"
    INHERIT = "Inherit"
    JOIN_OWNER = "JoinOwner"
    END_SESSIONS = "EndSessions"
    READ_TABLES = "ReadTables"
    READ_ALL_ROWS = "ReadAllRows"
    LOCK_ATTACHMENTS = "LockAttachments"


@dataclass(frozen=True)
class _Form:
    """`statements`: with {role} for the role that lacks the right, and {member} for the options of a membership.
    `field`: of an entry in spec.managed.roles of a CloudNativePG Cluster, where that has one."""

    statements: tuple[str, ...]
    parties: tuple[Party, ...] = ("Administrator", "Application")
    field: str = ""
    note: str = ""


_FORMS = {
    Right.CREATE_DATABASES: _Form(("ALTER ROLE {role} CREATEDB;",), field="createdb: true"),
    Right.CREATE_ROLES: _Form(
        ("ALTER ROLE {role} CREATEROLE;",),
        ("Administrator",),
        note="Before PostgreSQL 16, CREATEROLE lets a role join every role but superusers: never give it to an"
        " application's role.",
    ),
    Right.INHERIT: _Form(("ALTER ROLE {role} INHERIT;",), field="inherit: true"),
    Right.JOIN_OWNER: _Form(("GRANT <owner> TO {role}{member};",)),
    Right.END_SESSIONS: _Form(
        ("GRANT pg_signal_backend TO {role};",),
        field="inRoles: [pg_signal_backend]",
        note="pg_signal_backend ends sessions in every database of the server. Where other applications use the server,"
        " end the sessions by hand instead.",
    ),
    Right.READ_TABLES: _Form(("GRANT SELECT ON <table> TO {role};",), ("Application",)),
    Right.READ_ALL_ROWS: _Form(
        ("ALTER ROLE {role} BYPASSRLS;",),
        ("Application",),
        field="bypassrls: true",
        note="BYPASSRLS holds in every database in which the role may read tables.",
    ),
    Right.LOCK_ATTACHMENTS: _Form(("GRANT UPDATE ON <table> TO {role};",), ("Application",)),
}


class Remedy(StatusModel):
    """A right that one of the environment's two roles lacks."""

    right: Right = Field(description="The right.")
    role: Party = Field(description="Which role lacks it: that of adminSecretRef, or that of secretRef.")

    @model_validator(mode="after")
    def _allowed(self) -> Self:
        if self.role not in _FORMS[self.right].parties:
            raise ValueError(f"{self.right} is never given to the {self.role.lower()}'s role")
        return self


def statements(remedies: Iterable[Remedy], major: int, cluster: str = "") -> tuple[str, ...]:
    """What gives the rights: SQL for a server of that major (0: not known), each once. `cluster`: CloudNativePG
    manages the application's role, and reverts SQL that changes an attribute or a membership."""
    found: list[str] = []
    for remedy in remedies:
        form, role = _FORMS[remedy.right], f"<{remedy.role.lower()}>"
        if cluster and remedy.role == "Application" and (form.field or remedy.right is Right.JOIN_OWNER):
            field = form.field or "inRoles: [<owner>]"
            found.append(f"In Cluster {cluster}, spec.managed.roles, the entry of {role}: {field}")
            continue
        admin = "ADMIN TRUE, " if remedy.role == "Administrator" else ""
        member = f" WITH {admin}INHERIT TRUE, SET TRUE" if not 0 < major < FIRST_WITH_MEMBERSHIP_OPTIONS else ""
        found += [text.format(role=role, member=member) for text in form.statements]
    return tuple(dict.fromkeys(found))


def legend(remedies: Iterable[Remedy], secret: str, admin_secret: str | None, cluster: str = "") -> str:
    """What the placeholders stand for, and what else the rights allow. The Secrets: of the Environment."""
    found = tuple(remedies)
    text = "".join(statements(found, 0, cluster))
    parts = [
        f"<application>: the user in Secret {secret}." if "<application>" in text else "",
        f"<administrator>: the user in Secret {admin_secret or secret}." if "<administrator>" in text else "",
        "<owner>: the owner of the live database, never a superuser." if "<owner>" in text else "",
        "<table>: each table that the message names, in the live database." if "<table>" in text else "",
        "Compare each role with the one that was made for this environment: who may write the Secret chooses its user.",
        "An entry of spec.managed.roles must have all that the role has now (\\du in psql), and what is missing:"
        " CloudNativePG takes away what it lacks."
        if "spec.managed.roles" in text
        else "",
        *(_FORMS[each.right].note for each in found),
    ]
    return " ".join(dict.fromkeys(part for part in parts if part))
