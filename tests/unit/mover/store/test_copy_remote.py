"""``copy-remote``: a snapshot in another store, byte for byte; continued after a kill; nothing that is damaged or
foreign gets there."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from ocore_crds import conditions, naming
from ocore_crds.stored.manifest import (
    FilestoreArtifact,
    FilestoreBase,
    Manifest,
)
from ocore_crds.stored.snapshot_state import StoredState
from ocore_mover import dependents, manifests, states
from ocore_mover.store import S3Options, Store, open_store
from ocore_mover.store.probe import probe_store
from support.mover.beside import Finished, call, finish
from support.mover.contents import dumped, of_production, put
from support.mover.faulty_http import Faults, FaultyProxy, Request
from support.mover.s3_server import BUCKET
from support.mover.seaweed import SeaweedFS

ENVIRONMENT = "6f1c2f6e-3f0a-4c52-9a54-0e8e0c5f6a01"
SNAPSHOT = "0b0f4b5e-58f4-4d0e-8a53-2b1f3f3f7c02"
PINNED = StoredState(pin_label="audit", retention="Policy", deletion_policy="Delete")
TIME = "2026-01-02T03:04:05Z"
MIB = 1024 * 1024
#: More than one part of an upload, one part, and next to nothing. A copy sends the largest first.
SIZES = {"1.dat.zst": 13 * MIB, "2.dat.zst": 3 * MIB, "3.dat.zst": 2 * MIB, "toc.dat": 7}
TOTAL = sum(SIZES.values())


@dataclass(frozen=True)
class Place:
    """A store, with the options that name it as the target or the source of a copy."""

    store: Store
    url: str
    s3: dict[str, str]

    def options(self, prefix: str = "") -> list[str]:
        return [f"--{prefix}store", self.url, *(a for k, v in self.s3.items() for a in (f"--{prefix}s3-{k}", v))]


def s3_place(endpoint: str, credentials: Path, prefix: str) -> Place:
    url = f"s3://{BUCKET}/{prefix}"
    store = open_store(url, S3Options(endpoint=endpoint, credentials=credentials))
    return Place(store, url, {"endpoint": endpoint, "credentials": str(credentials)})


@pytest.fixture(scope="session")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    """A second S3 server."""
    server = SeaweedFS(tmp_path_factory.mktemp("elsewhere"))
    yield server
    server.stop()


@pytest.fixture
def remote_proxy(elsewhere: SeaweedFS) -> Iterator[FaultyProxy]:
    with FaultyProxy(urlsplit(elsewhere.endpoint).port or 0) as running:
        yield running


@pytest.fixture(params=["folder", "s3"])
def origin(request: pytest.FixtureRequest, tmp_path: Path, prefix: str) -> Place:
    if request.param == "folder":
        found = Place(open_store((tmp_path / "origin").as_uri()), (tmp_path / "origin").as_uri(), {})
    else:
        server: SeaweedFS = request.getfixturevalue("seaweed")
        found = s3_place(server.endpoint, server.credentials(), prefix)
    probe_store(found.store)
    return found


@pytest.fixture(params=["folder", "s3"])
def remote(request: pytest.FixtureRequest, tmp_path: Path, prefix: str) -> Place:
    if request.param == "folder":
        found = Place(open_store((tmp_path / "remote").as_uri()), (tmp_path / "remote").as_uri(), {})
    else:
        server: SeaweedFS = request.getfixturevalue("elsewhere")
        found = s3_place(server.endpoint, server.credentials(), f"copy-{prefix}")
    probe_store(found.store)
    return found


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Place, Place]:
    """Two stores that need no server."""
    found = [Place(open_store((tmp_path / n).as_uri()), (tmp_path / n).as_uri(), {}) for n in ("origin", "remote")]
    for each in found:
        probe_store(each.store)
    return found[0], found[1]


def taken(place: Place, *, snapshot: str = SNAPSHOT, flavour: bytes = b"x") -> Manifest:
    """A snapshot with its manifest."""
    prefix = naming.attempt_prefix(ENVIRONMENT, snapshot, "a1")
    files = []
    for name, size in SIZES.items():
        block = hashlib.sha256(flavour + name.encode()).digest()
        files.append(put(place.store, f"{prefix}database/{name}", (block * (size // 32 + 1))[:size]))
    manifest = of_production(
        ENVIRONMENT,
        snapshot,
        time=TIME,
        store_id=json.loads(place.store.get(naming.STORE_ID_KEY) or b"")["id"],
        database=dumped(*files, raw_bytes=TOTAL),
    )
    manifests.write(place.store, manifest)
    return manifest


def arguments(origin: Place, remote: Place, *more: str) -> list[str]:
    ids = ["--environment-id", ENVIRONMENT, "--snapshot-id", SNAPSHOT]
    return ["copy-remote", *origin.options("source-"), *remote.options(), *ids, *more]


def copied(origin: Place, remote: Place, *more: str) -> dict[str, Any]:
    done = call(*arguments(origin, remote, *more))
    assert done.code == 0, done.stdout + done.stderr
    payload: dict[str, Any] = done.result["payload"]
    return payload


def contents(place: Place) -> dict[str, bytes]:
    """Key → bytes of all that the store has of the snapshot."""
    prefix = naming.snapshot_prefix(ENVIRONMENT, SNAPSHOT)
    return {f.key: place.store.get(f.key) or b"" for f in place.store.list(prefix)}


def killed(origin: Place, remote: Place, failpoint: str) -> None:
    """A copy that dies there."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ocore_mover", *arguments(origin, remote, "--jobs", "1")],
        env={**os.environ, "OCORE_FAILPOINTS": f"{failpoint}=kill"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    done: Finished = finish(process)
    assert done.code == -signal.SIGKILL, done.stdout + done.stderr


def key_of(name: str) -> str:
    return f"{naming.attempt_prefix(ENVIRONMENT, SNAPSHOT, 'a1')}database/{name}"


# --- the copy --------------------------------------------------------------------------------------------------------


def test_it_is_the_same_byte_for_byte(origin: Place, remote: Place) -> None:
    manifest = taken(origin)
    result = copied(origin, remote)
    assert contents(remote) == contents(origin)
    assert manifest.store_id != result["storeId"]
    assert (result["objects"], result["objectsSent"], result["bytes"], result["bytesSent"]) == (4, 4, TOTAL, TOTAL)
    # What reads a snapshot reads the copy: the id in its manifest is the origin's.
    found = manifests.read(remote.store, ENVIRONMENT, SNAPSHOT, sha256=result["manifestSha256"])
    assert found.manifest == manifest
    verified = call("verify", *remote.options(), "--environment-id", ENVIRONMENT, "--snapshot-id", SNAPSHOT)
    assert verified.result["payload"]["bytesRead"] == TOTAL


def test_again_sends_nothing(origin: Place, remote: Place) -> None:
    taken(origin)
    copied(origin, remote)
    assert copied(origin, remote)["bytesSent"] == 0


def test_a_killed_copy_sends_only_the_rest(origin: Place, remote: Place) -> None:
    taken(origin)
    killed(origin, remote, "copy-remote-object")
    assert not manifests.find(remote.store, ENVIRONMENT, SNAPSHOT)
    result = copied(origin, remote)
    assert (result["objectsSent"], result["bytesSent"]) == (3, TOTAL - 13 * MIB)
    assert contents(remote) == contents(origin)


def test_the_rest_is_all_that_goes_over_the_wire(
    folders: tuple[Place, Place], elsewhere: SeaweedFS, remote_proxy: FaultyProxy, prefix: str
) -> None:
    origin = folders[0]
    taken(origin)
    remote = s3_place(remote_proxy.endpoint, elsewhere.credentials(), prefix)
    probe_store(remote.store)
    killed(origin, remote, "copy-remote-object")
    remote_proxy.set(Faults())
    result = copied(origin, remote)
    sent = sum(len(r.body) for r in remote_proxy.requests if r.method == "PUT" and "probe" not in r.path)
    rest = result["bytesSent"]
    assert rest == TOTAL - 13 * MIB
    assert rest <= sent < rest + 100_000, "the rest, the manifest, and the framing of the requests"


@pytest.mark.parametrize("point", ["copy-remote-objects", "copy-remote-manifest"])
def test_a_kill_around_the_manifest_is_harmless(folders: tuple[Place, Place], point: str) -> None:
    origin, remote = folders
    taken(origin)
    killed(origin, remote, point)
    published = manifests.find(remote.store, ENVIRONMENT, SNAPSHOT) is not None
    assert published == (point == "copy-remote-manifest")
    assert copied(origin, remote)["bytesSent"] == 0
    assert contents(remote) == contents(origin)


def test_an_object_of_the_right_size_with_other_bytes_is_replaced(origin: Place, remote: Place) -> None:
    taken(origin)
    put(remote.store, key_of("2.dat.zst"), bytes(3 * MIB))
    result = copied(origin, remote)
    assert result["bytesSent"] == TOTAL
    assert contents(remote) == contents(origin)


def test_objects_that_were_lost_in_the_copy_come_back(origin: Place, remote: Place) -> None:
    taken(origin)
    copied(origin, remote)
    remote.store.delete([key_of("3.dat.zst")])
    assert copied(origin, remote)["bytesSent"] == 2 * MIB
    assert contents(remote) == contents(origin)


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["1.dat.zst", "toc.dat"])
def test_row_54_a_damaged_object_never_arrives(origin: Place, remote: Place, name: str) -> None:
    taken(origin)
    put(origin.store, key_of(name), b"y" * SIZES[name])
    done = call(*arguments(origin, remote))
    assert done.reason == conditions.CORRUPT
    assert key_of(name) in done.message
    assert remote.store.head(key_of(name)) is None
    assert manifests.find(remote.store, ENVIRONMENT, SNAPSHOT) is None


