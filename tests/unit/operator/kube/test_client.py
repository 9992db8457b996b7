"""What the client sends: no write without the lease, and every write with what it was decided on."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from ocore_kube.errors import ApiError, Conflict
from ocore_kube.transport import METADATA_EVENTS, Pace
from ocore_kube.types import DEPLOYMENTS, ENVIRONMENTS, JOBS, PODS, Type
from ocore_operator.kube import resources
from ocore_operator.kube.client import MANAGER_LOCK, Kube, LogLine
from ocore_operator.kube.resources import Meta, Object
from ocore_operator.main import Operator
from ocore_operator.settings import Settings
from support.operator.api import ApiServer
from support.operator.objects import environment_object

NAMESPACE = "shop"


def plain(name: str) -> Object:
    return {
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "uid": f"uid-{name}",
            "creationTimestamp": "2026-01-01T00:00:00Z",
        }
    }


class Lost(Exception):
    """Stands for the end of the process."""


def lose() -> None:
    raise Lost


def seen(api_server: ApiServer, type_: Type, name: str) -> Meta:
    return Meta.of(api_server.read(type_, NAMESPACE, name))


#: Every way to write, as the operator uses it, on objects that exist.
WRITES: dict[str, Callable[[Kube, ApiServer], Awaitable[Any]]] = {
    "create": lambda kube, _: kube.create(JOBS, plain("new")),
    "delete": lambda kube, _: kube.delete(JOBS, NAMESPACE, "job", uid="uid-job"),
    "merge_patch": lambda kube, _: kube.merge_patch(JOBS, NAMESPACE, "job", {"spec": {"suspend": True}}),
    "apply_status": lambda kube, s: kube.apply_status(
        resources.environment(s.read(ENVIRONMENTS, NAMESPACE, "shop")), {}, MANAGER_LOCK
    ),
    "patch_status": lambda kube, s: kube.patch_status(
        ENVIRONMENTS, s.read(ENVIRONMENTS, NAMESPACE, "shop"), {"operation": None}
    ),
    "set_finalizers": lambda kube, s: kube.set_finalizers(seen(s, JOBS, "job"), JOBS, ["x"]),
    "set_scale": lambda kube, _: kube.set_scale(DEPLOYMENTS, NAMESPACE, "app", 0),
    "set_template": lambda kube, s: kube.set_template(
        DEPLOYMENTS, NAMESPACE, "app", {"spec": {}}, resource_version=seen(s, DEPLOYMENTS, "app").resource_version
    ),
    "set_spec": lambda kube, s: kube.set_spec(
        ENVIRONMENTS, s.read(ENVIRONMENTS, NAMESPACE, "shop"), {"type": "staging"}
    ),
    "annotate": lambda kube, _: kube.annotate(PODS, NAMESPACE, "pod", {"a": "b"}),
}


@pytest.fixture
def api_server() -> ApiServer:
    found = ApiServer()
    found.put(ENVIRONMENTS, environment_object())
    for type_, name in ((JOBS, "job"), (DEPLOYMENTS, "app"), (PODS, "pod")):
        found.put(type_, plain(name))
    return found


@pytest.mark.parametrize("write", WRITES)
def test_nothing_is_written_without_the_lease(api_server: ApiServer, write: str) -> None:
    with pytest.raises(Lost):
        asyncio.run(WRITES[write](api_server.client(guard=lose), api_server))
    assert api_server.writes() == []
    asyncio.run(WRITES[write](api_server.client(), api_server))
    assert len(api_server.writes()) == 1, "the write itself works"


def test_every_way_to_write_is_tested() -> None:
    reads = {"get", "list", "metadata", "pages", "follow_log", "scale", "served", "events"}
    assert {name for name in vars(Kube) if not name.startswith("_")} == reads | WRITES.keys()


def test_the_operator_writes_under_its_lease(api_server: ApiServer) -> None:
    """The parts as main.py puts them together: nothing is sent before the lease is acquired."""
    operator = Operator(Settings(), object(), object())
    operator._lease._lost = lambda _: lose()
    operator._ctx.kube._transport = api_server  # type: ignore[assignment]
    with pytest.raises(Lost):
        asyncio.run(operator._ctx.kube.delete(JOBS, NAMESPACE, "job"))
    assert api_server.writes() == []


def test_the_lease_has_a_connection_of_its_own() -> None:
    """tests/e2e/test_failure_rows_operator.py, row 22, shows what it is for."""
    shared, own = object(), object()
    operator = Operator(Settings(), shared, own)
    assert operator._ctx.kube._transport._api is shared
    assert operator._lease._kube._transport._api is own


def test_a_status_that_was_decided_on_an_older_object_is_refused(api_server: ApiServer) -> None:
    """Two leaders for a moment: the second one's decision must not be overwritten."""

    async def main() -> None:
        kube = api_server.client()
        old = resources.environment(api_server.read(ENVIRONMENTS, NAMESPACE, "shop"))
        assert await kube.apply_status(old, {"phase": "first"}) is not None
        with pytest.raises(Conflict):
            await kube.apply_status(old, {"phase": "second"})

    asyncio.run(main())
    assert api_server.read(ENVIRONMENTS, NAMESPACE, "shop")["status"]["phase"] == "first"


