"""Which keys of a JSON Web Key Set are used."""

import json
from typing import Any

import pytest

from ocore_api.auth.keys import MAX_JWKS_BYTES, MAX_KEYS, UnusableKeys, parse, secret
from support.api.issuer import private_key, public_jwk

EC = public_jwk(private_key("ES256"), "ec")


def document(*keys: Any) -> bytes:
    return json.dumps({"keys": keys}).encode()


@pytest.mark.parametrize(
    "body",
    [b"", b"x", b"[]", b"{}", b'{"keys": {}}', b"[" * 100_000, b" " * (MAX_JWKS_BYTES + 1),
     document(*[EC] * (MAX_KEYS + 1))]
)  # fmt: skip
def test_what_is_no_key_set(body: bytes) -> None:
    with pytest.raises(UnusableKeys):
        parse(body)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"use": "enc"}, "use"),
        ({"key_ops": ["sign"]}, "key_ops"),
        ({"key_ops": "verify"}, "key_ops"),
        ({"d": "AQ"}, "private"),
        ({"k": "AQ"}, "private"),
        ({"kid": 7}, "kid"),
        ({"kty": "oct"}, "not supported"),
        ({"crv": "secp256k1"}, "not supported"),
        ({"crv": ["P-256"]}, "not supported"),
        ({"alg": "HS256"}, "alg"),
        ({"alg": "none"}, "alg"),
        ({"alg": "RS256"}, "alg"),
        ({"alg": 7}, "alg"),
        ({"x": "!"}, "read"),
        ({"x": EC["y"]}, "read"),
        ({"x": None}, "read"),
    ],
)
def test_a_key_that_is_not_used(change: dict[str, Any], why: str) -> None:
    good = public_jwk(private_key("EdDSA"), "good")
    keys = parse(document({**EC, **change}, good))
    assert [k.kid for k in keys.keys] == ["good"]
    assert why in keys.ignored[0]


def test_a_shared_key_in_a_key_set_is_not_used() -> None:
    assert parse(document({"kty": "oct", "k": "AAAA", "alg": "HS256", "kid": "x"})).keys == ()


def test_an_empty_key_set_is_a_key_set() -> None:
    """An issuer that withdraws all keys is obeyed."""
    assert parse(document()).keys == ()


def test_how_a_key_is_found() -> None:
    keys = parse(
        document({**EC, "kid": "a"}, public_jwk(private_key("EdDSA"), "b"), public_jwk(private_key("RS256"), None))
    )
    a, b, nameless = keys.keys
    assert keys.find("a", "ES256") is a
    assert keys.find("b", "EdDSA") is b
    assert keys.find("a", "EdDSA") is None
    assert keys.find("unknown", "RS256") is nameless
    assert keys.find(None, "ES256") is a
    assert keys.find(None, "HS256") is None


def test_without_kid_the_key_must_be_the_only_one() -> None:
    keys = parse(document({**EC, "kid": "a"}, {**public_jwk(private_key("ES256", "other")), "kid": "b"}))
    assert keys.find(None, "ES256") is None


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 31 + b"\n", b"-----BEGIN PUBLIC KEY-----" + b"x" * 40])
def test_a_secret_that_is_refused(content: bytes) -> None:
    with pytest.raises(UnusableKeys):
        secret(content)
