"""The demo's page in a real browser: what a person sees, with the script run."""

import re
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path

from demo_app.damage import damage
from demo_app.database import connect
from demo_app.filestore import Filestore
from demo_app.settings import Settings
from demo_app.shop import NewAttachment
from demo_app.targets import HttpTarget
from support.api.browser import BROWSER
from support.demo import Process


def rendered(url: str, profile: Path, milliseconds: int = 2500) -> str:
    """The document after the script has run for that long. Chromium dumps an empty one where the page did not answer in
    that time."""
    command = [*BROWSER, f"--user-data-dir={profile}", f"--virtual-time-budget={milliseconds}", "--dump-dom", url]
    for _ in range(3):
        done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
        assert done.returncode == 0, done.stderr
        if done.stdout:
            break
    return done.stdout


def figure(document: str, name: str) -> int:
    """A data attribute of the tiles."""
    found = re.search(rf'data-{name}="(\d+)"', document)
    assert found is not None, document[:3000]
    return int(found[1])


def test_the_page_shows_what_the_application_holds(web: Process, settings: Settings, tmp_path: Path) -> None:
    """Counts, a missing file, and a page that refreshes itself; text from the data is text, not markup."""
    shop = HttpTarget(web.url, timeout=60)
    for number in range(6):
        document = NewAttachment("a.txt", b"order %d" % number, "text/plain")
        shop.place("Azure Interior", Decimal(12), "sale", [document])
    with connect(settings) as connection:
        connection.execute("UPDATE sale_order SET partner_name = '<img src=x onerror=alert(1)>'")
        database = connection.info.dbname

    document = rendered(web.url, tmp_path / "profile")
    assert figure(document, "orders") == 6
    assert figure(document, "missing") == 0
    assert "every row has its file" in document
    assert "never rolled back" in document
    assert database in document
    assert ">live</span>" in document  # the script has fetched the inner part and found the application up
    assert "<polyline" in document  # and drawn its line
    assert "<img" not in document
    assert "&lt;img src=x onerror=alert(1)&gt;" in document

    with connect(settings) as connection:
        assert damage(connection, Filestore(settings.filestore)).files_unlinked > 0
    deadline = time.monotonic() + 60
    while web.json("/api/state")[1]["attachments"]["missing"] == 0:
        assert time.monotonic() < deadline, "the application does not notice"
        time.sleep(0.2)
    document = rendered(web.url, tmp_path / "profile")
    assert figure(document, "missing") > 0
    assert "named by a row, not there" in document
    assert "every row has its file" not in document


@contextmanager
def between(site_url: str, failing: range) -> Iterator[str]:
    """A server before the application that answers 503 to those requests for the inner part (counted from 0)."""
    asked = count()

    class Between(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/part" and next(asked) in failing:
                self.send_error(503)
                return
            with urllib.request.urlopen(site_url + self.path, timeout=10) as answer:  # noqa: S310
                self.send_response(answer.status)
                for name in ("Content-Type", "Content-Length", "Content-Security-Policy"):
                    self.send_header(name, answer.headers[name])
                self.end_headers()
                self.wfile.write(answer.read())

        def log_message(self, *_: object) -> None:
            """Not in the tests' output."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Between)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def test_the_page_counts_downtime_and_goes_on(web: Process, settings: Settings, tmp_path: Path) -> None:
    """It stays open while the application does not answer, says for how long, and continues automatically."""
    with between(web.url, range(1, 1000)) as url:
        document = rendered(url, tmp_path / "profile", 12000)
    assert re.search(r'data-up="no"[^>]*>down for \d+\.\d s<', document), document[:2000]
    assert "<rect" in document  # the gap in the line
    assert str(settings.connection_parameters()["dbname"]) in document  # what was shown last stays

    with between(web.url, range(1, 4)) as url:
        document = rendered(url, tmp_path / "profile", 12000)
    assert re.search(r'data-up="yes"[^>]*>live, was down for \d+\.\d s<', document), document[:2000]
