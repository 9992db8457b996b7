"""Secrets in a ConfigMap go into the snapshot, so the snapshot warns of them (issue 9, item 27)."""

from pathlib import Path

import pytest

from ocore_mover.commands.config_archive import capture, secrets_in
from ocore_mover.store.folder import FolderStore


@pytest.mark.parametrize(
    ("name", "content", "places"),
    [
        ("odoo.conf", "[options]\nadmin_passwd = hunter2\ndb_password=False\n", ["odoo.conf line 2 (admin_passwd)"]),
        ("odoo.conf", "admin_passwd = $pbkdf2-sha512$600000$x\nworkers = 2\nlimit_time_real = 120\n", []),
        ("app.yaml", 'smtp:\n  password: "hunter2"\n  user: shop\n', ["app.yaml line 2 (password)"]),
        ("app.json", '{\n "apiKey": "hunter2",\n "token_expiry": "86400 s"\n}', ["app.json line 2 (apiKey)"]),
        (".env", "export SECRET_KEY=hunter2\nPASSWORD=${DB_PASSWORD}\n", [".env line 1 (SECRET_KEY)"]),
        ("env", "password_file = /run/secrets/db\nPASSWORD=\ntoken: null\nmin_password_length: 12\n", []),
        ("url", "DATABASE_URL=postgres://shop:hunter2@db/shop\n", ["url line 1 (password in a URL)"]),
        ("url", "postgres://shop@db/shop http://s3.shop:9000 https://a:${P}@b\n", []),
        ("tls.key", "-----BEGIN RSA PRIVATE KEY-----\nhunter2\n", ["tls.key line 1 (private key)"]),
        ("DB_PASSWORD", "hunter2", ["DB_PASSWORD"]),
        ("DB_PASSWORD", "", []),
        ("logo.png", "\x89PNG\xff\x00", []),
    ],
)
def test_what_looks_like_a_secret_is_found(name: str, content: str, places: list[str]) -> None:
    assert list(secrets_in(name, content.encode("latin-1"))) == places


def test_the_warning_names_the_place_and_never_the_value(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.mkdir()
    for number in range(7):
        (config / f"part{number}.conf").write_text("admin_passwd = hunter2\n")
    (tmp_path / "store").mkdir()
    artifact, warnings = capture(FolderStore(tmp_path / "store"), "x/", config)
    assert artifact.file_count == 7
    (warning,) = warnings
    assert "part0.conf line 1 (admin_passwd)" in warning
    assert "and 2 more" in warning
    assert "Move them to a Secret" in warning
    assert "hunter2" not in warning
