"""Finds what would prevent a rename of the live database and that our role cannot end, while the application still
runs."""

import time
from collections.abc import Sequence

from ocore_crds import conditions
from ocore_crds.text.sentences import shown
from ocore_mover.database import sessions
from ocore_mover.database.connect import Connection, value
from ocore_mover.database.sessions import Session
from ocore_mover.errors import MoverError

#: Seconds in which such a session (a monitoring query, for example) may end. The application is not stopped during this
#: time.
PATIENCE = 20.0
_POLL = 0.5


def unendable(connection: Connection, databases: Sequence[str]) -> list[Session]:
    """Sessions in these databases that the role of this connection may not end."""
    found = sessions.others(connection, databases)
    denied = {role for role in {s.role for s in found} if not _may_end(connection, role)}
    return [s for s in found if s.role in denied]


def _may_end(connection: Connection, role: str) -> bool:
    """As pg_terminate_backend checks it. `role` may have been dropped while its session is open."""
    found = value(
        connection,
        "SELECT me.rolsuper OR (NOT coalesce(them.rolsuper, false) AND"
        " (pg_has_role('pg_signal_backend', 'USAGE') OR coalesce(pg_has_role(them.oid, 'USAGE'), false)))"
        " FROM pg_roles me LEFT JOIN pg_roles them ON them.rolname = %s WHERE me.rolname = current_user",
        [role],
    )
    return bool(found)


def wait_until_none(connection: Connection, live: str) -> None:
    """Returns once nothing that cannot be ended uses the live database.

    Raises MoverError SessionsRemain after PATIENCE seconds. It names each session and prepared transaction, and the
    remedy. Raises psycopg.Error.
    """
    since = time.monotonic()
    while True:
        left, transactions = unendable(connection, [live]), sessions.prepared(connection, [live])
        if not left and not transactions:
            return
        if time.monotonic() - since >= PATIENCE:
            raise _blocked(connection, live, left, transactions)
        time.sleep(_POLL)


def _blocked(connection: Connection, live: str, left: Sequence[Session], transactions: Sequence[str]) -> MoverError:
    actor, parts = str(value(connection, "SELECT current_user")), []
    if left:
        named = ", ".join(f"{sessions.described(s)})" for s in left[:10])
        parts.append(f"database {shown(live)} has sessions that {shown(actor)} may not end: {named}")
        roles = sorted({(s.role, s.superuser) for s in left})
        parts.extend(sessions.denial(actor, role, superuser=superuser) for role, superuser in roles)
    if transactions:
        named = ", ".join(map(shown, transactions[:10]))
        parts.append(
            f"database {live} has prepared transactions: {named}; end them with COMMIT PREPARED or ROLLBACK PREPARED"
        )
    text = "; ".join(parts)
    return MoverError(
        conditions.SESSIONS_REMAIN, f"{text}. The application was not stopped. Then create a new Rollback"
    )
