"""Grants and comments in the copy, as the dump has them.

Statements about the application's own objects run as the dump has them, in a session with the application's rights.
Privileges on objects of others (members of extensions, the schema public) need the administrator. Of those the
administrator runs nothing of the dump's text: the object comes from the copy's catalogs, and privileges, role and
direction are taken from a strict pattern and quoted again.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import psycopg
from psycopg import sql

from ocore_crds import conditions
from ocore_mover.database import toc
from ocore_mover.database.connect import Connection, unquoted
from ocore_mover.database.restore import owners
from ocore_mover.errors import MoverError

#: Entries that are sent at a time. Where one of them fails, they are sent one by one.
_BATCH = 500
_ROLE = r'(?:"(?:[^"]|"")+"|[a-z_][a-z0-9_$]*)'
_PRIVILEGE = r"(?:ALL|SELECT|INSERT|UPDATE|DELETE|TRUNCATE|REFERENCES|TRIGGER|MAINTAIN|USAGE|CREATE|EXECUTE)"
#: As pg_dump writes it for whole objects (buildACLCommands in dumputils.c).
_STATEMENT = re.compile(
    rf"(GRANT|REVOKE)( GRANT OPTION FOR)? ({_PRIVILEGE}(?:\({_ROLE}\))?(?:, ?{_PRIVILEGE}(?:\({_ROLE}\))?)*)"
    rf" ON (.+) (TO|FROM) (PUBLIC|{_ROLE})( WITH GRANT OPTION)?",
    re.DOTALL,
)
_COMMENT = re.compile(r"COMMENT ON (SCHEMA|EXTENSION) .+ IS '((?:[^']|'')*)';\s*", re.DOTALL)
_LARGE_OBJECT = "LARGE OBJECT "
_DATABASE = "DATABASE "
_REVOKED_NOTHING = "no privileges could be revoked"
_NOTHING_REVOKED = "01006"  # SQLSTATE of the warning that a role without the right to revoke gets


@dataclass(frozen=True)
class Target:
    """An object in the copy that does not belong to the application."""

    kind: str  # of GRANT … ON
    identity: str  # quoted by the server


#: Schema and tag of ACL entries, keyword of GRANT and identity of every object that does not belong to the application.
_TARGETS = """
WITH others AS (SELECT oid FROM pg_roles WHERE NOT pg_has_role(%(owner)s, oid, 'MEMBER')),
relations AS (
  SELECT c.oid, n.nspname, c.relname, c.relkind FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
   WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relowner IN (SELECT oid FROM others)
)
SELECT nspname, CASE relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || quote_ident(relname),
       CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, oid::regclass::text FROM relations
UNION ALL
SELECT nspname, 'COLUMN ' || quote_ident(relname) || '.' || quote_ident(attname), 'TABLE', oid::regclass::text
  FROM relations JOIN pg_attribute ON attrelid = oid AND attnum > 0 AND NOT attisdropped
UNION ALL
SELECT n.nspname, CASE p.prokind WHEN 'p' THEN 'PROCEDURE ' ELSE 'FUNCTION ' END || quote_ident(p.proname) || '('
       || CASE WHEN p.prokind <> 'a' THEN pg_get_function_identity_arguments(p.oid) WHEN p.pronargs = 0 THEN '*'
          ELSE array_to_string(ARRAY(SELECT format_type(t, NULL)
                                       FROM unnest(p.proargtypes) WITH ORDINALITY u(t, i) ORDER BY i), ', ')
          END || ')', 'ROUTINE', p.oid::regprocedure::text
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
 WHERE p.oid >= 16384 AND p.proowner IN (SELECT oid FROM others)
UNION ALL
SELECT n.nspname, 'TYPE ' || quote_ident(t.typname), 'TYPE', t.oid::regtype::text
  FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
 WHERE t.oid >= 16384 AND t.typowner IN (SELECT oid FROM others)
UNION ALL
SELECT '', 'SCHEMA ' || quote_ident(nspname), 'SCHEMA', quote_ident(nspname) FROM pg_namespace
 WHERE nspname = 'public' OR (oid >= 16384 AND nspname !~ '^pg_' AND nspowner IN (SELECT oid FROM others))
UNION ALL
SELECT '', 'LANGUAGE ' || quote_ident(lanname), 'LANGUAGE', quote_ident(lanname)
  FROM pg_language WHERE lanowner IN (SELECT oid FROM others)
