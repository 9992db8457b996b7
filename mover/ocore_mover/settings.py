"""The only reader of the environment. Each knob is documented where it is defined."""

import os
from pathlib import Path

from ocore_crds.commands import request_transport

#: Folder with pg_dump and pg_restore, if they are neither in Debian's folder for their major version nor on PATH.
PG_BIN_VARIABLE = "OCORE_PG_BIN"


def pg_bin() -> Path | None:
    """The folder of ``OCORE_PG_BIN``; None if it is not set."""
    value = os.environ.get(PG_BIN_VARIABLE, "")
    return Path(value) if value else None


def program_environment() -> dict[str, str]:
    """The environment of the programs that we start: a few variables of ours, none of libpq's.

    A stray ``PGOPTIONS`` or ``PGSERVICE`` would silently connect pg_dump to another server than our own connections.
    """
    kept = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "TZ")
    return {name: os.environ[name] for name in kept if name in os.environ} | {"LC_ALL": "C.UTF-8"}


def proxies() -> dict[str, str]:
    """Proxies of HTTP requests by variable (``HTTPS_PROXY`` and the like); botocore reads the same variables."""
    return {name: value for name, value in os.environ.items() if name.lower() in _PROXIES and value}


def ca_bundle() -> str | None:
    """File of ``AWS_CA_BUNDLE``: certificates (PEM) for stores without a CA of their own, and for a proxy over TLS."""
    return os.environ.get("AWS_CA_BUNDLE") or None


_PROXIES = ("http_proxy", "https_proxy", "all_proxy")


def pod_uid() -> str:
    """The uid of our pod, from ``OCORE_POD_UID`` (downward API); empty outside of one."""
    return os.environ.get("OCORE_POD_UID", "")


def request() -> str | None:
    """The request of the command as JSON, which a Job passes in variables (``ocore_crds.commands.request_transport``);
    None at a shell."""
    return request_transport.document(os.environ)
