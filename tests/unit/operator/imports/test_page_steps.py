"""The steps of an import's page, each for itself: what is remembered, read, found and counted. test_pages.py runs whole
imports."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ocore_crds import naming
from ocore_crds.reports.store_listing import STARTS
from ocore_crds.reports.stored_contents import ManifestsResult
from ocore_crds.resources.snapshotstore import ImportStatus
from ocore_kube.errors import AlreadyExists, ApiError, Forbidden
from ocore_kube.transport import Pace
from ocore_kube.types import ROLLBACKS, SNAPSHOTS, Type
from ocore_operator.context import Context
from ocore_operator.errors import Failed, Waiting
from ocore_operator.imports import pages, rules
from ocore_operator.imports.pages import Known, Memories, Memory
from ocore_operator.jobs.observing.outcome import Observation
from ocore_operator.kube import resources
from ocore_operator.kube.client import LogLine
from support.operator.objects import obj

UID = "77777777-7777-4777-8777-777777777777"
STORE = resources.store(obj("SnapshotStore", "store", {"s3": {"bucket": "snapshots"}}, uid=UID))


def importing(**fields: Any) -> ImportStatus:
    values = {"state": "Running", "round": 1, "page": 1, "attempt": 1, "started_at": "2026-03-01T12:00:00Z", **fields}
    return ImportStatus.model_construct(**{**ImportStatus.model_construct().__dict__, **values})


def memory() -> Memory:
    return Memory(("", "", 0), {}, {}, whole=True)


# --- what is remembered ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("room", "kept", "whole"), [
    (12, ["a", "b", "c"], True), (11, ["a", "b"], False), (8, ["a", "b"], False), (7, ["a"], False), (3, [], False),
])  # fmt: skip
def test_lines_wait_where_there_is_room(
    monkeypatch: pytest.MonkeyPatch, room: int, kept: list[str], *, whole: bool
) -> None:
    monkeypatch.setattr(pages, "WAITING_BYTES", room)
    found = memory()
    found.wait({"x": {"a": "aaaa"}})
    found.wait({"x": {"b": "bbbb"}, "y": {"c": "cccc"}})
    assert [id_ for lines in found.waiting.values() for id_ in lines] == kept
    assert found.whole == whole


def test_only_the_memory_of_the_same_import_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    async def read(*_: Any) -> dict[str, Known]:
        return {}

    monkeypatch.setattr(pages, "_known", read)
    running = importing(round=2)
    ctx = cast(Context, None)
    for other in ({"round": 1}, {"round": 3}, {"started_at": "2026-02-01T12:00:00Z"}, {"started_at": "2027"}):
        memories = Memories()
        kept = asyncio.run(memories.take(ctx, STORE, running))
        assert kept.whole
        memories.keep(STORE, kept)
        assert asyncio.run(memories.take(ctx, STORE, running)) is kept
        memories.keep(STORE, kept)
        assert asyncio.run(memories.take(ctx, STORE, importing(**{"round": 2, **other}))) is not kept
        memories.keep(STORE, kept)
        memories.forget(STORE.key)
        memories.forget(STORE.key)
        assert asyncio.run(memories.take(ctx, STORE, running)) is not kept
    # In the middle of a round, what waited before is lost.
    assert not asyncio.run(Memories().take(ctx, STORE, importing(after="x/y"))).whole


class Pages:
    """Of one kind in the namespace of the store."""

    def __init__(self, *objects: dict[str, Any]) -> None:
        self._objects = objects

    async def pages(self, _: Any, namespace: str) -> AsyncIterator[list[dict[str, Any]]]:
        assert namespace == "shop"
        yield list(self._objects)


@pytest.mark.parametrize("type_", [SNAPSHOTS, ROLLBACKS])
def test_what_the_namespace_has_is_known_by_its_id(type_: Type) -> None:
    meta = {"name": "one", "uid": "its uid", "annotations": {}}
    objects = (
        {"metadata": meta, "spec": {"id": "id"}, "status": {"phase": "Complete", "imported": {"at": "2026"}}},
        {"metadata": {**meta, "name": "two"}, "status": {"phase": "Complete"}},
    )
    found = asyncio.run(pages._known(cast(Context, SimpleNamespace(kube=Pages(*objects))), STORE, type_))
    assert found == {"id": Known("one", half=False, imported_at="2026"), "its uid": Known("two", False, "")}


# --- the page's lines --------------------------------------------------------------------------------------------


class Logs:
    """Of one pod."""

    def __init__(self, *lines: str, error: ApiError | None = None) -> None:
        self._lines = lines
        self._error = error
        self.read = 0

    async def follow_log(
        self, namespace: str, name: str, *, follow: bool, seconds: float, pace: Pace
    ) -> AsyncIterator[LogLine]:
        assert (namespace, name, follow, seconds) == ("shop", "newest", False, pages.READ)
        for line in self._lines:
            self.read += 1
            yield LogLine("", line)
        if self._error is not None:
            raise self._error


def lines(logs: Logs, listed: int, digest: str, *, pods: bool = True) -> list[str] | None:
    metas = [{"metadata": {"namespace": "shop", "name": name}} for name in ("older", "newest")] if pods else []
    seen = cast(Observation, SimpleNamespace(pods={"job": metas}))
    result = cast(ManifestsResult, SimpleNamespace(listed=listed, lines_sha256=digest))
    return asyncio.run(pages._lines(cast(Context, SimpleNamespace(kube=logs)), seen, "job", result))


ONE, TWO = (f"{STARTS[0]}{number}" for number in (1, 2))
DIGEST = hashlib.sha256(f"{ONE}\n{TWO}\n".encode()).hexdigest()


def test_only_the_whole_page_is_believed() -> None:
    assert lines(Logs(TWO, "another line", ONE), 2, DIGEST) == [TWO, ONE]
    for listed, digest in ((1, DIGEST), (3, DIGEST), (2, "0" * 64), (2, "f" * 64)):
        assert lines(Logs(TWO, ONE), listed, digest) is None
    assert lines(Logs(TWO, ONE), 2, DIGEST, pods=False) is None
    assert lines(Logs(TWO, ONE, error=ApiError(500, "InternalError", "x")), 2, DIGEST) is None


@pytest.mark.parametrize(("snapshots", "size", "whole"), [(1, 1000, True), (0, 1000, False), (1, 0, False)])
def test_a_log_that_is_larger_than_a_page_is_not_read_to_its_end(
    monkeypatch: pytest.MonkeyPatch, snapshots: int, size: int, *, whole: bool
) -> None:
    monkeypatch.setattr(pages, "PAGE_SNAPSHOTS", snapshots)
    monkeypatch.setattr(pages, "PAGE_BYTES", size)
    logs = Logs(ONE, TWO)
    assert (lines(logs, 2, DIGEST) is not None) == whole
    assert logs.read == (2 if whole else 1)


@pytest.mark.parametrize("limit", ["PAGE_SNAPSHOTS", "PAGE_BYTES"])
def test_twice_a_page_is_read_and_no_more(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    """Each of the two limits at its boundary: two lines; and the bytes of two lines."""
    assert len(ONE) == len(TWO)
    monkeypatch.setattr(pages, limit, 1 if limit == "PAGE_SNAPSHOTS" else len(ONE))
    assert lines(Logs(ONE, TWO), 2, DIGEST) == [ONE, TWO]
    logs = Logs(ONE, TWO, ONE, TWO, ONE)
    assert lines(logs, 5, DIGEST) is None
    assert logs.read == 3


# --- the next page -----------------------------------------------------------------------------------------------


def ahead(monkeypatch: pytest.MonkeyPatch, page: int, *, exists: bool = False, error: Exception | None = None) -> Any:
    """The page that is started; None: none."""
    started: list[ImportStatus] = []

    async def start(ctx: Any, store: Any, running: ImportStatus, found: Any, attempt: str) -> None:
        del ctx, store, found
        assert attempt == rules.listing(STORE, running).attempt(1)
        started.append(running)
        if error is not None:
            raise error

    monkeypatch.setattr(pages, "start_page", start)
    following = importing(page=page + 1, after="a/b", attempt=1)
    name = rules.listing(STORE, following).job(1)
    seen = cast(Observation, SimpleNamespace(jobs={name: {}} if exists else {}))
    running = importing(page=page, attempt=3)
    asyncio.run(pages._start_ahead(cast(Context, None), STORE, running, {}, seen, "a/b"))
    return (started[0].page, started[0].attempt, started[0].after) if started else None


def test_the_job_of_the_next_page_is_started_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ahead(monkeypatch, 1) == (2, 1, "a/b")
    assert ahead(monkeypatch, 1, exists=True) is None
    assert ahead(monkeypatch, rules.MAX_PAGES - 2) == (rules.MAX_PAGES - 1, 1, "a/b")
    for page in (rules.MAX_PAGES - 1, rules.MAX_PAGES):
        assert ahead(monkeypatch, page) is None
    for error in (Waiting("Busy", "x", 1.0), Failed("Refused", "x")):
        assert ahead(monkeypatch, 1, error=error) is not None
    with pytest.raises(RuntimeError):
        ahead(monkeypatch, 1, error=RuntimeError())


# --- several at a time -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "parallel", "late", "done"), [
    (5, 12, False, True), (5, 2, False, True), (0, 2, True, True), (5, 2, True, False), (2, 2, True, True),
    (3, 2, True, False),
])  # fmt: skip
def test_the_rest_follows_when_the_time_is_up(
    monkeypatch: pytest.MonkeyPatch, count: int, parallel: int, *, late: bool, done: bool
) -> None:
    monkeypatch.setattr(pages, "PARALLEL", parallel)
    made: list[int] = []

    async def create(number: int) -> None:
        await asyncio.sleep(0.001)
        made.append(number)

    async def run() -> bool:
        return await pages._together(range(count), create, asyncio.get_running_loop().time() + (-1 if late else 60))

    assert asyncio.run(run()) == done
    assert made == list(range(min(count, parallel) if late else count))


# --- objects -----------------------------------------------------------------------------------------------------


class Kube:
    """Names that are taken, by name."""

    def __init__(self, taken: dict[str, Any], error: ApiError | None = None) -> None:
        self.taken = taken
        self.created: list[str] = []
        self._error = error

    async def create(self, _: Any, body: Any, manager: str) -> Any:
        assert manager == pages.MANAGER_IMPORT
        if self._error is not None:
            raise self._error
        name = body["metadata"]["name"]
        if name in self.taken:
            raise AlreadyExists(409, "AlreadyExists", "x")
        self.created.append(name)
        return body

    async def get(self, type_: Any, namespace: str, name: str) -> Any:
        assert (type_, namespace) == (SNAPSHOTS, "shop")
        return self.taken.get(name)


def page_of(kube: Kube | None = None, **settings: Any) -> pages._Page:
    ctx = SimpleNamespace(kube=kube, settings=SimpleNamespace(**settings))
    return pages._Page(cast(Context, ctx), STORE, importing(), {}, memory())


def body(name: str) -> dict[str, Any]:
    return {"kind": "Snapshot", "metadata": {"name": name}}


def made(page: pages._Page, known: Known | None = None) -> Any:
    return asyncio.run(page.made(SNAPSHOTS, "id", known, [body("first"), body("second")]))


def taken(id_: str | None, *, by: str | None = None, phase: str | None = None) -> dict[str, Any]:
    annotations = {naming.ANNOTATION_IMPORT: by} if by is not None else {}
    return {
        "metadata": {"name": "first", "uid": "its uid", "annotations": annotations},
        "spec": {"id": id_} if id_ is not None else None,
        "status": {"phase": phase} if phase is not None else None,
    }


def test_the_first_name_that_is_free() -> None:
    assert made(page_of(Kube({}))) == body("first")
    assert made(page_of(Kube({"first": taken("another")}))) == body("second")
    assert made(page_of(Kube({"first": taken(None)}))) == body("second")
    assert made(page_of(Kube({"first": None}))) == body("second")  # deleted since
    page = page_of(Kube({"first": taken("another"), "second": taken("another")}))
    assert made(page) is None
    assert page.counted.examples == ("id: other Snapshots have its names",)
    page = page_of(Kube({}, Forbidden(403, "Forbidden", "a quota")))
    assert made(page) is None
    assert page.counted.examples == ("id: the API server refuses the Snapshot: a quota",)
    found = taken("id", phase="Complete")
    assert made(page_of(Kube({"known": found})), Known("known", half=True, imported_at="")) is found


@pytest.mark.parametrize("by", ["0", "9", None])
def test_what_another_import_made_is_no_half_of_this_one(by: str | None) -> None:
    """Whether its uid is less or greater than this store's."""
    with pytest.raises(pages._Exists) as raised:
        made(page_of(Kube({"first": taken("id", by=by)})))
    assert raised.value.known == Known("first", half=False, imported_at="")


