"""``kubectl ocore unhide`` on a real S3 server with versions, with snapshots that the mover has taken."""

import io
import json
import os
import re
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ocore_cli import options, s3, unhide, versions
from ocore_cli.errors import Denied, Refused
from ocore_cli.selection import Access
from ocore_cli.versions import Version
from ocore_crds.stored.manifest import StoredObject
from ocore_crds.stored.object_versions import COMPARED
from support.cli import DONE, FakeObjects, Object, run
from support.mover.beside import ENVIRONMENT, call
from support.mover.seaweed import SeaweedFS
from support.mover.signing_key import Key

VERSIONED = "unhide"
LARGE = 6 * 1024 * 1024


class Bucket:
    """A prefix of its own in a bucket with versioning, and a snapshot in it."""

    def __init__(self, server: SeaweedFS, folder: Path) -> None:
        self.server, self.prefix, self.client = server, f"unhide-{uuid.uuid4().hex[:8]}", server.client()
        self.folder, self.files = folder, folder / "claim/files"
        self.files.mkdir(parents=True)
        (self.files / "a").write_bytes(os.urandom(LARGE))
        self.options = server.options(VERSIONED, self.prefix)
        assert call("probe-store", *self.options).code == 0
        self.snapshots: dict[str, Object] = {}
        self.take("before")

    def take(self, name: str, *more: str) -> Object:
        """Takes a snapshot. Returns the result of its Job."""
        id_ = str(uuid.uuid4())
        done = call(
            "snapshot", *self.options, "--environment-id", ENVIRONMENT, "--snapshot-id", id_,
            "--claim", str(self.folder / "claim"), "--filestore", "files", "--layout", "Plain", *more,
        )  # fmt: skip
        assert done.code == 0, done.stdout
        payload: Object = done.result["payload"]
        stored = {field: payload[field] for field in ("manifestKey", "manifestSha256")}
        status = {**DONE["status"], "storeName": "store", "id": id_, **stored}
        self.snapshots[name] = {**DONE, "metadata": {**DONE["metadata"], "name": name}, "status": status}
        return payload

    def objects(self, name: str = "before") -> Any:
        spec = {"s3": {"bucket": VERSIONED, "prefix": self.prefix, "endpoint": self.server.endpoint}}
        store = {"metadata": {"name": "store"}, "spec": spec}
        found = FakeObjects(snapshot=[self.snapshots[name]], snapshotstore=[store])
        found.others["snapshot"] = list(self.snapshots.values())
        return found

    def run(self, *names: str, apply: bool = False) -> tuple[bool, str, str]:
        """Whether everything was found, what is printed, and the notes."""
        out, notes = io.StringIO(), io.StringIO()
        whole = unhide.run(
            self.objects(*names), Console(file=out, width=300), Console(file=notes, width=300), "store", names,
            Access(), apply=apply,
        )  # fmt: skip
        return whole, out.getvalue(), notes.getvalue()

    def newest(self) -> dict[str, bytes]:
        found = self.client.list_objects_v2(Bucket=VERSIONED, Prefix=f"{self.prefix}/environments/")
        keys = [each["Key"] for each in found.get("Contents", ()) if not each["Key"].endswith("state.json")]
        return {key: self.client.get_object(Bucket=VERSIONED, Key=key)["Body"].read() for key in keys}

    def versions(self) -> set[tuple[str, str]]:
        found = self.client.list_object_versions(Bucket=VERSIONED, Prefix=f"{self.prefix}/")
        return {(v["Key"], v["VersionId"]) for kind in ("Versions", "DeleteMarkers") for v in found.get(kind, ())}

    def put(self, key: str, data: bytes) -> None:
        self.client.put_object(Bucket=VERSIONED, Key=key, Body=data)

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket=VERSIONED, Key=key)

    def attack(self, *, hidden: bool = True) -> None:
        """Each object in another manner: hidden, overwritten by one of the same length, by a larger one, emptied. The
        manifest is overwritten by one that can be read, and then hidden, too."""
        for number, (key, data) in enumerate(self.newest().items()):
            if key.endswith("manifest.json"):
                self.put(key, json.dumps({**json.loads(data), "requestedBy": "a thief"}).encode())
                if hidden:
                    self.delete(key)
            elif number % 4 == 0:
                self.delete(key)
            else:
                self.put(key, (b"", b"?" * len(data), b"?" * (len(data) + 1))[number % 4 - 1])

    def verify(self, name: str = "before") -> int:
        ids = ("--environment-id", ENVIRONMENT, "--snapshot-id", self.snapshots[name]["status"]["id"])
        return call("verify", *self.options, *ids).code

    def pack(self) -> str:
        """Key of the object that has the file."""
        return max((len(data), key) for key, data in self.newest().items())[1]


