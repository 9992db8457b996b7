"""The stream of all changes: what a reader gets, what it never gets, and how little a flood costs."""

import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from ocore_api.cache import Cache
from ocore_api.cache.changes import OBJECTS
from ocore_api.streams import changes
from ocore_api.views.console.models import ChangeEvent, ResetEvent
from support.api import objects as o
from support.api.fed import ROLLBACK, SNAPSHOT, Fed
from support.api.sse import DEADLINE, Event, Listener, until

PATH = "/console/v1/events"
FOREIGN = o.uid_of("foreign environment")


def listen(fed: Fed, path: str = PATH, **how: Any) -> Listener:
    return fed.listen(path, **how)


def begin(fed: Fed, path: str = PATH, **how: Any) -> Listener:
    """A reader that has what was there before."""
    listener = listen(fed, path, **how)
    first = listener.event()
    assert first.name == "reset", first
    ResetEvent.model_validate(first.data)
    _drained(fed, listener)
    return listener


def _drained(fed: Fed, listener: Listener) -> None:
    """Takes what has come so far, up to the change of a marker."""
    fed.put("Environment", o.environment())
    while not (listener.event().name == "environment" and _is_quiet(listener)):
        pass


def _is_quiet(listener: Listener) -> bool:
    time.sleep(0.7)
    return listener._events.empty()


def following(listener: Listener, name: str) -> Event:
    """The next event of that name."""
    while True:
        found = listener.event()
        if found.name == name:
            ChangeEvent.model_validate(found.data)
            return found


def test_every_change_comes_with_the_newest_state(fed: Fed) -> None:
    listener = begin(fed)
    fed.running(50)
    event = following(listener, "snapshot")
    assert (event.data["id"], event.data["environmentId"], event.data["projectId"]) == (
        SNAPSHOT,
        o.ENVIRONMENT,
        o.PROJECT,
    )
    assert (event.data["object"]["percent"], event.data["deleted"]) == (50, False)
    fed.put("Rollback", o.rolled_back())
    assert following(listener, "rollback").data["object"]["id"] == ROLLBACK
    fed.put("Rollback", o.rollback("preview", {"snapshotRef": {"name": "before"}, "dryRun": True}))
    assert following(listener, "preview").data["object"]["report"] is None
    fed.put("Extract", o.extract())
    assert following(listener, "extract").data["object"]["files"] == {"paths": ["a"]}
    fed.remove("Extract", "extract")
    event = following(listener, "extract")
    assert (event.data["deleted"], event.data["object"]) == (True, None)


def test_an_environment_changes_with_its_policy_and_its_operation(fed: Fed) -> None:
    listener = begin(fed)
    fed.put(
        "SnapshotPolicy",
        o.obj("SnapshotPolicy", "shop", {"environmentRef": {"name": "shop"}}, {"nextScheduleTime": o.at(9)}),
    )
    assert following(listener, "environment").data["object"]["nextSnapshotAt"] == o.at(9)
    status = {"operation": {"kind": "Snapshot", "name": "before", "uid": "u", "since": o.at(1)}}
    fed.put("Environment", o.environment(status=status))
    assert following(listener, "environment").data["object"]["operation"]["percent"] == 10
    fed.running(60)
    assert following(listener, "environment").data["object"]["operation"]["percent"] == 60


def test_row_45_nothing_of_others_is_sent(fed: Fed) -> None:
    fed.put("Environment", o.environment("foreign", FOREIGN, o.OTHER_PROJECT))
    fed.put("Environment", o.environment("stage", o.OTHER_ENVIRONMENT))
    mine = begin(fed)
    part = listen(fed, subject="part", projects=[], environments=[o.OTHER_ENVIRONMENT])
    assert part.event().name == "reset"
    others = o.source(FOREIGN, o.OTHER_PROJECT, "foreign")
    fed.put("Snapshot", o.complete("f", of=others))
    fed.put("Snapshot", o.running("before"))
    fed.put("Snapshot", o.complete("s", of=o.source(o.OTHER_ENVIRONMENT, name="stage")))
    time.sleep(1.5)
    fed.serving.call(fed.serving.facade.hub.close)
    found = {id(x): [e for e in x.rest() if e.name != "reset"] for x in (mine, part)}
    assert {e.data["environmentId"] for e in found[id(mine)]} == {o.ENVIRONMENT, o.OTHER_ENVIRONMENT}
    assert {e.data["environmentId"] for e in found[id(part)]} == {o.OTHER_ENVIRONMENT}
    assert all(e.data["projectId"] == o.PROJECT for x in found.values() for e in x)


@pytest.mark.parametrize("query", [f"environmentId={FOREIGN}", f"projectId={o.OTHER_PROJECT}"])
def test_a_filter_that_is_not_the_callers_is_not_found(fed: Fed, query: str) -> None:
    fed.put("Environment", o.environment("foreign", FOREIGN, o.OTHER_PROJECT))
    assert listen(fed, f"{PATH}?{query}").status == 404


def test_a_filter_restricts_what_is_sent(fed: Fed) -> None:
    fed.put("Environment", o.environment("stage", o.OTHER_ENVIRONMENT))
    listener = listen(fed, f"{PATH}?environmentId={o.OTHER_ENVIRONMENT}&projectId={o.PROJECT}")
    assert listener.event().name == "reset"
    fed.running(70)
    fed.put("Environment", o.environment("stage", o.OTHER_ENVIRONMENT, status={"phase": "Ready"}))
    assert following(listener, "environment").data["id"] == o.OTHER_ENVIRONMENT


