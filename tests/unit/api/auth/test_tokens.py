"""Which tokens are accepted. Real keys and real signatures."""

import asyncio
import base64
import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from ocore_api.auth import Authenticator, Principal
from ocore_api.errors import Problem
from ocore_api.settings import Settings
from support.api.issuer import AUDIENCE, ISSUER, Issuer, private_key, public_jwk


def settings(**values: Any) -> Settings:
    return Settings(**{"jwt_issuer": ISSUER, "jwt_audience": AUDIENCE, **values})


def authenticate(token: str | None, **values: Any) -> Principal:
    async def work() -> Principal:
        return await Authenticator(settings(**values)).authenticate(None if token is None else f"Bearer {token}")

    return asyncio.run(work())


def refused(token: str | None, **values: Any) -> str:
    """Why a token is refused."""
    with pytest.raises(Problem, match=r"InvalidToken|TokenMissing") as caught:
        authenticate(token, **values)
    assert caught.value.headers["WWW-Authenticate"].startswith('Bearer realm="ocore"')
    return caught.value.detail


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture
def jwks(issuer: Issuer, tmp_path: Path) -> Path:
    return issuer.write_jwks(tmp_path)


def unsigned(header: dict[str, Any], claims: dict[str, Any], signature: bytes = b"") -> str:
    parts = (json.dumps(header).encode(), json.dumps(claims).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(p).rstrip(b"=").decode() for p in parts)


def signed(header: dict[str, Any], claims: dict[str, Any], issuer: Issuer) -> str:
    """A token of ES256 with any header."""
    signing_input = unsigned(header, claims).rsplit(".", 1)[0]
    signer = jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA256)
    signature = signer.sign(signing_input.encode(), issuer.private)
    return f"{signing_input}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def claims_of(token: str) -> dict[str, Any]:
    found: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return found


@pytest.mark.parametrize("algorithm", ["RS256", "RS512", "PS256", "ES256", "ES384", "ES512", "EdDSA"])
def test_a_token_of_each_algorithm_is_accepted(algorithm: str, tmp_path: Path) -> None:
    issuer = Issuer(algorithm, kid=algorithm)
    token = issuer.token("alice", projects=("P1",), environments=("E1",), scope="read openid")
    found = authenticate(token, jwks_file=issuer.write_jwks(tmp_path), jwt_leeway=7)
    assert found == Principal(
        subject="alice",
        projects=frozenset({"p1"}),
        environments=frozenset({"e1"}),
        scopes=frozenset({"read"}),
        expires_at=claims_of(token)["exp"] + 7,
    )


def test_a_token_without_a_signature_is_refused(issuer: Issuer, jwks: Path) -> None:
    claims = claims_of(issuer.token())
    for algorithm in ("none", "None", "NONE", "nOnE"):
        assert "fits" in refused(unsigned({"alg": algorithm, "kid": "first"}, claims), jwks_file=jwks)
        assert "fits" in refused(unsigned({"alg": algorithm}, claims), jwks_file=jwks)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_hs256_with_the_public_key_is_refused(algorithm: str, tmp_path: Path) -> None:
    """The public key is known to everyone: as the secret of HS256 it would let everyone issue tokens."""
    issuer = Issuer(algorithm, kid="first")
    path = issuer.write_jwks(tmp_path)
    public = issuer.private.public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    claims = claims_of(issuer.token())
    for secret in (pem, pem.rstrip(), der, path.read_bytes()):
        signer = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
        for header in ({"alg": "HS256", "kid": "first"}, {"alg": "HS256"}):
            signing_input = unsigned(header, claims).rsplit(".", 1)[0]
            signature = base64.urlsafe_b64encode(signer.sign(signing_input.encode(), secret)).rstrip(b"=").decode()
            assert "fits" in refused(f"{signing_input}.{signature}", jwks_file=path)


