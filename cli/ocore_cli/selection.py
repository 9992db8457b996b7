"""Which files or tables of a snapshot ``ls`` and ``cp`` are asked for, and how the caller reads the store: options, and
parts of the spec of an Extract. Loads no models."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from .errors import CliError

TableFormat = Literal["CSV", "SQL"]


IdentitySecret = Annotated[
    str | None,
    typer.Option("--identity-secret", help="Secret with identity files of age, for an encrypted snapshot."),
]


@dataclass(frozen=True)
class Access:
    """Options of how the caller reads the store."""

    credentials_file: Annotated[
        Path | None,
        typer.Option(
            "--credentials-file",
            help="Your keys of the S3 store, as in ~/.aws/credentials; else the variables AWS_ACCESS_KEY_ID etc.",
        ),
    ] = None
    endpoint: Annotated[
        str | None,
        typer.Option("--endpoint", help="URL of the S3 store from here; the default is the SnapshotStore's."),
    ] = None
    ca_file: Annotated[
        Path | None,
        typer.Option("--ca-file", help="CA certificates of the S3 store; the default are the SnapshotStore's."),
    ] = None
    identity_secret: IdentitySecret = None
    identity: Annotated[
        Path | None,
        typer.Option(
            "--identity",
            help="Your identity file of age, to decrypt here what was taken out of an encrypted snapshot.",
        ),
    ] = None

    def spec(self) -> dict[str, Any]:
        """Of an Extract: what opens the snapshot in the cluster."""
        return {"identitySecretRef": {"name": self.identity_secret}} if self.identity_secret is not None else {}


@dataclass(frozen=True)
class Rows:
    """Options of which rows are copied."""

    table: Annotated[
        list[str] | None,
        typer.Option("--table", metavar="SCHEMA.NAME", help="Rows of a table instead; may be repeated."),
    ] = None
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            metavar="COLUMN=VALUE",
            help="With one --table: only rows for which it holds; also != < <= > >=. May be repeated: all must hold.",
        ),
    ] = None
    format: Annotated[
        TableFormat | None, typer.Option("--format", help="With --table: CSV (the default), or SQL for psql.")
    ] = None

    def wanted(self, source: str, target: str) -> dict[str, Any] | None:
        """What the spec of an Extract has for the tables; None: files are copied. Raises a usage error where the
        options do not fit together."""
        if not self.table and (self.format is not None or self.where):
            raise typer.BadParameter("--format and --where go with --table")
        if target == "database:" and (not self.table or self.format is not None):
            raise typer.BadParameter("database: goes with --table, without --format")
        if not self.table:
            return None
        if ":" in source or target.startswith("claim:"):
            raise typer.BadParameter("with --table write: cp SNAPSHOT FOLDER --table SCHEMA.NAME")
        return wanted_tables(self.table, self.format, self.where or ())


def snapshot_and_path(text: str) -> tuple[str, str]:
    """Of ``SNAPSHOT:PATH``. Raises CliError for another text."""
    name, colon, path = text.partition(":")
    if not colon or not name or not path.strip("/"):
        raise CliError(f"{text!r}: write SNAPSHOT:PATH, for example shop-1:documents/a.pdf")
    return name, path.strip("/")


def wanted(path: str) -> dict[str, Any]:
    """What the spec of an Extract has for a path, or for ``@MODEL/ID[/NAME]``: attachments of a record. Raises CliError
    for another text."""
    if not path.startswith("@"):
        return {"files": {"paths": [path]}}
    model, record, name = (*path[1:].split("/", 2), "", "")[:3]
    if not model or not record.isdecimal():
        raise CliError(f"{path!r}: write @MODEL/ID or @MODEL/ID/NAME, for example @res.partner/7/contract.pdf")
    found: dict[str, Any] = {"model": model, "recordId": int(record)}
    return {"attachments": {**found, "name": name} if name else found}


#: Signs of ``--where``, and their operators in the spec. The first that fits in this order.
_SIGNS = {"!=": "NotIn", "<=": "AtMost", ">=": "AtLeast", "<": "LessThan", ">": "GreaterThan", "=": "In"}
_COMPARISON = re.compile(f"([^=<>!]+)({'|'.join(_SIGNS)})(.*)", re.DOTALL)


def wanted_tables(tables: Sequence[str], format_: TableFormat | None, where: Sequence[str] = ()) -> dict[str, Any]:
    """What the spec of an Extract has for tables ``SCHEMA.NAME``, and for comparisons ``COLUMN=VALUE`` of one of them
    that all hold. Raises CliError for another text."""
    found: list[dict[str, Any]] = []
    for text in tables:
        schema, dot, name = text.partition(".")
        found.append({"schema": schema, "name": name} if dot else {"name": schema})
    if where:
        if len(found) != 1:
            raise CliError("--where goes with one --table: copy the tables one after the other, or create an Extract")
        found[0]["where"] = [{"allOf": [_comparison(text) for text in where]}]
    return {"tables": found, "target": {"store": {"format": format_} if format_ is not None else {}}}


def _comparison(text: str) -> dict[str, Any]:
    found = _COMPARISON.fullmatch(text)
    if found is None:
        raise CliError(
            f"--where {text!r}: write COLUMN=VALUE, or != < <= > >=, for example --where 'id=7'. An Extract has more"
            " operators: kubectl explain extracts.spec.tables.where --api-version=ocore.dev/v1alpha1"
        )
    column, sign, value = found.groups()
    return {"column": column.strip(), "operator": _SIGNS[sign], "values": [value.strip()]}
