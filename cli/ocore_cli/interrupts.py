"""Ctrl-C, SIGTERM and SIGHUP: a KeyboardInterrupt, so that a preview is removed and a wait says that the operation
continues."""

import signal
import time

_received: list[int] = []


def install() -> None:
    """From now on the signals end the program by a KeyboardInterrupt. A signal that was ignored when the program was
    started stays ignored."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _interrupt)


def _interrupt(number: int, _: object) -> None:
    _received.append(number)
    raise KeyboardInterrupt


def pause(seconds: float) -> None:
    """Sleeps. Raises KeyboardInterrupt if a signal came before: Python drops an exception that is raised in a finalizer
    or a weak reference's callback."""
    if _received:
        raise KeyboardInterrupt
    time.sleep(seconds)
