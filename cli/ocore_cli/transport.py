"""HTTP to one API server: TLS, credentials, proxies."""

import ipaddress
import os
import ssl
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

import urllib3
from urllib3 import HTTPHeaderDict, PoolManager, ProxyManager, Timeout
from urllib3.exceptions import HTTPError, InsecureRequestWarning, ProtocolError, ProxyError

from .credentials import Certificate, Credentials, basic, content, credentials
from .errors import CliError, Unreachable
from .kubeconfig import Target

#: Seconds to connect, at most.
_CONNECT = 5.0
Headers = tuple[tuple[str, str], ...]
_PORTS = {"http": 80, "https": 443}


class Transport:
    """One connection, which is kept."""

    def __init__(self, target: Target, seconds: float, *, interactive: bool) -> None:
        self._target = target
        self._interactive = interactive
        self._timeout = Timeout(connect=min(_CONNECT, seconds), read=seconds)
        server = target.cluster.get("server") or ""
        self._server = _url(server, "server of the cluster in the kubeconfig", secure=_secure(target))
        proxy = target.cluster.get("proxy-url") or _proxy_of_environment(self._server, os.environ)
        self._proxy = _url(proxy, "proxy-url") if proxy else None
        self._pool: PoolManager | None = None
        self._credentials: Credentials | None = None

    def request(self, method: str, path: str, headers: Headers, body: bytes | None) -> tuple[int, str, bytes]:
        """Status, reason and body of the answer. Credentials that were refused are renewed once. Raises CliError."""
        answer = self._once(method, path, headers, body)
        if answer[0] == 401 and self._credentials is not None and self._credentials.renewable:
            self._credentials = None
            answer = self._once(method, path, headers, body)
        return answer

    def _once(self, method: str, path: str, headers: Headers, body: bytes | None) -> tuple[int, str, bytes]:
        if self._credentials is None or self._credentials.expired or self._pool is None:
            # As kubectl: nothing secret goes to a server without TLS, and no plugin runs for it.
            safe = self._server.scheme == "https"
            found = credentials(self._target, interactive=self._interactive) if safe else Credentials(())
            self._credentials = found
            self._pool = self._connected(self._credentials.certificate)
        url = f"{self._server.scheme}://{_host(self._server)}{self._server.path.rstrip('/')}{path}"
        sent = HTTPHeaderDict()
        for name, value in (*headers, *self._credentials.headers):
            sent.add(name, value)
        try:
            try:
                answer = _answer(self._pool, method, url, sent, body)
            except ProtocolError:  # the other end closed the kept connection at the moment at which it was used
                if method != "GET":
                    raise
                answer = _answer(self._pool, method, url, sent, body)
        except HTTPError as error:
            who = "the API server does not answer"
            if isinstance(error, ProxyError) and self._proxy is not None:
                who = f"the proxy {_host(self._proxy)} does not connect"
            raise Unreachable(f"{who}: {_cause(error)}") from error
        except ValueError:  # its message has the value
            raise CliError("a token or a name in the kubeconfig has a sign that no header can have") from None
        return answer

    def _connected(self, certificate: Certificate | None) -> PoolManager:
        cluster = self._target.cluster
        kept: dict[str, Any] = {"num_pools": 1, "maxsize": 1, "timeout": self._timeout, "retries": False}
        if self._server.scheme == "https":
            kept["ssl_context"] = _context(cluster, certificate)
            kept["server_hostname"] = cluster.get("tls-server-name") or None
        if self._proxy is None:
            return PoolManager(**kept)
        return ProxyManager(
            f"{self._proxy.scheme}://{_host(self._proxy)}",
            proxy_headers=_authorization(self._proxy),
            proxy_ssl_context=_context(cluster, None) if self._proxy.scheme == "https" else None,
            **kept,
        )


def _answer(
    pool: PoolManager, method: str, url: str, headers: HTTPHeaderDict, body: bytes | None
) -> tuple[int, str, bytes]:
    answer = pool.request(method, url, headers=headers, body=body, redirect=False)
    return answer.status, answer.reason or "", answer.data


