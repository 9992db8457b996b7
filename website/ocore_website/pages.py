"""Copies the pages and what they link to into one folder, with links that hold there."""

import os
import re
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: Pages outside of docs/, and their place on the site.
ELSEWHERE = {
    "README.md": "project/overview.md",
    "CHANGELOG.md": "project/changelog.md",
    "CODE_OF_CONDUCT.md": "project/code-of-conduct.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
    "charts/ocore-snapshots/README.md": "reference/chart.md",
}
#: Folders whose README lists their pages.
LISTED = ("decisions/", "runbooks/")
#: Pages that the search leaves out: why something was decided, or changed, is not how it is; and the list of all pages.
UNSEARCHED = ("decisions/0", "project/changelog.md", "index.md")
NOT_SEARCHED = "---\nsearch:\n  exclude: true\n---\n\n"
#: Files that a browser shows as they are. All others get the suffix .txt: they are read, not downloaded.
SHOWN = {".svg", ".png", ".json"}
CODE = re.compile(r"^ *```.*?^ *```$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<=\]\()[^)\s]+(?=\))")


class Broken(Exception):
    """A page that cannot be part of the site as it is."""


def places(repository: Path) -> dict[Path, str]:
    """Each page and its place on the site."""
    docs = repository / "docs"
    own = {page: page.relative_to(docs).as_posix() for page in sorted(docs.rglob("*.md"))}
    own[docs / "README.md"] = "index.md"
    return own | {repository / path: place for path, place in ELSEWHERE.items()}


def listed(navigation: Any) -> Iterator[str]:
    """The pages in the navigation."""
    if isinstance(navigation, str):
        yield navigation
    elif isinstance(navigation, dict):
        for entry in navigation.values():
            yield from listed(entry)
    else:
        for entry in navigation:
            yield from listed(entry)


def check_navigation(navigation: Any, found: set[str]) -> None:
    """Raises Broken if a page is missing in the navigation, or is there twice."""
    names = list(listed(navigation))
    wanted = {place for place in found if not place.startswith(LISTED)} | {f"{folder}README.md" for folder in LISTED}
    problems = [f"{name}: not in nav of website/zensical.toml" for name in sorted(wanted - set(names))]
    problems += [f"{name}: in nav, and no page" for name in sorted(set(names) - found)]
    problems += [f"{name}: in nav twice" for name in sorted({n for n in names if names.count(n) > 1})]
    if problems:
        raise Broken("\n".join(problems))


class Copy:
    """Copies pages and files into `folder`."""

    def __init__(self, repository: Path, folder: Path) -> None:
        self.repository = repository
        self.folder = folder
        self.places = places(repository)

    def everything(self) -> None:
        """Raises Broken for a link that leads nowhere."""
        for page, place in self.places.items():
            target = self.folder / place
            target.parent.mkdir(parents=True, exist_ok=True)
            text = self.text(page, place) + self.index(page)
            target.write_text(NOT_SEARCHED + text if place.startswith(UNSEARCHED) else text)

    def index(self, page: Path) -> str:
        """A list of all decisions below the page about them; where files are shown, the folder is the list."""
        if page != self.repository / "docs/decisions/README.md":
            return ""
        titles = (
            (f.name, f.read_text().partition("\n")[0].removeprefix("# ")) for f in sorted(page.parent.glob("0*.md"))
        )
        return "\n" + "".join(f"- [{title}]({name})\n" for name, title in titles)

    def text(self, page: Path, place: str) -> str:
        """The page with links between places on the site."""

        def changed(found: re.Match[str]) -> str:
            link = found[0]
            if re.match(r"[a-z]+:|#", link):
                return link
            path, hash_, anchor = link.partition("#")
            target = Path(os.path.normpath(page.parent / path))
            if not target.exists():
                raise Broken(f"{page.relative_to(self.repository)}: {link} does not exist")
            return os.path.relpath(self.placed(target), Path(place).parent) + hash_ + anchor

        parts, end = [], 0
        text = page.read_text()
        for code in CODE.finditer(text):
            parts += [LINK.sub(changed, text[end : code.start()]), code[0]]
            end = code.end()
        return "".join([*parts, LINK.sub(changed, text[end:])])

    def placed(self, target: Path) -> str:
        """The place of a page or a file; the file is copied."""
        if target in self.places:
            return self.places[target]
        path = target.relative_to(self.repository)
        if target.suffix in SHOWN:
            place = path.relative_to("docs") if path.parts[0] == "docs" else path
        else:
            place = Path("source", f"{path}.txt")
        copy = self.folder / place
        copy.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir():
            files = sorted(f for f in target.rglob("*") if f.is_file())
            copy.write_text("\n".join(f"# --- {f.relative_to(target)}\n{f.read_text()}" for f in files))
        else:
            shutil.copyfile(target, copy)
        return place.as_posix()


def stage(repository: Path, folder: Path) -> None:
    """Makes what Zensical builds from, in an empty folder. Raises Broken."""
    website = repository / "website"
    shutil.copyfile(website / "zensical.toml", folder / "zensical.toml")
    shutil.copytree(website / "theme", folder / "theme")
    copy = Copy(repository, folder / "pages")
    navigation = tomllib.loads((website / "zensical.toml").read_text())["project"]["nav"]
    check_navigation(navigation, set(copy.places.values()))
    copy.everything()