def test_another_manifest_under_the_key_is_refused(origin: Place, remote: Place) -> None:
    taken(remote, flavour=b"other")
    taken(origin)
    before = contents(remote)
    done = call(*arguments(origin, remote))
    assert done.reason == conditions.REMOTE_COPY_CONFLICT
    assert contents(remote) == before


def test_a_manifest_that_appears_while_it_copies_is_refused(
    folders: tuple[Place, Place], elsewhere: SeaweedFS, remote_proxy: FaultyProxy, prefix: str
) -> None:
    origin = folders[0]
    taken(origin)
    remote = s3_place(remote_proxy.endpoint, elsewhere.credentials(), prefix)
    direct = s3_place(elsewhere.endpoint, elsewhere.credentials(), prefix)
    probe_store(direct.store)

    def appears(request: Request) -> int | None:
        if request.method == "PUT" and key_of("toc.dat") in request.path:
            put(direct.store, naming.manifest_key(ENVIRONMENT, SNAPSHOT), b"{}")
        return None

    remote_proxy.set(Faults(refuse=appears))
    assert call(*arguments(origin, remote)).reason == conditions.REMOTE_COPY_CONFLICT


def test_a_manifest_that_was_changed_is_refused(folders: tuple[Place, Place]) -> None:
    origin, remote = folders
    taken(origin)
    done = call(*arguments(origin, remote, "--manifest-sha256", "0" * 64))
    assert done.reason == conditions.CORRUPT
    assert contents(remote) == {}


