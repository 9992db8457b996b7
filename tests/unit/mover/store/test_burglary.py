"""The burglary: with the key of the Jobs everything in a bucket with Object Lock is deleted, overwritten, truncated,
hidden and forged, and the cluster no longer exists. From the bucket, an identity and a public key in a drawer every
snapshot is listed and restored."""

import re
import shutil
import subprocess
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ocore_crds.reports.store_listing import StoredSnapshot, parse
from support.mover.application import Application
from support.mover.beside import Finished, call
from support.mover.s3_server import S3Server
from support.mover.signing_key import Key
from support.mover.site import Site, server17, server_any, site_any  # noqa: F401 - fixtures

BUCKET = "burgled"
ENVIRONMENTS = {"Odoo": str(uuid.uuid4()), "Plain": str(uuid.uuid4())}
#: Rounds of each layout. A round is a full snapshot and a differential of it, plain and encrypted, each with its copy.
ROUNDS = {"Odoo": 2, "Plain": 5}


@pytest.fixture(scope="module", params=["seaweed", pytest.param("versitygw", marks=pytest.mark.long)])
def locking(request: pytest.FixtureRequest) -> S3Server:
    """A server with Object Lock."""
    found: S3Server = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module")
def client(locking: S3Server) -> Any:
    """Of a thief, with the key of the Jobs. The bucket exists."""
    found = locking.client()
    found.create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=True)
    return found


@dataclass
class Taken:
    """A snapshot as it was when it was taken."""

    layout: str
    id: str
    store: str  # "near", "far"
    digest: str
    encrypted: bool
    differential: bool
    files: dict[str, bytes]
    rows: list[tuple[object, ...]]


