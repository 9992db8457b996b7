"""Options of an S3 store. Separate from the client, because importing botocore is a third of a command's start time."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True)
class S3Options:
    """The address and credentials of an S3 store; named as the command line's options."""

    endpoint: str | None = None
    region: str = "us-east-1"
    #: Folder with the files accessKeyId, secretAccessKey and optionally sessionToken. None: boto3's own search.
    credentials: Path | None = None
    ca: Path | None = None
    sse: str | None = None
    kms_key: str | None = None
    #: Mode of Object Lock for the data of snapshots, as S3 names it, and for how many days; None: no lock.
    lock: Literal["GOVERNANCE", "COMPLIANCE"] | None = None
    lock_days: int = 0
    path_style: bool = True
    #: Whether boto3's chain may ask the cloud's instance metadata service for the node's own credentials.
    instance_metadata: bool = False

    def encryption(self) -> dict[str, Any]:
        """Arguments of PutObject and CreateMultipartUpload."""
        if self.sse is None:
            return {}
        arguments = {"ServerSideEncryption": self.sse}
        if self.kms_key:
            arguments["SSEKMSKeyId"] = self.kms_key
        return arguments
