"""Messages for people: whole sentences, and never cut within the cause. Pure."""

import re

#: Control characters but line end and tab, characters without width, and those that change the direction of text.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f]"
)
#: A name that looks like nothing else.
_NAME = re.compile(r"[\w][\w.$@-]*")
#: Characters of a name in a message.
_LONGEST = 120

#: A message that ends with one of these needs no full stop.
_ENDS = (".", "!", "?", "…", ":", ";")
#: What putting one message into another can produce, and what it should be.
_JOINTS = (
    (re.compile(r"(?<=[\w)\"'`])\.\.(?=\s|$)"), "."),  # "failed.."
    (re.compile(r"(?<=[\w)\"'`])\.([,;:])(?=\s|$)"), r"\1"),  # "failed.; retrying"
    (re.compile(r"(?<=[\w\"'`])\.\)(?=[.,;:](\s|$))"), ")"),  # "(failed.)."
    (re.compile(r"([!?…])\.(?=\s|$)"), r"\1"),
)


def escaped(text: str) -> str:
    """The text with escapes, such as ``\\x1b``, for what a reader cannot see."""
    return _INVISIBLE.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def shown(name: str) -> str:
    """A name that an application or a tenant chose, for a message: as it is, or on one line between quotes, so that it
    reads as no part of the message."""
    if len(name) <= _LONGEST and _NAME.fullmatch(name):
        return escaped(name)
    quoted = name.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\t", "\\t")
    return f"'{shortened(escaped(quoted), _LONGEST)}'"


def sentence(text: str) -> str:
    """The message with one full stop at its end, and none doubled where another message was put into it. Lines stay
    lines. Characters that a reader cannot see are escaped."""
    text = escaped(text)
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
