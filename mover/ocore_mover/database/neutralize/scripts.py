"""Scripts of a mounted ConfigMap: those that neutralise the copy, and queries that must return no row."""

from dataclasses import dataclass
from pathlib import Path

import psycopg

from ocore_crds import conditions
from ocore_mover.database.connect import Connection, query_failure
from ocore_mover.database.neutralize.odoo import failed
from ocore_mover.errors import MoverError


def load(folder: Path) -> list[tuple[str, str]]:
    """Name and text of each script, in the order of the names. Raises MoverError NeutralizeFailed where there is
    none."""
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
    """Runs each script in a transaction of its own. Raises MoverError NeutralizeFailed with the server's message and
    the script's name."""
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


@dataclass(frozen=True)
class Asserted:
    """What queries that must return no row showed."""

    proven: tuple[str, ...]
    #: Scripts that returned rows: the data is not as it should be.
    found: tuple[str, ...]
    #: Scripts that could not be run, or have no query: nothing is known of the data.
    broken: tuple[str, ...]

    def corrections(self, field: str) -> str:
        """The scripts that are broken, and what to do; `field` names their ConfigMap. Empty where none is."""
        return f"{'; '.join(self.broken)}. Correct the ConfigMap of {field}" if self.broken else ""


def check(connection: Connection, scripts: list[tuple[str, str]]) -> list[str]:
    """Runs queries, which can change nothing. Returns what was proven.

    Raises MoverError AssertionFailed where one returns a row, cannot be run, or a script has no query: it could never
    fail.
    """
    seen = asserted(connection, scripts)
    messages = [failed(seen.found).message] if seen.found else []
    corrections = seen.corrections("spec.neutralize.assertions")
    if corrections:
        begin = (
            corrections[0].upper() if seen.found else f"it is unknown whether the copy is neutralised: {corrections[0]}"
        )
        messages.append(f"{begin}{corrections[1:]}, then create a new Rollback")
    if messages:
        raise MoverError(conditions.ASSERTION_FAILED, ". ".join(messages))
    return [f"neutralised: {each}" for each in seen.proven]


def asserted(connection: Connection, scripts: list[tuple[str, str]]) -> Asserted:
    """Runs queries, which can change nothing. Raises MoverError where the server does not answer."""
    proven, rows, broken = [], [], []
    connection.execute("SELECT pg_catalog.set_config('row_security', 'off', false)")
    for name, text in scripts:
        try:
            with connection.transaction(force_rollback=True):
                connection.execute("SET TRANSACTION READ ONLY")
                queries, found = _results(connection, text)
        except psycopg.Error as error:
            doing = f"assertion {name} could not be run"
            known = query_failure(error, default=conditions.ASSERTION_FAILED, doing=doing)
            if known.retryable:
                raise known from error
            # PostgreSQL's message about a value has the value.
            of_data = (error.sqlstate or "").startswith(("22", "23"))
            broken.append(f"{doing}: {type(error).__name__}" if of_data else known.message)
            continue
        if not queries:
            broken.append(f"assertion {name} has no query")
        elif found:
            rows.append(
                f"assertion {name} returned {found} {'row' if found == 1 else 'rows'}; run its queries to see which"
            )
        else:
            proven.append(f"{queries} {'query' if queries == 1 else 'queries'} of {name} returned no row")
    return Asserted(tuple(proven), tuple(rows), tuple(broken))


def _results(connection: Connection, text: str) -> tuple[int, int]:
    """Number of queries with a result, and how many rows they returned. What is in the rows is production's, and goes
    into no message."""
    queries = rows = 0
    with connection.cursor() as cursor:
        cursor.execute(text.encode())
        while True:
            if cursor.description is not None:
                queries += 1
                rows += cursor.rowcount
            if not cursor.nextset():
                break
    return queries, rows
