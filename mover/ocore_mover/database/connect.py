"""Connections with timeouts, and PostgreSQL's errors as reasons of conditions.py."""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import errors as pg

from ocore_crds import conditions
from ocore_crds.text.sentences import shown
from ocore_mover.database import tls
from ocore_mover.database.credentials import Credentials
from ocore_mover.deadline import Token
from ocore_mover.errors import MoverError

Connection = psycopg.Connection[tuple[Any, ...]]

CONNECT_TIMEOUT = 10  # seconds, per address
#: Seconds to retry a server that does not answer: the fail-over of a small cluster.
PATIENCE = 20.0
_STATEMENT_TIMEOUT = "60s"
_LOCK_TIMEOUT = "30s"
#: A dead peer is detected after 30 + 3 * 10 s.
_TCP = {
    "keepalives": "1",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}


@dataclass(frozen=True)
class Server:
    """The live database, and the roles that act on its server."""

    app: Credentials
    admin: Credentials | None = None
    #: Of CloudNativePG, which manages the roles; empty: none.
    cluster: str = ""
    #: Roles in its spec.managed.roles.
    managed: frozenset[str] = frozenset()

    @property
    def live(self) -> str:
        """Name of the live database."""
        return self.app.dbname

    @property
    def actor(self) -> Credentials:
        """The role that creates, renames and drops databases and ends sessions: the admin, else the application's
        role."""
        return self.admin or self.app


#: Folders of Secrets and roles that a server has let in.
_accepted: set[tuple[Path, str]] = set()
#: Of an administrator's sessions in a tenant's database: what the tenant set by ``ALTER DATABASE … SET`` does not
#: apply, and no name is found in a schema of the tenant.
_TRUSTED = "-c search_path=pg_catalog -c role=none -c standard_conforming_strings=on"


def connect(
    credentials: Credentials,
    *,
    application: str,
    token: Token | None = None,
    patience: float = PATIENCE,
    trusted: bool = False,
) -> Connection:
    """A connection in autocommit mode with statement and lock timeouts. Transactions are ``with
    connection.transaction()``.

    `trusted`: an administrator's session, which must find names in pg_catalog only.
    Connecting is retried for `patience` seconds where the server does not answer; not for a wrong password, which locks
    roles. Raises MoverError AuthenticationFailed (retryable where the server accepted this role earlier),
    ConnectionPooler, DatabaseNotFound, DatabaseUnreachable, MissingGrants.
    """
    until = time.monotonic() + patience
    while True:
        if token is not None:
            token.check()
        try:
            connection = _open(credentials, application, trusted=trusted)
        except psycopg.OperationalError as error:
            failure = _perhaps_rotated(credentials, connection_failure(credentials, str(error)))
            if not failure.retryable or time.monotonic() >= until:
                raise failure from None
        else:
            _accepted.add((credentials.source, credentials.user))
            return connection
        if token is not None:
            token.sleep(0.5)
        else:
            time.sleep(0.5)


def _perhaps_rotated(credentials: Credentials, failure: MoverError) -> MoverError:
    """The failure; where the server has accepted this role's login before, another attempt may succeed: it mounts the
    Secret as it is then."""
    if failure.reason != conditions.AUTHENTICATION_FAILED or (credentials.source, credentials.user) not in _accepted:
        return failure
    message = (
        f"{failure.message}. The server accepted the password earlier in this Job, so it was changed since. Another"
        " attempt reads the Secret again"
    )
    return MoverError(failure.reason, message, retryable=True)


def _open(credentials: Credentials, application: str, *, trusted: bool) -> Connection:
    with tls.private_key(credentials.private_key) as key:
        connection = psycopg.connect(
            credentials.conninfo(
                **_TCP,
                **({"options": _TRUSTED} if trusted else {}),
                knows_require_auth=psycopg.pq.version() >= tls.LIBPQ_WITH_REQUIRE_AUTH,
                application_name=application,
                connect_timeout=str(CONNECT_TIMEOUT),
            ),
            password=credentials.password or None,
            sslkey=str(key) if key is not None else credentials.params.get("sslkey"),
            client_encoding="UTF8",
            autocommit=True,
            prepare_threshold=None,
        )
    try:
        _need_server_itself(connection, credentials)
        set_timeouts(connection, statement=_STATEMENT_TIMEOUT, lock=_LOCK_TIMEOUT)
    except BaseException:
        connection.close()
        raise
    return connection


def _need_server_itself(connection: Connection, credentials: Credentials) -> None:
    """Raises MoverError ConnectionPooler where a pooler answered the login: it reports a process id of its own, SQL
    that of the server. Before anything is set: in transaction mode that would stay in a session of the application."""
    if value(connection, "SELECT pg_catalog.pg_backend_pid()") != connection.info.backend_pid:
        raise MoverError(conditions.CONNECTION_POOLER, f"{credentials.place} is a connection pooler; {_POOLER}")