@pytest.fixture(scope="module")
def versioned(seaweed: SeaweedFS) -> SeaweedFS:
    """The server; the bucket exists."""
    client = seaweed.client()
    client.create_bucket(Bucket=VERSIONED)
    client.put_bucket_versioning(Bucket=VERSIONED, VersioningConfiguration={"Status": "Enabled"})
    return seaweed


@pytest.fixture
def bucket(versioned: SeaweedFS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", versioned.key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", versioned.secret)
    return Bucket(versioned, tmp_path)


@pytest.mark.parametrize(("part", "page"), [(versions.PART, versions.PAGE), (5 * 1024 * 1024, 2)])
def test_row_156_what_was_deleted_and_overwritten_is_the_newest_again(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, part: int, page: int
) -> None:
    """Also in parts, and where the versions do not fit into one page."""
    monkeypatch.setattr(versions, "PART", part)
    monkeypatch.setattr(versions, "PAGE", page)
    before = bucket.newest()
    assert bucket.run()[0]
    bucket.attack()
    attacked = bucket.versions()
    whole, text, _ = bucket.run()
    assert whole
    assert f"{len(before)} objects" in text
    assert "Nothing was written" in text
    assert bucket.versions() == attacked
    assert bucket.verify() != 0
    assert bucket.run(apply=True)[0]
    assert bucket.newest() == before
    assert attacked <= bucket.versions(), "nothing is deleted"
    assert bucket.verify() == 0
    assert bucket.run(apply=True)[1].startswith("0 objects")


def test_row_156_a_differential_brings_its_full_one_along(bucket: Bucket) -> None:
    before, full = bucket.newest(), bucket.snapshots["before"]["status"]
    (bucket.files / "b").write_bytes(b"new")
    base = ("--base-snapshot-id", full["id"], "--base-manifest-sha256", full["manifestSha256"])
    assert bucket.take("later", *base)["baseSnapshotId"] == full["id"]
    both = bucket.newest()
    assert before.items() < both.items()
    bucket.attack()
    for key in both:
        if "/dependents/" in key:
            bucket.delete(key)
    assert bucket.run("later", apply=True)[0]
    found = bucket.newest()
    assert found.keys() == both.keys()  # with the marker that protects the full one; its contents do not count
    assert {key: found[key] for key in found if "/dependents/" not in key}.items() <= both.items()
    assert (bucket.verify("later"), bucket.verify()) == (0, 0)


def test_row_156_keys_and_signatures_come_back(bucket: Bucket, tmp_path: Path) -> None:
    """The manifest does not name them: the oldest version counts, because only the Job wrote before."""
    subprocess.run(["age-keygen", "-o", tmp_path / "identity"], check=True, capture_output=True)
    (recipient,) = re.findall(r"age1\w+", (tmp_path / "identity").read_text())
    bucket.take("sealed", "--recipient", recipient, *Key(tmp_path, "signer").signing)
    (own,) = [key for key in bucket.newest() if "/keys/" in key]
    bucket.put(f"{own.rpartition('/')[0]}/{recipient}.age", b"of a recipient that was added")
    before = bucket.newest()
    assert any(key.endswith("manifest.sig") for key in before)
    bucket.attack(hidden=False)
    assert bucket.run(apply=True)[0]
    assert bucket.newest() == before


