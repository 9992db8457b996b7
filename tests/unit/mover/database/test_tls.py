"""TLS to real servers: what is checked, what is refused and why, and that pg_dump and pg_restore connect the same
way."""

import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from ocore_crds import conditions
from ocore_mover.database import artifact, facts, programs
from ocore_mover.database.connect import Server as Target
from ocore_mover.database.connect import connect
from ocore_mover.database.credentials import Credentials, load
from ocore_mover.database.dump import dump, export
from ocore_mover.database.restore.restore import DatabaseRestore
from ocore_mover.database.tls import TlsOptions
from ocore_mover.deadline import Token
from ocore_mover.errors import MoverError
from ocore_mover.report import Counter
from ocore_mover.store import Store
from support.mover.certificates import Authority
from support.mover.dumps import PREFIX
from support.mover.postgres_majors import Role, Server, create_role, running, write_secret
from support.mover.site import Site, drop_all, make_site

pytestmark = pytest.mark.servers


@dataclass(frozen=True)
class Place:
    """A server that takes TLS connections only, and who signed its certificate."""

    server: Server
    ours: Authority
    other: Authority


@pytest.fixture(scope="module", params=[15, 17])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("authorities")
    ours = Authority(folder / "ours")
    with running(request.param, tls=True) as server:
        server.use_certificate(ours.issue("localhost", "IP:127.0.0.1"))
        server.execute(f"ALTER SYSTEM SET ssl_ca_file = '{_for_server(server, ours.certificate)}'")
        hba = server.base / "data/pg_hba.conf"
        hba.write_text(
            "hostssl all +certificates all cert\nhostssl all +cleartext all password\nhostssl all all all"
            " scram-sha-256\n"
        )
        server.execute("CREATE ROLE certificates; CREATE ROLE cleartext")
        server.reload()
        yield Place(server, ours, Authority(folder / "other"))


def _for_server(server: Server, path: Path) -> str:
    """A copy of the file in the server's data folder, where it may read it."""
    target = server.base / "data" / path.name
    target.write_bytes(path.read_bytes())
    target.chmod(0o644)
    return path.name