def _cause(error: BaseException) -> BaseException:
    """What the library reports, without the objects that it names."""
    found = getattr(error, "original_error", None) or error.__cause__ or error.__context__
    return _cause(found) if isinstance(error, HTTPError) and found is not None else error


def _context(cluster: Mapping[str, Any], certificate: Certificate | None) -> ssl.SSLContext:
    """As kubectl checks: a certificate of the kubeconfig is trusted even if it is no root. Raises CliError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        if _insecure(cluster):
            urllib3.disable_warnings(InsecureRequestWarning)  # as kubectl: it was asked for
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif (ca := content(dict(cluster), "certificate-authority")) is not None:
            context.load_verify_locations(cadata=ca.decode("ascii"))
        else:
            context.load_default_certs()
        if certificate is not None:
            with tempfile.NamedTemporaryFile() as file:  # which only this user may read; ssl takes no bytes
                file.write(certificate.chain.rstrip() + b"\n" + certificate.key)
                file.flush()
                context.load_cert_chain(file.name)
    except (OSError, ValueError) as error:  # no temporary folder, too
        raise CliError(f"a certificate of the kubeconfig cannot be used: {error}") from error
    return context


def _insecure(cluster: Mapping[str, Any]) -> bool:
    """Whether the certificate of the server is not checked. Raises CliError where the kubeconfig does not say so
    clearly."""
    found = cluster.get("insecure-skip-tls-verify") or False
    if not isinstance(found, bool):
        raise CliError(f"insecure-skip-tls-verify of the kubeconfig is {found!r}. Write true or false, without quotes")
    if found and _has(cluster, "certificate-authority"):
        raise CliError("the kubeconfig has a certificate-authority and insecure-skip-tls-verify: remove one of them")
    return found


def _secure(target: Target) -> bool:
    """Whether a server without a scheme has TLS: as kubectl guesses it from the other fields."""
    cluster = target.cluster
    return _insecure(cluster) or _has(cluster, "certificate-authority") or _has(target.user, "client-certificate")


def _has(fields: Mapping[str, Any], name: str) -> bool:
    return bool(fields.get(name) or fields.get(f"{name}-data"))


def _url(text: str, what: str, *, secure: bool = False) -> SplitResult:
    """`secure`: without a scheme it is https."""
    try:
        found = urlsplit(text if "://" in text else f"{'https' if secure else 'http'}://{text}")
        if found.scheme in _PORTS and found.hostname and found.port != 0:
            return found
    except ValueError:
        pass
    raise CliError(f"{what} is {_without_password(text)!r}. Write http://HOST:PORT or https://HOST:PORT")


def _without_password(text: str) -> str:
    return text.rpartition("@")[2]


def _host(url: SplitResult) -> str:
    """With its port, without user and password."""
    return url.netloc.rpartition("@")[2]


def _authorization(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    return {"Proxy-Authorization": basic(unquote(proxy.username), unquote(proxy.password or ""))}


def _proxy_of_environment(server: SplitResult, environment: Mapping[str, str]) -> str:
    """The proxy in HTTPS_PROXY or HTTP_PROXY, as kubectl takes it; empty where NO_PROXY has the host, and for this
    machine."""
    name = f"{server.scheme}_proxy"
    proxy = environment.get(name) or environment.get(name.upper()) or ""
    host = (server.hostname or "").lower()
    no = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    return (
        "" if not proxy or host == "localhost" or _excluded(host, server.port or _PORTS[server.scheme], no) else proxy
    )


def _excluded(host: str, port: int, no: str) -> bool:
    """Whether a list of names, domains, addresses and networks, also with a port, has the host, or it is this
    machine."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    if address is not None and address.is_loopback:
        return True
    for part in filter(None, (part.strip().lower() for part in no.split(","))):
        each = part
        if each.endswith(f":{port}") and (each.count(":") == 1 or each.startswith("[")):
            each = each.rpartition(":")[0].strip("[]")
        domain = each.removeprefix("*").removeprefix(".")
        if not domain or host == domain or host.endswith(f".{domain}"):
            return True
        with suppress(ValueError):
            if address is not None and address in ipaddress.ip_network(each, strict=False):
                return True
    return False
