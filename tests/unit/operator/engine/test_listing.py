"""kopf's lists, in pages of a limited size in bytes."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import kopf
import pytest
from kopf._cogs.clients import api, fetching, watching

from ocore_kube.pages import PAGE_BYTES
from ocore_operator.engine import dispatch, listing

JOBS = kopf.Resource(group="batch", version="v1", plural="jobs", kind="Job", singular="job", namespaced=True)


class Response:
    """Of aiohttp, as far as it is read."""

    def __init__(self, data: bytes) -> None:
        self.data, self.content, self.read = data, self, 0

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        for start in range(0, len(self.data), size):
            self.read += size
            yield self.data[start : start + size]

    async def iter_any(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self.data), 100_000):
            self.read += 100_000
            yield self.data[start : start + 100_000]

    def close(self) -> None:
        """Nothing is open."""

    async def __aenter__(self) -> "Response":
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing is open."""


def test_row_78_kopf_lists_large_objects_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Response] = []
    urls: list[dict[str, list[str]]] = []

    async def request(method: str, url: str, **_: Any) -> Response:
        query = parse_qs(urlsplit(url).query)
        urls.append(query)
        start = int(query.get("continue", ["0"])[0])
        end = min(start + int(query["limit"][0]), 20)
        items = [{"metadata": {"name": f"j{n}"}, "spec": "x" * 1_200_000} for n in range(start, end)]
        meta = {"resourceVersion": "7", "continue": str(end) if end < 20 else ""}
        answers.append(
            Response(
                json.dumps({"kind": "JobList", "apiVersion": "batch/v1", "metadata": meta, "items": items}).encode()
            )
        )
        return answers[-1]

    async def names() -> list[str]:
        settings = kopf.OperatorSettings()
        dispatch.configure(settings)
        found = []
        async for items, version in watching.fetching.fetch_objs(
            settings=settings, resource=JOBS, namespace="shop", logger=logging.getLogger()
        ):
            assert version == "7"
            assert {(i["kind"], i["apiVersion"]) for i in items} <= {("Job", "batch/v1")}
            found += [str(i["metadata"]["name"]) for i in items]
        return found

    monkeypatch.setattr(fetching, "fetch_objs", fetching.fetch_objs)  # put back at the end
    monkeypatch.setattr(api, "request", request)
    listing.install()
    assert asyncio.run(names()) == [f"j{n}" for n in range(20)]
    assert {query["labelSelector"][0] for query in urls} == {dispatch.OURS}
    assert max(answer.read for answer in answers) <= PAGE_BYTES + 100_000


def test_row_78_an_event_of_a_watch_has_an_upper_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """kopf keeps a line until it ends, and watches again from the version before it: only a list passes it."""
    event = json.dumps({"type": "ADDED", "object": {"metadata": {"name": "a", "resourceVersion": "8"}}}).encode()
    response = Response(event + b"\n" + event + b'\n{"type":"ADDED","object":{"kind":"' + b"x" * 3_000_000 + b'"}}\n')
    listing.install()
    monkeypatch.setattr(listing, "OBJECT_BYTES", 1_000_000)

    requests = list[int]()

    async def request(**_: Any) -> Response:
        requests.append(1)
        assert len(requests) == 1, "it watches again"
        return response

    monkeypatch.setattr(api, "request", request)

    async def events() -> list[Any]:
        settings = kopf.OperatorSettings()
        waiter = asyncio.get_running_loop().create_future()
        stream = watching.continuous_watch(
            settings=settings, resource=JOBS, namespace="shop", operator_pause_waiter=waiter
        )
        return [e async for e in stream]  # it ends, and a list follows

    monkeypatch.setattr(fetching, "fetch_objs", _nothing)
    found = asyncio.run(events())
    assert [e["type"] for e in found if isinstance(e, dict)] == ["ADDED", "ADDED"]
    assert response.read < 2_000_000


async def _nothing(**_: Any) -> AsyncIterator[tuple[list[Any], str]]:
    yield [], "7"
