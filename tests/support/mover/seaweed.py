"""A real S3 server on loopback: SeaweedFS, one process, its data in a temporary folder."""

import http.client
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from support.ports import free_port

from .s3_server import BUCKET, READY_SECONDS, S3Server

#: Anybody may use this one: for requests that a proxy has changed, so that their signature no longer fits.
OPEN_BUCKET = "open-to-all"


class SeaweedFS(S3Server):
    """Started by the constructor, ready when that returns."""

    reader_key, reader_secret = "readerkey", "readersecret"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        (folder / "data").mkdir(parents=True)
        config = folder / "identities.json"
        config.write_text(json.dumps(_identities(self)))
        names = ("master", "volume", "filer", "s3", "master.grpc", "volume.grpc", "filer.grpc", "s3.grpc")
        self._ports = {name: free_port() for name in names}
        self.endpoint = f"http://127.0.0.1:{self._ports['s3']}"
        self._log = (folder / "log").open("wb")
        self.process = subprocess.Popen(
            [
                str(Path(sys.executable).parent / "weed"),
                "-logtostderr=true",
                "server",
                f"-dir={folder / 'data'}",
                "-ip=127.0.0.1",
                "-ip.bind=127.0.0.1",
                "-volume.max=0",
                "-volume.preStopSeconds=0",
                "-master.volumeSizeLimitMB=256",
                "-filer",
                f"-filer.localSocket={folder / 'filer.sock'}",
                "-s3",
                "-s3.iam=false",
                "-s3.port.iceberg=0",
                "-s3.port.lance=0",
                f"-s3.localSocket={folder / 's3.sock'}",
                f"-s3.config={config}",
                *(
                    f"-{name.partition('.')[0]}.port{name[name.find('.') :] if '.' in name else ''}={port}"
                    for name, port in self._ports.items()
                ),
            ],
            stdout=self._log,
            stderr=subprocess.STDOUT,
            cwd=folder,
        )
        try:
            self._await_ready()
            for bucket in (BUCKET, OPEN_BUCKET):
                self.client().create_bucket(Bucket=bucket)
        except BaseException:
            self.stop()
            raise

    def forget(self, prefix: str) -> None:
        """Deletes the objects below a prefix."""
        client = self.client()
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{prefix}/"):
            keys = [{"Key": found["Key"]} for found in page.get("Contents", ())]
            if keys:
                client.delete_objects(Bucket=BUCKET, Delete={"Objects": keys, "Quiet": True})

    def stop(self) -> None:
        """Ends the process and removes the sockets that it leaves in /tmp."""
        self.process.kill()
        self.process.wait(30)
        self._log.close()
        for name in ("master", "volume", "filer", "s3"):
            Path(f"/tmp/seaweedfs-{name}-grpc-{self._ports[f'{name}.grpc']}.sock").unlink(missing_ok=True)

    def _await_ready(self) -> None:
        end = time.monotonic() + READY_SECONDS
        while True:
            if self.process.poll() is not None:
                raise RuntimeError(f"SeaweedFS ended: {self._tail()}")
            if self._answers():
                self._await_writable(end)
                return
            if time.monotonic() > end:
                raise TimeoutError(f"SeaweedFS is not ready after {READY_SECONDS} s: {self._tail()}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._ports["s3"], timeout=2)
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status < 500
        except OSError:
            return False
        finally:
            connection.close()

    def _await_writable(self, end: float) -> None:
        """The S3 part answers before the volume server has registered: the first writes would fail."""
        client = self.client(retries={"total_max_attempts": 1})
        while True:
            try:
                client.create_bucket(Bucket="readiness")
                client.put_object(Bucket="readiness", Key="probe", Body=b"x")
                client.delete_object(Bucket="readiness", Key="probe")
                client.delete_bucket(Bucket="readiness")
            except Exception as error:
                if time.monotonic() > end:
                    raise TimeoutError(f"SeaweedFS takes no objects: {error}; {self._tail()}") from error
                time.sleep(0.1)
            else:
                return

    def _tail(self) -> str:
        return (self.folder / "log").read_bytes()[-2000:].decode(errors="replace")


def _identities(server: SeaweedFS) -> dict[str, Any]:
    def identity(name: str, actions: list[str], *keys: str) -> dict[str, Any]:
        credentials = [{"accessKey": keys[0], "secretKey": keys[1]}] if keys else []
        return {"name": name, "credentials": credentials, "actions": actions}

    return {
        "identities": [
            identity("admin", ["Admin", "Read", "Write", "List", "Tagging"], server.key, server.secret),
            identity("reader", ["Read", "List"], server.reader_key, server.reader_secret),
            identity("anonymous", [f"{action}:{OPEN_BUCKET}" for action in ("Read", "Write", "List")]),
        ]
    }
