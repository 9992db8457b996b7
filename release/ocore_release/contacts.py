"""Writes what project.toml says about maintainer and contacts into the files for readers.

python -m ocore_release.contacts [--check]   --check fails where a file differs; both warn of what is not filled in
"""

import base64
import json
import re
import sys
import tomllib
from pathlib import Path

from .source import ReleaseError

#: Field → whether it may be an e-mail address.
FIELDS = {"maintainer": False, "home": False, "source": False, "questions": True, "security": True, "conduct": True}
URL, EMAIL = re.compile(r"https://[\w.-]+(:\d+)?(/\S*)?"), re.compile(r"[\w.+-]+@[\w-]+(\.[\w-]+)+")
CHART = "charts/ocore-snapshots/Chart.yaml"
#: What is generated in a page, and in the chart.
IN_PAGE = re.compile(r"(?<=<!-- contacts -->).*?(?=<!-- /contacts -->)", re.DOTALL)
IN_CHART = re.compile(r"(?<=\n# contacts\n).*?(?=# /contacts\n)", re.DOTALL)


def read(repository: Path) -> dict[str, str]:
    """Field → value, empty where it is not filled in. Raises ReleaseError for a value of the wrong form."""
    found = tomllib.loads((repository / "project.toml").read_text())
    if wrong := found.keys() ^ FIELDS.keys():
        raise ReleaseError(f"project.toml has not the fields {', '.join(FIELDS)}: see {', '.join(sorted(wrong))}")
    for name, mail in FIELDS.items():
        value = found[name]
        fits = not value or (name == "maintainer" and value.isprintable()) or URL.fullmatch(value)
        if not fits and not (mail and EMAIL.fullmatch(value)):
            raise ReleaseError(f"project.toml: {name} {value!r} is no https URL{' or e-mail address' if mail else ''}")
    return found


def missing(repository: Path) -> list[str]:
    """The fields that are not filled in."""
    return [name for name, value in read(repository).items() if not value]


def written(repository: Path) -> dict[str, str]:
    """File → its text as project.toml wants it."""
    given = read(repository)
    texts = {
        "README.md": f"Maintained by {given['maintainer'] or 'no one who is named yet'}."
        f" Questions: {_link(given['questions']) or 'there is no place yet'}.",
        "SECURITY.md": _link(given["security"]) or "a private report to the maintainers of this repository",
        "CODE_OF_CONDUCT.md": _link(given["conduct"]) or "the maintainers of this repository",
    }
    found = {}
    for name, text in texts.items():
        found[name] = _replaced(IN_PAGE, text, (repository / name).read_text(), name)
    icon = base64.b64encode((repository / "ui/src/icon.svg").read_bytes()).decode()
    about = f"icon: data:image/svg+xml;base64,{icon}\n"
    about += f"home: {json.dumps(given['home'])}\n" if given["home"] else ""
    about += f"sources: [{json.dumps(given['source'])}]\n" if given["source"] else ""
    if given["maintainer"]:
        key = "email" if EMAIL.fullmatch(given["questions"]) else "url"
        reached = {key: given["questions"]} if given["questions"] else {}
        about += f"maintainers: [{json.dumps({'name': given['maintainer'], **reached}, ensure_ascii=False)}]\n"
    found[CHART] = _replaced(IN_CHART, about, (repository / CHART).read_text(), CHART)
    return found


def _link(value: str) -> str:
    return f"<{value}>" if value else ""


def _replaced(pattern: re.Pattern[str], new: str, text: str, name: str) -> str:
    result, count = pattern.subn(lambda _: new, text)
    if count != 1:
        raise ReleaseError(f"{name} has {count} places for contacts, not one")
    return result


def main() -> None:
    repository = Path.cwd()
    try:
        for name, text in written(repository).items():
            if "--check" not in sys.argv:
                (repository / name).write_text(text)
            elif (repository / name).read_text() != text:
                sys.exit(f"contacts: {name} differs from project.toml: make generate")
        if fields := missing(repository):
            print(f"warning: project.toml does not name: {', '.join(fields)}", file=sys.stderr)
    except ReleaseError as error:
        sys.exit(f"contacts: {error}")


if __name__ == "__main__":
    main()
