"""The size of a snapshot: measured again where it is too old, once for all callers."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from ocore_api.cache import EnvironmentEntry
from ocore_api.writes.client import Client
from ocore_crds.naming import ANNOTATION_PROBE_REQUESTED
from ocore_kube.types import ENVIRONMENTS
from ocore_operator.readiness import schedule
from support.api.writes import FOREIGN, SHOP, Site, reason


def ago(seconds: float) -> str:
    return datetime.fromtimestamp(time.time() - seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def set_sizes(site: Site, **sizes: Any) -> None:
    site.served.call(lambda: site.server.set_status(ENVIRONMENTS, "apps", "shop", {"sizes": sizes}))


def get(site: Site) -> Any:
    return site.send("GET", f"{SHOP}/snapshot-size")


def operator(site: Site, answer: Callable[[str], dict[str, Any]]) -> None:
    """Reacts to the annotation, as the operator does, a moment later."""

    def react(method: str, path: str, body: Any) -> None:
        if method == "PATCH":
            request = body["metadata"]["annotations"][ANNOTATION_PROBE_REQUESTED]
            sizes = answer(request)
            asyncio.get_running_loop().call_later(
                0.1, lambda: site.server.set_status(ENVIRONMENTS, "apps", "shop", {"sizes": sizes})
            )

    site.server.before.append(react)


def measured(request: str) -> dict[str, Any]:
    return {"databaseBytes": 2000, "filestoreBytes": 60, "measuredAt": request, "attemptedAt": request}


def test_fresh_sizes_are_served_as_they_are(site: Site) -> None:
    set_sizes(site, databaseBytes=1000, filestoreBytes=50, measuredAt=ago(30))
    answer = get(site)
    assert answer.status_code == 200
    assert answer.json() == {"dbSizeBytes": 1000, "filestoreSizeBytes": 50, "totalSizeBytes": 1050}
    assert "age" not in answer.headers
    assert site.server.requests == [], "the API server is not asked"


def test_old_sizes_are_measured_again(site: Site) -> None:
    set_sizes(site, databaseBytes=1000, filestoreBytes=50, measuredAt=ago(61))
    operator(site, measured)
    answer = get(site)
    assert answer.json() == {"dbSizeBytes": 2000, "filestoreSizeBytes": 60, "totalSizeBytes": 2060}
    assert "age" not in answer.headers
    annotation = site.server.live(ENVIRONMENTS, "apps", "shop")["metadata"]["annotations"][ANNOTATION_PROBE_REQUESTED]
    assert schedule.requested({ANNOTATION_PROBE_REQUESTED: annotation}) is not None, "the operator reads it"
    assert annotation.endswith("Z")
    assert "." not in annotation, "whole seconds, as the time of a measurement"


def test_concurrent_callers_share_one_measurement(site: Site) -> None:
    operator(site, measured)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: get(site), range(8)))
    assert {a.json()["dbSizeBytes"] for a in answers} == {2000}
    assert len(site.server.writes()) == 1


def test_a_measurement_that_fails_is_not_waited_for(site: Site) -> None:
    set_sizes(site, databaseBytes=1000, filestoreBytes=50, measuredAt=ago(300))
    operator(
        site,
        lambda request: {
            "databaseBytes": 1000,
            "filestoreBytes": 50,
            "measuredAt": ago(300),
            "attemptedAt": request,
            "attemptError": "DatabaseUnreachable: gone",
        },
    )
    answer = get(site)
    assert answer.json()["dbSizeBytes"] == 1000
    assert 300 <= int(answer.headers["age"]) <= 320


def test_after_the_wait_the_last_sizes_with_their_age(site: Site) -> None:
    site.served.call(lambda: setattr(site.served.facade.measurements, "_wait", 0.3))
    set_sizes(site, databaseBytes=1000, filestoreBytes=50, measuredAt=ago(90), attemptError="old", attemptedAt=ago(90))
    answer = get(site)
    assert (answer.status_code, answer.json()["totalSizeBytes"]) == (200, 1050)
    assert 90 <= int(answer.headers["age"]) <= 110


def test_an_environment_that_was_never_measured(site: Site) -> None:
    site.served.call(lambda: setattr(site.served.facade.measurements, "_wait", 0.3))
    answer = get(site)
    assert reason(answer) == (503, "NotMeasured")
    assert answer.headers["retry-after"] == "10"


def set_conditions(site: Site, **condition: str) -> None:
    conditions = [{"type": "Ready", "status": "False", "lastTransitionTime": ago(5), **condition}]
    site.served.call(
        lambda: site.server.set_status(ENVIRONMENTS, "apps", "shop", {"conditions": conditions, "sizes": None})
    )


BROKEN = {"reason": "DatabaseUnreachable", "message": "db:5432 refuses connections"}


def test_an_environment_that_cannot_be_probed_is_not_waited_for(site: Site) -> None:
    set_conditions(site, **BROKEN)
    began = time.monotonic()
    answers = [get(site) for _ in range(3)]
    assert time.monotonic() - began < 9, "a measurement is waited for 10 s"
    for answer in answers:
        assert reason(answer) == (503, "NotMeasured")
        assert answer.headers["retry-after"] == "10"
        assert answer.json()["cause"] == "DatabaseUnreachable"
        assert "db:5432 refuses connections. Correct this, then repeat the request." in answer.json()["detail"]
    assert len(site.server.writes()) == 1, "the operator is asked all the same, once for all callers"


def test_its_last_sizes_are_served_at_once(site: Site) -> None:
    set_conditions(site, **BROKEN)
    set_sizes(site, databaseBytes=1000, filestoreBytes=50, measuredAt=ago(300))
    began = time.monotonic()
    answer = get(site)
    assert time.monotonic() - began < 9
    assert (answer.status_code, answer.json()["totalSizeBytes"]) == (200, 1050)
    assert int(answer.headers["age"]) >= 300


def test_a_problem_that_appears_ends_the_wait(site: Site) -> None:
    set_conditions(site, reason="Probing", message="A Job probes.")
    site.served.call(
        lambda: asyncio.get_running_loop().call_later(
            2,
            lambda: site.server.set_status(
                ENVIRONMENTS,
                "apps",
                "shop",
                {"conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": ago(0), **BROKEN}]},
            ),
        )
    )
    began = time.monotonic()
    assert get(site).json()["cause"] == "DatabaseUnreachable"
    assert 0.3 < time.monotonic() - began < 9


def test_a_first_measurement_that_fails_says_why(site: Site) -> None:
    operator(site, lambda request: {"attemptedAt": request, "attemptError": "OutOfMemory: the Job needs more memory"})
    answer = get(site)
    assert (*reason(answer), answer.json()["cause"]) == (503, "NotMeasured", "OutOfMemory")
    assert "the Job needs more memory" in answer.json()["detail"]


def test_a_caller_who_leaves_does_not_end_it_for_the_others(site: Site) -> None:
    asked, requests = asyncio.Event(), []

    def hold(method: str, path: str, body: Any) -> None:
        if method == "PATCH":
            requests.append(body["metadata"]["annotations"][ANNOTATION_PROBE_REQUESTED])
            asked.set()

    site.server.before.append(hold)
    facade = site.served.facade

    async def two() -> Any:
        entry = await site.cache.find(EnvironmentEntry, SHOP)
        first, second = (
            asyncio.create_task(facade.measurements.sizes(Client(facade.client, 10), facade.cache, entry))
            for _ in range(2)
        )
        await asked.wait()
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        site.server.set_status(ENVIRONMENTS, "apps", "shop", {"sizes": measured(requests[0])})
        return await second

    assert site.served.run(two())[0].database_bytes == 2000


def test_scope_and_ownership(site: Site) -> None:
    with site.client(scope="snapshot rollback admin") as client:
        assert reason(client.get(f"/api/environments/{SHOP}/snapshot-size")) == (403, "MissingScope")
    assert reason(site.send("GET", f"{FOREIGN}/snapshot-size")) == (404, "NotFound")
    assert site.server.writes() == []


@pytest.mark.parametrize("status", [{}, {"sizes": {"attemptedAt": ago(1), "attemptError": "x"}}])
def test_a_failure_before_the_request_does_not_count(site: Site, status: Any) -> None:
    site.served.call(lambda: site.server.set_status(ENVIRONMENTS, "apps", "shop", status))
    operator(site, measured)
    assert get(site).json()["dbSizeBytes"] == 2000
