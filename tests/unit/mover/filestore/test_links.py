"""A hostile application puts symbolic links on the claim: nothing of ours is opened, written or removed through
them."""

import contextlib
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ocore_crds import conditions
from ocore_crds.stored.manifest import FilestoreArtifact
from ocore_mover.errors import MoverError
from ocore_mover.filestore import facts, layouts, links
from ocore_mover.filestore.folders import ClaimFolders
from ocore_mover.filestore.plain import copy, freeze, restore, switch
from ocore_mover.store import Store
from support.mover.filestore import ENVIRONMENT, PREFIX, ROLLBACK, Site, counter, new_site, no_links
from support.mover.plain_tree import entries_of

#: A thread that died swaps nothing.
pytestmark = pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")

SECRET = b"the password of the database"
NAME = "ab/ab" + "0" * 38


class Secrets:
    """The Job's own secrets, outside of the claim."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "files" / "ab").mkdir(parents=True)
        for path in (folder / "password", folder / "files" / "password", folder / "files" / NAME):
            path.write_bytes(SECRET)
        self.remember()

    def remember(self) -> None:
        self._before = self._state()

    def _state(self) -> list[tuple[str, int, int, int]]:
        """Names, link counts, modes and times of everything."""
        found = []
        for path in sorted([self.folder, *self.folder.rglob("*")]):
            status = path.lstat()
            found.append((str(path), status.st_nlink, status.st_mode, status.st_mtime_ns))
        return found

    def assert_untouched(self) -> None:
        assert self._state() == self._before


@pytest.fixture
def secrets(tmp_path: Path) -> Secrets:
    return Secrets(tmp_path / "secrets")


@pytest.fixture
def plain(tmp_path: Path, folder_store: Store) -> tuple[ClaimFolders, FilestoreArtifact]:
    """A folder that has a snapshot, and is staged."""
    folders = ClaimFolders(tmp_path / "claim", "data/files", ENVIRONMENT)
    (folders.filestore / "below").mkdir(parents=True)
    (folders.filestore / "below" / "file").write_bytes(b"content")
    artifact = take(folders, folder_store)
    restore.stage_plain(folder_store, artifact, folders, ROLLBACK, counter())
    return folders, artifact


def take(folders: ClaimFolders, store: Store) -> FilestoreArtifact:
    with freeze.freeze(folders, "a1") as frozen:
        frozen.extend()
        return copy.store_plain(store, PREFIX, frozen, counter())[0]


def stored_names(store: Store) -> bytes:
    """All bytes of the store: packs of this size are not compressed beyond recognition, names are in the tar."""
    assert store.local_root is not None
    return b"".join(path.read_bytes() for path in store.local_root.rglob("*.tar*"))


def plant(path: Path, target: Path) -> None:
    """A symbolic link in the place of a folder, which is kept aside."""
    if path.exists():
        path.rename(path.with_name(f"{path.name}-aside"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


# --- layout Plain --------------------------------------------------------------------------------------------


PLAIN: dict[str, Callable[[ClaimFolders, FilestoreArtifact, Store], object]] = {
    "snapshot": lambda folders, _, store: take(folders, store),
    "restore": lambda folders, artifact, store: restore.stage_plain(store, artifact, folders, ROLLBACK, counter()),
    "switch": lambda folders, _, __: switch.switch(folders, ROLLBACK),
    "switch back": lambda folders, _, __: switch.switch_back(folders, ROLLBACK),
    "cleanup": lambda folders, _, __: switch.remove_stage(folders, ROLLBACK),
    "remove frozen": lambda folders, _, __: folders.remove_frozen(),
}
#: Which part of the path is the link, and what it leads to.
PLANTED = {
    "filestore": ("data/files", "files"),
    "parent": ("data", ""),
    "own": (".ocore", ""),
    "environment": (f".ocore/{ENVIRONMENT}", ""),
}


@pytest.mark.parametrize("command", PLAIN)
@pytest.mark.parametrize("where", PLANTED)
def test_row_28_a_link_in_the_path_is_not_followed(
    plain: tuple[ClaimFolders, FilestoreArtifact], secrets: Secrets, folder_store: Store, where: str, command: str
) -> None:
    folders, artifact = plain
    planted, leads_to = PLANTED[where]
    # What the commands look for exists behind the link, too.
    for name in ("stage", "prev", "freeze"):
        (secrets.folder / f"{name}-{ROLLBACK[:8]}").mkdir()
    (secrets.folder / ENVIRONMENT / f"stage-{ROLLBACK[:8]}").mkdir(parents=True)
    secrets.remember()
    plant(folders.claim / planted, secrets.folder / leads_to)
    with contextlib.suppress(MoverError):
        PLAIN[command](folders, artifact, folder_store)
    secrets.assert_untouched()
    assert SECRET not in stored_names(folder_store)
    assert (folders.claim / planted).is_symlink()


@pytest.mark.parametrize("where", ["filestore", "parent"])
def test_row_28_a_linked_filestore_is_refused_with_the_remedy(
    plain: tuple[ClaimFolders, FilestoreArtifact], secrets: Secrets, folder_store: Store, where: str
) -> None:
    folders, artifact = plain
    planted, leads_to = PLANTED[where]
    plant(folders.claim / planted, secrets.folder / leads_to)
    for command in ("snapshot", "restore"):
        with pytest.raises(MoverError) as error:
            PLAIN[command](folders, artifact, folder_store)
        assert error.value.reason == conditions.FILESTORE_NOT_FOUND
        assert "symbolic link" in error.value.message
        assert "spec.filestore.path" in error.value.message
    found, (finding,), _, _ = facts.collect(folders, layouts.of("Plain"))
    assert found is None
    assert "symbolic link" in finding.message


def test_row_28_links_in_the_filestore_are_stored_as_links(
    plain: tuple[ClaimFolders, FilestoreArtifact], secrets: Secrets, folder_store: Store
) -> None:
    folders, _ = plain
    plant(folders.filestore / "below", secrets.folder)
    plant(folders.filestore / "password", secrets.folder / "password")
    artifact = take(folders, folder_store)
    assert {(entry.name, entry.kind) for entry in entries_of(folder_store, artifact)} == {
        ("below", "symlink"),
        ("password", "symlink"),
        ("below-aside", "folder"),
        ("below-aside/file", "file"),
    }
    found, blocking, _, _ = facts.collect(folders, layouts.of("Plain"))
    assert found is not None
    assert (found.file_count, blocking) == (1, ())


@pytest.mark.parametrize("name", ["stage", "prev"])
def test_row_28_a_link_instead_of_our_folder_is_removed_and_not_followed(
    plain: tuple[ClaimFolders, FilestoreArtifact], secrets: Secrets, name: str
) -> None:
    folders, _ = plain
    switch.remove_stage(folders, ROLLBACK)
    path = folders.own / f"{name}-{ROLLBACK[:8]}"
    plant(path, secrets.folder)
    assert switch.position(folders, ROLLBACK) == "Nothing"
    remove = switch.remove_stage if name == "stage" else switch.remove_previous
    assert remove(folders, ROLLBACK)
    secrets.assert_untouched()
    assert not path.is_symlink()


# --- layout Odoo ---------------------------------------------------------------------------------------------


ODOO: dict[str, Callable[[Site, FilestoreArtifact, Store], object]] = {
    "freeze": lambda site, _, store: site.store(store),
    "hold": lambda site, _, __: site.hold.hold_all(),
    "relink": lambda site, _, __: site.hold.relink(site.names),
    "restore": lambda site, artifact, store: site.add_missing(store, artifact),
    "restore held": lambda site, artifact, store: site.add_missing(store, artifact, site.hold),
    "remove hold": lambda site, _, __: site.hold.remove(),
    "remove frozen": lambda site, _, __: site.folders.remove_frozen(),
    "probe": lambda site, _, __: facts.collect(site.folders, layouts.of("Odoo")),
}
ODOO_PLANTED = {
    "filestore": "data/filestore/db",
    "parent": "data",
    "xx": "data/filestore/db/XX",
    "own": ".ocore",
    "environment": f".ocore/{ENVIRONMENT}",
    "incoming": f".ocore/{ENVIRONMENT}/incoming",
    "hold": f".ocore/{ENVIRONMENT}/hold-{ROLLBACK[:8]}",
    "held xx": f".ocore/{ENVIRONMENT}/hold-{ROLLBACK[:8]}/XX",
}


@pytest.mark.parametrize("command", ODOO)
@pytest.mark.parametrize("where", ODOO_PLANTED)
def test_row_28_odoo_follows_no_link(tmp_path: Path, folder_store: Store, where: str, command: str) -> None:
    site = new_site(tmp_path / "claim")
    site.fill(60)
    artifact = site.store(folder_store)
    site.hold.hold_all()
    secrets = Secrets(tmp_path / "secrets")
    for name in site.names:  # what a command looks for exists behind the link
        path = secrets.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(SECRET)
    (secrets.folder / ENVIRONMENT).mkdir()
    secrets.remember()
    plant(site.claim / ODOO_PLANTED[where].replace("XX", site.names[0][:2]), secrets.folder)
    with contextlib.suppress(MoverError):
        ODOO[command](site, artifact, folder_store)
    secrets.assert_untouched()
    assert SECRET not in stored_names(folder_store)


def test_row_28_a_file_that_became_a_link(site: Site, secrets: Secrets, folder_store: Store) -> None:
    site.fill(3)
    name = site.names[0]
    site.unlink(name)
    (site.filestore / name).symlink_to(secrets.folder / "password")
    with pytest.raises(MoverError):
        site.store(folder_store)
    assert SECRET not in stored_names(folder_store)


def test_row_28_a_live_file_that_became_a_link(
    plain: tuple[ClaimFolders, FilestoreArtifact],
    secrets: Secrets,
    folder_store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without hard links the live files are read: one is replaced after it was listed."""
    folders, _ = plain
    no_links(monkeypatch)
    real = copy.open_below

    def replace(root: int, path: str) -> int:
        plant(folders.filestore / "below" / "file", secrets.folder / "password")
        return real(root, path)

    monkeypatch.setattr(copy, "open_below", replace)
    with freeze.freeze(folders, "a1") as frozen:
        frozen.extend()
        with pytest.raises(MoverError, match="symbolic link"):
            copy.store_plain(folder_store, PREFIX, frozen, counter(), consistency="BestEffort")
    assert SECRET not in stored_names(folder_store)


