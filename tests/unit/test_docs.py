"""What is written is true and readable: links, paths, reasons, terms."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from ocore_crds import conditions
from ocore_crds.commands.table import COMMANDS
from ocore_crds.generate import REASONS
from ocore_crds.kinds import KINDS
from support.cluster import procedures
from support.cluster.cluster import REPOSITORY
from support.tracked import tracked

PAGES = sorted(
    [
        *REPOSITORY.glob("*.md"),
        *(REPOSITORY / "docs").rglob("*.md"),
        *(REPOSITORY / "charts").rglob("*.md"),
    ]
)
#: Folders and files whose language is checked: everything that people write here.
READABLE = (
    *("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "CODE_OF_CONDUCT.md", "docs"),
    *("Makefile", "pyproject.toml", "REUSE.toml", ".pre-commit-config.yaml", ".github"),
    *("crds", "kube", "operator", "mover", "api", "cli"),
    *("charts", "examples", "images", "localcluster", "release", "website", "bench", "tests"),
)
#: This file names the words.
UNREADABLE = Path(__file__).resolve()
#: Words that readers who are not native speakers do not know, or that are vague. docs/glossary.md has the terms to use.
BANNED = (
    *("mend", "mends", "mended", "mending", "nobody", "whoever", "somebody", "meanwhile", "anew", "lest", "thereof"),
    *("for ever", "stands in", "is owed", "for want of"),
)
BANNED_WORD = re.compile(rf"\b({'|'.join(BANNED)})\b", re.IGNORECASE)
#: Values of the group's constants in conditions.py that are condition types, not reasons.
TYPES = {
    *("Ready", "Reconciling", "Stalled", "Complete", "Failed", "Verified", "RollbackReady"),
    *(
        "PreviousRetained",
        "SwitchedBackRetained",
        "PreflightWarnings",
        "Incomplete",
        "LastSnapshotSucceeded",
        "Previewed",
        "RemoteCopied",
        "Imported",
    ),
    *("RestoreTested", "RestoreTestSucceeded"),
}
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)


def prose(page: Path) -> str:
    """The page without its code blocks."""
    return re.sub(r"^ *```.*?^ *```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """GitHub's anchors of the page's headings."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in HEADING.findall(prose(page))}


def broken_links(page: Path) -> list[str]:
    """Relative links whose file or heading does not exist."""
    broken = []
    for link in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            broken.append(link)
    return broken


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(REPOSITORY)))
def test_every_link_leads_somewhere(page: Path) -> None:
    assert broken_links(page) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# One `two` 3.4\n[a](page.md) [b](#one-two-34) [c](none.md) [d](#none) [e](https://example.org/)\n"
    )
    assert broken_links(page) == ["none.md", "#none"]


def test_every_page_that_code_names_exists() -> None:
    named = {
        (str(file.relative_to(REPOSITORY)), path)
        for file in tracked(
            "crds",
            "operator",
            "mover",
            "cli",
            "charts",
            "examples",
            "images",
            "localcluster",
            "bench",
            "tests",
            "Makefile",
        )
        if file.suffix in {".py", ".yaml", ".tpl", ".sh", ".txt", ".mk", ""}
        for path in re.findall(r"(?<![\w/])docs/[\w/.-]*\w", file.read_text())
    }
    assert len(named) > 20
    missing = {(file, path) for file, path in named if not _page(path).exists()}
    assert missing == set()


def test_every_promise_that_is_cited_exists() -> None:
    readme = (REPOSITORY / "README.md").read_text()
    section = readme.partition("\n## Promises\n")[2].partition("\n## ")[0]
    promises = {int(n) for n in re.findall(r"^(\d+)\. ", section, re.MULTILINE)}
    cited = {
        (str(file.relative_to(REPOSITORY)), int(number))
        for file in tracked("crds", "kube", "operator", "mover", "api", "cli", "bench", "docs", "tests")
        if file.suffix in {".py", ".md"}
        for number in re.findall(r"\bpromise (\d+)", file.read_text(), re.IGNORECASE)
    }
    assert cited
    assert {found for found in cited if found[1] not in promises} == set()


def _page(path: str) -> Path:
    """`docs/decisions/0004` is short for the page with that number."""
    exact = REPOSITORY / path
    return exact if exact.exists() else next(exact.parent.glob(f"{exact.name}-*.md"), exact)