def test_the_key_decides_the_algorithm(tmp_path: Path) -> None:
    """A key that states `alg: PS256` is not used for RS256, though its type would fit."""
    issuer = Issuer("RS256")
    path = tmp_path / "jwks.json"
    path.write_bytes(issuer.jwks(alg="PS256"))
    assert "fits" in refused(issuer.token(), jwks_file=path)
    path.write_bytes(issuer.jwks(alg="RS256"))
    assert authenticate(issuer.token(), jwks_file=path).subject == "alice"


def test_a_key_in_the_token_is_never_used(issuer: Issuer, jwks: Path) -> None:
    other = private_key("ES256", "of someone else")
    claims = claims_of(issuer.token())
    for header in (
        {"jwk": public_jwk(other), "kid": "first"},
        {"jwk": public_jwk(other)},
        {"jku": "https://attacker.example.org/jwks.json", "kid": "first"},
        {"x5u": "https://attacker.example.org/cert.pem", "kid": "first"},
    ):
        assert "signature" in refused(jwt.encode(claims, other, algorithm="ES256", headers=header), jwks_file=jwks)


def test_a_changed_token_is_refused(issuer: Issuer, jwks: Path) -> None:
    head, _, signature = issuer.token(projects=("p1",)).split(".")
    body = issuer.token(projects=("p2",)).split(".")[1]
    assert "signature" in refused(f"{head}.{body}.{signature}", jwks_file=jwks)


@pytest.mark.parametrize("claim", ["exp", "iss", "aud", "sub"])
def test_a_required_claim_is_missing(claim: str, issuer: Issuer, jwks: Path) -> None:
    assert f"`{claim}` is missing" in refused(issuer.token(without=(claim,)), jwks_file=jwks)


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"iss": "https://other.example.org"}, "iss"),
        ({"iss": ISSUER + "/"}, "iss"),
        ({"iss": [ISSUER]}, "iss"),
        ({"iss": None}, "iss"),
        ({"aud": "other"}, "aud"),
        ({"aud": ["other", "another"]}, "aud"),
        ({"aud": []}, "aud"),
        ({"aud": [1]}, "aud"),
        ({"aud": AUDIENCE + "x"}, "aud"),
        ({"sub": 7}, ""),
        ({"sub": None}, ""),
        ({"sub": ""}, "sub"),
        ({"sub": "a\nb"}, "sub"),
        ({"sub": "a" * 256}, "sub"),
        ({"exp": "tomorrow"}, ""),
        ({"exp": True}, ""),
        ({"exp": None}, "exp"),
        ({"exp": float("inf")}, ""),
        ({"exp": float("nan")}, ""),
        ({"exp": -1}, "expired"),
        ({"nbf": "tomorrow"}, ""),
        ({"iat": "tomorrow"}, ""),
        ({"projects": 7}, "projects"),
        ({"projects": {"a": 1}}, "projects"),
        ({"environments": [7]}, "environments"),
        ({"scope": {"read": True}}, "scope"),
    ],
)
def test_a_claim_is_wrong(claims: dict[str, Any], why: str, issuer: Issuer, jwks: Path) -> None:
    assert why in refused(issuer.token(**claims), jwks_file=jwks)


def test_several_audiences(issuer: Issuer, jwks: Path) -> None:
    assert authenticate(issuer.token(aud=["other", AUDIENCE]), jwks_file=jwks).subject == "alice"
    assert authenticate(issuer.token(aud="two"), jwks_file=jwks, jwt_audience="one, two").subject == "alice"


@pytest.mark.parametrize(
    ("shift", "accepted"),
    [
        ({"exp": -20}, True),
        ({"exp": -40}, False),
        ({"nbf": 20}, True),
        ({"nbf": 40}, False),
        ({"iat": 20}, True),
        ({"iat": 40}, False),
    ],
)
def test_clocks_that_differ_by_less_than_the_leeway(
    shift: dict[str, float], accepted: bool, issuer: Issuer, jwks: Path
) -> None:
    token = issuer.token(**{k: time.time() + v for k, v in shift.items()})
    if accepted:
        assert authenticate(token, jwks_file=jwks, jwt_leeway=30).subject == "alice"
    else:
        refused(token, jwks_file=jwks, jwt_leeway=30)


