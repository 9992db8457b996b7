"""The newest event of one operation, as its readers get it."""

import json

import pytest

from ocore_api.cache import SnapshotEntry
from ocore_api.cache.store import Store
from ocore_api.streams.progress import Topic
from ocore_api.views import models
from support.api import objects as o
from support.api.fed import SNAPSHOT


def followed(store: Store) -> Topic:
    """The Snapshot `before`, which the store keeps current."""
    entry = store.served.find(SnapshotEntry, SNAPSHOT)
    assert entry is not None
    topic = Topic(entry)
    store.changes.listeners.append(topic.changed)
    return topic


@pytest.fixture
def store() -> Store:
    """With an Environment, and a Snapshot that runs."""
    found = Store()
    found.put("Environment", o.environment())
    found.put("Snapshot", o.running(percent=10, version=2))
    return found


def test_a_change_that_the_event_does_not_show_is_no_new_event(store: Store) -> None:
    topic = followed(store)
    first = topic.frame
    store.put("Snapshot", o.running(percent=10, version=3))
    assert topic.frame is first
    store.put("Snapshot", o.running(percent=20, version=4))
    assert (topic.frame.version, topic.frame.final) == (4, False)
    assert b'"percent":20' in topic.frame.data
    store.put("Snapshot", o.complete(version=5))
    assert (topic.frame.version, topic.frame.final) == (5, True)
    assert b'"percent":100' in topic.frame.data


@pytest.mark.parametrize("how", ["removed", "hidden", "deleting"])
def test_a_deleted_operation_has_a_final_event(store: Store, how: str) -> None:
    topic = followed(store)
    if how == "removed":
        store.remove("Snapshot", "apps", "before")
    elif how == "hidden":
        store.hide("Snapshot", SNAPSHOT)
    else:
        store.put("Snapshot", o.running(version=3, deletionTimestamp=o.at(5)))
    data = topic.frame.event.decode().split("data: ")[1]
    event = models.ProgressEvent.model_validate_json(data)
    assert (topic.frame.final, event.status, event.percent) == (True, "failed", 10)
    assert "deleted" in event.message


def test_a_terminal_operation_that_is_deleted_keeps_its_event(store: Store) -> None:
    store.put("Snapshot", o.complete(version=3))
    topic = followed(store)
    store.remove("Snapshot", "apps", "before")
    assert json.loads(topic.frame.event.decode().split("data: ")[1])["status"] == "completed"