def test_the_same_store_is_refused(folders: tuple[Place, Place], tmp_path: Path) -> None:
    origin, _ = folders
    taken(origin)
    (tmp_path / "link").symlink_to(tmp_path / "origin")
    again = Place(origin.store, (tmp_path / "link").as_uri(), {})
    done = call(*arguments(origin, again))
    assert done.reason == conditions.SAME_STORE
    assert not done.result["failure"]["retryable"]


def test_a_snapshot_that_is_not_there(folders: tuple[Place, Place]) -> None:
    assert call(*arguments(*folders)).reason == conditions.SNAPSHOT_NOT_FOUND


def test_a_read_only_target_is_refused(folders: tuple[Place, Place]) -> None:
    origin, remote = folders
    taken(origin)
    assert call(*arguments(origin, remote, "--store-read-only")).reason == conditions.STORE_READ_ONLY


def test_a_target_that_spoils_what_it_stores_does_not_make_the_snapshot_corrupt(
    folders: tuple[Place, Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    origin, remote = folders
    taken(origin)
    monkeypatch.setattr("ocore_mover.store.folder._read_again", lambda _: (1, "0" * 64))
    done = call(*arguments(origin, remote))
    assert (done.reason, done.result["failure"]["retryable"]) == (conditions.STORE_NOT_WRITABLE, True)


def test_a_differential_follows_its_full(folders: tuple[Place, Place]) -> None:
    origin, remote = folders
    base_id = "0b0f4b5e-58f4-4d0e-8a53-2b1f3f3f7c01"
    taken(origin, snapshot=base_id)
    base = manifests.read(origin.store, ENVIRONMENT, base_id)
    full = taken(origin)
    origin.store.delete([naming.manifest_key(ENVIRONMENT, SNAPSHOT)])
    index = put(origin.store, key_of("../filestore/index.jsonl.zst").replace("database/../", ""), b"index")
    filestore = FilestoreArtifact(
        layout="Odoo",
        file_count=0,
        size_bytes=0,
        index=index,
        packs=(),
        base=FilestoreBase(snapshot_id=base_id, manifest_key=base.key, manifest_sha256=base.sha256, packs=()),
    )
    differential = full.model_copy(update={"filestore": filestore, "format_version": 2})
    dependents.enter(origin.store, differential)
    manifests.write(origin.store, differential)
    done = call(*arguments(origin, remote))
    assert (done.reason, done.result["failure"]["retryable"]) == (conditions.BASE_NOT_COPIED, True)
    assert contents(remote) == {}
    first = call(
        "copy-remote",
        *origin.options("source-"),
        *remote.options(),
        "--environment-id",
        ENVIRONMENT,
        "--snapshot-id",
        base_id,
    )
    assert first.code == 0
    copied(origin, remote)
    assert contents(remote) == contents(origin)
    assert dependents.living(remote.store, ENVIRONMENT, base_id) == [SNAPSHOT], (
        "the copy of the full one is not deleted"
    )


def test_pin_and_retention_go_along(folders: tuple[Place, Place]) -> None:
    origin, remote = folders
    taken(origin)
    assert "state" not in copied(*folders), "an earlier version wrote none"
    remote.store.delete([naming.manifest_key(ENVIRONMENT, SNAPSHOT)])
    states.write(origin.store, ENVIRONMENT, SNAPSHOT, PINNED)
    assert copied(origin, remote)["state"] == PINNED.wire()
    assert contents(remote) == contents(origin)


def test_a_copy_that_is_complete_keeps_its_own_state(folders: tuple[Place, Place]) -> None:
    """A pod of a Job that was believed lost must not write an older one over it."""
    origin, remote = folders
    taken(origin)
    states.write(origin.store, ENVIRONMENT, SNAPSHOT, PINNED)
    copied(origin, remote)
    states.replace(remote.store, ENVIRONMENT, SNAPSHOT, StoredState())
    assert copied(origin, remote)["state"] == StoredState().wire()
    assert states.read(remote.store, ENVIRONMENT, SNAPSHOT) == StoredState()


def test_it_needs_a_source(folders: tuple[Place, Place]) -> None:
    ids = ["--environment-id", ENVIRONMENT, "--snapshot-id", SNAPSHOT]
    assert call("copy-remote", *folders[1].options(), *ids).code == 2


# --- the data in the snapshot's own store goes -----------------------------------------------------------------------


def released(origin: Place, remote: Place, copy: dict[str, Any]) -> Finished:
    """Deletes the data in the snapshot's own store, which the copy is to outlive."""
    return call(
        "delete",
        *origin.options(),
        *remote.options("source-"),
        *("--environment-id", ENVIRONMENT, "--snapshot-id", SNAPSHOT),
        *("--source-store-id", copy["storeId"], "--manifest-sha256", copy["manifestSha256"]),
    )


def checked(remote: Place, copy: dict[str, Any]) -> Finished:
    ids = ["--environment-id", ENVIRONMENT, "--snapshot-id", SNAPSHOT]
    return call(
        "check-copy",
        *remote.options(),
        *ids,
        "--store-id",
        copy["storeId"],
        "--manifest-sha256",
        copy["manifestSha256"],
    )


def test_row_59_the_data_goes_once_the_copy_was_found_whole(origin: Place, remote: Place) -> None:
    taken(origin)
    copy = copied(origin, remote)
    assert checked(remote, copy).result["payload"] == {"kind": "check-copy", "objects": 4, "bytes": TOTAL}
    whole = contents(remote)
    assert released(origin, remote, copy).code == 0
    assert (contents(origin), contents(remote)) == ({}, whole)


def emptied(remote: Place) -> None:
    """The bucket was emptied, or replaced by another one that the operator has probed since."""
    remote.store.delete([found.key for found in remote.store.list("")])
    probe_store(remote.store)


def without_an_object(remote: Place) -> None:
    remote.store.delete([key_of("2.dat.zst")])


def with_a_short_object(remote: Place) -> None:
    put(remote.store, key_of("2.dat.zst"), b"short")


def without_manifest(remote: Place) -> None:
    remote.store.delete([naming.manifest_key(ENVIRONMENT, SNAPSHOT)])


def with_another_manifest(remote: Place) -> None:
    put(remote.store, naming.manifest_key(ENVIRONMENT, SNAPSHOT), b"{}")


def with_another_id(remote: Place) -> None:
    """Another bucket with the same contents is not the one that the status names."""
    without_id(remote)
    probe_store(remote.store)


def without_id(remote: Place) -> None:
    remote.store.delete([naming.STORE_ID_KEY])


@pytest.mark.parametrize(
    "lose",
    [without_an_object, with_a_short_object, without_manifest, with_another_manifest],
)
def test_row_59_the_last_copy_stays_where_the_remote_one_is_lost(folders: tuple[Place, Place], lose: Any) -> None:
    origin, remote = folders
    taken(origin)
    copy = copied(origin, remote)
    before = contents(origin)
    lose(remote)
    assert checked(remote, copy).reason == conditions.REMOTE_COPY_LOST
    end = released(origin, remote, copy)
    assert (end.reason, contents(origin)) == (conditions.REMOTE_COPY_LOST, before)


@pytest.mark.parametrize("exchange", [emptied, without_id, with_another_id])
def test_row_121_another_store_says_nothing_about_the_copy(folders: tuple[Place, Place], exchange: Any) -> None:
    origin, remote = folders
    taken(origin)
    copy = copied(origin, remote)
    before = contents(origin)
    exchange(remote)
    assert checked(remote, copy).reason == conditions.STORE_ID_CONFLICT
    end = released(origin, remote, copy)
    assert (end.reason, contents(origin)) == (conditions.STORE_ID_CONFLICT, before)


def test_row_59_a_store_that_does_not_answer_says_nothing_about_the_copy(
    folders: tuple[Place, Place], elsewhere: SeaweedFS, remote_proxy: FaultyProxy, prefix: str
) -> None:
    origin = folders[0]
    taken(origin)
    remote = s3_place(remote_proxy.endpoint, elsewhere.credentials(), prefix)
    probe_store(remote.store)
    copy, before = copied(origin, remote), contents(origin)
    remote_proxy.set(Faults(refuse=lambda _: 403))
    end = released(origin, remote, copy)
    assert end.code != 0
    assert end.reason not in ("", conditions.REMOTE_COPY_LOST)
    assert contents(origin) == before


def differential(origin: Place, base_id: str) -> None:
    """The snapshot is a differential of another one, whose dump's files count as packs."""
    base_manifest = taken(origin, snapshot=base_id)
    pack = put(origin.store, naming.attempt_prefix(ENVIRONMENT, base_id, "a1") + "filestore/p1", b"pack")
    packs_index = put(origin.store, naming.attempt_prefix(ENVIRONMENT, base_id, "a1") + "filestore/index", b"index")
    origin.store.delete([naming.manifest_key(ENVIRONMENT, base_id)])
    full_files = FilestoreArtifact(layout="Odoo", file_count=1, size_bytes=4, index=packs_index, packs=(pack,))
    manifests.write(origin.store, base_manifest.model_copy(update={"filestore": full_files}))
    base = manifests.read(origin.store, ENVIRONMENT, base_id)
    full = taken(origin)
    origin.store.delete([naming.manifest_key(ENVIRONMENT, SNAPSHOT)])
    index = put(origin.store, naming.attempt_prefix(ENVIRONMENT, SNAPSHOT, "a1") + "filestore/index", b"index")
    needs = FilestoreBase(snapshot_id=base_id, manifest_key=base.key, manifest_sha256=base.sha256, packs=(pack,))
    found = FilestoreArtifact(layout="Odoo", file_count=0, size_bytes=0, index=index, packs=(), base=needs)
    manifest = full.model_copy(update={"filestore": found, "format_version": 2})
    dependents.enter(origin.store, manifest)
    manifests.write(origin.store, manifest)


BASE = "0b0f4b5e-58f4-4d0e-8a53-2b1f3f3f7c01"


def copy_base(origin: Place, remote: Place) -> None:
    ids = ["--environment-id", ENVIRONMENT, "--snapshot-id", BASE]
    assert call("copy-remote", *origin.options("source-"), *remote.options(), *ids).code == 0


@pytest.mark.parametrize("lost", ["manifest", "pack"])
def test_row_59_a_differential_stays_where_its_base_is_lost(folders: tuple[Place, Place], lost: str) -> None:
    origin, remote = folders
    differential(origin, BASE)
    copy_base(origin, remote)
    copy = copied(origin, remote)
    before = contents(origin)
    key = naming.attempt_prefix(ENVIRONMENT, BASE, "a1") + "filestore/p1"
    remote.store.delete([naming.manifest_key(ENVIRONMENT, BASE) if lost == "manifest" else key])
    assert checked(remote, copy).reason == conditions.REMOTE_COPY_LOST
    end = released(origin, remote, copy)
    assert (end.reason, contents(origin)) == (conditions.REMOTE_COPY_LOST, before)
    assert call(*arguments(origin, remote)).reason == conditions.BASE_NOT_COPIED


# --- two clusters with one store -------------------------------------------------------------------------------------


def test_row_68_a_base_that_goes_as_the_manifest_is_written(
    folders: tuple[Place, Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another cluster deletes the copy of the full one. Its deletion has looked for differentials before this manifest
    was written."""
    origin, remote = folders
    differential(origin, BASE)
    copy_base(origin, remote)
    publish = manifests.publish

    def publish_late(*arguments: Any) -> str | None:
        manifests.delete_snapshot(remote.store, ENVIRONMENT, BASE)
        return publish(*arguments)

    monkeypatch.setattr("ocore_mover.manifests.publish", publish_late)
    end = call(*arguments(origin, remote))
    assert (end.reason, end.result["failure"]["retryable"]) == (conditions.BASE_NOT_COPIED, True)
    assert manifests.find(remote.store, ENVIRONMENT, SNAPSHOT) is None, "it could not be restored"
    monkeypatch.undo()
    copy_base(origin, remote)
    assert copied(origin, remote)["bytesSent"] == 0, "the objects were kept for the next attempt"


@pytest.mark.parametrize(
    ("known", "stays"), [(StoredState(), True), (StoredState(pin_label="q3"), True), (PINNED, False), (None, False)]
)
def test_row_68_the_pin_of_another_cluster_keeps_the_data(
    folders: tuple[Place, Place], known: StoredState | None, stays: bool
) -> None:
    origin = folders[0]
    taken(origin)
    states.write(origin.store, ENVIRONMENT, SNAPSHOT, PINNED)
    before = contents(origin)
    ids = ["--environment-id", ENVIRONMENT, "--snapshot-id", SNAPSHOT]
    state = ["--known-state", json.dumps(known.wire())] if known is not None else []
    end = call("delete", *origin.options(), *ids, *state)
    assert (end.reason if end.code else "") == (conditions.PINNED if stays else "")
    assert contents(origin) == (before if stays else {})


def test_row_68_a_pin_without_a_manifest_keeps_nothing(folders: tuple[Place, Place]) -> None:
    origin = folders[0]
    taken(origin)
    states.write(origin.store, ENVIRONMENT, SNAPSHOT, PINNED)
    origin.store.delete([naming.manifest_key(ENVIRONMENT, SNAPSHOT)])
    ids = ["--environment-id", ENVIRONMENT, "--snapshot-id", SNAPSHOT]
    assert call("delete", *origin.options(), *ids, "--known-state", json.dumps(StoredState().wire())).code == 0
    assert contents(origin) == {}
