"""Every command that reads and writes a store, while that store fails for a time from the first request on."""

import uuid
from pathlib import Path
from typing import Any

import pytest

from ocore_crds.commands.table import COMMANDS
from ocore_mover.store import retries, s3_client, s3_reader, s3_writer
from support.mover.beside import ENVIRONMENT, Finished, call
from support.mover.faulty_http import CLOSE, Faults, FaultyProxy, Request
from support.mover.filestore import some_bytes
from support.mover.s3_server import BUCKET
from support.mover.seaweed import SeaweedFS

#: How often each kind of request fails. botocore sends each once (`short_pauses`).
FAILURES = 3
#: The commands that a person waits for, and those while the application is stopped.
AT_ONCE = {"preview", "probe", "probe-store", "switch"}


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(retries, "LONGEST_PAUSE", 0.05)
    monkeypatch.setattr(s3_writer, "CHECK_EVERY", 0.1)
    monkeypatch.setattr(s3_client, "MAX_ATTEMPTS", 1)
    monkeypatch.setattr(s3_reader, "MAX_RESUMES", 0)


class Outage:
    """Every kind of request fails :data:`FAILURES` times, from the first one on."""

    def __init__(self, status: int) -> None:
        self._status = status
        self._left: dict[str, int] = {}
        self.failed = 0

    def __call__(self, request: Request) -> int | None:
        names = sorted(part.partition("=")[0] for part in request.path.partition("?")[2].split("&"))
        kind = f"{request.method} {names} {'.probe-' in request.path}"
        self._left[kind] = self._left.get(kind, FAILURES) - 1
        if self._left[kind] < 0:
            return None
        self.failed += 1
        return self._status


class Site:
    """A folder of layout Plain, a store behind the proxy, and a second store."""

    def __init__(self, base: Path, seaweed: SeaweedFS, faulty: FaultyProxy, prefix: str) -> None:
        self.claim, self.scratch, self.faulty = base / "claim", base / "scratch", faulty
        (self.claim / "files").mkdir(parents=True)
        self.scratch.mkdir()
        for number in range(5):
            (self.claim / "files" / f"file {number}").write_bytes(some_bytes(number, 40_000))
        self._endpoint, self._credentials = faulty.endpoint, str(seaweed.credentials())
        self.url = f"s3://{BUCKET}/{prefix}"
        self.snapshot_id = str(uuid.uuid4())

    def access(self, option: str, url: str) -> list[str]:
        name = f"--{option}s3-"
        return [f"--{option}store", url, f"{name}endpoint", self._endpoint, f"{name}credentials", self._credentials]

    def call(self, name: str, *more: str, deadline: int = 60) -> Finished:
        return call(name, *self.access("", self.url), "--deadline", str(deadline), *more)

    @property
    def ids(self) -> list[str]:
        return ["--environment-id", ENVIRONMENT, "--snapshot-id", self.snapshot_id]

    @property
    def folder(self) -> list[str]:
        return ["--claim", str(self.claim), "--filestore", "files", "--layout", "Plain"]

    def outage(self, status: int) -> Outage:
        found = Outage(status)
        self.faulty.set(Faults(refuse=found))
        return found


@pytest.fixture
def site(tmp_path: Path, seaweed: SeaweedFS, faulty: FaultyProxy, prefix: str) -> Site:
    found = Site(tmp_path, seaweed, faulty, prefix)
    assert found.call("probe-store").code == 0
    return found


def ok(done: Finished) -> dict[str, Any]:
    assert done.code == 0, done.stdout + done.stderr
    payload: dict[str, Any] = done.result["payload"]
    return payload


@pytest.mark.parametrize("status", [503, CLOSE])
def test_row_72_a_command_outlives_a_store_that_fails_from_its_first_request(site: Site, status: int) -> None:
    """A night's snapshot was lost to 25 s of 503 while it read the id of the store."""
    failed: dict[str, int] = {}

    def run(name: str, *more: str) -> dict[str, Any]:
        outage = site.outage(status)
        done = site.call(name, *more)
        failed[name] = outage.failed
        return ok(done)

    full = run("snapshot", *site.ids, *site.folder, "--scratch", str(site.scratch))
    full_id = site.snapshot_id
    digest = full["manifestSha256"]
    assert run("verify", *site.ids)["objects"] > 0
    assert run("inspect", *site.ids)["manifestSha256"] == digest
    run("write-state", *site.ids, "--state", '{"pin": true, "retention": "Keep", "deletionPolicy": "Retain"}')
    site.faulty.set(Faults())
    other = f"{site.url}-copy"
    copied_to = call("probe-store", *site.access("", other))
    copy_id = ok(copied_to)["storeId"]
    outage = site.outage(status)
    ok(call("copy-remote", *site.access("source-", site.url), *site.access("", other), *site.ids, "--deadline", "60"))
    failed["copy-remote"] = outage.failed
    outage = site.outage(status)
    which = ["--store-id", copy_id, "--manifest-sha256", digest]
    ok(call("check-copy", *site.access("", other), *site.ids, *which, "--deadline", "60"))
    failed["check-copy"] = outage.failed

    (site.claim / "files/new").write_bytes(b"new")
    site.snapshot_id = str(uuid.uuid4())
    base = ["--base-snapshot-id", full_id, "--base-manifest-sha256", digest]
    taken = run("snapshot", *site.ids, *site.folder, *base, "--scratch", str(site.scratch))
    assert taken["baseSnapshotId"] == full_id
    rollback = ["--rollback-id", str(uuid.uuid4()), "--scratch", str(site.scratch)]
    assert run("restore", *site.ids, *site.folder, *rollback)["evidence"]["missing"] == []
    run("list-manifests", "--environment", f"{ENVIRONMENT}:{ENVIRONMENT}")
    run("sweep", "--older-than", "0")
    run("delete", *site.ids)
    assert all(count >= FAILURES for count in failed.values()), failed


@pytest.mark.parametrize("name", ["probe-store", "preview"])
def test_row_72_an_answer_that_a_person_waits_for_comes_soon(site: Site, name: str) -> None:
    more = [] if name == "probe-store" else [*site.ids, *site.folder]
    outage = site.outage(503)
    done = site.call(name, *more)
    assert outage.failed > 0
    if name == "preview":
        assert [refusal["reason"] for refusal in ok(done)["refusals"]] == ["StoreUnreachable"]
    else:
        assert done.reason == "StoreUnreachable"


def test_row_72_which_commands_wait_for_a_store() -> None:
    assert {name for name, row in COMMANDS.items() if not row.patience} == AT_ONCE


def test_row_72_the_step_says_that_the_store_fails(site: Site) -> None:
    site.outage(503)
    done = site.call("snapshot", *site.ids, *site.folder, "--scratch", str(site.scratch))
    ok(done)
    prepare = [line["message"] for line in done.reports if line.get("step") == "Prepare"]
    assert any(message.startswith("The store fails; trying again. Last error: ") for message in prepare), prepare
    assert prepare[-1] == "", "it says so until the store works again"
