"""Which step of an operation is shown while several run. Pure; the operator and the facade show the same one."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from ocore_crds.text.timestamps import parse

_BEFORE_ALL = datetime.min.replace(tzinfo=UTC)


class Begun(NamedTuple):
    """A step as a status or a log has it. A time is absent where it is not known."""

    name: str
    state: str
    started_at: str | None
    completed_at: str | None


def shown_step(steps: Iterable[Begun], last: str | None) -> str | None:
    """The running step that began first, else the one that ended last; of equal ones the order of `steps` decides.
    None: none has begun.

    A step that begins while another one is shown never replaces it: of steps side by side that would flap. Never one
    that began before `last`, which was shown.
    """
    begun = sorted((s for s in steps if s.state in ("Running", "Done", "Failed")), key=lambda s: _moment(s.started_at))
    first = next((i for i, s in enumerate(begun) if s.name == last), 0)
    candidates = begun[first:]
    running = next((s for s in candidates if s.state == "Running"), None)
    found = running or max(reversed(candidates), key=lambda s: _moment(s.completed_at), default=None)
    return found.name if found is not None else last


def _moment(time: str | None) -> datetime:
    return parse(time) if time else _BEFORE_ALL
