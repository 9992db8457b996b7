"""The load generator: writers that place and delete orders, garbage collection, and a probe of whether the application
answers.

Bounded in time and rate, and seeded: the same seed gives the same orders in the same order for each writer. Events are
JSON lines.
"""

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from . import shop
from .targets import HttpTarget, Target, TargetError

_PARTNERS = ("Azure Interior", "Deco Addict", "Gemini Furniture", "Lumber Inc", "Ready Mat", "The Jackson Group")
_WORDS = b"invoice quotation delivery contract order line product customer total tax payment date company ".split()
#: Contents that many orders share (a logo, general terms): deleting one order must not take the others' file.
_SHARED = 12
#: Orders a writer remembers as its own drafts.
_REMEMBER = 200
_PROBE_SECONDS = 0.05
#: A probe that takes longer counts as no answer: connecting to a deleted pod may hang for many seconds.
PROBE_TIMEOUT = 1.0
_PROGRESS_SECONDS = 5.0
#: After a failed write a writer waits this long, so that an outage makes no busy loop.
_BACK_OFF = 0.2


@dataclass(frozen=True)
class LoadPlan:
    """What to do, and for how long."""

    seconds: float
    rate: float = 50.0  # writes a second of all writers together
    writers: int = 4
    burst: int = 0  # orders placed at the start as fast as possible
    delete_share: float = 0.25
    confirmed_share: float = 0.5
    gc_seconds: float = 5.0  # between two garbage collections; 0 is never
    max_bytes: int = 64 * 1024
    seed: int = 1

    def __post_init__(self) -> None:
        """Raises ValueError if a figure is out of bounds."""
        if not 0 < self.seconds <= 86400:
            raise ValueError("seconds: more than 0, a day at most")
        if not 0 < self.rate <= 5000:
            raise ValueError("rate: more than 0, 5000 writes a second at most")
        if not 1 <= self.writers <= 100:
            raise ValueError("writers: 1 to 100")
        if not 0 <= self.burst <= 100_000:
            raise ValueError("burst: 0 to 100000 orders")
        if not (0 <= self.delete_share <= 1 and 0 <= self.confirmed_share <= 1):
            raise ValueError("shares: 0 to 1")
        if not 64 <= self.max_bytes <= 8 * 1024 * 1024:
            raise ValueError("max-bytes: 64 to 8388608")


@dataclass
class LoadReport:
    """What happened. Times are in seconds."""

    seconds: float = 0.0
    orders: int = 0
    attachments: int = 0
    bytes: int = 0
    deleted: int = 0
    gone: int = 0  # drafts that no longer existed
    gc_runs: int = 0
    gc_removed: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    outages: list[dict[str, Any]] = field(default_factory=list)

    def wire(self) -> dict[str, Any]:
        """For JSON."""
        return {**self.__dict__, "seconds": round(self.seconds, 2), "errors": dict(self.errors)}


