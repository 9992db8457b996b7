"""Requests to the API server: authentication and TLS of `kubernetes.aio`, JSON, timeouts, the errors of
:mod:`ocore_kube.errors`."""

import asyncio
import json
import random
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import structlog
from kubernetes.aio import client
from kubernetes.aio import config as _config

from ocore_kube.errors import AlreadyExists, ApiError, Conflict, Forbidden, Invalid, Unavailable
from ocore_kube.pages import OBJECT_BYTES, read

JSON = "application/json"
#: What is accepted in an answer: the objects, or of each of a list only its metadata.
OBJECTS = "application/json, */*"
METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
#: The same of each event of a watch.
METADATA_EVENTS = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
#: With the parameter the client library sends the body as it is; the API server leaves the parameter out.
APPLY_PATCH = "application/apply-patch+yaml; charset=utf-8"
#: What JSON must not have as it is to be YAML as well: control characters and others that YAML does not allow, and lone
#: surrogates.
_ESCAPED = re.compile("[\x7f-\uffff]")

#: Seconds of pause before each retry of a read that failed for a temporary reason.
READ_PAUSES = (0.2, 1.0)
#: Requests at the same time: more than workers, watches and log followers together.
CONNECTIONS = 100

#: Bytes of the longest line of a stream, if the caller gives no other limit.
LONGEST_LINE = 128 * 1024
#: Bytes of a stream with a pace that are read at once: the event loop serves others before the next ones.
PART = 64 * 1024

_log = structlog.get_logger()
config: Any = _config  # its functions have no annotations


async def connect(kubeconfig: Path | None, connections: int = CONNECTIONS) -> Any:
    """A client from the pod's service account, or from a kubeconfig file outside a cluster. `connections`: open at the
    same time at most.

    Outside it uses the proxy of the kubeconfig or of the environment (HTTPS_PROXY, NO_PROXY). In a cluster none: the
    API server is beside the pod.
    """
    configuration = client.Configuration()
    if kubeconfig is None:
        config.load_incluster_config(client_configuration=configuration)
    else:
        await config.load_kube_config(config_file=str(kubeconfig), client_configuration=configuration)
        configuration.proxy = configuration.proxy or _proxy(configuration.host)
    # Else aiohttp would look for a proxy and for a .netrc in two threads at each request: an eighth of the operator's
    # time in an import.
    configuration.client_session_kwargs = {"trust_env": False}
    configuration.connection_pool_maxsize = connections
    # Python 3.13 checks certificates strictly by RFC 5280. The CAs of many older clusters fail that; programs in Go
    # accept them.
    configuration.disable_strict_ssl_verification = True
    return client.ApiClient(configuration)


def _proxy(url: str) -> str | None:
    """The proxy that the environment names for this address."""
    parts = urlsplit(url)
    return None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)


def apply_body(body: Any) -> bytes:
    """JSON that is YAML, too, in UTF-8. An astral character (an emoji) is itself: JSON's escapes for it are two
    surrogates, which the API server's YAML parser refuses. All other characters above ASCII are escaped, because YAML
    does not allow all of them. A lone surrogate, which no text in UTF-8 can have, becomes U+FFFD, as in every answer of
    the API server."""
    text = json.dumps(body, ensure_ascii=False)
    return _ESCAPED.sub(lambda m: "\\ufffd" if "\ud800" <= m[0] <= "\udfff" else f"\\u{ord(m[0]):04x}", text).encode()


def to_error(status: int, body: bytes) -> ApiError:
    """The error for an answer with a status other than 2xx."""
    try:
        data = json.loads(body)
    except ValueError:
        data = {}
    if not isinstance(data, dict):
        data = {}
    reason = data.get("reason") or f"HTTP{status}"
    message = data.get("message") or body.decode(errors="replace")[:500]
    kind: type[ApiError]
    if status == 409:
        kind = AlreadyExists if reason == "AlreadyExists" else Conflict
    elif status == 403:
        kind = Forbidden
    elif status in (400, 422):
        kind = Invalid
    elif status in (401, 408, 429) or status >= 500:
        # 401: a token that is being rotated; the next request reads the new one.
        kind = Unavailable
    else:
        kind = ApiError
    return kind(status, reason, message, _causes(data.get("details")))


def _causes(details: Any) -> tuple[dict[str, str], ...]:
    found = details.get("causes") if isinstance(details, dict) else None
    if not isinstance(found, list):
        return ()
    return tuple({k: v for k, v in cause.items() if isinstance(v, str)} for cause in found if isinstance(cause, dict))


def no_answer(seconds: float) -> Unavailable:
    """What is raised where the API server did not answer in time."""
    return Unavailable(0, "NoAnswer", f"the API server did not answer within {seconds:g} s")


def _text(error: Exception) -> str:
    """Some errors have no text."""
    return str(error) or type(error).__name__


