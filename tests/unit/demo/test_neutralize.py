"""The demo application neutralises a copy as Odoo does, by libpq's variables alone."""

from pathlib import Path

import pytest
import yaml

from demo_app.__main__ import main
from demo_app.database import Connection, create_schema
from demo_app.settings import Settings


def acting(connection: Connection) -> int:
    row = connection.execute(
        "SELECT (SELECT count(*) FROM ir_mail_server WHERE active AND smtp_host <> 'invalid') + (SELECT count(*) FROM"
        " ir_cron WHERE active) + (SELECT count(*) FROM payment_provider WHERE state = 'enabled')"
    ).fetchone()
    assert row is not None
    return int(row[0])


def test_neutralised_and_stays_so(
    settings: Settings, connection: Connection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert acting(connection) == 3
    parameters = settings.connection_parameters()
    passfile = tmp_path / "pgpass"
    passfile.touch(mode=0o600)
    passfile.write_text(f"*:*:*:*:{parameters['password']}\n")
    for variable, key in (("PGHOST", "host"), ("PGPORT", "port"), ("PGUSER", "user"), ("PGDATABASE", "dbname")):
        monkeypatch.setenv(variable, parameters[key])
    monkeypatch.setenv("PGPASSFILE", str(passfile))
    monkeypatch.delenv("DEMO_FILESTORE", raising=False)
    assert main(["neutralize"]) == 0
    assert main(["neutralize"]) == 0
    assert acting(connection) == 0
    # The next start of the application turns nothing on again.
    create_schema(connection)
    assert acting(connection) == 0
    row = connection.execute("SELECT value FROM ir_config_parameter WHERE key = 'database.is_neutralized'").fetchone()
    assert row == ("true",)


def test_the_script_of_the_demo_turns_off_the_same(connection: Connection) -> None:
    """Staging of `make demo` is neutralised by SQL."""
    file = Path(__file__).resolve().parents[3] / "examples/demo/manifests/35-staging.yaml"
    scripts = next(d["data"] for d in yaml.safe_load_all(file.read_text()) if d["kind"] == "ConfigMap")
    for _ in range(2):  # an attempt may be repeated in the same copy
        for name in sorted(scripts):
            connection.execute(scripts[name].encode())
    assert acting(connection) == 0
    row = connection.execute("SELECT value FROM ir_config_parameter WHERE key = 'database.is_neutralized'").fetchone()
    assert row == ("true",)
