"""Verifies tokens, and remembers the verified ones until they expire."""

import asyncio
import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import jwt
import structlog

from ocore_api.auth.claims import REALM, ClaimNames, invalid_token, principal
from ocore_api.auth.keys import Key, KeySet
from ocore_api.auth.principal import Principal
from ocore_api.auth.sources import Source, SourceError, of
from ocore_api.errors import Problem
from ocore_api.settings import Settings

#: Bytes of a token. Larger ones are refused unread.
MAX_TOKEN = 16_384
#: Claims that a token must have.
REQUIRED = ("exp", "iss", "aud", "sub")
#: Seconds of pause after keys could not be read, while none, or old ones, are in use.
RETRY = 10.0

_REFUSALS: dict[type[jwt.PyJWTError], str] = {
    jwt.ExpiredSignatureError: "it has expired. Request a new one",
    jwt.ImmatureSignatureError: "`nbf` or `iat` is in the future. Check the clocks of the issuer and of this server",
    jwt.InvalidAudienceError: "`aud` does not name this API",
    jwt.InvalidIssuerError: "`iss` is not the issuer that this API trusts",
    jwt.InvalidSignatureError: "its signature is wrong",
}

#: Verified tokens that are remembered until they expire.
CAPACITY = 10_000

_log = structlog.get_logger()


class Authenticator:
    """One issuer's tokens. `run` keeps the keys fresh; `authenticate` works without it, but then reads keys only once.

    `clock`: seconds since the epoch.
    """

    def __init__(
        self, settings: Settings, *, source: Source | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._source = of(settings) if source is None else source
        self._clock = clock
        self._issuer = settings.jwt_issuer
        self._audience = list(settings.jwt_audience)
        self._leeway = settings.jwt_leeway
        self._stale = settings.jwks_stale_seconds
        self._names = ClaimNames(
            projects=settings.claim_projects,
            environments=settings.claim_environments,
            scopes=settings.claim_scopes,
            scope_prefix=settings.scope_prefix,
            default_scopes=frozenset(settings.default_scopes),
        )
        self._keys: KeySet | None = None
        self._confirmed = -math.inf  # monotonic: when the source last said that the keys are these
        self._attempted = -math.inf  # monotonic: when the source was last asked
        self._error: str | None = None
        self._loading: asyncio.Task[None] | None = None
        self._verified: OrderedDict[bytes, Principal] = OrderedDict()

    @property
    def not_ready(self) -> str | None:
        """Why no token can be verified, or None."""
        if self._keys is not None:
            return None
        return f"no keys to verify tokens with: {self._error or 'not read yet'}"

    async def authenticate(self, authorization: str | None) -> Principal:
        """The caller that an Authorization header stands for. Raises Problem, also while the keys
        cannot be read."""
        token = _bearer(authorization)
        digest = hashlib.sha256(token).digest()
        known = self._verified.get(digest)
        if known is not None:
            if known.expires_at > self._clock():
                self._verified.move_to_end(digest)
                return known
            del self._verified[digest]
        keys = await self._current()
        algorithm, kid = _header(token)
        key = keys.find(kid, algorithm)
        if key is None and kid is not None and not keys.knows(kid):
            keys = await self._current(unknown_key=True)
            key = keys.find(kid, algorithm)
        if key is None:
            raise invalid_token("no key of the issuer fits its `kid` and `alg`")
        found = principal(self._claims(token, key), self._names, self._leeway)
        if found.expires_at <= self._clock():
            raise invalid_token(_REFUSALS[jwt.ExpiredSignatureError])
        if keys is self._keys:  # they may have changed since
            self._verified[digest] = found
            if len(self._verified) > CAPACITY:
                self._verified.popitem(last=False)
        return found

    async def run(self) -> None:
        """Keeps the keys fresh until it is cancelled."""
        while True:
            await self._load_once()
            self._drop_stale()
            await asyncio.sleep(self._source.interval if self._error is None else min(self._source.interval, RETRY))

    async def close(self) -> None:
        """Closes connections to the key server."""
        if self._loading is not None:
            self._loading.cancel()
        await self._source.close()

    def _claims(self, token: bytes, key: Key) -> dict[str, Any]:
        """The claims of a token whose signature, times, issuer and audience are right."""
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key.material,
                algorithms=list(key.algorithms),
                issuer=self._issuer,
                audience=self._audience,
                leeway=self._leeway,
                options={"require": list(REQUIRED)},
            )
        except jwt.MissingRequiredClaimError as error:
            raise invalid_token(f"the claim `{error.claim}` is missing") from None
        except jwt.PyJWTError as error:
            raise invalid_token(_REFUSALS.get(type(error), "it cannot be verified")) from None
        except (ValueError, TypeError, OverflowError, RecursionError):
            raise invalid_token("it cannot be read") from None
        return claims

    async def _current(self, *, unknown_key: bool = False) -> KeySet:
        """The keys. Asks the source where there are none, or where a token names a key that is unknown; at most once in
        its pause."""
        if self._keys is None or unknown_key:
            if self._loading is not None or time.monotonic() - self._attempted >= self._source.pause:
                await self._load_once()
            if self._keys is None or self._error is not None:
                raise Problem(
                    "KeysUnavailable",
                    "The keys of the issuer cannot be read, so the token cannot be verified. Try again later.",
                    headers={"Retry-After": str(max(1, math.ceil(self._source.pause)))},
                )
        return self._keys

    async def _load_once(self) -> None:
        """Asks the source; callers at the same time share one request."""
        if self._loading is None:
            self._loading = asyncio.create_task(self._load())
        await asyncio.shield(self._loading)

    async def _load(self) -> None:
        self._attempted = time.monotonic()
        try:
            keys = await self._source.load()
        except SourceError as error:
            self._error = str(error)
            _log.warning(
                "keys of the issuer cannot be read; retrying", error=self._error, in_use=self._keys is not None
            )
        else:
            self._error = None
            self._confirmed = time.monotonic()
            if keys is not None:
                self._keys = keys
                self._verified.clear()
                _log.info("keys of the issuer read", kids=[k.kid for k in keys.keys], ignored=list(keys.ignored))
        finally:
            self._loading = None

    def _drop_stale(self) -> None:
        """Forgets keys that the source has not confirmed for too long."""
        if self._keys is not None and time.monotonic() - self._confirmed > self._stale:
            self._keys = None
            self._verified.clear()
            _log.error("keys of the issuer dropped: the source has not answered for too long", seconds=self._stale)


def _header(token: bytes) -> tuple[str, str | None]:
    """`alg` and `kid` of a token's header. Not verified yet."""
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        raise invalid_token("it cannot be read") from None
    algorithm, kid = header.get("alg"), header.get("kid")
    if "crit" in header:
        raise invalid_token("its header demands extensions (`crit`) that this API does not know")
    if not isinstance(algorithm, str) or not (kid is None or isinstance(kid, str)):
        raise invalid_token("`alg` or `kid` is not a string")
    return algorithm, kid


def _bearer(authorization: str | None) -> bytes:
    """The token of an Authorization header."""
    if authorization is None:
        raise Problem(
            "TokenMissing",
            "The request has no token. Send the header `Authorization: Bearer <token>`.",
            headers={"WWW-Authenticate": f'Bearer realm="{REALM}"'},
        )
    scheme, _, token = authorization.partition(" ")
    token = token.strip(" ")
    if scheme.lower() != "bearer" or not token or " " in token or not token.isascii():
        raise invalid_token("the Authorization header must be `Bearer <token>`")
    if len(token) > MAX_TOKEN:
        raise invalid_token(f"it is longer than {MAX_TOKEN} bytes")
    return token.encode()
