"""A mounted Secret: what is read, what is refused, and that the password stays where it belongs."""

from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from ocore_mover import redact
from ocore_mover.database import credentials, programs
from ocore_mover.database.tls import TlsOptions
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
    assert found.params == {"host": "shop-rw.prod", "port": "5432", "dbname": "shop", "user": "shop"}
    assert found.password == "se:c\\ret-1"
    assert "se:c" not in repr(found)
    for knows in (True, False):
        assert "se:c" not in found.conninfo(knows_require_auth=knows, application_name="x")


@pytest.mark.parametrize(
    "keys",
    [
        CNPG,
        {"username": "shop", "password": "se:c\\ret-1"},  # kubernetes.io/basic-auth, as a managed role's
        {"uri": "postgresql://shop:se%3Ac%5Cret-1@10.0.0.1:6432/other?hostaddr=10.0.0.2&sslmode=disable"},
    ],
)
def test_of_a_cluster_only_user_and_password_are_of_the_secret(tmp_path: Path, keys: dict[str, str]) -> None:
    """The host is the one whose CA is checked, whatever the Secret says."""
    found = credentials.load(
        write(tmp_path, keys), host="pg-rw", dbname="app", options=TlsOptions(ca=tmp_path / "ca.crt")
    )
    assert {key: value for key, value in found.params.items() if not key.startswith("ssl")} == {
        "host": "pg-rw", "port": "5432", "dbname": "app", "user": "shop",
    }  # fmt: skip
    assert found.params["sslmode"] == "verify-full"
    assert found.password == "se:c\\ret-1"


@pytest.mark.parametrize(
    ("host", "uri", "expected"),
    [
        # A copy of the Secret in another namespace: the short name resolves to nothing there, or to another tenant's
        # server.
        ("shop-rw", "shop-rw.prod", "shop-rw.prod"),
        ("shop-rw", "shop-rw.prod.svc.cluster.local", "shop-rw.prod.svc.cluster.local"),
        ("Shop-RW", "shop-rw.prod", "shop-rw.prod"),
        # Another name is an override, as before.
        ("shop-ro", "shop-rw.prod", "shop-ro"),
        ("shop", "shop-rw.prod", "shop"),
        ("shop-rw.prod.svc", "shop-rw.prod", "shop-rw.prod.svc"),
        ("shop-rw.other", "shop-rw.prod", "shop-rw.other"),
        ("shop-rw.prod", "shop-rw.prod.svc.cluster.local", "shop-rw.prod.svc.cluster.local"),
        ("a,b", "a.prod,b.prod", "a,b"),
    ],
)
def test_row_96_a_short_host_gives_way_to_its_full_name_in_uri(
    tmp_path: Path, host: str, uri: str, expected: str
) -> None:
    keys = {**CNPG, "host": host, "uri": f"postgresql://shop:x@{uri}:5432/shop"}
    assert credentials.load(write(tmp_path, keys)).params["host"] == expected


def test_a_uri_alone_keeps_its_parameters(tmp_path: Path) -> None:
    uri = "postgresql://me:p%40ss@db.example/app?sslmode=verify-full&sslrootcert=/ca.crt"
    found = credentials.load(write(tmp_path, {"uri": uri + "\n"}))
    assert found.password == "p@ss"
    assert found.params == {
        "host": "db.example",
        "port": "5432",
        "dbname": "app",
        "user": "me",
        "sslmode": "verify-full",
        "sslrootcert": "/ca.crt",
    }


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({}, "missing host, dbname, user, password"),
        ({"host": "h", "dbname": "d", "user": "u"}, "missing password"),
        ({"uri": "postgresql://u:topsecret@h/d?nonsense=1"}, "not a PostgreSQL connection URI"),
        ({"uri": "postgresql://u:topsecret@h:none/d"}, "'none' is not a number"),
        ({"uri": "postgresql://u:topsecret@h/d?sslpassword=x"}, "sslpassword"),
        ({"uri": "postgresql://u:topsecret@h/d?sslmode=verify"}, "sslmode 'verify' is none of disable"),
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


NO_CLEARTEXT = {"sslmode": "prefer", "require_auth": "!password"}
UNSAFE_BEFORE_16 = {"sslmode": "require"}


