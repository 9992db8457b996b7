"""``kubectl ocore keys``: who can open encrypted snapshots, and one more recipient for them. It runs outside of the
cluster: the identity that opens them stays here. docs/format.md#encrypted-snapshots.
"""

import hashlib
import html
import json
import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ocore_crds import naming
from ocore_crds.kinds import SNAPSHOT, SNAPSHOT_STORE
from ocore_crds.resources.snapshot import SnapshotStatus
from ocore_crds.resources.snapshotstore import S3, SnapshotStoreSpec
from ocore_crds.text.age_keys import recipient_problem
from ocore_crds.text.quantity import counted

from . import age, s3
from .certificates import ca_of
from .errors import CliError, Refused
from .objects import Object, Objects, needed
from .selection import Access
from .stored import has_data

#: Bytes of a manifest and of a key object, at most.
_MANIFEST, _KEY = 256 * 1024 * 1024, 64 * 1024
_LISTED = re.compile(r"<Key>([^<]*)</Key>")
_SECONDS = 60


@dataclass(frozen=True)
class _Sealed:
    """An encrypted snapshot, and how this program reads its store."""

    name: str
    status: SnapshotStatus
    store: S3
    keys: s3.Credentials
    ca: str | None
    endpoint: str | None

    @property
    def prefix(self) -> str:
        """Of its key objects."""
        key = self.status.manifest_key or ""
        return key.rpartition("/")[0] + "/keys/"

    def read(self, key: str, limit: int) -> bytes:
        """An object. Raises CliError."""
        data = bytearray()
        for chunk in s3.get(s3.url_of(self.store, key, self.endpoint), self.store.region, self.keys, self.ca):
            data += chunk
            if len(data) > limit:
                raise CliError(f"{key} is larger than {limit} bytes: it is not what was stored")
        return bytes(data)

    def listed(self) -> list[str]:
        """Names of its key objects, 1,000 at most."""
        prefix = quote(f"{self.store.prefix}/{self.prefix}".lstrip("/"), safe="-_.~")
        base = s3.url_of(self.store, "", self.endpoint).removesuffix(quote(f"{self.store.prefix}/".lstrip("/")))
        url = f"{base}?list-type=2&prefix={prefix}"
        text = b"".join(s3.get(url, self.store.region, self.keys, self.ca)).decode(errors="replace")
        return [html.unescape(key).rpartition("/")[2] for key in _LISTED.findall(text)]

    def add(self, recipient: str, data: bytes) -> bool:
        """Writes the recipient's key object; False if it exists."""
        url = s3.url_of(self.store, f"{self.prefix}{recipient}.age", self.endpoint)
        return s3.put_new(url, self.store.region, self.keys, self.ca, data)


