"""Where the load generator sends its writes: straight to the database and filestore, or to the web process."""

import base64
import json
import threading
from collections.abc import Sequence
from decimal import Decimal
from http.client import HTTPConnection, HTTPException
from typing import Any, Protocol
from urllib.parse import urlsplit

import psycopg

from . import shop
from .database import Pool, connect
from .filestore import ContentDiffersError, Filestore
from .settings import Settings

#: Seconds for one request.
HTTP_TIMEOUT = 15.0


class TargetError(Exception):
    """The write failed, or its result is unknown. `kind` is the category in the report."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Target(Protocol):
    """Thread-safe. Every method raises TargetError."""

    def place(
        self, partner: str, amount: Decimal, state: shop.OrderState, attachments: Sequence[shop.NewAttachment]
    ) -> int:
        """Places an order; its id."""

    def delete(self, order_id: int) -> bool:
        """Deletes a draft; False if the draft does not exist any more (a rollback removed it, or its id belongs to a
        confirmed order)."""

    def collect(self) -> int:
        """Collects garbage; the number of files removed."""


class DirectTarget:
    """The application's own functions, as another process of the same application would run them."""

    def __init__(self, settings: Settings, connections: int) -> None:
        self._filestore = Filestore(settings.filestore)
        self._pool = Pool(lambda: connect(settings), connections)

    def place(
        self, partner: str, amount: Decimal, state: shop.OrderState, attachments: Sequence[shop.NewAttachment]
    ) -> int:
        try:
            with self._pool.connection() as connection:
                return shop.place_order(connection, self._filestore, partner, amount, state, attachments).id
        except ContentDiffersError as error:
            raise TargetError("content_differs", str(error)) from error
        except (psycopg.Error, OSError) as error:
            raise TargetError(type(error).__name__, str(error)) from error

    def delete(self, order_id: int) -> bool:
        try:
            with self._pool.connection() as connection:
                return shop.delete_order(connection, self._filestore, order_id)
        except shop.OrderConfirmedError:
            return False
        except (psycopg.Error, OSError) as error:
            raise TargetError(type(error).__name__, str(error)) from error

    def collect(self) -> int:
        try:
            with self._pool.connection() as connection:
                return shop.collect_garbage(connection, self._filestore).removed
        except shop.GarbageCollectionBusyError as error:
            raise TargetError("gc_busy", str(error)) from error
        except (psycopg.Error, OSError) as error:
            raise TargetError(type(error).__name__, str(error)) from error


class HttpTarget:
    """The web process, over persistent connections, one per thread."""

    def __init__(self, url: str, timeout: float = HTTP_TIMEOUT) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"{url}: give a URL such as http://shop:8080")
        self._address = (parts.hostname, parts.port or 80)
        self._timeout = timeout
        self._local = threading.local()

    def place(
        self, partner: str, amount: Decimal, state: shop.OrderState, attachments: Sequence[shop.NewAttachment]
    ) -> int:
        body = {
            "partner": partner,
            "amount": str(amount),
            "state": state,
            "attachments": [
                {"name": a.name, "mimetype": a.mimetype, "data": base64.b64encode(a.data).decode()} for a in attachments
            ],
        }
        status, answer = self.request("POST", "/api/orders", json.dumps(body).encode())
        self._expect(status, answer, 201)
        return int(answer["id"])

    def delete(self, order_id: int) -> bool:
        status, answer = self.request("DELETE", f"/api/orders/{order_id}")
        if status in (404, 409):
            return False
        self._expect(status, answer, 200)
        return True

    def collect(self) -> int:
        status, answer = self.request("POST", "/api/gc", b"")
        if status == 409:
            raise TargetError("gc_busy", str(answer))
        self._expect(status, answer, 200)
        return int(answer["removed"])

    def request(self, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
        """Status and JSON of one request. Raises TargetError if there was no answer."""
        connection: HTTPConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = HTTPConnection(*self._address, timeout=self._timeout)
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            return response.status, json.loads(response.read() or b"null")
        except (OSError, HTTPException, ValueError) as error:
            connection.close()
            raise TargetError(type(error).__name__, str(error)) from error

    @staticmethod
    def _expect(status: int, answer: Any, wanted: int) -> None:
        if status != wanted:
            raise TargetError(f"http_{status}", str(answer))
