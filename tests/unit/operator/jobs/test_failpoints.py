"""The operator's failpoints: where one fires that comes after a request."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import structlog

from ocore_crds.failpoints import FailpointError
from ocore_crds.naming import ANNOTATION_FAILPOINTS
from ocore_kube.errors import Conflict, Forbidden, Unavailable
from ocore_operator.errors import Stalled
from ocore_operator.jobs import failpoints
from support.operator.objects import SETTINGS, UID

POINT = "operator-rollback-safety-created"
LOST = Unavailable(0, "NoAnswer", "the API server did not answer within 10 s")


def _after(marks: Path, end: Exception | None, name: str = POINT, action: str = "error") -> None:
    settings = SETTINGS.model_copy(update={"allow_failpoints": True, "failpoint_marks": marks})
    meta = SimpleNamespace(
        annotations={ANNOTATION_FAILPOINTS: f"{POINT}={action}"}, uid=UID, namespace="shop", name="back"
    )

    async def act() -> None:
        async with failpoints.after(
            cast(Any, SimpleNamespace(settings=settings)), cast(Any, SimpleNamespace(meta=meta)), name
        ):
            if end is not None:
                raise end

    asyncio.run(act())


def _stalled(cause: Exception) -> Stalled:
    end = Stalled("QuiesceFailed", "odoo to 3 cannot be scaled.")
    end.__cause__ = cause
    return end


@pytest.mark.parametrize("end", [None, LOST, _stalled(LOST)], ids=["done", "answer lost", "told as a wait"])
def test_it_fires_also_where_nobody_knows_whether_the_request_was_carried_out(
    tmp_path: Path, end: Exception | None
) -> None:
    """In CI a Snapshot was created whose answer took longer than the deadline: the next observation found it, and the
    failpoint never fired."""
    with pytest.raises(FailpointError, match=POINT):
        _after(tmp_path, end)
    _after(tmp_path, None)  # once for each object


@pytest.mark.parametrize(
    "end",
    [
        Conflict(409, "Conflict", "changed"),
        Forbidden(403, "Forbidden", "no"),
        _stalled(Forbidden(403, "Forbidden", "no")),
    ],
    ids=["conflict", "refused", "told as a wait"],
)
def test_it_does_not_fire_after_a_request_that_was_refused(tmp_path: Path, end: Exception) -> None:
    with pytest.raises(type(end)) as raised:
        _after(tmp_path, end)
    assert raised.value is end


def test_none_fires_without_a_name(tmp_path: Path) -> None:
    _after(tmp_path, None, "")
    with pytest.raises(Unavailable):
        _after(tmp_path, LOST, "")


@pytest.mark.parametrize(("action", "times"), [("sleep:0", 1), ("delay:0", 3)])
def test_a_delay_fires_each_time(tmp_path: Path, action: str, times: int) -> None:
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            _after(tmp_path, None, action=action)
    assert [line["action"] for line in logs] == [action] * times
