"""The response of a list: its rows are encoded while it is sent, and compressed where the client asks for it."""

import gzip
import re
import zlib
from collections.abc import Iterator

from fastapi import Request
from starlette.responses import Response

from ocore_api.cache import Listing
from ocore_api.http.middleware import Receive, Scope, Send
from ocore_api.http.server import CONNECTION, Connection

JSON = "application/json"
#: Bytes of the smallest answer that is compressed.
SMALLEST = 1024
#: gzip's fastest level: a page of snapshots becomes a tenth of its size.
LEVEL = 1
#: zlib's largest window, with the header and trailer of gzip.
_WINDOW = 15 + 16
_HEADERS = {"Vary": "Accept-Encoding"}
_GZIP = {**_HEADERS, "Content-Encoding": "gzip"}
_CODING = re.compile(r"\s*(gzip|x-gzip|\*)\s*(?:;\s*q\s*=\s*([01](?:\.[0-9]{0,3})?)\s*)?", re.IGNORECASE)


def listed(request: Request, found: bytes | Listing) -> Response:
    """The answer with a list: with one that is encoded already, or with one that is read while it is sent."""
    length = len(found) if isinstance(found, bytes) else found.length
    compressed = length >= SMALLEST and accepts_gzip(request.headers.get("accept-encoding", ""))
    if not isinstance(found, bytes):
        return Listed(found, compressed=compressed)
    if compressed:
        return Response(gzip.compress(found, LEVEL, mtime=0), headers=_GZIP, media_type=JSON)
    return Response(found, headers=_HEADERS, media_type=JSON)


def accepts_gzip(header: str) -> bool:
    """Whether Accept-Encoding allows gzip. Pure."""
    weights = {
        m[1].lower().removeprefix("x-"): float(m[2] or 1) for m in map(_CODING.fullmatch, header.split(",")) if m
    }
    return weights.get("gzip", weights.get("*", 0)) > 0


class Listed(Response):
    """Sends a listing piece by piece, each after the client has read the one before the last. The length is known
    before, unless it is compressed."""

    media_type = JSON

    def __init__(self, listing: Listing, *, compressed: bool) -> None:
        super().__init__(headers=_GZIP if compressed else {**_HEADERS, "content-length": str(listing.length)})
        if compressed:
            del self.headers["content-length"]
        self._listing = listing
        self._compressed = compressed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the answer, or ends where the client is gone."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        connection: Connection | None = scope.get(CONNECTION)
        for piece, more in self._pieces():
            if connection is not None and connection.gone:
                return
            await send({"type": "http.response.body", "body": piece, "more_body": more})

    def _pieces(self) -> Iterator[tuple[bytes, bool]]:
        """What is sent, and whether more follows."""
        if self._compressed:
            squeezer = zlib.compressobj(LEVEL, zlib.DEFLATED, _WINDOW)
            for piece in self._listing.pieces():
                if data := squeezer.compress(piece):
                    yield data, True
            yield squeezer.flush(), False
            return
        left = self._listing.length
        for piece in self._listing.pieces():
            left -= len(piece)
            yield piece, left > 0
