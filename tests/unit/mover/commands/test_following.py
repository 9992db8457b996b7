"""A probe that follows a command in the same Job: one result for each, and the first does not depend on the other."""

import json
from pathlib import Path
from typing import Any

import pytest

from ocore_crds import conditions as c
from ocore_crds.commands.cleanup import CleanupResult
from ocore_crds.commands.inspect import InspectRequest
from ocore_crds.commands.parts import DatabaseAccess
from ocore_crds.commands.probe import ProbeRequest, ProbeResult
from ocore_crds.commands.request_transport import variables
from ocore_crds.protocol import Result, parse_line
from ocore_crds.reports.base import TERMINATION_MESSAGE_BYTES, Finding, Outcome
from ocore_mover import report
from ocore_mover.__main__ import run_document
from ocore_mover.commands import runtime
from ocore_mover.errors import MoverError
from support.mover.beside import ENVIRONMENT
from support.mover.site import Site

ROLLBACK = "0b0f4b5e-58f4-4d0e-8a53-2b1f3f3f7c02"
FIRST = CleanupResult(databases_dropped=("shop_prev_0a1b2c3d",))


def followed(body: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deadline: float = 30.0) -> tuple[int, Result]:
    """Exit code and termination message of a command that succeeds, and of `body` after it."""
    message = tmp_path / "termination-log"
    message.touch()
    monkeypatch.setattr(report, "TERMINATION_MESSAGE_PATH", str(message))
    code = runtime.run(lambda _: FIRST, deadline=60.0, grace=5.0, then=(body, deadline))
    return code, Result.model_validate_json(message.read_text())


def test_each_command_has_a_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, result = followed(lambda _: ProbeResult(warnings=("w",)), tmp_path, monkeypatch)
    assert (code, result.payload) == (0, FIRST)
    assert result.then is not None
    assert result.then.payload == ProbeResult(warnings=("w",))
    lines = [parse_line(line) for line in capsys.readouterr().out.splitlines()]
    assert [isinstance(line, Result) and line.then is not None for line in lines] == [False, True]


def raises(_: runtime.Runtime) -> ProbeResult:
    raise MoverError(c.DATABASE_UNREACHABLE, "gone")


def hangs(given: runtime.Runtime) -> ProbeResult:
    given.token.sleep(60)
    raise AssertionError


@pytest.mark.parametrize(
    ("body", "reason"), [(raises, c.DATABASE_UNREACHABLE), (hangs, c.DEADLINE_EXCEEDED)], ids=["fails", "hangs"]
)
def test_a_command_that_follows_and_fails_hides_no_result(
    body: Any, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, result = followed(body, tmp_path, monkeypatch, deadline=1.0)
    assert (code, result.ok, result.payload) == (0, True, FIRST)
    assert result.then is not None
    assert result.then.failure is not None
    assert result.then.failure.reason == reason


def test_the_first_result_is_reported_before_the_other_command_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pod that is killed then has done its work."""
    seen: list[str] = []

    def killed(_: runtime.Runtime) -> ProbeResult:
        seen.append((tmp_path / "termination-log").read_text())
        return ProbeResult()

    followed(killed, tmp_path, monkeypatch)
    assert Result.model_validate_json(seen[0]).payload == FIRST


@pytest.mark.parametrize(("findings", "length"), [(8, 400), (25, 400), (400, 400)])
def test_both_results_fit_or_the_second_is_left_out(findings: int, length: int) -> None:
    """The probe is made again then; the first result counts."""
    found = ProbeResult(blocking=tuple(Finding(reason="R", message="x" * length) for _ in range(findings)))
    both = Outcome(ok=True, payload=FIRST, time="t", then=Outcome(ok=True, payload=found, time="t"))
    text = both.termination_message()
    assert len(text.encode()) <= TERMINATION_MESSAGE_BYTES
    read = json.loads(text)
    assert read["payload"]["databasesDropped"] == list(FIRST.databases_dropped)
    assert ("then" in read) == (findings < 100)


def test_an_inspection_and_a_probe_of_a_real_database(
    site_any: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a Job carries them out: one document, one pod."""
    database = DatabaseAccess(secret=str(site_any.secret))
    probe = ProbeRequest(database=database, environment_id=ENVIRONMENT, deadline=30)
    request = InspectRequest(
        database=database, environment_id=ENVIRONMENT, rollback_id=ROLLBACK, deadline=60, then=probe
    )
    document = "".join(variables(request).values())
    assert run_document(["inspect"], document, tmp_path / "none") == 0, capsys.readouterr().err
    last = parse_line(capsys.readouterr().out.splitlines()[-1])
    assert isinstance(last, Result)
    assert last.payload is not None
    assert last.payload.kind == "switch"
    assert last.then is not None
    assert isinstance(last.then.payload, ProbeResult)
    assert last.then.payload.database is not None