def test_every_path_in_the_architecture_exists() -> None:
    pages = [REPOSITORY / "docs/architecture.md", REPOSITORY / "CONTRIBUTING.md"]
    paths = {
        p for page in pages for p in re.findall(r"`((?:crds|operator|mover|cli|tests)/[\w/.]+)`", page.read_text())
    }
    assert len(paths) > 15
    assert {p for p in paths if not (REPOSITORY / p).exists()} == set()


@pytest.mark.parametrize(
    ("package", "title"),
    [("operator/ocore_operator", "operator"), ("api/ocore_api", "REST facade"), ("mover/ocore_mover", "mover")],
)
def test_every_room_is_described(package: str, title: str) -> None:
    root = REPOSITORY / package
    rooms = {str(f.parent.relative_to(root)) for f in root.rglob("__init__.py") if f.parent != root}
    page = (REPOSITORY / "docs/architecture.md").read_text()
    section = page.partition(f"\n### Rooms of the {title}\n")[2].partition("\n##")[0]
    described = set(re.findall(r"^\| `([\w/]+)` \|", section, re.MULTILINE))
    assert rooms - described == set()


def reasons() -> set[str]:
    """Every reason constant of conditions.py."""
    constants = {v for k, v in vars(conditions).items() if k.isupper() and isinstance(v, str)}
    return constants - TYPES


def test_every_reason_is_explained_and_no_other() -> None:
    explained = re.findall(r"^## (\w+)$", "".join((REPOSITORY / page).read_text() for page in REASONS), re.MULTILINE)
    assert sorted(explained) == sorted(reasons())
    assert len(explained) == len(set(explained))


def test_every_explanation_says_what_to_do() -> None:
    pages = "".join((REPOSITORY / page).read_text() for page in REASONS)
    entries = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |^# |\Z)", pages, re.MULTILINE | re.DOTALL))
    assert set(entries) == reasons()
    for reason, text in entries.items():
        happened, marker, action = text.partition("**Do:**")
        assert marker, reason
        assert happened.strip(), reason
        assert action.strip(), reason


def test_the_glossary_is_sorted_and_has_one_line_for_each_term() -> None:
    page = (REPOSITORY / "docs/glossary.md").read_text()
    terms = re.findall(r"^\| ([^|]+) \| [^|]+ \|$", page, re.MULTILINE)[1:]
    assert len(terms) > 30
    assert terms == sorted(terms, key=str.lower)
    assert len(terms) == len(set(terms))


def banned_in(text: str) -> list[str]:
    """The banned words in the text, with their line's number."""
    lines = enumerate(text.splitlines(), 1)
    return [f"{number}: {found[0]}" for number, line in lines for found in BANNED_WORD.finditer(line)]


def test_readable_files_have_no_banned_word() -> None:
    files = [file for file in tracked(*READABLE) if file.resolve() != UNREADABLE]
    assert len(files) > 100
    found = {str(f.relative_to(REPOSITORY)): banned_in(f.read_text()) for f in files}
    assert {name: words for name, words in found.items() if words} == {}


def test_a_banned_word_is_found() -> None:
    assert banned_in("Amend it.\nNobody can MEND it; it stands\nfor ever") == ["2: Nobody", "2: MEND", "3: for ever"]


#: Most words of a page, and those that are one table or follow the code: a reader does not look for one thing there.
PAGE_WORDS = 4000
LONG_PAGES = {
    *("architecture.md", "failure-modes.md", "format.md"),
    *(f"reference/{kind}.md" for kind in ("environment", "rollback", "snapshot")),
}


def test_a_reader_finds_one_thing_on_a_page() -> None:
    docs = REPOSITORY / "docs"
    words = {page.relative_to(docs).as_posix(): len(page.read_text().split()) for page in docs.rglob("*.md")}
    assert {page: count for page, count in words.items() if count > PAGE_WORDS and page not in LONG_PAGES} == {}


# --- docs/recovery.md ------------------------------------------------------------------------------------------------


def test_each_procedure_is_rehearsed_by_the_test_that_it_names() -> None:
    titles = [h for h in HEADING.findall(prose(procedures.PAGE)) if h.startswith("Loss of ")]
    assert len(titles) == 3
    for title in titles:
        assert procedures.steps(title), title
        (path,) = re.findall(r"\[A test\]\(\.\./(tests/e2e/\w+\.py)\)", procedures.section(title))
        test = " ".join((REPOSITORY / path).read_text().split())
        assert re.search(rf'rehearsed\( ?cluster, \w+\.namespace, "{title}"', test), f"{path} does not run {title}"


