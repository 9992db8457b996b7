"""Credentials from a mounted Secret: libpq's parameters, and the password kept apart from them."""

import os
from dataclasses import dataclass, field, replace
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ocore_crds import conditions
from ocore_mover import redact
from ocore_mover.database import tls
from ocore_mover.database.tls import TlsOptions
from ocore_mover.errors import MoverError

#: libpq's parameter → the keys of a Secret that give it; the first one with a value is used. CloudNativePG writes
#: `username` and `user`; its `jdbc-uri`, `fqdn-uri` and `pgpass` repeat the same values.
_KEYS = {"host": ("host",), "port": ("port",), "dbname": ("dbname",), "user": ("user", "username")}
_TLS_KEYS = ("sslmode", "sslrootcert")
#: A second secret would have to be on pg_dump's command line.
_UNSUPPORTED = ("sslpassword", "passfile", "service")


@dataclass(frozen=True)
class Credentials:
    """A role, where it connects, and its password."""

    params: dict[str, str]  # libpq's parameters without the password
    password: str = field(repr=False)  # empty where a client certificate takes its place
    source: Path
    private_key: Path | None = None  # of the client certificate, as mounted: see tls.private_key

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

    def conninfo(self, *, knows_require_auth: bool, **extra: str) -> str:
        """libpq's connection string without password and private key, for a program's command line.

        `knows_require_auth`: whether the libpq that reads it has that setting (PostgreSQL 16 and newer).
        """
        params = tls.protected(self.params, password=bool(self.password), knows_require_auth=knows_require_auth)
        return make_conninfo("", **{**params, **extra})

    @property
    def needs_tls_before_16(self) -> bool:
        """Whether a libpq before 16 may connect with TLS only: it could not refuse to send the password in
        cleartext."""
        params = tls.protected(self.params, password=bool(self.password), knows_require_auth=False)
        return params["sslmode"] in tls.ENCRYPTED

    def passfile_line(self) -> str:
        """For PGPASSFILE; matches any host and database: the file belongs to one program that gets one connection
        string."""
        escaped = self.password.replace("\\", "\\\\").replace(":", "\\:")
        return f"*:*:*:*:{escaped}\n"


def load(folder: Path, *, dbname: str = "", host: str = "", options: TlsOptions | None = None) -> Credentials:
    """Reads a mounted Secret: `host`, `port`, `dbname`, `user` or `username`, `password`, `sslmode`, `sslrootcert`, or
    `uri`.

    `dbname` is used where the Secret has none. With `host`, of the Secret only user and password are used, and `dbname`
    is the database. Single keys override the same part of `uri`, except a `host` that is the
    first labels of the host in `uri`; `options` override both. A client certificate in `options` makes the password
    optional. Raises MoverError SecretInvalid, which names the missing keys.
    """
    options = options or TlsOptions()
    if not folder.is_dir():
        raise _invalid(folder, "the folder does not exist; mount the Secret, or create a folder with one file per key")
    params = _from_uri(folder)
    for name, keys in _KEYS.items():
        value = next(filter(None, (_read(folder, key) for key in keys)), "")
        # A copy of a CloudNativePG Secret in another namespace: `host` resolves in the Cluster's namespace only, the
        # same host in `uri` everywhere.
        if value and not (name == "host" and params.get("host", "").lower().startswith(f"{value.lower()}.")):
            params[name] = value
    if host:
        params = {key: params[key] for key in ("user", "password") if key in params}
        params |= {"host": host, "dbname": dbname}
    params = _with_tls(folder, params, options)
    password = _read(folder, "password") or params.pop("password", "")
    params.pop("password", None)
    params.setdefault("port", "5432")
    params.setdefault("dbname", dbname)
    missing = [name for name in _KEYS if not params.get(name)] + (
        [] if password or options.certificate is not None else ["password"]
    )
    if missing:
        raise _invalid(
            folder,
            f"missing {', '.join(missing)}; give the keys host, port, dbname, user (or username) and password, or one"
            " key uri",
        )
    if not all(part.isdigit() for part in params["port"].split(",")):
        raise _invalid(folder, f"the port {params['port']!r} is not a number")
    if "\n" in password or "\0" in password:
        raise _invalid(folder, "the password has a line break, which PGPASSFILE does not allow; set another password")
    redact.register(password)
    return Credentials(params=params, password=password, source=folder, private_key=options.key)


def _with_tls(folder: Path, params: dict[str, str], options: TlsOptions) -> dict[str, str]:
    """The parameters with the ssl ones replaced by those that apply."""
    found = {**params, **{key: value for key in _TLS_KEYS if (value := _read(folder, key))}}
    if found.get("sslrootcert", "").lstrip().startswith("-----BEGIN"):
        found["sslrootcert"] = str(
            folder / "sslrootcert"
        )  # the key holds the certificates: its own file is what libpq reads
    others = {name: value for name, value in params.items() if name not in tls.PARAMETERS}
    try:
        return others | tls.resolve(found, options)
    except ValueError as error:
        raise _invalid(folder, f"{error}; correct it, or set spec.database.tls.mode of the Environment") from None


def _from_uri(folder: Path) -> dict[str, str]:
    uri = _read(folder, "uri")
    if not uri:
        return {}
    redact.register(uri)
    try:
        found = {key: str(value) for key, value in conninfo_to_dict(uri).items() if value is not None}
    except psycopg.Error as error:
        reason = str(error).replace(uri, "the uri").strip()
        raise _invalid(folder, f"key uri is not a PostgreSQL connection URI ({reason})") from None
    for name in _UNSUPPORTED:
        if name in found:
            raise _invalid(folder, f"key uri has the parameter {name}, which is not supported; remove it")
    return found


def _read(folder: Path, key: str) -> str:
    """A key's value without the trailing line break that `echo` adds; empty where the key does not exist."""
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
