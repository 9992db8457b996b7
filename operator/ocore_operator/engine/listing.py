"""kopf's lists, in pages of a limited size in bytes, and its watches, with events of a limited size. kopf 1.45 limits
the objects of a page only (`fetch_objs` in clients/fetching.py), and lists seven kinds at once: at the start, a
tenant's large objects would take all memory. It keeps an event until its line ends."""

from collections.abc import AsyncIterator, Collection, Mapping
from typing import Any

import aiohttp
import structlog
from kopf._cogs.clients import api, fetching

from ocore_kube.pages import OBJECT_BYTES, bounded, pages
from ocore_operator.kube.resources import Object

#: Bytes that are taken from a watch at once.
CHUNK = 256 * 1024
#: The event after which kopf lists again: its watch would begin with the same event as long as its resourceVersion is
#: the same.
_GONE = b'{"type":"ERROR","object":{"code":410,"reason":"Expired","message":"an event is too long"}}'

_log = structlog.get_logger()


def install() -> None:
    """kopf lists by :func:`fetch_objs`, and reads its watches by :func:`iter_jsonlines`, from now on."""
    fetching.fetch_objs = fetch_objs  # type: ignore[assignment]
    api.iter_jsonlines = iter_jsonlines


async def iter_jsonlines(content: aiohttp.StreamReader, chunk_size: int = CHUNK) -> AsyncIterator[bytes]:
    """The lines of a watch. One of more bytes than an object may have ends it; a list follows."""
    rest = b""
    async for data in content.iter_chunked(chunk_size):
        *lines, rest = (rest + data).split(b"\n")
        for line in filter(None, lines):
            yield line
        if len(rest) > OBJECT_BYTES:
            _log.warning("an event of a watch is too long; listing again", most=OBJECT_BYTES)
            yield _GONE
            return
    if rest:
        yield rest


async def fetch_objs(
    *, settings: Any, resource: Any, namespace: Any, logger: Any
) -> AsyncIterator[tuple[Collection[Object], str]]:
    """The objects of a resource in pages, each with the list's resourceVersion."""
    selector = ",".join(sorted(set(settings.watching.label_selectors.collect(resource))))

    async def ask(query: Mapping[str, str], most: int) -> Object:
        url = resource.get_url(namespace=namespace, params=dict(query))
        response = await api.request("get", url, settings=settings, logger=logger)
        async with response:
            return await bounded(response, most)

    query = {"labelSelector": selector} if selector else {}
    async for answer in pages(ask, query, settings.watching.chunk_size):
        items = answer.get("items") or []
        for item in items:
            item.setdefault("kind", answer.get("kind", "").removesuffix("List"))
            item.setdefault("apiVersion", answer.get("apiVersion", ""))
        yield items, answer["metadata"]["resourceVersion"]