def test_what_this_import_left_half_is_found() -> None:
    mine = taken("id", by=UID)
    assert made(page_of(Kube({"first": mine}))) is mine
    with pytest.raises(pages._Exists):
        made(page_of(Kube({"first": taken("id", by=UID, phase="Complete")})))
    by_uid = {**mine, "spec": None, "metadata": {**mine["metadata"], "uid": "id"}}
    assert made(page_of(Kube({"first": by_uid}))) is by_uid


def test_what_waited_for_what_came_does_not_wait_any_more() -> None:
    page = page_of()
    page._memory.waiting = {"base": {"a": "1", "b": "2"}, "other": {"c": "3"}}
    page.known["base"] = Known("base", half=False, imported_at="")
    page.counted.waiting = 2
    page._waiting["new"]["d"] = "4"
    page.settle()
    assert page.counted.waiting == 0
    assert page._memory.waiting == {"other": {"c": "3"}, "new": {"d": "4"}}


@pytest.mark.parametrize("full", [True, False])
def test_a_page_goes_on_where_its_time_was_up(monkeypatch: pytest.MonkeyPatch, *, full: bool) -> None:
    """Time is up after the full ones, or after the others."""
    asked: list[bool] = []

    async def together(entries: Any, *_: Any) -> bool:
        asked.append(bool(list(entries)))
        return not full and len(asked) == 1

    monkeypatch.setattr(pages, "_together", together)
    entry = cast(Any, (SimpleNamespace(result=SimpleNamespace(base_snapshot_id="")), "line"))
    assert asyncio.run(page_of().create([entry])) is False
    assert asked == ([True] if full else [True, False])


