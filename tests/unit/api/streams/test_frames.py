"""The bytes of events, and what a Last-Event-ID stands for."""

import pytest

from ocore_api.streams.frames import Frame, Seen, comment, retry, seen

DATA = b'{"status":"running","percent":4}'
RUNNING = Frame("snapshot", 12, DATA, final=False)


def test_an_event_has_id_name_and_data() -> None:
    lines = RUNNING.event.decode().split("\n")
    assert lines[0].startswith("id: 12-")
    assert lines[1] == "event: snapshot-progress"
    assert lines[2] == 'data: {"status":"running","percent":4}'
    assert lines[3:] == ["", ""]
    assert b"event: rollback-progress\n" in Frame("rollback", 12, DATA, final=False).event


def test_every_replica_gives_the_same_state_the_same_id() -> None:
    assert RUNNING.event == Frame("snapshot", 12, DATA, final=False).event
    assert RUNNING.digest != Frame("snapshot", 12, b"{}", final=False).digest


@pytest.mark.parametrize(
    ("version", "event", "final", "covered"),
    [
        (12, DATA, False, True),
        (13, DATA, False, True),  # another field of the object has changed: nothing new for the client
        (13, b'{"status":"running","percent":5}', False, False),
        (11, b'{"status":"running","percent":3}', False, True),  # this replica is behind: never go back
        (12, DATA, True, False),
        (11, b'{"status":"completed"}', True, False),
    ],
)
def test_what_a_client_has_is_not_sent_again(version: int, event: bytes, final: bool, covered: bool) -> None:
    last = seen(RUNNING.event.decode().split("\n")[0].removeprefix("id: "))
    assert last is not None
    assert last.covers(Frame("snapshot", version, event, final=final)) is covered


@pytest.mark.parametrize(
    "id_",
    [
        None,
        "",
        "12",
        "12-",
        "-abcdefghijkl",
        "x-abcdefghijkl",
        "12-abc",
        "12-abcdefghijkl\n",
        "9" * 21 + "-abcdefghijkl",
    ],
)
def test_an_id_that_is_not_ours_stands_for_nothing(id_: str | None) -> None:
    assert seen(id_) is None


def test_an_id_is_read_back() -> None:
    assert seen("12-abcdefghijk_") == Seen(12, "abcdefghijk_")


def test_comments_and_retry() -> None:
    assert comment("bye") == b": bye\n\n"
    assert retry(1500) == b"retry: 1500\n\n"
