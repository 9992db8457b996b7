"""Draws what a program printed as SVG: ``python -m ocore_website.terminal TITLE --from LINE --to LINE < log > SVG``.

`--from` and `--to` are the beginnings of the first line and of the one after the last. Long lines are wrapped, as a
terminal does it. Control characters end the run: a picture shows what the log has, or nothing.
"""

import argparse
import sys
import textwrap
from collections.abc import Iterable
from html import escape

COLUMNS = 112
SIZE, LINE, MARGIN = 12, 17, 16
#: Width of a character of a monospaced font, as a share of its size; `textLength` holds a line to it in any font.
WIDTH = 0.602
BACKGROUND, TEXT = "#0d1117", "#e6edf3"
#: SVG makes one of several spaces.
NO_BREAK = "\N{NO-BREAK SPACE}"
#: Beginnings of lines, and their colours.
COLOURS = {"==": "#79c0ff", "✓": "#56d364", "kubectl": "#d2a8ff"}


class NotDrawn(Exception):
    """The log has not what is to be drawn."""


def part(lines: Iterable[str], first: str, after: str) -> list[str]:
    """The lines from the one that begins with `first` up to the one that begins with `after`. Raises NotDrawn."""
    found: list[str] = []
    for line in map(str.rstrip, lines):
        if found and line.startswith(after):
            return found
        if found or line.startswith(first):
            found.append(line)
    raise NotDrawn(f"no line begins with {after if found else first!r}")


def wrapped(line: str) -> list[str]:
    """The line as one or more lines of the terminal."""
    return textwrap.wrap(
        line, COLUMNS, subsequent_indent="    ", replace_whitespace=False, drop_whitespace=False, break_on_hyphens=False
    ) or [""]


def svg(title: str, lines: Iterable[str]) -> str:
    """The file. Raises NotDrawn."""
    texts: list[str] = []
    y = MARGIN
    for line in lines:
        if not line.isprintable():
            raise NotDrawn(f"control characters in {line!r}")
        colour = next((colour for start, colour in COLOURS.items() if line.startswith(start)), TEXT)
        for row in wrapped(line):
            y += LINE
            if row.strip():
                texts.append(
                    f'<text x="{MARGIN}" y="{y - 4}" fill="{colour}" textLength="{len(row) * SIZE * WIDTH:.1f}"'
                    f' lengthAdjust="spacingAndGlyphs">{escape(row.replace(" ", NO_BREAK))}</text>'
                )
    width, height = round(COLUMNS * SIZE * WIDTH + 2 * MARGIN), y + MARGIN
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="monospace"'
            f' font-size="{SIZE}" role="img" aria-labelledby="title">',
            f'<title id="title">{escape(title)}</title>',
            f'<rect width="{width}" height="{height}" rx="8" fill="{BACKGROUND}"/>',
            *texts,
            "</svg>\n",
        ]
    )


def main() -> int:
    """0; 1 where the log has not what is to be drawn."""
    parser = argparse.ArgumentParser(prog="ocore_website.terminal", description=__doc__)
    parser.add_argument("title")
    parser.add_argument("--from", dest="first", required=True)
    parser.add_argument("--to", dest="after", required=True)
    arguments = parser.parse_args()
    try:
        print(svg(arguments.title, part(sys.stdin, arguments.first, arguments.after)), end="")
    except NotDrawn as error:
        print(f"ocore_website.terminal: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
