"""kopf's connection, made from the client's own, so that both log in the same way.

Python 3.13 checks certificates strictly by RFC 5280 (VERIFY_X509_STRICT). It refuses the CAs of many older clusters,
which have no key usage or no authority key identifier. kubectl and other programs in Go accept them, so the operator
does as well; the chain itself is still checked.
"""

import ssl
from dataclasses import dataclass, fields
from typing import Any

import kopf


@dataclass(frozen=True, kw_only=True)
class Connection(kopf.ConnectionInfo):
    """A connection whose CA need not meet all of RFC 5280."""

    def as_ssl_context(self) -> ssl.SSLContext:
        """The default checks without VERIFY_X509_STRICT."""
        context = super().as_ssl_context()
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return context


def in_cluster() -> Connection:
    """From the pod's service account. Raises kopf.LoginError where the pod has none."""
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
