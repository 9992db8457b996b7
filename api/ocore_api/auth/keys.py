"""Keys that verify tokens. Pure. The key decides which algorithms it is used with, never the token."""

import json
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

#: Algorithms of each type and curve of public keys. No key of a JSON Web Key Set is ever used with HS256.
ALGORITHMS: dict[tuple[str | None, str | None], tuple[str, ...]] = {
    ("RSA", None): ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
    ("OKP", "Ed448"): ("EdDSA",),
}
#: Parameters of JSON Web Keys that only private keys have.
PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
MAX_JWKS_BYTES = 262_144
MAX_KEYS = 100
MIN_RSA_BITS = 2048
MIN_SECRET_BYTES = 32


class UnusableKeys(ValueError):
    """A JSON Web Key Set, one of its keys, or a secret cannot be used. The message says why."""


@dataclass(frozen=True, eq=False)
class Key:
    """One key and the algorithms that it is used with."""

    kid: str | None
    algorithms: tuple[str, ...]
    material: Any


@dataclass(frozen=True, eq=False)
class KeySet:
    """The keys of one moment. `ignored`: why other keys of the same document are not used."""

    keys: tuple[Key, ...]
    ignored: tuple[str, ...] = ()

    def find(self, kid: str | None, algorithm: str) -> Key | None:
        """The key that a token's header names. A key without a name fits every `kid`. A token without `kid` fits the
        only key for its algorithm."""
        fit = [k for k in self.keys if algorithm in k.algorithms]
        if kid is None:
            return fit[0] if len(fit) == 1 else None
        return next((k for k in fit if k.kid == kid), None) or next((k for k in fit if k.kid is None), None)

    def knows(self, kid: str) -> bool:
        """Whether a key of this name, or one without a name, exists."""
        return any(k.kid is None or k.kid == kid for k in self.keys)


def parse(document: bytes) -> KeySet:
    """The keys of a JSON Web Key Set that can be used; perhaps none. Raises UnusableKeys where the document is no key
    set, or too large."""
    if len(document) > MAX_JWKS_BYTES:
        raise UnusableKeys(f"the JSON Web Key Set is larger than {MAX_JWKS_BYTES} bytes")
    try:
        data = json.loads(document)
    except (ValueError, RecursionError):
        raise UnusableKeys("the JSON Web Key Set is not JSON") from None
    entries = data.get("keys") if isinstance(data, dict) else None
    if not isinstance(entries, list):
        raise UnusableKeys("the JSON Web Key Set has no list `keys`")
    if len(entries) > MAX_KEYS:
        raise UnusableKeys(f"the JSON Web Key Set has more than {MAX_KEYS} keys")
    keys, ignored = [], []
    for number, entry in enumerate(entries):
        try:
            keys.append(_key(entry))
        except UnusableKeys as error:
            ignored.append(f"key {number}: {error}")
    return KeySet(tuple(keys), tuple(ignored))


def secret(content: bytes) -> KeySet:
    """The key of a shared secret, for HS256 only. A line end after it is no part of it. Raises UnusableKeys where it is
    a key file, or too short."""
    material = content.rstrip(b"\r\n")
    if material.startswith(b"-----BEGIN"):
        raise UnusableKeys("it is a PEM file, not a shared secret. For public keys, use a JSON Web Key Set")
    if len(material) < MIN_SECRET_BYTES:
        raise UnusableKeys(f"the shared secret has {len(material)} bytes; HS256 needs at least {MIN_SECRET_BYTES}")
    return KeySet((Key(None, ("HS256",), material),))


def _key(entry: Any) -> Key:
    if not isinstance(entry, dict):
        raise UnusableKeys("not an object")
    if entry.get("use") not in (None, "sig"):
        raise UnusableKeys("`use` is not `sig`")
    operations = entry.get("key_ops")
    if operations is not None and (not isinstance(operations, list) or "verify" not in operations):
        raise UnusableKeys("`key_ops` has no `verify`")
    if PRIVATE & entry.keys():
        raise UnusableKeys("it is a private or shared key. Replace the key at the issuer, and publish public keys only")
    kid = entry.get("kid")
    if not (kid is None or isinstance(kid, str)):
        raise UnusableKeys("`kid` is not a string")
    allowed = ALGORITHMS.get((_text(entry.get("kty")), _text(entry.get("crv"))))
    if allowed is None:
        raise UnusableKeys("its type or curve is not supported")
    if (stated := entry.get("alg")) is not None:
        allowed = tuple(a for a in allowed if a == stated)
        if not allowed:
            raise UnusableKeys("its `alg` does not fit its type, or is not supported")
    try:
        material = jwt.PyJWK(entry, algorithm=allowed[0]).key
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise UnusableKeys(f"it cannot be read: {error}") from None
    if isinstance(material, RSAPublicKey) and material.key_size < MIN_RSA_BITS:
        raise UnusableKeys(f"an RSA key of {material.key_size} bits is too short; at least {MIN_RSA_BITS}")
    return Key(kid, allowed, material)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
