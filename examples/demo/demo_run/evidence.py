"""What is measured and compared: states of the application, times of an operation, downtime. All I/O goes through
Kube."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .kube import PRODUCTION, Kube
from .output import Observation, Output, StepFailed

Object = dict[str, Any]
#: An order with a smaller id may be committed after one with a larger id. So the comparison ends this many ids before
#: the last.
_MARGIN = 100


_FIGURES: tuple[tuple[str, Callable[[Object], str]], ...] = (
    ("orders", lambda s: f"{s['orders']['count']:,}"),
    ("confirmed orders", lambda s: f"{s['orders']['confirmed']:,}"),
    ("revenue", lambda s: f"€ {float(s['orders']['revenue']):,.2f}"),
    ("attachments", lambda s: f"{s['attachments']['count']:,}"),
    ("missing files", lambda s: f"{s['attachments']['missing']:,}"),
    ("restored by", lambda s: (s["database"]["rollback_id"] or "-")[:8]),
)
#: Also shown of a copy: what acts on the world, and its identity.
COPY_FIGURES: tuple[tuple[str, Callable[[Object], str]], ...] = (
    *_FIGURES,
    ("active mail servers", lambda s: str(s["acting"]["mail_servers"])),
    ("active scheduled jobs", lambda s: str(s["acting"]["jobs"])),
    ("enabled payment providers", lambda s: str(s["acting"]["payment_providers"])),
    ("database.is_neutralized", lambda s: "true" if s["acting"]["neutralized"] else "-"),
    ("database.uuid", lambda s: (s["database"]["uuid"] or "-")[:8]),
)


def show_state(
    output: Output,
    title: str,
    states: dict[str, Object],
    figures: tuple[tuple[str, Callable[[Object], str]], ...] = _FIGURES,
) -> None:
    """The application's own figures, one column for each state."""
    rows: list[tuple[str, ...]] = [(name, *(pick(s) for s in states.values())) for name, pick in figures]
    output.table(title, ("", *states), rows)


@dataclass(frozen=True)
class Mark:
    """What must exist after the rollback: the confirmed orders up to an id. Only the damage deletes a confirmed
    order."""

    up_to: int
    confirmed: int
    fingerprint: str

    @classmethod
    def take(cls, kube: Kube, state: Object) -> "Mark":
        """Of the application as it is now."""
        return cls.of(kube, max(0, (state["orders"]["last_id"] or 0) - _MARGIN))

    @classmethod
    def of(cls, kube: Kube, up_to: int, shop: str = PRODUCTION) -> "Mark":
        """Up to that id, of production or of staging."""
        found = kube.app(f"/api/orders?up_to={up_to}", shop)
        return cls(up_to, found["confirmed"], found["fingerprint"])


def not_neutralised(copy: Object, production: Object) -> str:
    """Why the copy's state is not that of a neutralised copy with its own identity; empty if it is."""
    acting = copy["acting"]
    active = [name for name in ("mail_servers", "jobs", "payment_providers") if acting[name]]
    if active:
        return f"staging still has active {', '.join(active)}"
    if not acting["neutralized"]:
        return "staging has no database.is_neutralized"
    if copy["database"]["uuid"] in (None, production["database"]["uuid"]):
        return "staging has production's database.uuid, or none"
    return ""


def changed_by_a_copy(before: Object, after: Object) -> str:
    """What differs in production's state and should not; empty if nothing. Orders differ: customers continue."""
    for section, key in (
        ("database", "uuid"),
        ("database", "rollback_id"),
        ("acting", "mail_servers"),
        ("acting", "jobs"),
        ("acting", "payment_providers"),
        ("acting", "neutralized"),
    ):
        was, now = before[section][key], after[section][key]
        if was != now:
            return f"production has changed: {section}.{key} was {was}, is {now}"
    return ""


def status_of(kube: Kube, kind: str, name: str) -> Object:
    """An operation's status. Raises StepFailed if the object was deleted."""
    obj = kube.get(kind, name)
    if obj is None:
        raise StepFailed(f"{kind} {name} does not exist any more: it was deleted")
    return dict(obj.get("status", {}))


def seconds_between(status: Object, start: str, end: str) -> float | None:
    """Seconds between two times of a status; None if one is missing."""
    if not status.get(start) or not status.get(end):
        return None
    return (datetime.fromisoformat(status[end]) - datetime.fromisoformat(status[start])).total_seconds()


def outages_since(kube: Kube, time: str) -> list[Object]:
    """Downtimes at the HTTP port that the load generator measured since that time (RFC 3339)."""
    since = datetime.fromisoformat(time)
    return [
        event
        for event in kube.load_events()
        if event["event"] == "outage" and datetime.fromisoformat(event["since"]) >= since
    ]


def wait_for_outage(output: Output, kube: Kube, time: str) -> float:
    """Seconds from the first failed to the first good request around the switch."""

    def observe() -> Observation:
        found = outages_since(kube, time)
        return Observation(bool(found), f"{sum(o['seconds'] for o in found):.1f} s" if found else "not answering yet")

    output.wait("downtime at the HTTP port", observe, 60, "kubectl -n demo logs job/load")
    return float(sum(o["seconds"] for o in outages_since(kube, time)))


def duration(seconds: float | None) -> str:
    """For the table of timings."""
    if seconds is None:
        return "-"
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"