@dataclass
class Company:
    """A site with a database, a folder, two stores in one bucket, and a drawer."""

    site: Site
    folder: Path
    server: S3Server
    prefix: str
    taken: list[Taken] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.drawer, self.job = self.folder / "drawer", self.folder / "job"
        for place in (self.drawer, self.job):
            place.mkdir()
            subprocess.run(["age-keygen", "-o", place / "identity.txt"], check=True, capture_output=True)
        (self.recipient,) = re.findall(r"age1\w+", (self.drawer / "identity.txt").read_text())
        self.key = Key(self.folder, "jobs")
        self.claim = self.folder / "claim"
        self.application = Application(self.site, self.claim)
        self.plain = self.claim / "plain"
        self.plain.mkdir()
        self.application.write_many(20)
        for number in range(20):
            (self.plain / f"old-{number}").write_bytes(f"old {number}".encode() * 200)
        for name in ("near", "far"):
            ok("probe-store", *self.store(name), *self.lock)

    lock = ("--s3-lock", "Compliance", "--s3-lock-days", "3")

    def store(self, name: str) -> list[str]:
        return self.server.options(BUCKET, f"{self.prefix}/{name}")

    def layout(self, layout: str, claim: Path) -> list[str]:
        where = ["--claim", str(claim), "--layout", layout, "--scratch", str(self.folder)]
        if layout == "Plain":
            return [*where, "--filestore", "plain"]
        return [*where, "--filestore", self.application.path, "--database", str(self.site.secret)]

    def change(self, layout: str, number: int) -> None:
        if layout == "Plain":
            (self.plain / f"file-{number}").write_bytes(f"contents {number}".encode() * 100)
            (self.plain / "always").write_text(str(number))
        else:
            self.application.write_many(1)

    def present(self, layout: str) -> tuple[dict[str, bytes], list[tuple[object, ...]]]:
        if layout == "Plain":
            return contents_of(self.plain), []
        rows = self.site.sql("SELECT id, name, store_fname, file_size FROM ir_attachment ORDER BY id")
        return contents_of(self.application.filestore), rows

    def take(self, layout: str, base: Taken | None = None, *, encrypted: bool = False) -> Taken:
        ids = ["--environment-id", ENVIRONMENTS[layout], "--snapshot-id", str(uuid.uuid4())]
        jobs = ["--job-identity", str(self.job), "--base-identity", str(self.job)]
        more = ["--recipient", self.recipient, *jobs] if encrypted else []
        if base is not None:
            more += ["--base-snapshot-id", base.id, "--base-manifest-sha256", base.digest]
        done = ok(
            "snapshot",
            *self.store("near"),
            *self.lock,
            *ids,
            *self.layout(layout, self.claim),
            *more,
            *self.key.signing,
        )
        result = done.result["payload"]
        assert (result["baseSnapshotId"] != "") == (base is not None)
        files, rows = self.present(layout)
        for name in ("near", "far"):
            found = Taken(layout, ids[3], name, result["manifestSha256"], encrypted, base is not None, files, rows)
            self.taken.append(found)
        source = [re.sub("^--", "--source-", option) for option in self.store("near")]
        ok("copy-remote", *self.store("far"), *self.lock, *source, *ids)
        return self.taken[-1]

    def listed(self, store: str, *more: str) -> tuple[dict[str, str], Finished]:
        """Id → digest of each snapshot that an import finds, as one on an empty cluster begins."""
        wanted = [each for id_ in ENVIRONMENTS.values() for each in ("--environment", f"{id_}:{id_}")]
        done = ok("list-manifests", *self.store(store), *wanted, *more)
        lines = [found for line in done.stdout.splitlines() if isinstance(found := parse(line), StoredSnapshot)]
        return {each.result.identity.snapshot_id: each.result.manifest_sha256 for each in lines}, done  # type: ignore[union-attr]

    def restored(self, each: Taken) -> tuple[dict[str, bytes], list[tuple[object, ...]]]:
        """What a restore brings, beside the live one."""
        ids = ["--environment-id", ENVIRONMENTS[each.layout], "--snapshot-id", each.id]
        rollback = ["--rollback-id", self.site.rollback_id, "--manifest-sha256", each.digest]
        identity = ["--identity", str(self.drawer)] if each.encrypted else []
        claim = self.folder / "empty"
        (claim / self.application.path).mkdir(parents=True)
        ok("restore", *self.store(each.store), *ids, *self.layout(each.layout, claim), *rollback, *identity)
        last = max(each.files)
        inside = claim / self.application.path if each.layout == "Odoo" else claim / ".ocore"
        (found,) = (path for path in inside.rglob(Path(last).name) if path.is_file())
        files = contents_of(found.parents[last.count("/")])
        shutil.rmtree(claim)
        if each.layout == "Plain":
            return files, []
        rows = self.site.copy_sql("SELECT id, name, store_fname, file_size FROM ir_attachment ORDER BY id")
        self.site.server.execute(f'DROP DATABASE "{self.site.names.restored}" WITH (FORCE)')
        return files, rows


def ok(*arguments: str) -> Finished:
    done = call(*arguments)
    assert done.code == 0, done.stdout + done.stderr
    return done