@pytest.fixture
def tls_site(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("OCORE_PG_BIN", str(place.server.bin))
    made = make_site(place.server, tmp_path)
    yield made
    drop_all(made)


def refused(credentials: Credentials) -> MoverError:
    """Why the connection fails."""
    with pytest.raises(MoverError) as raised:
        connect(credentials, application="test", patience=0).close()
    return raised.value


def encrypted(credentials: Credentials) -> bool:
    with connect(credentials, application="test", patience=0) as connection:
        return connection.pgconn.ssl_in_use


def test_the_right_ca(place: Place, tls_site: Site) -> None:
    found = load(tls_site.secret, options=TlsOptions(ca=place.ours.certificate))
    assert found.params["sslmode"] == "verify-full"
    assert encrypted(found)


def test_a_wrong_ca(place: Place, tls_site: Site) -> None:
    for mode in (None, "verify-ca", "verify-full"):
        found = load(tls_site.secret, options=TlsOptions(mode=mode, ca=place.other.certificate))
        error = refused(found)
        assert error.reason == conditions.TLS_FAILED
        assert "certificate verify failed" in error.message
        assert "spec.database.tls.ca" in error.message
        assert not error.retryable
        finding, *_ = facts.probe(Target(found)).blocking
        assert finding.reason == conditions.TLS_FAILED


def test_a_wrong_host_name(place: Place, tls_site: Site) -> None:
    place.server.use_certificate(place.ours.issue("elsewhere.example"))
    place.server.reload()
    try:
        error = refused(load(tls_site.secret, options=TlsOptions(ca=place.ours.certificate)))
        assert error.reason == conditions.TLS_FAILED
        assert "does not match host name" in error.message
        assert "verify-ca" in error.message
        assert encrypted(load(tls_site.secret, options=TlsOptions(mode="verify-ca", ca=place.ours.certificate)))
    finally:
        place.server.use_certificate(place.ours.issue("localhost", "IP:127.0.0.1"))
        place.server.reload()


@pytest.mark.parametrize("where", ["uri", "keys"])
def test_sslmode_and_sslrootcert_of_the_secret(place: Place, tls_site: Site, where: str) -> None:
    def secret(authority: Authority, mode: str = "verify-full") -> Credentials:
        if where == "uri":
            role = tls_site.role
            uri = f"postgresql://{role.name}:{role.password}@127.0.0.1:{place.server.port}/{tls_site.live}"
            (tls_site.secret / "uri").write_text(f"{uri}?sslmode={mode}&sslrootcert={authority.certificate}")
        else:
            (tls_site.secret / "sslmode").write_text(mode)
            (tls_site.secret / "sslrootcert").write_text(authority.certificate.read_text())
        return load(tls_site.secret)

    assert encrypted(secret(place.ours))
    assert "certificate verify failed" in refused(secret(place.other)).message
    assert "certificate verify failed" in refused(secret(place.other, mode="verify-ca")).message
    assert "no encryption" in refused(secret(place.ours, mode="disable")).message
    # The Environment goes before the Secret.
    secret(place.other)
    assert encrypted(load(tls_site.secret, options=TlsOptions(ca=place.ours.certificate)))
    assert encrypted(load(tls_site.secret, options=TlsOptions(mode="require")))


def dump_and_restore(
    target: Target, site: Site, store: Store, scratch: Path, counter: Counter, token: Token
) -> list[tuple[object, ...]]:
    """What the restored copy's table holds."""
    with export.export(target, token) as exported:
        properties = artifact.read(exported.connection)
        found = dump.dump(target, exported, properties, store, PREFIX, scratch, counter, token)
    DatabaseRestore(
        server=target,
        names=site.names,
        artifact=found,
        store=store,
        scratch=scratch,
        counter=counter,
        token=token,
        jobs=2,
    ).run()
    return site.copy_sql("SELECT a FROM t", superuser=True)


def test_pg_dump_and_pg_restore_with_a_ca(
    place: Place, tls_site: Site, store: Store, scratch: Path, counter: Counter, token: Token
) -> None:
    tls_site.sql("CREATE TABLE t AS SELECT 7 AS a")
    target = Target(load(tls_site.secret, options=TlsOptions(ca=place.ours.certificate)))
    assert dump_and_restore(target, tls_site, store, scratch, counter, token) == [(7,)]


@pytest.mark.parametrize("name", ["pg_dump", "pg_restore"])
def test_the_programs_check_the_certificate(place: Place, tls_site: Site, tmp_path: Path, name: str) -> None:
    program = programs.find(name, place.server.major)
    archive = tmp_path / "archive"
    for authority, code in ((place.ours, 0), (place.other, 1)):
        found = load(tls_site.secret, options=TlsOptions(ca=authority.certificate))
        arguments = [program.path, "--no-password", f"--dbname={programs.conninfo(program, found)}"]
        if name == "pg_restore":
            dumper = programs.find("pg_dump", place.server.major)
            own = load(tls_site.secret, options=TlsOptions(ca=place.ours.certificate))
            with programs.passfile(own) as environment:
                subprocess.run([dumper.path, "-Fc", f"-f{archive}", f"-d{programs.conninfo(dumper, own)}"],
                               env=environment, check=True)  # fmt: skip
            arguments.append(str(archive))
        with programs.passfile(found) as environment:
            done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        assert ("certificate verify failed" in done.stderr) == bool(code)


def client(place: Place, folder: Path, name: str) -> tuple[Role, TlsOptions]:
    """A role that is let in by its certificate alone, whose key everyone may read, as without an fsGroup."""
    role = create_role(place.server, name, "CREATEDB IN ROLE certificates")
    issued = place.ours.issue(name)
    folder.mkdir()
    for path in (issued.certificate, issued.key):
        (folder / path.name).write_bytes(path.read_bytes())
        (folder / path.name).chmod(0o444)
    return role, TlsOptions(None, place.ours.certificate, folder / issued.certificate.name, folder / issued.key.name)


def test_a_client_certificate_instead_of_a_password(
    place: Place, tmp_path: Path, store: Store, scratch: Path, counter: Counter, token: Token,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("OCORE_PG_BIN", str(place.server.bin))
    role, options = client(place, tmp_path / "client", f"cert-{uuid.uuid4().hex[:8]}")
    live = role.name.replace("-", "_")
    place.server.execute(f'CREATE DATABASE {live} OWNER "{role.name}"')
    place.server.execute(f'CREATE TABLE t AS SELECT 9 AS a; ALTER TABLE t OWNER TO "{role.name}"', live)
    secret = write_secret(tmp_path / "secret", place.server, role, live)
    (secret / "password").unlink()
    site = Site(place.server, role, live, secret, str(uuid.uuid4()))
    try:
        with pytest.raises(MoverError, match="missing password"):
            load(secret)
        without = TlsOptions(ca=options.ca)
        (secret / "password").write_text("anything")
        error = refused(load(secret, options=without))
        assert error.reason == conditions.AUTHENTICATION_FAILED
        assert "spec.database.tls.clientCertificate" in error.message
        (secret / "password").unlink()

        target = Target(load(secret, options=options))
        assert dump_and_restore(target, site, store, scratch, counter, token) == [(9,)]
    finally:
        drop_all(site)


def test_another_roles_client_certificate(place: Place, tmp_path: Path) -> None:
    _, options = client(place, tmp_path / "client", f"cert-{uuid.uuid4().hex[:8]}")
    role = create_role(place.server, f"cert-{uuid.uuid4().hex[:8]}", "IN ROLE certificates")
    secret = write_secret(tmp_path / "secret", place.server, role, "postgres")
    error = refused(load(secret, options=options))
    assert error.reason == conditions.AUTHENTICATION_FAILED
    assert "common name is the role" in error.message


def test_a_key_that_is_none(place: Place, tmp_path: Path) -> None:
    role, options = client(place, tmp_path / "client", f"cert-{uuid.uuid4().hex[:8]}")
    secret = write_secret(tmp_path / "secret", place.server, role, "postgres")
    broken = tmp_path / "tls.key"
    broken.write_text("no key")
    for key, words in ((broken, "PEM data"), (tmp_path / "absent", "cannot be read: No such file")):
        error = refused(load(secret, options=TlsOptions(None, options.ca, options.certificate, key)))
        assert error.reason == conditions.SECRET_INVALID
        assert words in error.message


def test_the_admin_has_the_same_settings(place: Place, tls_site: Site, tmp_path: Path) -> None:
    from ocore_crds.commands.parts import DatabaseAccess, DatabaseTls
    from ocore_mover.commands import opening

    admin = create_role(place.server, f"admin-{tls_site.live}", "SUPERUSER")
    secret = write_secret(tmp_path / "admin", place.server, admin, "postgres")
    for authority in (place.ours, place.other):
        tls = DatabaseTls(ca=str(authority.certificate))
        target = opening.server(DatabaseAccess(secret=str(tls_site.secret), admin=str(secret), tls=tls))
        assert target.admin is not None
        for found in (target.app, target.admin):
            if authority is place.ours:
                assert encrypted(found)
            else:
                assert refused(found).reason == conditions.TLS_FAILED


def test_a_cleartext_password_over_certain_tls(place: Place, tls_site: Site) -> None:
    """LDAP and PAM need it; without certain TLS it is not sent, also where this server would have offered TLS."""
    place.server.execute(f'GRANT cleartext TO "{tls_site.role.name}"')
    assert encrypted(load(tls_site.secret, options=TlsOptions(ca=place.ours.certificate)))
    assert encrypted(load(tls_site.secret, options=TlsOptions(mode="require")))
    error = refused(load(tls_site.secret))
    assert error.reason == conditions.TLS_FAILED
    assert "the password was not sent" in error.message


# --- a server without TLS ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=[15, 17])
def plain(request: pytest.FixtureRequest) -> Iterator[Server]:
    with running(request.param, tls=False) as server:
        hba = server.base / "data/pg_hba.conf"
        hba.write_text("host all +cleartext all password\n" + hba.read_text())
        server.execute("CREATE ROLE cleartext")
        server.reload()
        yield server


@pytest.fixture
def plain_site(plain: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("OCORE_PG_BIN", str(plain.bin))
    made = make_site(plain, tmp_path)
    yield made
    drop_all(made)


def test_a_server_that_declines_tls(plain_site: Site, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    for options in (TlsOptions(mode="require"), TlsOptions(ca=authority.certificate)):
        error = refused(load(plain_site.secret, options=options))
        assert error.reason == conditions.TLS_FAILED
        assert "the server declined TLS" in error.message
        assert "spec.database.tls.mode" in error.message


@pytest.mark.parametrize("mode", [None, "disable"])
def test_no_cleartext_password_without_tls(plain_site: Site, mode: str | None) -> None:
    plain_site.server.execute(f'GRANT cleartext TO "{plain_site.role.name}"')
    with psycopg.connect(
        host="127.0.0.1", port=plain_site.server.port, dbname=plain_site.live, user=plain_site.role.name,
        password=plain_site.role.password,
    ):  # fmt: skip
        pass  # libpq alone sends it
    error = refused(load(plain_site.secret, options=TlsOptions(mode=mode)))
    assert error.reason == conditions.TLS_FAILED
    assert "server requested a cleartext password" in error.message
    assert "the password was not sent" in error.message


def test_scram_without_tls(plain_site: Site, store: Store, scratch: Path, counter: Counter, token: Token) -> None:
    """Goes where the programs can refuse to send the password; older ones need TLS, or leave from the Environment."""
    plain_site.sql("CREATE TABLE t AS SELECT 3 AS a")
    target = Target(load(plain_site.secret))
    program = programs.find("pg_dump", plain_site.server.major)
    assert not encrypted(target.app)
    if programs.knows_require_auth(program):
        assert f"require_auth={'!password'}" in programs.conninfo(program, target.app)
        assert facts.probe(target, attachments=False).blocking == ()
        assert dump_and_restore(target, plain_site, store, scratch, counter, token) == [(3,)]
        return
    assert "sslmode=require" in programs.conninfo(program, target.app)
    (finding,) = facts.probe(target, attachments=False).blocking
    assert finding.reason == conditions.TLS_FAILED
    with pytest.raises(MoverError, match="libpq before 16") as raised:
        dump_and_restore(target, plain_site, store, scratch, counter, token)
    assert raised.value.reason == conditions.TLS_FAILED
    for allowed in (TlsOptions(mode="disable"), None):
        if allowed is None:
            (plain_site.secret / "sslmode").write_text("prefer")
        target = Target(load(plain_site.secret, options=allowed))
        assert facts.probe(target, attachments=False).blocking == ()
        assert dump_and_restore(target, plain_site, store, scratch, counter, token) == [(3,)]


def test_a_user_without_a_passwd_entry_is_no_old_libpq(plain_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs run as any numeric user. Taken for an old libpq, every Environment with a password and without TLS would
    fail."""
    program = programs.find("pg_dump", plain_site.server.major)
    expected = programs.knows_require_auth(program)
    run = subprocess.run
    unknown = ["unshare", "--user", "--map-user=4321", "--map-group=4321"]
    assert run([*unknown, "id", "-un"], capture_output=True, check=False).returncode != 0, "user 4321 exists here"
    monkeypatch.setattr(subprocess, "run", lambda arguments, **more: run([*unknown, *arguments], **more))
    assert programs.knows_require_auth.__wrapped__(program) is expected
