"""``kubectl ocore ls`` and ``cp``: an Extract, and one read of what it has put into the store."""

import hashlib
import json
import os
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ocore_crds import conditions as c
from ocore_crds.kinds import EXTRACT, SNAPSHOT, SNAPSHOT_STORE
from ocore_crds.reports.extracted import Extracted
from ocore_crds.resources.encryption import SnapshotEncryption
from ocore_crds.resources.extract import ExtractStatus
from ocore_crds.resources.snapshot import SnapshotStatus
from ocore_crds.resources.snapshotstore import SnapshotStoreSpec
from ocore_crds.text.quantity import counted, human

from . import age, claims, s3
from .certificates import ca_of
from .errors import CliError, Refused, TimedOut
from .interrupts import pause
from .objects import Objects, needed
from .selection import Access, wanted

#: Seconds after which the operator removes the result, where this process was killed.
EXPIRES = 3600
#: Of the name of a result that is encrypted.
ENCRYPTED = ".age"
#: Seconds between two reads.
PAUSE = 0.5
#: Seconds before the wait says what it waits for.
QUIET = 3.0


def show(
    objects: Objects,
    notes: Console,
    console: Console,
    snapshot: str,
    path: str,
    access: Access,
    *,
    tables: bool = False,
) -> None:
    """Prints what a folder of the snapshot contains, or its tables. Raises CliError."""
    spec: dict[str, Any] = {
        "listing": {"tables": True} if tables else {"path": path.strip("/")},
        "target": {"store": {}},
        **access.spec(),
    }
    _need_access(objects, snapshot, access)
    with _extract(objects, notes, snapshot, spec, None) as (extract, status), tempfile.TemporaryFile() as file:
        _download(objects, notes, extract, status, access, file)
        file.seek(0)
        table = Table(box=None, pad_edge=False, header_style="bold")
        counted = "Rows" if tables else "Files"
        for name, justify in (("Type", "left"), (counted, "right"), ("Size", "right"), ("Name", "left")):
            table.add_column(name, justify=justify, no_wrap=True, overflow="ignore")  # type: ignore[arg-type]
        for line in file:
            item = json.loads(line)
            count = item.get(counted.lower())
            name = f"{item['schema']}.{item['name']}" if tables else item["name"]
            table.add_row(
                item["type"], str(count if count is not None else ""), human(item["bytes"]), Text(repr(name)[1:-1])
            )
        console.print(table, soft_wrap=True)


def into_claim(
    objects: Objects, notes: Console, snapshot: str, files: dict[str, Any], folder: str, timeout: float | None
) -> str:
    """Extracts files (of :func:`.selection.wanted`) into a new folder on the claim. Returns where it is and until when.
    Raises CliError."""
    return _beside(objects, notes, snapshot, {**files, "target": {"claim": {"path": folder}}}, timeout)


def into_database(
    objects: Objects, notes: Console, snapshot: str, tables: dict[str, Any], timeout: float | None
) -> str:
    """Extracts tables (of :func:`.selection.wanted_tables`) into a new schema of the live database. Returns where they
    are and until when. Raises CliError."""
    return _beside(objects, notes, snapshot, {**tables, "target": {"database": {}}}, timeout)


def _beside(objects: Objects, notes: Console, snapshot: str, spec: dict[str, Any], timeout: float | None) -> str:
    name = _create(objects, snapshot, spec)
    status = _wait(objects, notes, name, timeout)
    found = c.find(status.conditions, c.COMPLETE)
    return f"extract/{name}: {found.message if found is not None else ''}"