UNION ALL
SELECT '', 'FOREIGN SERVER ' || quote_ident(srvname), 'FOREIGN SERVER', quote_ident(srvname)
  FROM pg_foreign_server WHERE srvowner IN (SELECT oid FROM others)
UNION ALL
SELECT '', 'FOREIGN DATA WRAPPER ' || quote_ident(fdwname), 'FOREIGN DATA WRAPPER', quote_ident(fdwname)
  FROM pg_foreign_data_wrapper WHERE fdwowner IN (SELECT oid FROM others)
"""


class Targets:
    """The objects in the copy whose privileges the actor applies: those of other roles, and the schema public.

    `copy` is a session whose search_path is pg_catalog; `dumped` the owner of the dumped database, `owner` that of the
    live one.
    """

    def __init__(self, copy: Connection, dumped: str, owner: str) -> None:
        self._dumped = dumped
        found = copy.execute(_TARGETS.encode(), {"owner": owner})
        self._found = {(schema, tag): Target(kind, identity) for schema, tag, kind, identity in found}

    def find(self, entry: toc.Entry) -> Target | None:
        """The object of an ACL entry; None where it is the application's own, or the entry is no grant on an object."""
        if entry.description != "ACL":
            return None
        if entry.tag.startswith(_LARGE_OBJECT):
            oid = entry.tag.removeprefix(_LARGE_OBJECT)
            return Target("LARGE OBJECT", oid) if entry.owner != self._dumped and oid.isdecimal() else None
        return self._found.get((entry.schema, entry.tag))


def entries(contents: Iterable[toc.Entry]) -> Iterator[toc.Entry]:
    """The grants and lenient comments of a dump, without those on the database itself; a grant on a group of large
    objects becomes one for each of them.

    PostgreSQL 17 and newer dump a group of large objects with the same owner and rights as one entry, whose ACL entry
    names the first.
    """
    groups: dict[str, list[str]] = {}
    for entry in contents:
        if entry.description == "ACL" and entry.tag.startswith(_DATABASE):
            # It names the dumped database: the live one. The copy gets the rights of the live database at the switch.
            continue
        if entry.description == "BLOB METADATA":
            groups[f"LARGE OBJECTS {entry.tag}"] = owners.large_objects(entry)
        elif entry.is_acl and entry.tag in groups:
            oids = groups.pop(entry.tag)
            first = f" ON {_LARGE_OBJECT}{oids[0]} ".encode()
            for oid in oids:
                definition = entry.definition.replace(first, f" ON {_LARGE_OBJECT}{oid} ".encode())
                yield replace(entry, tag=_LARGE_OBJECT + oid, definition=definition)
        elif entry.is_acl or entry.is_lenient:
            yield entry


def apply_as_application(session: Connection, owner: str, entries: Iterable[toc.Entry], encoding: str) -> list[str]:
    """Runs the definitions of the entries in a session with the application's rights; returns what could not be
    applied.

    Many are sent at a time, so that a million large objects are a few thousand round trips; memory is bounded by that
    number.
    """
    session.execute(sql.SQL("SET client_encoding = {}").format(sql.Literal(encoding)))
    runner = _Runner(session, owner)
    warnings: list[str] = []
    batch: list[toc.Entry] = []
    for entry in entries:
        batch.append(entry)
        if len(batch) >= _BATCH:
            warnings.extend(runner.run(batch))
            batch = []
    warnings.extend(runner.run(batch))
    return warnings


class _Runner:
    """Runs definitions in a session with the application's rights."""

    def __init__(self, session: Connection, owner: str) -> None:
        self._session = session
        self._owner = sql.Identifier(owner)
        self._notices: list[str | None] = []
        session.add_notice_handler(lambda diag: self._notices.append(diag.sqlstate))

    def run(self, entries: Sequence[toc.Entry]) -> Iterator[str]:
        """All in one transaction, else each half alone, down to single statements: one dropped role costs one grant."""
        if not entries or self._try(b"".join(entry.definition for entry in entries)) is None:
            return
        if len(entries) > 1:
            middle = len(entries) // 2
            yield from self.run(entries[:middle])
            yield from self.run(entries[middle:])
            return
        for statement in split(entries[0].definition):
            # An entry with grants of several grantors changes the session's role.
            self._session.execute(sql.SQL("SET ROLE {}").format(self._owner))
            failure = self._try(statement)
            if failure is None:
                continue
            text = " ".join(statement.decode(errors="replace").split())
            if statement.startswith(b"REVOKE ") and not isinstance(failure, psycopg.errors.UndefinedObject):
                raise _not_revoked(text, _message(failure))
            yield f"skipped ({_message(failure)}): {text}"

    def _try(self, statement: bytes) -> psycopg.Error | None:
        """Runs it in a transaction of its own. Returns the error, also where a right could not be revoked; else
        None."""
        self._notices.clear()
        try:
            with self._session.transaction():
                self._session.execute(statement)
        except (psycopg.OperationalError, psycopg.InterfaceError):
            raise
        except psycopg.Error as error:
            return error
        if _NOTHING_REVOKED in self._notices:
            return psycopg.errors.InsufficientPrivilege(_REVOKED_NOTHING)
        return None


