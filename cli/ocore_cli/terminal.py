"""Output to a terminal. Names, labels and messages are texts of tenants: they must not move the cursor, hide text or
change what was shown."""

import re
from collections.abc import Iterable
from typing import Any

from rich import console
from rich.segment import Segment

#: Control characters but line end and tab, and characters that change the direction of the text after them.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def safe(text: str) -> str:
    """The text with escapes that a reader sees: ``\\x1b``."""
    return _UNSAFE.sub(lambda m: f"\\x{ord(m[0]):02x}" if ord(m[0]) < 0x100 else f"\\u{ord(m[0]):04x}", text)


#: Columns where nothing shows them.
_WIDE = 10_000


class Console(console.Console):
    """The only console of the program: all that is printed goes through :func:`safe`, but for rich's own control codes.
    Without a terminal no line is folded: a name or a digest that a table has broken cannot be copied, and programs read
    whole lines."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if not self.is_terminal and "width" not in options:
            self.width = _WIDE

    def _render_buffer(self, buffer: Iterable[Segment]) -> str:
        return super()._render_buffer(s if s.control else Segment(safe(s.text), s.style) for s in buffer)