def test_each_command_of_a_procedure_is_valid_and_its_variables_are_set() -> None:
    known = set(re.findall(r"(\w+)=", procedures.blocks(procedures.section(procedures.VARIABLES))[0]))
    for title in ("Loss of a bucket", "Loss of a site", "Loss of the cluster: restore in another one"):
        for script in procedures.steps(title).values():
            subprocess.run(["bash", "-n"], input=script, text=True, check=True)
            outside = re.sub(r"'[^']*'", "", script)
            own = set(re.findall(r"^(\w+)=", script, re.MULTILINE))
            assert set(re.findall(r"\$\{?(\w+)", outside)) - own <= known, f"{title}: {script}"


def test_a_procedure_that_the_page_lacks_is_an_error() -> None:
    with pytest.raises(ValueError, match="has no heading Loss of nothing"):
        procedures.section("Loss of nothing")


# --- what the pages say about the code -------------------------------------------------------------------------------


def test_the_pools_of_the_job_slots_are_those_of_the_code() -> None:
    page = (REPOSITORY / "docs/operator.md").read_text().partition("## Job slots")[2].partition("\n## ")[0]
    described = [
        set(re.findall(r"`([a-z-]+)`", line.partition(";")[0])) for line in re.findall(r"^- (.*)", page, re.MULTILINE)
    ]
    pools: dict[str, set[str]] = {}
    for command, row in COMMANDS.items():
        pools.setdefault(row.limits, set()).add(command)
    free = pools.pop("free")
    assert sorted(map(sorted, described)) == sorted(map(sorted, pools.values()))
    assert all(f"`{command}`" in page for command in free)
    assert f"each of {['five', 'six', 'seven', 'eight'][len(pools) - 5]} pools" in page


def test_the_rights_of_the_operator_are_those_of_the_chart() -> None:
    """Helm's lines are left out: what they decide is granted in some installation."""
    template = (REPOSITORY / "charts/ocore-snapshots/templates/_rules.tpl").read_text()
    rules = (
        template.partition('define "ocore-snapshots.rules"')[2].partition("{{- end }}\n\n{{/*")[0].partition("\n")[2]
    )
    granted: dict[str, set[str]] = {}
    plain = re.sub(r"^\{\{.*\}\}$", "", rules, flags=re.MULTILINE)
    for rule in yaml.safe_load(re.sub(r"\{\{.*?\}\}", "x", plain)):
        for resource in rule["resources"]:
            granted.setdefault(resource, set()).update(rule["verbs"])
    page = (REPOSITORY / "charts/ocore-snapshots/README.md").read_text().partition("## Rights of the operator")[2]
    rows = dict(re.findall(r"^\| ([a-z][^|]*) \| ([^|]*) \|", page.partition("\n## ")[0], re.MULTILINE))
    common = {"get", "list", "watch"}
    for kind in KINDS:
        assert granted[kind.plural] == common | set(re.findall(r"\w+", rows.get(kind.plural, ""))), kind.plural
        assert granted[f"{kind.plural}/status"] == {"patch"}
    assert rows["kinds of `ocore.dev`"] == "get, list, watch; patch of status"
    for resource in ("jobs", "events"):
        assert granted[resource] == set(rows[resource].split(", ")), resource
    assert granted["secrets"] == {"create", "delete"}
    assert "pods/exec" not in granted


NAMES_OF_KINDS = {name for kind in KINDS for name in (kind.plural, kind.kind.lower(), kind.short)}
#: A verb of kubectl, options, then one of our kinds without its group. `snapshots` is also what other products call
#: theirs, and the API server takes the first group by name.
AMBIGUOUS = re.compile(
    r"kubectl(?:\s+(?:-n|--namespace)[ =]\S+)?"
    r"\s+(?:get|describe|delete|patch|wait|annotate|label|edit|explain)(?:\s+-\S+(?:\s+\S+=\S+)?)*\s+(?:[\w.]+,)*"
    rf"({'|'.join(sorted(NAMES_OF_KINDS, key=len, reverse=True))})(?![\w.-])"
)


