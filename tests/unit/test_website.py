"""The documentation's site: links between pages, the navigation, what a page may load, the list of versions; and the
pages that are made from the commands of kubectl ocore and the operator's settings. And the search."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.request import urlopen
from xml.etree import ElementTree

import pytest

from ocore_operator.settings import Settings
from ocore_website import __main__ as program
from ocore_website import built, commands, drawing, pages, pictures, searching, terminal
from support.built import make
from support.cluster.cluster import REPOSITORY

DOCS = "docs"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """One page that links to a page elsewhere, a file, a folder and an image."""
    for name, text in {
        f"{DOCS}/README.md": "# All\n",
        f"{DOCS}/a.md": "[s](../SECURITY.md#x) [f](../tests/t.py) [d](../examples/) ![i](i.svg) [w](https://example.org/)\n"
        "[here](#a) `[no](none.md)`\n```\n[no](none.md)\n```\n",
        f"{DOCS}/i.svg": "<svg/>",
        f"{DOCS}/decisions/README.md": "# Decisions\n",
        f"{DOCS}/decisions/0001-first.md": "# 1. First\n",
        f"{DOCS}/runbooks/README.md": "# Alerts\n",
        "tests/t.py": "pass\n",
        "examples/one.yaml": "a: 1\n",
        **dict.fromkeys(pages.ELSEWHERE, "# Page\n"),
    }.items():
        path = tmp_path / "repository" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "repository"


def test_links_hold_on_the_site(repository: Path, tmp_path: Path) -> None:
    pages.Copy(repository, tmp_path / "site").everything()
    text = (tmp_path / "site/a.md").read_text()
    assert text.startswith(
        "[s](project/security.md#x) [f](source/tests/t.py.txt) [d](source/examples.txt) ![i](i.svg) "
        "[w](https://example.org/)\n[here](#a) `[no](none.md)`\n"
    )
    assert (tmp_path / "site/source/tests/t.py.txt").read_text() == "pass\n"
    assert (tmp_path / "site/source/examples.txt").read_text() == "# --- one.yaml\na: 1\n"
    assert (tmp_path / "site/i.svg").read_text() == "<svg/>"
    assert (tmp_path / "site/decisions/0001-first.md").read_text() == f"{pages.NOT_SEARCHED}# 1. First\n"
    assert "- [1. First](0001-first.md)" in (tmp_path / "site/decisions/README.md").read_text()


def test_a_link_that_leads_nowhere_is_an_error(repository: Path, tmp_path: Path) -> None:
    (repository / DOCS / "a.md").write_text("[x](none.md)\n")
    with pytest.raises(pages.Broken, match=r"/a\.md: none.md does not exist"):
        pages.Copy(repository, tmp_path / "site").everything()


def test_a_page_is_in_the_navigation_once() -> None:
    navigation = [
        {"Start": ["index.md", {"Twice": "index.md"}, "gone.md"]},
        "decisions/README.md",
        "runbooks/README.md",
    ]
    found = {"index.md", "new.md", "decisions/README.md", "decisions/0001-first.md", "runbooks/README.md"}
    with pytest.raises(pages.Broken) as problem:
        pages.check_navigation(navigation, found)
    assert [line.partition(":")[0] for line in str(problem.value).splitlines()] == ["new.md", "gone.md", "index.md"]


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ('<a href="b/#there"><a href="https://example.org/"><a href="#here"><img src="x.svg">', ""),
        ('<a href="b/#gone">', "a.html: b/#gone leads nowhere"),
        ('<a href="c/">', "a.html: c/ leads nowhere"),
        ('<a href="#gone">', "a.html: #gone leads nowhere"),
        ('<script src="https://example.org/x.js">', "a.html: loads https://example.org/x.js"),
        ('<img src="//example.org/x.png">', "a.html: loads //example.org/x.png"),
        ('<link rel="stylesheet" href="https://example.org/x.css">', "a.html: loads https://example.org/x.css"),
        ('<link rel="canonical" href="https://example.org/">', ""),
    ],
)
def test_what_is_wrong_with_a_page_is_found(tmp_path: Path, body: str, problem: str) -> None:
    policy = f'<meta http-equiv="Content-Security-Policy" content="{built.POLICY}">'
    (tmp_path / "a.html").write_text(f'{policy}<p id="here">{body}')
    (tmp_path / "b").mkdir()
    (tmp_path / "b/index.html").write_text(f'{policy}<p id="there">')
    assert built.problems(tmp_path) == [problem] * bool(problem)


def test_a_page_or_style_that_may_load_from_elsewhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text("<p>")
    (tmp_path / "a.css").write_text(
        '@import "https://example.org/a.css"; a {src: url(//example.org/f.woff)} b {src: url(data:x)} c {src: url(d)}'
    )
    assert built.problems(tmp_path) == [
        "a.html: no Content-Security-Policy that forbids other hosts",
        "a.css: loads https://example.org/a.css",
        "a.css: loads //example.org/f.woff",
    ]


def test_the_newest_release_comes_first_and_is_where_the_address_leads(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    program.list_versions(tmp_path)
    assert 'url=dev/"' in (tmp_path / "index.html").read_text()
    for version in ("1.9.0", "1.10.0"):
        (tmp_path / version).mkdir()
    program.list_versions(tmp_path)
    rows = json.loads((tmp_path / "versions.json").read_text())
    assert [row["version"] for row in rows] == ["dev", "1.10.0", "1.9.0"]
    assert [row["version"] for row in rows if row["aliases"] == ["latest"]] == ["1.10.0"]
    assert 'url=1.10.0/"' in (tmp_path / "index.html").read_text()


def test_it_is_served_on_loopback_until_it_is_interrupted(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("here")
    code = (
        "import sys; from pathlib import Path; from ocore_website import __main__ as m; m.serve(Path(sys.argv[1]), 0)"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "website")}

    def default_signal() -> None:
        """A shell starts a background command with SIGINT ignored, and a child process inherits that."""
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    process = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path],
        stdout=subprocess.PIPE, text=True, env=environment, preexec_fn=default_signal,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:")
        with urlopen(address, timeout=30) as answer:  # noqa: S310 - our own server
            assert answer.read() == b"here"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.communicate()


SECTIONS = {
    "undo/": ("Undo", "It makes live again what was live. <code>kubectl ocore undo</code> &amp; more."),
    "failed/": ("My rollback failed", "What to do."),
    "cost/": ("Sizing and cost", "What a month needs in S3."),
    "cost/#compute": ("Compute it", "The cost of the bytes."),
    "remove/": ("Uninstall", "helm uninstall"),
    "reasons/#hiddenonly": ("HiddenOnly", "The copy is hidden."),
    "reasons/#missinggrants": ("MissingGrants", "The role lacks rights. HiddenOnly is another reason."),
    **{f"long/#{n}": ("Part", "gardening") for n in range(5)},
    "short/": ("Other", "gardening among many other words that this text has, and more of them"),
}
#: What is typed → the first hit: words that say little, other words of one meaning, forms of a word, a part of a word
#: while it is typed, names in parts, a wrong letter.
TYPED = {
    "my rollback has failed, what can I do?": "failed/",
    "how expensive is it": "cost/",
    "deleting": "remove/",
    "unins": "remove/",
    "hidden": "reasons/#hiddenonly",
    "MissingGrants": "reasons/#missinggrants",
    "unistall": "remove/",
    "revert": "undo/",
}


@pytest.fixture
def searched(tmp_path: Path) -> Path:
    """A built site with these sections and our search."""
    items = [
        {"location": location, "level": 1, "title": title, "text": text, "path": ["Guides", title], "tags": []}
        for location, (title, text) in SECTIONS.items()
    ]
    (tmp_path / "search.json").write_text(json.dumps({"config": {"lang": ["en"], "separator": " "}, "items": items}))
    worker = tmp_path / searching.WORKER
    worker.parent.mkdir(parents=True)
    worker.write_text("// the theme's")
    searching.install(tmp_path, make("ui-modules") / "node_modules")
    assert "MIT" in (worker.parent / "minisearch-license.txt").read_text()
    return tmp_path


def test_a_question_finds_its_page_first(searched: Path) -> None:
    *found, many, none, empty = searching.ask(searched, [*TYPED, "gardening", "xyzzy", ""])
    assert {question: hits[:1] for question, hits in zip(TYPED, found, strict=True)} == {
        question: [page] for question, page in TYPED.items()
    }
    assert [hit.partition("#")[0] for hit in many] == ["long/"] * 3 + ["short/"]  # a page has three hits at most
    assert none == empty == []


def test_a_question_that_finds_another_page_is_an_error(searched: Path) -> None:
    found = searching.unanswered(searched, {"cost": "cost/", "undo": "failed/", "xyzzy": "cost/"})
    assert found == [
        "the search for 'undo' finds ['undo/', 'failed/'] first, not failed/",
        "the search for 'xyzzy' finds [] first, not cost/",
    ]


def test_a_search_that_does_not_run_is_an_error(searched: Path) -> None:
    (searched / "search.json").write_text("{}")
    with pytest.raises(pages.Broken, match="the search has failed"):
        searching.ask(searched, ["cost"])


def test_a_search_that_cannot_be_bundled_is_an_error(searched: Path, tmp_path: Path) -> None:
    modules = tmp_path / "modules"
    (modules / ".bin").mkdir(parents=True)
    (modules / ".bin/esbuild").symlink_to(make("ui-modules") / "node_modules/.bin/esbuild")
    with pytest.raises(pages.Broken, match=r'cannot be bundled: .*Could not resolve "minisearch"'):
        searching.install(searched, modules)


def test_another_version_of_the_theme_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(pages.Broken, match=r"search.c47bb847.min.js does not exist: try website/search.js"):
        searching.install(tmp_path, tmp_path)


def test_the_theme_forbids_other_hosts() -> None:
    assert f'content="{built.POLICY}"' in (REPOSITORY / "website/theme/main.html").read_text()


def test_the_reference_of_kubectl_ocore_is_that_of_its_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = commands.page()
    described = re.findall(r"^\| (`.*?) \|", (REPOSITORY / "docs/kubectl-ocore.md").read_text(), re.MULTILINE)
    names = {name for cell in described for name in re.findall(r"`([a-z]+)", cell)}
    assert set(re.findall(r"^## (\w+)$", text, re.MULTILINE)) == names
    _checks(tmp_path, monkeypatch, "kubectl-ocore-options.md", "--wait")


def test_the_reference_of_the_operators_settings_is_that_of_its_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = commands.settings_page()
    found = re.findall(r"^\| `(OCORE_\w+)`", text, re.MULTILINE)
    assert found == [f"OCORE_{name.upper()}" for name in Settings.model_fields]
    assert "| `OCORE_MOVER_MAJORS` | `15,17` |" in text
    assert "| `OCORE_RESTORE_IMAGE` | `true` |" in text
    _checks(tmp_path, monkeypatch, "settings.md", "OCORE_WORKERS")


def _checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, word: str) -> None:
    """The page in the repository is as generated; a change of it is found."""
    monkeypatch.setattr(sys, "argv", ["commands", "--check"])
    commands.main()
    monkeypatch.setattr(commands, "DOCS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["commands"])
    commands.main()
    monkeypatch.setattr(sys, "argv", ["commands", "--check"])
    commands.main()
    page = tmp_path / name
    page.write_text(page.read_text().replace(word, f"{word}S", 1))
    with pytest.raises(SystemExit, match=rf"{name} differs from the code. Run `make generate`"):
        commands.main()


@pytest.mark.parametrize("picture", pictures.ALL, ids=lambda p: p.__name__)
def test_a_picture_is_as_drawn_and_is_used(picture: Callable[[], drawing.Picture]) -> None:
    text = (pictures.FOLDER / f"{picture.__name__}.svg").read_text()
    assert text == picture().svg()
    root = ElementTree.fromstring(text)  # noqa: S314 - our own file
    names = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert names <= {"svg", "title", "defs", "marker", "path", "rect", "text", "style"}
    assert not [key for element in root.iter() for key in element.attrib if key.rpartition("}")[2] == "href"]
    users = [
        page for page in (REPOSITORY / DOCS).rglob("*.md") if f"pictures/{picture.__name__}.svg" in page.read_text()
    ]
    assert users


def test_text_that_does_not_fit_is_an_error() -> None:
    picture = drawing.Picture("title", 100, 50)
    picture.box(0, 0, 100, 50, "fits")
    with pytest.raises(drawing.DoesNotFit, match="'this is much too long for it' needs"):
        picture.box(0, 0, 100, 50, "this is much too long for it")
    with pytest.raises(drawing.DoesNotFit, match="outside of the picture"):
        picture.box(50, 0, 60, 50, "")


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize(
    ("text", "backgrounds"),
    [
        (drawing.TEXT, [drawing.PANEL, *(fill for fill, _ in drawing.COLOURS.values())]),
        (drawing.DARK_TEXT, [drawing.DARK_PANEL, *(fill for fill, _ in drawing.DARK_COLOURS.values())]),
    ],
)
def test_text_of_pictures_can_be_read(text: str, backgrounds: list[str]) -> None:
    """The contrast that WCAG asks for, on the panel that each picture brings along, on a light and a dark page."""
    for background in backgrounds:
        lights = sorted((luminance(background), luminance(text)))
        assert (lights[1] + 0.05) / (lights[0] + 0.05) >= 7, background
    assert drawing.DARK_COLOURS.keys() == drawing.COLOURS.keys()


def test_the_table_of_costs_is_computed_by_the_formula_above_it() -> None:
    page = (REPOSITORY / DOCS / "guides/sizing.md").read_text()
    d, f, g = (float(re.search(rf"^\| {name} \|[^|]*\| ([\d.]+) \|", page, re.MULTILINE)[1]) for name in "dfg")  # type: ignore[index]
    assert "stored GB = n*D*d + m*F*f + (n-m)*3.5*g*F*f\n" in page
    rows = re.findall(r"\| (\d+) \| (\d+) \| (\d+) GB \| ([\d.]+) \| (\d+) GB \| ([\d.]+) \|$", page, re.MULTILINE)
    assert len(rows) >= 3
    for n, m, *cells in rows:
        for total, stored, cost in ((10, *cells[:2]), (100, *cells[2:])):
            half = total / 2
            expected = int(n) * half * d + int(m) * half * f + (int(n) - int(m)) * 3.5 * g * half * f
            assert (stored, cost) == (f"{expected:.0f}", f"{expected * 0.02:.2f}")


LOG = [
    "before",
    "== 1/2  A step",
    "kubectl ocore snapshot",
    "✓ a < b " + "word " * 29 + "word",
    "",
    "== 2/2  Another",
    "after",
]


def test_a_terminal_is_drawn_as_it_was() -> None:
    shown = terminal.part(LOG, "== 1/2", "== 2/2")
    assert shown == LOG[1:5]
    root = ElementTree.fromstring(terminal.svg("A & B", shown))  # noqa: S314 - just made
    texts = [(element.text or "").replace(terminal.NO_BREAK, " ") for element in root if element.tag.endswith("text")]
    assert texts[:2] == LOG[1:3]
    assert max(map(len, texts)) <= terminal.COLUMNS
    assert "".join(texts[2:]).split() == LOG[3].split()  # wrapped, and nothing is lost
    assert root[0].text == "A & B"


@pytest.mark.parametrize(
    ("log", "message"),
    [
        ([], "no line begins with '== 1/2'"),
        (LOG[:5], "no line begins with '== 2/2'"),
        ([LOG[1], "\x1b[2Kx", LOG[5]], "control characters"),
    ],
)
def test_a_terminal_that_cannot_be_drawn(log: list[str], message: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ocore_website.terminal", "title", "--from", "== 1/2", "--to", "== 2/2"],
        input="\n".join(log), capture_output=True, text=True, check=False, cwd=REPOSITORY / "website",
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert message in done.stderr


def test_the_demos_picture_is_one_run() -> None:
    """Its snapshot is the one that it rolls back to, and nothing was missing at its end."""
    text = (REPOSITORY / DOCS / "screenshots/demo.svg").read_text().replace(terminal.NO_BREAK, " ")
    (snapshot,) = set(re.findall(r"--name (before-\S+) --wait", text))
    assert f"kubectl ocore rollback {snapshot} " in text
    assert f"Snapshot {snapshot} is Complete" in text
    assert "not one attachment is missing" in text
