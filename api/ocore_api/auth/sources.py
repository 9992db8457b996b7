"""Where keys come from: a file (read again when it changes) or a URL (fetched again by age)."""

import asyncio
import hashlib
import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import aiohttp

from ocore_api.auth.keys import MAX_JWKS_BYTES, KeySet, UnusableKeys, parse, secret
from ocore_api.settings import Settings

#: Seconds between two checks whether a file has changed. A kubelet needs up to a minute to update a mounted Secret or
#: ConfigMap.
FILE_INTERVAL = 2.0
#: Seconds that one request to the key server may take.
TIMEOUT = 5.0
#: Least seconds between two checks that tokens with an unknown `kid` cause.
FILE_PAUSE = 0.5


class SourceError(Exception):
    """Keys could not be read. The message names the file or URL, and says why."""


class Source(Protocol):
    """One source of keys. `interval`: seconds between two loads; `pause`: least seconds between two loads that callers
    cause."""

    interval: float
    pause: float

    async def load(self) -> KeySet | None:
        """The keys, or None where they are as at the last load. Raises SourceError."""

    async def close(self) -> None:
        """Closes connections."""


class FileSource:
    """Keys of a file. It may be replaced by a rename, as kubelets do."""

    def __init__(self, path: Path, read: Callable[[bytes], KeySet]) -> None:
        self.interval = FILE_INTERVAL
        self.pause = FILE_PAUSE
        self._path = path
        self._read = read
        self._seen: tuple[int, int, int] | None = None

    async def load(self) -> KeySet | None:
        """See Source."""
        return await asyncio.to_thread(self._load)

    def _load(self) -> KeySet | None:
        try:
            with self._path.open("rb") as file:
                state = os.fstat(file.fileno())
                seen = (state.st_mtime_ns, state.st_ino, state.st_size)
                if seen == self._seen:
                    return None
                keys = self._read(file.read(MAX_JWKS_BYTES + 1))
        except (OSError, UnusableKeys) as error:
            raise SourceError(f"{self._path}: {error}") from None
        self._seen = seen
        return keys

    async def close(self) -> None:
        """Nothing is open."""


class UrlSource:
    """Keys of a key server. Redirects are refused: they could lead to a server that no one has configured."""

    def __init__(self, url: str, *, interval: float, pause: float, ca_file: Path | None) -> None:
        self.interval = interval
        self.pause = pause
        self._url = url
        self._ca_file = ca_file
        self._session: aiohttp.ClientSession | None = None
        self._seen: bytes | None = None

    async def load(self) -> KeySet | None:
        """See Source."""
        try:
            async with asyncio.timeout(TIMEOUT):  # not aiohttp's: see ocore_kube.transport
                body = await self._fetch()
            digest = hashlib.sha256(body).digest()
            if digest == self._seen:
                return None
            keys = parse(body)
        except (TimeoutError, aiohttp.ClientError, OSError, UnusableKeys) as error:
            raise SourceError(f"{self._url}: {str(error) or 'no answer in time'}") from None
        self._seen = digest
        return keys

    async def _fetch(self) -> bytes:
        if self._session is None:
            trust = await asyncio.to_thread(ssl.create_default_context, cafile=self._ca_file)
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=None), connector=aiohttp.TCPConnector(ssl=trust, force_close=True)
            )
        headers = {"Accept": "application/jwk-set+json, application/json", "User-Agent": "ocore-api"}
        async with self._session.get(self._url, headers=headers, allow_redirects=False) as answer:
            if answer.status != 200:
                raise UnusableKeys(f"the key server answered with status {answer.status}")
            body = bytearray()
            async for chunk in answer.content.iter_chunked(65_536):
                body += chunk
                if len(body) > MAX_JWKS_BYTES:
                    raise UnusableKeys(f"the JSON Web Key Set is larger than {MAX_JWKS_BYTES} bytes")
            return bytes(body)

    async def close(self) -> None:
        """See Source."""
        if self._session is not None:
            await self._session.close()


def of(settings: Settings) -> Source:
    """The source that the settings name."""
    if settings.jwks_url is not None:
        return UrlSource(
            settings.jwks_url,
            interval=settings.jwks_max_age,
            pause=settings.jwks_refetch_seconds,
            ca_file=settings.jwks_ca_file,
        )
    if settings.jwks_file is not None:
        return FileSource(settings.jwks_file, parse)
    if settings.jwt_secret_file is not None:
        return FileSource(settings.jwt_secret_file, secret)
    raise ValueError("no source of keys is set")
