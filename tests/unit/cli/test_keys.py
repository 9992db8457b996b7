"""``kubectl ocore keys`` on a real S3 server, with snapshots that the mover has encrypted."""

import io
import json
import re
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from ocore_cli import keys, s3
from ocore_cli.app import app
from ocore_cli.errors import CliError, Refused
from ocore_cli.selection import Access
from support.cli import DONE, FakeObjects, Object
from support.mover.beside import ENVIRONMENT, call
from support.mover.s3_server import BUCKET
from support.mover.seaweed import SeaweedFS


def person(folder: Path, name: str) -> tuple[Path, str]:
    """An identity file and its recipient."""
    path = folder / name
    subprocess.run(["age-keygen", "-o", path], check=True, capture_output=True)
    (recipient,) = re.findall(r"age1\w+", path.read_text())
    return path, recipient


class Bucket:
    """A prefix of its own with encrypted snapshots, and the objects that name them."""

    def __init__(self, server: SeaweedFS, folder: Path) -> None:
        self.server, self.prefix = server, f"keys-{uuid.uuid4().hex[:8]}"
        self.identity, self.recipient = person(folder, "own")
        self.client = server.client()
        (folder / "claim/files").mkdir(parents=True)
        (folder / "claim/files/a").write_bytes(b"a" * 5000)
        self.claim = folder / "claim"
        assert call("probe-store", *server.options(BUCKET, self.prefix)).code == 0
        self.snapshots: list[Object] = []

    def snapshot(self, *options: str) -> str:
        name, id_ = f"s{len(self.snapshots)}", str(uuid.uuid4())
        done = call(
            "snapshot", *self.server.options(BUCKET, self.prefix), "--environment-id", ENVIRONMENT, "--snapshot-id",
            id_, "--claim", str(self.claim), "--filestore", "files", "--layout", "Plain", *options,
        )  # fmt: skip
        assert done.code == 0, done.stdout
        payload = done.result["payload"]
        status: dict[str, Any] = {**DONE["status"], "phase": "Complete", "storeName": "store"}
        status |= {name: payload[name] for name in ("manifestKey", "manifestSha256")}
        if payload.get("encryption"):
            status["encryption"] = payload["encryption"]
        self.snapshots.append({**DONE, "metadata": {**DONE["metadata"], "name": name}, "status": status})
        return name

    def encrypted(self) -> str:
        return self.snapshot("--recipient", self.recipient)

    def objects(self) -> FakeObjects:
        return self.in_store_of({"s3": {"bucket": BUCKET, "prefix": self.prefix, "endpoint": self.server.endpoint}})

    def in_store_of(self, spec: Object) -> FakeObjects:
        """All snapshots in a listing; the first one by its name."""
        store = {"metadata": {"name": "store"}, "spec": spec}
        found = FakeObjects(snapshot=self.snapshots[:1], snapshotstore=[store])
        found.others["snapshot"] = self.snapshots
        return found

    def in_store(self) -> dict[str, int]:
        """Objects below keys/, with their sizes."""
        found = self.client.list_objects_v2(Bucket=BUCKET, Prefix=f"{self.prefix}/")["Contents"]
        return {obj["Key"]: obj["Size"] for obj in found if "/keys/" in obj["Key"]}

    def body(self, key: str) -> bytes:
        data: bytes = self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        return data


@pytest.fixture
def bucket(seaweed: SeaweedFS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", seaweed.key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", seaweed.secret)
    return Bucket(seaweed, tmp_path)


def quiet() -> Console:
    return Console(file=io.StringIO(), width=300)


def listed(bucket: Bucket, *names: str) -> tuple[str, str]:
    """What is printed, and the notes."""
    console, notes = quiet(), quiet()
    keys.show(bucket.objects(), console, notes, names, Access())  # type: ignore[arg-type]
    return console.file.getvalue(), notes.file.getvalue()  # type: ignore[attr-defined]


def add(bucket: Bucket, recipient: str, *names: str, identity: Path | None = None) -> str:
    access = Access(identity=identity or bucket.identity)
    return keys.add(bucket.objects(), quiet(), names, access, recipient)  # type: ignore[arg-type]


def test_a_recipient_is_added_to_every_snapshot_and_opens_it(bucket: Bucket, tmp_path: Path) -> None:
    names = [bucket.encrypted(), bucket.encrypted()]
    bucket.snapshot()  # not encrypted: it is left alone
    before = bucket.in_store()
    later, recipient = person(tmp_path, "later")
    text, notes = listed(bucket)
    assert "Only one recipient opens 2 snapshots" in notes
    assert recipient not in text
    assert add(bucket, recipient) == f"2 key objects added for {recipient}; 0 snapshots had one"
    new = {key: size for key, size in bucket.in_store().items() if key not in before}
    assert len(new) == 2
    assert all(key.endswith(f"/keys/{recipient}.age") and size < 1024 for key, size in new.items())
    for key in new:
        done = subprocess.run(
            ["age", "-d", "-i", later], input=bucket.body(key), check=True, capture_output=True, timeout=60
        )
        assert b"AGE-SECRET-KEY-1" in done.stdout
    text, notes = listed(bucket)
    assert text.count(recipient) == 4  # as a recipient, and as one that was added later
    assert notes == ""
    assert add(bucket, recipient, names[0]) == f"0 key objects added for {recipient}; 1 snapshot had one"
    assert bucket.in_store() == {**before, **new}