def test_what_cannot_be_read_ends_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: Any) -> None:
        raise ValueError("a year that is none")

    page = page_of()
    snapshot = cast(Any, SimpleNamespace(result=SimpleNamespace(manifest_key="a/manifest.json")))
    monkeypatch.setattr(page, "_import", fail)
    asyncio.run(page._one((snapshot, "line")))
    rollbacks = pages._Rollbacks(page, {})
    monkeypatch.setattr(rollbacks, "_import", fail)
    asyncio.run(rollbacks._one(cast(Any, SimpleNamespace(run=SimpleNamespace(rollback_id="b")))))
    assert page.counted.examples == (
        "a/manifest.json: it cannot be read (ValueError)", "rollback b: it cannot be read (ValueError)",
    )  # fmt: skip


@pytest.mark.parametrize(("identity", "place"), [(None, "shop"), ("id", None)])
def test_a_snapshot_of_nobody_here_is_left_out(
    monkeypatch: pytest.MonkeyPatch, identity: str | None, place: str | None
) -> None:
    page = page_of()
    monkeypatch.setattr(pages.rules, "belongs", lambda *_: place)
    found = SimpleNamespace(snapshot_id=identity) if identity is not None else None
    entry = SimpleNamespace(result=SimpleNamespace(identity=found, base_snapshot_id=""))
    asyncio.run(page._import(cast(Any, entry), "line"))
    assert (page.counted.refused, page.counted.imported, page.known) == (0, 0, {})


