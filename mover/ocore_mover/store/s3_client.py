"""The boto3 client: credentials, time-outs, retries, signing, and conversion of S3's errors."""

import base64
import hashlib
import random
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import botocore.auth
import botocore.session
from botocore.config import Config
from botocore.credentials import DeferredRefreshableCredentials
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    ProxyConnectionError,
    SSLError,
)
from botocore.handlers import add_expect_header

from ocore_crds import conditions
from ocore_mover import redact, settings
from ocore_mover.errors import Corrupt, MoverError, StoreError
from ocore_mover.store.s3_options import S3Options

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

#: Seconds. With four attempts, an unreachable store is reported within half a minute.
CONNECT_TIMEOUT = 5
#: Seconds without a byte. Some servers need that long to complete an upload of thousands of parts.
READ_TIMEOUT = 60
MAX_ATTEMPTS = 4
#: Seconds from the start of the program in which a refused connection is tried again: the proxy of a service mesh
#: starts beside the mover, and refuses all connections until it is ready. A database has more patience anyway.
START_PATIENCE = 20.0
_STARTED = time.monotonic()
#: Mounted Secrets change in place: the files are read again this often (botocore renews 15 minutes before "expiry").
_CREDENTIALS_LIFETIME = timedelta(minutes=20)

#: botocore's name of the provider.
_INSTANCE_METADATA = "iam-role"

