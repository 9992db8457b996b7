"""Lists in pages of a limited size in bytes: a hundred objects may have 150 MB, and a tenant decides how large its own
are."""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any

import aiohttp

from ocore_kube.errors import TooLarge

#: Bytes of an answer about one object. etcd takes requests of 1.5 MiB; as JSON an object of a built-in kind has several
#: times that.
OBJECT_BYTES = 16 * 1024 * 1024
#: Bytes of a page of several objects. Parsed, it takes a multiple.
PAGE_BYTES = 4 * 1024 * 1024

Answer = dict[str, Any]
#: Asks for a page with a query, and at most so many bytes. Raises TooLarge beyond them.
Ask = Callable[[Mapping[str, str], int], Awaitable[Answer]]


async def pages(ask: Ask, query: Mapping[str, str], objects: int) -> AsyncGenerator[Answer]:
    """The pages of a list, of `objects` at most. A page that would be too large is asked for again with fewer."""
    limit, token = objects, ""
    while True:
        wanted = {**query, "limit": str(limit)} | ({"continue": token} if token else {})
        try:
            answer = await ask(wanted, PAGE_BYTES if limit > 1 else OBJECT_BYTES)
        except TooLarge:
            if limit == 1:
                raise
            limit = max(limit // 4, 1)
            continue
        token = answer["metadata"].get("continue") or ""
        yield answer
        if not token:
            return
        limit = min(limit * 2, objects)


async def bounded(response: aiohttp.ClientResponse, most: int) -> Answer:
    """The JSON of an answer. Raises TooLarge once it has more bytes than `most`; what remains is not read."""
    return json.loads(await read(response, most))  # type: ignore[no-any-return]


async def read(response: aiohttp.ClientResponse, most: int) -> bytes:
    """The bytes of an answer. Raises TooLarge as :func:`bounded` does."""
    data = bytearray()
    async for chunk in response.content.iter_any():
        data += chunk
        if len(data) > most:
            response.close()
            raise TooLarge(0, "AnswerTooLarge", f"the API server's answer has more than {most} bytes")
    return bytes(data)