def set_timeouts(connection: Connection, *, statement: str, lock: str) -> None:
    """Sets the session's statement and lock timeouts (``0`` is none).

    Timeouts of idle sessions and transactions, which a role or database may have, are disabled: our transactions are
    long and idle.
    """
    settings = {
        "statement_timeout": statement,
        "lock_timeout": lock,
        "idle_in_transaction_session_timeout": "0",
        "default_transaction_read_only": "off",
    }
    if connection.info.server_version >= 140000:
        settings["idle_session_timeout"] = "0"
    if connection.info.server_version >= 170000:
        settings["transaction_timeout"] = "0"
    calls = ", ".join(["pg_catalog.set_config(%s, %s, false)"] * len(settings))
    connection.execute(f"SELECT {calls}".encode(), [part for pair in settings.items() for part in pair])


def connect_maintenance(server: Server, *, application: str, token: Token | None = None) -> Connection:
    """A connection as the actor to ``postgres``, else ``template1``, to create and rename other databases.

    Raises MoverError MissingGrants where it may connect to neither, and those of :func:`connect`.
    """
    last: MoverError | None = None
    trusted = server.admin is not None
    for name in ("postgres", "template1"):
        if name == server.live:
            continue
        try:
            return connect(server.actor.at(name), application=application, token=token, trusted=trusted)
        except MoverError as error:
            if error.reason not in (conditions.DATABASE_NOT_FOUND, conditions.MISSING_GRANTS):
                raise
            last = error
    raise MoverError(
        conditions.MISSING_GRANTS,
        f"role {shown(server.actor.user)} can connect neither to database postgres nor to template1, and renaming"
        f" databases needs one of them: it needs CONNECT on database postgres ({last.message if last else ''})",
    )


def maintenance(server: Server, opened: Connection | None, *, application: str) -> AbstractContextManager[Connection]:
    """The session `opened`, which stays open; where that is None, one for the block. Raises as
    :func:`connect_maintenance`."""
    return nullcontext(opened) if opened is not None else connect_maintenance(server, application=application)


_POOLER = (
    "its sessions prevent the renaming of a database, and in transaction mode it mixes ours with the application's. Set"
    " host and port in the Secret to the server itself (CloudNativePG: <cluster>-rw and 5432, not the Service of a"
    " Pooler); the application may keep using the pooler"
)
#: Pattern of libpq's message (it has no SQLSTATE) → reason, remedy, whether to retry.
_PATTERNS: tuple[tuple[str, str, str, bool], ...] = (
    (
        r"server requested a cleartext password|authentication method requirement",
        conditions.TLS_FAILED,
        (
            "the password was not sent: the connection is not certain to be encrypted. Set spec.database.tls of the"
            " Environment (ca, or mode require), or use scram-sha-256 in the server's pg_hba.conf"
        ),
        False,
    ),
    (
        r"server does not support SSL",
        conditions.TLS_FAILED,
        (
            "the server declined TLS. Turn ssl on in the server, or set spec.database.tls.mode of the Environment to"
            " disable where its network is trusted"
        ),
        False,
    ),
    (
        r"certificate verify failed",
        conditions.TLS_FAILED,
        (
            "the server's certificate is not signed by the given CA, or has expired. Put the server's CA into"
            " spec.database.tls.ca of the Environment (CloudNativePG: key ca.crt of the Secret <cluster>-ca)"
        ),
        False,
    ),
    (
        r"does not match host name",
        conditions.TLS_FAILED,
        (
            "set host in the Secret to a name in the server's certificate (CloudNativePG: <cluster>-rw), or"
            " spec.database.tls.mode to verify-ca"
        ),
        False,
    ),
    (
        r"root certificate file .* does not exist",
        conditions.TLS_FAILED,
        "the Job has no such file. Put the server's CA into spec.database.tls.ca of the Environment",
        False,
    ),
    (
        (
            r"could not (read|load) (root )?(certificate|private key) file|private key file .* has|certificate does not"
            r" match private key"
        ),
        conditions.SECRET_INVALID,
        "check that ca and clientCertificate of spec.database.tls hold PEM data that belongs together",
        False,
    ),
    (
        r"alert (unknown ca|certificate required|bad certificate|certificate unknown|certificate expired)"
        r"|requires a valid client certificate|certificate authentication failed",
        conditions.AUTHENTICATION_FAILED,
        (
            "the server did not accept the client certificate. Check spec.database.tls.clientCertificate: its issuer,"
            " its expiry, and that its common name is the role"
        ),
        False,
    ),
    (
        r"password authentication failed|no password supplied|role \"[^\"]*\" does not exist|authentication failed|"
        r"is not permitted to log in",
        conditions.AUTHENTICATION_FAILED,
        "check user and password in the Secret",
        False,
    ),
    (
        r"no pg_hba.conf entry|pg_hba.conf rejects",
        conditions.AUTHENTICATION_FAILED,
        "the server's pg_hba.conf rejects this role from this address; allow it, or set spec.database.tls.mode",
        False,
    ),
    (
        r"database \"[^\"]*\" does not exist",
        conditions.DATABASE_NOT_FOUND,
        "check dbname in the Secret; if the database was dropped or renamed, a Rollback creates it from a Snapshot",
        False,
    ),
    (
        r"permission denied for database|does not have CONNECT privilege",
        conditions.MISSING_GRANTS,
        "the role needs CONNECT on the database",
        False,
    ),
    (
        r"is not currently accepting connections",
        conditions.DATABASE_UNREACHABLE,
        "after an interrupted switch, `inspect --rollback-id … --repair` allows connections again",
        False,
    ),
    (r"unsupported startup parameter", conditions.CONNECTION_POOLER, _POOLER, False),
    (
        r"too many connections|remaining connection slots|too many clients",
        conditions.DATABASE_UNREACHABLE,
        "all connection slots are in use; increase max_connections or the role's CONNECTION LIMIT",
        True,
    ),
    (
        r"could not translate host name|Name or service not known|failed to resolve host|Temporary failure in name",
        conditions.DATABASE_UNREACHABLE,
        "the host name cannot be resolved; check host in the Secret",
        True,
    ),
    (
        r"SSL|certificate",
        conditions.TLS_FAILED,
        "check spec.database.tls of the Environment, and sslmode and sslrootcert in the Secret",
        False,
    ),
)
#: For any other message: the network, or a server that is starting.
_UNKNOWN = (
    conditions.DATABASE_UNREACHABLE,
    "check that the server runs and that host, port and network policies let this Job reach it",
    True,
)


