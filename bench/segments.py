"""How small a differential of a database would be: the dumps of a day's hours, cut into segments at rows that their
content chooses, each as a patch of the last full dump's segment by `zstd --patch-from`.

    export OCORE_ODOO=odoo-18.0.tar.zst PYTHONPATH=crds:kube:mover:examples/demo:tests
    python bench/segments.py --loads pgbench demo tryton odoo

Issue 47, part 0: it measures before anything is built. Root, zstd; the servers and the ERPs are made once and kept in
the cache. It counts bytes, so other load does not change its figures. Each load has a history, a full dump, and hours
of ordinary work with a dump after each; then events that are not ordinary, each against a dump right before it.

A full one is what it would be in the store: a zstd frame for each segment, level 1 as today, and the table of contents.
A differential is the changed segments, each as the smaller of a patch and a frame, the recipe, and the table of
contents as a patch of the full one's. A segment is also changed where its rows only moved.
"""

import argparse
import hashlib
import json
import re
import shutil
import statistics
import subprocess
import tempfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from segments_load import LOADS, Load

from support.mover.postgres_majors import Server, running

MIB = 1 << 20
#: Targets in MiB. A segment has at least half of it, and at most twice, but never more than the largest.
TARGETS = (4, 8, 16)
LARGEST = 16 * MIB
#: A patch reads so much of the base at most; with the segment it fits a window of 32 MiB or `--long=26`.
REFERENCE = 24 * MIB
#: Issue 47 stops where the 95th percentile of ordinary hours is above it.
MOST = 0.10
#: The last part of the table: how many tables are named.
NAMED = 8
WEEK = 168


@dataclass(frozen=True)
class Segment:
    """Bytes of one table's COPY text."""

    start: int
    length: int
    digest: bytes


@dataclass
class Dump:
    """A directory that pg_dump wrote without compression."""

    folder: Path

    def tables(self, server: Server) -> dict[str, Path]:
        """The data of each table by its name; large objects have theirs, too."""
        listing = _run(str(server.bin / "pg_restore"), "-l", str(self.folder)).decode()
        found = {}
        for match in re.finditer(r"^(\d+); \d+ \d+ (?:TABLE DATA|BLOBS) (.+) \S+$", listing, re.MULTILINE):
            path = self.folder / f"{match[1]}.dat"
            if path.exists():
                found[match[2]] = path
        return found

    @property
    def contents(self) -> Path:
        """The table of contents."""
        return self.folder / "toc.dat"


@dataclass
class Share:
    """Bytes of one comparison. `rows` is the COPY text, the others are compressed."""

    rows: int
    full: int
    differential: int
    recipe: int
    contents: int
    whole_contents: int
    changed: int
    segments: int
    tables: dict[str, int]

    @property
    def share(self) -> float:
        return self.differential / self.full


