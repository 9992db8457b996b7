"""Who uses a real Odoo over HTTP."""

import base64
import hashlib
import json
import os
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

#: The user `admin`.
UID = 2
SECONDS = 120
#: The names of the files in the filestore, and their SHA-1.
STORED = "SELECT store_fname, checksum FROM ir_attachment WHERE store_fname IS NOT NULL"


@dataclass(frozen=True)
class Attachment:
    """One that a user has seen."""

    id: int
    sha1: str
    record: int  # id of its contact


@dataclass
class Users:
    """What users did while they worked."""

    kept: list[Attachment] = field(default_factory=list)
    collections: int = 0
    failures: list[str] = field(default_factory=list)


class Browser:
    """A client of one Odoo, with cookies."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))

    def page(self, path: str, body: bytes | None = None) -> bytes:
        """What it gets with status 200."""
        request = urllib.request.Request(  # noqa: S310
            f"{self._url}{path}", data=body, headers={"Content-Type": "application/json"} if body else {}
        )
        with self._opener.open(request, timeout=SECONDS) as response:
            assert response.status == 200, response.status
            return bytes(response.read())

    def call(self, path: str, **parameters: Any) -> Any:
        """The result of a JSON-RPC call."""
        answer = json.loads(self.page(path, json.dumps({"jsonrpc": "2.0", "params": parameters}).encode()))
        assert "error" not in answer, answer["error"]
        return answer["result"]


class OdooClient(Browser):
    """The users of one Odoo."""

    def __init__(self, url: str, database: str) -> None:
        super().__init__(url)
        self._database = database

    def visitor(self) -> Browser:
        """A browser without a session."""
        return Browser(self._url)

    def login(self) -> Browser:
        """A browser with a session."""
        browser = self.visitor()
        found = browser.call("/web/session/authenticate", db=self._database, login="admin", password="admin")
        assert found["uid"] == UID, found
        return browser

    def rpc(self, model: str, method: str, *arguments: Any) -> Any:
        """A method of a model, as the administrator."""
        args = [self._database, UID, "admin", model, method, list(arguments)]
        return self.call("/jsonrpc", service="object", method="execute_kw", args=args)

    def attach(self, text: bytes) -> Attachment:
        """A contact with an attachment."""
        (partner,) = self.rpc("res.partner", "create", [{"name": "a customer"}])
        values = {"name": "a.bin", "datas": base64.b64encode(text).decode(), "res_model": "res.partner"}
        (made,) = self.rpc("ir.attachment", "create", [{**values, "res_id": partner}])
        return Attachment(made, hashlib.sha1(text, usedforsecurity=False).hexdigest(), partner)

    def collect(self) -> None:
        """Odoo's own collection, with the other things that it cleans up."""
        _, job = self.rpc("ir.model.data", "check_object_reference", "base", "autovacuum_job")
        self.rpc("ir.cron", "method_direct_trigger", [job])

    @contextmanager
    def at_work(self) -> Iterator[Users]:
        """Within the block users attach files and delete each second one, and Odoo collects beside them. No file is
        attached during a collection: Odoo may lose it then, with or without snapshots
        (tests/unit/mover/odoo/test_collected.py)."""
        seen, stop, no_upload = Users(), threading.Event(), threading.Lock()

        def attach() -> None:
            with no_upload:
                seen.kept.append(self.attach(os.urandom(3000)))
                second = self.attach(os.urandom(3000))
            self.rpc("ir.attachment", "unlink", [second.id])

        def collect() -> None:
            with no_upload:
                self.collect()
            seen.collections += 1

        threads = [
            threading.Thread(target=_repeat, args=(act, pause, stop, seen.failures), daemon=True)
            for act, pause in ((attach, 0.3), (collect, 2))
        ]
        for thread in threads:
            thread.start()
        try:
            until = time.monotonic() + SECONDS
            while not seen.failures and (len(seen.kept) < 3 or not seen.collections):
                assert time.monotonic() < until, "users do not come to work"
                stop.wait(0.1)
            yield seen
        finally:
            stop.set()
            for thread in threads:
                thread.join(SECONDS)


def _repeat(act: Callable[[], None], pause: float, stop: threading.Event, failures: list[str]) -> None:
    while not stop.is_set():
        try:
            act()
        except Exception as error:
            failures.append(repr(error))
        stop.wait(pause)


def files_fit(rows: Iterable[tuple[Any, ...]], folder: Path) -> None:
    """Every one of the rows of `STORED` has its file, with its SHA-1."""
    found = list(rows)
    assert len(found) > 100
    wrong = [name for name, sha1 in found if not _has(folder / name, sha1)]
    assert wrong == [], f"{len(wrong)} of {len(found)} attachments have no file with their SHA-1"


def _has(file: Path, sha1: str) -> bool:
    return file.exists() and hashlib.sha1(file.read_bytes(), usedforsecurity=False).hexdigest() == sha1 == file.name
