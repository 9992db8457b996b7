"""What every S3 server on loopback has for its users."""

from pathlib import Path
from typing import Any

import botocore.session
from botocore.config import Config

BUCKET = "snapshots"
READY_SECONDS = 60.0


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