def show(
    objects: Objects, console: Console, notes: Console, names: Sequence[str], access: Access, store: str = ""
) -> None:
    """Prints who opens each snapshot in the SnapshotStore; none: in the one that it was written to. Raises CliError."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("Snapshot", "Recipients", "Of these added later", "Other key objects"):
        table.add_column(name, overflow="fold")
    single = []
    for sealed in _chosen(objects, names, access, store):
        found = sealed.listed()
        first = sealed.status.encryption.recipients if sealed.status.encryption is not None else ()
        added = [name.removesuffix(".age") for name in found if not recipient_problem(name.removesuffix(".age"))]
        recipients = list(dict.fromkeys((*first, *added)))
        later = [each for each in recipients if each not in first]
        table.add_row(sealed.name, "\n".join(recipients), "\n".join(later), str(len(found) - len(added) - 1))
        if len(recipients) < 2:
            single.append(sealed.name)
    console.print(table, soft_wrap=True)
    if single:
        text = (
            f"Only one recipient opens {counted(len(single), 'snapshot')}: {', '.join(single[:5])}. If that identity is"
            " lost, no one can restore them. Add another one: kubectl ocore keys add"
        )
        notes.print(Text(text, style="yellow"), soft_wrap=True)


def add(objects: Objects, notes: Console, names: Sequence[str], access: Access, recipient: str, store: str = "") -> str:
    """Lets one more recipient open the snapshots in the SnapshotStore; none: in the one that each was written to.
    Writes one small object for each, and reads no data. Returns a summary. Raises CliError; what was added until then
    stays, and the command can be repeated."""
    if problem := recipient_problem(recipient):
        raise Refused(problem)
    identity = access.identity
    if identity is None or not identity.is_file():
        raise Refused("give --identity FILE: an identity file that opens these snapshots now")
    age.need_program()
    added = known = 0
    for sealed in _chosen(objects, names, access, store):
        own = _own(sealed, identity)
        if sealed.add(recipient, _age(["--encrypt", "--recipient", recipient], own)):
            added += 1
        else:
            known += 1
        if (added + known) % 100 == 0:
            notes.print(Text(f"{added + known} snapshots", style="dim"), soft_wrap=True)
    return f"{counted(added, 'key object')} added for {recipient}; {counted(known, 'snapshot')} had one"


def _chosen(objects: Objects, names: Sequence[str], access: Access, given: str) -> Iterator[_Sealed]:
    """The named snapshots; none: every encrypted one of the namespace that is Complete. `given`: the SnapshotStore, for
    example that of their remote copies. Raises CliError."""
    found = [needed(objects, SNAPSHOT, name) for name in names] or [
        obj for obj in objects.list(SNAPSHOT) if _is_sealed(obj, given)
    ]
    if not found:
        place = f" and has data in SnapshotStore {given}" if given else ""
        raise Refused(f"no Complete Snapshot of this namespace is encrypted{place}")
    stores: dict[str, tuple[S3, str | None]] = {}
    keys = s3.credentials(os.environ, access.credentials_file)
    for obj in found:
        name = obj["metadata"]["name"]
        status = SnapshotStatus.model_validate(obj.get("status") or {})
        if status.encryption is None or status.manifest_key is None:
            raise Refused(f"Snapshot {name} is not encrypted, or not stored yet")
        if given and not has_data(obj, status, given):
            raise Refused(f"Snapshot {name} has no data in SnapshotStore {given}, or is being deleted")
        store = given or status.store_name or ""
        if store not in stores:
            spec = SnapshotStoreSpec.model_validate(needed(objects, SNAPSHOT_STORE, store)["spec"], extra="ignore")
            if spec.s3 is None:
                raise Refused(
                    f"the store {store} is on a claim, which is not read from here. Decrypt and encrypt a key object by"
                    " hand in a pod: docs/format.md#encrypted-snapshots"
                )
            stores[store] = spec.s3, ca_of(objects, spec.s3, access.ca_file)
        yield _Sealed(name, status, *stores[store][:1], keys, stores[store][1], access.endpoint)


def _is_sealed(obj: Object, store: str) -> bool:
    status = SnapshotStatus.model_validate(obj.get("status") or {})
    if status.encryption is None or status.manifest_key is None or status.phase != "Complete":
        return False
    return not store or has_data(obj, status, store)


def _own(sealed: _Sealed, identity: Path) -> bytes:
    """The identity file of the snapshot. Raises CliError where it is not that of its manifest: who can write to the
    bucket could give another one."""
    data = sealed.read(sealed.status.manifest_key or "", _MANIFEST)
    if hashlib.sha256(data).hexdigest() != sealed.status.manifest_sha256:
        raise CliError(f"the manifest of {sealed.name} in the store is not the one of its status. Nothing was added")
    manifest = json.loads(data)
    ids = manifest["identity"]
    key = naming.key_object(ids["environmentId"], ids["snapshotId"], manifest["attempt"])
    found = _age(["--decrypt", "--identity", str(identity)], sealed.read(key, _KEY))
    public = _run(["age-keygen", "-y"], found).decode().strip()
    if public != manifest["encryption"]["publicKey"]:
        raise CliError(f"{key} has another identity than the manifest of {sealed.name} names. Nothing was added")
    return found


def _age(arguments: list[str], data: bytes) -> bytes:
    return _run([age.PROGRAM, *arguments], data)


def _run(command: list[str], data: bytes) -> bytes:
    done = subprocess.run(command, input=data, capture_output=True, timeout=_SECONDS, check=False)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise CliError(f"{command[0]} failed: {said}")
    return done.stdout
