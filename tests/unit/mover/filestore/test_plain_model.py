"""Row 89: no file that the exported database may name is lost in silence. The loop of the freeze, on a model.

The oracle. E is the moment of the export, between `approach` and `confirm`. For each name that a file has at E, one of
these is true:

1. The frozen tree has this file (the same inode) under this name.
2. `confirm` returned False: another export follows, and after the last one the snapshot fails or is `Incomplete`.
3. The file was moved away from this name during the export (before `confirm` returned), after it had got the name
   during the export, and the tree has it under the name that it was moved to. A file under a temporary name is such a
   file. docs/format.md promises "under the old name, the new one, or both".

A file is written before its row is committed, and deleted after its row is deleted. So each file that a row of the
export names has its name at E, and each name at E is checked. The tree may have more: files that were deleted before E.

The second half of the oracle keeps the loop useful: `confirm` returns True where nothing happened after `approach`
began, and the tree then has what is live.

Everything is exhaustive: each sequence of operations up to a length, before each call of ours that it concerns. The
same oracle runs on the real calls, with the real inotify, in random orders.
"""

import itertools
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ocore_mover import inotify
from ocore_mover.filestore.folders import ClaimFolders
from ocore_mover.filestore.plain import freeze as freeze_module
from ocore_mover.filestore.plain.freeze import freeze
from ocore_mover.filestore.plain.mirror import Calls, Mirror
from ocore_mover.filestore.plain.watch import FolderWatch
from support.mover.plain_model import LATE, LIVE, TREE, ModelCalls, Op, Run, every_order

#: Exports that are tried. The second one shows that the first one forgot nothing.
EXPORTS = 2


def operations(files: list[str], folders: list[str]) -> list[Op]:
    """All that an application may do with these names."""
    return [
        *(Op(what, path) for what in ("create", "delete") for path in files),
        *(Op(what, path) for what in ("mkdir", "rmdir") for path in folders),
        *(Op(what, *paths) for what in ("rename", "link") for paths in itertools.permutations(files, 2)),
        *(Op("move", *paths) for paths in itertools.permutations(folders, 2)),
    ]


FLAT = operations(["a", "b"], [])
SMALL = operations(["a", "d/a"], ["d"])
MOVES = operations(["d/a", "e/a"], ["d", "e"])
DEEP = operations(["a", "d/a", "d/e/a"], ["d", "d/e", "e"])


class Checked:
    """Carries out the loop on a model, and applies the oracle."""

    def __init__(self, made: list[Op], *, walk: bool, capacity: int = 1000) -> None:
        """`made`: what exists before. `walk`: the application also works while the tree is first linked."""
        self.made = made
        self.walk = walk
        self.capacity = capacity
        self.runs = self.doubts = 0

    def __call__(self, run: Run) -> None:
        world = run.world
        world._capacity = self.capacity
        run.silent = True
        for op in self.made:
            world.do(op)
        run.silent = not self.walk
        mirror = Mirror(FolderWatch(world), lambda _: False, ModelCalls(world))
        mirror.walk(LIVE, TREE)
        run.silent = False
        self.runs += 1
        for _ in range(EXPORTS):
            merged(world.folders, LATE, TREE)
            quiet = run._done == len(run.schedule)
            mirror.approach(LIVE, TREE)
            before = world.files(LIVE)
            world.moved.clear()
            world.step(0, None)  # the export
            at_export = world.files(LIVE)
            confirmed = mirror.confirm(LIVE, TREE, LATE)
            tree, late = world.files(TREE), world.files(LATE)
            assert not tree.keys() & late.keys(), run.schedule
            kept = tree | late
            if not confirmed:
                self.doubts += 1
                assert not quiet, (run.schedule, mirror.doubts)
                continue
            for path, inode in at_export.items():
                moved = (path, inode) in world.moved and before.get(path) != inode and inode in kept.values()
                assert kept.get(path) == inode or moved, (run.schedule, path, kept)
            if quiet:
                assert {path: kept.get(path) for path in at_export} == at_export
        merged(world.folders, LATE, TREE)


def merged(folders: dict[int, dict[str, int]], source: int, target: int) -> None:
    """As `_merge`: the links of one tree into another one."""
    for name, inode in list(folders[source].items()):
        if inode not in folders:
            folders[target].setdefault(name, inode)
        elif name in folders[target]:
            merged(folders, inode, folders[target][name])
        else:
            folders[target][name] = inode
        del folders[source][name]


def check(checked: Checked, possible: list[Op], most: int) -> None:
    for _ in every_order(checked, possible, most):
        pass
    assert checked.runs > 100
    assert checked.doubts, "some order must be in doubt"
    print(f"{checked.runs} orders, {checked.doubts} exports in doubt")


