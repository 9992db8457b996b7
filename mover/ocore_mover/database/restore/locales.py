"""Whether the server has the locales and collations that the copy needs: those of the database, and those that the dump
names.

The server itself is asked, as CREATE DATABASE and CREATE COLLATION ask it. Nothing of the dump is run: values are read
from the statements of pg_dump and sent as literals.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import psycopg
from psycopg import sql

from ocore_crds import conditions
from ocore_crds.stored.manifest import DatabaseArtifact
from ocore_mover.database import toc
from ocore_mover.database.connect import Connection, quoted
from ocore_mover.errors import MoverError

_SHOWN = 5
_PROVIDERS = {"icu": "i", "libc": "c", "builtin": "b"}
_NAMES = {"i": "ICU", "b": "builtin"}
_LITERAL = r"'((?:[^']|'')*)'"
_CREATE = re.compile(r"CREATE COLLATION .*? \(provider = (\w+), (.*)\);", re.DOTALL)
_ATTRIBUTE = re.compile(rf"(locale|lc_collate|lc_ctype|rules) = {_LITERAL}")
#: How the server says that it does not have a locale or a provider; InternalError_ is what ICU could not open.
_LACKING = (
    psycopg.errors.FeatureNotSupported,
    psycopg.errors.InternalError_,
    psycopg.errors.InvalidObjectDefinition,
    psycopg.errors.InvalidParameterValue,
    psycopg.errors.SyntaxError,
    psycopg.errors.UndefinedFile,
    psycopg.errors.UndefinedObject,
    psycopg.errors.WrongObjectType,
)
#: Entries whose definition the server has written from its catalogs. The text of a function may name what does not
#: exist.
_DEPARSED = frozenset(
    (
        *("TABLE", "FOREIGN TABLE", "VIEW", "MATERIALIZED VIEW", "INDEX", "CONSTRAINT", "CHECK CONSTRAINT"),
        *("DOMAIN", "TYPE", "DEFAULT", "RULE", "POLICY", "STATISTICS"),
    )
)
#: Literals and quoted names are passed over. pg_dump's search_path is empty: a name without a schema is one of
#: pg_catalog.
_COLLATE = re.compile(
    rb"""E'(?:[^'\\]|\\.|'')*+'|'(?:[^']|'')*+'|"(?:[^"]|"")*+"|"""
    rb"""\bCOLLATE (?:pg_catalog\.)?(?>"([^"]+)"|([a-z_][a-z0-9_$]*+))(?!\.)""",
    re.DOTALL,
)


@dataclass(frozen=True)
class _Locale:
    """What CREATE DATABASE or CREATE COLLATION gets."""

    provider: str  # c, i or b, as in pg_database
    libc: tuple[str, ...] = ()  # LC_COLLATE and LC_CTYPE: a database has them with every provider
    name: str = ""  # of provider i or b
    rules: str = ""  # of provider i


def check(connection: Connection, artifact: DatabaseArtifact, contents: toc.TableOfContents) -> None:
    """Raises MoverError UnsupportedServer, naming each locale and collation that the server lacks, what uses it, and
    what to do."""
    wanted: dict[_Locale, str] = {
        _Locale(
            artifact.locale_provider, (artifact.collate, artifact.ctype), artifact.icu_locale, artifact.icu_rules
        ): "the database"
    }
    used: dict[str, str] = {}
    codec = toc.codec(contents.encoding)
    for entry in contents:
        if entry.description == "COLLATION":
            if (found := _of_collation(entry.definition.decode(codec, "replace"))) is not None:
                wanted.setdefault(found, entry.name)
        elif entry.description in _DEPARSED and b"COLLATE" in entry.definition:
            for name in collations(entry.definition):
                used.setdefault(name, entry.name)
    problems = [
        *(
            f"{why}; {user} of the snapshot uses it"
            for each, user in wanted.items()
            for why in _lacking(connection, artifact.encoding, each)
        ),
        *_lacking_collations(connection, artifact.encoding, used),
    ]
    if problems:
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise MoverError(conditions.UNSUPPORTED_SERVER, "; ".join(islice(problems, _SHOWN)) + more)


def _of_collation(definition: str) -> _Locale | None:
    """None where the definition is not one that pg_dump writes: the load will report it."""
    match = _CREATE.fullmatch(definition.rstrip())
    if match is None or match[1] not in _PROVIDERS:
        return None
    found = {key: value.replace("''", "'") for key, value in _ATTRIBUTE.findall(match[2])}
    provider, locale = _PROVIDERS[match[1]], found.get("locale", "")
    if provider == "c":
        return _Locale("c", (found.get("lc_collate", locale), found.get("lc_ctype", locale)))
    return _Locale(provider, (), locale, found.get("rules", ""))


def collations(definition: bytes) -> Iterator[str]:
    """The collations of the server itself that a definition names. A name outside of ASCII is none of them."""
    for match in _COLLATE.finditer(definition):
        name = match[1] or match[2]
        if name is not None and name.isascii():
            yield name.decode()


def _lacking(connection: Connection, encoding: str, locale: _Locale) -> Iterator[str]:
    """Why the server does not have the locale, and what to do."""
    for name in dict.fromkeys(locale.libc):
        if (error := _refused(connection, sql.SQL("SET LOCAL lc_monetary = {}").format(sql.Literal(name)))) is not None:
            yield (
                f"the server does not have locale {name} ({error}): install it on the server, or use a server image"
                " that has it"
            )
    if locale.provider == "c":
        return
    options = [sql.SQL("PROVIDER = {}, LOCALE = {}").format(
        sql.SQL("icu" if locale.provider == "i" else "builtin"), sql.Literal(locale.name)
    )]  # fmt: skip
    if locale.rules:
        options.append(sql.SQL("RULES = {}").format(sql.Literal(locale.rules)))
    # The encoding of the session's database is compared with the locale.
    session = connection.execute(
        "SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = current_database()"
    ).fetchone()
    if session not in ((encoding,), ("UTF8",)):
        return
    statement = sql.SQL("CREATE COLLATION pg_temp.ocore_try ({})").format(sql.SQL(", ").join(options))
    if (error := _refused(connection, statement)) is not None:
        provider = _NAMES[locale.provider]
        yield (
            f"the server does not have {provider} locale {locale.name}{' with its rules' if locale.rules else ''}"
            f" ({error}): use a server that has it{', one that was built with ICU' if provider == 'ICU' else ''}"
        )


def _refused(connection: Connection, statement: sql.Composed) -> str | None:
    """The server's message where it lacks the locale; None where it has it, or where our role may not try. The
    transaction is rolled back."""
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(statement)
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction):
        return None
    except _LACKING as error:
        return error.diag.message_primary or str(error)
    return None


def _lacking_collations(connection: Connection, encoding: str, used: dict[str, str]) -> Iterable[str]:
    """Collations of pg_catalog that the server lacks: initdb makes them from the locales of the operating system."""
    known = {
        row[0]
        for row in connection.execute(
            "SELECT collname::text FROM pg_collation WHERE collnamespace = 'pg_catalog'::regnamespace AND collname ="
            " ANY(%s) AND collencoding IN (-1, pg_char_to_encoding(%s))",
            [list(used), encoding],
        )
    }
    databases = " and ".join(dict.fromkeys(("template0", connection.info.dbname)))
    for name, user in used.items():
        if name not in known:
            yield (
                f"the server does not have collation {quoted(name)}, which {user} of the snapshot uses: install its"
                f" locale on the server and run SELECT pg_import_system_collations('pg_catalog'); in {databases}, or"
                " use a server that has it"
            )