NOT_FOUND = {"404", "NoSuchKey", "NotFound"}
_NO_BUCKET = {"NoSuchBucket", "InvalidBucketName", "AllAccessDisabled"}
_DENIED = {
    "403",
    "AccessDenied",
    "AccountProblem",
    "ExpiredToken",
    "Forbidden",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidToken",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
    "UnauthorizedAccess",
    "XAdminUserNotFound",  # versitygw, for an unknown access key
}
_FULL = {
    "507",
    "InsufficientStorage",
    "QuotaExceeded",
    "StorageFull",
    "XMinioAdminBucketQuotaExceeded",
    "XMinioStorageFull",
}
_NOT_WRITABLE = {"405", "InvalidRetentionPeriod", "KMS.DisabledException", "MethodNotAllowed", "ObjectLocked"}
_OTHER_REGION = {"301", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect"}
#: The bytes that arrived differ from their digest.
DIGEST_CODES = {"BadDigest", "InvalidDigest", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch"}


class _ChecksumSigner(botocore.auth.S3SigV4Auth):
    """Signs the payload with the digest that the request already declares, instead of hashing every part twice.

    Every server that checks SigV4 also checks the payload's digest, even without support for x-amz-checksum-sha256.
    Over https botocore would omit it.
    """

    def payload(self, request: Any) -> str:
        declared = request.headers.get("x-amz-checksum-sha256")
        if declared is None:
            digest: str = super().payload(request)
            return digest
        return base64.b64decode(declared).hex()


_SIGNER = "ocore-s3v4"
botocore.auth.AUTH_TYPE_MAPS[_SIGNER] = _ChecksumSigner


def connect(options: S3Options, connections: int) -> "S3Client":
    """A thread-safe client with that many pooled connections. Opens none yet."""
    _mask_proxies()
    authorities = settings.ca_bundle()
    session = botocore.session.Session()
    if options.credentials is not None:
        folder = options.credentials
        # boto3 has no public API for own renewing credentials; its documentation shows this assignment.
        session._credentials = DeferredRefreshableCredentials(  # type: ignore[attr-defined]
            refresh_using=lambda: read_credentials(folder), method="ocore-credentials-folder"
        )
    elif not options.instance_metadata:
        # Every pod on the node shares the node's role, which often has far more rights than this bucket needs.
        session.get_component("credential_provider").remove(_INSTANCE_METADATA)
    client: S3Client = session.create_client(  # type: ignore[assignment]
        "s3",
        region_name=options.region,
        endpoint_url=options.endpoint,
        verify=str(options.ca) if options.ca is not None else None,
        config=Config(
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=READ_TIMEOUT,
            max_pool_connections=connections,
            retries={"mode": "standard", "total_max_attempts": MAX_ATTEMPTS},
            s3={"addressing_style": "path" if options.path_style else "virtual", "payload_signing_enabled": True},
            # We always give a SHA-256. CRC trailers break servers other than AWS.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            tcp_keepalive=True,
            proxies_config={"proxy_ca_bundle": authorities} if authorities is not None else None,
            user_agent_extra="ocore-snapshots",
        ),
    )
    for operation in ("PutObject", "UploadPart"):
        client.meta.events.register(f"choose-signer.s3.{operation}", _choose_signer)  # type: ignore[arg-type]
    # It asks the server first whether it wants the body of a small object, which costs a round trip.
    client.meta.events.unregister("before-call.s3", add_expect_header)
    client.meta.events.register("before-sign.s3", _mask_credentials)
    if settings.pod_uid():
        client.meta.events.register_first("needs-retry.s3", retry_at_start)  # type: ignore[arg-type]
    for operation in ("DeleteObjects", "PutObjectRetention"):
        client.meta.events.register(f"before-call.s3.{operation}", _add_content_md5)
    return client


def _mask_proxies() -> None:
    """A proxy's URL may have a password, and urllib3 has the URL in messages."""
    for url in settings.proxies().values():
        try:
            password = urlsplit(url).password
        except ValueError:
            password = url
        if password:
            redact.register(password)
            redact.register(unquote(password))


def retry_at_start(caught_exception: Exception | None = None, **_: Any) -> float | None:
    """Seconds until the request is sent again, where a connection was refused in the first seconds; else None: then
    botocore's own handler decides."""
    if not isinstance(caught_exception, EndpointConnectionError | ProxyConnectionError):
        return None
    return 0.5 if time.monotonic() - _STARTED < START_PATIENCE else None


def _mask_credentials(request_signer: Any, **_: Any) -> None:
    """Masks the keys of any origin (Secret, environment, workload identity) before a request can fail with them in its
    message."""
    credentials = getattr(request_signer, "_credentials", None)
    if credentials is None:
        return
    frozen = credentials.get_frozen_credentials()
    for value in (frozen.access_key, frozen.secret_key, frozen.token):
        if value:
            redact.register(value)


def _add_content_md5(params: dict[str, Any], **_: Any) -> None:
    """Some stores refuse these requests without it. Others check the CRC32 that botocore sends, too."""
    body = params["body"]
    digest = hashlib.md5(body.encode() if isinstance(body, str) else body, usedforsecurity=False).digest()
    params["headers"].setdefault("Content-MD5", base64.b64encode(digest).decode())


def _choose_signer(signature_version: Any, **_: Any) -> str | None:
    return _SIGNER if signature_version in ("s3v4", "v4", _SIGNER) else None


def read_credentials(folder: Path) -> dict[str, str]:
    """Reads a mounted Secret for botocore. Raises StoreError SecretInvalid if a key is missing."""
    values = {}
    for key in ("accessKeyId", "secretAccessKey", "sessionToken"):
        try:
            values[key] = (folder / key).read_text().strip()
        except FileNotFoundError:
            values[key] = ""
        except (OSError, UnicodeDecodeError) as error:
            raise StoreError(conditions.SECRET_INVALID, f"the store's credentials cannot be read: {error}") from error
    missing = [key for key in ("accessKeyId", "secretAccessKey") if not values[key]]
    if missing:
        raise StoreError(
            conditions.SECRET_INVALID,
            f"the store's credentials Secret lacks {' and '.join(missing)}. It needs accessKeyId and secretAccessKey.",
        )
    for value in values.values():
        if value:
            redact.register(value)
    return {
        "access_key": values["accessKeyId"],
        "secret_key": values["secretAccessKey"],
        "token": values["sessionToken"],
        "expiry_time": (datetime.now(UTC) + _CREDENTIALS_LIFETIME).isoformat(),
    }


def code_of(error: ClientError) -> str:
    """S3's error code, or the HTTP status as text for answers without a body (HEAD)."""
    return str(error.response.get("Error", {}).get("Code", ""))


def status_of(error: ClientError) -> int:
    """The HTTP status, or 0 if there is none."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def etag_of(answer: Mapping[str, Any], url: str) -> str:
    """The ETag of an answer. Raises StoreError where there is none."""
    tag = answer.get("ETag")
    if not tag:
        raise StoreError(
            conditions.STORE_NOT_READY,
            f"{url} answers without an ETag, so an object that is replaced while it is read would not be noticed. Check"
            " the proxies, which may remove the header, and the store.",
        )
    return str(tag)


@contextmanager
def translated(what: str, url: str) -> Iterator[None]:
    """Converts boto3's errors to StoreError; `what` failed, for example "write KEY"."""
    try:
        yield
    except ClientError as error:
        raise _from_answer(error, what, url) from error
    except BotoCoreError as error:
        raise _from_client(error, what, url) from error


def _from_answer(error: ClientError, what: str, url: str) -> MoverError:
    code, status = code_of(error), status_of(error)
    said = error.response.get("Error", {}).get("Message", "")
    detail = f"cannot {what} in {url}: {code} {said}".rstrip(" .")
    if code in _NO_BUCKET:
        return StoreError(conditions.BUCKET_NOT_FOUND, f"{detail}. Create the bucket, or correct its name.")
    if code in DIGEST_CODES:
        return Corrupt(
            f"{detail}. The bytes changed on the network to the store several times. Check the network and the proxies."
        )
    if code in _FULL or status == 507:
        return StoreError(conditions.NO_SPACE, f"{detail}. Free space in the store or raise its quota.")
    if code in _OTHER_REGION:
        return StoreError(conditions.STORE_UNREACHABLE, f"{detail}. Set the bucket's own region and endpoint.")
    if code == "InvalidObjectState":
        return StoreError(
            conditions.OBJECT_ARCHIVED,
            f"{detail}. A lifecycle rule has moved the object to an archive class (Glacier). Restore it in the bucket,"
            " and exclude the prefix from the rule.",
        )
    if code in _NOT_WRITABLE:
        return StoreError(conditions.STORE_NOT_WRITABLE, f"{detail}. The store does not allow this.")
    if code in _DENIED or status in (401, 403):
        return StoreError(
            conditions.STORE_ACCESS_DENIED,
            f"{detail}. Check the credentials, and that they may list the bucket and read, write and delete objects.",
        )
    if status >= 500 or code in ("SlowDown", "RequestTimeout", "429") or status == 429:
        return StoreError(
            conditions.STORE_UNREACHABLE, f"{detail}. The store did not recover within the retries.", retryable=True
        )
    return StoreError(conditions.STORE_NOT_READY, f"{detail} (HTTP {status}).")


def _from_client(error: BotoCoreError, what: str, url: str) -> StoreError:
    detail = f"cannot {what} in {url}: {error}".rstrip(".")
    if isinstance(error, NoCredentialsError | PartialCredentialsError | CredentialRetrievalError):
        return StoreError(
            conditions.STORE_ACCESS_DENIED,
            f"{detail}. Set a Secret with credentials, or give the Job's service account a workload identity. The"
            " node's own credentials are used with s3.instanceMetadata of the SnapshotStore only.",
        )
    if isinstance(error, SSLError):
        return StoreError(
            conditions.STORE_UNREACHABLE,
            f"{detail}. If the endpoint has its own CA, set the store's caBundle. If a proxy opens TLS with its"
            " own CA, set AWS_CA_BUNDLE in the chart's value jobs.extraEnv.",
        )
    if isinstance(error, ProxyConnectionError):
        return StoreError(
            conditions.STORE_UNREACHABLE,
            f"{detail}. Check HTTPS_PROXY and NO_PROXY in the chart's value jobs.extraEnv, and network policies.",
            retryable=True,
        )
    if isinstance(error, HTTPClientError) or "Connection" in type(error).__name__:
        return StoreError(
            conditions.STORE_UNREACHABLE,
            f"{detail}. Check the endpoint, its DNS name, network policies and that the store runs.",
            retryable=True,
        )
    return StoreError(conditions.STORE_NOT_READY, f"{detail}.")


def pause(failures: int) -> None:
    """Exponential back-off with jitter, 0.1 to 5 s."""
    time.sleep(min(0.1 * 2**failures, 5.0) * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret
