"""Repeats what a store cannot do for now, for as long as the command may wait. What was read or uploaded in hours is
not discarded for minutes without an answer."""

import logging
import math
import random
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from ocore_mover.deadline import Token
from ocore_mover.errors import Cancelled, StoreError

log = logging.getLogger(__name__)

#: Seconds between two tries: doubled from the first to the longest.
FIRST_PAUSE = 2.0
LONGEST_PAUSE = 60.0
#: Most seconds for which a store's own hint is obeyed.
LONGEST_HINT = 600.0

Result = TypeVar("Result")


class Patience:
    """For one command. Thread-safe."""

    def __init__(self, token: Token, *, limit: float = math.inf, report: Callable[[str], object] | None = None) -> None:
        """`limit`: seconds for which one request may fail. With infinity the token needs a deadline: without one
        nothing would end. `report`: called with a message while the store fails, and with "" when it works again."""
        self._token = token
        self._limit = limit
        self._report = report or (lambda _: None)

    def run(self, request: Callable[[], Result]) -> Result:
        """What the request returns. Repeats it while it raises a retryable StoreError, and raises that after the limit.
        Raises Cancelled with the last of these."""
        pause, ends = FIRST_PAUSE, None
        while True:
            try:
                result = request()
            except StoreError as error:
                if not error.retryable:
                    raise
                ends = ends or time.monotonic() + self._limit
                left = ends - time.monotonic()
                if left <= 0:
                    raise
                seconds = max(pause * random.uniform(0.5, 1.0), hinted(error))  # noqa: S311 - jitter, not a secret
                seconds, pause = min(seconds, left), min(2 * pause, LONGEST_PAUSE)
                log.warning("the store fails; trying again", extra={"error": error.message, "seconds": round(seconds)})
                self._report(f"The store fails; trying again. Last error: {error.message}")
                try:
                    self._token.sleep(seconds)
                except Cancelled as end:
                    raise Cancelled(
                        end.reason, f"{end.message} Last error: {error.message}", retryable=end.retryable
                    ) from error
            else:
                if ends is not None:
                    self._report("")
                return result

    def check(self) -> None:
        """Raises Cancelled once the command is cancelled."""
        self._token.check()


def hinted(error: StoreError) -> float:
    """Seconds that the store asks to wait (Retry-After); 0 where it does not say."""
    # botocore's ClientError. It is not imported here: that takes longer than the rest of the start, and a store on a
    # claim needs none of it. Its errors of connections have a response, too: None.
    response: Mapping[str, Any] = getattr(error.__cause__, "response", None) or {}
    headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    text = str(headers.get("retry-after", ""))
    if text.isascii() and text.isdigit():
        return min(float(text), LONGEST_HINT)
    try:
        seconds = (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return min(max(seconds, 0.0), LONGEST_HINT)
