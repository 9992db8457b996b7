"""The configuration, stored as one tar."""

import io
import re
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from ocore_crds import conditions
from ocore_crds.manifest import ConfigArtifact
from ocore_mover.errors import MoverError
from ocore_mover.store.base import Store

KEY = "config/config.tar"
#: Places that a warning names, at most.
LISTED = 5

_KEYS = r"[\w.-]*(?:passw(?:or)?d|passphrase|secret|token|api[_-]?key|access[_-]?key|private[_-]?key)[\w.-]*"
#: ``admin_passwd = x``, ``"password": "x"``, ``export TOKEN=x``.
_ASSIGNMENT = re.compile(rf"^\s*(?:export\s+)?[\"']?({_KEYS})[\"']?\s*[:=]\s*(.*?)[\s,;]*$", re.IGNORECASE)
_NAME = re.compile(_KEYS, re.IGNORECASE)
#: A setting about a secret, not the secret: ``password_file``, ``token_expiry_seconds``.
_ABOUT = re.compile(
    r"(file|path|dir|ref|name|length|expiry|expires|ttl|timeout|seconds|minutes|hours|days|policy|url|header)$", re.I
)
#: Not set, a reference to a variable, or a hash such as Odoo's ``$pbkdf2-sha512$…``.
_NO_VALUE = re.compile(r"""^(["']{0,2}|false|true|none|null|[0-9]{1,5}|["']?[$%{<].*)$""", re.IGNORECASE)
_URI_PASSWORD = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s:/@]*:[^\s@/$%{<]+@", re.IGNORECASE)
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")


def secrets_in(name: str, content: bytes) -> Iterator[str]:
    """Places in a key of a ConfigMap that look like a secret: ``odoo.conf line 3 (admin_passwd)``. Never the value."""
    text = content.decode(errors="replace")
    if _NAME.fullmatch(name) and not _ABOUT.search(name) and not _NO_VALUE.match(text.strip()):
        yield name
        return
    for number, line in enumerate(text.splitlines(), start=1):
        found = _ASSIGNMENT.match(line)
        if found is not None and not _ABOUT.search(found[1]) and not _NO_VALUE.match(found[2].strip()):
            yield f"{name} line {number} ({found[1]})"
        elif _PRIVATE_KEY.search(line):
            yield f"{name} line {number} (private key)"
        elif _URI_PASSWORD.search(line):
            yield f"{name} line {number} (password in a URL)"


def _warning(places: Sequence[str]) -> str:
    more = f" and {len(places) - LISTED} more" if len(places) > LISTED else ""
    return (
        f"the ConfigMap holds what looks like secrets: {', '.join(places[:LISTED])}{more}; the snapshot stores them in clear text. Move them to a "
        "Secret, which no snapshot stores, or encrypt the store and restrict who reads it"
    )


def capture(store: Store, prefix: str, folder: Path) -> tuple[ConfigArtifact, tuple[str, ...]]:
    """Stores the keys of a mounted ConfigMap below ``<prefix>config/``. The same keys give the same bytes. Returns also warnings.

    Raises MoverError ConfigNotFound, StoreError.
    """
    if not folder.is_dir():
        raise MoverError(
            conditions.CONFIG_NOT_FOUND, f"the configuration's folder {folder} does not exist; check spec.config"
        )
    # The kubelet keeps the data in folders whose names begin with two dots, and links the keys to them.
    paths = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".."))
    secrets: list[str] = []
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in paths:
            content = path.read_bytes()
            secrets.extend(secrets_in(path.name, content))
            member = tarfile.TarInfo(path.name)
            member.size = len(content)
            member.mode = 0o644
            archive.addfile(member, io.BytesIO(content))
    with store.writer(prefix + KEY) as writer:
        writer.write(buffer.getvalue())
        stored = writer.commit()
    return ConfigArtifact(archive=stored, file_count=len(paths)), (_warning(secrets),) if secrets else ()
