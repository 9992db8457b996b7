"""Layout Plain: what a restore stages, and what it refuses."""

import errno
import os
import stat
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ocore_crds import conditions
from ocore_crds.stored.manifest import FilestoreArtifact
from ocore_mover.errors import Corrupt, MoverError
from ocore_mover.filestore import links, packset, sorting, space
from ocore_mover.filestore.folders import ClaimFolders
from ocore_mover.filestore.index import Entry
from ocore_mover.filestore.plain import restore
from ocore_mover.filestore.plain.index_lines import plain_line
from ocore_mover.report import Counter
from ocore_mover.store import Store
from support.mover.filestore import ROLLBACK, counter, no_links, some_bytes
from support.mover.plain_tree import entries_of, make_tree, stage, take, tree


@pytest.mark.parametrize("with_links", [True, False])
def test_more_folders_than_are_kept_in_memory(
    folders: ClaimFolders, folder_store: Store, monkeypatch: pytest.MonkeyPatch, *, with_links: bool
) -> None:
    monkeypatch.setattr(links, "FEW", 5)
    monkeypatch.setattr(restore, "FEW", 5)
    monkeypatch.setattr(sorting, "RUN_BYTES", 300)
    if not with_links:
        no_links(monkeypatch)
    for number in range(40):
        folder = folders.filestore / f"{number}" / "a" / "b"
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(some_bytes(number, 100))
        (folder.parent / "link").symlink_to("b")
        folder.parent.chmod(0o555 if number % 2 else 0o700)
    before = tree(folders.filestore)
    artifact, _ = take(folder_store, folders)
    assert artifact.file_count == 40
    assert tree(stage(folder_store, artifact, folders)) == before


# --- what comes from the store is not trusted ----------------------------------------------------------------


def lying(store: Store, artifact: FilestoreArtifact, *entries: Entry) -> FilestoreArtifact:
    with store.writer(artifact.index.key) as writer:
        text = b"".join(map(plain_line, entries))
        writer.write(packset.ZstdCompressor().compress(text, packset.ZstdCompressor.FLUSH_FRAME))
        return artifact.model_copy(update={"index": writer.commit()})


@pytest.mark.parametrize(
    "names",
    [
        ("../evil",),
        ("/tmp/evil",),
        ("a/../../evil",),
        ("",),
        (".",),
        ("..",),
        ("a//b",),
        ("a/",),
        ("file", "file"),
        ("file", "file/below"),
    ],
)
def test_names_that_lead_elsewhere_are_refused(
    folders: ClaimFolders, folder_store: Store, tmp_path: Path, names: tuple[str, ...]
) -> None:
    (folders.filestore / "file").write_bytes(b"content")
    artifact, _ = take(folder_store, folders)
    right = entries_of(folder_store, artifact)[0]
    entries = [Entry(name, right.pack, right.offset, right.frame, right.size, right.digest) for name in names]
    with pytest.raises(Corrupt):
        stage(folder_store, lying(folder_store, artifact, *entries), folders)
    assert not folders.stage(ROLLBACK).exists()
    assert not list(tmp_path.rglob("evil"))


def test_two_files_of_one_name_are_refused(folders: ClaimFolders, folder_store: Store) -> None:
    """Where the index has as many as the manifest."""
    for name in ("file", "other"):
        (folders.filestore / name).write_bytes(b"content")
    artifact, _ = take(folder_store, folders)
    first, second = entries_of(folder_store, artifact)
    with pytest.raises(Corrupt, match="names 'file' twice"):
        stage(folder_store, lying(folder_store, artifact, first, second._replace(name="file")), folders)
    assert not folders.stage(ROLLBACK).exists()


def test_a_file_with_other_bytes_than_its_digest_is_refused(folders: ClaimFolders, folder_store: Store) -> None:
    """The pack is whole and the index is valid: only the digest of the file itself shows that they do not belong
    together."""
    for name in ("a", "b"):
        (folders.filestore / name).write_bytes(name.encode() * 100)
    artifact, _ = take(folder_store, folders)
    first, second = entries_of(folder_store, artifact)
    swapped = lying(folder_store, artifact, first._replace(name="b"), second._replace(name="a"))
    stage(folder_store, swapped, folders)  # renamed, each with its digest
    for entries in ((first._replace(digest=second.digest), second), (first, second._replace(digest=first.digest))):
        with pytest.raises(Corrupt, match="has another SHA256 than the index says"):
            stage(folder_store, lying(folder_store, artifact, *entries), folders)
    assert not (folders.claim / ".ocore").exists()


