"""`extract` and `remove-extract`: files of a snapshot beside what is live, and nothing else read or written."""

import hashlib
import io
import json
import os
import tarfile
import uuid
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from ocore_crds.commands.extract import ExtractRequest
from ocore_crds.naming import EXTRACT_MARKER, short_id
from ocore_crds.reports.extracted import folder_refusal
from ocore_mover.filestore import new_folder, selection, space
from support.crds.samples import NO_NEW_FOLDERS
from support.mover.beside import ENVIRONMENT, Finished, call
from support.mover.plain_desk import Folder


class Extracts:
    """A snapshot of a Plain filestore, and the commands on it."""

    def __init__(self, base: Path) -> None:
        self.folder = Folder(base)
        self.files = self.folder.claim / "files"
        (self.files / "papers/deep").mkdir(parents=True)
        (self.files / "papers/one.txt").write_bytes(b"one")
        (self.files / "papers/deep/two.txt").write_bytes(b"two" * 1000)
        (self.files / "papers/.hidden").write_bytes(b"hidden")
        (self.files / "papers/link").symlink_to("/etc/passwd")
        (self.files / "papersier").write_bytes(b"no part of papers")
        (self.files / "big").write_bytes(os.urandom(3_000_000))
        assert self.folder.snapshot().code == 0
        self.id = str(uuid.uuid4())

    def extract(self, *more: str) -> Finished:
        return call("extract", *self.folder.which, "--extract-id", self.id, *more)

    def into_claim(self, folder: str, *paths: str) -> Finished:
        options = [option for path in paths for option in ("--path", path)]
        return self.extract(*options, *self.claim, "--folder", folder)

    @property
    def claim(self) -> list[str]:
        return ["--claim", str(self.folder.claim), "--filestore", "files", "--layout", "Plain"]

    def remove(self, *more: str) -> Finished:
        return call("remove-extract", "--environment-id", ENVIRONMENT, "--extract-id", self.id, *more)

    def result(self, done: Finished) -> dict[str, Any]:
        assert done.code == 0, done.stdout + done.stderr
        return dict(done.result["payload"]["extracted"])

    def tar(self, result: dict[str, Any]) -> tarfile.TarFile:
        data = (self.folder.store / result["key"]).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (result["size"], result["sha256"])
        return tarfile.open(fileobj=io.BytesIO(data))


@pytest.fixture
def extracts(tmp_path: Path) -> Extracts:
    return Extracts(tmp_path)


def own_folders(extracts: Extracts) -> list[str]:
    return [path.name for path in (extracts.folder.claim / ".ocore").rglob("*")]


# --- what is extracted -----------------------------------------------------------------------------------------------


def test_a_tar_of_a_folder_and_a_file_in_the_store(extracts: Extracts) -> None:
    done = extracts.extract("--path", "papers", "--path", "a")
    result = extracts.result(done)
    assert result["key"] == f"environments/{ENVIRONMENT}/extracts/{extracts.id}/files.tar"
    with extracts.tar(result) as archive:
        found = {m.name: m for m in archive.getmembers()}
        names = {"papers", "papers/deep", "papers/one.txt", "papers/deep/two.txt", "papers/.hidden", "papers/link", "a"}
        assert set(found) == names
        two = archive.extractfile("papers/deep/two.txt")
        assert two is not None
        assert two.read() == b"two" * 1000
        assert found["papers/link"].linkname == "/etc/passwd"
    assert (result["files"], result["bytes"]) == (4, 3 + 3000 + 6 + 10240)
    shown = {each["name"]: each["digest"] for each in done.result["payload"]["checked"]}
    assert shown["papers/one.txt"] == hashlib.sha256(b"one").hexdigest()


def test_only_index_and_frames_of_the_file_are_read(extracts: Extracts) -> None:
    result = extracts.result(extracts.extract("--path", "papers/one.txt"))
    assert result["files"] == 1
    packs = sum(path.stat().st_size for path in extracts.folder.store.rglob("pack-*"))
    assert result["bytesRead"] < packs / 10


def test_a_new_folder_on_the_claim(extracts: Extracts) -> None:
    result = extracts.result(extracts.into_claim("restored", "papers"))
    back = extracts.folder.claim / "restored"
    assert (back / "papers/deep/two.txt").read_bytes() == b"two" * 1000
    assert (back / "papers/link").readlink() == Path("/etc/passwd")
    assert not (back / "papersier").exists()
    assert result["folder"] == "restored"
    assert (back / "papers/one.txt").stat().st_mtime == (extracts.files / "papers/one.txt").stat().st_mtime
    assert own_folders(extracts) == []
    assert not list(extracts.folder.store.rglob("files.tar"))


def test_its_folders_have_the_mode_of_the_filestore(extracts: Extracts) -> None:
    extracts.files.chmod(0o2775)
    extracts.result(extracts.into_claim("restored", "papers"))
    for folder in ("restored", "restored/papers", "restored/papers/deep"):
        assert (extracts.folder.claim / folder).stat().st_mode & 0o7777 == 0o2775


