"""The transport against a server that does not answer."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.aio import client

from ocore_kube.errors import TooLarge, Unavailable
from ocore_kube.transport import APPLY_PATCH, PART, Pace, Transport, apply_body, connect

#: Seconds after which a request has failed.
LIMIT = 0.2
#: The same where it is not to fail, on a slow machine either.
LONG = 20.0
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"


@asynccontextmanager
async def silent(answer: bytes, limit: float = LIMIT) -> AsyncIterator[Transport]:
    """A transport to a server that sends these bytes to each request, and then nothing."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    transport = Transport(client.ApiClient(client.Configuration(host=host)), limit, "test")
    try:
        yield transport
    finally:
        await transport.close()
        server.close()


async def write(transport: Transport) -> Any:
    """Not retried, as reads are."""
    return await transport.request("POST", "/x", body={})


async def follow(transport: Transport, seconds: float = LIMIT) -> list[str]:
    return [line async for line in transport.lines("/x", query={}, seconds=seconds, silence=LONG)]


#: No head, no body, no end.
PLACES = pytest.mark.parametrize(
    ("answer", "use"),
    [(b"", write), (HEAD, write), (b"", follow), (HEAD, follow), (HEAD + b"2\r\nx\n\r\n", follow)],
    ids=["head", "body", "stream", "first-line", "next-line"],
)


@PLACES
def test_row_57_a_cancellation_is_not_taken_for_the_timeout_of_that_moment(
    answer: bytes, use: Callable[[Transport], Awaitable[Any]]
) -> None:
    """The event loop stood still beyond the timeout, as on a starved node; then its first act is to cancel the
    request."""

    async def main() -> bool:
        loop = asyncio.get_running_loop()
        async with silent(answer) as transport:
            begun = loop.time()
            task = asyncio.ensure_future(use(transport))
            await asyncio.sleep(LIMIT / 2)
            # A machine that stood still here already: the timeout may be the first act of the event loop.
            met = loop.time() < begun + LIMIT
            time.sleep(LIMIT)  # noqa: ASYNC251 - it is the fault
            loop.call_soon(task.cancel)
            await asyncio.wait([task], timeout=10)
            assert task.cancelled() or not met
            return met

    assert any(asyncio.run(main()) for _ in range(20)), "the fault was never made in time"


@pytest.mark.parametrize("answer", [b"", HEAD], ids=["head", "body"])
def test_a_request_without_an_answer_in_time_says_so(answer: bytes) -> None:
    async def main() -> None:
        async with silent(answer) as transport:
            with pytest.raises(Unavailable, match=r"did not answer within 0\.2 s"):
                await write(transport)

    asyncio.run(main())


def test_a_stream_without_an_answer_in_time_says_so() -> None:
    async def main() -> None:
        async with silent(b"") as transport:
            with pytest.raises(Unavailable, match=r"did not answer within 0\.2 s"):
                await follow(transport)

    asyncio.run(main())


def test_a_stream_ends_after_its_seconds_with_what_came() -> None:
    async def main() -> None:
        async with silent(HEAD + b"2\r\nx\n\r\n", LONG) as transport:
            assert await follow(transport, 2) == ["x"]

    asyncio.run(main())


def test_a_stream_does_not_interrupt_its_reader() -> None:
    """The time passes while the reader works on a line."""

    async def main() -> None:
        async with silent(HEAD + b"2\r\nx\n\r\n", LONG) as transport:
            seen = []
            async for line in transport.lines("/x", query={}, seconds=2, silence=LONG):
                await asyncio.sleep(2.1)
                seen.append(line)
            assert seen == ["x"]

    asyncio.run(main())


def test_an_error_without_a_text_is_named() -> None:
    """A server that cannot be reached."""

    async def main() -> None:
        transport = Transport(client.ApiClient(client.Configuration(host="http://127.0.0.1:1")), LONG, "test")
        with pytest.raises(Unavailable, match=r"did not answer: \S"):
            await write(transport)
        await transport.close()

    asyncio.run(main())


@pytest.fixture
def proxied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Sends a request to http://api.invalid, which exists only behind a proxy; what the proxy got. Options: variables
    of the environment, with the proxy's address for %s."""

    def run(cluster: dict[str, str], **variables: str) -> list[str]:
        got: list[str] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            got.append((await reader.readuntil(b"\r\n\r\n")).decode())
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
            writer.close()

        async def main() -> None:
            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            for name, value in variables.items():
                monkeypatch.setenv(name, value.replace("%s", address))
            place = {name: value.replace("%s", address) for name, value in cluster.items()}
            file = tmp_path / "kubeconfig"
            context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
            file.write_text(
                json.dumps(
                    {
                        "current-context": "c",
                        "contexts": [context],
                        "clusters": [{"name": "c", "cluster": {"server": "http://api.invalid", **place}}],
                        "users": [{"name": "u", "user": {"token": "t"}}],
                    }
                )
            )
            transport = Transport(await connect(file), 5, "test")
            try:
                with suppress(Unavailable):
                    await write(transport)
            finally:
                await transport.close()
                server.close()

        asyncio.run(main())
        return got

    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return run


