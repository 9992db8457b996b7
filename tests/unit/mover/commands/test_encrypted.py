"""Encrypted snapshots by the command line: everything with contents is an age file, and only an identity opens it."""

import json
import random
import re
import shutil
import subprocess
import tarfile
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ocore_crds import conditions, naming
from ocore_mover import manifests
from ocore_mover.commands import config_archive
from ocore_mover.store.folder import FolderStore
from support.mover.application import Application
from support.mover.beside import ENVIRONMENT, Finished, call
from support.mover.desk import Desk
from support.mover.plain_desk import Folder, damage_first
from support.mover.site import Site

AGE = b"age-encryption.org/v1\n"
#: Of a file: four chunks, in a pack that is not compressed.
CONTENTS = random.Random(1).randbytes(256_000)  # noqa: S311
SECRET = "a row that no one else may read"
#: Bytes before the first chunk of an object: header and nonce.
START = 168 + 16


class Drawer:
    """A person's identity, made by Debian's age-keygen, in the folder of a mounted Secret."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.file = folder / "identity.txt"
        subprocess.run(["age-keygen", "-o", self.file], check=True, capture_output=True)
        (self.recipient,) = re.findall(r"age1\w+", self.file.read_text())

    @property
    def option(self) -> tuple[str, str]:
        return ("--identity", str(self.folder))

    def decrypt(self, path: Path) -> bytes:
        """With Debian's age."""
        return subprocess.run(["age", "--decrypt", "-i", self.file, path], check=True, capture_output=True).stdout


@pytest.fixture
def drawer(tmp_path: Path) -> Drawer:
    return Drawer(tmp_path / "drawer")


@pytest.fixture
def other(tmp_path: Path) -> Drawer:
    return Drawer(tmp_path / "other")


@pytest.fixture
def desk(site: Site, tmp_path: Path) -> Desk:
    return Desk(site, tmp_path)


class Encrypted(Folder):
    """An encrypted snapshot of a folder."""

    def __init__(self, base: Path, *recipients: str, options: tuple[str, ...] = ()) -> None:
        super().__init__(base)
        (self.claim / "files/b").write_bytes(CONTENTS)
        self.recipients = [option for recipient in recipients for option in ("--recipient", recipient)]
        self.taken = self.snapshot(*self.recipients, *options)
        assert self.taken.code == 0, self.taken.stdout + self.taken.stderr

    @property
    def of_snapshot(self) -> Path:
        return self.store / naming.snapshot_prefix(ENVIRONMENT, self.snapshot_id)

    @property
    def manifest(self) -> Path:
        return self.of_snapshot / "manifest.json"

    def outer(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.manifest.read_text())
        return found

    def change(self, change: Callable[[dict[str, Any]], None]) -> None:
        """As who can write to the store does it."""
        data = self.outer()
        change(data)
        self.manifest.write_text(json.dumps(data, indent=1) + "\n")

    def object(self, name: str) -> Path:
        (found,) = (self.store / o["key"] for o in self.outer()["objects"] if re.search(f"{name}$", o["key"]))
        return found

    def keys(self) -> list[Path]:
        return sorted((self.of_snapshot / "keys").iterdir())

    def extract(self, *more: str) -> Finished:
        """Reads the contents of one file into the store."""
        return call("extract", *self.which, "--extract-id", str(uuid.uuid4()), "--path", "b", *more)


@pytest.fixture
def folder(tmp_path: Path, drawer: Drawer) -> Encrypted:
    return Encrypted(tmp_path / "folder", drawer.recipient)


# --- what the store shows -----------------------------------------------------------------------------------------