def _message(error: psycopg.Error) -> str:
    return error.diag.message_primary or str(error)


def _not_revoked(statement: str, problem: str) -> MoverError:
    return MoverError(
        conditions.MISSING_GRANTS,
        f"a right that the snapshot does not have cannot be revoked in the restored database: {statement} ({problem});"
        " set adminSecretRef to a superuser's Secret",
    )


def split(text: bytes) -> Iterator[bytes]:
    """The statements of one entry. Each runs with the application's rights only, whatever the text is."""
    for match in re.finditer(rb"(?:[^;\"']|\"[^\"]*\"|'[^']*')+", text):
        statement = match[0].strip()
        if statement:
            yield statement


def apply_as_administrator(copy: Connection, entries: Iterable[tuple[toc.Entry, Target]], encoding: str) -> list[str]:
    """Applies privileges on objects of others. `copy` is a session whose search_path is pg_catalog. Returns warnings.

    Raises MoverError MissingGrants where a right was revoked in the snapshot and cannot be revoked here.
    """
    warnings: list[str] = []
    codec = toc.codec(encoding)
    refused: list[str | None] = []
    copy.add_notice_handler(lambda diag: refused.append(diag.sqlstate))
    for entry, target in entries:
        for statement in split(entry.definition):
            text = " ".join(statement.decode(codec, "surrogateescape").split())
            match = _STATEMENT.fullmatch(text)
            if match is None:
                warnings.append(f"skipped (not a grant on a whole object): {text}")
                continue
            refused.clear()
            failure = _apply_one(copy, target, match)
            if failure is None and _NOTHING_REVOKED in refused:
                failure = psycopg.errors.InsufficientPrivilege(_REVOKED_NOTHING)
            if failure is None:
                continue
            if match[1] == "REVOKE" and not isinstance(failure, psycopg.errors.UndefinedObject):
                raise _not_revoked(text, _message(failure))
            warnings.append(f"skipped ({_message(failure)}): {text}")
    return warnings


def _apply_one(copy: Connection, target: Target, match: "re.Match[str]") -> psycopg.Error | None:
    """Runs one grant; returns the error where it failed."""
    verb, option_for, privileges, _, direction, role, option = match.groups()
    statement = sql.SQL("{}{} {} ON {} {} {} {}{}").format(
        sql.SQL(verb),
        sql.SQL(option_for or ""),
        sql.SQL(privileges),  # keywords and quoted columns: the pattern allows nothing else
        sql.SQL(target.kind),
        sql.SQL(target.identity),
        sql.SQL(direction),
        sql.SQL("PUBLIC") if role == "PUBLIC" else sql.Identifier(unquoted(role)),
        sql.SQL(option or ""),
    )
    try:
        copy.execute(statement)
    except psycopg.Error as error:
        return error
    return None


def comment_as_administrator(copy: Connection, entries: Iterable[toc.Entry], encoding: str) -> list[str]:
    """Sets comments of extensions and of the schema public, their text quoted again. Returns warnings."""
    warnings: list[str] = []
    for entry in entries:
        match = _COMMENT.fullmatch(entry.definition.decode(toc.codec(encoding), "surrogateescape"))
        kind, _, name = entry.tag.partition(" ")
        if match is None or kind not in ("SCHEMA", "EXTENSION"):
            warnings.append(f"skipped (not a comment that pg_dump writes): {entry.name}")
            continue
        try:
            copy.execute(
                sql.SQL("COMMENT ON {} {} IS {}").format(
                    sql.SQL(kind), sql.Identifier(unquoted(name)), sql.Literal(match[2].replace("''", "'"))
                )
            )
        except psycopg.Error as error:
            warnings.append(f"skipped ({error.diag.message_primary or error}): {entry.name}")
    return warnings