class Sizes:
    """Compressed sizes, each computed once: what `zstd` on the command line makes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.known: dict[tuple[bytes, bytes], int] = {}

    def frame(self, text: bytes) -> int:
        return self._once((hashlib.sha256(text).digest(), b""), lambda: len(_run("zstd", "-1", "-c", text=text)))

    def patch(self, text: bytes, reference: bytes) -> int:
        """Of a text against what is read of the base."""
        key = (hashlib.sha256(text).digest(), hashlib.sha256(reference).digest())
        return self._once(key, lambda: self._patch(text, reference))

    def _patch(self, text: bytes, reference: bytes) -> int:
        base, new = self.folder / "base.text", self.folder / "new.text"
        base.write_bytes(reference)
        new.write_bytes(text)
        return len(_run("zstd", "-1", "--long=26", f"--patch-from={base}", "-c", str(new)))

    def _once(self, key: tuple[bytes, bytes], made: Callable[[], int]) -> int:
        if key not in self.known:
            self.known[key] = made()
        return self.known[key]


def segments(text: bytes, target: int) -> list[Segment]:
    """Cuts behind the rows whose checksum says so: after insertions and deletions the cuts meet again. Between the
    least and the most there are so many rows that one of them is expected in the middle."""
    least, most = target // 2, min(2 * target, LARGEST)
    found, start = [], 0
    mean = max(1, len(text) // max(1, text.count(b"\n")))
    chance = max(1, (target - least) // mean)
    while start < len(text):
        end = _cut(text, start + least, min(start + most, len(text)), chance)
        found.append(Segment(start, end - start, hashlib.sha256(text[start:end]).digest()))
        start = end
    return found


def _cut(text: bytes, first: int, last: int, chance: int) -> int:
    """Where the segment ends: behind the first row from `first` on that is chosen, else behind the last whole row."""
    if first >= last:
        return last
    end = whole = text.find(b"\n", first) + 1
    while 0 < end < last:
        whole, after = end, text.find(b"\n", end) + 1
        if after and zlib.crc32(text[end:after]) % chance == 0:
            return min(after, last)
        end = after
    return whole if 0 < whole <= last and last < len(text) else last


def references(base: list[Segment], new: list[Segment]) -> Iterator[tuple[Segment, tuple[int, int] | None]]:
    """For each new segment what a patch of it reads: None where the base has it, else the range of the base between
    the segments around it that are unchanged."""
    place = {segment.digest: number for number, segment in enumerate(base)}
    known = [place.get(segment.digest) for segment in new]
    for number, segment in enumerate(new):
        if known[number] is not None:
            yield segment, None
            continue
        before = next((at for at in reversed(known[:number]) if at is not None), -1)
        after = next((at for at in known[number:] if at is not None and at > before), len(base))
        gap = base[before + 1 : after] or base[max(before, 0) : before + 2] or base[-1:]
        if not gap:
            yield segment, (0, 0)
            continue
        first, last = gap[0].start, gap[-1].start + gap[-1].length
        if last - first > REFERENCE:
            # As far into the gap as the segment is into its own.
            middle = min(max(segment.start + segment.length // 2, first + REFERENCE // 2), last - REFERENCE // 2)
            first, last = middle - REFERENCE // 2, middle + REFERENCE // 2
        yield segment, (first, last)


def compare(server: Server, base: Dump, new: Dump, target: int, sizes: Sizes) -> Share:
    """What a differential of `new` against `base` would take."""
    before, after = base.tables(server), new.tables(server)
    lines, tables = [], {}
    rows = full = changed = count = 0
    for name, path in after.items():
        text = path.read_bytes()
        rows += len(text)
        old = before[name].read_bytes() if name in before else b""
        taken = 0
        for segment, reference in references(segments(old, target), segments(text, target)):
            part = text[segment.start : segment.start + segment.length]
            frame = sizes.frame(part)
            full += frame
            count += 1
            digest = segment.digest.hex()
            if reference is None:
                lines.append(f"copy base/{path.name} {segment.start} {frame} {segment.length} {digest}")
                continue
            changed += 1
            first, last = reference
            patch = sizes.patch(part, old[first:last]) if last > first else frame
            taken += min(patch, frame)
            lines.append(
                f"patch pack/0 {taken} {patch} {segment.length} {digest} base/{path.name} {first} {last - first}"
            )
        if taken:
            tables[name] = taken
    recipe = sizes.frame("\n".join(lines).encode())
    contents, kept = new.contents.read_bytes(), base.contents.read_bytes()
    whole, patch = sizes.frame(contents), sizes.patch(contents, kept)
    share = sum(tables.values()) + recipe + patch
    return Share(rows, full + whole, share, recipe, patch, whole, changed, count, tables)


def week(hours: list[Share]) -> float:
    """A week of hourly snapshots in full ones, by the rule of the issue: the next one is full when the differentials
    since the last are together as large as it. A differential's size is on the line through the measured ones."""
    sizes = [hour.share for hour in hours]
    slope, start = statistics.linear_regression(range(1, len(sizes) + 1), sizes)
    total, since, age = 0.0, 0.0, 0
    for number in range(WEEK):
        if number == 0 or since >= 1:
            total, since, age = total + 1, 0.0, 0
            continue
        age += 1
        taken = min(max(start + slope * age, 0.0), 1.0)
        total, since = total + taken, since + taken
    return total


