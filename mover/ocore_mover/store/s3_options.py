"""How to reach an S3 store. Apart from the client: most commands need no botocore, whose import is a third of their start."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class S3Options:
    """How to reach an S3 store; the command line's options of the same names."""

    endpoint: str | None = None
    region: str = "us-east-1"
    #: Folder with the files accessKeyId, secretAccessKey and maybe sessionToken; None: boto3's own chain.
    credentials: Path | None = None
    ca: Path | None = None
    sse: str | None = None
    kms_key: str | None = None
    path_style: bool = True

    def encryption(self) -> dict[str, Any]:
        """Arguments of PutObject and CreateMultipartUpload."""
        if self.sse is None:
            return {}
        arguments = {"ServerSideEncryption": self.sse}
        if self.kms_key:
            arguments["SSEKMSKeyId"] = self.kms_key
        return arguments
