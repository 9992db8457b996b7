"""Signed snapshots by the command line: ``ssh-keygen`` checks what is signed, and nothing else is imported."""

import json
import shutil
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ocore_crds import conditions, naming
from ocore_crds.reports.store_listing import StoredSnapshot, parse
from support.mover.beside import ENVIRONMENT, Finished, call
from support.mover.plain_desk import Folder
from support.mover.signing_key import Key


class Store(Folder):
    """Snapshots of one folder."""

    def next(self, *more: str) -> dict[str, Any]:
        """The result of another snapshot."""
        self.snapshot_id = str(uuid.uuid4())
        done = self.snapshot(*more)
        assert done.code == 0, done.stdout + done.stderr
        found: dict[str, Any] = done.result["payload"]
        return found

    def of(self, snapshot_id: str) -> Path:
        return self.store / naming.snapshot_prefix(ENVIRONMENT, snapshot_id)

    def signature(self, taken: dict[str, Any]) -> Path:
        return self.store / naming.signature_key(ENVIRONMENT, taken["identity"]["snapshotId"], taken["attempt"])

    def listed(self, *signers: str) -> tuple[set[str], list[str]]:
        """Ids of the snapshots that an import finds, and why others are skipped."""
        return listed(self.store, *signers)


def listed(store: Path, *signers: str) -> tuple[set[str], list[str]]:
    done = call("list-manifests", "--store", store.as_uri(), "--environment", f"{ENVIRONMENT}:{ENVIRONMENT}", *signers)
    assert done.code == 0, done.stdout + done.stderr
    lines = [found for line in done.stdout.splitlines() if isinstance(found := parse(line), StoredSnapshot)]
    ids = {line.result.identity.snapshot_id for line in lines if line.result.identity is not None}
    return ids, [each["reason"] for each in done.result["payload"]["skippedExamples"]]


def by_hand(key: Key, manifest: Path, signature: Path, tmp_path: Path) -> int:
    """The command of the guide. Returns its exit code."""
    allowed = tmp_path / "signers"
    allowed.write_text(f"jobs {key.public}\n")
    with manifest.open("rb") as data:
        return subprocess.run(
            ["ssh-keygen", "-Y", "verify", "-f", allowed, "-I", "jobs", "-n", "ocore-snapshot", "-s", signature],
            stdin=data, capture_output=True, check=False,
        ).returncode  # fmt: skip


def refused(done: Finished, reason: str, *words: str) -> None:
    assert (done.code, done.reason) == (1, reason), done.stdout + done.stderr
    for word in words:
        assert word in done.stdout, done.stdout


@pytest.fixture
def key(tmp_path: Path) -> Key:
    return Key(tmp_path, "own")


@pytest.fixture
def thief(tmp_path: Path) -> Key:
    return Key(tmp_path, "thief")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "base")


def chained(first: dict[str, Any]) -> tuple[str, ...]:
    previous = {
        "snapshotId": first["identity"]["snapshotId"],
        "manifestSha256": first["manifestSha256"],
        "sequence": first["signature"]["sequence"],
    }
    return ("--previous", json.dumps(previous))


# --- what is signed -----------------------------------------------------------------------------------------------


def test_ssh_keygen_accepts_what_is_signed_and_nothing_else(tmp_path: Path, store: Store, key: Key, thief: Key) -> None:
    taken = store.next(*key.signing)
    manifest, signature = store.of(store.snapshot_id) / "manifest.json", store.signature(taken)
    assert by_hand(key, manifest, signature, tmp_path) == 0
    assert by_hand(thief, manifest, signature, tmp_path) != 0
    assert taken["signature"] == {"signer": key.fingerprint, "sequence": 1}
    assert json.loads(manifest.read_text())["signature"] == taken["signature"]
    assert any(key.fingerprint in line for line in taken["evidence"]["proven"])
    other = tmp_path / "other.json"
    other.write_text(manifest.read_text().replace("Manual", "manual"))
    assert by_hand(key, other, signature, tmp_path) != 0


def test_each_one_names_the_one_before_it(store: Store, key: Key) -> None:
    first = store.next(*key.signing)
    second = store.next(*key.signing, *chained(first))
    assert second["signature"]["sequence"] == 2
    assert second["signature"]["previous"] == {
        "snapshotId": first["identity"]["snapshotId"], "manifestSha256": first["manifestSha256"], "sequence": 1,
    }  # fmt: skip
    inspected = call("inspect", *store.which, *key.signer)
    assert inspected.result["payload"]["signature"] == second["signature"]


