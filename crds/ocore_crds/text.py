"""Messages for people: whole sentences, and never cut within the cause. Pure."""

import re

#: A message that ends with one of these needs no full stop.
_ENDS = (".", "!", "?", "…", ":", ";")
#: What putting one message into another can produce, and what it should be.
_JOINTS = (
    (re.compile(r"(?<=[\w)\"'`])\.\.(?=\s|$)"), "."),  # "failed.."
    (re.compile(r"(?<=[\w)\"'`])\.([,;:])(?=\s|$)"), r"\1"),  # "failed.; retrying"
    (re.compile(r"(?<=[\w\"'`])\.\)(?=[.,;:](\s|$))"), ")"),  # "(failed.)."
    (re.compile(r"([!?…])\.(?=\s|$)"), r"\1"),
)


def sentence(text: str) -> str:
    """The message with one full stop at its end, and none doubled where another message was put into it. Lines stay
    lines."""
    return "\n".join(_sentence(line) for line in text.strip().splitlines())


def _sentence(line: str) -> str:
    for pattern, replacement in _JOINTS:
        line = pattern.sub(replacement, line)
    line = line.rstrip()
    return line if not line or line.endswith(_ENDS) else f"{line}."


def shortened(text: str, limit: int) -> str:
    """At most `limit` characters from the start of the text, cut between two words and marked by an ellipsis."""
    if len(text) <= limit:
        return text
    kept = text[: limit - 2]
    words = kept.rpartition(" ")[0] if text[limit - 2 : limit - 1].strip() else kept
    return f"{(words or kept).rstrip()} …"


def shortened_start(text: str, limit: int) -> str:
    """At most `limit` characters from the end of the text: a program's last words name the cause."""
    if len(text) <= limit:
        return text
    kept = text[len(text) - limit + 2 :]
    words = kept.partition(" ")[2] if text[len(text) - limit + 1].strip() else kept
    return f"… {(words or kept).lstrip()}"


def shortened_bytes(text: str, limit: int) -> str:
    """As :func:`shortened`, for at most `limit` bytes of UTF-8."""
    size = len(text.encode())
    if size <= limit:
        return text
    kept = text.encode()[: limit - 4].decode(errors="ignore")
    return f"{(kept.rpartition(' ')[0] or kept).rstrip()} …"
