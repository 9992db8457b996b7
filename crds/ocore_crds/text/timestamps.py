"""Time in the API's format: RFC 3339 in UTC. Pure."""

from datetime import UTC, datetime, timedelta


def text(moment: datetime) -> str:
    """``2026-01-31T12:00:00Z``: whole seconds, as metav1.Time has them."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def exact(moment: datetime) -> str:
    """``2026-01-31T12:00:00.123Z``: with milliseconds, for what is measured or ordered within a second."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse(value: str) -> datetime:
    """The moment of a timestamp. Raises ValueError where it is not valid."""
    return datetime.fromisoformat(value.replace("Z", "+00:00"))


def second_after(*moments: datetime) -> datetime:
    """The first whole second after all of the moments: what has a time of whole seconds, and not an earlier one, began
    after them."""
    return max(moments).astimezone(UTC).replace(microsecond=0) + timedelta(seconds=1)


#: Years outside of which a program may fail that adds or subtracts months.
FIRST_YEAR, LAST_YEAR = 1970, 8999


def check(value: str) -> None:
    """Raises ValueError where the value is no moment in UTC, or one that is too far away to calculate with."""
    moment = parse(value)
    if moment.tzinfo is None or not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise ValueError(f"{value!r} is not a time of the years {FIRST_YEAR} to {LAST_YEAR} in UTC")