def content(rng: random.Random, plan: LoadPlan) -> bytes:
    """A file: one in eight is shared among orders, the others are half text and half noise, most of them small."""
    if rng.random() < 0.125:
        rng = random.Random(f"shared-{rng.randrange(_SHARED)}")  # noqa: S311 - data, not secrets
    size = max(64, int(plan.max_bytes * rng.random() ** 3))
    if rng.random() < 0.5:
        return rng.randbytes(size)
    return b" ".join(rng.choices(_WORDS, k=size // 7))


class Pacer:
    """Hands out slots at a rate. Slots missed in an outage are not made up."""

    def __init__(self, rate: float) -> None:
        self._interval = 1.0 / rate
        self._lock = threading.Lock()
        self._next = time.monotonic()

    def wait(self, stop: threading.Event) -> bool:
        """Waits for the next slot; False when the run ends."""
        with self._lock:
            self._next = max(self._next, time.monotonic() - 10 * self._interval) + self._interval
            due = self._next
        return not stop.wait(max(0.0, due - time.monotonic()))


class Load:
    """One run."""

    def __init__(
        self, target: Target, plan: LoadPlan, emit: Callable[[str], None] = print, *, probe: HttpTarget | None = None
    ) -> None:
        self.target = target
        self.probe = probe
        self.plan = plan
        self.report = LoadReport()
        self.stop = threading.Event()
        self._emit = emit
        self._lock = threading.Lock()
        self._pacer = Pacer(plan.rate)
        self._burst = plan.burst

    def run(self) -> LoadReport:
        """Runs to its end, or until `stop` is set; threads that hang are left behind after two seconds."""
        started = time.monotonic()
        work: list[Callable[[], None]] = [lambda n=n: self._write(n) for n in range(self.plan.writers)]  # type: ignore[misc]
        if self.plan.gc_seconds > 0:
            work.append(self._collect)
        if self.probe is not None:
            probe = self.probe
            work.append(lambda: self._watch(probe))
        threads = [threading.Thread(target=w, daemon=True) for w in work]
        for thread in threads:
            thread.start()
        while not self.stop.wait(min(_PROGRESS_SECONDS, max(0.0, started + self.plan.seconds - time.monotonic()))):
            self._event("progress", **self._snapshot())
            if time.monotonic() - started >= self.plan.seconds:
                self.stop.set()
        deadline = time.monotonic() + 2.0
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self.report.seconds = time.monotonic() - started
        self._event("report", **self._snapshot())
        return self.report

    def _snapshot(self) -> dict[str, Any]:
        with self._lock:
            return self.report.wire()

    def _event(self, event: str, **data: Any) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._emit(json.dumps({"event": event, "time": now, **data}))

    def _failed(self, error: TargetError) -> None:
        with self._lock:
            self.report.errors[error.kind] += 1

    # --- threads -----------------------------------------------------------------------------------------
    def _write(self, number: int) -> None:
        rng = random.Random(f"{self.plan.seed}-{number}")  # noqa: S311 - data, not secrets
        drafts: list[int] = []
        while not self.stop.is_set():
            in_burst = self._take_burst()
            if not in_burst and not self._pacer.wait(self.stop):
                return
            try:
                if not in_burst and drafts and rng.random() < self.plan.delete_share:
                    self._delete(drafts.pop(rng.randrange(len(drafts))))
                else:
                    self._place(rng, drafts)
            except TargetError as error:
                self._failed(error)
                self.stop.wait(_BACK_OFF)

    def _take_burst(self) -> bool:
        with self._lock:
            taken = self._burst > 0
            self._burst -= taken
        return taken

    def _place(self, rng: random.Random, drafts: list[int]) -> None:
        state: shop.OrderState = "sale" if rng.random() < self.plan.confirmed_share else "draft"
        attachments = [
            shop.NewAttachment(f"document-{rng.randrange(10**6):06d}.txt", content(rng, self.plan), "text/plain")
            for _ in range(rng.randrange(1, 4))
        ]
        amount = Decimal(rng.randrange(1000, 500000)) / 100
        order_id = self.target.place(rng.choice(_PARTNERS), amount, state, attachments)
        if state == "draft":
            drafts.append(order_id)
            del drafts[:-_REMEMBER]
        with self._lock:
            self.report.orders += 1
            self.report.attachments += len(attachments)
            self.report.bytes += sum(len(a.data) for a in attachments)

    def _delete(self, order_id: int) -> None:
        deleted = self.target.delete(order_id)
        with self._lock:
            if deleted:
                self.report.deleted += 1
            else:
                self.report.gone += 1

    def _collect(self) -> None:
        while not self.stop.wait(self.plan.gc_seconds):
            try:
                removed = self.target.collect()
            except TargetError as error:
                self._failed(error)
                continue
            with self._lock:
                self.report.gc_runs += 1
                self.report.gc_removed += removed

    def _watch(self, probe: HttpTarget) -> None:
        """Measures downtime at the HTTP port: from the first request without a good answer to the first good answer."""
        down_since: tuple[float, str] | None = None
        while not self.stop.wait(_PROBE_SECONDS):
            asked, wall = time.monotonic(), datetime.now(UTC).isoformat(timespec="milliseconds")
            try:
                good = probe.request("GET", "/readyz")[0] == 200
            except TargetError:
                good = False
            if not good and down_since is None:
                down_since = (asked, wall)
                self._event("down")
            elif good and down_since is not None:
                outage = {"since": down_since[1], "seconds": round(time.monotonic() - down_since[0], 2)}
                down_since = None
                with self._lock:
                    self.report.outages.append(outage)
                self._event("outage", **outage)