@pytest.mark.parametrize("below", ["a/b", "a/b/c"])
def test_nothing_is_written_through_a_link(
    folders: ClaimFolders, folder_store: Store, tmp_path: Path, below: str
) -> None:
    (folders.filestore / "file").write_bytes(b"content")
    (folders.filestore / "folder").mkdir()
    outside = tmp_path / "outside"
    outside.mkdir()
    artifact, _ = take(folder_store, folders)
    file = entries_of(folder_store, artifact)[0]
    last = artifact.packs[-1].key.rpartition("/")[2]
    entries = (
        file,
        Entry("a", last, 512, kind="symlink", target=str(outside)),
        Entry(below, last, 512, kind="symlink", target="x"),
    )
    with pytest.raises(Corrupt):
        stage(folder_store, lying(folder_store, artifact, *entries), folders)
    assert list(outside.iterdir()) == []


def test_set_uid_is_not_restored(folders: ClaimFolders, folder_store: Store) -> None:
    path = folders.filestore / "tool"
    path.write_bytes(b"x")
    path.chmod(0o4755)
    artifact, _ = take(folder_store, folders)
    assert stat.S_IMODE((stage(folder_store, artifact, folders) / "tool").stat().st_mode) == 0o755


def test_damage_leaves_no_stage(folders: ClaimFolders, folder_store: Store) -> None:
    make_tree(folders.filestore)
    artifact, _ = take(folder_store, folders)
    assert folder_store.local_root is not None
    path = folder_store.local_root / artifact.packs[0].key
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(Corrupt):
        stage(folder_store, artifact, folders)
    assert not (folders.claim / ".ocore").exists()


def test_threads_do_not_make_folders_twice(folders: ClaimFolders, folder_store: Store) -> None:
    """Two workers restore into the same new folders."""
    for number in range(40):
        path = folders.filestore / "a" / "b" / f"{number % 4}" / f"{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(some_bytes(number, 1000))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packset, "PACK_BYTES", 3000)
        artifact, _ = take(folder_store, folders)
    assert len(artifact.packs) > 10
    assert tree(stage(folder_store, artifact, folders)) == tree(folders.filestore)


# --- what a restore promises -------------------------------------------------------------------------------------


def test_an_earlier_attempts_stage_is_replaced_and_the_result_counts_what_is_there(
    folders: ClaimFolders, folder_store: Store
) -> None:
    (folders.filestore / "a").write_bytes(b"12345")
    (folders.filestore / "b").write_bytes(b"123")
    artifact, _ = take(folder_store, folders)
    left = folders.stage(ROLLBACK) / "left"
    left.mkdir(parents=True)
    (left / "file").write_bytes(b"of an attempt that was killed")
    done = restore.stage_plain(folder_store, artifact, folders, ROLLBACK, counter())
    assert (done.files_added, done.bytes_added) == (2, 8)
    assert tree(folders.stage(ROLLBACK)) == tree(folders.filestore)


def test_files_and_bytes_are_counted(folders: ClaimFolders, folder_store: Store) -> None:
    for name in ("a", "b"):
        (folders.filestore / name).write_bytes(b"12345")
    artifact, _ = take(folder_store, folders)
    counted: list[tuple[int, int]] = []
    found = cast(Counter, SimpleNamespace(add=lambda *, bytes_, files: counted.append((bytes_, files))))
    restore.stage_plain(folder_store, artifact, folders, ROLLBACK, found)
    assert counted == [(5, 1), (5, 1)]


def staging(root: int) -> Any:
    """A run that restores nothing."""
    nothing: Any = None
    return restore._Staging(nothing, nothing, nothing, root, counter(), nothing)