def test_no_program_is_extracted(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    (folder.claim / "files/program").write_bytes(b"program")
    (folder.claim / "files/program").chmod(0o6755)
    assert folder.snapshot().code == 0
    done = call(
        "extract", *folder.which, "--extract-id", str(uuid.uuid4()), "--path", "program", "--claim", str(folder.claim),
        "--filestore", "files", "--layout", "Plain", "--folder", "restored",
    )  # fmt: skip
    assert done.code == 0, done.stdout
    assert (folder.claim / "restored/program").stat().st_mode & 0o7777 == 0o644


@pytest.mark.parametrize("path", ["missing", "paper", "papers/one.txt/below"])
def test_a_path_that_names_nothing(extracts: Extracts, path: str) -> None:
    done = extracts.extract("--path", "papers", "--path", path)
    assert done.reason == "FilesNotFound"
    assert path in done.message
    assert not list(extracts.folder.store.rglob("files.tar"))


def test_too_many_files(extracts: Extracts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "MAX_FILES", 2)
    done = extracts.extract("--path", "papers")
    assert done.reason == "FilesNotFound"
    assert "more than 2 files" in done.message


def test_a_damaged_pack_leaves_nothing(extracts: Extracts) -> None:
    for pack in extracts.folder.store.rglob("pack-*"):
        data = bytearray(pack.read_bytes())
        for at in range(0, len(data), 64):
            data[at] ^= 0xFF
        pack.chmod(0o600)
        pack.write_bytes(data)
    assert extracts.extract("--path", "papers").reason == "Corrupt"
    assert not list(extracts.folder.store.rglob("files.tar"))
    assert extracts.into_claim("restored", "papers").reason == "Corrupt"
    assert not (extracts.folder.claim / "restored").exists()
    assert own_folders(extracts) == []


def test_another_manifest_is_refused(extracts: Extracts) -> None:
    assert extracts.extract("--path", "papers", "--manifest-sha256", "0" * 64).reason == "Corrupt"


def test_a_listing(extracts: Extracts) -> None:
    result = extracts.result(extracts.extract("--list", "papers"))
    lines = [json.loads(line) for line in (extracts.folder.store / result["key"]).read_text().splitlines()]
    assert [(line["name"], line["type"], line["bytes"]) for line in lines] == [
        (".hidden", "file", 6),
        ("deep", "folder", 3000),
        ("link", "symlink", 0),
        ("one.txt", "file", 3),
    ]
    assert lines[1]["files"] == 1
    assert lines[3]["digest"] == hashlib.sha256(b"one").hexdigest()
    assert result["files"] == 4


def test_a_listing_of_the_filestore_itself(extracts: Extracts) -> None:
    result = extracts.result(extracts.extract("--list", ""))
    lines = [json.loads(line) for line in (extracts.folder.store / result["key"]).read_text().splitlines()]
    assert [line["name"] for line in lines] == ["a", "big", "papers", "papersier"]


def test_a_listing_of_no_folder(extracts: Extracts) -> None:
    assert extracts.extract("--list", "paper").reason == "FilesNotFound"


# --- hostile paths and claims ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["..", "../x", "a/../b", "/etc/passwd", ".", "a/./b", "a//b", "a/", "", "a\nb", "a\x00b", "a\x1bb"]
)
def test_a_hostile_path_is_refused(extracts: Extracts, path: str) -> None:
    document = {"extractId": extracts.id, "paths": [path]}
    known = {"store": {"url": "file:///s"}, "environmentId": ENVIRONMENT, "snapshotId": extracts.folder.snapshot_id}
    ExtractRequest.model_validate({**known, **document, "paths": ["a/b", "..a", ".a", "...", "a b", "ü"]})
    with pytest.raises(ValidationError, match="paths"):
        ExtractRequest.model_validate({**known, **document})


@pytest.mark.parametrize(
    ("folder", "filestore", "refused"),
    [
        ("restored", "files", False),
        ("restored-a", "restored", False),
        ("restored", "restored-a/files", False),
        ("restored", "restored", True),
        ("restored", "restored/files", True),
        ("restored-a", "", True),
        *((folder, "files", True) for folder in NO_NEW_FOLDERS),
    ],
)
def test_where_the_folder_may_be(folder: str, filestore: str, *, refused: bool) -> None:
    assert bool(folder_refusal(folder, filestore)) is refused


@pytest.mark.parametrize("folder", ["files/back", "addons/x", "restored/x"])
def test_a_folder_of_another_name_is_wrong_usage(extracts: Extracts, folder: str) -> None:
    done = extracts.into_claim(folder, "papers")
    assert (done.code, sorted(p.name for p in extracts.folder.claim.iterdir())) == (2, ["files"])


