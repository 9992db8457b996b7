"""The configuration of a snapshot. Secrets in it go into the snapshot, so the snapshot warns of them (issue 9, item
27)."""

import io
import os
import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ocore_mover.commands import config_archive
from ocore_mover.commands.config_archive import ClaimFile, Keys, capture, findings, secrets_in
from ocore_mover.errors import MoverError
from ocore_mover.filestore.folders import ClaimFolders
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
    artifact, warnings = capture(FolderStore(tmp_path / "store"), "x/", Keys(config))
    assert artifact.file_count == 7
    (warning,) = warnings
    assert "part0.conf line 1 (admin_passwd)" in warning
    assert "and 2 more" in warning
    assert "Move them to a Secret" in warning
    assert "hunter2" not in warning


# --- a file on the filestore's claim ------------------------------------------------------------------------------


@pytest.fixture
def claim(tmp_path: Path) -> Path:
    """With `etc/odoo.conf` and a secret outside."""
    (tmp_path / "claim/etc").mkdir(parents=True)
    (tmp_path / "claim/etc/odoo.conf").write_text("[options]\nworkers = 2\nadmin_passwd = hunter2\n")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/odoo.conf").write_text("a secret of the Job")
    (tmp_path / "store").mkdir()
    return tmp_path / "claim"


def file_on(claim: Path, path: str) -> ClaimFile:
    return ClaimFile(ClaimFolders(claim, "filestore/shop", "11111111-2222-4333-8444-555555555555"), path)


def test_a_file_on_the_claim_is_stored(claim: Path) -> None:
    store = FolderStore(claim.parent / "store")
    artifact, (warning,) = capture(store, "x/", file_on(claim, "etc/odoo.conf"))
    assert (artifact.file_count, artifact.path) == (1, "etc/odoo.conf")
    assert "configuration's file holds what looks like secrets: odoo.conf line 3 (admin_passwd)" in warning
    with tarfile.open(fileobj=io.BytesIO(b"".join(store.read(artifact.archive)))) as archive:
        (member,) = archive.getmembers()
        stored = archive.extractfile(member)
        assert stored is not None
        assert (member.name, stored.read()) == ("odoo.conf", (claim / "etc/odoo.conf").read_bytes())
    assert findings(file_on(claim, "etc/odoo.conf")) == ()


def link_file(claim: Path) -> None:
    (claim / "etc/odoo.conf").unlink()
    (claim / "etc/odoo.conf").symlink_to(claim.parent / "outside/odoo.conf")


def link_folder(claim: Path) -> None:
    (claim / "etc/odoo.conf").unlink()
    (claim / "etc").rmdir()
    (claim / "etc").symlink_to(claim.parent / "outside")


def pipe(claim: Path) -> None:
    (claim / "etc/odoo.conf").unlink()
    os.mkfifo(claim / "etc/odoo.conf")


def large(claim: Path) -> None:
    (claim / "etc/odoo.conf").write_bytes(bytes((1 << 20) + 1))


@pytest.mark.parametrize(
    ("path", "change", "words"),
    [
        ("etc/odoo.conf", link_file, "a symbolic link, which is not followed"),
        ("etc/odoo.conf", link_folder, "a symbolic link, which is not followed"),
        ("etc/odoo.conf", pipe, "it is not a file"),
        ("etc/odoo.conf", large, "more than 1.0 MiB"),
        ("etc", None, "it is not a file"),
        ("etc/none.conf", None, "No such file"),
        ("../outside/odoo.conf", None, "stay in it"),
        ("etc/../../outside/odoo.conf", None, "stay in it"),
        ("/etc/passwd", None, "relative to the claim's root"),
        (".ocore/x", None, "not be in .ocore"),
        ("./.ocore/x", None, "not be in .ocore"),
        (".", None, "relative to the claim's root"),
    ],
)
def test_what_is_no_file_of_the_claim_is_refused(
    claim: Path, path: str, change: Callable[[Path], None] | None, words: str
) -> None:
    if change is not None:
        change(claim)
    with pytest.raises(MoverError, match=re.escape(words)) as raised:
        capture(FolderStore(claim.parent / "store"), "x/", file_on(claim, path))
    assert raised.value.reason == "ConfigNotFound"
    assert "spec.config.path" in raised.value.message
    assert "a secret" not in raised.value.message
    (finding,) = findings(file_on(claim, path))
    assert (finding.reason, finding.message) == ("ConfigNotFound", f"{raised.value.message}.")
    assert list((claim.parent / "store").rglob("*.tar")) == []


def test_a_file_that_never_stops_changing_is_refused(claim: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, file, calls = os.pread, claim / "etc/odoo.conf", []

    def changing(fd: int, size: int, offset: int) -> bytes:
        calls.append(fd)
        os.utime(file, ns=(0, len(calls)))
        return real(fd, size, offset)

    monkeypatch.setattr(config_archive.os, "pread", changing)
    with pytest.raises(MoverError, match="changes while it is read"):
        list(file_on(claim, "etc/odoo.conf").files())
    assert len(calls) == config_archive.READS