def copy(
    objects: Objects,
    notes: Console,
    snapshot: str,
    path: str,
    target: Path,
    access: Access,
    timeout: float | None,
    tables: dict[str, Any] | None = None,
) -> str:
    """Copies a file or folder of the snapshot to this machine, or tables (of :func:`.selection.wanted_tables`) into a
    new folder; nothing that exists is replaced. Returns a summary. Raises CliError."""
    if target.is_dir():
        target = target / PurePosixPath(path).name
    if target.exists() or target.is_symlink():
        raise Refused(f"{target} exists: name a target that does not exist")
    if not target.parent.is_dir():
        raise Refused(f"the folder {target.parent} does not exist. Create it")
    _need_access(objects, snapshot, access)
    spec = {**(tables or {**wanted(path), "target": {"store": {}}}), **access.spec()}
    with (
        _extract(objects, notes, snapshot, spec, timeout) as (name, status),
        tempfile.TemporaryDirectory(prefix=".ocore-cp-", dir=target.parent) as work,
        tempfile.TemporaryFile(dir=target.parent) as file,
    ):
        _download(objects, notes, name, status, access, file, target.parent)
        file.seek(0)
        links = unpack(file, path if "files" in spec else "", Path(work) / "new")
        (Path(work) / "new").rename(target)
    result = status.result or Extracted()
    left_out = f"; left out: {counted(links, 'symbolic link')}" if links else ""
    rows = f" with {counted(result.rows, 'row')}" if tables is not None else ""
    return f"{target}: {counted(result.files, 'file')} of {human(result.bytes)}{rows}{left_out}"


def unpack(file: IO[bytes], path: str, target: Path) -> int:
    """Unpacks the tar of a path: the file itself, or what is below the folder (empty: everything). Returns the number
    of links, which are left out. Raises CliError for a name that leads elsewhere: a store's contents are not
    trusted."""
    links = 0
    with tarfile.open(fileobj=file) as archive:
        for member in archive:
            below = "" if member.name == path else member.name.removeprefix(f"{path}/" if path else "")
            parts = below.split("/") if below else []
            if (path and below == member.name) or any(part in ("", ".", "..") for part in parts):
                raise CliError(f"the tar has the name {member.name!r}, which is not below {path!r}")
            place = target.joinpath(*parts)
            if member.isdir():
                place.mkdir(parents=True, exist_ok=True)
            elif not member.isfile():
                links += 1
            else:
                place.parent.mkdir(parents=True, exist_ok=True)
                content = archive.extractfile(member)
                with place.open("xb") as new:
                    while content is not None and (chunk := content.read(1024 * 1024)):
                        new.write(chunk)
                os.utime(place, (member.mtime, member.mtime))
    if not target.exists():
        target.mkdir()  # links only
    return links


def _need_access(objects: Objects, snapshot: str, access: Access) -> None:
    """Raises CliError where the caller could not read the snapshot's store, or what an Extract puts there: before an
    Extract is created."""
    status = SnapshotStatus.model_validate(needed(objects, SNAPSHOT, snapshot).get("status") or {})
    if status.encryption is not None:
        _need_identity(snapshot, status.encryption, access)
    name = status.store_name or ""
    found = objects.get(SNAPSHOT_STORE, name) if name else None
    if found is not None and SnapshotStoreSpec.model_validate(found["spec"], extra="ignore").claim is not None:
        claims.need_kubectl()
    else:
        try:
            s3.credentials(os.environ, access.credentials_file)
        except CliError as error:
            raise CliError(f"{error}. To need none, copy into the claim: claim:FOLDER") from error


def _need_identity(snapshot: str, encryption: SnapshotEncryption, access: Access) -> None:
    """Raises CliError where an encrypted snapshot, or its result, could not be opened."""
    closed = access.identity_secret is None and encryption.job_identity_secret is None
    if closed or access.identity is None:
        raise Refused(
            f"Snapshot {snapshot} is encrypted. Give --identity-secret NAME, the Secret with an identity that the Job"
            " uses, and --identity FILE, yours: what comes out is encrypted for the same recipients"
        )
    if not access.identity.is_file():
        raise Refused(f"{access.identity} is not a file with an identity of age")
    age.need_program()


@contextmanager
def _extract(
    objects: Objects, notes: Console, snapshot: str, spec: dict[str, Any], timeout: float | None
) -> Iterator[tuple[str, ExtractStatus]]:
    """Name and status of a new Extract, which is deleted after the block, with what it has made."""
    name = _create(objects, snapshot, {**spec, "expiresAfterSeconds": EXPIRES})
    try:
        yield name, _wait(objects, notes, name, timeout)
    finally:
        with suppress(CliError):  # it expires
            objects.delete(EXTRACT, name)


