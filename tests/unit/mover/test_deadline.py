"""The token of a command: its deadline, SIGTERM and a failed part end it, and every part of it is interrupted."""

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from ocore_crds import conditions
from ocore_mover.deadline import Token
from ocore_mover.errors import Cancelled, MoverError

#: Seconds that a thread may take to start on a busy machine.
PATIENCE = 10.0


def wait_for(event: threading.Event) -> None:
    assert event.wait(PATIENCE)


def reason_of(call: Callable[[], object]) -> tuple[str, bool]:
    """Reason of the cancellation, and whether the command may be tried again."""
    with pytest.raises(Cancelled) as raised:
        call()
    return raised.value.reason, raised.value.retryable


def test_a_command_that_is_not_cancelled_continues() -> None:
    token = Token()
    token.check()
    token.sleep(0)
    assert (token.cancelled, token.ends, token.seconds_left) == (False, False, None)


def test_sigterm_cancels_a_command_that_may_be_repeated() -> None:
    token = Token()
    token.cancel()
    assert token.cancelled
    for call in (token.check, lambda: token.sleep(PATIENCE)):
        assert reason_of(call) == (conditions.CANCELLED, True)


def test_the_first_error_counts_and_each_raise_is_another_object() -> None:
    token = Token()
    token.cancel(MoverError(conditions.NO_SPACE, "full", retryable=False))
    token.cancel()
    assert reason_of(token.check) == (conditions.NO_SPACE, False)
    raised = []
    for _ in range(2):
        with pytest.raises(Cancelled, match="full") as error:
            token.check()
        raised.append(error.value)
    assert raised[0] is not raised[1]


def test_the_deadline_ends_a_command_that_sleeps_and_names_its_seconds() -> None:
    token = Token(0.01)
    with pytest.raises(Cancelled, match="not finished within the deadline of 0 s") as raised:
        token.sleep(PATIENCE)
    assert (raised.value.reason, raised.value.retryable) == (conditions.DEADLINE_EXCEEDED, False)
    assert (token.ends, token.seconds_left) == (True, 0.0)


def test_a_deadline_in_the_future_is_counted_from_now() -> None:
    before = time.monotonic()
    token = Token(1000)
    left = token.seconds_left
    assert left is not None
    assert 1000 - (time.monotonic() - before) <= left <= 1000
    assert (token.ends, token.cancelled) == (True, False)
    token.check()


def test_a_deadline_that_has_passed_cancels_at_once() -> None:
    token = Token(-5)
    with pytest.raises(Cancelled, match="deadline of -5 s"):
        token.sleep(PATIENCE)
    assert token.seconds_left == 0.0


def test_what_blocks_is_interrupted_when_the_command_is_cancelled() -> None:
    """Every callback runs, also after one that fails; one whose block has ended does not."""
    token, ended, first, second = Token(), [], threading.Event(), threading.Event()

    def fails() -> None:
        first.set()
        raise OSError("the connection is closed")

    with token.on_cancel(lambda: ended.append("called")):
        pass
    with token.on_cancel(fails), token.on_cancel(second.set):
        token.cancel()
        wait_for(first)
        wait_for(second)
    assert ended == []


def test_a_callback_that_fails_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    token, last = Token(), threading.Event()

    def fails() -> None:
        raise OSError("the connection is closed")

    with caplog.at_level(logging.WARNING), token.on_cancel(fails), token.on_cancel(last.set):
        token.cancel()
        wait_for(last)
    assert [record.__dict__["error"] for record in caplog.records] == ["the connection is closed"]


def test_what_would_block_after_the_cancellation_is_not_begun() -> None:
    token = Token()
    token.cancel()
    with pytest.raises(Cancelled), token.on_cancel(lambda: None):
        pytest.fail("the block was entered")


def test_a_part_ends_with_the_whole_command() -> None:
    token = Token()
    with token.within(PATIENCE * 10) as part:
        part.check()
        token.cancel(MoverError(conditions.NO_SPACE, "full"))
        assert reason_of(lambda: part.sleep(PATIENCE)) == (conditions.NO_SPACE, False)


def test_a_part_has_its_own_deadline() -> None:
    """The command continues after it."""
    token = Token()
    with token.within(0.01) as part:
        assert reason_of(lambda: part.sleep(PATIENCE)) == (conditions.DEADLINE_EXCEEDED, False)
    token.check()
    assert not token.cancelled


def test_a_command_that_has_finished_does_not_wait_for_its_deadline() -> None:
    script = "from ocore_mover.deadline import Token; Token(1000)"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