@pytest.mark.parametrize(
    "write",
    [
        *("set_finalizers", "set_scale", "set_template", "annotate", "delete"),
        *("patch_status", "set_spec"),
    ],
)
def test_a_write_with_a_precondition_is_refused_where_the_object_has_changed(api_server: ApiServer, write: str) -> None:
    before = {
        type_: seen(api_server, type_, name) for type_, name in ((JOBS, "job"), (DEPLOYMENTS, "app"), (PODS, "pod"))
    }
    for type_, name in ((JOBS, "job"), (DEPLOYMENTS, "app"), (PODS, "pod")):
        api_server.put(type_, {"metadata": {**plain(name)["metadata"], "uid": "another"}})
    old = api_server.read(ENVIRONMENTS, NAMESPACE, "shop")
    api_server.put(ENVIRONMENTS, environment_object())
    kube = api_server.client()
    writes: dict[str, Callable[[], Awaitable[Any]]] = {
        "patch_status": lambda: kube.patch_status(ENVIRONMENTS, old, {"operation": None}),
        "set_spec": lambda: kube.set_spec(ENVIRONMENTS, old, {"type": "staging"}),
        "set_finalizers": lambda: kube.set_finalizers(before[JOBS], JOBS, []),
        "set_scale": lambda: kube.set_scale(
            DEPLOYMENTS, NAMESPACE, "app", 0, resource_version=before[DEPLOYMENTS].resource_version
        ),
        "set_template": lambda: kube.set_template(
            DEPLOYMENTS, NAMESPACE, "app", {"spec": {}}, resource_version=before[DEPLOYMENTS].resource_version
        ),
        "annotate": lambda: kube.annotate(
            PODS, NAMESPACE, "pod", {"a": "b"}, resource_version=before[PODS].resource_version
        ),
    }
    if write == "delete":
        assert asyncio.run(kube.delete(JOBS, NAMESPACE, "job", uid=before[JOBS].uid)) is False
        assert api_server.read(JOBS, NAMESPACE, "job")["metadata"]["uid"] == "another"
        return

    async def main() -> None:
        await writes[write]()

    with pytest.raises(Conflict):
        asyncio.run(main())


def test_a_list_of_metadata_may_have_no_objects() -> None:
    """As a real API server answers it: null, not an empty list."""

    class Transport:
        async def request(self, *_: object, **__: object) -> Object:
            return {"kind": "PartialObjectMetadataList", "metadata": {"resourceVersion": "1"}, "items": None}

    kube = Kube(cast("Any", Transport()))
    assert asyncio.run(kube.metadata(JOBS, NAMESPACE, labels="", keep=lambda _: True)) == []


def test_an_answer_says_whether_the_object_exists(api_server: ApiServer) -> None:
    kube = api_server.client()
    app = seen(api_server, DEPLOYMENTS, "app").resource_version

    async def main() -> None:
        assert await kube.set_template(DEPLOYMENTS, NAMESPACE, "app", {"spec": {}}, resource_version=app)
        assert not await kube.set_template(DEPLOYMENTS, NAMESPACE, "gone", {"spec": {}}, resource_version=app)
        assert await kube.set_scale(DEPLOYMENTS, NAMESPACE, "app", 0)
        assert not await kube.set_scale(DEPLOYMENTS, NAMESPACE, "gone", 0)
        assert await kube.annotate(PODS, NAMESPACE, "pod", {"a": "b"})
        assert not await kube.annotate(PODS, NAMESPACE, "gone", {"a": "b"})
        assert await kube.delete(JOBS, NAMESPACE, "job")
        assert not await kube.delete(JOBS, NAMESPACE, "job")
        assert await kube.get(JOBS, NAMESPACE, "job") is None

    asyncio.run(main())


