"""Writes what is generated from the routes and models: ``python -m ocore_api.openapi [--check]``.

``docs/openapi.json``, the pages of fields and of settings, and the table of reasons in ``docs/rest-api.md``. With
``--check`` nothing is written: the files that differ are printed and the exit code is 1. A development tool that the
program never imports.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from ocore_api.auth import Authenticator
from ocore_api.cache import Cache
from ocore_api.errors import REASONS
from ocore_api.facade import Facade
from ocore_api.main import create_app
from ocore_api.settings import Settings
from ocore_api.views import models, requests
from ocore_api.views.console import models as console
from ocore_api.views.console import requests as console_requests
from ocore_api.views.models import SOURCE
from ocore_crds.resources.recovery_evidence import RecoveryEvidence

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENT, PAGE, SETTINGS_PAGE = "docs/openapi.json", "docs/rest-api.md", "docs/rest-api-settings.md"
Models = Sequence[type[BaseModel]]
NOTICE = "<!-- Made by `make generate` from api/ocore_api; do not edit. -->"
SETTINGS_HEAD = f"""\
# Settings of the REST facade

{NOTICE}

Environment variables of the program `ocore-api`. The chart sets them from its values.
The API: [rest-api.md](rest-api.md).
"""


@dataclass(frozen=True)
class FieldsPage:
    """A page with a table for each model."""

    title: str
    about: str
    models: Models


def _own(*modules: ModuleType) -> list[type[BaseModel]]:
    """The models with fields that the modules define, in their order, each once."""
    names = {module.__name__ for module in modules}
    classes = (c for module in modules for c in vars(module).values() if isinstance(c, type))
    found = (c for c in classes if issubclass(c, BaseModel) and c.model_fields and c.__module__ in names)
    return list(dict.fromkeys(found))


def _fields_pages() -> dict[str, FieldsPage]:
    """The pages of fields. Those of `/console/v1` are three, one for each subject."""
    own = _own(console, console_requests)
    first, second = own.index(console.RemoteView), own.index(console.Finding)
    about = "The operations: [console-api.md](console-api.md)."
    return {
        "docs/rest-api-fields.md": FieldsPage(
            "Fields of the REST API",
            "The operations: [rest-api.md](rest-api.md).",
            [*_own(models, requests), RecoveryEvidence],
        ),
        "docs/console-api-environments.md": FieldsPage("Fields of environments and policies", about, own[:first]),
        "docs/console-api-snapshots.md": FieldsPage("Fields of snapshots and test restores", about, own[first:second]),
        "docs/console-api-rollbacks.md": FieldsPage("Fields of rollbacks and extracts", about, own[second:]),
    }


FIELDS_PAGES = _fields_pages()
#: The page of each model.
PAGE_OF = {model: Path(name).name for name, page in FIELDS_PAGES.items() for model in page.models}


def openapi() -> dict[str, Any]:
    """The OpenAPI document that the program serves."""
    settings = Settings(
        _env_file=None,
        jwt_issuer="https://issuer.example.org",
        jwt_audience="ocore-snapshots",
        jwks_file=Path("jwks.json"),
    )
    facade = Facade(settings=settings, authenticator=Authenticator(settings), cache=Cache(), client=None)
    return create_app(facade).openapi()


def rendered(root: Path) -> dict[str, str]:
    """Path below the repository → content. Of docs/rest-api.md, the table of reasons is replaced."""
    document = json.dumps(openapi(), indent=2, ensure_ascii=False) + "\n"
    page = (root / PAGE).read_text(encoding="utf-8")
    return {
        DOCUMENT: document,
        PAGE: _between(page, "reasons", _reasons()),
        SETTINGS_PAGE: f"{SETTINGS_HEAD}\n{_settings()}\n",
        **{name: _fields_page(page) for name, page in FIELDS_PAGES.items()},
    }


def _fields_page(page: FieldsPage) -> str:
    return "\n\n".join([f"# {page.title}", NOTICE, page.about, *map(_fields, page.models)]) + "\n"


def _between(page: str, name: str, text: str) -> str:
    begin, end = f"<!-- {name}: made by `make generate` -->", f"<!-- end of {name} -->"
    pattern = f"{re.escape(begin)}.*?{re.escape(end)}"
    if not re.search(pattern, page, re.DOTALL):
        raise ValueError(f"a page has no place for {name}: {begin} … {end}")
    return re.sub(pattern, lambda _: f"{begin}\n\n{text}\n\n{end}", page, flags=re.DOTALL)


def _fields(model: type[BaseModel]) -> str:
    """A table of a model's fields, without those of the model that it extends."""
    lines = [f"## {model.__name__}", "", _cell(model.__doc__ or ""), ""]
    base, inherited = model.__base__, {}
    if base is not None and issubclass(base, BaseModel) and base.model_fields:
        inherited = base.model_fields
        where = "" if PAGE_OF[base] == PAGE_OF[model] else PAGE_OF[base]
        lines += [f"All fields of [{base.__name__}]({where}#{base.__name__.lower()}), and:", ""]
    lines += ["| field | type | comes from, or is written to | meaning |", "|---|---|---|---|"]
    schema = model.model_json_schema(by_alias=True, mode="validation")
    for name, field in model.model_fields.items():
        if name in inherited:
            continue
        shown = schema["properties"][field.alias or name]
        cells = (
            f"`{field.alias or name}`",
            _type(shown),
            shown.get(SOURCE, "the same field of status.recoveryEvidence"),
        )
        lines.append(f"| {' | '.join(cells)} | {_cell(field.description or '')} |")
    return "\n".join(lines)


def _type(schema: dict[str, Any]) -> str:
    """The type of a field, for people."""
    options = schema.get("anyOf") or [schema]
    found = []
    for each in options:
        if "$ref" in each:
            found.append(each["$ref"].rsplit("/", 1)[1])
        elif "enum" in each or "const" in each:
            found.append(", ".join(f"`{v}`" if v else '`""`' for v in each.get("enum", [each.get("const")])))
        elif each.get("type") == "array":
            found.append(f"list of {_type(each.get('items', {}))}")
        elif each.get("type") == "object":
            found.append("map of strings")
        else:
            found.append(
                str(schema.get("format") if each.get("type") == "string" and schema.get("format") else each["type"])
            )
    return " or ".join(found)


def _reasons() -> str:
    """A table of the reasons of errors."""
    lines = ["| `reason` | status | meaning |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| `{r}` | {status} | {text} |" for r, (status, text) in sorted(REASONS.items()))])


def _settings() -> str:
    """A table of the settings."""
    prefix = Settings.model_config["env_prefix"]
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        value = field.default
        default = (
            "required" if value is PydanticUndefined else "none" if value in (None, "", ()) else f"`{_text(value)}`"
        )
        lines.append(f"| `{prefix}{name.upper()}` | {default} | {_cell(field.description or '')} |")
    return "\n".join(lines)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def differing(root: Path) -> Iterable[str]:
    """The files that are not what they should be."""
    files = rendered(root)
    return [n for n, c in files.items() if not (root / n).exists() or (root / n).read_text(encoding="utf-8") != c]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m ocore_api.openapi", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if files differ")
    parser.add_argument("--root", type=Path, default=REPOSITORY, help="the repository")
    options = parser.parse_args(arguments)
    if options.check:
        found = list(differing(options.root))
        if found:
            sys.stderr.write(
                f"Generated files differ: {', '.join(found)}. Run `make generate` and commit the result.\n"
            )
        return 1 if found else 0
    for name, content in rendered(options.root).items():
        (options.root / name).write_text(content, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
