"""Streams on a real server: what a client gets, when a stream ends, and who may read it."""

from collections.abc import Callable

import pytest

from ocore_api.streams import hub as hubs
from support.api import objects
from support.api.fed import ROLLBACK, ROLLBACK_PATH, SNAPSHOT, SNAPSHOT_PATH, Fed
from support.api.sse import until

OTHER = "dddddddd-0000-4000-8000-000000000009"


# --- events --------------------------------------------------------------------------------------------------
def test_a_snapshot_from_running_to_complete(fed: Fed) -> None:
    stream = fed.listen()
    first = stream.event()
    assert (first.name, first.data["status"], first.data["percent"]) == ("snapshot-progress", "running", 10)
    assert set(first.data) == {"id", "status", "step", "percent", "bytesDone", "bytesTotal", "message", "time"}
    assert first.data["id"] == SNAPSHOT
    fed.running(50)
    assert stream.event().data["percent"] == 50
    fed.complete()
    (last,) = stream.rest()
    assert (last.data["status"], last.data["percent"]) == ("completed", 100)
    assert stream.failure is None
    fed.wait_for_streams(0)


def test_headers_keep_proxies_from_holding_events_back(fed: Fed) -> None:
    stream = fed.listen()
    assert stream.status == 200
    assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert stream.headers["cache-control"] == "no-store"
    assert stream.headers["x-accel-buffering"] == "no"
    assert "set-cookie" not in stream.headers
    assert stream.event()
    assert stream.retry is not None
    assert 1000 <= stream.retry <= 3000


def test_a_rollback_that_has_not_started_yet(fed: Fed) -> None:
    fed.complete()
    fed.put(
        "Rollback", objects.rollback(spec={"snapshotRef": {"name": "before"}, "targetEnvironmentRef": {"name": "shop"}})
    )
    stream = fed.listen(ROLLBACK_PATH)
    first = stream.event()
    assert (first.name, first.data["status"], first.data["id"]) == ("rollback-progress", "pending", ROLLBACK)
    fed.put("Rollback", objects.rolled_back())
    assert [e.data["status"] for e in stream.rest()] == ["completed"]


def test_a_failure_is_a_final_event_with_its_message(fed: Fed) -> None:
    stream = fed.listen()
    stream.event()
    fed.put("Snapshot", objects.failed())
    (last,) = stream.rest()
    assert (last.data["status"], last.data["message"]) == ("failed", "pg_dump exited with code 1: disk full.")


def test_a_finished_operation_sends_its_final_event_and_ends(fed: Fed) -> None:
    fed.complete()
    assert [e.data["status"] for e in fed.listen().rest()] == ["completed"]


def test_a_deleted_snapshot_ends_its_streams(fed: Fed) -> None:
    stream = fed.listen()
    stream.event()
    fed.remove("Snapshot", "before")
    (last,) = stream.rest()
    assert last.data["status"] == "failed"
    assert "deleted" in last.data["message"]
    assert fed.listen().status == 404


def test_a_change_that_does_not_concern_the_progress_sends_nothing(fed: Fed) -> None:
    stream = fed.listen()
    stream.event()
    fed.running(10, labels={"a": "b"})
    fed.running(20)
    assert stream.event().data["percent"] == 20


def test_200_readers_get_every_final_event(feed: Callable[..., Fed]) -> None:
    fed = feed(max_streams_per_subject=1000, rate_burst=1000)
    streams = [fed.listen() for _ in range(200)]
    fed.wait_for_streams(200)
    for percent in (20, 30, 40):
        fed.running(percent)
    fed.complete()
    for stream in streams:
        events = stream.rest()
        assert [e.data["status"] for e in events][-1] == "completed"
        percents = [e.data["percent"] for e in events]
        assert percents == sorted(percents)
    fed.wait_for_streams(0)
    assert fed.serving.facade.hub.topics == {}


# --- resumed -------------------------------------------------------------------------------------------------
def test_a_resumed_stream_sends_later_events_only(fed: Fed) -> None:
    first = fed.listen().event()
    stream = fed.listen(last_event_id=first.id)
    fed.running(60)
    assert stream.event().data["percent"] == 60