class Answers:
    """A transport that notes the requests. A list has one object, named as its path."""

    def __init__(self, refusal: int = 0) -> None:
        self.refusal = refusal
        self.paths: list[str] = []
        self.query: dict[str, str] = {}

    async def request(self, method: str, path: str, **_: object) -> Object:
        self.paths.append(path)
        if self.refusal:
            raise ApiError(self.refusal, "Refused", path)
        return {"metadata": {"resourceVersion": "1"}, "items": [{"metadata": {"name": path}}]}

    async def lines(
        self,
        path: str,
        *,
        query: dict[str, str],
        seconds: float,
        silence: float,
        pace: Pace | None = None,
        accept: str = "",
    ) -> AsyncIterator[str]:
        self.paths.append(path)
        self.query = {**query, "seconds": str(seconds), "accept": accept}
        yield "2026-01-01T00:00:00Z a line of text"


@pytest.mark.parametrize("status", [400, 403, 405, 500])
def test_only_what_does_not_exist_is_none(status: int) -> None:
    kube = Kube(cast("Any", Answers(status)))
    with pytest.raises(ApiError):
        asyncio.run(kube.get(JOBS, NAMESPACE, "job"))


def test_row_136_an_empty_name_is_that_of_no_object() -> None:
    """A Snapshot that failed at once has no store. With the list of all stores in the place of its store, each
    reconcile of a Rollback to it ended in a KeyError."""
    answers = Answers()
    assert asyncio.run(Kube(cast("Any", answers)).get(JOBS, NAMESPACE, "")) is None
    assert answers.paths == []


@pytest.mark.parametrize(
    ("watched", "asked", "expected"),
    [
        ((), None, ["/api/v1/pods"]),
        ((), "c", ["/api/v1/namespaces/c/pods"]),
        (("a", "b"), None, ["/api/v1/namespaces/a/pods", "/api/v1/namespaces/b/pods"]),
        (("a", "b"), "c", ["/api/v1/namespaces/c/pods"]),
    ],
)
def test_a_list_has_the_watched_namespaces_or_the_one_that_is_asked_for(
    watched: tuple[str, ...], asked: str | None, expected: list[str]
) -> None:
    answers = Answers()
    found = asyncio.run(Kube(cast("Any", answers), watched).list(PODS, asked))
    assert answers.paths == expected
    assert [obj["metadata"]["name"] for obj in found] == expected


def test_a_watch_has_the_metadata_of_pods_only() -> None:
    """The pods of a tenant's workload may be large."""
    answers = Answers()
    kube = Kube(cast("Any", answers))

    async def read() -> list[str]:
        return [line async for line in kube.events(PODS, NAMESPACE, labels="app=shop", seconds=30.0)]

    assert len(asyncio.run(read())) == 1
    assert answers.paths == [PODS.path(NAMESPACE)]
    selected = {"watch": "true", "labelSelector": "app=shop", "timeoutSeconds": "30", "seconds": "30.0"}
    assert answers.query == {**selected, "accept": METADATA_EVENTS}


def test_a_log_is_followed_from_a_time_on() -> None:
    answers = Answers()
    kube = Kube(cast("Any", answers))

    async def read(**options: Any) -> list[LogLine]:
        return [line async for line in kube.follow_log(NAMESPACE, "pod", **options)]

    assert asyncio.run(read()) == [LogLine("2026-01-01T00:00:00Z", "a line of text")]
    assert (answers.query["follow"], "sinceTime" in answers.query) == ("true", False)
    asyncio.run(read(since=datetime(2026, 1, 1, tzinfo=UTC), follow=False))
    assert (answers.query["follow"], answers.query["sinceTime"]) == ("false", "2026-01-01T00:00:00.000000Z")