@pytest.mark.parametrize("crit", [["exp"], ["b64"], [], "b64", None])
def test_extensions_that_the_token_demands_are_refused(crit: Any, issuer: Issuer, jwks: Path) -> None:
    header = {"alg": "ES256", "kid": "first", "b64": True}
    accepted = signed(header, claims_of(issuer.token()), issuer)
    assert authenticate(accepted, jwks_file=jwks).subject == "alice"
    refused(signed({**header, "crit": crit}, claims_of(issuer.token()), issuer), jwks_file=jwks)


@pytest.mark.parametrize(
    "token",
    ["", "x", "a.b.c", "....", "\x00.\x00.\x00", "é.é.é", "a b", "e30.e30.e30", "bnVsbA.bnVsbA.bnVsbA", "W10.W10.W10"],
)
def test_what_is_no_token_is_refused(token: str, jwks: Path) -> None:
    assert "not valid" in refused(token, jwks_file=jwks)


@pytest.mark.parametrize("header", [{"alg": 7}, {"alg": None}, {}, {"alg": ["ES256"]}, {"alg": "ES256", "kid": 7}, []])
def test_a_header_that_is_wrong_is_refused(header: Any, jwks: Path) -> None:
    assert "not valid" in refused(unsigned(header, {}), jwks_file=jwks)


def test_a_deep_header_is_refused(jwks: Path) -> None:
    deep = base64.urlsafe_b64encode(b"[" * 9000).rstrip(b"=").decode()
    assert "not valid" in refused(f"{deep}.e30.e30", jwks_file=jwks)


def test_a_token_that_is_too_long_is_refused_unread(issuer: Issuer, jwks: Path) -> None:
    assert "longer" in refused(issuer.token(padding="x" * 16_384), jwks_file=jwks)


@pytest.mark.parametrize(
    "header", ["Basic YTpi", "Bearer", "Bearer ", "bearer", "Token x", "Bearer a b", "x" * 10, "Bearer  "]
)
def test_an_authorization_header_without_a_token(header: str, jwks: Path) -> None:
    async def work() -> None:
        await Authenticator(settings(jwks_file=jwks)).authenticate(header)

    with pytest.raises(Problem, match=r"InvalidToken|TokenMissing"):
        asyncio.run(work())


def test_the_scheme_is_read_in_any_case(issuer: Issuer, jwks: Path) -> None:
    async def work() -> Principal:
        return await Authenticator(settings(jwks_file=jwks)).authenticate(f"bEARER {issuer.token()}")

    assert asyncio.run(work()).subject == "alice"


def test_no_refusal_repeats_the_token(issuer: Issuer, jwks: Path) -> None:
    token = issuer.token("secret-subject", aud="secret-audience")
    assert "secret" not in refused(token, jwks_file=jwks)
    assert "secret" not in refused("secret.secret.secret", jwks_file=jwks)


# --- claims -------------------------------------------------------------------------------------------------


def test_scopes_as_a_string_and_as_a_list(issuer: Issuer, jwks: Path) -> None:
    for scope in ("read  snapshot", ["read", "snapshot"]):
        assert authenticate(issuer.token(scope=scope), jwks_file=jwks).scopes == {"read", "snapshot"}


def test_no_scope_implies_another(issuer: Issuer, jwks: Path) -> None:
    assert authenticate(issuer.token(scope="admin"), jwks_file=jwks).scopes == {"admin"}


