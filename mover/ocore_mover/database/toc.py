"""The dump's table of contents, read from ``pg_restore --list``."""

import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ocore_crds import conditions
from ocore_mover import settings
from ocore_mover.database.programs import Program
from ocore_mover.errors import MoverError

#: A line is ``dumpId; tableoid oid DESCRIPTION schema name owner``.
_ENTRY = re.compile(r"^(\d+); \d+ \d+ (.+)$")
_DATA = ("TABLE DATA",)
_ACL = ("ACL", "DEFAULT ACL")


@dataclass(frozen=True)
class Entry:
    """One line of the list."""

    dump_id: int
    rest: str  # description, schema, name and owner
    line: str

    def begins(self, *descriptions: str) -> bool:
        """Whether its description is one of these."""
        return any(self.rest == d or self.rest.startswith(d + " ") for d in descriptions)

    @property
    def has_data_file(self) -> bool:
        """Whether it is a table whose rows are in the file ``<dump id>.dat``."""
        return self.begins(*_DATA)

    @property
    def is_extension(self) -> bool:
        """Created before everything else, by ourselves; its comment is its own."""
        return self.begins("EXTENSION") or self.rest.startswith("COMMENT - EXTENSION ")

    @property
    def is_acl(self) -> bool:
        """A grant; applied at the end, one by one."""
        return self.begins(*_ACL)

    @property
    def is_lenient(self) -> bool:
        """A comment that only a superuser may set on some servers; tried at the end, one by one."""
        return self.rest.startswith(("COMMENT - EXTENSION ", "COMMENT - SCHEMA public "))

    @property
    def owner(self) -> str:
        """The last word; wrong for a role with a blank in its name."""
        return self.rest.rsplit(" ", 1)[-1]


def read(program: Program, folder: Path) -> tuple[Entry, ...]:
    """Reads the list of a dump in a folder (needs toc.dat alone). Raises Corrupt where pg_restore cannot read it."""
    done = subprocess.run(
        [program.path, "--list", str(folder)],
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=300,
        check=False,
        env=settings.program_environment(),
    )
    if done.returncode != 0:
        detail = done.stderr.strip().splitlines()[-1:] or ["no error output"]
        raise MoverError(conditions.CORRUPT, f"pg_restore cannot read the dump's table of contents: {detail[0]}")
    return tuple(parse(done.stdout.splitlines()))


def parse(lines: Iterable[str]) -> Iterable[Entry]:
    """The entries among the lines; a name with a line break continues on lines that are no entries."""
    for line in lines:
        match = _ENTRY.match(line)
        if match:
            yield Entry(int(match[1]), match[2], line)


def write_list(path: Path, entries: Iterable[Entry]) -> Path:
    """Writes a list for ``pg_restore --use-list``, which reads only the ids. Returns the path."""
    path.write_text("".join(f"{entry.dump_id};\n" for entry in entries))
    return path


def missing_data(entries: Iterable[Entry], names: Iterable[str]) -> list[Entry]:
    """Tables whose data file is not among the names (``123.dat``, ``123.dat.zst``)."""
    there = {name.split(".", 1)[0] for name in names if ".dat" in name}
    return [entry for entry in entries if entry.has_data_file and str(entry.dump_id) not in there]
