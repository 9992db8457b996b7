"""A real OpenID Connect provider (tests/provider) as a process of the test's own. `make provider` builds it."""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from support.built import make
from support.ports import free_port

PASSWORD = "of the tests"
CLIENT = "page"


class Provider:
    """Where it is, and what starts and stops it. The address is known before it runs."""

    def __init__(self, folder: Path, users: dict[str, dict[str, Any]]) -> None:
        """`users`: subject → claims."""
        self._port = free_port()
        self._log = folder / "provider.log"
        self._users = folder / "users.json"
        self._users.write_text(json.dumps({u: {"Password": PASSWORD, "Claims": c} for u, c in users.items()}))
        self._process: subprocess.Popen[bytes] | None = None
        #: Another site than the facade's 127.0.0.1.
        self.issuer = f"http://localhost:{self._port}"

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of a facade that trusts it."""
        return {
            "jwt_issuer": self.issuer,
            "jwt_audience": CLIENT,
            "jwks_url": f"{self.issuer}/keys",
            "jwks_allow_http": True,
            "ui_client_id": CLIENT,
            "claim_scopes": "permissions",
        }

    def start(self, *, lifetime: str = "1h", redirect: str = "http://127.0.0.1/ui/signed-in") -> None:
        """Starts it, without sessions and with new keys."""
        command = [make("provider"), "-address", f"127.0.0.1:{self._port}", "-issuer", self.issuer]
        command += ["-users", str(self._users), "-lifetime", lifetime, "-redirect", redirect]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        end = time.monotonic() + 20
        while not self._answers():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < end, "the provider does not answer"
            time.sleep(0.05)

    def stop(self) -> None:
        """Ends it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def _answers(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self._port}/.well-known/openid-configuration").is_success
        except httpx.TransportError:
            return False


@contextmanager
def provider(folder: Path, users: dict[str, dict[str, Any]]) -> Iterator[Provider]:
    """A provider that runs; ended at the end of the block."""
    made = Provider(folder, users)
    made.start()
    try:
        yield made
    finally:
        made.stop()
