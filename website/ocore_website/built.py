"""Checks of the built site: nothing from another host, and links of the HTML that hold."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

#: Attributes by which a browser loads something, of each element. A link that a person follows is none of them.
LOADS = {"src", "srcset", "data", "poster", "action", "formaction"}
#: Relations of `link` elements that load nothing.
QUIET = {"canonical", "prev", "next", "edit"}
POLICY = "default-src 'self' 'unsafe-inline' data: blob:"
#: In a style sheet.
STYLE_LOADS = re.compile(r"""@import\s+["']([^"']+)|url\(["']?([^"')]+)""")


class Page(HTMLParser):
    """What a page loads, where its links lead, and its anchors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.policy = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.anchors.update(value for name, value in found.items() if name in ("id", "name"))
        self.loads += [value for name, value in found.items() if name in LOADS]
        if tag == "link" and found.get("rel") not in QUIET:
            self.loads.append(found.get("href", ""))
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag == "meta" and found.get("http-equiv") == "Content-Security-Policy":
            self.policy = found["content"]


def elsewhere(address: str) -> bool:
    """Whether the address is on another host."""
    parts = urlsplit(address)
    return bool(parts.netloc) or parts.scheme in ("http", "https", "ftp", "ws", "wss")


def problems(site: Path) -> list[str]:
    """What is wrong with a built site, one line each."""
    pages = {page: Page(page.read_text()) for page in sorted(site.rglob("*.html"))}
    return [*_of_pages(site, pages), *_of_styles(site)]


def _of_pages(site: Path, pages: dict[Path, Page]) -> Iterator[str]:
    for path, page in pages.items():
        name = path.relative_to(site)
        if page.policy != POLICY:
            yield f"{name}: no Content-Security-Policy that forbids other hosts"
        yield from (f"{name}: loads {address}" for address in page.loads if elsewhere(address))
        # The page for what does not exist has absolute links, which hold at the root of a host.
        if path != site / "404.html":
            yield from (f"{name}: {link} leads nowhere" for link in page.links if not _leads(link, path, pages))


def _leads(link: str, path: Path, pages: dict[Path, Page]) -> bool:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return True
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    target = target / "index.html" if target.is_dir() else target
    if not target.is_file():
        return False
    fragment = unquote(parts.fragment)
    return not fragment or target not in pages or fragment in pages[target].anchors


def _of_styles(site: Path) -> Iterator[str]:
    for path in sorted(site.rglob("*.css")):
        for found in STYLE_LOADS.finditer(path.read_text()):
            if elsewhere(found[1] or found[2]):
                yield f"{path.relative_to(site)}: loads {found[1] or found[2]}"