def test_a_stream_resumed_with_an_old_id_sends_the_current_state(fed: Fed) -> None:
    first = fed.listen().event()
    fed.running(60)
    assert fed.listen(last_event_id=first.id).event().data["percent"] == 60
    assert fed.listen(last_event_id="what is this").event().data["percent"] == 60


def test_the_id_of_one_replica_is_understood_by_another(fed: Fed, feed: Callable[..., Fed]) -> None:
    other = feed()
    other.version = fed.version = 50
    for each in (fed, other):
        each.running(60)
    assert fed.listen().event().id == other.listen().event().id


def test_a_replica_that_is_behind_never_goes_back(fed: Fed) -> None:
    newest = fed.listen().event()
    ahead = f"{fed.version + 2}-{'x' * 12}"
    assert newest.id != ahead
    stream = fed.listen(last_event_id=ahead)
    fed.running(20)  # the client has seen more than this already
    fed.running(30)
    fed.running(40)
    assert stream.event().data["percent"] == 40


def test_a_client_that_has_the_final_event_gets_204(fed: Fed) -> None:
    """An EventSource that is not closed opens every stream again that ended, unless the answer is 204."""
    fed.complete()
    (last,) = fed.listen().rest()
    with fed.serving.client(projects=[objects.PROJECT]) as client:
        answer = client.get(SNAPSHOT_PATH, headers={"Last-Event-ID": last.id})
        assert (answer.status_code, answer.content) == (204, b"")
        assert client.get(SNAPSHOT_PATH, headers={"Last-Event-ID": last.id}).status_code == 204, (
            "the connection is good"
        )
    fed.wait_for_streams(0)


def test_the_final_event_is_sent_to_a_client_that_has_another_one(fed: Fed) -> None:
    running = fed.listen().event()
    fed.complete()
    (last,) = fed.listen(last_event_id=running.id).rest()
    newer = f"{fed.version + 2}-{'x' * 12}"
    assert [e.id for e in fed.listen(last_event_id=newer).rest()] == [last.id]


# --- the end -------------------------------------------------------------------------------------------------
def test_a_comment_is_sent_while_nothing_happens(fed: Fed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hubs, "KEEP_ALIVE", 0.1)
    stream = fed.listen()
    stream.event()
    until(lambda: stream.comments.count("alive") >= 2, "two comments")


def test_an_expired_token_ends_its_streams(feed: Callable[..., Fed]) -> None:
    fed = feed(jwt_leeway=0)
    lasting, brief = fed.listen(), fed.listen(lifetime=3)
    assert brief.event()
    assert brief.rest() == []
    assert brief.comments[-1] == "the token has expired"
    assert brief.failure is None
    lasting.event()
    fed.running(70)
    assert lasting.event().data["percent"] == 70


def test_a_snapshot_that_moves_to_another_project_ends_the_stream(fed: Fed) -> None:
    """Its recorded source decides, for an event as for a read."""
    stream = fed.listen()
    stream.event()
    moved = objects.running(percent=55)
    moved["status"]["source"] = objects.source(project=objects.OTHER_PROJECT)
    fed.put("Snapshot", moved)
    assert stream.rest() == []
    assert "not visible" in stream.comments[-1]


def test_a_move_without_an_event_ends_the_stream_too(fed: Fed) -> None:
    stream = fed.listen()
    stream.event()
    moved = objects.running(percent=10)
    moved["status"]["source"] = objects.source(id_=objects.OTHER_ENVIRONMENT)
    fed.put("Snapshot", moved)
    assert stream.rest() == []


def test_a_client_that_leaves_is_forgotten(fed: Fed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hubs, "KEEP_ALIVE", 0.1)  # the next write finds it gone
    stream = fed.listen()
    stream.event()
    fed.wait_for_streams(1)
    stream.leave()
    fed.wait_for_streams(0)
    assert fed.serving.facade.hub.topics == {}
    fed.running(20)