def test_an_encrypted_snapshot_is_signed_as_well(tmp_path: Path, store: Store, key: Key) -> None:
    identity = tmp_path / "identity.txt"
    subprocess.run(["age-keygen", "-o", identity], check=True, capture_output=True)
    recipient = subprocess.run(["age-keygen", "-y", identity], check=True, capture_output=True, text=True).stdout
    taken = store.next("--recipient", recipient.strip(), *key.signing)
    manifest = store.of(store.snapshot_id) / "manifest.json"
    assert by_hand(key, manifest, store.signature(taken), tmp_path) == 0
    assert store.listed(*key.signer)[0] == {store.snapshot_id}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda key, base: key.file.unlink(), ("no key ssh-privatekey",)),
        (lambda key, base: key.file.write_text("nonsense"), ("is no private key of OpenSSH",)),
        (lambda key, base: key.file.write_bytes(key.file.read_bytes()[:120]), ("is no private key of OpenSSH",)),
        (lambda key, base: shutil.copy(Key(base, "locked", passphrase="secret12").file, key.file), ("a passphrase",)),
        (lambda key, base: shutil.copy(Key(base, "rsa", kind="ecdsa").file, key.file), ("not of type ssh-ed25519",)),
        (lambda key, base: shutil.copy(Key(base, "x").file, key.file), ("is not in spec.signing.publicKeys",)),
    ],
)
def test_a_key_that_cannot_sign_stores_nothing(
    tmp_path: Path, store: Store, key: Key, change: Callable[[Key, Path], object], words: tuple[str, ...]
) -> None:
    change(key, tmp_path)
    done = store.snapshot(*key.signing)
    refused(done, conditions.SIGNING_KEY_INVALID, *words)
    assert not store.objects()


def test_a_signing_key_goes_with_its_public_key(store: Store, key: Key) -> None:
    done = store.snapshot("--signing-key", str(key.folder))
    assert done.code == 2
    assert "--signer" in done.stderr


# --- what an import believes --------------------------------------------------------------------------------------


def test_row_152_an_import_takes_only_what_is_signed(tmp_path: Path, store: Store, key: Key, thief: Key) -> None:
    """On an empty cluster nothing else tells a false snapshot from a true one."""
    true = store.next(*key.signing)["identity"]["snapshotId"]
    plain = store.next()["identity"]["snapshotId"]
    foreign = store.next(*thief.signing)["identity"]["snapshotId"]
    lying = store.next(*thief.signing)
    manifest = store.of(store.snapshot_id) / "manifest.json"
    manifest.write_text(manifest.read_text().replace(thief.fingerprint, key.fingerprint))
    thief.sign(manifest, store.signature(lying))
    for_mail = store.next(*key.signing)
    manifest = store.of(store.snapshot_id) / "manifest.json"
    key.sign(manifest, store.signature(for_mail), namespace="file")
    changed = store.next(*key.signing)
    manifest = store.of(store.snapshot_id) / "manifest.json"
    manifest.write_text(manifest.read_text().replace("\n", "\r\n", 1))
    bare = store.next(*key.signing)
    store.signature(bare).unlink()
    swapped = store.next(*key.signing)
    shutil.copy(store.signature(changed), store.signature(swapped))
    why = {
        plain: "It is not signed",
        foreign: thief.fingerprint,
        bare["identity"]["snapshotId"]: "Its signature does not exist",
        **dict.fromkeys(
            (each["identity"]["snapshotId"] for each in (lying, for_mail, changed, swapped)), "is not one of"
        ),
    }
    assert store.listed(*key.signer)[0] == {true}
    for store.snapshot_id, words in why.items():
        refused(call("inspect", *store.which, *key.signer), conditions.SIGNATURE_INVALID, words)
    assert {plain, foreign} < store.listed()[0]
    assert store.listed(*key.signer, *thief.signer)[0] == {true, foreign}


def test_row_152_neither_is_what_appears_while_a_snapshot_runs(store: Store, key: Key) -> None:
    """A Job whose answer was lost is asked for in the store: there a false manifest can be."""
    store.next()  # by who can write to the bucket, under the id of the one that runs
    assert call("inspect", *store.which).code == 0
    refused(call("inspect", *store.which, *key.signer), conditions.SIGNATURE_INVALID, "is not signed")
    refused(store.snapshot(*key.signing), conditions.SIGNATURE_INVALID, "is not signed")


