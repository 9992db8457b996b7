"""Time in the API's format: RFC 3339 in UTC. Pure."""

from datetime import UTC, datetime


def text(moment: datetime) -> str:
    """``2026-01-31T12:00:00Z``: whole seconds, as metav1.Time has them."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse(value: str) -> datetime:
    """The moment of a timestamp. Raises ValueError where it is not valid."""
    return datetime.fromisoformat(value.replace("Z", "+00:00"))
