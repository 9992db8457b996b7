"""Repeats what a store cannot do for now until the command's deadline: what was uploaded in hours is not discarded for
minutes without an answer."""

import logging
import random
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

    def __init__(self, token: Token) -> None:
        """The token has a deadline: without one nothing would end."""
        self._token = token

    def run(self, request: Callable[[], Result]) -> Result:
        """What the request returns. Repeats it while it raises a retryable StoreError. Raises Cancelled with the last
        of these."""
        pause = FIRST_PAUSE
        while True:
            try:
                return request()
            except StoreError as error:
                if not error.retryable:
                    raise
                seconds = max(pause * random.uniform(0.5, 1.0), hinted(error))  # noqa: S311 - jitter, not a secret
                pause = min(2 * pause, LONGEST_PAUSE)
                log.warning("the store fails; trying again", extra={"error": error.message, "seconds": round(seconds)})
                try:
                    self._token.sleep(seconds)
                except Cancelled as end:
                    raise Cancelled(
                        end.reason, f"{end.message} Last error: {error.message}", retryable=end.retryable
                    ) from error

    def check(self) -> None:
        """Raises Cancelled once the command is cancelled."""
        self._token.check()


def hinted(error: StoreError) -> float:
    """Seconds that the store asks to wait (Retry-After); 0 where it does not say."""
    # botocore's ClientError. It is not imported here: that takes longer than the rest of the start, and a store on a
    # claim needs none of it.
    response: Mapping[str, Any] = getattr(error.__cause__, "response", {})
    headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    text = str(headers.get("retry-after", ""))
    if text.isascii() and text.isdigit():
        return min(float(text), LONGEST_HINT)
    try:
        seconds = (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
    except (TypeError, ValueError):
        return 0.0
    return min(max(seconds, 0.0), LONGEST_HINT)