# --- who may read --------------------------------------------------------------------------------------------
def test_a_stream_needs_a_token(fed: Fed) -> None:
    with fed.serving.anonymous() as client:
        assert client.get(SNAPSHOT_PATH).status_code == 401
        token = fed.serving.issuer.token(projects=[objects.PROJECT])
        for name in ("token", "access_token", "authorization"):
            assert client.get(SNAPSHOT_PATH, params={name: token}).status_code == 401
            client.cookies.set(name, token)
            assert client.get(SNAPSHOT_PATH).status_code == 401


def test_a_stream_needs_the_scope_read(fed: Fed) -> None:
    with fed.serving.client(projects=[objects.PROJECT], scope="snapshot rollback admin") as client:
        assert client.get(SNAPSHOT_PATH).status_code == 403


@pytest.mark.parametrize("path", [SNAPSHOT_PATH, ROLLBACK_PATH])
def test_unknown_and_not_yours_are_the_same(fed: Fed, path: str) -> None:
    fed.put("Rollback", objects.rolled_back())
    stranger = {"projects": [objects.OTHER_PROJECT]}

    def answer(asked: str, **token: object) -> tuple[int, dict[str, object]]:
        with fed.serving.client(**token) as client:
            response = client.get(asked)
        return response.status_code, {k: v for k, v in response.json().items() if k not in ("requestId", "detail")}

    absent = path.replace(ROLLBACK, OTHER).replace(SNAPSHOT, OTHER)
    assert answer(path, **stranger) == answer(absent, **stranger) == answer(absent, projects=[objects.PROJECT])
    assert answer(path, **stranger)[0] == 404


def test_the_environment_of_the_path_owns_the_snapshot(fed: Fed) -> None:
    fed.put("Environment", objects.environment("copy", objects.OTHER_ENVIRONMENT))
    with fed.serving.client(projects=[objects.PROJECT]) as client:
        wrong = SNAPSHOT_PATH.replace(objects.ENVIRONMENT, objects.OTHER_ENVIRONMENT)
        assert client.get(wrong).status_code == 404


def test_an_environments_token_is_enough(fed: Fed) -> None:
    stream = fed.listen(projects=[], environments=[objects.ENVIRONMENT])
    assert stream.event().data["percent"] == 10


@pytest.mark.parametrize("path", ["/api/deployments/x/rollback/progress", SNAPSHOT_PATH.replace(SNAPSHOT, "x")])
def test_ids_are_uuids(fed: Fed, path: str) -> None:
    with fed.serving.client(projects=[objects.PROJECT]) as client:
        assert client.get(path).status_code == 422


# --- limits --------------------------------------------------------------------------------------------------
def test_streams_of_one_subject_are_limited(feed: Callable[..., Fed], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hubs, "KEEP_ALIVE", 0.1)
    fed = feed(max_streams_per_subject=1)
    first = fed.listen()
    first.event()
    assert fed.listen().status == 429
    assert fed.listen(subject="bob").status == 200
    first.leave()
    fed.wait_for_streams(1)
    assert fed.listen().status == 200


def test_streams_of_all_are_limited(feed: Callable[..., Fed]) -> None:
    fed = feed(max_streams=1)
    fed.listen().event()
    refused = fed.listen(subject="bob")
    assert refused.status == 503
    assert refused.headers["retry-after"]


def test_streams_are_counted_and_never_audited(fed: Fed) -> None:
    fed.complete()
    fed.listen().rest()
    text = fed.serving.metrics()
    route = "/api/environments/{environmentId}/snapshots/{snapshotId}/progress"
    assert f'ocore_api_requests_total{{method="GET",route="{route}",status="200"}} 1.0' in text
    assert "ocore_api_streams 0.0" in text
    assert fed.serving.audit_lines() == []


def test_the_document_describes_the_streams(fed: Fed) -> None:
    with fed.serving.anonymous() as client:
        paths = client.get("/openapi.json").json()["paths"]
    for path, name in (
        ("/api/deployments/{deploymentId}/rollback/progress", "rollback"),
        ("/api/environments/{environmentId}/snapshots/{snapshotId}/progress", "snapshot"),
    ):
        operation = paths[path]["get"]
        answer = operation["responses"]["200"]
        assert answer["description"] == f"SSE stream of {name}-progress events"
        assert list(answer["content"]) == ["text/event-stream"]