def rollback_of(page: pages._Page, known: dict[str, Known]) -> pages._Rollbacks:
    page.places = {"environment": cast(Any, SimpleNamespace(name="shop"))}
    cast(Any, page.ctx).catalog = SimpleNamespace(is_elsewhere=lambda *_: False)
    cast(Any, page.ctx).now = lambda: None
    found = pages._Rollbacks(page, known)
    found._siblings = {"environment": cast(Any, None)}
    run = SimpleNamespace(rollback_id="id", environment_id="environment")
    asyncio.run(found._import(cast(Any, SimpleNamespace(run=run))))
    return found


@pytest.mark.parametrize(("at", "counts"), [
    ("2026-03-01T12:00:00Z", (1, 0)), ("2026-03-02T00:00:00Z", (1, 0)), ("2026-02-28T00:00:00Z", (0, 1)), ("", (0, 1)),
])  # fmt: skip
def test_a_rollback_counts_as_imported_by_the_import_that_made_it(at: str, counts: tuple[int, int]) -> None:
    page = page_of()
    rollback_of(page, {"id": Known("back", half=False, imported_at=at)})
    assert (page.counted.rollbacks, page.counted.rollbacks_existing) == counts


@pytest.mark.parametrize("exists", [False, True])
def test_a_rollback_that_was_imported_is_known(monkeypatch: pytest.MonkeyPatch, *, exists: bool) -> None:
    """Made by this import, or found as another one's: then as that one left it."""
    page, known = page_of(), dict[str, Known]()
    other = Known("of-another", half=False, imported_at="")

    async def made(*_: Any) -> Any:
        if exists:
            raise pages._Exists(other)
        return {}

    async def write(*_: Any) -> Any:
        return {}

    monkeypatch.setattr(page, "made", made)
    monkeypatch.setattr(pages.summarize, "write_quietly", write)
    monkeypatch.setattr(pages.resources, "rollback", lambda _: SimpleNamespace(meta=SimpleNamespace(name="back")))
    for name in ("names", "status"):
        monkeypatch.setattr(pages.rollbacks, name, lambda *_: [])
    rollback_of(page, known)
    mine = Known("back", half=False, imported_at="2026-03-01T12:00:00Z")
    assert known == {"id": other if exists else mine}
    assert (page.counted.rollbacks, page.counted.rollbacks_existing) == ((0, 1) if exists else (1, 0))


