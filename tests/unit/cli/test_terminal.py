"""What tenants have written does not reach the terminal as control characters."""

import io

from rich.live import Live
from rich.table import Table
from rich.text import Text

from ocore_cli.terminal import Console
from ocore_crds.text.sentences import escaped

HOSTILE = "a\x1b[2J\x07\x9b\u202eb\x08\u2066"


def test_row_82_texts_of_tenants_move_no_cursor() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=200, color_system="standard")
    table = Table("name")
    table.add_row(HOSTILE)
    console.print(Text(HOSTILE, style="red"), table)
    with Live(console=console) as live:
        live.console.print(Text(HOSTILE))
    for each in ("\x1b[2J", "\x9b", "\u202e", "\x08", "\u2066"):
        assert each not in out.getvalue()
    assert "\\x1b[2J" in out.getvalue()
    assert "\x1b[31m" in out.getvalue()  # rich's own colours are there


def test_ordinary_text_is_unchanged() -> None:
    assert escaped("grüße \U0001f600\n\ttab") == "grüße \U0001f600\n\ttab"


def test_without_a_terminal_no_name_is_broken() -> None:
    out, name = io.StringIO(), "x" * 190
    table = Table("name", "store")
    table.add_row(name, name)
    Console(file=out).print(table)
    assert out.getvalue().count(name) == 2
    assert "\x1b" not in out.getvalue()
