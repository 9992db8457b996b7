"""A model of a file system and of the kernel's events about it, and every order of an application's steps and ours.

Folders are inodes in place of descriptors: an open folder stays the same one wherever it is moved. Each call that
reaches the live folders, or reads events, is a point at which the application may do something before it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ocore_mover import inotify
from ocore_mover.filestore.links import Item
from ocore_mover.filestore.plain.mirror import Calls

LIVE, TREE, LATE = 1, 2, 3


class Op(NamedTuple):
    """What an application does: create, mkdir, delete, rmdir, rename (a file), move (a folder), link."""

    what: str
    path: str
    other: str = ""


class Call(NamedTuple):
    """A call of ours; no name: all names of the folder, or all events."""

    folder: int
    name: str | None


class World:
    """The file system. `capacity`: events that the queue holds."""

    def __init__(self, before: Callable[[], None], capacity: int = 1000) -> None:
        """`before`: called before each call that another order of steps could change."""
        self.folders: dict[int, dict[str, int]] = {LIVE: {}, TREE: {}, LATE: {}}
        self.watches: dict[int, int] = {}  # folder → watch
        self.queue: list[inotify.Event] = []
        self.last = Call(0, None)  # the call of ours that was made last
        self.moved: set[tuple[str, int]] = set()  # names that a file was moved away from
        self._ours = {TREE, LATE}
        self._before = before
        self._capacity = capacity
        self._inode = LATE
        self._watch = self._cookie = 0

    # --- ours ----------------------------------------------------------------------------------------------------

    def step(self, folder: int, name: str | None) -> None:
        """A call of ours comes now."""
        if folder not in self._ours:
            self._before()
            self.last = Call(folder, name)

    def make(self, folder: int, name: str, *, ours: bool) -> None:
        """A folder."""
        self._inode += 1
        self.folders[folder][name] = self._inode
        self.folders[self._inode] = {}
        if ours:
            self._ours.add(self._inode)

    def files(self, folder: int, path: str = "") -> dict[str, int]:
        """Path → inode of all files below a folder."""
        found: dict[str, int] = {}
        for name, inode in self.folders[folder].items():
            if inode in self.folders:
                found |= self.files(inode, f"{path}{name}/")
            else:
                found[path + name] = inode
        return found

    # --- the application's -------------------------------------------------------------------------------------------

    def find(self, path: str) -> tuple[int, str] | None:
        """The folder of a path; None where it does not exist."""
        folder, (*above, name) = LIVE, path.split("/")
        for part in above:
            inode = self.folders[folder].get(part)
            if inode is None or inode not in self.folders:
                return None
            folder = inode
        return folder, name

    def enabled(self, op: Op) -> frozenset[Call] | None:
        """The names that an operation changes; None where it is not possible now, or changes nothing."""
        place = self.find(op.path)
        target = self.find(op.other) if op.other else place
        if place is None or target is None:
            return None
        inode, there = self.folders[place[0]].get(place[1]), self.folders[target[0]].get(target[1])
        folder = inode in self.folders
        match op.what:
            case "create" | "mkdir":
                possible = inode is None
            case "delete":
                possible = inode is not None and not folder
            case "rmdir":
                possible = inode is not None and folder and not self.folders[inode]
            case "rename":
                possible = inode is not None and not folder and there not in self.folders and inode != there
            case "link":
                possible = inode is not None and not folder and there is None
            case _:
                free = there is None or self.folders.get(there) == {}
                possible = inode is not None and folder and free and not f"{op.other}/".startswith(f"{op.path}/")
        changed = {Call(*place), Call(*target)} | {Call(each, "") for each in (inode, there) if each in self.folders}
        return frozenset(changed) if possible else None

    def do(self, op: Op) -> None:
        """Carries out an operation that is possible."""
        place, target = self.find(op.path), self.find(op.other or op.path)
        assert place is not None
        assert target is not None
        entries, there = self.folders[place[0]], self.folders[target[0]]
        match op.what:
            case "create":
                self._inode += 1
                entries[place[1]] = self._inode
                self._event(place, inotify.CREATE)
            case "mkdir":
                self.make(*place, ours=False)
                self._event(place, inotify.CREATE | inotify.IS_FOLDER)
            case "link":
                there[target[1]] = entries[place[1]]
                self._event(target, inotify.CREATE)
            case "delete":
                del entries[place[1]]
                self._event(place, inotify.DELETE)
            case "rmdir":
                self._end(entries.pop(place[1]))
                self._event(place, inotify.DELETE | inotify.IS_FOLDER)
            case what:
                folder = inotify.IS_FOLDER if what == "move" else 0
                if folder and target[1] in there:
                    self._end(there[target[1]])
                if not folder:
                    self.moved.add((op.path, entries[place[1]]))
                there[target[1]] = entries.pop(place[1])
                self._cookie += 1
                self._event(place, inotify.MOVED_FROM | folder, self._cookie)
                self._event(target, inotify.MOVED_TO | folder, self._cookie)

    def _end(self, folder: int) -> None:
        """A folder is removed: its watch ends."""
        watch = self.watches.pop(folder, None)
        if watch is not None:
            self._queue(inotify.Event(watch, inotify.IGNORED, 0, ""))

    def _event(self, place: tuple[int, str], mask: int, cookie: int = 0) -> None:
        watch = self.watches.get(place[0])
        if watch is not None:
            self._queue(inotify.Event(watch, mask, cookie, place[1]))

    def _queue(self, event: inotify.Event) -> None:
        self.queue.append(event)

    # --- events ------------------------------------------------------------------------------------------------------

    def add(self, folder: Path, mask: int) -> int:
        """As :meth:`.Inotify.add`."""
        del mask
        inode = int(folder.name)
        self.step(inode, None)
        if inode not in self.watches:
            self._watch += 1
            self.watches[inode] = self._watch
        return self.watches[inode]

    def read(self) -> list[inotify.Event]:
        """As :meth:`.Inotify.read`."""
        self.step(0, None)
        found = self.queue[:]
        self.queue.clear()
        if len(found) > self._capacity:
            raise inotify.Overflow
        return found

    def close(self) -> None:
        """Ends the watches."""


class ModelCalls(Calls):
    """The calls of the mirror, on the model."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._folders = world.folders

    def open(self, name: str, folder: int) -> int:
        """As :meth:`.Calls.open`."""
        self._world.step(folder, name)
        inode = self._found(name, folder)
        if inode not in self._folders:
            raise NotADirectoryError(name)
        return inode

    def close(self, folder: int) -> None:
        """Nothing to close."""

    def items(self, folder: int) -> Iterator[Item]:
        """As the kernel lists a folder that changes: each name as it is when the listing comes to it."""
        before = ""
        while True:
            self._world.step(folder, None)
            name = min((name for name in self._folders[folder] if name > before), default=None)
            if name is None:
                return
            yield self._item(name, folder)
            before = name

    def item(self, name: str, folder: int) -> Item:
        """As :meth:`.Calls.item`."""
        self._world.step(folder, name)
        return self._item(name, folder)

    def copy(self, item: Item, source: int, target: int, name: str) -> None:
        """As :meth:`.Calls.copy`."""
        self._world.step(source, item.name)
        inode = self._found(item.name, source)
        if inode in self._folders:
            raise FileNotFoundError(name)
        if name in self._folders[target]:
            raise FileExistsError(name)
        self._folders[target][name] = inode

    def settle(self, folder: int) -> None:
        """An operation and its events are one step here."""

    def make(self, name: str, folder: int) -> None:
        """As :meth:`.Calls.make`."""
        if name not in self._folders[folder]:
            self._world.make(folder, name, ours=True)

    def replace(self, name: str, folder: int, new_name: str) -> None:
        """As :meth:`.Calls.replace`."""
        self._folders[folder][new_name] = self._folders[folder].pop(name)

    def remove(self, name: str, folder: int) -> None:
        """As :meth:`.Calls.remove`."""
        del self._folders[folder][name]

    @contextmanager
    def finished_like(self, target: int, source: int | None) -> Iterator[None]:
        """The model has no modes."""
        yield

    def _item(self, name: str, folder: int) -> Item:
        inode = self._found(name, folder)
        return Item(name, "folder" if inode in self._folders else "file", inode)

    def _found(self, name: str, folder: int) -> int:
        inode = self._folders[folder].get(name)
        if inode is None:
            raise FileNotFoundError(name)
        return inode


