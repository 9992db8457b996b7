"""A server whose cache the tests feed."""

from typing import Any

from ocore_api.cache import Cache
from support.api import objects
from support.api.serving import Serving
from support.api.sse import Listener, until

SNAPSHOT = objects.uid_of("Snapshot/apps/before")
ROLLBACK = objects.uid_of("Rollback/apps/back")
SNAPSHOT_PATH = f"/api/environments/{objects.ENVIRONMENT}/snapshots/{SNAPSHOT}/progress"
ROLLBACK_PATH = f"/api/deployments/{ROLLBACK}/rollback/progress"


class Fed:
    """A server with an Environment `shop`, and a Snapshot `before` that runs."""

    def __init__(self, serving: Serving, cache: Cache) -> None:
        self.serving = serving
        self.cache = cache
        self.version = 10
        self.put("Environment", objects.environment())
        self.running(10)

    def put(self, kind: str, *objs: dict[str, Any]) -> None:
        """The watch delivers the objects with new versions. Nothing is sent between two of them."""
        for obj in objs:
            self.version += 1
            obj["metadata"]["resourceVersion"] = str(self.version)
        self.serving.call(lambda: [self.cache.store.put(kind, obj) for obj in objs])

    def running(self, percent: int, **how: Any) -> None:
        """The Snapshot runs."""
        self.put("Snapshot", objects.running(percent=percent, **how))

    def complete(self) -> None:
        """The Snapshot is Complete."""
        self.put("Snapshot", objects.complete())

    def remove(self, kind: str, name: str) -> None:
        """The object is gone."""
        self.serving.call(self.cache.store.remove, kind, "apps", name)

    def listen(
        self, path: str = SNAPSHOT_PATH, subject: str = "alice", last_event_id: str | None = None, **token: Any
    ) -> Listener:
        """Opens a stream."""
        claims = {"projects": [objects.PROJECT], **token}
        return Listener(self.serving.client(subject, **claims), path, last_event_id)

    def open_streams(self) -> int:
        """How many the server holds."""
        return self.serving.facade.streams.count

    def wait_for_streams(self, count: int) -> None:
        """Until the server holds so many."""
        until(lambda: self.open_streams() == count, f"{count} open streams")