def test_what_is_no_recipient_changes_nothing(bucket: Bucket, tmp_path: Path) -> None:
    bucket.encrypted()
    before = bucket.in_store()
    _, recipient = person(tmp_path, "later")
    for text in (recipient[:-1], bucket.identity.read_text().splitlines()[-1], "ssh-ed25519 AAAA"):
        with pytest.raises(Refused) as refused:
            add(bucket, text)
        assert "AGE-SECRET-KEY-1" not in str(refused.value)
    assert bucket.in_store() == before


def test_a_foreign_identity_adds_nothing(bucket: Bucket, tmp_path: Path) -> None:
    bucket.encrypted()
    before = bucket.in_store()
    foreign, _ = person(tmp_path, "foreign")
    _, recipient = person(tmp_path, "later")
    with pytest.raises(CliError, match="age failed"):
        add(bucket, recipient, identity=foreign)
    assert bucket.in_store() == before


def test_a_forged_key_object_is_noticed(bucket: Bucket, tmp_path: Path) -> None:
    """Who can write to the bucket puts another identity in its place: the new recipient would open nothing."""
    bucket.encrypted()
    (key,) = bucket.in_store()
    forged, _ = person(tmp_path, "forged")
    data = subprocess.run(
        ["age", "-r", bucket.recipient], input=forged.read_bytes(), check=True, capture_output=True, timeout=60
    ).stdout
    bucket.client.put_object(Bucket=BUCKET, Key=key, Body=data)
    _, recipient = person(tmp_path, "later")
    with pytest.raises(CliError, match="has another identity than the manifest"):
        add(bucket, recipient)
    assert set(bucket.in_store()) == {key}


def test_a_manifest_that_was_changed_is_noticed(bucket: Bucket, tmp_path: Path) -> None:
    bucket.encrypted()
    key = f"{bucket.prefix}/{bucket.snapshots[0]['status']['manifestKey']}"
    manifest = json.loads(bucket.body(key))
    manifest["encryption"]["publicKey"] = person(tmp_path, "thief")[1]
    bucket.client.put_object(Bucket=BUCKET, Key=key, Body=json.dumps(manifest).encode())
    with pytest.raises(CliError, match="is not the one of its status"):
        add(bucket, person(tmp_path, "later")[1])


def test_what_is_not_encrypted_is_refused_by_name(bucket: Bucket, tmp_path: Path) -> None:
    name = bucket.snapshot()
    with pytest.raises(Refused, match="is not encrypted"):
        add(bucket, person(tmp_path, "later")[1], name)
    with pytest.raises(Refused, match="no Complete Snapshot"):
        listed(bucket)


def test_a_store_on_a_claim_is_refused(bucket: Bucket) -> None:
    bucket.encrypted()
    objects = bucket.in_store_of({"claim": {"claimName": "c"}})
    with pytest.raises(Refused, match="is on a claim"):
        keys.show(objects, quiet(), quiet(), (), Access())  # type: ignore[arg-type]


def test_a_remote_copy_is_named_by_its_store(bucket: Bucket, tmp_path: Path) -> None:
    """Also where the first bucket is lost."""
    bucket.encrypted()
    bucket.encrypted()
    remote = {"storeName": "far", "state": "Completed", "requestedAt": DONE["metadata"]["creationTimestamp"]}
    bucket.snapshots[0]["status"]["remote"] = remote
    own, bucket.prefix = bucket.prefix, f"{bucket.prefix}-far"
    for key in bucket.client.list_objects_v2(Bucket=BUCKET, Prefix=f"{own}/")["Contents"]:
        source = {"Bucket": BUCKET, "Key": key["Key"]}
        bucket.client.copy_object(Bucket=BUCKET, Key=key["Key"].replace(own, bucket.prefix, 1), CopySource=source)
    before = bucket.in_store()
    found = bucket.in_store_of({"s3": {"bucket": BUCKET, "prefix": bucket.prefix, "endpoint": bucket.server.endpoint}})
    found.states["snapshotstore"][0]["metadata"]["name"] = "far"
    _, recipient = person(tmp_path, "other")
    access = Access(identity=bucket.identity)
    said = keys.add(found, quiet(), (), access, recipient, "far")  # type: ignore[arg-type]
    assert said.startswith("1 key object added")
    (new,) = bucket.in_store().keys() - before.keys()
    assert new.endswith(f"/keys/{recipient}.age")
    console = quiet()
    keys.show(found, console, quiet(), (), access, "far")  # type: ignore[arg-type]
    assert recipient in console.file.getvalue()  # type: ignore[attr-defined]
    assert "s1" not in console.file.getvalue()  # type: ignore[attr-defined]
    remote["state"] = "Pending"
    with pytest.raises(Refused, match="has no data in SnapshotStore far"):
        keys.add(found, quiet(), ("s0",), access, recipient, "far")  # type: ignore[arg-type]


def test_an_object_that_exists_is_left_unchanged(seaweed: SeaweedFS) -> None:
    key = f"new-{uuid.uuid4().hex}"
    url = f"{seaweed.endpoint}/{BUCKET}/{key}"
    found = s3.Credentials(seaweed.key, seaweed.secret)
    assert s3.put_new(url, "us-east-1", found, None, b"first")
    assert not s3.put_new(url, "us-east-1", found, None, b"second")
    assert seaweed.client().get_object(Bucket=BUCKET, Key=key)["Body"].read() == b"first"


@pytest.mark.parametrize("arguments", [("keys", "add"), ("keys", "list", "--recipient", "age1x")])
def test_the_recipient_goes_with_add(arguments: tuple[str, ...]) -> None:
    assert CliRunner().invoke(app, arguments).exit_code == 2