def test_row_156_bytes_of_another_digest_are_never_written(bucket: Bucket) -> None:
    """The stored version is gone for good, and the only one of its size is a false one, which is hidden."""
    key, before = bucket.pack(), bucket.versions()
    (stored,) = [version for found, version in before if found == key]
    bucket.put(key, b"?" * len(bucket.newest()[key]))
    bucket.delete(key)
    bucket.client.delete_object(Bucket=VERSIONED, Key=key, VersionId=stored)
    left = bucket.versions()
    whole, text, notes = bucket.run(apply=True)
    assert not whole
    assert text.startswith("0 objects")
    assert f"{key.removeprefix(bucket.prefix + '/')}: no version has the bytes" in notes
    assert bucket.versions() == left


def test_a_manifest_of_another_digest_is_not_believed(bucket: Bucket) -> None:
    bucket.snapshots["before"]["status"]["manifestSha256"] = "0" * 64
    before = bucket.versions()
    whole, _, notes = bucket.run(apply=True)
    assert not whole
    assert "manifest.json: no version has the bytes" in notes
    assert bucket.versions() == before


def test_what_is_deleted_on_purpose_does_not_come_back(bucket: Bucket) -> None:
    bucket.snapshots["before"]["metadata"]["deletionTimestamp"] = "x"
    with pytest.raises(Refused, match="no Snapshot"):
        bucket.run(apply=True)
    with pytest.raises(Refused, match="Snapshot before has no data"):
        bucket.run("before", apply=True)


def test_the_command_writes_only_with_apply(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bucket.snapshots["before"]["status"]["phase"] = "Corrupt"
    monkeypatch.setattr(options, "Objects", lambda *_, **__: bucket.objects())
    key = bucket.pack()
    bucket.delete(key)
    left = bucket.versions()
    assert run("unhide", "store", "before") == 0
    assert bucket.versions() == left
    assert run("unhide", "ostore/store", "--apply") == 0
    assert len(bucket.versions()) == len(left) + 1
    assert "kubectl ocore verify NAME (before)" in capsys.readouterr().err
    bucket.snapshots["before"]["status"]["manifestSha256"] = "0" * 64
    assert run("unhide", "store") == 1


def test_a_right_that_is_missing_is_named(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket.delete(bucket.pack())
    asked = s3.asked

    def refused(url: str, *more: Any) -> Any:
        if more[-1] == "PUT":
            raise Denied("the store answers 403 AccessDenied")
        return asked(url, *more)

    monkeypatch.setattr(s3, "asked", refused)
    with pytest.raises(Denied, match=r"403 AccessDenied\. These keys need the right s3:PutObject and s3:GetObject"):
        bucket.run(apply=True)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    with pytest.raises(Denied, match="the right s3:ListBucketVersions"):
        bucket.run()


class ManyVersions:
    """A bucket in which a thief has written an object thousands of times after the Job, with its size."""

    def __init__(self, key: str) -> None:
        self.key, self.read = key, 0

    def versions(self, _: str) -> Iterator[Version]:
        for number in range(20_000, -1, -1):
            yield Version(self.key, str(number), 5, str(number), marker=False, newest=number == 20_000)

    def sha256(self, version: Version) -> str:
        self.read += 1
        return ("a" if version.id == "0" else "b") * 64


def test_row_156_thousands_of_versions_of_one_object_cost_a_few_reads() -> None:
    key, bucket, candidates = "a/b", ManyVersions("a/b"), unhide._Candidates()
    for version in bucket.versions(key):
        candidates.add_fitting(version, lambda each: each.size == 5)
    assert len(candidates.ordered()) == COMPARED + 1
    wanted = {key: StoredObject(key=key, sha256="a" * 64, size=5)}
    found = unhide._stored(bucket, wanted, key, candidates)  # type: ignore[arg-type]
    assert found is not None
    assert (found.id, bucket.read) == ("0", 2)
