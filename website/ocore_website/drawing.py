"""Draws boxes, lines and bars as SVG that needs nothing else and is read on white and on black pages."""

from dataclasses import dataclass, field
from html import escape

#: Fill and outline. Text is dark, so every fill is light: a picture has a panel of its own behind it. On a dark page a
#: browser takes the dark ones.
COLOURS = {
    "ours": ("#ddf4ff", "#0969da"),
    "yours": ("#dafbe1", "#1a7f37"),
    "kept": ("#fff8c5", "#9a6700"),
    "stop": ("#ffebe9", "#cf222e"),
    "plain": ("#f6f8fa", "#6e7781"),
}
PANEL, TEXT, LINE = "#ffffff", "#1f2328", "#57606a"
DARK_COLOURS = {
    "ours": ("#0f2d4d", "#58a6ff"),
    "yours": ("#12351d", "#3fb950"),
    "kept": ("#3a2c05", "#d29922"),
    "stop": ("#4a1619", "#f85149"),
    "plain": ("#21262d", "#8b949e"),
}
DARK_PANEL, DARK_TEXT, DARK_LINE = "#161b22", "#e6edf3", "#9198a1"
STYLE = (
    "<style>@media (prefers-color-scheme: dark) {"
    f" .panel {{fill: {DARK_PANEL}}} .head {{fill: {DARK_LINE}}} .line {{stroke: {DARK_LINE}}}"
    f" text {{fill: {DARK_TEXT}}}"
    + "".join(f" .{name} {{fill: {fill}; stroke: {outline}}}" for name, (fill, outline) in DARK_COLOURS.items())
    + " }</style>"
)
SIZE, SMALL = 13, 11.5
#: Width of a character, as a share of its size: more than sans-serif fonts have on average.
WIDTH = 0.56


class DoesNotFit(Exception):
    """A text is longer than its place."""


@dataclass
class Picture:
    """A picture of that size. Coordinates are in pixels, from the upper left corner."""

    title: str
    width: int
    height: int
    _parts: list[str] = field(default_factory=list)

    def box(self, x: float, y: float, width: float, height: float, lines: str, colour: str = "ours") -> None:
        """A box with centred lines; the first one is bold if there are more."""
        fill, outline = COLOURS[colour]
        self._inside(x, y, width, height)
        self._parts.append(
            f'<rect class="{colour}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6" fill="{fill}"'
            f' stroke="{outline}" stroke-width="1.5"/>'
        )
        texts = lines.split("\n")
        top = y + height / 2 - (len(texts) - 1) * 8 + 4
        for number, text in enumerate(texts):
            bold = number == 0 and len(texts) > 1
            self._write(x + width / 2, top + number * 16, text, width - 4, "middle", SIZE if bold else SMALL, bold)

    def label(self, x: float, y: float, text: str, width: float, anchor: str = "start", bold: bool = False) -> None:
        """A text on the panel."""
        self._write(x, y, text, width, anchor, SMALL, bold)

    def arrow(self, *points: tuple[float, float], both: bool = False) -> None:
        """A line with a head at its end."""
        path = "M" + " L".join(f"{x:g} {y:g}" for x, y in points)
        start = ' marker-start="url(#head)"' if both else ""
        self._parts.append(
            f'<path class="line" d="{path}" fill="none" stroke="{LINE}" stroke-width="1.8" marker-end="url(#head)"'
            f"{start}/>"
        )

    def line(self, x1: float, y1: float, x2: float, y2: float, dashed: bool = False) -> None:
        """A thin line."""
        dash = ' stroke-dasharray="4 4"' if dashed else ""
        self._parts.append(
            f'<path class="line" d="M{x1:g} {y1:g} L{x2:g} {y2:g}" fill="none" stroke="{LINE}" stroke-width="1.2"'
            f"{dash}/>"
        )

    def svg(self) -> str:
        """The file."""
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}"'
                ' font-family="Helvetica, Arial, sans-serif" role="img" aria-labelledby="title">',
                f'<title id="title">{escape(self.title)}</title>',
                '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8"'
                f' orient="auto-start-reverse"><path class="head" d="M0 0 10 5 0 10z" fill="{LINE}"/></marker></defs>',
                STYLE,
                f'<rect class="panel" width="{self.width}" height="{self.height}" rx="8" fill="{PANEL}"/>',
                *self._parts,
                "</svg>\n",
            ]
        )

    def _write(self, x: float, y: float, text: str, width: float, anchor: str, size: float, bold: bool) -> None:
        needed = len(text) * size * WIDTH
        left = {"start": x, "middle": x - needed / 2, "end": x - needed}[anchor]
        if needed > width:
            raise DoesNotFit(f"{text!r} needs {needed:.0f} of {width:.0f} pixels")
        self._inside(left, y - size, needed, size)
        weight = ' font-weight="bold"' if bold else ""
        self._parts.append(
            f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" text-anchor="{anchor}" fill="{TEXT}"{weight}>'
            f"{escape(text)}</text>"
        )

    def _inside(self, x: float, y: float, width: float, height: float) -> None:
        if x < 0 or y < 0 or x + width > self.width or y + height > self.height:
            raise DoesNotFit(f"something at {x:.0f}, {y:.0f} is outside of the picture")
