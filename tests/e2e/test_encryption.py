"""Snapshots that are encrypted to keys of a person: what the bucket shows, and who can roll back to one."""

import json
import uuid
from pathlib import Path

import pytest

from ocore_mover.store.age import Identity
from support.cluster.cluster import Cluster, Object, condition, is_true
from support.cluster.promises import marker, set_marker, stored_keys
from support.cluster.site import DEMO_IMAGE, Servers, Site, make_site, secret
from support.mover.signing_key import Key

AGE = b"age-encryption.org/v1\n"
LETTER = "a sentence that no one else may read"


@pytest.mark.timeout(600)
def test_row_151_a_bucket_without_identity_shows_nothing_and_opens_nothing(
    cluster: Cluster, servers: Servers, tmp_path: Path
) -> None:
    alice, bob, mallory = (Identity.generate() for _ in range(3))
    with make_site(cluster, servers) as site:
        names = {"alice": alice, "bob": bob, "mallory": mallory}
        drawers = [secret(name, site.namespace, **{"identity.txt": who.secret}) for name, who in names.items()]
        key = Key(tmp_path, "signing")
        cluster.apply(*drawers, secret("signing", site.namespace, **{"ssh-privatekey": key.file.read_text()}))
        _encrypt(
            site, alice.recipient, bob.recipient, signing={"publicKeys": [key.public], "secretRef": {"name": "signing"}}
        )
        site.load(3)
        with site.connect() as connection:
            connection.execute("CREATE TABLE letter AS SELECT %s::text AS body", [LETTER])
        set_marker(site, 3)
        site.snapshot("sealed")
        sealed = site.completed("Snapshot", "sealed")
        assert sorted(sealed["status"]["encryption"]["recipients"]) == sorted((alice.recipient, bob.recipient))
        assert sealed["status"]["fullFilestore"] is True
        assert sealed["status"]["signature"]["sequence"] == 1
        _bucket_shows_nothing(site)

        # Without an identity, no Job; with a foreign one, nothing is stopped.
        set_marker(site, 9)
        site.rollback("without", "sealed")
        refused = site.failed("Rollback", "without", "IdentityMissing")
        assert not _jobs_of(site, refused)
        site.rollback("foreign", "sealed", identitySecretRef={"name": "mallory"})
        foreign = site.failed("Rollback", "foreign", "IdentityWrong")
        for obj in (refused, foreign):
            assert "quiescedAt" not in obj["status"], obj["status"]
        assert marker(site) == 9

        # Any recipient opens it.
        site.rollback("by-bob", "sealed", identitySecretRef={"name": "bob"})
        site.completed("Rollback", "by-bob")
        assert marker(site) == 3
        assert site.query("SELECT body FROM letter") == [(LETTER,)]
        site.files_fit()

        # The object is lost, and comes back from the outer manifest alone. Its environment's id is that of the object.
        # What someone else has put into the bucket is not imported: it is not signed by the environment's key.
        set_marker(site, 9)
        site.gone("Snapshot", "sealed")
        false = _forged(site, sealed["status"]["id"])
        cluster.patch("SnapshotStore", site.store, site.namespace, {"spec": {"import": True}})
        imported = f"imported-{sealed['status']['id']}"
        found = cluster.wait("Snapshot", imported, site.namespace, lambda o: is_true(o, "Complete"), 120, "imported")
        for field in ("manifestSha256", "encryption", "serverMajor", "signature"):
            assert found["status"][field] == sealed["status"][field], field
        store = cluster.wait("SnapshotStore", site.store, site.namespace, _looked, 120, "imported")
        (skipped,) = store["status"]["import"]["skippedExamples"]
        assert false in skipped
        assert "Its signature does not exist" in skipped
        site.rollback("by-alice", imported, identitySecretRef={"name": "alice"})
        site.completed("Rollback", "by-alice")
        assert marker(site) == 3


