"""A mounted Secret: what is read, what is refused, and that the password stays where it belongs."""

from pathlib import Path

import pytest

from ocore_mover import redact
from ocore_mover.database import credentials, programs
from ocore_mover.errors import MoverError

CNPG = {
    "host": "shop-rw", "port": "5432", "dbname": "shop", "user": "shop", "username": "shop", "password": "se:c\\ret-1",
    "uri": "postgresql://shop:se%3Ac%5Cret-1@shop-rw.prod:5432/shop", "jdbc-uri": "jdbc:postgresql://…", "pgpass": "…",
}  # fmt: skip


def write(folder: Path, keys: dict[str, str]) -> Path:
    for key, value in keys.items():
        (folder / key).write_text(value)
    return folder


def test_a_cloudnativepg_app_secret(tmp_path: Path) -> None:
    found = credentials.load(write(tmp_path, CNPG))
    assert found.params == {"host": "shop-rw", "port": "5432", "dbname": "shop", "user": "shop"}
    assert found.password == "se:c\\ret-1"
    assert "se:c" not in repr(found)
    assert "se:c" not in found.conninfo(application_name="x")


def test_a_uri_alone_keeps_its_parameters(tmp_path: Path) -> None:
    uri = "postgresql://me:p%40ss@db.example/app?sslmode=verify-full&sslrootcert=/ca.crt"
    found = credentials.load(write(tmp_path, {"uri": uri + "\n"}))
    assert found.password == "p@ss"
    assert found.params == {
        "host": "db.example", "port": "5432", "dbname": "app", "user": "me", "sslmode": "verify-full", "sslrootcert": "/ca.crt",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({}, "missing host, dbname, user, password"),
        ({"host": "h", "dbname": "d", "user": "u"}, "missing password"),
        ({"uri": "postgresql://u:topsecret@h/d?nonsense=1"}, "no PostgreSQL connection URI"),
        ({"uri": "postgresql://u:topsecret@h:none/d"}, "'none' is no number"),
        ({"uri": "postgresql://u:topsecret@h/d?sslpassword=x"}, "sslpassword"),
        ({"host": "h", "dbname": "d", "user": "u", "password": "topsecret\nx"}, "line break"),
    ],
)
def test_refused_with_what_to_do(tmp_path: Path, keys: dict[str, str], words: str) -> None:
    with pytest.raises(MoverError, match=words) as raised:
        credentials.load(write(tmp_path, keys))
    assert raised.value.reason == "SecretInvalid"
    assert "topsecret" not in raised.value.message


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(MoverError, match="mount the Secret"):
        credentials.load(tmp_path / "nowhere")


def test_the_passfile_is_ours_alone_and_goes(tmp_path: Path) -> None:
    found = credentials.load(write(tmp_path, CNPG))
    with programs.passfile(found) as environment:
        path = Path(environment["PGPASSFILE"])
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert path.read_text() == "*:*:*:*:se\\:c\\\\ret-1\n"
        assert "PGPASSWORD" not in environment
        assert not any("ret-1" in value for value in environment.values())
    assert not path.exists()


def test_redacts_whatever_form(tmp_path: Path) -> None:
    credentials.load(write(tmp_path, {**CNPG, "password": "p@ss/word-2"}))
    text = "a p@ss/word-2 b p%40ss%2Fword-2 c"
    assert redact.text(text) == "a *** b *** c"
    assert redact.data({"k": ["p@ss/word-2", 3, None, {"n": "xp@ss/word-2"}]}) == {"k": ["***", 3, None, {"n": "x***"}]}