# --- take-over ---------------------------------------------------------------------------------------------------


def of_store(name: str | None, *, deleted: bool = False, imported: Any = None) -> dict[str, Any]:
    return {
        "metadata": {"deletionTimestamp": "x"} if deleted else {},
        "status": {"storeName": name, "imported": imported} if name is not None else None,
    }


@pytest.mark.parametrize(("found", "mine", "is_taken"), [
    (of_store("store", imported={"at": "x"}), True, False),
    (of_store("store", imported={"takenOver": True}), False, True),
    (of_store("store"), False, False),
    (of_store("another", imported={"at": "x"}), False, False),
    (of_store("z", imported={"takenOver": True}), False, False),
    (of_store("store", deleted=True, imported={"at": "x"}), False, False),
    (of_store("store", deleted=True, imported={"takenOver": True}), False, False),
    (of_store(None), False, False),
])  # fmt: skip
def test_what_a_take_over_is_about(found: dict[str, Any], *, mine: bool, is_taken: bool) -> None:
    assert (pages._is_mine(found, STORE), pages._is_taken(found, STORE)) == (mine, is_taken)


def test_a_take_over_leaves_out_what_cannot_be_read() -> None:
    """Its own reconcile reports it; the others are taken over."""
    asyncio.run(pages._take(cast(Context, None), obj("Snapshot", "odd", {"environmentRef": {"name": 7}})))
