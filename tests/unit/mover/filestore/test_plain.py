"""Layout Plain: any tree comes back as it was, beside the live one."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ocore_crds import conditions
from ocore_mover.errors import MoverError
from ocore_mover.filestore import packset
from ocore_mover.filestore.folders import ClaimFolders
from ocore_mover.filestore.plain import copy
from ocore_mover.store import Store, open_store
from support.mover.filestore import ENVIRONMENT, no_links, some_bytes
from support.mover.plain_tree import entries_of, make_tree, stage, take, tree


def test_a_tree_comes_back_as_it_was(folders: ClaimFolders, store: Store) -> None:
    make_tree(folders.filestore)
    before = tree(folders.filestore)
    artifact, warnings = take(store, folders)
    assert len(warnings) == 1
    assert "2 names are hard links" in warnings[0]
    assert artifact.layout == "Plain"
    assert artifact.file_count == sum(value[0] == "file" for value in before.values())
    assert tree(stage(store, artifact, folders)) == before
    assert tree(folders.filestore) == before


def test_plain_tar_reads_the_packs(folders: ClaimFolders, folder_store: Store, tmp_path: Path) -> None:
    make_tree(folders.filestore)
    artifact, _ = take(folder_store, folders)
    out = tmp_path / "out"
    out.mkdir()
    assert folder_store.local_root is not None
    for pack in sorted(artifact.packs, key=lambda pack: pack.key):
        subprocess.run(["tar", "-x", "-p", "-f", str(folder_store.local_root / pack.key), "-C", str(out)], check=True)

    def seconds(found: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
        return {k: (*v[:2], v[2] // 10**9, *v[3:]) if v[0] == "file" else v[:2] for k, v in found.items()}

    assert seconds(tree(out)) == seconds(tree(folders.filestore))


NAMES = st.binary(min_size=1, max_size=40).filter(lambda b: b not in (b".", b"..") and not set(b) & {0, 47})
LEAVES = st.binary(max_size=400) | st.tuples(
    st.just("link"), st.binary(min_size=1, max_size=60).filter(lambda b: 0 not in b)
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.recursive(LEAVES, lambda inner: st.dictionaries(NAMES, inner, max_size=5), max_leaves=20).filter(
        lambda value: isinstance(value, dict)
    ),
    pack_bytes=st.sampled_from([2048, packset.PACK_BYTES]),
    jobs=st.integers(1, 3),
)
def test_any_tree_comes_back(
    tmp_path_factory: pytest.TempPathFactory, content: Any, pack_bytes: int, jobs: int
) -> None:
    base = tmp_path_factory.mktemp("any")
    folders = ClaimFolders(base / "claim", "files", ENVIRONMENT)
    folders.filestore.mkdir(parents=True)
    build(folders.filestore, content)
    store = open_store((base / "store").as_uri())
    before = tree(folders.filestore)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packset, "PACK_BYTES", pack_bytes)
        patch.setattr(packset, "FRAME_BYTES", 700)
        artifact, _ = take(store, folders, jobs)
    assert tree(stage(store, artifact, folders)) == before
    shutil.rmtree(base)


def build(root: Path, content: Any) -> None:
    for name, value in content.items():
        path = root / os.fsdecode(name)
        if isinstance(value, dict):
            path.mkdir()
            build(path, value)
        elif isinstance(value, tuple):
            path.symlink_to(os.fsdecode(value[1]))
        else:
            path.write_bytes(value)


def test_special_files_are_left_out_and_told(folders: ClaimFolders, folder_store: Store) -> None:
    os.mkfifo(folders.filestore / "pipe")
    (folders.filestore / "file").write_bytes(b"x")
    artifact, warnings = take(folder_store, folders)
    assert artifact.file_count == 1
    assert len(warnings) == 1
    assert "pipe" in warnings[0]


def test_our_own_folder_is_no_part_of_a_claim(tmp_path: Path, folder_store: Store) -> None:
    folders = ClaimFolders(tmp_path / "claim", "", ENVIRONMENT)
    (folders.own / "freeze-old").mkdir(parents=True)
    (folders.filestore / "file").write_bytes(b"x")
    artifact, _ = take(folder_store, folders)
    assert [entry.name for entry in entries_of(folder_store, artifact)] == ["file"]
    with pytest.raises(MoverError) as error:
        stage(folder_store, artifact, folders)
    assert error.value.reason == conditions.FILESTORE_LAYOUT_UNSUPPORTED


def test_a_file_that_keeps_changing_is_told(
    folders: ClaimFolders, folder_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copy, "ATTEMPT_PAUSE", 0)
    path = folders.filestore / "busy.log"
    path.write_bytes(b"line\n" * 1000)
    real = packset.copy_content

    def append_meanwhile(fd: int, *more: Any) -> bool:
        with path.open("ab") as file:
            file.write(b"line\n")
        return real(fd, *more)

    monkeypatch.setattr(copy, "copy_content", append_meanwhile)
    with pytest.raises(MoverError) as error:
        take(folder_store, folders)
    assert (error.value.reason, error.value.retryable) == (conditions.FILESTORE_CHANGING, True)
    assert "busy.log" in error.value.message
    assert list(folder_store.list("")) == []


@pytest.mark.parametrize("change", ["grow", "shrink", "replace"])
def test_a_file_that_changes_once_is_right_in_the_end(
    folders: ClaimFolders, folder_store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, change: str
) -> None:
    path = folders.filestore / "file"
    path.write_bytes(b"0123456789" * 1000)
    (folders.filestore / "other").write_bytes(b"other")
    real = packset.copy_content
    pending = [change]

    def once(fd: int, size: int, *more: Any) -> bool:
        if size == 10_000 and pending and pending.pop():
            if change == "grow":
                with path.open("ab") as file:
                    file.write(b"more")
            elif change == "shrink":
                os.truncate(path, 77)
            else:
                path.write_bytes(b"9876543210" * 1000)
        return real(fd, size, *more)

    monkeypatch.setattr(copy, "copy_content", once)
    artifact, warnings = take(folder_store, folders, consistency="BestEffort")
    assert len(warnings) == 1
    assert warnings[0].endswith("for example file")
    assert tree(stage(folder_store, artifact, folders)) == tree(folders.filestore)
    out = tmp_path / "out"
    out.mkdir()
    assert folder_store.local_root is not None
    for pack in artifact.packs:
        subprocess.run(["tar", "-x", "-f", str(folder_store.local_root / pack.key), "-C", str(out)], check=True)
    assert (out / "file").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("linked", [True, False])
def test_files_that_vanish_are_left_out_and_told(
    folders: ClaimFolders, folder_store: Store, monkeypatch: pytest.MonkeyPatch, linked: bool
) -> None:
    """With hard links none is lost; without them the warning says so."""
    for number in range(10):
        (folders.filestore / f"{number}").write_bytes(b"x")
    if not linked:
        no_links(monkeypatch)
    real = copy.open_below

    def vanish(root: int, path: str) -> int:
        (folders.filestore / "7").unlink(missing_ok=True)
        return real(root, path)

    monkeypatch.setattr(copy, "open_below", vanish)
    artifact, warnings = take(folder_store, folders, consistency="BestEffort")
    assert artifact.file_count == (10 if linked else 9)
    assert any("1 files were deleted" in warning for warning in warnings) == (not linked)


def test_many_files_in_many_folders(folders: ClaimFolders, store: Store) -> None:
    for number in range(600):
        folder = folders.filestore / f"{number % 7}" / f"{number % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}").write_bytes(some_bytes(number, number * 37 % 5000, compressible=bool(number % 2)))
    artifact, _ = take(store, folders)
    assert artifact.file_count == 600
    assert tree(stage(store, artifact, folders)) == tree(folders.filestore)