def test_only_some_folders_are_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot may have millions; those that are not are looked for again."""
    monkeypatch.setattr(restore, "FEW", 5)
    fd = os.open(tmp_path, os.O_RDONLY)
    run = staging(fd)
    remembered = []
    for number in range(20):
        run._make_folders(f"folder/{number}")
        remembered.append(len(run._made))
    os.close(fd)
    assert remembered == [*range(1, 7), *range(1, 7), *range(1, 7), 1, 2]
    assert len(list((tmp_path / "folder").iterdir())) == 20


@pytest.mark.parametrize(
    ("euid", "owner", "group", "given"), [(0, 1234, 7, 3), (0, 1, 0, 3), (0, 0, 7, 3), (0, 0, 0, 0), (1000, 1234, 7, 0)]
)
def test_only_root_gives_the_owner_and_group_of_the_live_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, euid: int, owner: int, group: int, given: int
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/file").touch()
    fd = os.open(tmp_path, os.O_RDONLY)
    run = staging(fd)
    live = cast(ClaimFolders, SimpleNamespace(filestore=None, opened=lambda _: nullcontext("the live folder")))
    real, calls = os.fstat, []

    def fstat(found: Any) -> Any:
        return (
            SimpleNamespace(st_mode=0o40751, st_uid=owner, st_gid=group) if found == "the live folder" else real(found)
        )

    monkeypatch.setattr(restore.os, "fstat", fstat)
    monkeypatch.setattr(restore.os, "geteuid", lambda: euid)
    monkeypatch.setattr(restore.os, "chown", lambda _, *owners, **__: calls.append(owners))
    monkeypatch.setattr(restore.os, "fchown", lambda _, *owners: calls.append(owners))
    run._become_like(live)
    os.close(fd)
    # The file, its folder (as an entry and as a folder), and the stage.
    assert calls == [(owner, group)] * (given + 1 if given else 0)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o751


def test_a_volume_without_room_is_refused_before_a_file_is_written(
    folders: ClaimFolders, folder_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folders.filestore / "file").write_bytes(b"x" * 1000)
    artifact, _ = take(folder_store, folders)
    monkeypatch.setattr(space, "free_bytes", lambda _: 999)
    monkeypatch.setattr(restore, "blocks", lambda *_: pytest.fail("the restore began"))
    with pytest.raises(MoverError, match="999 bytes free") as refused:
        stage(folder_store, artifact, folders)
    assert refused.value.reason == conditions.NO_SPACE
    assert not folders.own.exists()


@pytest.mark.parametrize("call", ["mkdir", "symlink", "fchmod"])
def test_a_volume_that_becomes_full_leaves_no_stage(
    folders: ClaimFolders, folder_store: Store, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    (folders.filestore / "folder").mkdir()
    (folders.filestore / "folder" / "file").write_bytes(b"x")
    (folders.filestore / "link").symlink_to("folder")
    artifact, _ = take(folder_store, folders)
    real = getattr(os, call)

    def full(*args: Any, **options: Any) -> Any:
        if not (folders.stage(ROLLBACK)).exists():
            return real(*args, **options)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(MoverError, match="cannot restore the filestore's files") as failed:
        stage(folder_store, artifact, folders)
    assert failed.value.reason == conditions.NO_SPACE
    assert not folders.own.exists()
    assert (folders.filestore / "folder" / "file").read_bytes() == b"x"


def test_an_index_that_lacks_a_file_is_refused(folders: ClaimFolders, folder_store: Store) -> None:
    for name in ("a", "b"):
        (folders.filestore / name).write_bytes(name.encode())
    artifact, _ = take(folder_store, folders)
    shorter = lying(folder_store, artifact, entries_of(folder_store, artifact)[0])
    with pytest.raises(Corrupt, match="1 of 2 files of the snapshot were restored"):
        stage(folder_store, shorter, folders)


def test_an_index_that_names_a_link_twice_or_gives_a_folder_an_impossible_time_is_refused(
    folders: ClaimFolders, folder_store: Store
) -> None:
    (folders.filestore / "file").write_bytes(b"content")
    artifact, _ = take(folder_store, folders)
    (file,) = entries_of(folder_store, artifact)
    link = Entry("link", file.pack, file.offset, kind="symlink", target="file")
    folder = Entry("folder", file.pack, file.offset, kind="folder", mtime_ns=2**63 * 10**9)
    with pytest.raises(Corrupt, match="names 'link' twice"):
        stage(folder_store, lying(folder_store, artifact, file, link, link), folders)
    with pytest.raises(Corrupt, match="invalid time of the folder 'folder'"):
        stage(folder_store, lying(folder_store, artifact, file, folder), folders)


def test_what_is_staged_belongs_to_the_live_folders_owner(folders: ClaimFolders, folder_store: Store) -> None:
    """The application must be able to write to it; its group and mode are those of the live folder, too."""
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    (folders.filestore / "folder").mkdir()
    (folders.filestore / "folder" / "file").write_bytes(b"x")
    (folders.filestore / "link").symlink_to("folder")
    artifact, _ = take(folder_store, folders)
    os.chown(folders.filestore, 1234, 2345)
    folders.filestore.chmod(0o2770)
    staged = stage(folder_store, artifact, folders)
    assert stat.S_IMODE(staged.stat().st_mode) == 0o2770
    found = {path.lstat().st_uid: path.lstat().st_gid for path in (staged, *staged.rglob("*"))}
    assert found == {1234: 2345}