def test_whoever_has_the_bucket_learns_nothing_of_the_contents(desk: Desk, drawer: Drawer) -> None:
    Application(desk.site, desk.claim).write_many(3)
    desk.site.sql(f"CREATE TABLE salaries AS SELECT '{SECRET}' AS secret")
    taken = desk.ok("snapshot", "--recipient", drawer.recipient)
    assert taken.result["payload"]["encryption"]["recipients"] == [drawer.recipient]
    names = {path.relative_to(desk.store).as_posix().split("/", 4)[-1] for path in desk.stored()}
    contents = {name for name in names if name not in ("manifest.json",)}
    assert {name.split("/", 1)[0] for name in contents} == {"keys", taken.result["payload"]["attempt"]}
    for path in desk.stored():
        data = path.read_bytes()
        assert data.startswith(AGE) or path.name == "manifest.json", path
        for text in (SECRET, "salaries", desk.site.live, desk.site.role.name, "ir_attachment", "file 1"):
            assert text.encode() not in data, (path, text)
    manifest = json.loads(next(desk.store.rglob("manifest.json")).read_text())
    assert manifest["formatVersion"] == 3
    assert all(obj["key"].endswith(".age") for obj in manifest["objects"])
    assert {"database", "filestore", "config", "evidence"}.isdisjoint(manifest)
    assert set(manifest["identity"]) == {"environmentId", "projectId", "snapshotId", "trigger"}


def test_the_jobs_result_is_that_of_a_snapshot_without_encryption(tmp_path: Path, drawer: Drawer) -> None:
    """Who is in the cluster knows what was taken. The store's bytes and digests are those of the encrypted objects."""
    plain = Encrypted(tmp_path / "plain").taken.result["payload"]
    folder = Encrypted(tmp_path / "encrypted", drawer.recipient)
    found = folder.taken.result["payload"]
    same = ("filestoreFiles", "filestoreBytes", "serverMajor", "databaseBytes")
    assert {name: found[name] for name in same} == {name: plain[name] for name in same}
    assert set(found["identity"]) == set(plain["identity"])
    assert any(drawer.recipient in line for line in found["evidence"]["proven"])
    assert found["storedBytes"] == sum(o["size"] for o in folder.outer()["objects"])
    inspected = call("inspect", *folder.which).result["payload"]
    kept = {"manifestSha256", "storedBytes", "checksums", "paths", "filestoreFiles", "filestoreBytes", "encryption",
            "consistentAt", "attempt", "filestoreStoredBytes"}  # fmt: skip
    assert {name: inspected[name] for name in kept} == {name: found[name] for name in kept}
    assert "with an identity only" in inspected["evidence"]["warnings"][0]


def test_what_needs_no_contents_needs_no_identity(tmp_path: Path, folder: Encrypted) -> None:
    verified = call("verify", *folder.which)
    assert verified.code == 0, verified.stdout
    assert verified.result["payload"]["objects"] == len(folder.outer()["objects"])
    listed = call("list-manifests", "--store", folder.store.as_uri(), "--environment", f"{ENVIRONMENT}:{ENVIRONMENT}")
    assert listed.code == 0, listed.stdout
    assert listed.result["payload"]["listed"] == 1
    swept = call("sweep", "--store", folder.store.as_uri(), "--older-than", "0")
    assert (swept.result["payload"]["objects"], swept.result["payload"]["manifests"]) == (0, 1), swept.stdout
    target = tmp_path / "remote"
    target.mkdir()
    assert call("probe-store", "--store", target.as_uri()).code == 0
    digest = folder.taken.result["payload"]["manifestSha256"]
    ids = folder.which[2:]
    copied = call("copy-remote", "--store", target.as_uri(), "--source-store", folder.store.as_uri(), *ids)
    assert copied.code == 0, copied.stdout
    remote = ("--store", target.as_uri(), "--store-id", copied.result["payload"]["storeId"])
    checked = call("check-copy", *remote, *ids, "--manifest-sha256", digest)
    assert checked.code == 0, checked.stdout
    for path in target.rglob("keys/*"):
        path.unlink()
    lost = call("check-copy", *remote, *ids, "--manifest-sha256", digest)
    refused(lost, conditions.REMOTE_COPY_LOST, "no key object")
    left = call("delete", *folder.which, "--attempts-only")
    assert left.result["payload"]["objects"] == 0
    assert folder.keys()
    assert call("delete", *folder.which).code == 0
    assert not list(folder.of_snapshot.rglob("*.age"))


