"""The demo's page in a real browser: what a person sees, with the script run."""

import json
import re
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path

from demo_app.shop import NewAttachment
from demo_app.targets import HttpTarget
from support.cluster.cluster import Cluster, wait_for
from support.cluster.site import Servers, make_site

#: Nothing that phones home, no GPU, no QUIC; a profile of its own that goes away with the test.
BROWSER = (
    "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
)  # fmt: skip


def rendered(url: str, profile: Path, milliseconds: int = 2500) -> str:
    """The document after the script has run for that long. Chromium dumps an empty one where the page did not answer in that time."""
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


def test_the_page_shows_what_the_application_holds(cluster: Cluster, servers: Servers, tmp_path: Path) -> None:
    """Counts, a missing file, and a page that refreshes itself; text from the data is text, not markup."""
    with make_site(cluster, servers) as site:
        shop = HttpTarget(site.url, timeout=60)
        # On a busy machine a load for some seconds may place two orders, and the damage would leave none.
        for number in range(6):
            document = NewAttachment("a.txt", b"order %d" % number, "text/plain")
            shop.place("Azure Interior", Decimal(12), "sale", [document])
        site.query("UPDATE sale_order SET partner_name = '<img src=x onerror=alert(1)>' RETURNING 1")

        document = rendered(site.url, tmp_path / "profile")
        assert figure(document, "orders") == 6
        assert figure(document, "missing") == 0
        assert "every row has its file" in document
        assert "never rolled back" in document
        assert site.database in document
        assert ">live</span>" in document  # the script has fetched the inner part and found the application up
        assert "<polyline" in document  # and drawn its line
        assert "<img" not in document
        assert "&lt;img src=x onerror=alert(1)&gt;" in document

        code, log = site.in_app("damage")
        assert code == 0, log
        assert json.loads(log)["files_unlinked"] > 0
        wait_for("the application notices", lambda: site.http("/api/state")["attachments"]["missing"] > 0)
        document = rendered(site.url, tmp_path / "profile")
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


def test_the_page_counts_downtime_and_goes_on(cluster: Cluster, servers: Servers, tmp_path: Path) -> None:
    """It stays open while the application does not answer, says for how long, and goes on by itself."""
    with make_site(cluster, servers) as site:
        with between(site.url, range(1, 1000)) as url:
            document = rendered(url, tmp_path / "profile", 12000)
        assert re.search(r'data-up="no"[^>]*>down for \d+\.\d s<', document), document[:2000]
        assert "<rect" in document  # the gap in the line
        assert site.database in document  # what was shown last stays

        with between(site.url, range(1, 4)) as url:
            document = rendered(url, tmp_path / "profile", 12000)
        assert re.search(r'data-up="yes"[^>]*>live, was down for \d+\.\d s<', document), document[:2000]
