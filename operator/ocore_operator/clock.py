"""Time in the API's format: RFC 3339 in UTC."""

from datetime import UTC, datetime, timedelta

from ocore_crds.text.timestamps import exact, parse, text

__all__ = ["after", "asked", "exact", "micro", "now", "parse", "seconds_since", "text"]


def now() -> datetime:
    """The current time, with the time zone UTC."""
    return datetime.now(UTC)


def micro(moment: datetime) -> str:
    """With six digits of seconds, as metav1.MicroTime has them."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def seconds_since(value: str, moment: datetime) -> float:
    """Seconds from a timestamp until `moment`; negative where the timestamp is later."""
    return (moment - parse(value)).total_seconds()


def after(moment: datetime, seconds: float) -> datetime:
    """`moment` plus seconds."""
    return moment + timedelta(seconds=seconds)


def asked(value: str, since: str, moment: datetime) -> bool:
    """Whether an annotation's time asks for something at `moment`: it is after `since`, and not in the future. Anyone
    may have written the text."""
    try:
        wanted = parse(value)
    except ValueError:
        return False
    return wanted.tzinfo is not None and parse(since) < wanted <= moment
