"""The configuration, stored as one tar."""

import errno
import io
import os
import re
import stat
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ocore_crds import conditions
from ocore_crds.naming import CLAIM_FOLDER
from ocore_crds.reports.base import Finding
from ocore_crds.stored.manifest import ConfigArtifact
from ocore_crds.text.quantity import human
from ocore_mover.disk import closing_fd
from ocore_mover.errors import MoverError
from ocore_mover.filestore.folders import ClaimFolders
from ocore_mover.filestore.links import OPEN_FILE
from ocore_mover.store.interface import Store

KEY = "config/config.tar"
#: Places that a warning names, at most.
LISTED = 5
#: Of a file on the claim, as of a ConfigMap: it is in memory as a whole.
MAX_BYTES = 1 << 20
#: Times that a file is read which is written at the same time.
READS = 3

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


@dataclass(frozen=True)
class Keys:
    """The keys of a mounted ConfigMap."""

    folder: Path
    what: str = "ConfigMap"  # for messages
    path: str = ""  # of a file on the claim

    def files(self) -> Iterator[tuple[str, bytes]]:
        """The keys, sorted."""
        if not self.folder.is_dir():
            raise MoverError(
                conditions.CONFIG_NOT_FOUND,
                f"the configuration's folder {self.folder} does not exist; check spec.config",
            )
        # The kubelet keeps the data in folders whose names begin with two dots, and links the keys to them.
        for path in sorted(p for p in self.folder.iterdir() if p.is_file() and not p.name.startswith("..")):
            yield path.name, path.read_bytes()


@dataclass(frozen=True)
class ClaimFile:
    """One file on the filestore's claim. The application may replace it, or a folder above it, by a link to the Job's
    own secrets."""

    folders: ClaimFolders
    path: str
    what: str = "configuration's file"

    def files(self) -> Iterator[tuple[str, bytes]]:
        """The file, as it is between two writes."""
        parts = PurePosixPath(self.path).parts
        if not parts or self.path.startswith("/") or ".." in parts or parts[0] == CLAIM_FOLDER:
            raise self._unusable(
                f"the path must be relative to the claim's root, stay in it and not be in {CLAIM_FOLDER}"
            )
        try:
            with self.folders.opened_parent(self.folders.claim.joinpath(*parts)) as (parent, name):
                fd = os.open(name, OPEN_FILE, dir_fd=parent)
            with closing_fd(fd):
                yield parts[-1], self._whole(fd)
        except OSError as error:
            reason = "a symbolic link, which is not followed" if error.errno == errno.ELOOP else error.strerror
            raise self._unusable(f"uid {os.getuid()} cannot read it ({reason})") from error

    def _whole(self, fd: int) -> bytes:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise self._unusable("it is not a file")
        for _ in range(READS):
            before = os.fstat(fd)
            content = os.pread(fd, MAX_BYTES + 1, 0)
            if len(content) > MAX_BYTES:
                raise self._unusable(f"it has more than {human(MAX_BYTES)}")
            after = os.fstat(fd)
            if (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns) and len(
                content
            ) == after.st_size:
                return content
        raise self._unusable("it changes while it is read")

    def _unusable(self, why: str) -> MoverError:
        return MoverError(
            conditions.CONFIG_NOT_FOUND,
            f"the configuration {self.path!r} on the filestore's claim cannot be stored: {why}. Correct"
            " spec.config.path of the Environment, or the file",
        )


Source = Keys | ClaimFile


def findings(source: Source) -> tuple[Finding, ...]:
    """Why a snapshot could not store the configuration, for a probe."""
    try:
        for _ in source.files():
            pass
    except MoverError as error:
        return (error.finding(),)
    return ()


def _warning(what: str, places: Sequence[str]) -> str:
    more = f" and {len(places) - LISTED} more" if len(places) > LISTED else ""
    return (
        f"the {what} holds what looks like secrets: {', '.join(places[:LISTED])}{more}; the snapshot stores them in"
        " clear text. Move them to a Secret, which no snapshot stores, or encrypt the store and restrict who reads it"
    )


def capture(store: Store, prefix: str, source: Source) -> tuple[ConfigArtifact, tuple[str, ...]]:
    """Stores the configuration below ``<prefix>config/``. The same files give the same bytes. Returns also warnings.

    Raises MoverError ConfigNotFound, StoreError.
    """
    secrets: list[str] = []
    count = 0
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for count, (name, content) in enumerate(source.files(), start=1):  # noqa: B007 - used after the loop
            secrets.extend(secrets_in(name, content))
            member = tarfile.TarInfo(name)
            member.size = len(content)
            member.mode = 0o644
            archive.addfile(member, io.BytesIO(content))
    with store.writer(prefix + KEY) as writer:
        writer.write(buffer.getvalue())
        stored = writer.commit()
    artifact = ConfigArtifact(archive=stored, file_count=count, path=source.path)
    return artifact, (_warning(source.what, secrets),) if secrets else ()