def test_a_copy_is_opened_by_the_same_identities(
    tmp_path: Path, folder: Encrypted, drawer: Drawer, other: Drawer
) -> None:
    """A recipient that is added later is in the copy after the next one."""
    target = tmp_path / "remote"
    target.mkdir()
    assert call("probe-store", "--store", target.as_uri()).code == 0
    copy = ("copy-remote", "--store", target.as_uri(), "--source-store", folder.store.as_uri(), *folder.which[2:])
    assert call(*copy).code == 0
    add_recipient(folder, drawer, other)
    again = call(*copy)
    assert (again.code, again.result["payload"]["objectsSent"]) == (0, 0)
    shutil.rmtree(folder.store)
    target.rename(folder.store)
    for identity in (drawer, other):
        done = folder.extract(*identity.option)
        assert done.code == 0, done.stdout


def add_recipient(folder: Encrypted, known: Drawer, new: Drawer) -> int:
    """As docs/format.md says, with Debian's age. Returns the bytes of the key object."""
    identity = known.decrypt(folder.keys()[0])
    made = subprocess.run(["age", "-r", new.recipient], input=identity, check=True, capture_output=True).stdout
    (folder.keys()[0].parent / "by-hand-1.age").write_bytes(made)
    return len(made)


# --- with an identity -----------------------------------------------------------------------------------------------


def test_either_recipient_restores(desk: Desk, drawer: Drawer, other: Drawer) -> None:
    application = Application(desk.site, desk.claim)
    application.write_many(20)
    desk.site.sql(f"CREATE TABLE salaries AS SELECT '{SECRET}' AS secret")
    desk.ok("snapshot", "--recipient", drawer.recipient, "--recipient", other.recipient)
    desk.site.sql("DELETE FROM salaries")
    previewed = desk.ok("preview", *other.option).result["payload"]
    assert previewed["unread"] == [] or not previewed.get("unread")
    tested = call("test-restore", *desk.which, "--database", str(desk.site.secret), "--scratch", str(desk.scratch),
                  "--capacity", str(10**12), *drawer.option)  # fmt: skip
    assert tested.code == 0, tested.stdout
    assert not tested.result["payload"].get("findings")
    assert tested.result["payload"]["attachments"] == 20
    desk.ok("restore", *other.option)
    assert desk.site.copy_sql("SELECT secret FROM salaries") == [(SECRET,)]


def test_the_result_of_an_extract_is_an_age_file(folder: Encrypted, drawer: Drawer, tmp_path: Path) -> None:
    done = folder.extract(*drawer.option)
    assert done.code == 0, done.stdout
    found = done.result["payload"]["extracted"]
    path = folder.store / found["key"]
    assert found["key"].endswith("files.tar.age")
    assert found["size"] == path.stat().st_size
    (tmp_path / "files.tar").write_bytes(drawer.decrypt(path))
    with tarfile.open(tmp_path / "files.tar") as archive:
        file = archive.extractfile("b")
        assert file is not None
        assert file.read() == CONTENTS
    listing = call("extract", *folder.which, "--extract-id", str(uuid.uuid4()), "--list", "", *drawer.option)
    assert listing.code == 0, listing.stdout
    lines = drawer.decrypt(folder.store / listing.result["payload"]["extracted"]["key"]).splitlines()
    assert sorted(json.loads(line)["name"] for line in lines) == ["a", "b"]


def test_by_hand_with_age_and_tar(folder: Encrypted, drawer: Drawer, tmp_path: Path) -> None:
    """The commands of docs/format.md, with Debian's programs."""
    script = f"""
    set -euo pipefail
    age --decrypt -i {drawer.file} {folder.keys()[0]} > identity.txt
    for object in $(find {folder.of_snapshot} -name '*.age' -not -path '*/keys/*'); do
      age --decrypt -i identity.txt -o "$(basename "${{object%.age}}")" "$object"
    done
    for pack in pack-*.tar.zst; do [ ! -e "$pack" ] || zstd -q -d --rm "$pack"; done
    mkdir files; for pack in pack-*.tar; do tar -xf "$pack" -C files; done
    zstd -q -d inner.json.zst
    """
    work = tmp_path / "work"
    work.mkdir()
    subprocess.run(["bash", "-c", script], cwd=work, check=True)
    assert (work / "files/b").read_bytes() == CONTENTS
    inner = json.loads((work / "inner.json").read_text())
    assert inner["filestore"]["fileCount"] == 2
    assert (work / "config.tar").exists()