class Scheduled(NamedTuple):
    """An operation, and the number of the call of ours that it comes before."""

    at: int
    op: Op


def every_order(run: Callable[["Run"], None], possible: list[Op], most: int) -> Iterator["Run"]:
    """Runs of ours with up to `most` operations of the application, in every order that can make a difference.

    An operation that comes right after a call that does not concern it might as well come before that call: this order
    is left out. `run` gets a run to carry out.
    """
    pending: list[tuple[Scheduled, ...]] = [()]
    while pending:
        schedule = pending.pop()
        this = Run(schedule, possible if len(schedule) < most else [])
        run(this)
        pending += [(*schedule, each) for each in this.next]
        yield this


class Run:
    """One order of steps."""

    def __init__(self, schedule: tuple[Scheduled, ...], possible: list[Op]) -> None:
        self.schedule = schedule
        self.next: list[Scheduled] = []  # operations that may follow
        self.world = World(self._before)
        self.silent = False  # the application does nothing now
        self._possible = possible
        self._calls = 0
        self._done = 0

    def _before(self) -> None:
        if self.silent:
            return
        self._calls += 1
        follows = not self._calls - 1 and not self.schedule  # the first point at all
        while self._done < len(self.schedule) and self.schedule[self._done].at == self._calls:
            self.world.do(self.schedule[self._done].op)
            self._done += 1
            follows = True
        if self._possible and self._done == len(self.schedule):
            for op in self._possible:
                changed = self.world.enabled(op)
                if changed is not None and (follows or _concerns(self.world.last, changed)):
                    self.next.append(Scheduled(self._calls, op))


def _concerns(call: Call, changed: frozenset[Call]) -> bool:
    """Whether it matters if an operation comes before or after a call."""
    if not call.folder:  # events, or the export of the database
        return True
    if call.name is None:
        return any(each.folder == call.folder for each in changed)
    return call in changed