def test_row_28_a_held_copy_is_not_made_of_a_link(
    site: Site, secrets: Secrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without hard links the hold set consists of copies."""
    site.add(b"attachment")
    digest = hashlib.sha1(SECRET, usedforsecurity=False).hexdigest()
    name = f"{digest[:2]}/{digest}"
    (site.filestore / name).parent.mkdir(exist_ok=True)
    (site.filestore / name).symlink_to(secrets.folder / "password")
    no_links(monkeypatch)
    with contextlib.suppress(MoverError):
        site.hold.hold_all()
    assert not (site.folders.hold(ROLLBACK) / name).exists()


# --- while we run --------------------------------------------------------------------------------------------


@contextmanager
def swapping(path: Path, target: Path) -> Iterator[list[int]]:
    """Swaps a folder for a link and back, as fast as it can; counts. The block begins after the first time."""
    going, stop = threading.Event(), threading.Event()
    aside, link = path.with_name(".aside"), path.with_name(".link")
    count = [0]

    def swap() -> None:
        link.symlink_to(target)
        while not stop.is_set():
            with contextlib.suppress(OSError):
                path.rename(aside)
                link.rename(path)
                path.rename(link)
                aside.rename(path)
                count[0] += 1
                going.set()
            with contextlib.suppress(OSError):  # a failure in the middle
                if aside.exists() and not path.exists() and not path.is_symlink():
                    aside.rename(path)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        assert going.wait(60)
        yield count
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("swapped", ["data", "data/files", "data/files/below"])
def test_row_28_a_folder_swapped_for_a_link_while_we_run(
    plain: tuple[ClaimFolders, FilestoreArtifact],
    secrets: Secrets,
    folder_store: Store,
    monkeypatch: pytest.MonkeyPatch,
    swapped: str,
) -> None:
    monkeypatch.setattr(copy, "ATTEMPT_PAUSE", 0)
    folders, _ = plain
    for number in range(30):
        (folders.filestore / "below" / f"{number}").write_bytes(b"content")
    with swapping(folders.claim / swapped, secrets.folder / "files") as count:
        until, runs = time.monotonic() + 60, 0
        while (runs < 30 or count[0] < 100) and time.monotonic() < until:
            runs += 1
            with contextlib.suppress(MoverError):
                take(folders, folder_store)
            with contextlib.suppress(MoverError):
                facts.collect(folders, layouts.of("Plain"))
    assert runs >= 30
    assert count[0] >= 100
    secrets.assert_untouched()
    assert SECRET not in stored_names(folder_store)


def test_row_28_a_folder_swapped_for_a_link_while_it_is_removed(tmp_path: Path, secrets: Secrets) -> None:
    folders = ClaimFolders(tmp_path / "claim", "data/files", ENVIRONMENT)
    stage = folders.stage(ROLLBACK)
    rounds = removed = swapped = 0
    until = time.monotonic() + 60
    while (rounds < 30 or swapped < 30 or not removed) and time.monotonic() < until:
        rounds += 1
        for number in range(20):
            (stage / "below" / f"{number}").mkdir(parents=True, exist_ok=True)
        with swapping(stage / "below", secrets.folder) as count, contextlib.suppress(MoverError):
            before = count[0]
            try:
                removed += folders.remove(stage)
            finally:
                swapped += count[0] - before
        with contextlib.suppress(MoverError, FileNotFoundError):
            folders.remove(stage)
    assert removed
    assert swapped
    secrets.assert_untouched()


# --- the walk ------------------------------------------------------------------------------------------------


def test_a_pipe_does_not_block(plain: tuple[ClaimFolders, FilestoreArtifact], folder_store: Store) -> None:
    folders, _ = plain
    os.mkfifo(folders.filestore / "pipe")
    assert take(folders, folder_store).file_count == 1


def test_folders_nested_too_deep_are_refused(tmp_path: Path, folder_store: Store) -> None:
    folders = ClaimFolders(tmp_path / "claim", "data", ENVIRONMENT)
    folders.filestore.mkdir(parents=True)
    fd = os.open(folders.filestore, os.O_RDONLY)
    for _ in range(250):
        os.mkdir("d", dir_fd=fd)
        child = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = child
    os.close(fd)
    with pytest.raises(MoverError) as error:
        take(folders, folder_store)
    assert error.value.reason == conditions.FILESTORE_LAYOUT_UNSUPPORTED
    _, _, _, warnings = facts.collect(folders, layouts.of("Plain"))
    assert "nested deeper" in warnings[0]
    folders.remove(folders.filestore)
    assert not folders.filestore.exists()


def test_a_listing_that_leaves_out_names_is_repeated(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some file systems leave out names while others are removed."""
    stage = site.folders.stage(ROLLBACK)
    for number in range(30):
        (stage / f"{number}").mkdir(parents=True)
        (stage / f"{number}" / "file").touch()
    listed = links.items_in

    def every_third(fd: int) -> Iterator[links.Item]:
        return (item for number, item in enumerate(listed(fd)) if number % 3 == 0)

    monkeypatch.setattr(links, "items_in", every_third)
    assert site.folders.remove(stage)
    assert not stage.exists()


def test_removal_ends_where_the_application_adds_files(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "LISTINGS", 3)
    stage = site.folders.stage(ROLLBACK)
    stage.mkdir(parents=True)
    (stage / "file").touch()
    unlink, added = os.unlink, []

    def and_add(name: str, *, dir_fd: int) -> None:
        unlink(name, dir_fd=dir_fd)
        added.append(name)
        (stage / f"{len(added)}").touch()

    monkeypatch.setattr(os, "unlink", and_add)
    with pytest.raises(MoverError, match="not empty"):
        site.folders.remove(stage)
    assert len(added) < 500


def test_removal_keeps_no_list_of_names(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names are removed as they are listed."""
    stage = site.folders.stage(ROLLBACK)
    stage.mkdir(parents=True)
    for number in range(10):
        (stage / f"{number}").touch()
    listed, left = links.items_in, []

    def watched(fd: int) -> Iterator[links.Item]:
        for item in listed(fd):
            yield item
            left.append(len(list(stage.iterdir())))

    monkeypatch.setattr(links, "items_in", watched)
    site.folders.remove(stage)
    assert left == [*range(9, -1, -1)]