# --- bad input ------------------------------------------------------------------------------------------------------


def refused(done: Finished, reason: str, *texts: str) -> None:
    assert done.reason == reason, done.stdout
    for text in texts:
        assert text in done.message


def test_without_an_identity_nothing_is_read(folder: Encrypted, drawer: Drawer) -> None:
    refused(folder.extract(), conditions.IDENTITY_MISSING, drawer.recipient, "identitySecretRef")


def test_a_foreign_identity_opens_nothing(folder: Encrypted, other: Drawer, drawer: Drawer) -> None:
    refused(folder.extract(*other.option), conditions.IDENTITY_WRONG, drawer.recipient)


@pytest.mark.parametrize("text", ["", "# only a comment\n", "AGE-SECRET-KEY-1QQQ\n", "recipient"])
def test_a_file_that_is_no_identity(folder: Encrypted, other: Drawer, text: str) -> None:
    other.file.chmod(0o600)
    other.file.write_text(other.recipient if text == "recipient" else text)
    done = folder.extract(*other.option)
    refused(done, conditions.IDENTITY_INVALID, "identity.txt: ")
    assert "QQQ" not in done.message


def test_a_secret_without_a_file(folder: Encrypted, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    (empty / "..data").mkdir(parents=True)
    refused(folder.extract("--identity", str(empty)), conditions.IDENTITY_INVALID)


def test_a_recipient_that_is_no_key(tmp_path: Path, drawer: Drawer) -> None:
    folder = Folder(tmp_path / "folder")
    wrong = drawer.recipient[:-1] + ("q" if drawer.recipient[-1] != "q" else "p")
    done = folder.snapshot("--recipient", wrong)
    assert done.code != 0
    assert not [name for name in folder.objects() if name.endswith(".age")]


def test_an_object_of_another_snapshot_is_refused(folder: Encrypted, drawer: Drawer) -> None:
    """Of the same length, and encrypted to the same person."""
    first, pack = folder.snapshot_id, folder.object(r"pack-\d+\.tar\.age")
    folder.snapshot_id = str(uuid.uuid4())
    assert folder.snapshot(*folder.recipients).code == 0
    theirs = folder.object(r"pack-\d+\.tar\.age").read_bytes()
    folder.snapshot_id = first
    assert len(theirs) == pack.stat().st_size
    pack.write_bytes(theirs)
    assert folder.extract(*drawer.option).reason == conditions.CORRUPT


def test_an_object_that_ends_after_a_chunk_is_refused(folder: Encrypted, drawer: Drawer) -> None:
    """The manifest was changed to fit, as who can write to the store does it. One file is read, from a part of the pack
    that is whole: the part after the cut is missing, and this is noticed by the chunk that says it is the last."""
    pack = folder.object(r"pack-\d+\.tar\.age")
    size = START + 65552 * 2
    assert pack.stat().st_size > size
    pack.write_bytes(pack.read_bytes()[:size])

    def fit(data: dict[str, Any]) -> None:
        for obj in data["objects"]:
            if obj["key"].endswith(pack.name):
                obj["size"] = size

    folder.change(fit)
    assert folder.extract(*drawer.option).reason == conditions.CORRUPT


def test_the_inner_manifest_of_another_attempt_is_refused(folder: Encrypted, drawer: Drawer) -> None:
    first = folder.snapshot_id, folder.outer()
    folder.snapshot_id = str(uuid.uuid4())
    assert folder.snapshot(*folder.recipients).code == 0
    other_id, other = folder.snapshot_id, folder.outer()
    inner = folder.object("inner.json.zst.age").read_bytes()
    key = folder.keys()[0].read_bytes()
    folder.snapshot_id = first[0]
    folder.object("inner.json.zst.age").write_bytes(inner)
    folder.keys()[0].write_bytes(key)

    def swap(data: dict[str, Any]) -> None:
        data["encryption"] = other["encryption"]
        ours = next(o for o in data["objects"] if o["key"] == data["inner"])
        theirs = next(o for o in other["objects"] if o["key"] == other["inner"])
        ours |= {"size": theirs["size"], "sha256": theirs["sha256"]}

    folder.change(swap)
    assert other_id != first[0]
    done = folder.extract(*drawer.option)
    refused(done, conditions.CORRUPT, "is not the inner manifest of")


def test_an_object_that_the_inner_manifest_does_not_know_is_refused(folder: Encrypted, drawer: Drawer) -> None:
    def add(data: dict[str, Any]) -> None:
        data["objects"].append({**data["objects"][-1], "key": data["objects"][-1]["key"] + "x"})

    folder.change(add)
    refused(folder.extract(*drawer.option), conditions.CORRUPT, "is not the inner manifest of")


@pytest.mark.parametrize("part", ["filestore", "database"])
def test_a_base_that_this_version_does_not_know_is_refused(folder: Encrypted, part: str) -> None:
    """Else a deletion would not spare it."""
    folder.change(lambda data: data.update(bases={part: {"snapshotId": str(uuid.uuid4())}}))
    assert call("verify", *folder.which).reason == conditions.CORRUPT


def test_false_key_objects_are_passed_over(folder: Encrypted, drawer: Drawer, other: Drawer) -> None:
    """Who can write to the store adds objects that open nothing, before and after the true one."""
    true = folder.keys()[0]
    (true.parent / "0-0.age").write_bytes(b"no age file")
    (true.parent / "zz-9.age").write_bytes(true.read_bytes()[:100])
    made = subprocess.run(
        ["age", "-r", drawer.recipient], input=other.file.read_bytes(), check=True, capture_output=True
    ).stdout
    (true.parent / "a0-0.age").write_bytes(made)
    assert folder.extract(*drawer.option).code == 0


def test_a_flood_of_key_objects_hides_none(
    folder: Encrypted, drawer: Drawer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who can write to the store adds more of them than are read, all before the true one."""
    monkeypatch.setattr(manifests, "MOST_KEYS", 3)
    for number in range(5):
        (folder.keys()[0].parent / f"0-{number}.age").write_bytes(AGE)
    assert folder.extract(*drawer.option).code == 0
    target = tmp_path / "remote"
    target.mkdir()
    assert call("probe-store", "--store", target.as_uri()).code == 0
    copy = call("copy-remote", "--store", target.as_uri(), "--source-store", folder.store.as_uri(), *folder.which[2:])
    assert copy.code == 0, copy.stdout
    assert (target / folder.keys()[-1].relative_to(folder.store)).exists()


def test_a_key_object_for_another_identity_is_refused(folder: Encrypted, drawer: Drawer, other: Drawer) -> None:
    made = subprocess.run(
        ["age", "-r", drawer.recipient], input=other.file.read_bytes(), check=True, capture_output=True
    ).stdout
    folder.keys()[0].write_bytes(made)
    refused(folder.extract(*drawer.option), conditions.IDENTITY_WRONG)


def test_without_key_objects_the_reason_says_so(folder: Encrypted, drawer: Drawer) -> None:
    folder.keys()[0].unlink()
    refused(folder.extract(*drawer.option), conditions.IDENTITY_WRONG, "keys/")


def test_a_recipient_is_added_by_hand(folder: Encrypted, drawer: Drawer, other: Drawer) -> None:
    """With Debian's age alone: one small object, and no data is written."""
    before = {path: path.stat().st_mtime_ns for path in folder.of_snapshot.rglob("*") if path.is_file()}
    assert add_recipient(folder, drawer, other) < 1024
    assert folder.extract(*other.option).code == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_an_encrypted_snapshot_is_no_base_and_has_none(folder: Encrypted, drawer: Drawer) -> None:
    full = folder.taken.result["payload"]["manifestSha256"]
    base = ("--base-snapshot-id", folder.snapshot_id, "--base-manifest-sha256", full)
    folder.snapshot_id = str(uuid.uuid4())
    plain = folder.snapshot(*base)
    assert plain.code == 0, plain.stdout
    assert plain.result["payload"]["baseSnapshotId"] == ""
    assert any("encrypted" in warning for warning in plain.result["payload"]["evidence"]["warnings"])
    digest = plain.result["payload"]["manifestSha256"]
    base = ("--base-snapshot-id", folder.snapshot_id, "--base-manifest-sha256", digest)
    folder.snapshot_id = str(uuid.uuid4())
    encrypted = folder.snapshot(*base, *folder.recipients)
    assert encrypted.code == 0, encrypted.stdout
    assert encrypted.result["payload"]["baseSnapshotId"] == ""
    assert encrypted.result["payload"]["filestoreStoredBytes"] > len(CONTENTS)


def test_a_killed_attempt_leaves_no_key_that_hides_the_next_one(desk: Desk, drawer: Drawer) -> None:
    Application(desk.site, desk.claim).write_many(2)
    killed = desk.armed("snapshot", "after-upload-before-manifest", "--recipient", drawer.recipient)
    assert killed.code != 0
    assert not list(desk.store.rglob("manifest.json"))
    desk.ok("snapshot", "--recipient", drawer.recipient)
    desk.ok("restore", *drawer.option)


# --- mode Current: a Job identity beside the recipients -------------------------------------------------------------


class Current(Encrypted):
    """A full snapshot that a Job identity opens, too, and the next one, with a new file."""

    def __init__(self, base: Path, drawer: Drawer, job: Drawer, *more: str) -> None:
        self.job, self.spare = job, Drawer(base.with_name(base.name + "-spare"))
        super().__init__(base, drawer.recipient, *more, options=("--job-identity", str(job.folder)))
        self.full_id, self.full = self.snapshot_id, self.taken.result["payload"]
        self.snapshot_id = str(uuid.uuid4())
        (self.claim / "files/new").write_bytes(b"new")

    def next(self, base: Path | None = None, *more: str) -> Finished:
        """A differential where the base can be opened with what the folder `base` has."""
        choice = ("--base-snapshot-id", self.full_id, "--base-manifest-sha256", self.full["manifestSha256"])
        identities = ("--base-identity", str(base or self.job.folder), "--job-identity", str(self.spare.folder))
        self.taken = self.snapshot(*self.recipients, *choice, *identities, *more)
        assert self.taken.code == 0, self.taken.stdout + self.taken.stderr
        return self.taken

    @property
    def is_differential(self) -> bool:
        return self.outer().get("bases", {}).get("filestore", {}).get("snapshotId") == self.full_id

    def of_full(self) -> Path:
        return self.store / naming.snapshot_prefix(ENVIRONMENT, self.full_id)


@pytest.fixture
def current(tmp_path: Path, drawer: Drawer, other: Drawer) -> Current:
    return Current(tmp_path / "folder", drawer, other)


def test_an_encrypted_differential_stores_what_is_new(current: Current, drawer: Drawer, tmp_path: Path) -> None:
    payload = current.next(None, "--verify", "Full").result["payload"]
    assert current.is_differential
    assert payload["baseSnapshotId"] == current.full_id
    assert payload["filestoreStoredBytes"] < current.full["filestoreStoredBytes"]
    assert payload["encryption"]["jobKey"] == current.full["encryption"]["jobKey"] == current.job.recipient
    assert not [text for text in payload["evidence"].get("warnings", ()) if "base" in text or "sealed" in text]
    for path in current.of_snapshot.rglob("*"):
        assert not path.is_file() or path.name == "manifest.json" or path.read_bytes().startswith(AGE)
    for identity in (drawer, current.job):  # a file of the base, and one of its own
        for name in ("b", "new"):
            done = call("extract", *current.which, "--extract-id", str(uuid.uuid4()), "--path", name, *identity.option)
            assert done.code == 0, done.stdout
    where = ("--claim", str(current.claim), "--filestore", "files", "--layout", "Plain", "--scratch", str(tmp_path))
    restored = call("restore", *current.which, *where, "--rollback-id", str(uuid.uuid4()), *current.job.option)
    assert restored.code == 0, restored.stdout
    (found,) = (path for path in (current.claim / ".ocore").rglob("b") if path.is_file())
    assert found.read_bytes() == CONTENTS


def test_the_next_generation_closes_the_one_before_to_jobs(current: Current, drawer: Drawer) -> None:
    current.next()
    first = current.snapshot_id
    current.snapshot_id = str(uuid.uuid4())
    taken = current.snapshot(*current.recipients, "--job-identity", str(current.spare.folder))
    assert taken.result["payload"]["encryption"]["jobKey"] == current.spare.recipient
    assert current.extract(*current.spare.option).code == 0
    assert current.extract(*current.job.option).reason == conditions.IDENTITY_WRONG
    current.snapshot_id = first
    assert current.extract(*current.spare.option).reason == conditions.IDENTITY_WRONG
    assert current.extract(*drawer.option).code == 0


@pytest.mark.parametrize("secret", ["missing", "empty", "foreign", "malformed"])
def test_without_the_bases_identity_it_is_full(current: Current, tmp_path: Path, secret: str) -> None:
    """The Secret was deleted, or replaced by who can write it."""
    found = tmp_path / "mounted"
    if secret == "foreign":
        Drawer(found)
    elif secret != "missing":
        found.mkdir()
        if secret == "malformed":
            (found / "identity.txt").write_text("AGE-SECRET-KEY-1QQQ\n")
    payload = current.next(found).result["payload"]
    assert not current.is_differential
    assert any("a full snapshot was taken" in text for text in payload["evidence"]["warnings"])
    assert payload["encryption"]["jobKey"] == current.spare.recipient
    assert current.extract(*current.spare.option).code == 0


def test_without_an_identity_of_its_own_it_is_sealed(current: Current, drawer: Drawer) -> None:
    shutil.rmtree(current.spare.folder)
    shutil.rmtree(current.job.folder)
    payload = current.next().result["payload"]
    assert not current.is_differential
    assert "jobKey" not in payload["encryption"]
    assert any("sealed" in text for text in payload["evidence"]["warnings"])
    assert len(current.keys()) == 1
    assert current.extract(*drawer.option).code == 0


def test_a_differential_that_outgrows_its_base_gets_a_new_identity(current: Current) -> None:
    (current.claim / "files/much").write_bytes(CONTENTS * 3)
    payload = current.next().result["payload"]
    assert not current.is_differential
    assert payload["encryption"]["jobKey"] == current.spare.recipient
    assert current.extract(*current.job.option).reason == conditions.IDENTITY_WRONG


def test_a_sealed_snapshot_is_no_base(tmp_path: Path, drawer: Drawer, other: Drawer) -> None:
    """Else its files could be read with the differential's Job identity."""
    current = Current(tmp_path / "folder", drawer, other)
    current.snapshot_id = current.full_id = str(uuid.uuid4())
    current.full = current.snapshot(*current.recipients).result["payload"]
    current.snapshot_id = str(uuid.uuid4())
    payload = current.next(drawer.folder).result["payload"]
    assert not current.is_differential
    assert any("not encrypted to a Job identity" in text for text in payload["evidence"]["warnings"])


def test_a_new_recipient_needs_a_full_one(current: Current, tmp_path: Path) -> None:
    """He could open the differential, and not its files."""
    new = Drawer(tmp_path / "new")
    payload = current.next(None, "--recipient", new.recipient).result["payload"]
    assert not current.is_differential
    assert any(new.recipient in text for text in payload["evidence"]["warnings"])


def test_a_recipient_who_leaves_keeps_the_base(tmp_path: Path, drawer: Drawer, other: Drawer) -> None:
    leaving = Drawer(tmp_path / "leaving")
    current = Current(tmp_path / "folder", drawer, other, leaving.recipient)
    del current.recipients[-2:]
    current.next()
    assert current.is_differential
    assert current.extract(*leaving.option).reason == conditions.IDENTITY_WRONG
    assert current.extract(*drawer.option).code == 0


def test_plain_and_encrypted_are_no_base_of_each_other(current: Current) -> None:
    choice = ("--base-snapshot-id", current.full_id, "--base-manifest-sha256", current.full["manifestSha256"])
    plain = current.snapshot(*choice, "--base-identity", str(current.job.folder))
    assert any("is encrypted" in text for text in plain.result["payload"]["evidence"]["warnings"])
    current.full_id, current.full = current.snapshot_id, plain.result["payload"]
    current.snapshot_id = str(uuid.uuid4())
    current.next()
    assert not current.is_differential


def test_the_bases_packs_are_those_of_both_manifests(current: Current, drawer: Drawer) -> None:
    """Who can write to the store takes one out of the outer manifest, so that a sweep or a copy does not see it."""
    current.next()
    current.change(lambda data: data["bases"]["filestore"]["packs"].clear())
    refused(current.extract(*drawer.option), conditions.CORRUPT, "is not the inner manifest of")


def test_a_base_without_its_key_object_is_lost(current: Current, drawer: Drawer, tmp_path: Path) -> None:
    """The object for Jobs is no proof that a person can open it."""
    current.next()
    target = tmp_path / "remote"
    target.mkdir()
    assert call("probe-store", "--store", target.as_uri()).code == 0
    ids = ("--environment-id", ENVIRONMENT, "--snapshot-id")
    for each in (current.full_id, current.snapshot_id):
        copied = call("copy-remote", "--store", target.as_uri(), "--source-store", current.store.as_uri(), *ids, each)
        assert copied.code == 0, copied.stdout
    assert not list(target.rglob("*-job.age"))
    remote = ("--store", target.as_uri(), "--store-id", copied.result["payload"]["storeId"])
    digest = ("--manifest-sha256", current.taken.result["payload"]["manifestSha256"])
    assert call("check-copy", *remote, *ids, current.snapshot_id, *digest).code == 0
    for path in (target / naming.snapshot_prefix(ENVIRONMENT, current.full_id)).rglob("*-0.age"):
        path.rename(path.with_name(path.name.replace("-0.age", "-job.age")))
    lost = call("check-copy", *remote, *ids, current.snapshot_id, *digest)
    refused(lost, conditions.REMOTE_COPY_LOST, "no key object")


def test_the_bases_key_object_is_locked_with_a_differential(current: Current, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else its lock ends earlier than that of the differential, which then cannot be opened."""
    locked: list[str] = []
    monkeypatch.setattr(FolderStore, "lock", lambda _, keys: locked.extend(keys))
    current.next()
    names = {key.removeprefix(f"environments/{ENVIRONMENT}/snapshots/") for key in locked}
    of_full = {
        path.relative_to(current.of_full().parent).as_posix() for path in current.of_full().rglob("keys/*-0.age")
    }
    assert of_full <= names
    assert f"{current.snapshot_id}/keys/{current.keys()[0].name}" in names
    assert not [name for name in names if name.endswith("-job.age")]


def test_a_base_that_loses_its_key_object_ends_the_attempt(current: Current, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the differential is taken: nothing is published that no person can open."""

    def lose() -> None:
        for path in current.of_full().rglob("*-0.age"):
            path.unlink()

    choice = ("--base-snapshot-id", current.full_id, "--base-manifest-sha256", current.full["manifestSha256"])
    with monkeypatch.context() as patched:
        damage_first(config_archive, "capture", lose, patched)
        done = current.snapshot(*current.recipients, *choice, "--base-identity", str(current.job.folder))
    refused(done, conditions.BASE_GONE, "no key object")
    assert current.is_none()


def test_a_differential_of_a_database_and_its_files(desk: Desk, drawer: Drawer, other: Drawer) -> None:
    """Layout Odoo, with PostgreSQL."""
    application = Application(desk.site, desk.claim)
    application.write_many(20)
    both = ("--recipient", drawer.recipient, "--job-identity", str(other.folder))
    full = desk.ok("snapshot", *both).result["payload"]
    desk.snapshot_id = str(uuid.uuid4())
    application.write_many(2)
    base = ("--base-snapshot-id", full["identity"]["snapshotId"], "--base-manifest-sha256", full["manifestSha256"])
    taken = desk.ok("snapshot", *both, *base, "--base-identity", str(other.folder)).result["payload"]
    assert taken["baseSnapshotId"] == full["identity"]["snapshotId"]
    tested = call("test-restore", *desk.which, "--database", str(desk.site.secret), "--scratch", str(desk.scratch),
                  "--capacity", str(10**12), *other.option)  # fmt: skip
    assert tested.code == 0, tested.stdout
    assert not tested.result["payload"].get("findings")
    assert tested.result["payload"]["attachments"] == 22
    desk.ok("restore", *other.option)
