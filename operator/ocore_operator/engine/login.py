"""kopf's connection, made from the client's own, so that there is one place that knows how to log in.

Python 3.13 checks certificates by the letter of RFC 5280 (VERIFY_X509_STRICT) and refuses the CAs of many a cluster that is a few years old: no key
usage, no authority key identifier. kubectl and everything else written in Go take them, and so do we; the chain is checked as ever.
"""

import ssl
from dataclasses import dataclass, fields
from typing import Any

import kopf


@dataclass(frozen=True, kw_only=True)
class Connection(kopf.ConnectionInfo):
    """A connection whose CA may be older than RFC 5280 likes."""

    def as_ssl_context(self) -> ssl.SSLContext:
        """The same checks but for the strictness."""
        context = super().as_ssl_context()
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return context


def in_cluster() -> Connection:
    """From the pod's service account. Raises kopf.LoginError where there is none."""
    found = kopf.login_with_service_account(settings=kopf.OperatorSettings())
    if found is None:
        raise kopf.LoginError("no service account token in this pod; outside a cluster set OCORE_KUBECONFIG")
    return Connection(**{f.name: getattr(found, f.name) for f in fields(found)})


def from_client(configuration: Any) -> Connection:
    """From a `kubernetes.aio.client.Configuration` that was read from a kubeconfig."""
    token = str(configuration.api_key.get("BearerToken") or "")
    return Connection(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
        insecure=not configuration.verify_ssl,
        token=token.partition(" ")[2] or token or None,
    )
