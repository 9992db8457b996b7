"""The first attempt at the switch, in the process that has restored: what makes it switch, and what leaves it to
another Job. Without a server."""

import gc
import json
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pytest

from ocore_crds import conditions, failpoints
from ocore_crds.commands.parts import FilestoreAccess, SignalWait, StoreAccess
from ocore_crds.commands.restore import RestoreRequest
from ocore_crds.protocol import RestoreResult, SwitchResult
from ocore_mover import signals
from ocore_mover.commands import restore
from ocore_mover.commands import switch as module
from ocore_mover.commands.runtime import Runtime
from ocore_mover.commands.switch import SwitchRun, after_restore
from ocore_mover.commands.switcher import Switcher
from ocore_mover.deadline import Token
from ocore_mover.errors import Cancelled, MoverError, StoreError
from support.mover.filestore import ENVIRONMENT, ROLLBACK
from support.mover.switch_job import Job

NAME = "restore-0a1b2c3d0000-1"
#: A signal that never expires, as who wants to switch too early would write it.
ALWAYS = 4e9
Write = Callable[..., object]


class Waiting(Job):
    """The Job of a restore that waits."""

    def go_on(self, monkeypatch: pytest.MonkeyPatch, wait: float = 5) -> SwitchResult | None:
        def opened(runtime: Any, request: Any, store: Any) -> Any:
            assert (request.signal.job, store) == (NAME, self.store)
            return SwitchRun(runtime, cast(Switcher, self), request, cast(Any, self.store))

        monkeypatch.setattr(module, "_opened", opened)
        runtime, store = Runtime(self.lines, self.token), cast(Any, self.store)
        return after_restore(runtime, request_(self.signal_file, wait), waits(self, wait), store)

    def order(self, job: str = NAME, until: float | None = None) -> None:
        moment = time.time() + 60 if until is None else until
        self.signal_file.write_text(json.dumps({"action": "Switch", "job": job, "notAfter": moment}))


def waits(job: Job, wait: float) -> SignalWait:
    return SignalWait.model_construct(signal_file=str(job.signal_file), ready_file=None, wait=wait, job=NAME)


def request_(signal_file: Path, wait: float = 5) -> RestoreRequest:
    return RestoreRequest(
        store=StoreAccess(url="file:///store"),
        filestore=FilestoreAccess(claim="/claim", path="shop", layout="Plain"),
        environment_id=ENVIRONMENT,
        rollback_id=ROLLBACK,
        snapshot_id=ROLLBACK,
        signal=SignalWait(signal_file=str(signal_file), wait=max(wait, 1), job=NAME),
    )


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Waiting:
    monkeypatch.setattr(signals, "_POLL", 0.01)
    return Waiting(tmp_path)


def when_ready(monkeypatch: pytest.MonkeyPatch, then: Callable[[], object]) -> None:
    """Calls it once the Job waits."""

    def hit(name: str) -> None:
        if name == "switch-ready":
            then()

    monkeypatch.setattr(failpoints, "hit", hit)


def test_it_switches_by_its_signal(job: Waiting, monkeypatch: pytest.MonkeyPatch) -> None:
    when_ready(monkeypatch, job.order)
    found = job.go_on(monkeypatch)
    assert found is not None
    assert found.position == "New"
    assert job.calls == ["repair", "prepare", "forward", "close"]
    assert (job.lines.waits, job.states()) == (1, ["started", "switched"])