@pytest.mark.timeout(600)
def test_row_157_jobs_open_the_newest_generation_and_no_older_one(cluster: Cluster, servers: Servers) -> None:
    """Mode Current: a full snapshot and its differential are restored with the Job identity. After the next full one
    they need the drawer."""
    alice = Identity.generate()
    with make_site(cluster, servers) as site:
        cluster.apply(secret("drawer", site.namespace, **{"identity.txt": alice.secret}))
        _encrypt(site, alice.recipient, mode="Current")
        site.load(3, 60)
        full = _taken(site, "full", filestoreMode="Full")
        first = full["status"]["encryption"]["jobIdentitySecret"]
        assert _identities(site) == [first]
        _bucket_shows_nothing(site)
        site.load(4, 4)
        set_marker(site, 3)
        differential = _taken(site, "differential", filestoreMode="Differential")
        assert differential["status"]["base"]["name"] == "full", differential["status"]
        assert differential["status"]["encryption"]["jobIdentitySecret"] == first
        assert _identities(site) == [first], "the one that was made for the differential is gone"
        set_marker(site, 9)
        site.rollback("by-jobs", "differential")
        site.completed("Rollback", "by-jobs")
        assert marker(site) == 3
        site.files_fit()

        # A new full snapshot is a new generation.
        newest = _taken(site, "newest", filestoreMode="Full")
        for name in ("full", "differential"):
            cluster.wait("Snapshot", name, site.namespace, _needs_the_drawer, 60, "closed to Jobs")
        second = newest["status"]["encryption"]["jobIdentitySecret"]
        assert _identities(site) == [second]
        site.rollback("without", "differential")
        site.failed("Rollback", "without", "IdentityMissing")
        set_marker(site, 9)
        site.rollback("by-alice", "differential", identitySecretRef={"name": "drawer"})
        site.completed("Rollback", "by-alice")
        assert marker(site) == 3

        # A tenant deletes the Secret: nothing fails, and the next snapshot is a full one with a Secret of its own.
        cluster.delete("Secret", second, site.namespace)
        after = _taken(site, "after", filestoreMode="Differential")
        assert after["status"]["fullFilestore"] is True
        assert any("full snapshot was taken" in text for text in after["status"]["evidence"]["warnings"])
        assert _identities(site) == [after["status"]["encryption"]["jobIdentitySecret"]] != [second]


def _taken(site: Site, name: str, **spec: object) -> Object:
    site.snapshot(name, **spec)
    return site.completed("Snapshot", name)


def _needs_the_drawer(snapshot: Object) -> bool:
    return "jobIdentitySecret" not in snapshot["status"]["encryption"]


def _identities(site: Site) -> list[str]:
    """Names of the Secrets with Job identities."""
    found = json.loads(site.cluster.kubectl("-n", site.namespace, "get", "secrets", "-o", "json"))
    return [each["metadata"]["name"] for each in found["items"] if each["type"] == "ocore.dev/job-identity"]


def _forged(site: Site, snapshot_id: str) -> str:
    """Copies a snapshot under another id, as who can write to the bucket does it. Returns the id."""
    client, forged = site.servers.s3_client(), str(uuid.uuid4())
    for key in stored_keys(site):
        if snapshot_id in key and not key.endswith(".sig"):
            body = client.get_object(Bucket=site.bucket, Key=f"test/{key}")["Body"].read()
            if key.endswith("manifest.json"):
                body = body.replace(snapshot_id.encode(), forged.encode())
            client.put_object(Bucket=site.bucket, Key=f"test/{key.replace(snapshot_id, forged)}", Body=body)
    return forged


def _looked(store: Object) -> bool:
    return bool((store["status"].get("import") or {}).get("skipped"))


def _encrypt(site: Site, *recipients: str, mode: str = "Sealed", **more: Object) -> None:
    """The store's next snapshots are for these."""
    spec = {"encryption": {"recipients": list(recipients), "mode": mode}, **more}
    site.cluster.patch("SnapshotStore", site.store, site.namespace, {"spec": spec})

    def observed(obj: Object) -> bool:
        ready = condition(obj, "Ready")
        now = obj["metadata"]["generation"]
        return ready is not None and (ready["status"], obj["status"].get("probedGeneration")) == ("True", now)

    site.cluster.wait("SnapshotStore", site.store, site.namespace, observed, 120, "probed")


def _bucket_shows_nothing(site: Site) -> None:
    """Every object with contents is an age file, and no other one names a row, a table, a file or an image."""
    file = site.query("SELECT min(checksum) FROM ir_attachment WHERE store_fname IS NOT NULL")[0][0]
    secrets = [text.encode() for text in (LETTER, "fault_marker", "ir_attachment", file, "app.conf", DEMO_IMAGE)]
    client, plain = site.servers.s3_client(), set()
    for key in stored_keys(site):
        body = client.get_object(Bucket=site.bucket, Key=f"test/{key}")["Body"].read()
        found = [text for text in secrets if text in body]
        assert not found, (key, found)
        if not key.endswith(".age"):
            plain.add(key.rpartition("/")[2])
        else:
            assert body.startswith(AGE), key
    assert plain <= {"manifest.json", "manifest.sig", "state.json", "ocore-store.json"}, plain


def _jobs_of(site: Site, obj: Object) -> list[str]:
    label = f"ocore.dev/uid={obj['metadata']['uid']}"
    found = json.loads(site.cluster.kubectl("-n", site.namespace, "get", "jobs", "-l", label, "-o", "json"))
    return [job["metadata"]["name"] for job in found["items"]]
