"""Writes every file that is generated from the models: ``python -m ocore_crds.generate [--check]``.

``crds/*.yaml`` for ``kubectl apply``, the same as chart templates, ``docs/reference/*.md`` and ``docs/failpoints.md``;
the index of all reasons in ``docs/troubleshooting.md``; and a copy of the reasons' entries in this package, which
travels with the programs however they are packed. With ``--check`` nothing is written: differences are printed and the
exit code is 1. A development tool that the programs never import.
"""

import argparse
import difflib
import re
import sys
from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import yaml

from ocore_crds.group import GROUP
from ocore_crds.kinds import KINDS, Kind
from ocore_crds.schema import reference
from ocore_crds.schema.from_models import crd

REPOSITORY = Path(__file__).resolve().parents[2]
#: The pages with an entry for each reason, and the index of them.
REASONS = tuple(f"docs/reasons-{group}.md" for group in ("progress", "objects", "application", "failures"))
INDEX = "docs/troubleshooting.md"
_PLACE = re.compile(r"(<!-- reasons: made by `make generate` -->\n).*(<!-- end of reasons -->)", re.DOTALL)
CHART_CRDS = "charts/ocore-snapshots/templates/crds"
#: Folders whose files with that suffix are all generated here; stale files are removed.
OWNED = {"crds": ".yaml", CHART_CRDS: ".yaml", "docs/reference": ".md"}
_NOTICE = "# Made by `make generate` from the models in crds/ocore_crds; do not edit.\n"
_CHART_LABELS = """\
  labels:
    {{- include "ocore-snapshots.labels" . | nindent 4 }}
"""


class _Dumper(yaml.SafeDumper):
    """Without anchors: the same schema occurs in many places, and people read it."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _yaml(data: object) -> str:
    return str(yaml.dump(data, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True))


def _file_name(kind: Kind) -> str:
    return f"{GROUP}_{kind.plural}.yaml"


def crd_file(kind: Kind) -> str:
    """The CustomResourceDefinition for ``kubectl apply``."""
    return _NOTICE + _yaml(crd(kind))


def chart_crd_file(kind: Kind) -> str:
    """The same as a chart template.

    A template, because Helm never upgrades a chart's own ``crds`` folder. Kept on uninstall, because deleting a CRD
    deletes every object of its kind.
    """
    whole = crd(kind)
    whole["metadata"]["annotations"] |= {"helm.sh/resource-policy": "keep"}
    spec = whole.pop("spec")
    body = _yaml({"spec": spec}).replace("{{", '{{ "{{" }}')
    return f"{{{{- if .Values.crds.install }}}}\n{_NOTICE}{_yaml(whole)}{_CHART_LABELS}{body}{{{{- end }}}}\n"


def rendered() -> dict[str, str]:
    """Path below the repository → content."""
    files = {"docs/failpoints.md": reference.failpoints_page(), "docs/reference/README.md": reference.index_page(KINDS)}
    files |= reasons()
    for kind in KINDS:
        files[f"crds/{_file_name(kind)}"] = crd_file(kind)
        files[f"{CHART_CRDS}/{_file_name(kind)}"] = chart_crd_file(kind)
        files[f"docs/reference/{kind.kind.lower()}.md"] = reference.kind_page(kind)
    return files


def reasons() -> dict[str, str]:
    """The copy of all entries, and the page that links each of them."""
    entries, links = "", []
    for name in REASONS:
        page = (REPOSITORY / name).read_text(encoding="utf-8")
        entries += page[page.index("\n## ") :]
        found = re.findall(r"^## (\w+)$", page, re.MULTILINE)
        links += [f"[{reason}]({Path(name).name}#{reason.lower()})" for reason in found]
    lines = (", ".join(group) for _, group in groupby(sorted(links, key=str.lower), key=itemgetter(1)))
    index = (REPOSITORY / INDEX).read_text(encoding="utf-8")
    text = "\n".join(f"- {line}" for line in lines)
    linked = _PLACE.sub(lambda place: f"{place[1]}\n{text}\n\n{place[2]}", index)
    return {INDEX: linked, "crds/ocore_crds/troubleshooting.md": entries}


def stale(root: Path, files: Mapping[str, str]) -> list[str]:
    """Files in the generated folders that no model produces any more."""
    there = (
        path.relative_to(root).as_posix()
        for folder, suffix in OWNED.items()
        for path in sorted((root / folder).glob(f"*{suffix}"))
    )
    return [name for name in there if name not in files]


def differences(root: Path) -> str:
    """A unified diff from the files to what they should be; empty if nothing differs."""
    files = rendered()
    wanted = {**files, **dict.fromkeys(stale(root, files), "")}
    lines: list[str] = []
    for name, content in sorted(wanted.items()):
        path = root / name
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        lines += difflib.unified_diff(
            old.splitlines(keepends=True), content.splitlines(keepends=True), f"{name} (on disk)", f"{name} (generated)"
        )
    return "".join(lines)


def write(root: Path) -> None:
    """Writes all files and removes the stale ones."""
    files = rendered()
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    for name in stale(root, files):
        (root / name).unlink()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m ocore_crds.generate", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="write nothing; print a diff and exit with 1 if files differ"
    )
    parser.add_argument(
        "--root", type=Path, default=REPOSITORY, help="the repository (default: the one that contains this file)"
    )
    options = parser.parse_args(arguments)
    if not options.check:
        write(options.root)
        return 0
    diff = differences(options.root)
    if diff:
        sys.stdout.write(diff)
        sys.stderr.write("Generated files differ from the models. Run `make generate` and commit the result.\n")
    return 1 if diff else 0


if __name__ == "__main__":
    sys.exit(main())