def contents_of(folder: Path) -> dict[str, bytes]:
    """Without Odoo's list of files that may be garbage, which no snapshot has."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
    return {name: data for name, data in found.items() if not name.startswith("checklist/")}


@pytest.fixture
def company(site_any: Site, locking: S3Server, client: Any, prefix: str, tmp_path: Path) -> Company:  # noqa: F811
    return Company(site_any, tmp_path, locking, prefix)


def versions(client: Any, prefix: str) -> list[dict[str, Any]]:
    pages = client.get_paginator("list_object_versions").paginate(Bucket=BUCKET, Prefix=f"{prefix}/")
    return [version for page in pages for version in page.get("Versions", ())]


def burgle(client: Any, prefix: str) -> int:
    """Every right of the key is used on every object. Returns how many deletions of versions the server refused."""
    refused = 0
    for number, found in enumerate(versions(client, prefix)):
        key = found["Key"]
        try:
            which = {"Bucket": BUCKET, "Key": key, "VersionId": found["VersionId"]}
            client.delete_object(**which, BypassGovernanceRetention=True)
        except ClientError:
            refused += 1
        match number % 4:
            case 0:
                client.put_object(Bucket=BUCKET, Key=key, Body=b"?" * found["Size"])
            case 1:
                client.put_object(Bucket=BUCKET, Key=key, Body=b"")
            case 2:
                client.put_object(Bucket=BUCKET, Key=key, Body=b"?" * found["Size"])
                client.delete_object(Bucket=BUCKET, Key=key)
            case _:
                client.delete_object(Bucket=BUCKET, Key=key)
    return refused


def hide(client: Any, prefix: str) -> None:
    for key in {found["Key"] for found in versions(client, prefix) if found["IsLatest"]}:
        client.delete_object(Bucket=BUCKET, Key=key)


def forge(company: Company, thief: Key) -> list[str]:
    """False snapshots for the true recipient, without a signature and with one of another key. Returns their ids."""
    made = []
    for signing in ((), thief.signing):
        ids = ["--environment-id", ENVIRONMENTS["Plain"], "--snapshot-id", str(uuid.uuid4())]
        layout = company.layout("Plain", company.claim)
        ok("snapshot", *company.store("near"), *ids, *layout, "--recipient", company.recipient, *signing)
        made.append(ids[3])
    return made


def swap(client: Any, stored: list[dict[str, Any]]) -> None:
    """Each manifest gets the bytes of another one with a true signature, and each key object those of another."""
    for name in ("manifest.json", "-0.age"):
        found = [version for version in stored if version["Key"].endswith(name)]
        which = [{"Bucket": BUCKET, "Key": each["Key"], "VersionId": each["VersionId"]} for each in found]
        bodies = [client.get_object(**each)["Body"].read() for each in which]
        assert found
        for each, body in zip(found, bodies[1:] + bodies[:1], strict=True):
            client.put_object(Bucket=BUCKET, Key=each["Key"], Body=body)


def test_row_153_a_burglary_takes_nothing(company: Company, client: Any, tmp_path: Path) -> None:
    number = 0
    for layout, rounds in ROUNDS.items():
        for _ in range(rounds):
            for encrypted in (False, True):
                company.change(layout, number := number + 1)
                full = company.take(layout, encrypted=encrypted)
                company.change(layout, number := number + 1)
                company.take(layout, full, encrypted=encrypted)
    assert len(company.taken) >= 50
    stored = [found for found in versions(client, company.prefix) if found["IsLatest"]]
    before = {store: company.listed(store, *company.key.signer)[0] for store in ("near", "far")}

    refused = burgle(client, company.prefix)
    swap(client, stored)
    hide(client, f"{company.prefix}/near")
    false = forge(company, Key(tmp_path, "thief"))

    # A marker of a differential has no lock: no restore reads it.
    needed = [f for f in stored if "/snapshots/" in f["Key"] and "/dependents/" not in f["Key"]]
    locked = {(f["Key"], f["VersionId"]) for f in needed}
    after = {(f["Key"], f["VersionId"]): f["IsLatest"] for f in versions(client, company.prefix)}
    assert refused >= len(locked), sorted(locked - set(after))
    assert locked <= set(after), "no version that a snapshot needs is deleted"
    assert not any(after[each] for each in locked), "none of them is what a plain read gets"
    seen = {}
    for store in ("near", "far"):
        assert company.listed(store, *company.key.signer)[0] == {}
        seen[store] = company.listed(store, *company.key.signer, "--hidden")[0]
    assert seen == before
    assert set(false) < set(company.listed("near", "--hidden")[0]), "only the signature tells them from true ones"

    for each in company.taken:
        assert each.digest == seen[each.store][each.id]
        assert company.restored(each) == (each.files, each.rows), each.id
    print(f"{len(company.taken)} of {len(company.taken)} snapshots are restored")
