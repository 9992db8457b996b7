"""Kubernetes quantities of bytes."""

import re
from decimal import Decimal

_UNITS = {
    "": 1,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "P": 10**15,
    "E": 10**18,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
    "Pi": 2**50,
    "Ei": 2**60,
}


def parse(text: str) -> int:
    """Bytes of a quantity such as ``1.5Gi``. Raises ValueError if the text is not a quantity.

    Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
    """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(E|P|T|G|M|k|Ei|Pi|Ti|Gi|Mi|Ki)?", text)
    if match is None:
        raise ValueError(f"{text!r} is not a quantity of bytes; write for example 20Gi")
    return int(Decimal(match[1]) * _UNITS[match[2] or ""])


def human(count: int) -> str:
    """Bytes in a readable unit: ``1.4 GiB``."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError("unreachable")


def counted(count: int, noun: str) -> str:
    """A number of things: ``1 file``, ``2 files``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def span(seconds: float) -> str:
    """A duration for people: ``under 1 ms``, ``38 ms``, ``1.2 s``, ``4 min 07 s``, ``1 h 02 min``."""
    if seconds < 0.001:
        return "under 1 ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
