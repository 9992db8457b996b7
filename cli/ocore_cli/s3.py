"""Single requests to an S3 store, with the caller's own credentials. Only the standard library: a program that kubectl
starts loads no native module for it.

Signature: AWS Signature Version 4 in a header
(https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html).
"""

import base64
import configparser
import hashlib
import hmac
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.parse import quote, urlsplit

from ocore_crds.resources.snapshotstore import S3

from .errors import CliError, Denied

#: Seconds without an answer.
_TIMEOUT = 60
_CHUNK = 1024 * 1024
_CODE = re.compile(rb"<Code>([A-Za-z]{1,64})</Code>")
HOW = "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN), or give --credentials-file"


@dataclass(frozen=True)
class Credentials:
    """Of the caller."""

    key: str
    secret: str
    token: str = ""


def credentials(environment: Mapping[str, str], file: Path | None) -> Credentials:
    """From the file (the format of ``~/.aws/credentials``), else from the variables. Raises CliError where there are
    none."""
    found: Mapping[str, str] = {name.lower(): value for name, value in environment.items()}
    if file is not None:
        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read_string(file.read_text(encoding="utf-8"))
            found = parser[environment.get("AWS_PROFILE") or "default"]
        except (OSError, UnicodeDecodeError, configparser.Error, KeyError) as error:
            raise CliError(f"cannot read the credentials in {file}: {error}. {HOW}") from error
    key, secret = found.get("aws_access_key_id", ""), found.get("aws_secret_access_key", "")
    if not key or not secret:
        raise CliError(f"there are no credentials for the store. {HOW}")
    return Credentials(key, secret, found.get("aws_session_token", ""))


def url_of(store: S3, key: str, endpoint: str | None) -> str:
    """The object's URL; `endpoint`: in place of the store's. Raises CliError where that is no URL."""
    base = endpoint or store.endpoint or f"https://s3.{store.region}.amazonaws.com"
    parts = urlsplit(base)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise CliError(f"{base} is not a URL such as https://s3.example.org")
    path = quote(f"{store.prefix}/{key}".lstrip("/"), safe="/-_.~")
    if store.path_style:
        return f"{parts.scheme}://{parts.netloc}/{store.bucket}/{path}"
    return f"{parts.scheme}://{store.bucket}.{parts.netloc}/{path}"


def signed(
    url: str,
    region: str,
    found: Credentials,
    now: datetime,
    data: bytes | None = None,
    more: Mapping[str, str] = {},
    method: str = "",
) -> dict[str, str]:
    """The headers of a GET, or with `data` of a PUT, or of another method. `more`: others, with names in lower case.
    Pure."""
    parts, moment = urlsplit(url), now.strftime("%Y%m%dT%H%M%SZ")
    digest = hashlib.sha256(data or b"").hexdigest()
    headers = {"host": parts.netloc, "x-amz-content-sha256": digest, "x-amz-date": moment, **more}
    if found.token:
        headers["x-amz-security-token"] = found.token
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    method = method or ("GET" if data is None else "PUT")
    request = "\n".join((method, parts.path, parts.query, lines, names, digest))
    scope = f"{moment[:8]}/{region}/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    secret = b"AWS4" + found.secret.encode()
    for part in scope.split("/"):
        secret = hmac.digest(secret, part.encode(), "sha256")
    signature = hmac.new(secret, text.encode(), "sha256").hexdigest()
    authorization = f"AWS4-HMAC-SHA256 Credential={found.key}/{scope}, SignedHeaders={names}, Signature={signature}"
    return {**{name: value for name, value in headers.items() if name != "host"}, "Authorization": authorization}


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The signature is for one host; another one must not get it."""

    def redirect_request(self, *_: object) -> None:
        return None


def get(url: str, region: str, found: Credentials, ca: str | None) -> Iterator[bytes]:
    """The object in chunks. `ca`: certificates (PEM) in place of the system's. Raises CliError."""
    with asked(url, region, found, ca) as answer:
        while chunk := answer.read(_CHUNK):
            yield chunk


def put_new(url: str, region: str, found: Credentials, ca: str | None, data: bytes) -> bool:
    """Writes a small object; False if it exists, and then it is left unchanged. Raises CliError."""
    # A bucket that locks what is written accepts only what comes with a checksum.
    checksum = base64.b64encode(hashlib.sha256(data).digest()).decode()
    try:
        with asked(url, region, found, ca, data, {"if-none-match": "*", "x-amz-checksum-sha256": checksum}):
            return True
    except Exists:
        return False


class Exists(CliError):
    """The store has an object of this key."""


@contextmanager
def asked(
    url: str,
    region: str,
    found: Credentials,
    ca: str | None,
    data: bytes | None = None,
    more: Mapping[str, str] = {},
    method: str = "",
) -> Iterator[HTTPResponse]:
    """The answer to a GET, or with `data` to a PUT, or to another method. Raises CliError."""
    try:
        context = ssl.create_default_context(cadata=ca)
        opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), _NoRedirect)
        headers = signed(url, region, found, datetime.now(UTC), data, more, method)
        method = method or ("GET" if data is None else "PUT")
        request = urllib.request.Request(url, data=data, headers=headers, method=method)  # noqa: S310 - url_of
        with opener.open(request, timeout=_TIMEOUT) as answer:
            yield answer
    except urllib.error.HTTPError as error:
        code = _CODE.search(error.read(64 * 1024))
        reason = code[1].decode() if code is not None else error.reason
        kind = Denied if error.code in (401, 403) else Exists if error.code in (409, 412) else CliError
        raise kind(f"the store answers {error.code} {reason} for {url}. {HOW}") from error
    except (OSError, HTTPException, ValueError) as error:
        raise CliError(
            f"cannot read {url}: {error}. If the store is reached under another address from here, give --endpoint"
        ) from error
