"""The support matrix of docs/postgresql.md: from the results of a run of tests/unit/mover/majors.

`make postgresql-matrix` runs those tests, writes ``tests/unit/mover/majors/results.json`` and the page. ``--check``
compares only.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
PAGE = REPOSITORY / "docs/postgresql.md"
RESULTS = REPOSITORY / "tests/unit/mover/majors/results.json"
#: Names the file for the results of a run.
RESULTS_VARIABLE = "OCORE_MATRIX_RESULTS"
MAJORS = (15, 16, 17, 18)
#: Check → its row in the table. A check that the oldest major cannot have begins with "older".
CHECKS = {
    "snapshot": "snapshot, every byte read again",
    "rollback-none": "rollback and switch back without an administrator",
    "rollback-limited": "rollback and switch back, administrator is not a superuser",
    "rollback-superuser": "rollback and switch back, administrator is a superuser",
    "by-hand": "restore by hand with the commands of [format.md](format.md)",
    "older-rollback": "rollback to a snapshot of each older major",
    "older-by-hand": "restore by hand of a snapshot of each older major",
    "findings": "event triggers and publications of all tables are reported before a rollback",
    "clients": "programs of another major, and a snapshot of a newer major, are refused",
}
#: What a build of a major may have → its name in the list of what was not tested, where the build of the run lacks it.
FEATURES = {
    "tls": "TLS",
    "icu": "ICU locales",
    "zstd": "dumps that `pg_dump` compresses with zstd (without it the mover compresses them)",
    "contrib": "extensions of PostgreSQL's contrib, such as `pg_trgm` and `unaccent`",
}
BEGIN, END = "<!-- generated: make postgresql-matrix -->", "<!-- end -->"


@dataclass(frozen=True)
class Facts:
    """A server of the run."""

    version: str
    source: str  # where its programs came from
    features: Mapping[str, bool]  # keys of FEATURES


@dataclass
class Results:
    """What passed in a run, by check and major."""

    passed: dict[str, list[int]] = field(default_factory=dict)
    facts: dict[int, Facts] = field(default_factory=dict)

    def add(self, check: str, major: int) -> None:
        """Notes a check that passed."""
        assert check in CHECKS, check
        self.passed.setdefault(check, []).append(major)

    def text(self) -> str:
        """As the file has it."""
        passed = {check: sorted(set(self.passed.get(check, []))) for check in CHECKS}
        facts = {str(major): asdict(found) for major, found in sorted(self.facts.items())}
        return json.dumps({"passed": passed, "servers": facts}, indent=1) + "\n"

    @classmethod
    def parse(cls, text: str) -> "Results":
        """From the file."""
        found = json.loads(text)
        return cls(found["passed"], {int(major): Facts(**facts) for major, facts in found["servers"].items()})


def missing(results: Results) -> list[str]:
    """What a complete run has and these results lack."""
    expected = {
        (check, major) for check in CHECKS for major in MAJORS if not (check.startswith("older") and major == MAJORS[0])
    }
    found = {(check, major) for check, majors in results.passed.items() for major in majors}
    lacking = [f"{check} on PostgreSQL {major}" for check, major in sorted(expected - found)]
    return lacking + [f"facts of PostgreSQL {major}" for major in MAJORS if major not in results.facts]


def table(results: Results) -> str:
    """The generated part of the page."""
    return "\n".join(_lines(results)) + "\n"


def _lines(results: Results) -> Iterator[str]:
    yield "| PostgreSQL | " + " | ".join(str(major) for major in MAJORS) + " |"
    yield "|---|" + "---|" * len(MAJORS)
    yield "| version of the run | " + " | ".join(results.facts[major].version for major in MAJORS) + " |"
    yield "| programs from | " + " | ".join(results.facts[major].source for major in MAJORS) + " |"
    for check, text in CHECKS.items():
        cells = ("passed" if major in results.passed.get(check, []) else "-" for major in MAJORS)
        yield f"| {text} | " + " | ".join(cells) + " |"
    yield ""
    yield "Not tested, because the servers of the run do not have it:"
    yield ""
    for name, text in FEATURES.items():
        lacking = [str(major) for major in MAJORS if not results.facts[major].features[name]]
        if lacking:
            yield f"- PostgreSQL {', '.join(lacking)}: {text}"


def page(text: str, results: Results) -> str:
    """The page with its generated part made again. Raises ValueError where it has none."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page has no part between {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{table(results)}{END}{after}"


def main() -> int:
    """Writes the page, or compares it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    results = Results.parse(RESULTS.read_text())
    if lacking := missing(results):
        sys.exit(f"{RESULTS.name} is not of a complete run: {'; '.join(lacking)}")
    wanted = page(PAGE.read_text(), results)
    if not options.check:
        PAGE.write_text(wanted)
    elif PAGE.read_text() != wanted:
        sys.exit(f"{PAGE.name} differs from {RESULTS.name}: run `make postgresql-matrix`")
    return 0


if __name__ == "__main__":
    sys.exit(main())
