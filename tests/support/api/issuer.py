"""An issuer of tokens: real keys, real signatures, and a real HTTP key server."""

import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

ISSUER = "https://issuer.example.org"
AUDIENCE = "ocore-snapshots"
ALL_SCOPES = "read snapshot rollback admin"
_CURVES = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}


@cache
def private_key(algorithm: str, name: str = "") -> Any:
    """The private key of an algorithm and a name; the same one in a whole test run, because RSA keys take long to
    make."""
    if algorithm in _CURVES:
        return ec.generate_private_key(_CURVES[algorithm]())
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def public_jwk(private: Any, kid: str | None = None, **members: Any) -> dict[str, Any]:
    """The public JSON Web Key of a private key."""
    public = private.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        jwk = jwt.algorithms.RSAAlgorithm.to_jwk(public, as_dict=True)
    elif isinstance(public, ec.EllipticCurvePublicKey):
        jwk = jwt.algorithms.ECAlgorithm.to_jwk(public, as_dict=True)
    else:
        jwk = jwt.algorithms.OKPAlgorithm.to_jwk(public, as_dict=True)
    jwk.pop("key_ops", None)
    return {**jwk, **({} if kid is None else {"kid": kid}), **members}


class Issuer:
    """Signs tokens with one key, and publishes it."""

    def __init__(self, algorithm: str = "ES256", kid: str = "first") -> None:
        self.algorithm = algorithm
        self.kid = kid
        self.private = private_key(algorithm, kid)

    def jwks(self, **members: Any) -> bytes:
        """The JSON Web Key Set with the public key. `members` are added to the key."""
        return json.dumps({"keys": [public_jwk(self.private, self.kid, **members)]}).encode()

    def write_jwks(self, folder: Path) -> Path:
        """A file with the JSON Web Key Set."""
        path = folder / "jwks.json"
        path.write_bytes(self.jwks())
        return path

    def token(
        self,
        subject: str | None = "alice",
        *,
        projects: Any = (),
        environments: Any = (),
        scope: Any = ALL_SCOPES,
        lifetime: float = 3600,
        headers: dict[str, Any] | None = None,
        without: tuple[str, ...] = (),
        **claims: Any,
    ) -> str:
        """A token. `without`: claims, or `kid`, that it lacks; `claims` replace or add claims."""
        now = time.time()
        payload = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": subject,
            "iat": int(now),
            "exp": now + lifetime,
            "projects": list(projects) if isinstance(projects, tuple | set | frozenset) else projects,
            "environments": list(environments) if isinstance(environments, tuple | set | frozenset) else environments,
            "scope": scope,
            **claims,
        }
        header = {"kid": self.kid, **(headers or {})}
        payload = {k: v for k, v in payload.items() if k not in without}
        header = {k: v for k, v in header.items() if k not in without}
        # Not `jwt.encode`: it refuses to sign claims that a test needs to be wrong.
        return jwt.api_jws.encode(json.dumps(payload).encode(), self.private, self.algorithm, header)

    def bearer(self, subject: str = "alice", **how: Any) -> dict[str, str]:
        """The headers of a request with a token."""
        return {"Authorization": f"Bearer {self.token(subject, **how)}"}


def self_signed(folder: Path) -> Path:
    """A file with a key and a certificate of 127.0.0.1 that it has signed itself."""
    key = private_key("ES256", "tls")
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "key server of a test")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=1))
    builder = builder.add_extension(
        x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    certificate = builder.sign(key, hashes.SHA256())
    path = folder / "tls.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path


class KeyServer:
    """What a running key server answers with, and how often it was asked."""

    def __init__(self) -> None:
        self.url = ""
        self.body = b""
        self.status = 200
        self.location: str | None = None
        self.delay = 0.0
        self.requests = 0


@contextmanager
def key_server(body: bytes = b"", certificate: Path | None = None) -> Iterator[KeyServer]:
    """A key server on loopback. `certificate`: a file of `self_signed`; then it speaks TLS."""
    state = KeyServer()
    state.body = body

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.requests += 1
            time.sleep(state.delay)
            self.send_response(state.status)
            if state.location is not None:
                self.send_header("Location", state.location)
            self.send_header("Content-Length", str(len(state.body)))
            self.end_headers()
            with suppress(ConnectionError):  # a test of a deadline has gone
                self.wfile.write(state.body)

        def log_message(self, *_: Any) -> None:
            """Tests need no access log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    state.url = f"http{'s' if certificate else ''}://127.0.0.1:{server.server_address[1]}/jwks.json"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
