"""Ranges of objects without boto3's work for each request: boto3 signs one request for an object, and its own HTTP
session sends that again with one Range after another.

Proxies, CAs, time limits, connections, addresses and credentials are those of the client. Only the expected answer
counts: after any other one, and after any error, the caller reads the same bytes with boto3, which has the retries,
redirects and errors with reasons.
"""

import copy
import io
import logging
import threading
import time
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from botocore.awsrequest import AWSPreparedRequest, AWSResponse, HeadersDict
from botocore.compat import HTTPHeaders
from botocore.response import StreamingBody

from ocore_mover.store.pinned_version import Pinned
from ocore_mover.store.s3_body import Body

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

log = logging.getLogger(__name__)

#: Seconds for which a signature is used. Servers accept it for 15 minutes, and botocore renews temporary credentials
#: earlier than that before their end.
LIFETIME = 120.0
#: Seconds for which all ranges are read with boto3 after an unexpected answer.
REST = 10.0


class SignedRanges:
    """The signed requests of one client. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._signing = threading.local()
        self._signed: WeakKeyDictionary[Pinned, tuple[float, AWSPreparedRequest]] = WeakKeyDictionary()
        self._rests_until = 0.0

    def attach(self, client: "S3Client") -> None:
        """Before the client sends its first request."""
        client.meta.events.register_last("before-send.s3.GetObject", self._keep)  # type: ignore[arg-type]

    def open(
        self, client: "S3Client", bucket: str, key: str, start: int, end: int, size: int, version: Pinned
    ) -> Body | None:
        """The body of these bytes of an object of `size` bytes; None: read them with boto3."""
        if time.monotonic() < self._rests_until:
            return None
        try:
            answer = self._send(client, self._request(client, bucket, key, version), start, end, version)
        except Exception as error:  # boto3 reports it, or does not meet it
            problem = type(error).__name__
        else:
            if (
                answer.status_code == 206
                and answer.headers.get("Content-Range") == f"bytes {start}-{end - 1}/{size}"
                and (tag := answer.headers.get("ETag"))
                and version.is_same(tag)
            ):
                return Body(StreamingBody(answer.raw, end - start))
            answer.raw.close()
            problem = f"HTTP {answer.status_code}"
        log.debug("ranges are read with boto3 for a time", extra={"key": key, "problem": problem})
        self._rests_until = time.monotonic() + REST
        with self._lock:
            self._signed.clear()
        return None

    def _request(self, client: "S3Client", bucket: str, key: str, version: Pinned) -> AWSPreparedRequest:
        """boto3's own request for the object, with a signature that does not include Range and If-Match."""
        with self._lock:
            signed, request = self._signed.get(version, (0.0, None))
            if request is None or time.monotonic() - signed > LIFETIME:
                taken: list[AWSPreparedRequest] = []
                self._signing.taken = taken
                try:
                    client.get_object(Bucket=bucket, Key=key)
                finally:
                    self._signing.taken = None
                (request,) = taken
                self._signed[version] = time.monotonic(), request
            return request

    def _keep(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse | None:
        """Takes the request that :meth:`_request` wants, instead of sending it."""
        taken = getattr(self._signing, "taken", None)
        if taken is None:
            return None
        taken.append(request)
        return AWSResponse(request.url, 200, HTTPHeaders(), io.BytesIO())

    @staticmethod
    def _send(client: "S3Client", request: AWSPreparedRequest, start: int, end: int, version: Pinned) -> AWSResponse:
        sent: Any = copy.copy(request)
        sent.headers = HeadersDict(request.headers)
        sent.headers["Range"] = f"bytes={start}-{end - 1}"
        if version.tag:
            sent.headers["If-Match"] = version.tag
        # botocore gives no access to it. A test fails where the name has changed.
        session = client._endpoint.http_session  # type: ignore[attr-defined]
        answer: AWSResponse = session.send(sent)
        return answer