def connection_failure(credentials: Credentials, text: str) -> MoverError:
    """Converts libpq's message of a failed connection to a MoverError with the remedy."""
    detail = _server_message(text)
    reason, advice, retryable = next(
        ((why, remedy, retry) for pattern, why, remedy, retry in _PATTERNS if re.search(pattern, text)), _UNKNOWN
    )
    where = f"database {credentials.dbname} at {credentials.place} as {credentials.user}"
    return MoverError(reason, f"cannot connect to {where}: {detail}; {advice}", retryable=retryable)


def _server_message(text: str) -> str:
    """The server's message: after FATAL where the text has that, else the first line."""
    fatal = re.search(r"FATAL:\s*(.+)", text)
    return fatal[1].strip() if fatal else text.strip().splitlines()[0].removeprefix("connection failed: ")


def query_failure(error: psycopg.Error, *, default: str, doing: str) -> MoverError:
    """Converts a failed statement to a MoverError; `default` is the reason where no other fits."""
    detail = (error.diag.message_primary or str(error)).strip()
    hint = f" ({error.diag.message_hint})" if error.diag.message_hint else ""
    message = f"{doing}: {detail}{hint}"
    if isinstance(error, pg.InsufficientPrivilege):
        return MoverError(conditions.MISSING_GRANTS, message)
    if isinstance(error, pg.DiskFull):
        return MoverError(conditions.NO_SPACE, f"{message}; the database server's volume is full; increase its size")
    if isinstance(error, pg.LockNotAvailable):
        return MoverError(default, f"{message}; another session kept the lock for too long", retryable=True)
    if isinstance(error, pg.QueryCanceled):
        return MoverError(default, f"{message}; the server did not answer in time", retryable=True)
    if error.sqlstate is None or isinstance(error, (pg.AdminShutdown, pg.CrashShutdown, pg.CannotConnectNow)):
        return MoverError(
            conditions.DATABASE_UNREACHABLE, f"{message}; the connection to the server was lost", retryable=True
        )
    return MoverError(default, message)


@contextmanager
def translating(default: str, doing: str) -> Iterator[None]:
    """Converts PostgreSQL's errors within the block to MoverErrors; `default` is the reason where no other fits."""
    try:
        yield
    except psycopg.Error as error:
        raise query_failure(error, default=default, doing=doing) from error


def value(connection: Connection, query: str, parameters: Sequence[object] | Mapping[str, object] | None = None) -> Any:
    """The first column of the first row that the query returns; None where it returns none."""
    row = connection.execute(query.encode(), parameters).fetchone()
    return row[0] if row is not None else None


def is_superuser(connection: Connection) -> bool:
    """Whether the connection's role is a superuser."""
    return bool(value(connection, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"))


def major(connection: Connection) -> int:
    """Major version of the server."""
    return connection.info.server_version // 10000


def quoted(identifier: str) -> str:
    """An identifier, quoted for SQL."""
    return '"' + identifier.replace('"', '""') + '"'


def unquoted(name: str) -> str:
    """An identifier as a dump has it, without its quotes."""
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
