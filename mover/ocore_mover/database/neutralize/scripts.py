"""Scripts of a mounted ConfigMap: those that neutralise the copy, and queries that must return no row."""

from collections.abc import Iterator
from pathlib import Path

import psycopg

from ocore_crds import conditions
from ocore_mover.database.connect import Connection, query_failure
from ocore_mover.database.neutralize.odoo import failed
from ocore_mover.errors import MoverError

#: Rows and characters of a row that a message shows.
_SHOWN = 3
_SHOWN_CHARACTERS = 120


def load(folder: Path) -> list[tuple[str, str]]:
    """Name and text of each script, in the order of the names. Raises MoverError NeutralizeFailed where there is none."""
    # A ConfigMap's keys are links into a hidden folder.
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    found = []
    for path in files:
        try:
            found.append((path.name, path.read_text(encoding="utf-8")))
        except UnicodeDecodeError:
            raise MoverError(
                conditions.NEUTRALIZE_FAILED, f"script {path.name} is not UTF-8; correct the ConfigMap"
            ) from None
    if not found:
        raise MoverError(
            conditions.NEUTRALIZE_FAILED, f"the ConfigMap at {folder} has no key; put each script into a key of its own"
        )
    return found


def apply(connection: Connection, scripts: list[tuple[str, str]]) -> None:
    """Runs each script in a transaction of its own. Raises MoverError NeutralizeFailed with the server's message and the script's name."""
    for name, text in scripts:
        try:
            with connection.transaction():
                connection.execute(text.encode())
        except psycopg.Error as error:
            raise _script_failure(name, error) from error


def _script_failure(name: str, error: psycopg.Error) -> MoverError:
    known = query_failure(error, default=conditions.NEUTRALIZE_FAILED, doing=f"script {name}")
    if known.retryable or known.reason == conditions.NO_SPACE:
        return known
    return MoverError(
        conditions.NEUTRALIZE_FAILED,
        f"{known.message}. Correct the ConfigMap of spec.neutralize, then create a new Rollback",
    )


def check(connection: Connection, scripts: list[tuple[str, str]]) -> list[str]:
    """Runs queries, which can change nothing. Returns what was proven.

    Raises MoverError AssertionFailed where one returns a row, or a script has no query: it could never fail.
    """
    proven, problems = asserted(connection, scripts)
    if problems:
        raise failed(problems)
    return [f"neutralised: {each}" for each in proven]


def asserted(connection: Connection, scripts: list[tuple[str, str]]) -> tuple[list[str], list[str]]:
    """Runs queries, which can change nothing. Returns what was proven and what was not: a row that came back, a script without a query, an error.

    Raises MoverError where the server does not answer.
    """
    proven, problems = [], []
    connection.execute("SELECT pg_catalog.set_config('row_security', 'off', false)")
    for name, text in scripts:
        try:
            with connection.transaction(force_rollback=True):
                connection.execute("SET TRANSACTION READ ONLY")
                queries, found = _results(connection, text)
        except psycopg.Error as error:
            known = query_failure(error, default=conditions.ASSERTION_FAILED, doing=f"assertion {name}")
            if known.retryable:
                raise known from error
            problems.append(known.message)
            continue
        if not queries:
            problems.append(f"assertion {name} has no query")
        problems.extend(f"assertion {name} returned a row: {row}" for row in found)
        if queries and not found:
            proven.append(f"{queries} {'query' if queries == 1 else 'queries'} of {name} returned no row")
    return proven, problems


def _results(connection: Connection, text: str) -> tuple[int, list[str]]:
    """Number of queries with a result, and the first rows of all of them as text."""
    queries = 0
    rows: list[str] = []
    with connection.cursor() as cursor:
        cursor.execute(text.encode())
        while True:
            if cursor.description is not None:
                queries += 1
                names = [column.name for column in cursor.description]
                rows.extend(_row(names, row) for row in cursor.fetchmany(_SHOWN))
            if not cursor.nextset():
                break
    return queries, rows[:_SHOWN]


def _row(names: list[str], row: tuple[object, ...]) -> str:
    """A row for a message. Columns whose names promise a secret are left out."""
    shown = ", ".join(f"{n}={'…' if _is_secret(n) else v}" for n, v in _pairs(names, row))
    return shown if len(shown) <= _SHOWN_CHARACTERS else f"{shown[:_SHOWN_CHARACTERS]}…"


def _pairs(names: list[str], row: tuple[object, ...]) -> Iterator[tuple[str, object]]:
    return zip(names, row, strict=True)


def _is_secret(name: str) -> bool:
    return any(part in name.lower() for part in ("pass", "token", "secret", "key", "pwd", "credential"))
