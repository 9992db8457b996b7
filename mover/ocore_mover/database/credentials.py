"""Credentials from a mounted Secret: what libpq is told, and the password apart from it."""

import os
from dataclasses import dataclass, field, replace
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ocore_crds import conditions
from ocore_mover import redact
from ocore_mover.errors import MoverError

#: libpq's name → the keys of a Secret that give it, the first that is there counts. CloudNativePG writes `username` and
#: `user`; its `jdbc-uri`, `fqdn-uri` and `pgpass` say the same once more.
_KEYS = {"host": ("host",), "port": ("port",), "dbname": ("dbname",), "user": ("user", "username")}
#: Would be a second secret, with nowhere to put it but the command line of pg_dump.
_UNSUPPORTED = ("sslpassword", "passfile", "service")


@dataclass(frozen=True)
class Credentials:
    """A role, where it connects, and its password."""

    params: dict[str, str]  # libpq's parameters without the password
    password: str = field(repr=False)
    source: Path

    @property
    def dbname(self) -> str:
        """The database of the Secret."""
        return self.params["dbname"]

    @property
    def user(self) -> str:
        """The role."""
        return self.params["user"]

    @property
    def place(self) -> str:
        """Host and port, for messages."""
        return f"{self.params['host']}:{self.params['port']}"

    def at(self, dbname: str) -> "Credentials":
        """The same role in another database."""
        return replace(self, params={**self.params, "dbname": dbname})

    def conninfo(self, **extra: str) -> str:
        """libpq's connection string without the password, for a program's command line."""
        return make_conninfo("", **{**self.params, **extra})

    def passfile_line(self) -> str:
        """For PGPASSFILE; matches any host and database: the file belongs to one program that gets one connection string."""
        escaped = self.password.replace("\\", "\\\\").replace(":", "\\:")
        return f"*:*:*:*:{escaped}\n"


def load(folder: Path, *, dbname: str = "") -> Credentials:
    """Reads a mounted Secret: `host`, `port`, `dbname`, `user` or `username`, `password`, or `uri`.

    `dbname` is taken where the Secret has none. Single keys win over the same part of `uri`. Raises MoverError SecretInvalid with the keys that are missing.
    """
    if not folder.is_dir():
        raise _invalid(folder, "the folder is not there; mount the Secret, or make a folder with one file per key")
    params = _from_uri(folder)
    for name, keys in _KEYS.items():
        value = next(filter(None, (_read(folder, key) for key in keys)), "")
        if value:
            params[name] = value
    password = _read(folder, "password") or params.pop("password", "")
    params.pop("password", None)
    params.setdefault("port", "5432")
    params.setdefault("dbname", dbname)
    missing = [name for name in _KEYS if not params.get(name)] + ([] if password else ["password"])
    if missing:
        raise _invalid(
            folder,
            f"missing {', '.join(missing)}; give the keys host, port, dbname, user (or username) and password, or one key uri",
        )
    if not all(part.isdigit() for part in params["port"].split(",")):
        raise _invalid(folder, f"the port {params['port']!r} is no number")
    if "\n" in password or "\0" in password:
        raise _invalid(folder, "the password has a line break, which PGPASSFILE cannot hold; set another password")
    redact.register(password)
    return Credentials(params=params, password=password, source=folder)


def _from_uri(folder: Path) -> dict[str, str]:
    uri = _read(folder, "uri")
    if not uri:
        return {}
    redact.register(uri)
    try:
        found = {key: str(value) for key, value in conninfo_to_dict(uri).items() if value is not None}
    except psycopg.Error as error:
        reason = str(error).replace(uri, "the uri").strip()
        raise _invalid(folder, f"key uri is no PostgreSQL connection URI ({reason})") from None
    for name in _UNSUPPORTED:
        if name in found:
            raise _invalid(folder, f"key uri has the parameter {name}, which is not supported; leave it out")
    return found


def _read(folder: Path, key: str) -> str:
    """A key's value without the line break that `echo` puts at its end; empty where there is no such key."""
    path = folder / key
    try:
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        reason = os.strerror(error.errno or 0) if isinstance(error, OSError) else "not UTF-8"
        raise _invalid(folder, f"key {key} cannot be read: {reason}") from None


def _invalid(folder: Path, problem: str) -> MoverError:
    return MoverError(conditions.SECRET_INVALID, f"Secret at {folder}: {problem}")