def test_a_reader_continues_where_it_was(fed: Fed) -> None:
    listener = begin(fed)
    fed.running(20)
    last = following(listener, "snapshot")
    listener.leave()
    fed.put("Rollback", o.rolled_back())
    again = listen(fed, last_event_id=last.id)
    names = [again.event().name, again.event().name]
    assert "reset" not in names
    assert "rollback" in names


@pytest.mark.parametrize("event_id", ["", "x", "5f0c9a1b2c3d-12", "-1"])
def test_an_unknown_id_means_reset(fed: Fed, event_id: str) -> None:
    assert listen(fed, last_event_id=event_id).event().name == "reset"


def test_an_id_of_the_future_means_reset(fed: Fed) -> None:
    boot = begin(fed)
    fed.running(20)
    last = following(boot, "snapshot").id
    assert listen(fed, last_event_id=f"{last}000").event().name == "reset"


def test_who_missed_too_much_reads_again(fed: Fed) -> None:
    listener = begin(fed)
    fed.running(20)
    last = following(listener, "snapshot")
    listener.leave()
    for number in range(OBJECTS + 2):
        fed.put("Snapshot", o.complete(f"s{number}"))
    assert listen(fed, last_event_id=last.id).event().name == "reset"


def test_row_114_a_flood_is_sent_as_the_newest_state(fed: Fed) -> None:
    fed.put("Environment", o.environment("stage", o.OTHER_ENVIRONMENT))
    listener = begin(fed, projects=[], environments=[o.ENVIRONMENT])
    both = begin(fed)
    fed.put("Snapshot", *(o.running(percent=percent) for percent in range(99)))
    stage = o.source(o.OTHER_ENVIRONMENT, name="stage")
    fed.put("Snapshot", *(o.complete(f"s{number}", of=stage) for number in range(2 * OBJECTS)))
    remembered = fed.serving.call(lambda: len(fed.cache.store.changes.after(0, [o.OTHER_ENVIRONMENT])))
    assert remembered <= OBJECTS
    newest = [listener.event()]
    while newest[-1].name != "snapshot" or newest[-1].data["object"]["percent"] != 98:
        newest.append(listener.event())
    assert "reset" not in [event.name for event in newest], "what others do displaces nothing"
    assert len(newest) < 60
    while both.event().name != "reset":  # who sees both reads again
        pass


def test_row_114_text_of_a_tenant_is_one_line_of_json(fed: Fed) -> None:
    listener = begin(fed)
    hostile = "x\n\ndata: {}\nevent: reset\r\u2028<img src=x onerror=alert(1)>"
    fed.put("Snapshot", o.complete("before", {"pin": {"label": hostile}}))
    assert following(listener, "snapshot").data["object"]["pinLabel"] == hostile


def test_a_token_that_expires_ends_the_stream(feed: Callable[..., Fed]) -> None:
    fed = feed(jwt_leeway=0)
    listener = listen(fed, lifetime=3)
    listener.rest()
    assert "the token has expired" in listener.comments
    fed.wait_for_streams(0)


def test_streams_of_changes_count_as_streams(feed: Callable[..., Fed]) -> None:
    fed = feed(max_streams_per_subject=1)
    first = listen(fed)
    assert first.status == 200
    assert listen(fed).status == 429
    first.leave()
    fed.wait_for_streams(0)
    assert listen(fed).status == 200


def test_the_end_of_the_server_ends_the_stream(fed: Fed) -> None:
    listener = begin(fed)
    fed.serving.stop()
    listener.rest()
    assert "this server is shutting down" in listener.comments


def test_row_118_no_stream_is_open_while_changes_are_missed(fed: Fed, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that gets nothing but signs of life would take what it has for what is."""
    listener = begin(fed)
    monkeypatch.setattr(Cache, "stale", property(lambda _: True))
    listener.rest()
    assert "the API server does not answer" in listener.comments
    with fed.serving.client(projects=[o.PROJECT]) as client:
        refused = client.get(PATH)
    assert refused.status_code == 503
    assert refused.json()["reason"] == "ApiServerUnavailable"
    assert refused.headers["retry-after"] == "5"
    monkeypatch.undo()
    begin(fed)


def test_row_114_a_reader_that_reads_nothing_is_dropped(
    feed: Callable[..., Fed], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "PACE", 0.01)
    fed = feed(stream_stall_seconds=1)
    with socket.socket() as stuck:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        host, port = fed.serving.url.removeprefix("http://").split(":")
        stuck.connect((host, int(port)))
        token = fed.serving.issuer.token(projects=[o.PROJECT])
        stuck.sendall(f"GET {PATH} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
        fed.wait_for_streams(1)
        for number in range(60):
            fed.put("Snapshot", o.complete(f"s{number}", {"pin": {"label": "x" * 200_000}}))
        until(lambda: fed.open_streams() == 0, "the reader is dropped", DEADLINE)
    assert fed.serving.facade.metrics.registry.get_sample_value("ocore_api_streams_dropped_total") == 1
