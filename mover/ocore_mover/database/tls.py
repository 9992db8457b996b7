"""TLS of the connections to PostgreSQL: which sslmode applies, which files, and that no password goes out in cleartext.

docs/decisions/0006-tls-to-the-database.md says why the defaults are what they are.
"""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ocore_crds import conditions
from ocore_mover.errors import MoverError

#: libpq's parameters that :func:`resolve` decides.
PARAMETERS = ("sslmode", "sslrootcert", "sslcert", "sslkey")
#: libpq's modes; the last three guarantee TLS.
MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
ENCRYPTED = frozenset({"require", "verify-ca", "verify-full"})
VERIFIED = frozenset({"verify-ca", "verify-full"})
#: libpq's setting that refuses a server's request for the password in cleartext. libpq knows it since PostgreSQL 16.
REQUIRE_AUTH = "require_auth"
NO_CLEARTEXT = "!password"
LIBPQ_WITH_REQUIRE_AUTH = 160000


@dataclass(frozen=True)
class TlsOptions:
    """What ``spec.database.tls`` says; it goes before the Secret."""

    mode: str | None = None
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


def resolve(found: Mapping[str, str], options: TlsOptions) -> dict[str, str]:
    """libpq's ssl parameters, without the private key of `options`: from `options`, else as the Secret has them
    (`found`).

    A CA without a mode means verify-full, a client certificate without a mode require. Raises ValueError for a mode
    that libpq does not have.
    """
    params = {name: found[name] for name in PARAMETERS if found.get(name)}
    if options.mode is not None or options.ca is not None:
        params.pop("sslmode", None)
        params.pop("sslrootcert", None)
    if options.mode is not None:
        params["sslmode"] = options.mode
    if options.ca is not None:
        params["sslrootcert"] = str(options.ca)
    if options.certificate is not None:
        params.pop("sslkey", None)
        params["sslcert"] = str(options.certificate)
    if "sslrootcert" in params:
        params.setdefault("sslmode", "verify-full")
    if options.certificate is not None:
        params.setdefault("sslmode", "require")
    if params.get("sslmode", MODES[0]) not in MODES:
        raise ValueError(f"sslmode {params['sslmode']!r} is none of {', '.join(MODES)}")
    return params


def protected(params: Mapping[str, str], *, password: bool, knows_require_auth: bool) -> dict[str, str]:
    """The connection parameters with what keeps a password from being sent in cleartext.

    Where TLS is not certain, libpq is to refuse a request for the cleartext password. A libpq that cannot do that must
    use TLS, unless the Secret or the Environment chose an sslmode.
    """
    result = {"sslmode": "prefer", **params}
    stated = "sslmode" in params and REQUIRE_AUTH not in params
    if not knows_require_auth:
        result.pop(REQUIRE_AUTH, None)
    local = result.get("host", "").startswith(("/", "@"))  # a Unix socket: no network, and libpq ignores sslmode
    if not password or local or result["sslmode"] in ENCRYPTED:
        return result
    if knows_require_auth:
        result.setdefault(REQUIRE_AUTH, NO_CLEARTEXT)
    elif not stated:
        result["sslmode"] = "require"
    return result


@contextmanager
def private_key(key: Path | None) -> Iterator[Path | None]:
    """A copy of the mounted private key that libpq accepts, for the block: ours alone (0600) in a folder that is ours
    alone.

    A Secret's files belong to root and, without an fsGroup, everyone in the pod may read them; libpq refuses such a
    key. Raises MoverError SecretInvalid where the key cannot be read.
    """
    if key is None:
        yield None
        return
    try:
        content = key.read_bytes()
    except OSError as error:
        raise MoverError(
            conditions.SECRET_INVALID,
            f"the private key of spec.database.tls.clientCertificate cannot be read: {os.strerror(error.errno or 0)}; "
            "check that its Secret has tls.crt and tls.key",
        ) from None
    with tempfile.TemporaryDirectory(prefix="ocore-") as folder:
        path = Path(folder) / "tls.key"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        yield path