def test_default_scopes_are_for_tokens_without_the_claim(issuer: Issuer, jwks: Path) -> None:
    how: dict[str, Any] = {"jwks_file": jwks, "default_scopes": "read,snapshot"}
    assert authenticate(issuer.token(without=("scope",)), **how).scopes == {"read", "snapshot"}
    assert authenticate(issuer.token(scope=""), **how).scopes == frozenset()
    assert authenticate(issuer.token(without=("scope",)), jwks_file=jwks).scopes == frozenset()


def test_scopes_with_a_prefix(issuer: Issuer, jwks: Path) -> None:
    token = issuer.token(scope="ocore:read snapshot other:admin")
    assert authenticate(token, jwks_file=jwks, scope_prefix="ocore:").scopes == {"read"}


def test_claims_by_name_and_by_path(issuer: Issuer, jwks: Path) -> None:
    token = issuer.token(
        **{"https://example.org/projects": ["p1"]},
        ocore={"environments": "e1 e2"},
        realm_access={"roles": ["rollback"]},
    )
    found = authenticate(
        token,
        jwks_file=jwks,
        claim_projects="https://example.org/projects",
        claim_environments="ocore.environments",
        claim_scopes="realm_access.roles",
    )
    assert (found.projects, found.environments, found.scopes) == ({"p1"}, {"e1", "e2"}, {"rollback"})


def test_a_token_without_claims_sees_nothing(issuer: Issuer, jwks: Path) -> None:
    found = authenticate(issuer.token(without=("projects", "environments")), jwks_file=jwks)
    assert not found.may_see("p1", "e1")
    assert not found.may_see("", "")


def test_what_a_principal_may_see() -> None:
    found = Principal("alice", frozenset({"p1", ""}), frozenset({"e2", ""}), frozenset(), 0)
    assert found.may_see("p1", "e1")
    assert found.may_see("p2", "e2")
    assert not found.may_see("p2", "e1")
    assert not found.may_see("", "e1")
    assert not found.may_see("p2", "")


# --- a shared secret ----------------------------------------------------------------------------------------

SECRET = b"0123456789abcdef0123456789abcdef"


def hs256(secret: bytes = SECRET, algorithm: str = "HS256") -> str:
    return jwt.encode(claims_of(Issuer().token()), secret, algorithm=algorithm, headers={"kid": "any"})


def test_a_shared_secret_is_used_where_it_is_set(tmp_path: Path, issuer: Issuer) -> None:
    path = tmp_path / "secret"
    path.write_bytes(SECRET + b"\n")
    assert authenticate(hs256(), jwt_secret_file=path).subject == "alice"
    assert "signature" in refused(hs256(b"x" * 32), jwt_secret_file=path)
    assert "fits" in refused(hs256(b"x" * 64, "HS512"), jwt_secret_file=path)
    assert "fits" in refused(issuer.token(), jwt_secret_file=path)


def test_hs256_is_refused_without_a_shared_secret(jwks: Path) -> None:
    refused(hs256(), jwks_file=jwks)


# --- settings -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"jwks_url": "https://a.example.org/k", "jwks_file": "/k"},
        {"jwks_url": "http://a.example.org/k"},
        {"jwks_url": "file:///k"},
        {"jwks_url": "ftp://a.example.org/k", "jwks_allow_http": True},
        {"jwks_file": "/k", "jwt_issuer": ""},
        {"jwks_file": "/k", "jwt_audience": ""},
        {"jwks_file": "/k", "default_scopes": "root"},
        {"jwks_file": "/k", "cors_origins": "*"},
    ],
)
def test_settings_that_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"OCORE_API|jwt_|scope|origin"):
        settings(**values)


def test_an_rsa_key_that_is_short_is_not_used(tmp_path: Path) -> None:
    short = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - what is tested
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps({"keys": [public_jwk(short, "first")]}))
    token = jwt.encode(claims_of(Issuer().token()), short, algorithm="RS256", headers={"kid": "first"})
    refused(token, jwks_file=path)
