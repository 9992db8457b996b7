"""One figure of the benchmarks: both sides, what was wanted, whether it was met. Files of them become the table of
`make bench`.

python bench/figures.py FILE.json...
"""

from __future__ import annotations

import json
import statistics
import sys
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass
class Figure:
    """`ours` and `peer` have every run, in `unit`; the table shows medians. `most`: the largest median of ours that
    meets the goal; `least`: the smallest."""

    name: str
    unit: str
    ours: list[float]
    wanted: str
    most: float | None
    peer: list[float] | None = None
    peer_name: str = ""
    least: float | None = None

    @property
    def met(self) -> bool:
        """Whether it is as wanted."""
        median = statistics.median(self.ours)
        return (self.most is None or median <= self.most) and (self.least is None or median >= self.least)

    def line(self) -> str:
        """Of the Markdown table. The ratio is the peer's median to ours: how many times faster ours is."""
        ours = statistics.median(self.ours)
        peer = statistics.median(self.peer) if self.peer else None
        theirs = f"{peer:.3g} {self.unit} ({self.peer_name})" if peer is not None else ""
        ratio = f"{peer / ours:.2f}" if peer is not None and ours > 0 else ""
        spread = f"{min(self.ours):.3g} to {max(self.ours):.3g}"
        met = "yes" if self.met else "**no**"
        return f"| {self.name} | {ours:.3g} {self.unit} ({spread}) | {theirs} | {ratio} | {self.wanted} | {met} |"


def at_most(name: str, ours: list[float], peer: list[float], peer_name: str, factor: float, unit: str = "s") -> Figure:
    """Ours may take so many times the peer's."""
    most = factor * statistics.median(peer)
    return Figure(name, unit, ours, f"at most {factor:g} times the peer's", most, peer, peer_name)


def faster(name: str, ours: list[float], peer: list[float], peer_name: str, times: float, unit: str = "s") -> Figure:
    """Ours must be so many times faster than the peer's."""
    most = statistics.median(peer) / times
    return Figure(name, unit, ours, f"{times:g} times faster", most, peer, peer_name)


def limit(name: str, ours: list[float], most: float, unit: str) -> Figure:
    """A bound of its own."""
    return Figure(name, unit, ours, f"at most {most:g} {unit}", most)


def at_least(name: str, ours: list[float], least: float, unit: str) -> Figure:
    """The other bound."""
    return Figure(name, unit, ours, f"at least {least:g} {unit}", None, least=least)


def write(path: Path, figures: list[Figure]) -> None:
    """All runs, for `table`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(f) for f in figures], indent=1, ensure_ascii=False) + "\n")


def report(figures: list[Figure], path: Path | None) -> None:
    """Prints the table, and writes all runs where a path is given."""
    print(table(figures))
    if path is not None:
        write(path, figures)


def table(figures: list[Figure]) -> str:
    """Markdown."""
    head = ["| figure | ours (all runs) | peer | times faster | wanted | met |", "|---|---|---|---|---|---|"]
    return "\n".join(head + [f.line() for f in figures])


def main() -> None:
    """The files' figures as one table."""
    print(table([Figure(**entry) for path in sys.argv[1:] for entry in json.loads(Path(path).read_text())]))


if __name__ == "__main__":
    main()
