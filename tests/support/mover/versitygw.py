"""A second S3 server on loopback: versitygw, whose objects are files. It costs less than half of SeaweedFS's processor
time. `make versitygw` builds it from the Go modules that tests/versitygw/go.mod pins."""

import http.client
import os
import subprocess
import time
from pathlib import Path

from support.mover.s3_server import BUCKET, READY_SECONDS, S3Server
from support.ports import free_port


class Versitygw(S3Server):
    """Started by the constructor, ready when that returns. Its buckets can have versions."""

    def __init__(self, folder: Path, program: str | Path = "versitygw") -> None:
        super().__init__(folder)
        (folder / "data" / BUCKET).mkdir(parents=True)  # a folder is a bucket
        (folder / "versions").mkdir()
        port = free_port()
        self.endpoint = f"http://127.0.0.1:{port}"
        self._log = (folder / "log").open("wb")
        options = ["--port", f"127.0.0.1:{port}", "--quiet", "--keep-alive"]
        env = {"PATH": os.environ["PATH"], "ROOT_ACCESS_KEY_ID": self.key, "ROOT_SECRET_ACCESS_KEY": self.secret}
        self.process = subprocess.Popen(
            [program, *options, "posix", "--versioning-dir", folder / "versions", folder / "data"],
            stdout=self._log, stderr=subprocess.STDOUT, env=env,
        )  # fmt: skip
        try:
            self._await_ready(port)
        except BaseException:
            self.stop()
            raise

    def forget(self, prefix: str) -> None:
        """Empties the objects below a prefix. They are not deleted: see Bench.clean."""
        empty(self.folder / "data" / BUCKET / prefix)

    def stop(self) -> None:
        """Ends the process."""
        self.process.kill()
        self.process.wait(30)
        self._log.close()

    def _await_ready(self, port: int) -> None:
        end = time.monotonic() + READY_SECONDS
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
            try:
                connection.request("GET", "/")
                connection.getresponse()
            except OSError as error:
                if time.monotonic() > end or self.process.poll() is not None:
                    raise TimeoutError((self.folder / "log").read_text(errors="replace")[-2000:]) from error
                time.sleep(0.05)
            else:
                return
            finally:
                connection.close()


def empty(folder: Path) -> None:
    """Empties every file below a folder."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            path.chmod(0o600)
            os.truncate(path, 0)
