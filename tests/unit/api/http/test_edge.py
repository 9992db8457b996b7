"""What every request passes, on a real server."""

import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from ocore_api.cache import Cache
from ocore_api.http import middleware
from support.api.issuer import Issuer
from support.api.serving import Serving, serving

from .routes_of_tests import with_routes

PIN = "/api/things/e1/s1"


@pytest.fixture(scope="module")
def served() -> Iterator[Serving]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(middleware, "MAX_BODY", 1000)
        patch.setattr(middleware, "BODY_SECONDS", 1)
        with serving(extend=with_routes, rate_per_second=10_000, rate_burst=10_000) as s:
            yield s


@pytest.fixture
def client(served: Serving) -> Iterator[httpx.Client]:
    with served.client() as client:
        yield client


def until(condition: Callable[[], Any], seconds: float = 10) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "the condition did not become true"
        time.sleep(0.01)
    return found


def problem(answer: httpx.Response, status: int, reason: str) -> dict[str, Any]:
    """The problem of an answer, whose form is checked."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    assert body["reason"] == reason
    assert body["requestId"] == answer.headers["x-request-id"]
    assert {"type", "title", "detail"} <= body.keys()
    return body


# --- tokens -------------------------------------------------------------------------------------------------


def test_a_valid_token_names_the_caller(client: httpx.Client) -> None:
    answer = client.get("/api/who")
    assert (answer.status_code, answer.json()) == (200, "alice")


def test_a_request_without_a_token_is_refused(served: Serving) -> None:
    with served.anonymous() as client:
        answer = client.get("/api/who")
        problem(answer, 401, "TokenMissing")
        assert answer.headers["www-authenticate"] == 'Bearer realm="ocore"'


@pytest.mark.parametrize("path", ["/api", "/api/", "/api/none", "/api/who/", "/api//who", "/%61pi/who", "/api%2Fwho"])
def test_every_path_below_api_needs_a_token(path: str, served: Serving) -> None:
    with served.anonymous() as client:
        problem(client.get(path), 401, "TokenMissing")


@pytest.mark.parametrize("path", ["//api/who", "/API/who", "/x/../api/who"])
def test_a_path_that_only_looks_like_one_reaches_nothing(path: str, served: Serving) -> None:
    """As raw bytes: clients normalise paths."""
    head, _ = raw(served, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert re.match(r"HTTP/1.1 40[14] ", head)


def test_a_token_in_the_url_or_a_cookie_is_not_used(served: Serving) -> None:
    token = served.issuer.token()
    with served.anonymous() as client:
        problem(client.get("/api/who", params={"access_token": token, "token": token}), 401, "TokenMissing")
        problem(client.get("/api/who", headers={"Cookie": f"Authorization=Bearer {token}"}), 401, "TokenMissing")


def test_two_tokens_are_refused(served: Serving) -> None:
    bearer = f"Bearer {served.issuer.token()}"
    with served.anonymous() as client:
        answer = client.get("/api/who", headers=[("Authorization", bearer), ("Authorization", bearer)])
        problem(answer, 401, "InvalidToken")


def test_a_wrong_token_has_a_challenge_that_says_why(served: Serving) -> None:
    with served.anonymous() as client:
        answer = client.get("/api/who", headers=served.issuer.bearer(aud="other"))
    problem(answer, 401, "InvalidToken")
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    assert "'aud'" in answer.headers["www-authenticate"]


def test_the_token_is_checked_before_the_body_is_read(served: Serving) -> None:
    with served.anonymous() as client:
        problem(client.put(PIN, content=b"{", headers={"Content-Type": "application/json"}), 401, "TokenMissing")


def test_a_missing_scope(served: Serving) -> None:
    with served.client(scope="read snapshot rollback") as client:
        answer = client.put(PIN, json={})
        problem(answer, 403, "MissingScope")
        assert answer.headers["www-authenticate"].endswith('error="insufficient_scope", scope="admin"')
    with served.client(scope="admin") as client:
        problem(client.get("/api/who"), 403, "MissingScope")


# --- problems -----------------------------------------------------------------------------------------------


def test_an_unknown_path(client: httpx.Client) -> None:
    problem(client.get("/api/none"), 404, "NotFound")
    problem(client.get("/none"), 404, "NotFound")


def test_an_unknown_method_names_the_known_ones(client: httpx.Client) -> None:
    answer = client.post(PIN)
    problem(answer, 405, "MethodNotAllowed")
    assert set(answer.headers["allow"].split(", ")) >= {"PUT"}
    answer = client.post("/healthz")
    problem(answer, 405, "MethodNotAllowed")
    assert answer.headers["allow"] == "GET"


@pytest.mark.parametrize("body", [b"{", b"\xff\xfe", b"[" * 900, b'{"label": nul}'])
def test_a_body_that_cannot_be_read(body: bytes, client: httpx.Client) -> None:
    answer = client.put(PIN, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_value_that_is_not_allowed_is_not_repeated(client: httpx.Client) -> None:
    answer = client.put(PIN, json={"label": 5, "count": "hunter2", "password": "hunter3"})
    body = problem(answer, 422, "InvalidValue")
    assert {e["field"] for e in body["errors"]} == {"body.label", "body.count", "body.password"}
    assert "hunter" not in answer.text
    answer = client.get("/api/page", params={"limit": 101})
    assert problem(answer, 422, "InvalidValue")["errors"][0]["field"] == "query.limit"


def test_many_wrong_values_have_a_short_answer(client: httpx.Client) -> None:
    answer = client.put(PIN, json={f"f{n}": n for n in range(90)})
    assert len(problem(answer, 422, "InvalidValue")["errors"]) == 20


def test_a_refusal_of_a_route(client: httpx.Client) -> None:
    body = problem(client.delete(PIN), 409, "SnapshotPinned")
    assert body["owner"] == "flux"


def test_an_unexpected_error_shows_nothing_of_the_inside(client: httpx.Client) -> None:
    answer = client.get("/api/fails")
    problem(answer, 500, "InternalError")
    assert "hunter2" not in answer.text
    assert "Traceback" not in answer.text
    assert client.get("/api/who").status_code == 200


def test_an_api_server_that_does_not_answer(client: httpx.Client) -> None:
    answer = client.get("/api/api-server-down")
    problem(answer, 503, "ApiServerUnavailable")
    assert int(answer.headers["retry-after"]) > 0
    assert "10.0.0.1" not in answer.text


def test_an_answer_that_breaks_off_is_not_whole(client: httpx.Client) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        client.get("/api/breaks-off")


# --- bodies -------------------------------------------------------------------------------------------------


def test_a_body_that_is_too_large(client: httpx.Client) -> None:
    problem(client.put(PIN, json={"label": "x" * 1000}), 413, "BodyTooLarge")


def test_a_body_in_chunks_that_is_too_large(client: httpx.Client) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(100):
            yield b" " * 100

    problem(client.put(PIN, content=chunks(), headers={"Content-Type": "application/json"}), 413, "BodyTooLarge")


def test_a_body_of_the_greatest_size(client: httpx.Client) -> None:
    content = json.dumps({"label": ""}).encode().ljust(1000)
    answer = client.put(PIN, content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 200


def announced(served: Serving, length: int, sent: str) -> tuple[str, bytes]:
    """The answer to a body of which only this part is sent."""
    head = (
        f"PUT {PIN} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {served.issuer.token()}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{sent}"
    )
    return raw(served, head.encode())


def test_a_body_that_does_not_arrive(served: Serving) -> None:
    answer, body = announced(served, 10, "{")
    assert answer.startswith("HTTP/1.1 408 ")
    assert json.loads(body)["reason"] == "BodyTimeout"


def test_a_body_that_announces_too_much_is_refused_before_it_arrives(served: Serving) -> None:
    answer, body = announced(served, 1001, "")
    assert answer.startswith("HTTP/1.1 413 ")
    assert json.loads(body)["reason"] == "BodyTooLarge"


def raw(served: Serving, request: bytes) -> tuple[str, bytes]:
    """Sends bytes and reads until the server closes the connection. Returns the head and the body of the answer."""
    host, port = served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(request)
        received = b""
        while part := connection.recv(65_536):
            received += part
    head, _, body = received.partition(b"\r\n\r\n")
    return head.decode(), body


# --- headers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/api/who", "/api/none", "/healthz", "/api/fails"])
def test_security_headers(path: str, client: httpx.Client) -> None:
    headers = client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert "server" not in headers


def test_the_documentation_can_be_switched_off() -> None:
    with serving(docs=False) as served, served.anonymous() as client:
        assert client.get("/docs").status_code == 404
        assert client.get("/docs/start.js").status_code == 404
        assert client.get("/openapi.json").status_code == 404


def test_the_id_of_a_request(client: httpx.Client) -> None:
    assert client.get("/api/who", headers={"X-Request-Id": "my-id.7_A"}).headers["x-request-id"] == "my-id.7_A"
    for wrong in ("a b", "x" * 65, '"', "<script>", ""):
        assert client.get("/api/who", headers={"X-Request-Id": wrong}).headers["x-request-id"] != wrong
    ids = {client.get("/api/who").headers["x-request-id"] for _ in range(10)}
    assert len(ids) == 10


def test_cors_is_off_unless_set(client: httpx.Client) -> None:
    origin = {"Origin": "https://app.example.org"}
    assert "access-control-allow-origin" not in client.get("/api/who", headers=origin).headers
    preflight = client.options("/api/who", headers={**origin, "Access-Control-Request-Method": "GET"})
    assert preflight.status_code == 405


def test_cors_for_the_origins_that_are_set() -> None:
    with serving(extend=with_routes, cors_origins="https://app.example.org") as served, served.anonymous() as client:
        ask = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "authorization"}
        preflight = client.options(PIN, headers={**ask, "Origin": "https://app.example.org"})
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == "https://app.example.org"
        assert "access-control-allow-credentials" not in preflight.headers
        refused = client.get("/api/who", headers={"Origin": "https://app.example.org"})
        assert refused.status_code == 401
        assert refused.headers["access-control-allow-origin"] == "https://app.example.org"  # a page can read the reason
        other = client.options(PIN, headers={**ask, "Origin": "https://other.example.org"})
        assert "access-control-allow-origin" not in other.headers


# --- rates --------------------------------------------------------------------------------------------------


def test_the_rate_of_a_subject() -> None:
    with serving(extend=with_routes, rate_per_second=0.001, rate_burst=3) as served:
        with served.client("alice") as alice, served.client("bob") as bob:
            assert [alice.get("/api/who").status_code for _ in range(4)] == [200, 200, 200, 429]
            answer = alice.get("/api/who")
            problem(answer, 429, "TooManyRequests")
            assert int(answer.headers["retry-after"]) > 100
            assert bob.get("/api/who").status_code == 200
        with served.client("alice", extra=1) as alice:  # another token of the same subject
            assert alice.get("/api/who").status_code == 429


def test_the_rate_of_an_address_without_a_token() -> None:
    with (
        serving(extend=with_routes, anonymous_rate_per_second=0.001, anonymous_rate_burst=3) as served,
        served.anonymous() as anonymous,
        served.client() as alice,
    ):
        assert [anonymous.get("/api/who").status_code for _ in range(4)] == [401, 401, 401, 429]
        wrong = anonymous.get("/api/who", headers=served.issuer.bearer(aud="other"))
        problem(wrong, 429, "TooManyRequests")
        assert anonymous.get("/docs").status_code == 429
        # Neither load balancers nor the page are refused for it.
        for path in ("/healthz", "/readyz"):
            assert anonymous.get(path).status_code == 200
        # A valid token is never refused for the failures of others, even one that was not seen before.
        assert alice.get("/api/who").status_code == 200


def test_row_133_health_on_the_port_of_the_api_has_a_limit() -> None:
    """Its own: it is asked without a token, and each answer takes time from those who have one."""
    with (
        serving(extend=with_routes, page_rate_per_second=0.001, page_rate_burst=3) as served,
        served.anonymous() as anonymous,
        httpx.Client(base_url=served.monitoring_url) as kubelet,
    ):
        assert [anonymous.get(path).status_code for path in ("/healthz", "/readyz", "/healthz")] == [200] * 3
        problem(anonymous.get("/readyz"), 429, "TooManyRequests")
        problem(anonymous.get("/api/who"), 401, "TokenMissing")
        for path in ("/healthz", "/readyz", "/metrics") * 3:
            assert kubelet.get(path).status_code == 200


def test_each_port_serves_what_is_its_own() -> None:
    with serving(extend=with_routes) as served, httpx.Client(base_url=served.monitoring_url) as monitoring:
        with served.client() as client:
            problem(client.get("/metrics"), 404, "NotFound")
        for path in ("/api/who", "/docs", "/ui", "/none"):
            problem(monitoring.get(path, headers=served.issuer.bearer()), 404, "NotFound")


def test_addresses_behind_a_proxy_that_is_trusted() -> None:
    with serving(
        extend=with_routes, anonymous_rate_per_second=0.001, anonymous_rate_burst=1, trusted_proxies="127.0.0.1"
    ) as served, served.anonymous() as client:  # fmt: skip
        got = [client.get("/api/who", headers={"X-Forwarded-For": f"203.0.113.{n}"}).status_code for n in (1, 1, 2)]
        assert got == [401, 429, 401]


def test_a_header_of_a_client_that_is_no_trusted_proxy_is_ignored() -> None:
    with (
        serving(extend=with_routes, anonymous_rate_per_second=0.001, anonymous_rate_burst=1) as served,
        served.anonymous() as client,
    ):
        got = [client.get("/api/who", headers={"X-Forwarded-For": f"203.0.113.{n}"}).status_code for n in (1, 2)]
        assert got == [401, 429]


# --- audit --------------------------------------------------------------------------------------------------


def line_of(served: Serving, request_id: str) -> list[dict[str, Any]]:
    return [line for line in served.audit_lines() if line["request_id"] == request_id]


def test_a_write_has_one_audit_line(served: Serving, client: httpx.Client) -> None:
    assert client.put(PIN, json={"label": "secret"}, headers={"X-Request-Id": "w1"}).status_code == 200
    (line,) = until(lambda: line_of(served, "w1"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("timestamp"))
    assert line == {
        "audit": "write",
        "subject": "alice",
        "method": "PUT",
        "route": "/api/things/{environmentId}/{snapshotId}",
        "environment": "e1",
        "object": "s1",
        "status": 200,
        "request_id": "w1",
        "client": "127.0.0.1",
    }


def test_a_write_that_is_refused_is_audited(served: Serving) -> None:
    with served.client(scope="read") as reader, served.anonymous() as anonymous:
        reader.put(PIN, json={}, headers={"X-Request-Id": "w2"})
        anonymous.put(PIN, json={}, headers={"X-Request-Id": "w3"})
    (refused,) = until(lambda: line_of(served, "w2"))
    assert (refused["subject"], refused["status"]) == ("alice", 403)
    (unknown,) = until(lambda: line_of(served, "w3"))
    assert (unknown["subject"], unknown["status"]) == (None, 401)


def test_reads_are_audited_only_where_they_wrote(served: Serving, client: httpx.Client) -> None:
    client.get("/api/who", headers={"X-Request-Id": "r1"})
    client.get("/api/noted", headers={"X-Request-Id": "r2"})
    (line,) = until(lambda: line_of(served, "r2"))
    assert line["object"] == "a policy"
    assert line_of(served, "r1") == []


# --- metrics ------------------------------------------------------------------------------------------------


def test_metrics_by_route(served: Serving, client: httpx.Client) -> None:
    for path in ("/api/things/secret-1/secret-2", "/api/secret-3", "/secret-4"):
        client.put(path, json={})
    client.request("SECRET5", "/api/who")
    text = until(served.metrics)
    route = "/api/things/{environmentId}/{snapshotId}"
    assert f'ocore_api_requests_total{{method="PUT",route="{route}",status="200"}}' in text
    assert f'ocore_api_request_seconds_bucket{{le="0.01",method="PUT",route="{route}"}}' in text
    assert 'ocore_api_requests_total{method="PUT",route="unmatched",status="404"}' in text
    assert "process_resident_memory_bytes" in text
    assert "secret" not in text.lower()


# --- health -------------------------------------------------------------------------------------------------


def test_readiness_says_why_not() -> None:
    class Unready(Cache):
        not_ready: str | None = None  # type: ignore[assignment]

    cache = Unready()
    with serving(cache=cache) as served, served.anonymous() as client:
        until(lambda: client.get("/readyz").status_code == 200)
        cache.not_ready = "Snapshots of namespace apps are not listed yet"
        answer = client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["reasons"] == ["Snapshots of namespace apps are not listed yet"]
        assert client.get("/healthz").status_code == 200


def test_readiness_without_keys(tmp_path: Any) -> None:
    with serving(jwks_file=tmp_path / "none.json") as served, served.anonymous() as client:
        answer = client.get("/readyz")
        assert answer.status_code == 503
        assert "keys" in answer.json()["reasons"][0]
        assert client.get("/healthz").status_code == 200
        problem(client.get("/api/x", headers=Issuer().bearer()), 503, "KeysUnavailable")


def test_a_part_that_fails_is_seen_by_the_kubelet() -> None:
    async def fails() -> None:
        raise RuntimeError("a defect")

    with serving(prepare=lambda facade: facade.background.append(fails)) as served, served.anonymous() as client:
        answer = until(lambda: (a := client.get("/healthz")).status_code == 503 and a)
        assert "fails failed" in answer.json()["reasons"][0]
        assert client.get("/readyz").status_code == 503