def measure(load: Load, hours: int, folder: Path) -> dict[str, object]:
    """All dumps of a load."""
    server, sizes = load.server, Sizes(folder)

    def dump(name: str) -> Dump:
        path = folder / name
        shutil.rmtree(path, ignore_errors=True)
        _run(str(server.bin / "pg_dump"), "-Fd", "-Z0", "-f", str(path), load.url)
        return Dump(path)

    load.prepare()
    base, ordinary = dump("base"), defaultdict(list)
    for number in range(hours):
        load.hour(number)
        new = dump("new")
        for target in TARGETS:
            ordinary[target].append(compare(server, base, new, target * MIB, sizes))
        found = ordinary[TARGETS[0]][-1]
        print(f"{load.name}: hour {number + 1}: {found.share:.2%} of {found.full / 1e6:.1f} MB", flush=True)
    events = {}
    for name, act in load.events().items():
        base = dump("base")
        act()
        new = dump("new")
        events[name] = {target: compare(server, base, new, target * MIB, sizes) for target in TARGETS}
        print(f"{load.name}: {name}: {events[name][TARGETS[0]].share:.2%}", flush=True)
    return {
        "ordinary": {
            target: [asdict(share) | {"share": share.share} for share in ordinary[target]] for target in TARGETS
        },
        "events": {name: {t: asdict(s) | {"share": s.share} for t, s in each.items()} for name, each in events.items()},
        "text": text(load.name, dict(ordinary), events),
    }


def text(name: str, ordinary: dict[int, list[Share]], events: dict[str, dict[int, Share]]) -> str:
    """Markdown."""
    last = ordinary[TARGETS[0]][-1]
    lines = [
        f"### {name}",
        "",
        f"{last.rows / 1e6:.1f} MB of rows, a full one {last.full / 1e6:.2f} MB,"
        f" of which {last.whole_contents / 1e3:.0f} kB are the table of contents",
        "",
        "| segments | first hour | median | 95th percentile | last hour | recipe, contents | a week in full ones |",
        "|---|---|---|---|---|---|---|",
    ]
    for target, hours in ordinary.items():
        shares = sorted(hour.share for hour in hours)
        high = statistics.quantiles(shares, n=20, method="inclusive")[-1]
        lines.append(
            f"| {target} MiB | {hours[0].share:.2%} | {statistics.median(shares):.2%} | {high:.2%}"
            f" | {hours[-1].share:.2%} | {hours[-1].recipe / 1e3:.1f} kB, {hours[-1].contents / 1e3:.1f} kB"
            f" | {week(hours):.1f} |"
        )
    lines += ["", "| not ordinary | " + " | ".join(f"{target} MiB" for target in ordinary) + " |", "|---|---|---|---|"]
    lines += [
        f"| {event} | " + " | ".join(f"{s.share:.1%}" for s in each.values()) + " |" for event, each in events.items()
    ]
    largest = sorted(last.tables.items(), key=lambda item: -item[1])[:NAMED]
    lines += [
        "",
        "Last hour, by table: " + ", ".join(f"`{table}` {size / 1e3:.1f} kB" for table, size in largest) + ".",
        "",
    ]
    return "\n".join(lines)


def _run(*command: str, text: bytes | None = None) -> bytes:
    done = subprocess.run(command, input=text, capture_output=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loads", nargs="+", choices=sorted(LOADS), default=sorted(LOADS))
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--json", type=Path, help="write all figures here")
    options = parser.parse_args()
    results = {}
    for name in options.loads:
        folder = Path(tempfile.mkdtemp(prefix="ocore-segments-"))
        try:
            with running(17) as server:
                results[name] = measure(LOADS[name](server, folder), options.hours, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        if options.json:
            options.json.write_text(json.dumps(results, indent=1))
    for found in results.values():
        print(found["text"])


if __name__ == "__main__":
    main()
