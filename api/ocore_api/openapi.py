"""Writes what is generated from the routes and models: ``python -m ocore_api.openapi [--check]``.

``docs/openapi.json``, and the tables of ``docs/rest-api.md`` and ``docs/console-api.md``. With ``--check`` nothing is
written: the files that differ are printed and the exit code is 1. A development tool that the program never imports.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from ocore_api.auth import Authenticator
from ocore_api.cache import Cache
from ocore_api.facade import Facade
from ocore_api.http.reasons import REASONS
from ocore_api.main import create_app
from ocore_api.settings import Settings
from ocore_api.views import models, requests
from ocore_api.views.console import models as console
from ocore_api.views.console import requests as console_requests
from ocore_api.views.models import SOURCE
from ocore_crds.resources.recovery_evidence import RecoveryEvidence

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENT, PAGE, CONSOLE_PAGE = "docs/openapi.json", "docs/rest-api.md", "docs/console-api.md"
#: Model → title of its table, in the order of the page.
TABLES: dict[type[BaseModel], str] = {
    models.SnapshotView: "Snapshot",
    models.SnapshotDetails: "Snapshot with its rollback logs",
    models.SnapshotPage: "Page of an environment's snapshots",
    models.ProjectSnapshotPage: "Page of a project's snapshots",
    models.RollbackLog: "Rollback log",
    models.RollbackLogs: "Rollback logs of an environment",
    requests.RollbackRequest: "Request of a rollback",
    models.RollbackAccepted: "Answer to the request of a rollback",
    models.SnapshotAccepted: "Answer to the request of a snapshot",
    requests.PinRequest: "Request of a pin",
    models.MessageAnswer: "Answer to pin and unpin",
    models.SettingsView: "Settings",
    requests.SettingsUpdate: "Request of an update of the settings",
    models.SnapshotSize: "Sizes",
    models.ProgressEvent: "Data of a progress event",
    RecoveryEvidence: "recoveryEvidence",
}
#: The same of the console's page.
CONSOLE_TABLES: dict[type[BaseModel], str] = {
    console.Me: "Caller",
    console.EnvironmentPage: "Page of environments",
    console.EnvironmentRow: "Environment in a list",
    console.EnvironmentProblem: "Problem",
    console.Fix: "Fix",
    console.OperationView: "Operation",
    console.SnapshotRefView: "Snapshot in short",
    console.EnvironmentDetails: "Environment",
    console.ProbeAccepted: "Answer to the request of a probe",
    console.ConditionView: "Condition",
    console.SizesView: "Sizes of an environment",
    console.StoreView: "Store",
    console.PolicyView: "Policy",
    console.UndoWindow: "Undo window",
    console.ConsoleSnapshotPage: "Page of snapshots",
    console.ConsoleSnapshot: "Snapshot",
    console.RemoteView: "Remote copy",
    console.RestoreTestView: "Test restore in short",
    console.RetentionPlan: "Retention plan",
    console.RetentionRules: "Rules",
    console.RetentionVerdict: "Verdict",
    console_requests.PreviewRequest: "Request of a preview",
    console.PreviewAccepted: "Answer to the request of a preview",
    console.RollbackPreview: "Preview",
    console.Finding: "Finding",
    console.RollbackDetails: "Rollback",
    console.StepView: "Step",
    console.Downtime: "Downtime",
    console.UndoView: "Whether it can be undone",
    console.CancelView: "Whether it can be cancelled",
    console.UndoAccepted: "Answer to the request of an undo",
    console.RestoreCertificate: "Certificate",
    console.CertifiedSnapshot: "Certified snapshot",
    console.CertificateLine: "Line of a certificate",
    console.RestoreTestAccepted: "Answer to the request of a test restore",
    console_requests.ExtractRequest: "Request of an extract",
    console_requests.FilesToExtract: "Files to extract",
    console_requests.AttachmentsToExtract: "Attachments to extract",
    console_requests.RowsToExtract: "Rows to extract",
    console.ExtractAccepted: "Answer to the request of an extract",
    console.ExtractPage: "Page of extracts",
    console.ExtractView: "Extract",
    console.ExtractedFiles: "Extracted files",
    console.ExtractedAttachments: "Extracted attachments",
    console.ExtractedRows: "Extracted rows",
    console.ExtractedListing: "Extracted listing",
    console.ExtractResult: "Result of an extract",
    console.ChangeEvent: "Data of an event",
    console.ResetEvent: "Data of the event reset",
}
#: Models of which the page lists what they have beside the fields of another one.
_BESIDE: dict[type[BaseModel], tuple[type[BaseModel], str]] = {
    models.SnapshotDetails: (models.SnapshotView, "All fields of a snapshot, and:"),
    console.EnvironmentDetails: (console.EnvironmentRow, "All fields of an environment in a list, and:"),
    console.ConsoleSnapshot: (models.SnapshotView, "All fields of [a snapshot](rest-api.md#snapshot), and:"),
    console.RollbackDetails: (models.RollbackLog, "All fields of [a rollback log](rest-api.md#rollback-log), and:"),
}


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
    """Path below the repository → content. The tables of the pages that are there are replaced."""
    document = json.dumps(openapi(), indent=2, ensure_ascii=False) + "\n"
    page = _between((root / PAGE).read_text(encoding="utf-8"), "fields", _tables(TABLES))
    page = _between(page, "reasons", _reasons())
    console_page = _between((root / CONSOLE_PAGE).read_text(encoding="utf-8"), "fields", _tables(CONSOLE_TABLES))
    return {DOCUMENT: document, PAGE: _between(page, "settings", _settings()), CONSOLE_PAGE: console_page}


def _tables(tables: dict[type[BaseModel], str]) -> str:
    return "\n\n".join(_fields(model, title) for model, title in tables.items())


def _between(page: str, name: str, text: str) -> str:
    begin, end = f"<!-- {name}: made by `make generate` -->", f"<!-- end of {name} -->"
    pattern = f"{re.escape(begin)}.*?{re.escape(end)}"
    if not re.search(pattern, page, re.DOTALL):
        raise ValueError(f"a page has no place for {name}: {begin} … {end}")
    return re.sub(pattern, lambda _: f"{begin}\n\n{text}\n\n{end}", page, flags=re.DOTALL)


def _fields(model: type[BaseModel], title: str) -> str:
    """A table of a model's fields."""
    lines = [f"### {title}", "", "| field | type | comes from, or is written to | meaning |", "|---|---|---|---|"]
    other, beside = _BESIDE.get(model, (None, ""))
    if other is not None:
        lines = [lines[0], "", beside, *lines[1:]]
    inherited = other.model_fields if other is not None else {}
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