def test_a_snapshot_of_another_id_cannot_be_put_in_its_place(store: Store, key: Key) -> None:
    """An old manifest with its signature, below the id of a newer snapshot."""
    old = store.next(*key.signing)
    new = store.next(*key.signing, *chained(old))["identity"]["snapshotId"]
    shutil.rmtree(store.of(new))
    shutil.copytree(store.of(old["identity"]["snapshotId"]), store.of(new))
    found, why = store.listed(*key.signer)
    assert found == {old["identity"]["snapshotId"]}
    assert len(why) == 1


@pytest.mark.parametrize("attempt", ["", "..", "../../x", "a/b", "/x", "a\nb", "x" * 300])
def test_no_attempt_leads_to_a_key_elsewhere(store: Store, attempt: str) -> None:
    """Signature and key objects have it in their keys, and a copy writes them."""
    store.next()
    manifest = store.of(store.snapshot_id) / "manifest.json"
    data = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**data, "attempt": attempt}))
    refused(call("verify", *store.which), conditions.CORRUPT, "has the attempt")


# --- what keeps the signature -------------------------------------------------------------------------------------


def test_sweeps_copies_and_deletions_know_the_signature(tmp_path: Path, store: Store, key: Key) -> None:
    taken = store.next(*key.signing)
    signature = store.signature(taken)
    swept = call("sweep", "--store", store.store.as_uri(), "--older-than", "0")
    assert swept.result["payload"]["objects"] == 0, swept.stdout
    assert call("delete", *store.which, "--attempts-only").result["payload"]["objects"] == 0
    target = tmp_path / "remote"
    target.mkdir()
    assert call("probe-store", "--store", target.as_uri()).code == 0
    copy = ("copy-remote", "--store", target.as_uri(), "--source-store", store.store.as_uri(), *store.which[2:])
    copied = call(*copy)
    assert copied.code == 0, copied.stdout
    assert listed(target, *key.signer)[0] == {store.snapshot_id}
    of_copy = target / signature.relative_to(store.store)
    check = ("check-copy", "--store", target.as_uri(), "--store-id", copied.result["payload"]["storeId"],
             *store.which[2:], "--manifest-sha256", taken["manifestSha256"])  # fmt: skip
    assert call(*check).code == 0
    of_copy.unlink()
    refused(call(*check), conditions.REMOTE_COPY_LOST, "manifest.sig")
    of_copy.write_text("what someone else put there")
    assert listed(target, *key.signer)[0] == set()
    assert call(*copy).code == 0
    assert listed(target, *key.signer)[0] == {store.snapshot_id}
    assert call("delete", *store.which).code == 0
    assert not signature.exists()


def test_a_signature_of_any_size_stops_no_copy(tmp_path: Path, store: Store, key: Key) -> None:
    """Who can write to one of the buckets replaces it by something large."""
    signature = store.signature(store.next(*key.signing))
    true = signature.read_bytes()
    target = tmp_path / "remote"
    target.mkdir()
    assert call("probe-store", "--store", target.as_uri()).code == 0
    copy = ("copy-remote", "--store", target.as_uri(), "--source-store", store.store.as_uri(), *store.which[2:])
    signature.write_bytes(b"?" * 100_000)
    done = call(*copy)
    assert done.code == 0, done.stdout
    assert listed(target, *key.signer)[0] == set()
    of_copy = target / signature.relative_to(store.store)
    of_copy.write_bytes(b"?" * 100_000)
    signature.write_bytes(true)
    assert call(*copy).code == 0
    assert of_copy.read_bytes() == true


def test_a_lost_signature_is_a_warning_and_keeps_no_restore_back(store: Store, key: Key) -> None:
    """The Snapshot's status has the digest of the manifest, which is enough."""
    taken = store.next(*key.signing)
    verify = ("verify", *store.which, "--manifest-sha256", taken["manifestSha256"], *key.signer)
    assert call(*verify).result["payload"]["evidence"]["warnings"] == []
    store.signature(taken).unlink()
    found = call(*verify)
    assert found.code == 0
    (warning,) = found.result["payload"]["evidence"]["warnings"]
    assert "Its signature does not exist" in warning
    assert "is not imported" in warning
