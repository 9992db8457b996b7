"""Time in the API's format: RFC 3339 in UTC."""

from datetime import UTC, datetime, timedelta


def now() -> datetime:
    """The current time, with the time zone UTC."""
    return datetime.now(UTC)


def text(moment: datetime) -> str:
    """``2026-01-31T12:00:00Z``: whole seconds, as metav1.Time has them."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def micro(moment: datetime) -> str:
    """With six digits of seconds, as metav1.MicroTime has them."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse(value: str) -> datetime:
    """The moment of a timestamp. Raises ValueError where it is not valid."""
    return datetime.fromisoformat(value.replace("Z", "+00:00"))


def seconds_since(value: str, moment: datetime) -> float:
    """Seconds from a timestamp until `moment`; negative where the timestamp is later."""
    return (moment - parse(value)).total_seconds()


def after(moment: datetime, seconds: float) -> datetime:
    """`moment` plus seconds."""
    return moment + timedelta(seconds=seconds)