def test_row_87_every_command_names_the_group() -> None:
    assert AMBIGUOUS.search("kubectl -n shop delete -l a=b jobs,snapshots --all")
    assert AMBIGUOUS.search("kubectl wait osnap/before")
    assert not AMBIGUOUS.search("kubectl get snapshots.ocore.dev before")
    found = [
        f"{path.relative_to(REPOSITORY)}: {match[0]}"
        for path in tracked(
            "README.md", "SECURITY.md", "docs", "charts", "examples", "crds", "operator", "mover", "api", "cli", "bench"
        )
        for match in AMBIGUOUS.finditer(path.read_text())
    ]
    assert not found


def test_row_87_the_first_manifest_of_the_readme_ends_with_no_rollback() -> None:
    """It is pasted as a whole. Without a policy nothing is taken or removed after it."""
    manifest, *_ = re.findall(r"^```yaml\n(.*?)^```$", (REPOSITORY / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    kinds = [document["kind"] for document in yaml.safe_load_all(manifest)]
    assert kinds == ["SnapshotStore", "Environment", "SnapshotPolicy", "Snapshot"]


class Strict(yaml.CSafeLoader):
    """Refuses a key that stands twice in one mapping: YAML's loaders take the last one without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        twice = {str(key) for key in keys if keys.count(key) > 1}
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"twice: {', '.join(sorted(twice))}", node.start_mark)
        return super().construct_mapping(node, deep)  # type: ignore[no-any-return]


def test_row_87_no_key_stands_twice_in_a_yaml_file() -> None:
    with pytest.raises(yaml.constructor.ConstructorError, match="twice: a"):
        yaml.load("x: {a: 1, b: 2, a: 3}", Strict)  # noqa: S506 - a safe loader
    files = [path for path in tracked("charts", "crds", "examples", "localcluster") if path.suffix in (".yaml", ".yml")]
    # Helm's templates are no YAML before they are rendered.
    checked = [path for path in files if "{{" not in path.read_text()]
    assert REPOSITORY / "charts/ocore-snapshots/values.yaml" in checked
    for path in checked:
        try:
            list(yaml.load_all(path.read_text(), Strict))
        except yaml.YAMLError as error:
            pytest.fail(f"{path.relative_to(REPOSITORY)}: {error}")


# --- language --------------------------------------------------------------------------------------------------------

#: Most words of a sentence, and the share of the sentences that may have more.
MOST_WORDS, LONG_SHARE = 25, 0.03
#: What is kept as it was written: reasons of decisions.
KEPT = set((REPOSITORY / "docs/decisions").glob("*.md"))
SENTENCE_END = re.compile(r"(?<=[.!?])[)\"]?\s+(?=[A-Z\"(0-9]|code)")


def sentences(page: Path) -> list[str]:
    """The sentences of the page's text, without tables and headings. What is code counts as one word, and a link as
    its text."""
    text = re.sub(r"<!--.*?-->", "", prose(page), flags=re.DOTALL)
    text = re.sub(r"`[^`\n]+`", "code", text)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text).replace("*", "")
    # A line that ends a block, or begins one.
    text = re.sub(r"^ *(\||#{1,6} ).*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"^ *(- |\d+\. )", "\n\n", text, flags=re.MULTILINE)
    blocks = (" ".join(block.split()) for block in re.split(r"\n\s*\n", text))
    return [sentence for block in blocks for sentence in SENTENCE_END.split(block) if re.search(r"\w", sentence)]


def test_few_sentences_are_long() -> None:
    every = [(page, sentence) for page in PAGES if page not in KEPT for sentence in sentences(page)]
    assert len(every) > 3000
    long = [(page, sentence) for page, sentence in every if len(sentence.split()) > MOST_WORDS]
    listed = "\n".join(f"{page.relative_to(REPOSITORY)}: {sentence}" for page, sentence in long)
    assert len(long) < LONG_SHARE * len(every), f"{len(long)} of {len(every)} have more than {MOST_WORDS}:\n{listed}"


def test_a_long_sentence_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        f"# Page\n\nOne `two three` [four](x.md). Five.\n| {'cell ' * 30}|\n- Six\n  seven.\n\n{'long ' * 26}.\n"
    )
    assert sentences(page) == ["One code four.", "Five.", "Six seven.", f"{'long ' * 26}."]