A = [Op("create", "a")]
NESTED = [Op("create", "a"), Op("mkdir", "d"), Op("create", "d/a"), Op("mkdir", "d/e"), Op("create", "d/e/a")]
D = [Op("mkdir", "d"), Op("create", "d/a")]


SIZES = [
    pytest.param(A, FLAT, 3, id="files"),
    pytest.param([], SMALL, 3, id="a new folder"),
    pytest.param(D, SMALL, 3, id="a folder"),
    pytest.param(D, MOVES, 2, id="folders that move"),
    pytest.param(NESTED, DEEP, 2, id="folders in folders"),
]


@pytest.mark.parametrize(("made", "possible", "most"), SIZES)
def test_row_89_every_order_about_the_export(made: list[Op], possible: list[Op], most: int) -> None:
    check(Checked(made, walk=False), possible, most)


@pytest.mark.parametrize(("made", "possible", "most"), SIZES)
def test_row_89_every_order_from_the_first_listing_on(made: list[Op], possible: list[Op], most: int) -> None:
    check(Checked(made, walk=True), possible, 2)


@pytest.mark.long
@pytest.mark.parametrize("walk", [False, True])
@pytest.mark.parametrize(("made", "possible", "most"), SIZES)
def test_row_89_every_longer_order(made: list[Op], possible: list[Op], most: int, walk: bool) -> None:
    check(Checked(made, walk=walk), possible, 3 if walk else most + 1)


@pytest.mark.parametrize("capacity", [0, 1])
def test_row_89_every_order_where_the_kernel_drops_events(capacity: int) -> None:
    check(Checked(D, walk=True, capacity=capacity), SMALL, 2)


# --- the real calls ----------------------------------------------------------------------------------------------


class Real:
    """An application that does something, or nothing, before each call of ours."""

    def __init__(self, root: Path, possible: list[Op], seed: int) -> None:
        self.root = root
        self.chosen = random.Random(seed)  # noqa: S311
        self.possible = possible
        self.left = self.chosen.randrange(1, 12)
        self.moved: set[tuple[str, int]] = set()
        self.done: list[tuple[str, Op]] = []

    def before(self, call: str) -> None:
        while self.left and self.chosen.random() < 0.15:
            op = self.chosen.choice(self.possible)
            try:
                self.do(op)
            except OSError:
                continue
            self.left -= 1
            self.done.append((call, op))

    def do(self, op: Op) -> None:
        path, other = self.root / op.path, self.root / op.other
        match op.what:
            case "create":
                path.touch(exist_ok=False)
            case "mkdir":
                path.mkdir()
            case "delete":
                path.unlink()
            case "rmdir":
                path.rmdir()
            case "link":
                other.hardlink_to(path)
            case "rename" if path.is_file() and not other.is_dir():
                self.moved.add((op.path, path.stat().st_ino))
                path.rename(other)
            case "move" if path.is_dir() and not other.is_file():
                path.rename(other)
            case _:
                raise OSError("not possible")


def real_files(root: Path) -> dict[str, int]:
    return {
        str((Path(folder) / name).relative_to(root)): (Path(folder) / name).stat().st_ino
        for folder, _, names in os.walk(root)
        for name in names
    }


@pytest.mark.parametrize("seed", range(20))
def test_row_89_random_orders_on_a_real_file_system(
    folders: ClaimFolders, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Calls and events are the kernel's; the application comes between them as in the model."""
    monkeypatch.setattr(freeze_module, "CLOCK_PAUSE", 0.0001)
    applications: list[Real] = []

    def told(owner: type[Any], name: str) -> None:
        real: Callable[..., Any] = getattr(owner, name)

        def call(*arguments: Any) -> Any:
            applications[-1].before(name)
            return real(*arguments)

        monkeypatch.setattr(owner, name, call)

    for name in ("open", "items", "item", "copy"):
        told(Calls, name)
    for name in ("add", "read"):
        told(inotify.Inotify, name)
    doubts = 0
    for number in range(15):
        application = Real(folders.filestore, DEEP + MOVES, 1000 * seed + number)
        applications.append(application)
        with freeze(folders, f"a{number}") as frozen:
            for _ in range(EXPORTS):
                frozen.approach()
                before = real_files(folders.filestore)
                application.moved.clear()
                application.before("export")
                at_export = real_files(folders.filestore)
                if not frozen.confirm():
                    doubts += 1
                    continue
                kept = real_files(frozen.root / "tree") | real_files(frozen.root / "late")
                for path, inode in at_export.items():
                    moved = (path, inode) in application.moved and before.get(path) != inode and inode in kept.values()
                    assert kept.get(path) == inode or moved, (path, application.done)
            frozen.extend()
    print(f"{doubts} exports in doubt")
