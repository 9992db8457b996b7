"""Where the data is. The only reader of the environment.

==================  =======================================================================================
``DEMO_DATABASE``   folder of a mounted Secret: ``uri``, or ``host`` ``port`` ``dbname`` ``user`` (or ``username``)
                    ``password``, as CloudNativePG writes its app Secret. Without it libpq's own ``PG*`` variables count
``DEMO_DBNAME``     another database of the same server (a restored copy)
``DEMO_FILESTORE``  folder of the filestore
``DEMO_TITLE``      heading of the page
``DEMO_PORT``       port of the web process (8080)
``DEMO_REQUIRE``    key of ir_config_parameter without which the web process is not ready: tries out what becomes of a
                    rollback to data on which the application does not start
==================  =======================================================================================
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

#: Seconds. A machine whose processors are all busy needs more than a few; a database that is not there refuses at once.
CONNECT_TIMEOUT = 20


class SettingsError(Exception):
    """A setting is missing or wrong; the message says which."""


@dataclass(frozen=True)
class Settings:
    """Everything a command needs to find its data."""

    filestore: Path
    database: Path | None = None
    dbname: str | None = None
    title: str = "Demo shop"
    port: int = 8080
    require: str | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> "Settings":
        """Raises SettingsError if no filestore is set."""
        filestore = environ.get("DEMO_FILESTORE")
        if not filestore:
            raise SettingsError("DEMO_FILESTORE is not set: give the folder of the filestore (or --filestore)")
        port = environ.get("DEMO_PORT", "8080")
        if not port.isdecimal() or not 0 <= int(port) < 65536:
            raise SettingsError(f"DEMO_PORT={port}: give a port number")
        return cls(
            filestore=Path(filestore),
            database=Path(environ["DEMO_DATABASE"]) if environ.get("DEMO_DATABASE") else None,
            dbname=environ.get("DEMO_DBNAME") or None,
            title=environ.get("DEMO_TITLE") or cls.title,
            port=int(port),
            require=environ.get("DEMO_REQUIRE") or None,
        )

    def connection_parameters(self) -> dict[str, str]:
        """Keyword arguments for psycopg.connect; read again each time, so that a rotated password is used.

        Raises SettingsError where the Secret's folder lacks a key.
        """
        parameters = {} if self.database is None else read_secret(self.database)
        if self.dbname is not None:
            parameters["dbname"] = self.dbname
        return parameters


def read_secret(folder: Path) -> dict[str, str]:
    """The connection parameters in a mounted Secret."""

    def value(*names: str) -> str | None:
        for name in names:
            path = folder / name
            if path.is_file():
                return path.read_text().rstrip("\n")
        return None

    if not folder.is_dir():
        raise SettingsError(f"{folder} (DEMO_DATABASE) is not a folder: mount the database's Secret there")
    uri = value("uri")
    if uri is not None:
        from psycopg.conninfo import conninfo_to_dict

        return {k: str(v) for k, v in conninfo_to_dict(uri).items() if v is not None}
    found = {
        "host": value("host"),
        "port": value("port") or "5432",
        "dbname": value("dbname"),
        "user": value("user", "username"),
        "password": value("password"),
    }
    missing = [name for name, content in found.items() if content is None]
    if missing:
        raise SettingsError(f"{folder} (DEMO_DATABASE) lacks {', '.join(missing)}; or give one key uri")
    return {name: content for name, content in found.items() if content is not None}
