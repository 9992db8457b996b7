"""A probe that is requested: an annotation of the Environment, and nothing else."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from ocore_api.views.console.models import ProbeAccepted
from ocore_crds.naming import ANNOTATION_PROBE_REQUESTED
from ocore_crds.text.timestamps import parse, text
from ocore_kube.types import ENVIRONMENTS
from ocore_operator.readiness import schedule
from support.api.writes import FOREIGN, SHOP, Site, environment, reason

PATH = f"/console/v1/environments/{SHOP}/probe"


def ask(site: Site, path: str = PATH, **how: Any) -> httpx.Response:
    with site.client(**how) as client:
        return client.post(path)


def probed(site: Site, **times: str) -> None:
    status = {"probe": {"generation": 1, **times}}
    site.served.call(lambda: site.server.set_status(ENVIRONMENTS, "apps", "shop", status))


def shown(site: Site) -> Any:
    with site.client() as client:
        return client.get(f"/console/v1/environments/{SHOP}").json()["probedAt"]


def test_a_probe_is_one_annotation_that_the_operator_reads(site: Site) -> None:
    before, began = site.server.live(ENVIRONMENTS, "apps", "shop"), datetime.now(UTC)
    answer = ask(site)
    assert answer.status_code == 202, answer.text
    accepted = ProbeAccepted.model_validate(answer.json())
    live = site.server.live(ENVIRONMENTS, "apps", "shop")
    assert live["metadata"]["annotations"] == {ANNOTATION_PROBE_REQUESTED: accepted.requested_at}
    assert (live["spec"], live["status"]) == (before["spec"], before["status"])
    assert len(site.server.writes()) == 1
    request = schedule.requested(live["metadata"]["annotations"])
    assert request is not None
    assert request > began, "a probe that began before the click, in the same second, is no answer"
    assert request <= datetime.now(UTC) + timedelta(seconds=1)
    audited = site.served.audit_lines()[-1]
    assert (audited["subject"], audited["environment"], audited["name"]) == ("alice", SHOP, "shop")


@pytest.mark.parametrize("field", ["startedAt", "time"])
def test_the_request_is_later_than_the_last_probe_whatever_the_clock_of_the_facade(site: Site, field: str) -> None:
    ahead = text(datetime.now(UTC) + timedelta(minutes=5))
    probed(site, **{"time": ahead, field: ahead})
    assert shown(site) == ahead
    assert parse(ask(site).json()["requestedAt"]) == parse(ahead) + timedelta(seconds=1)


def test_when_the_newest_probe_began_is_shown(site: Site) -> None:
    assert shown(site) is None
    probed(site, time="2026-03-01T12:00:30Z", startedAt="2026-03-01T12:00:05Z")
    assert shown(site) == "2026-03-01T12:00:05Z"


def test_an_environment_that_was_made_again_is_not_asked(site: Site) -> None:
    """The cache may be late: the object that has the name now is another one."""
    site.cache.late.add("Environment")
    site.served.call(site.server.put, environment("apps", "shop", "77777777-0000-4000-8000-000000000001"))
    assert reason(ask(site)) == (404, "NotFound")
    assert "annotations" not in site.server.live(ENVIRONMENTS, "apps", "shop")["metadata"]


def test_scope_and_ownership(site: Site) -> None:
    assert reason(ask(site, scope="read rollback admin")) == (403, "MissingScope")
    assert reason(ask(site, PATH.replace(SHOP, FOREIGN))) == (404, "NotFound")
    assert site.server.writes() == []