@pytest.mark.parametrize(
    "other", ["", "restore-0a1b2c3d0000-2", "switch-0a1b2c3d0000-1", "restore-ffffffff0000-1"], ids=repr
)
def test_row_142_a_signal_for_another_job_switches_nothing(
    job: Waiting, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    """Of another Rollback, or another attempt: an annotation that someone has copied to this pod."""
    when_ready(monkeypatch, lambda: job.order(other, ALWAYS))
    assert job.go_on(monkeypatch, wait=0.1) is None
    assert "forward" not in job.calls


def test_row_142_a_signal_before_it_is_ready_switches_nothing(job: Waiting, monkeypatch: pytest.MonkeyPatch) -> None:
    """Someone who may change pods has written it while the restore ran. That of the operator, which comes later, is
    obeyed."""
    job.order(until=ALWAYS)
    assert job.go_on(monkeypatch, wait=0.1) is None
    assert "forward" not in job.calls
    job.order(until=ALWAYS)
    when_ready(monkeypatch, job.order)
    assert job.go_on(monkeypatch) is not None


def stops(job: Waiting) -> None:
    job.token.cancel()


@pytest.mark.parametrize(
    "prevent",
    [
        pytest.param(lambda job: None, id="no signal in time"),
        pytest.param(stops, id="a drain of the node"),
        pytest.param(lambda job: job.fails.update(repair=OSError("the volume is gone")), id="the claim"),
        pytest.param(
            lambda job: job.fails.update(prepare=MoverError(conditions.SESSIONS_REMAIN, "a session stayed")),
            id="a session",
        ),
        pytest.param(
            lambda job: setattr(job.store, "error", StoreError(conditions.STORE_UNREACHABLE, "no answer")), id="store"
        ),
        pytest.param(lambda job: job.fails.update(prepare=RuntimeError("a fault of ours")), id="a fault"),
    ],
)
def test_row_142_what_prevents_the_switch_leaves_it_to_another_job(
    job: Waiting, monkeypatch: pytest.MonkeyPatch, prevent: Callable[[Waiting], object]
) -> None:
    """The restore has succeeded: nothing is restored a second time."""
    prevent(job)
    found: object = "not ended"
    with suppress(MoverError, OSError, RuntimeError):
        found = job.go_on(monkeypatch, wait=0.1)
    assert found is None
    assert "forward" not in job.calls
    assert job.states() in ([], ["started", "not-switched"])
    assert job.calls[-1] == "close"


def test_row_142_a_lost_connection_in_the_switch_is_no_success(job: Waiting, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor the result of the restore: something may have been renamed."""
    when_ready(monkeypatch, job.order)
    job.fails["forward"] = MoverError(conditions.DATABASE_UNREACHABLE, "lost", retryable=True)
    with pytest.raises(MoverError, match="lost"):
        job.go_on(monkeypatch)
    assert "not-switched" not in job.states()


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def request_of(tmp_path: Path) -> RestoreRequest:
    return request_(tmp_path / "signal")


class Big:
    """Stands for what a restore needs."""


def test_row_142_the_result_is_reported_before_the_switch_and_nothing_is_kept(
    job: Waiting, request_of: RestoreRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the restore has needed is free while the process waits, and its deadline does not count the wait."""
    said: list[str] = []
    alive: list[weakref.ref[Big]] = []
    result = RestoreResult(restored_database="shop_rb_1")
    used: list[object] = []

    class Run:
        def __init__(self, _: Runtime, _2: RestoreRequest, opened: object) -> None:
            used.append(opened)
            big = Big()
            self.big, big.me = big, self  # type: ignore[attr-defined] - a cycle
            alive.append(weakref.ref(big))

        def run(self) -> RestoreResult:
            return result

    def switched(*given: object) -> None:
        said.append("switch")
        used.append(given[-1])
        assert alive[0]() is None

    monkeypatch.setattr(restore, "RestoreRun", Run)
    for name in ("scratch", "folders"):
        monkeypatch.setattr(restore.opening, name, lambda *_: None)
    monkeypatch.setattr(module, "after_restore", switched)
    monkeypatch.setattr(job.lines, "restored", lambda found: said.append(found.restored_database), raising=False)
    gc.disable()
    try:
        assert restore.execute(Runtime(job.lines, job.token), request_of) is result
    finally:
        gc.enable()
    assert said == ["shop_rb_1", "switch"]
    assert used[0] is used[1], "another client is made, and asks the server again, while users wait"


def test_the_second_part_of_a_command_has_its_own_seconds() -> None:
    token = Token(0.2)
    token.restart(60)
    with suppress(Cancelled):
        token.sleep(0.5)
    assert not token.cancelled
    token.restart(0.05)
    first = Token(0.05)
    first.restart(0.1)
    with pytest.raises(Cancelled, match="deadline of 0 s"):
        first.sleep(30)
    endless = Token()
    endless.restart(0.01)
    assert not endless.ends