@pytest.mark.parametrize(
    ("secret", "options", "modern", "before_16"),
    [
        # Neither mode nor CA: TLS where it is offered; a libpq that cannot refuse to send the password needs it.
        ({}, TlsOptions(), NO_CLEARTEXT, UNSAFE_BEFORE_16),
        ({"sslmode": "prefer"}, TlsOptions(), NO_CLEARTEXT, {"sslmode": "prefer"}),
        ({"sslmode": "disable"}, TlsOptions(), NO_CLEARTEXT | {"sslmode": "disable"}, {"sslmode": "disable"}),
        ({}, TlsOptions(mode="disable"), NO_CLEARTEXT | {"sslmode": "disable"}, {"sslmode": "disable"}),
        ({"sslmode": "verify-full"}, TlsOptions(mode="disable"), NO_CLEARTEXT | {"sslmode": "disable"},
         {"sslmode": "disable"}),
        ({}, TlsOptions(mode="require"), {"sslmode": "require"}, {"sslmode": "require"}),
        # A CA of the Environment replaces mode and CA of the Secret.
        ({"sslmode": "disable"}, TlsOptions(ca=Path("/ca")), {"sslmode": "verify-full", "sslrootcert": "/ca"}, ...),
        ({"sslrootcert": "/b"}, TlsOptions("verify-ca", Path("/ca")), {"sslmode": "verify-ca", "sslrootcert": "/ca"},
         ...),
        ({"sslrootcert": "system"}, TlsOptions(mode="require"), {"sslmode": "require"}, ...),
        ({"sslrootcert": "system"}, TlsOptions(), {"sslmode": "verify-full", "sslrootcert": "system"}, ...),
        ({"sslrootcert": "/b", "sslmode": "require"}, TlsOptions(), {"sslmode": "require", "sslrootcert": "/b"}, ...),
        # A client certificate needs TLS.
        ({}, TlsOptions(certificate=Path("/c"), key=Path("/k")), {"sslmode": "require", "sslcert": "/c"}, ...),
        (
            {"sslmode": "verify-full"},
            TlsOptions(certificate=Path("/c"), key=Path("/k")),
            {"sslmode": "verify-full", "sslcert": "/c"},
            ...,
        ),
    ],
)  # fmt: skip
def test_the_tls_parameters_of_a_connection(
    tmp_path: Path, secret: dict[str, str], options: TlsOptions, modern: dict[str, str], before_16: dict[str, str]
) -> None:
    keys = {key: value for key, value in CNPG.items() if key != "uri"}
    found = credentials.load(write(tmp_path, keys | secret), options=options)
    place = {"host": "shop-rw", "port": "5432", "dbname": "shop", "user": "shop"}
    assert conninfo_to_dict(found.conninfo(knows_require_auth=True)) == place | modern
    expected = modern if before_16 is ... else before_16
    assert conninfo_to_dict(found.conninfo(knows_require_auth=False)) == place | expected
    assert found.needs_tls_before_16 == (expected["sslmode"] in ("require", "verify-ca", "verify-full"))


def test_require_auth_of_a_uri_is_kept_or_replaced_by_tls(tmp_path: Path) -> None:
    uri = "postgresql://me:password@h/d?sslmode=prefer&require_auth=scram-sha-256"
    found = credentials.load(write(tmp_path, {"uri": uri}))
    assert "require_auth=scram-sha-256" in found.conninfo(knows_require_auth=True)
    assert "sslmode=require" in found.conninfo(knows_require_auth=False)
    assert "require_auth" not in found.conninfo(knows_require_auth=False)


def test_a_unix_socket_needs_no_tls(tmp_path: Path) -> None:
    keys = {key: value for key, value in CNPG.items() if key != "uri"}
    found = credentials.load(write(tmp_path, keys | {"host": "/run/postgresql"}))
    for knows in (True, False):
        parsed = conninfo_to_dict(found.conninfo(knows_require_auth=knows))
        assert (parsed["sslmode"], "require_auth" in parsed) == ("prefer", False)
    assert not found.needs_tls_before_16


def test_a_ca_in_the_secret_is_its_own_file(tmp_path: Path) -> None:
    keys = {**CNPG, "sslrootcert": "-----BEGIN CERTIFICATE-----\nx\n"}
    found = credentials.load(write(tmp_path, keys))
    assert found.params["sslrootcert"] == str(tmp_path / "sslrootcert")
    assert found.params["sslmode"] == "verify-full"


def test_the_private_key_is_ours_alone_and_goes(tmp_path: Path) -> None:
    key = tmp_path / "mounted.key"
    key.write_text("secret key")
    key.chmod(0o444)
    options = TlsOptions(certificate=tmp_path / "tls.crt", key=key)
    found = credentials.load(write(tmp_path, CNPG), options=options)
    with programs.passfile(found) as environment:
        path = Path(environment["PGSSLKEY"])
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert path.read_text() == "secret key"
    assert not path.exists()