class Pace:
    """How fast streams are read: `rate` bytes per second, after `burst` bytes at once. What is not read waits at its
    sender."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._ahead = burst / rate
        self._until = 0.0  # when what was read would have come at that rate

    def wait(self, size: int, now: float) -> float:
        """Seconds until more may be read, after so many bytes."""
        self._until = max(self._until, now) + size / self._rate
        return max(self._until - now - self._ahead, 0.0)


class Transport:
    """One connection pool. Raises ApiError and its kinds; a 404 is an ApiError with status 404."""

    def __init__(self, api: Any, timeout: float, program: str) -> None:
        self._api = api  # a kubernetes.aio.client.ApiClient, much of which has no annotations
        self._timeout = timeout
        self._program = program  # User-Agent

    async def close(self) -> None:
        """Closes all connections."""
        await self._api.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = JSON,
        accept: str = OBJECTS,
        most: int = OBJECT_BYTES,
    ) -> dict[str, Any]:
        """The answer's JSON. Reads are retried after a temporary error; writes are retried by the work queue. Raises
        TooLarge for an answer of more than `most` bytes."""
        pauses = READ_PAUSES if method == "GET" else ()
        for pause in (*pauses, None):
            try:
                return await self._once(method, path, query, body, content_type, accept, most)
            except Unavailable as error:
                if pause is None:
                    raise
                _log.debug("request failed; retrying", method=method, path=path, error=str(error))
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
        raise AssertionError("unreachable")

    async def _once(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Any,
        content_type: str,
        accept: str,
        most: int,
    ) -> dict[str, Any]:
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._response(method, path, query, body, content_type, accept=accept) as response,
            ):
                data = await read(response, most)
        except TimeoutError:
            raise no_answer(self._timeout) from None
        if not 200 <= response.status <= 299:
            raise to_error(response.status, data)
        answer: dict[str, Any] = json.loads(data)
        return answer

    async def lines(
        self,
        path: str,
        *,
        query: Mapping[str, str],
        seconds: float,
        silence: float,
        longest: int = LONGEST_LINE,
        pace: Pace | None = None,
        accept: str = OBJECTS,
    ) -> AsyncGenerator[str]:
        """The lines of a streamed answer, until it ends, `seconds` have passed, no line came for `silence` seconds, or
        one has more than `longest` bytes. They are read at that pace. A broken connection ends the stream as its end
        does: the caller knows whether more must follow."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + seconds
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout_at(ends):
                    response = await stack.enter_async_context(
                        self._response("GET", path, query, None, JSON, silence, accept)
                    )
                    if response.status != 200:
                        raise to_error(response.status, await read(response, OBJECT_BYTES))
            except TimeoutError:
                raise no_answer(seconds) from None
            rest = b""
            while True:
                try:
                    # Not around `yield`: there it would interrupt the caller's work.
                    async with asyncio.timeout_at(ends):
                        chunk = await (response.content.read(PART) if pace is not None else response.content.readany())
                except (TimeoutError, aiohttp.ClientError):
                    return
                if not chunk:
                    break
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    yield line.decode(errors="replace")
                if len(rest) > longest:
                    return
                if pace is not None and (wait := pace.wait(len(chunk), loop.time())) > 0:
                    await asyncio.sleep(min(wait, max(ends - loop.time(), 0)))
                if loop.time() >= ends:  # the timeout says so only where the stream has nothing to read
                    return
            if rest:
                yield rest.decode(errors="replace")

    @asynccontextmanager
    async def _response(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Any,
        content_type: str,
        silence: float | None = None,
        accept: str = OBJECTS,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        # The caller limits the whole time, by asyncio.timeout. aiohttp's own `total` takes a task's cancellation for
        # its timeout where both come at once (its TimerContext is entered twice in a request and takes back two
        # cancellations): a program that is cancelled would continue.
        limits = aiohttp.ClientTimeout(total=None, sock_connect=self._timeout / 2, sock_read=silence)
        headers = {
            "Accept": accept,
            # The API server compresses answers of 128 KiB and more if it may: that costs both sides more time than a
            # network of 10 Gbit/s saves.
            "Accept-Encoding": "identity",
            "Content-Type": content_type,
            "User-Agent": self._program,
        }
        try:
            method, url, headers, body, _ = await self._api.param_serialize(
                method, path, query_params=list((query or {}).items()), header_params=headers,
                body=apply_body(body).decode() if content_type == APPLY_PATCH else body,
                auth_settings=["BearerToken"],
            )  # fmt: skip
            answer = await self._api.rest_client.request(method, url, headers, body, _request_timeout=limits)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise Unavailable(0, "NoAnswer", f"the API server did not answer: {_text(error)}") from None
        response: aiohttp.ClientResponse = answer.response
        try:
            yield response
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise Unavailable(0, "NoAnswer", f"the API server closed the connection: {_text(error)}") from None
        finally:
            response.release()