def _create(objects: Objects, snapshot: str, spec: dict[str, Any]) -> str:
    spec = {"snapshotRef": {"name": snapshot}, "requestedBy": objects.user(), **spec}
    body = EXTRACT.new(objects.namespace, spec, generateName=f"{snapshot[:150]}-")
    name: str = objects.create(EXTRACT, body)["metadata"]["name"]
    return name


def _wait(
    objects: Objects,
    notes: Console,
    name: str,
    timeout: float | None,
    clock: Callable[[], float] = time.monotonic,
) -> ExtractStatus:
    """The status of an Extract that succeeded. Raises CliError."""
    began, shown = clock(), ""
    while True:
        status = ExtractStatus.model_validate(needed(objects, EXTRACT, name).get("status") or {})
        failed, waits = c.find(status.conditions, c.FAILED), c.find(status.conditions, c.RECONCILING)
        if c.outcome(status.conditions) == "Complete":
            return status
        if failed is not None:
            raise CliError(f"extract/{name} failed: {failed.reason}: {failed.message}")
        text = waits.message if waits is not None else "Waiting for the operator."
        if timeout is not None and clock() - began > timeout:
            raise TimedOut(f"extract/{name} has not ended after {timeout:.0f} s: {text}")
        if text != shown and clock() - began > QUIET:
            notes.print(Text(text, style="dim"), soft_wrap=True)
            shown = text
        pause(PAUSE)


def _download(
    objects: Objects,
    notes: Console,
    extract: str,
    status: ExtractStatus,
    access: Access,
    file: IO[bytes],
    folder: Path | None = None,
) -> None:
    """Reads the object of the Extract into the file, compares its SHA-256, and decrypts it where it is encrypted.
    `folder`: for what is not decrypted yet. Raises CliError."""
    result = status.result or Extracted()
    if result.key is not None and result.key.endswith(ENCRYPTED):
        with tempfile.TemporaryFile(dir=folder) as received:
            _receive(objects, notes, extract, status, access, received)
            received.seek(0)
            _decrypt(received, file, access)
    else:
        _receive(objects, notes, extract, status, access, file)


def _decrypt(received: IO[bytes], file: IO[bytes], access: Access) -> None:
    """With the program age. Raises CliError where it fails: what it has written until then is not used."""
    if access.identity is None:
        raise CliError("the result is encrypted. Give --identity FILE")
    done = subprocess.run(
        [age.PROGRAM, "--decrypt", "--identity", str(access.identity)],
        stdin=received,
        stdout=file,
        stderr=subprocess.PIPE,
        check=False,
    )
    if done.returncode:
        raise CliError(f"age cannot decrypt the result: {done.stderr.decode(errors='replace').strip()}")


def _receive(
    objects: Objects, notes: Console, extract: str, status: ExtractStatus, access: Access, file: IO[bytes]
) -> None:
    store, result = status.store_name or "", status.result or Extracted()
    spec = SnapshotStoreSpec.model_validate(needed(objects, SNAPSHOT_STORE, store)["spec"], extra="ignore")
    if result.key is None:
        raise CliError(f"the Extract has put nothing into the store {store}")
    digest, read = hashlib.sha256(), 0
    with closing(_chunks(objects, notes, extract, status, spec, access)) as chunks:
        for chunk in chunks:
            read += len(chunk)
            if result.size is not None and read > result.size:
                break  # what is longer is not it, and could fill the disk
            digest.update(chunk)
            file.write(chunk)
    if digest.hexdigest() != result.sha256:
        raise CliError(
            f"{result.key} in store {store} is not what the Extract has written: its SHA-256 differs. Try again"
        )


def _chunks(
    objects: Objects, notes: Console, extract: str, status: ExtractStatus, spec: SnapshotStoreSpec, access: Access
) -> Generator[bytes, None, None]:
    """The object of the Extract, as the caller can read the store. Raises CliError."""
    key = (status.result or Extracted()).key or ""
    if spec.claim is not None:
        yield from claims.read(objects, notes, extract, status, spec.claim)
    elif spec.s3 is not None:
        keys = s3.credentials(os.environ, access.credentials_file)
        url = s3.url_of(spec.s3, key, access.endpoint)
        yield from s3.get(url, spec.s3.region, keys, ca_of(objects, spec.s3, access.ca_file))
