"""Output to a terminal. Names, labels and messages are texts of tenants: they must not move the cursor, hide text or
change what was shown."""

from collections.abc import Iterable
from typing import Any

from rich import console
from rich.segment import Segment

from ocore_crds.text.sentences import escaped

#: Columns where nothing shows them.
_WIDE = 10_000


class Console(console.Console):
    """The only console of the program: all that is printed goes through :func:`escaped`, but for rich's own control"
    " codes.
    Without a terminal no line is folded: a name or a digest that a table has broken cannot be copied, and programs read
    whole lines."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if not self.is_terminal and "width" not in options:
            self.width = _WIDE

    def _render_buffer(self, buffer: Iterable[Segment]) -> str:
        return super()._render_buffer(s if s.control else Segment(escaped(s.text), s.style) for s in buffer)
