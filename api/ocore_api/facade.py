"""What every route reaches through `request.app.facade`."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ocore_api.auth import Authenticator
from ocore_api.cache import Cache
from ocore_api.http import page_files
from ocore_api.http.audit import Audit
from ocore_api.http.limits import StreamLimit, Turns
from ocore_api.http.metrics import Metrics
from ocore_api.settings import Settings
from ocore_api.streams import Hub
from ocore_api.writes.sizes import Measurements


@dataclass
class Facade:
    """The parts of one process."""

    settings: Settings
    authenticator: Authenticator
    cache: Cache
    client: Any
    metrics: Metrics = field(default_factory=Metrics)
    audit: Audit = field(default_factory=Audit)
    streams: StreamLimit = field(init=False)
    measurements: Measurements = field(default_factory=Measurements)
    hub: Hub = field(init=False)
    #: Plans of retention: a second of work would else hold up every request.
    plans: Turns = field(default_factory=Turns)
    #: Files of the page by their names; none unless it is served.
    page: Mapping[str, page_files.BuiltFile] = field(init=False)
    #: What runs until the end of the process.
    background: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    #: Called at SIGTERM, before the server waits for open requests: ends all streams.
    at_shutdown: list[Callable[[], None]] = field(default_factory=list)
    #: Whether SIGTERM has arrived.
    stopping: bool = False
    #: Why the process must be restarted, or None.
    failed: str | None = None

    def __post_init__(self) -> None:
        self.streams = StreamLimit(
            self.settings.max_streams, self.settings.max_streams_per_subject, self.metrics.streams
        )
        self.hub = Hub(
            self.cache.store,
            self.streams,
            self.metrics.streams_dropped,
            stall_seconds=self.settings.stream_stall_seconds,
            stale=lambda: self.cache.stale,
        )
        self.page = page_files.read(self.settings.ui_folder) if self.settings.ui else {}
        self.background += [self.authenticator.run, self.hub.run]
        self.at_shutdown.append(self.hub.close)

    def not_ready(self) -> list[str]:
        """Why requests cannot be served; empty if they can."""
        reasons = [self.failed, "the server is shutting down" if self.stopping else None]
        reasons += [self.authenticator.not_ready, self.cache.not_ready]
        return [r for r in reasons if r is not None]

    def stop(self) -> None:
        """Ends all streams; from now on the process is not ready."""
        self.stopping = True
        for close in self.at_shutdown:
            close()
