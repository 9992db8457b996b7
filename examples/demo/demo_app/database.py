"""Connections, a small pool that survives a switchover of the database, and the tables."""

import secrets
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import IsolationLevel

from .settings import CONNECT_TIMEOUT, Settings

Connection = psycopg.Connection[tuple[Any, ...]]

#: The columns of Odoo's own tables that matter for its attachments and for what acts on the world, and a business table
#: beside them.
SCHEMA = """
CREATE TABLE IF NOT EXISTS ir_config_parameter (
  id serial PRIMARY KEY,
  key varchar NOT NULL UNIQUE,
  value text NOT NULL
);
CREATE TABLE IF NOT EXISTS sale_order (
  id serial PRIMARY KEY,
  partner_name varchar NOT NULL,
  amount_total numeric(12, 2) NOT NULL,
  state varchar NOT NULL CHECK (state IN ('draft', 'sale')),
  attachment_count integer NOT NULL,
  create_date timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC')
);
CREATE TABLE IF NOT EXISTS ir_attachment (
  id serial PRIMARY KEY,
  name varchar NOT NULL,
  res_model varchar,
  res_id integer,
  type varchar NOT NULL DEFAULT 'binary',
  mimetype varchar,
  store_fname varchar,
  db_datas bytea,
  file_size integer,
  checksum varchar(40),
  create_date timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC')
);
CREATE TABLE IF NOT EXISTS ir_mail_server (
  id serial PRIMARY KEY,
  name varchar NOT NULL UNIQUE,
  smtp_host varchar NOT NULL,
  active boolean NOT NULL DEFAULT true
);
CREATE TABLE IF NOT EXISTS ir_cron (
  id serial PRIMARY KEY,
  cron_name varchar NOT NULL UNIQUE,
  active boolean NOT NULL DEFAULT true
);
CREATE TABLE IF NOT EXISTS payment_provider (
  id serial PRIMARY KEY,
  code varchar NOT NULL UNIQUE,
  state varchar NOT NULL CHECK (state IN ('disabled', 'enabled', 'test'))
);
CREATE INDEX IF NOT EXISTS ir_attachment_store_fname_index ON ir_attachment (store_fname);
CREATE INDEX IF NOT EXISTS ir_attachment_res_idx ON ir_attachment (res_model, res_id);
"""
#: What a copy of the shop must not do: send mail, run jobs, charge cards. Rows that exist stay as they are: a copy may
#: be neutralised.
_ACTING = """
INSERT INTO ir_mail_server (name, smtp_host) VALUES ('shop', 'mail.shop.example') ON CONFLICT (name) DO NOTHING;
INSERT INTO ir_cron (cron_name) VALUES ('send invoices') ON CONFLICT (cron_name) DO NOTHING;
INSERT INTO payment_provider (code, state) VALUES ('card', 'enabled') ON CONFLICT (code) DO NOTHING;
"""
_NEUTRAL = """
UPDATE ir_mail_server SET active = false WHERE active;
INSERT INTO ir_mail_server (name, smtp_host) VALUES ('no mail leaves this copy', 'invalid')
ON CONFLICT (name) DO UPDATE SET active = true;
UPDATE ir_cron SET active = false WHERE active;
UPDATE payment_provider SET state = 'disabled' WHERE state = 'enabled';
INSERT INTO ir_config_parameter (key, value) VALUES ('database.is_neutralized', 'true')
ON CONFLICT (key) DO UPDATE SET value = 'true';
"""
#: Any number will do: two processes that start at once must not both create the tables.
_SCHEMA_LOCK = 0x0C04E


def connect(settings: Settings) -> Connection:
    """A connection in autocommit; transactions are REPEATABLE READ, as Odoo's are. Raises psycopg.OperationalError."""
    connection = psycopg.connect(
        **settings.connection_parameters(),  # type: ignore[arg-type]  # libpq's own names, all of them text
        autocommit=True,
        connect_timeout=CONNECT_TIMEOUT,
        application_name="demo_app",
        options="-c statement_timeout=60000 -c idle_in_transaction_session_timeout=120000",
        keepalives_idle=5,
        tcp_user_timeout=10000,
    )
    connection.isolation_level = IsolationLevel.REPEATABLE_READ
    return connection


def connect_within(settings: Settings, seconds: float) -> Connection:
    """A connection, retried until the deadline (seconds): at the first start the server may start later."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return connect(settings)
        except psycopg.OperationalError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.5)


def create_schema(connection: Connection) -> None:
    """Creates the missing tables and parameters."""
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_SCHEMA_LOCK])
        connection.execute(SCHEMA)
        for key, value in (("database.uuid", str(uuid.uuid4())), ("database.secret", secrets.token_urlsafe(32))):
            connection.execute(
                "INSERT INTO ir_config_parameter (key, value) VALUES (%s, %s) ON CONFLICT (key) DO NOTHING",
                [key, value],
            )
        connection.execute(_ACTING)


def neutralize(connection: Connection) -> None:
    """Turns off what acts on the world, as `odoo neutralize` does."""
    with connection.transaction():
        connection.execute(_NEUTRAL)


class PoolTimeoutError(psycopg.OperationalError):
    """Every connection was in use for longer than the wait."""


class Pool:
    """A few connections, each tested before use: a switchover ends them all, and the next one must be new."""

    def __init__(self, open_connection: Callable[[], Connection], size: int = 8) -> None:
        self._open = open_connection
        self._slots = threading.BoundedSemaphore(size)
        self._lock = threading.Lock()
        self._idle: list[Connection] = []

    @contextmanager
    def connection(self, wait: float = 5.0) -> Iterator[Connection]:
        """One connection for the block; raises psycopg.OperationalError if none is available."""
        if not self._slots.acquire(timeout=wait):
            raise PoolTimeoutError(f"all connections were in use for {wait:.0f} s; try again")
        try:
            connection = self._take()
            try:
                yield connection
            finally:
                self._give_back(connection)
        finally:
            self._slots.release()

    def _take(self) -> Connection:
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                return self._open()
            try:
                connection.execute("SELECT 1")
            except psycopg.Error:
                connection.close()  # ended by the switch; the others may be as well
            else:
                return connection

    def _give_back(self, connection: Connection) -> None:
        idle = psycopg.pq.TransactionStatus.IDLE
        if connection.closed or connection.info.transaction_status != idle:
            connection.close()
            return
        with self._lock:
            self._idle.append(connection)

    def close(self) -> None:
        """Closes what is idle."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()
