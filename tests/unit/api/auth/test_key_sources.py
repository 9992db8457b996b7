"""Keys that change, and key servers that fail. A real HTTP key server, real files, real TLS."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ocore_api.auth import Authenticator, authenticator, sources
from ocore_api.auth.keys import MAX_JWKS_BYTES
from ocore_api.errors import Problem
from ocore_api.settings import Settings
from support.api.issuer import AUDIENCE, ISSUER, Issuer, KeyServer, key_server, self_signed

OLD, NEW = Issuer(kid="old"), Issuer(kid="new")


@pytest.fixture
def served_keys() -> Iterator[KeyServer]:
    with key_server(OLD.jwks()) as served_keys:
        yield served_keys


def with_authenticator(work: Callable[[Authenticator], Awaitable[None]], **values: Any) -> None:
    settings = Settings(**{"jwt_issuer": ISSUER, "jwt_audience": AUDIENCE, "jwks_allow_http": True, **values})

    async def run() -> None:
        authenticator = Authenticator(settings)
        try:
            await work(authenticator)
        finally:
            await authenticator.close()

    asyncio.run(run())


async def outcome(authenticator: Authenticator, token: str) -> int:
    """200, or the status of the refusal."""
    try:
        await authenticator.authenticate(f"Bearer {token}")
    except Problem as problem:
        return problem.status
    return 200


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < end, "the condition did not become true"
        await asyncio.sleep(0.02)


def test_keys_are_fetched_once(served_keys: KeyServer) -> None:
    async def work(a: Authenticator) -> None:
        found = await asyncio.gather(*(outcome(a, OLD.token(f"s{n}")) for n in range(20)))
        assert found == [200] * 20
        assert served_keys.requests == 1

    served_keys.delay = 0.1
    with_authenticator(work, jwks_url=served_keys.url)


def test_an_unknown_kid_causes_one_fetch(served_keys: KeyServer) -> None:
    async def work(a: Authenticator) -> None:
        assert await outcome(a, OLD.token()) == 200
        served_keys.body = NEW.jwks()
        await until(lambda: _is(a, NEW.token(), 200))
        assert served_keys.requests == 2
        assert await outcome(a, OLD.token("another")) == 401

    with_authenticator(work, jwks_url=served_keys.url, jwks_refetch_seconds=0.2)


async def _is(a: Authenticator, token: str, status: int) -> bool:
    return await outcome(a, token) == status


def test_unknown_kids_do_not_flood_the_key_server(served_keys: KeyServer) -> None:
    async def work(a: Authenticator) -> None:
        assert await outcome(a, OLD.token()) == 200
        for n in range(50):
            assert await outcome(a, Issuer(kid=f"unknown-{n % 3}").token()) == 401
        assert served_keys.requests == 1

    with_authenticator(work, jwks_url=served_keys.url, jwks_refetch_seconds=60)


def test_a_known_kid_with_a_wrong_signature_causes_no_fetch(served_keys: KeyServer) -> None:
    async def work(a: Authenticator) -> None:
        assert await outcome(a, OLD.token()) == 200
        assert await outcome(a, NEW.token(headers={"kid": "old"})) == 401
        assert served_keys.requests == 1

    with_authenticator(work, jwks_url=served_keys.url, jwks_refetch_seconds=0.001)


def test_a_key_server_that_is_down(served_keys: KeyServer) -> None:
    async def work(a: Authenticator) -> None:
        served_keys.status = 500
        with pytest.raises(Problem, match="KeysUnavailable") as caught:
            await a.authenticate(f"Bearer {OLD.token()}")
        assert int(caught.value.headers["Retry-After"]) >= 1
        assert a.not_ready is not None
        assert "500" in a.not_ready
        served_keys.status = 200
        await until(lambda: _is(a, OLD.token(), 200))
        assert a.not_ready is None
        served_keys.status = 500
        assert await outcome(a, OLD.token("another")) == 200  # the key is known
        await until(lambda: _is(a, NEW.token(), 503))  # the key is not known, and cannot be
        assert await outcome(a, OLD.token("a third")) == 200
        assert a.not_ready is None

    with_authenticator(work, jwks_url=served_keys.url, jwks_refetch_seconds=0.1)


def test_a_key_server_that_does_not_answer(served_keys: KeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "TIMEOUT", 2.0)

    async def work(a: Authenticator) -> None:
        served_keys.delay = 60
        start = time.monotonic()
        beats = asyncio.create_task(_beats())
        assert await outcome(a, OLD.token()) == 503
        assert time.monotonic() - start < 50
        beats.cancel()
        assert len(BEATS) > 3  # the event loop was free

    BEATS.clear()
    with_authenticator(work, jwks_url=served_keys.url)


BEATS: list[float] = []


async def _beats() -> None:
    while True:
        BEATS.append(time.monotonic())
        await asyncio.sleep(0.02)


def test_redirects_are_not_followed(served_keys: KeyServer) -> None:
    async def work(a: Authenticator) -> None:
        with key_server(OLD.jwks()) as other:
            served_keys.status, served_keys.location = 302, other.url
            assert await outcome(a, OLD.token()) == 503
            assert other.requests == 0

    with_authenticator(work, jwks_url=served_keys.url)


@pytest.mark.parametrize("body", [b"", b"<html>", b"x" * (MAX_JWKS_BYTES + 1)])
def test_an_answer_that_is_no_key_set(body: bytes, served_keys: KeyServer) -> None:
    async def work(a: Authenticator) -> None:
        served_keys.body = body
        assert await outcome(a, OLD.token()) == 503

    with_authenticator(work, jwks_url=served_keys.url)


def test_a_bad_answer_does_not_remove_the_keys(served_keys: KeyServer) -> None:
    async def work(a: Authenticator) -> None:
        task = asyncio.create_task(a.run())
        await until(lambda: _is(a, OLD.token(), 200))
        served_keys.body = b"<html>maintenance</html>"
        before = served_keys.requests
        await until(lambda: _more(served_keys, before + 2))
        assert await outcome(a, OLD.token("another")) == 200
        task.cancel()

    with_authenticator(work, jwks_url=served_keys.url, jwks_max_age=0.05)


async def _more(served_keys: KeyServer, than: int) -> bool:
    return served_keys.requests > than


def test_keys_are_fetched_again_by_age_and_verified_tokens_forgotten(served_keys: KeyServer) -> None:
    async def work(a: Authenticator) -> None:
        task = asyncio.create_task(a.run())
        token = OLD.token()
        await until(lambda: _is(a, token, 200))
        served_keys.body = NEW.jwks()  # the issuer withdraws the old key
        await until(lambda: _is(a, token, 401))
        assert await outcome(a, NEW.token()) == 200
        task.cancel()

    with_authenticator(work, jwks_url=served_keys.url, jwks_max_age=0.1)


def test_an_empty_key_set_withdraws_all_keys(served_keys: KeyServer) -> None:
    async def work(a: Authenticator) -> None:
        task = asyncio.create_task(a.run())
        token = OLD.token()
        await until(lambda: _is(a, token, 200))
        served_keys.body = b'{"keys": []}'
        await until(lambda: _is(a, token, 401))
        task.cancel()

    with_authenticator(work, jwks_url=served_keys.url, jwks_max_age=0.1)


def test_keys_that_are_never_confirmed_are_dropped(served_keys: KeyServer) -> None:
    async def work(a: Authenticator) -> None:
        task = asyncio.create_task(a.run())
        token = OLD.token()
        await until(lambda: _is(a, token, 200))
        served_keys.status = 500
        await until(lambda: _is(a, token, 503))
        assert a.not_ready is not None
        task.cancel()

    with_authenticator(work, jwks_url=served_keys.url, jwks_max_age=0.05, jwks_stale_seconds=0.3)


def test_the_certificate_of_the_key_server_is_checked(tmp_path: Path) -> None:
    certificate = self_signed(tmp_path)

    async def refused(a: Authenticator) -> None:
        assert await outcome(a, OLD.token()) == 503
        assert "certificate" in str(a.not_ready).lower()

    async def accepted(a: Authenticator) -> None:
        assert await outcome(a, OLD.token()) == 200

    with key_server(OLD.jwks(), certificate) as served_keys:
        with_authenticator(refused, jwks_url=served_keys.url, jwks_allow_http=False)
        assert served_keys.requests == 0
        with_authenticator(accepted, jwks_url=served_keys.url, jwks_allow_http=False, jwks_ca_file=certificate)


def test_a_file_that_is_replaced_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    path.write_bytes(OLD.jwks())

    async def work(a: Authenticator) -> None:
        task = asyncio.create_task(a.run())
        token = OLD.token()
        await until(lambda: _is(a, token, 200))
        (tmp_path / "next").write_bytes(NEW.jwks())
        (tmp_path / "next").rename(path)
        await until(lambda: _is(a, token, 401))
        assert await outcome(a, NEW.token()) == 200
        task.cancel()

    with_authenticator(work, jwks_file=path)


def test_a_mounted_secret_is_read_again(tmp_path: Path) -> None:
    """A kubelet switches a symbolic link to another folder."""
    for name, issuer in (("v1", OLD), ("v2", NEW)):
        (tmp_path / name).mkdir()
        issuer.write_jwks(tmp_path / name)
    (tmp_path / "data").symlink_to("v1")
    (tmp_path / "jwks.json").symlink_to("data/jwks.json")

    async def work(a: Authenticator) -> None:
        assert await outcome(a, OLD.token()) == 200
        (tmp_path / "next").symlink_to("v2")
        (tmp_path / "next").rename(tmp_path / "data")
        await until(lambda: _is(a, NEW.token(), 200))
        assert await outcome(a, OLD.token()) == 401

    with_authenticator(work, jwks_file=tmp_path / "jwks.json")


def test_a_file_that_vanishes_keeps_the_keys(tmp_path: Path) -> None:
    path = OLD.write_jwks(tmp_path)

    async def work(a: Authenticator) -> None:
        assert await outcome(a, OLD.token()) == 200
        path.unlink()
        await until(lambda: _is(a, NEW.token(), 503))
        assert await outcome(a, OLD.token()) == 200

    with_authenticator(work, jwks_file=path)


def test_a_file_that_is_missing_makes_the_facade_unready(tmp_path: Path) -> None:
    async def work(a: Authenticator) -> None:
        assert await outcome(a, OLD.token()) == 503
        assert "missing.json" in str(a.not_ready)

    with_authenticator(work, jwks_file=tmp_path / "missing.json")


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


def test_a_verified_token_is_remembered_until_it_expires(tmp_path: Path) -> None:
    path = OLD.write_jwks(tmp_path)
    clock = Clock()
    settings = Settings(jwt_issuer=ISSUER, jwt_audience=AUDIENCE, jwks_file=path, jwt_leeway=5)  # type: ignore[arg-type]

    async def work() -> None:
        a = Authenticator(settings, clock=clock)
        header = f"Bearer {OLD.token(lifetime=60)}"
        first = await a.authenticate(header)
        assert await a.authenticate(header) is first
        clock.now = first.expires_at - 0.5
        assert await a.authenticate(header) is first
        clock.now = first.expires_at
        with pytest.raises(Problem, match=r"InvalidToken.*expired"):
            await a.authenticate(header)

    asyncio.run(work())


def test_remembered_tokens_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authenticator, "CAPACITY", 3)

    async def work(a: Authenticator) -> None:
        headers = [f"Bearer {OLD.token(f's{n}')}" for n in range(4)]
        found = [await a.authenticate(h) for h in headers[:3]]
        assert await a.authenticate(headers[0]) is found[0]  # used again: it stays
        await a.authenticate(headers[3])  # the least recently used one goes
        assert await a.authenticate(headers[0]) is found[0]
        assert await a.authenticate(headers[1]) is not found[1]

    with_authenticator(work, jwks_file=OLD.write_jwks(tmp_path))


def test_a_refused_token_is_not_remembered(tmp_path: Path) -> None:
    async def work(a: Authenticator) -> None:
        for _ in range(2):
            assert await outcome(a, OLD.token(aud="other")) == 401
        assert await outcome(a, OLD.token()) == 200

    with_authenticator(work, jwks_file=OLD.write_jwks(tmp_path))


def test_a_file_of_the_same_size_is_read_again(tmp_path: Path) -> None:
    """Only its time differs: it is written in place."""
    path = tmp_path / "secret"
    path.write_bytes(b"a" * 32)
    os.utime(path, (1, 1))

    async def work(a: Authenticator) -> None:
        assert await outcome(a, "x.y.z") == 401
        assert await outcome(a, OLD.token()) == 401
        first = a._keys
        path.write_bytes(b"b" * 32)
        task = asyncio.create_task(a.run())

        async def changed() -> bool:
            return a._keys is not first

        await until(changed)
        task.cancel()

    with_authenticator(work, jwt_secret_file=path)