@pytest.mark.parametrize("what", ["file", "full", "link"])
def test_nothing_that_exists_is_replaced(extracts: Extracts, tmp_path: Path, what: str) -> None:
    back, elsewhere = extracts.folder.claim / "restored", tmp_path / "elsewhere"
    elsewhere.mkdir()
    if what == "file":
        back.write_text("mine")
    elif what == "full":
        back.mkdir()
        (back / "mine").write_text("mine")
    else:
        back.symlink_to(elsewhere)
    done = extracts.into_claim("restored", "papers")
    assert done.reason == "TargetRefused"
    assert (
        "exists and is not empty" if what == "full" else "is not a folder, or it is a symbolic link"
    ) in done.message
    assert "another target.claim.path" in done.message
    assert list(elsewhere.iterdir()) == []
    assert own_folders(extracts) == []
    if what == "full":
        assert [path.name for path in back.iterdir()] == ["mine"]


def test_an_empty_folder_is_taken(extracts: Extracts) -> None:
    (extracts.folder.claim / "restored").mkdir()
    extracts.result(extracts.into_claim("restored", "papers"))
    assert (extracts.folder.claim / "restored/papers/one.txt").exists()


def test_a_folder_that_appears_meanwhile_is_not_replaced(extracts: Extracts, monkeypatch: pytest.MonkeyPatch) -> None:
    back = extracts.folder.claim / "restored"

    def appear(fd: int) -> None:
        back.mkdir()
        (back / "mine").write_text("mine")

    monkeypatch.setattr(new_folder, "sync_filesystem", appear)
    assert extracts.into_claim("restored", "papers").reason == "TargetRefused"
    assert [path.name for path in back.iterdir()] == ["mine"]
    assert own_folders(extracts) == []


def test_a_full_volume_is_not_filled(extracts: Extracts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(space, "free_bytes", lambda folder: space.reserve(os.fstatvfs(folder)) + 3_000)
    done = extracts.into_claim("restored", "papers")
    assert done.reason == "NoSpace"
    assert not (extracts.folder.claim / "restored").exists()


# --- again, and removal ----------------------------------------------------------------------------------------------


def test_the_second_attempt_finds_what_the_first_has_made(extracts: Extracts) -> None:
    first = extracts.result(extracts.into_claim("restored", "papers"))
    (extracts.folder.claim / "restored/papers/one.txt").unlink()  # the user has moved it
    assert extracts.result(extracts.into_claim("restored", "papers")) == first
    assert not (extracts.folder.claim / "restored/papers/one.txt").exists()


def test_a_stage_of_a_killed_attempt_is_replaced(extracts: Extracts) -> None:
    stage = extracts.folder.claim / ".ocore" / ENVIRONMENT / f"extract-{short_id(extracts.id)}"
    stage.mkdir(parents=True)
    (stage / "old").write_text("old")
    extracts.result(extracts.into_claim("restored", "papers"))
    assert sorted(p.name for p in (extracts.folder.claim / "restored").iterdir()) == [EXTRACT_MARKER, "papers"]
    assert own_folders(extracts) == []


def test_the_folder_is_removed_with_its_marker_only(extracts: Extracts) -> None:
    extracts.result(extracts.into_claim("restored", "papers"))
    back = extracts.folder.claim / "restored"
    marker = (back / EXTRACT_MARKER).read_text()
    mine, extracts.id = extracts.id, str(uuid.uuid4())
    assert extracts.remove(*extracts.claim, "--folder", "restored").result["payload"]["folder"] is False
    extracts.id = mine
    (back / EXTRACT_MARKER).unlink()  # the user keeps it
    assert extracts.remove(*extracts.claim, "--folder", "restored").result["payload"]["folder"] is False
    assert (back / "papers/one.txt").exists()
    (back / EXTRACT_MARKER).write_text(marker)
    assert extracts.remove(*extracts.claim, "--folder", "restored").result["payload"]["folder"] is True
    assert not back.exists()
    assert extracts.remove(*extracts.claim, "--folder", "restored").code == 0
    assert (extracts.files / "papers/one.txt").exists()


def test_a_link_in_the_folders_place_is_not_followed_by_the_removal(extracts: Extracts, tmp_path: Path) -> None:
    extracts.result(extracts.into_claim("restored", "papers"))
    (extracts.folder.claim / "restored").rename(tmp_path / "elsewhere")
    (extracts.folder.claim / "restored").symlink_to(tmp_path / "elsewhere")
    assert extracts.remove(*extracts.claim, "--folder", "restored").result["payload"]["folder"] is False
    assert (tmp_path / "elsewhere/papers/one.txt").exists()


def test_the_objects_are_removed_and_the_snapshot_stays(extracts: Extracts) -> None:
    extracts.result(extracts.extract("--path", "papers"))
    before = set(extracts.folder.objects())
    store = ["--store", extracts.folder.store.as_uri()]
    assert extracts.remove(*store).result["payload"]["objects"] == 1
    assert set(extracts.folder.objects()) == before - {"files.tar"}
    assert extracts.remove(*store).result["payload"].get("objects", 0) == 0


def test_deleting_leftovers_of_attempts_keeps_an_extract(extracts: Extracts) -> None:
    extracts.result(extracts.extract("--path", "papers"))
    assert call("delete", *extracts.folder.which, "--attempts-only").code == 0
    assert "files.tar" in extracts.folder.objects()
