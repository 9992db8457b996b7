"""Commands of the documentation: those of Start and Guides are run by a test or say that they are not, and every call
of kubectl ocore has arguments and options that the program knows."""

import itertools
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from ocore_cli.app import app
from ocore_website.pages import ELSEWHERE, listed
from support.cluster.cluster import REPOSITORY

DOCS = REPOSITORY / "docs"
BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
SHELL = ("sh", "bash", "")
#: A test that a page links runs the commands, or the page says why not.
RUN = re.compile(r"\]\([./]*tests/|`make test` runs|[Nn]ot run in our tests")
#: What a line of commands begins with; other blocks show output, addresses or values.
PROGRAMS = ("kubectl", "helm", "make", "docker", "pip", "curl", "python", "export", "openssl", "cat ")
#: The page of all options has usages, no calls.
PAGES = sorted({*(REPOSITORY / path for path in ELSEWHERE), *DOCS.rglob("*.md")} - {DOCS / "kubectl-ocore-options.md"})


def rooms(*names: str) -> list[Path]:
    """The pages of these rooms of the site."""
    navigation = tomllib.loads((REPOSITORY / "website/zensical.toml").read_text())["project"]["nav"]
    return [DOCS / page for room in navigation for name in names if name in room for page in listed(room[name])]


def scripts(text: str) -> list[str]:
    """The blocks of commands, and those without a language."""
    return [block for language, block in BLOCK.findall(text) if language in SHELL]


def unmarked(text: str) -> list[str]:
    """Headings of the sections with commands of which neither the section nor the page's first lines say whether a
    test runs them."""
    first, *sections = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    if RUN.search(BLOCK.sub("", first)):
        return []
    return [
        section.partition("\n")[0]
        for section in (first, *sections)
        if not RUN.search(section)
        and any(line.strip().startswith(PROGRAMS) for block in scripts(section) for line in block.splitlines())
    ]


@pytest.mark.parametrize("page", rooms("Start", "Guides"), ids=lambda p: p.stem)
def test_each_command_is_run_by_a_test_or_says_that_it_is_not(page: Path) -> None:
    assert unmarked((page if page.name != "index.md" else DOCS / "README.md").read_text()) == []


def test_a_command_without_a_test_is_found() -> None:
    page = "# Page\n\n## One\n\n```sh\nmake demo\n```\n\n*Not run in our tests.*\n\n## Two\n\n```\nkubectl get a\n```\n"
    assert unmarked(page) == ["## Two"]
    assert unmarked(page.replace("## Two\n", "## Two\n\n```yaml\na: 1\n```\n")) == ["## Two"]
    assert unmarked(page.replace("# Page\n", "# Page\n\n[A test](../tests/a.py) runs it.\n", 1)) == []


@pytest.mark.parametrize("path", [*PAGES, *REPOSITORY.glob("examples/*.yaml")], ids=lambda p: p.name)
def test_a_file_with_a_password_is_written_so_that_only_its_owner_reads_it(path: Path) -> None:
    """One way everywhere, and the file is removed where the Secret exists."""
    lines = path.read_text().splitlines()
    for before, line in itertools.pairwise(lines):
        if file := re.search(r"--from-env-file=(\S+)", line):
            assert f"(umask 077; ${{EDITOR:-vi}} {file[1]})" in before, line
            assert line.endswith(f" && rm {file[1]}"), line


def commands(page: Path) -> Iterator[str]:
    """Each call of kubectl ocore in the page, with the lines that continue it."""
    for block in scripts(page.read_text()):
        for line in block.replace("\\\n", " ").splitlines():
            if found := re.search(r"(?:^|\$\(|&& |\|\| )\s*(kubectl ocore [^|&;)#<>]*)", line):
                yield found[1].strip()


CALLS = sorted({(page.relative_to(REPOSITORY).as_posix(), call) for page in PAGES for call in commands(page)})


@pytest.mark.parametrize(("page", "call"), CALLS)
def test_the_program_knows_each_option_of_its_commands(page: str, call: str) -> None:
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    _, _, *words = shlex.split(call)
    if words[0].startswith("-"):
        return
    command = group.commands[words[0]]
    command.make_context(words[0], [word for word in words[1:] if word != "…"])


def test_the_pages_have_calls() -> None:
    assert len(CALLS) > 25