@pytest.mark.parametrize(
    ("cluster", "variables", "used"),
    [
        ({}, {"http_proxy": "%s"}, True),
        ({"proxy-url": "%s"}, {}, True),
        ({}, {"http_proxy": "%s", "no_proxy": "api.invalid"}, False),
        ({}, {}, False),
    ],
)
def test_the_proxy_of_the_kubeconfig_or_of_the_environment_is_used(
    proxied: Callable[..., list[str]], cluster: dict[str, str], variables: dict[str, str], used: bool
) -> None:
    got = proxied(cluster, **variables)
    assert [head.split(" ")[1] for head in got] == (["http://api.invalid/x"] if used else [])


def test_a_netrc_gives_no_credentials(proxied: Callable[..., list[str]], tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text("machine api.invalid login someone password secret\n")
    (head,) = proxied({"proxy-url": "%s"}, NETRC=str(tmp_path / "netrc"))
    assert "authorization: bearer t\r\n" in head.lower()


def test_a_line_that_is_too_long_ends_the_stream() -> None:
    """A log without line breaks would fill the memory."""

    async def main() -> list[str]:
        body = b"a\n" + b"x" * 11
        async with silent(HEAD + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body), LONG) as transport:
            return [line async for line in transport.lines("/x", query={}, seconds=LONG, silence=LONG, longest=10)]

    assert asyncio.run(main()) == ["a"]


def test_row_122_a_stream_is_read_at_its_pace() -> None:
    """Anyone who may run programs in a Job's pod can write its log as fast as the node can: it would take all of the
    operator's time."""
    rate, burst = 300_000.0, 300_000

    async def main() -> tuple[int, float]:
        line, loop = b"x" * 999 + b"\n", asyncio.get_running_loop()
        async with silent(HEAD + b"%x\r\n%s\r\n" % (5000 * len(line), 5000 * line), LONG) as transport:
            began, read = loop.time(), 0
            stream = transport.lines("/x", query={}, seconds=LONG, silence=LONG, pace=Pace(rate, burst))
            async with aclosing(stream) as lines:
                async for each in lines:
                    read += len(each) + 1
                    if read >= 3 * burst:
                        break
            return read, loop.time() - began

    read, seconds = asyncio.run(main())
    assert read == 3 * burst
    assert read <= burst + rate * seconds + PART


def test_a_pace_counts_what_was_read_before() -> None:
    pace = Pace(100.0, 1000)
    assert pace.wait(1000, 50.0) == 0
    assert pace.wait(100, 50.0) == pytest.approx(1)
    assert pace.wait(100, 51.0) == pytest.approx(1)
    assert pace.wait(1000, 100.0) == 0, "as if nothing had been read before"
    assert pace.wait(1, 100.0) == pytest.approx(0.01)


#: Text of every kind: astral, in both directions, NUL, ESC, line ends of Unicode, what YAML forbids, a lone surrogate,
#: what looks like an escape.
TEXTS = (
    *(
        "\U0001f600",
        "\U0010ffff",
        "\u202eabc",
        "a\x00b",
        "\x1b[31m",
        "\x7f\x85\x9f",
        "\u2028\u2029",
        "\ufeff\ufffe\uffff",
    ),
    *("\\ud83d\\ude00", '"quoted": {', "- x: !!python", "%YAML", "\ttab", "grüße"),
)


@pytest.mark.parametrize("text", TEXTS)
def test_row_81_a_body_of_an_apply_is_utf_8_that_json_and_yaml_read_alike(text: str) -> None:
    body = apply_body({"message": text, text: [text]})
    assert json.loads(body) == {"message": text, text: [text]}
    assert yaml.safe_load(body) == {"message": text, text: [text]}


def test_a_lone_surrogate_becomes_the_replacement_character() -> None:
    assert json.loads(apply_body({"a": "x\ud800y"})) == {"a": "x\ufffdy"}


def test_row_81_an_apply_is_sent_as_it_is() -> None:
    async def main() -> bytes:
        received: list[bytes] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(re.search(rb"Content-Length: (\d+)", head)[1])  # type: ignore[index]
            received.extend((head, await reader.readexactly(length)))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
            await writer.drain()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        configuration = client.Configuration()
        configuration.host = f"http://127.0.0.1:{port}"
        transport = Transport(client.ApiClient(configuration), timeout=5, program="test")
        try:
            await transport.request("PATCH", "/x", body={"a": "\U0001f600"}, content_type=APPLY_PATCH)
        finally:
            await transport.close()
            server.close()
        assert b"application/apply-patch+yaml" in received[0]
        return received[1]

    assert asyncio.run(main()) == '{"a": "\U0001f600"}'.encode()


def test_row_78_an_answer_is_read_up_to_a_bound() -> None:
    """Whatever its head says."""

    async def read(most: int) -> Any:
        body = b'{"a": "' + b"x" * 100_000 + b'"}'
        async with silent(HEAD + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)) as transport:
            return await transport.request("GET", "/x", most=most)

    assert len(asyncio.run(read(200_000))["a"]) == 100_000
    with pytest.raises(TooLarge, match="more than 5000 bytes"):
        asyncio.run(read(5000))
