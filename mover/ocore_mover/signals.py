"""The operator's signal to a command that waits, in a file that the kubelet writes (downward API)."""

import logging
import time
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from ocore_crds.commands.parts import Signal, SignalWait
from ocore_mover.deadline import Token

log = logging.getLogger(__name__)

_POLL = 0.02


class SignalFile:
    """The file in which the signal appears. Only one for this Job, with that action, is obeyed."""

    def __init__(self, wait: SignalWait, action: Literal["Freeze", "Switch"]) -> None:
        self._wait, self._action = wait, action
        self._ignored = ""

    def ignore(self) -> None:
        """What the file holds now is never obeyed."""
        self._ignored = self._text()
        if self._ignored:
            log.warning("ignoring a signal that came too early", extra={"text": self._ignored[:200]})

    def awaited(self, token: Token) -> Signal | None:
        """The signal, which may have expired; None where none arrives in time."""
        until = time.monotonic() + self._wait.wait
        while (found := self.read()) is None and time.monotonic() < until:
            token.sleep(_POLL)
        return found

    def read(self) -> Signal | None:
        """The signal, which may have expired; None where there is none, or it is not valid or not for this Job."""
        text = self._text()
        if not text or text == self._ignored:
            return None
        try:
            signal = Signal.model_validate_json(text)
        except ValidationError:
            signal = None
        if signal is None or (signal.action, signal.job) != (self._action, self._wait.job):
            log.warning("ignoring a signal that is not valid, or for another Job", extra={"text": text[:200]})
            self._ignored = text
            return None
        return signal

    def _text(self) -> str:
        try:
            return Path(self._wait.signal_file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return ""


def is_expired(signal: Signal) -> bool:
    """Whether the signal must not be obeyed any more."""
    return time.time() > signal.not_after
