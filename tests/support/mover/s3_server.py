"""What every S3 server on loopback has for its users."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.config import Config
from botocore.loaders import create_loader

BUCKET = "snapshots"
READY_SECONDS = 60.0


@pytest.fixture(autouse=True, scope="session")
def service_read_once() -> Iterator[None]:
    """All sessions share the parsed description of S3.

    botocore parses it again for each session, and a store has a session of its own: 0.11 of the 0.12 s of processor
    time of a new client. Nothing writes to what was parsed: the clients of one session share it as well.
    """
    loader = create_loader()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.session, "create_loader", lambda folders: create_loader(folders) if folders else loader)
        yield


class S3Server:
    """`key` and `secret` are the administrator's; `folder` has everything that the server keeps."""

    key, secret = "testkey", "testsecret"
    endpoint: str

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def client(self, **options: Any) -> Any:
        """A plain client of the server, none of ours."""
        return botocore.session.Session().create_client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            config=Config(s3={"addressing_style": "path"}, **options),
        )

    def credentials(self, key: str | None = None, secret: str | None = None) -> Path:
        """A folder as a mounted Secret is one."""
        folder = self.folder / f"credentials-{key or self.key}-{secret or 'right'}"
        folder.mkdir(exist_ok=True)
        (folder / "accessKeyId").write_text(key or self.key)
        (folder / "secretAccessKey").write_text(secret or self.secret)
        return folder

    def options(self, bucket: str, prefix: str) -> list[str]:
        """What a command of the mover needs for a store of this server."""
        store, credentials = f"s3://{bucket}/{prefix}", str(self.credentials())
        return ["--store", store, "--s3-endpoint", self.endpoint, "--s3-credentials", credentials]
