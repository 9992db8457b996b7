"""Options that several commands share: dataclasses whose fields are typer options, which :func:`expand` adds to a
command."""

import dataclasses
import functools
import inspect
import re
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ocore_crds.base import UUID_PATTERN

if TYPE_CHECKING:
    from ocore_mover.commands.base import BaseChoice
    from ocore_mover.database.connect import Server
    from ocore_mover.filestore.folders import ClaimFolders
    from ocore_mover.store.base import Store
    from ocore_mover.store.folder import FolderStore


def uuid(value: str | None) -> str | None:
    """A callback for options: returns the value, which must be a lower-case UUID."""
    if value is not None and not re.fullmatch(UUID_PATTERN, value):
        raise typer.BadParameter(f"{value!r} is not a valid UUID, for example 6f1c2f6e-3f0a-4c52-9a54-0e8e0c5f6a01")
    return value


EnvironmentId = Annotated[str, typer.Option(callback=uuid, help="Identity of the environment (UUID).")]
SnapshotId = Annotated[str, typer.Option(callback=uuid, help="Identity of the snapshot (UUID).")]
RollbackId = Annotated[str, typer.Option(callback=uuid, help="Identity of the rollback (UUID).")]
AllowReplicationLoss = Annotated[
    bool,
    typer.Option(
        "--allow-replication-loss",
        help=(
            "Break logical replication of the live database: after the switch drop its slots and detach its"
            " subscriptions."
        ),
    ),
]
Jobs = Annotated[int, typer.Option(min=1, max=32, help="Tables to dump or restore, and packs to write, in parallel.")]
Capacity = Annotated[
    int | None, typer.Option(min=1, metavar="BYTES", help="What the volume of the server's databases holds.")
]
Scratch = Annotated[
    Path, typer.Option(exists=True, file_okay=False, writable=True, help="Folder for temporary dump files.")
]


@dataclass(frozen=True)
class CommonOptions:
    """Options of every command."""

    deadline: Annotated[float | None, typer.Option(min=1, help="Seconds after which the command fails.")] = None
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log debug events to stderr.")] = False


@dataclass(frozen=True)
class StoreOptions:
    """The store."""

    store: Annotated[str, typer.Option(metavar="URL", help="s3://bucket/prefix or file:///folder.")]
    s3_endpoint: Annotated[
        str | None, typer.Option(metavar="URL", help="Endpoint. Default: AWS S3 in the region.", rich_help_panel="S3")
    ] = None
    s3_region: Annotated[str, typer.Option(help="Region.", rich_help_panel="S3")] = "us-east-1"
    s3_credentials: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help=(
                "Folder with the files accessKeyId and secretAccessKey. Default: boto3's own chain (workload identity)."
            ),
            rich_help_panel="S3",
        ),
    ] = None
    s3_ca: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="CA certificates of the endpoint.", rich_help_panel="S3"),
    ] = None
    s3_sse: Annotated[
        str | None, typer.Option(metavar="AES256|aws:kms", help="Server-side encryption.", rich_help_panel="S3")
    ] = None
    s3_kms_key: Annotated[str | None, typer.Option(help="Key id for aws:kms.", rich_help_panel="S3")] = None
    s3_path_style: Annotated[
        bool, typer.Option(help="Put the bucket in the path instead of the host name.", rich_help_panel="S3")
    ] = True
    s3_instance_metadata: Annotated[
        bool,
        typer.Option(
            "--s3-instance-metadata",
            help="Also take the node's credentials, from instance metadata.",
            rich_help_panel="S3",
        ),
    ] = False

    store_read_only: Annotated[
        bool, typer.Option("--store-read-only", help="Never write to the store, whatever the credentials allow.")
    ] = False

    def open(self) -> "Store":
        """Opens the store. Raises typer.BadParameter where an option is not valid."""
        from ocore_mover.store.read_only import ReadOnlyStore

        found = self._open()
        return ReadOnlyStore(found) if self.store_read_only else found

    def _open(self) -> "Store":
        from ocore_mover.store import S3Options, open_store

        if self.s3_sse not in (None, "AES256", "aws:kms"):
            raise typer.BadParameter(f"{self.s3_sse!r} is neither AES256 nor aws:kms", param_hint="--s3-sse")
        try:
            return open_store(
                self.store,
                S3Options(
                    endpoint=self.s3_endpoint,
                    region=self.s3_region,
                    credentials=self.s3_credentials,
                    ca=self.s3_ca,
                    sse=self.s3_sse,
                    kms_key=self.s3_kms_key,
                    path_style=self.s3_path_style,
                    instance_metadata=self.s3_instance_metadata,
                ),
            )
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--store") from error


@dataclass(frozen=True)
class OptionalStoreOptions(StoreOptions):
    """The store of a command that needs one only with some options."""

    store: Annotated[str, typer.Option(metavar="URL", help="s3://bucket/prefix or file:///folder.")] = ""

    def open(self) -> "Store":
        """Opens the store. Raises typer.BadParameter where none is given."""
        if not self.store:
            raise typer.BadParameter("give --store", param_hint="--store")
        return super().open()


@dataclass(frozen=True)
class SourceStoreOptions:
    """The store that a snapshot is read from, where the rollback's record goes into another one. Nothing is written to
    it."""

    source_store: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="Read the snapshot from this store; --store then has only the record.",
            rich_help_panel="Source store",
        ),
    ] = ""
    source_s3_endpoint: Annotated[
        str | None, typer.Option(metavar="URL", help="As --s3-endpoint.", rich_help_panel="Source store")
    ] = None
    source_s3_region: Annotated[str, typer.Option(help="As --s3-region.", rich_help_panel="Source store")] = "us-east-1"
    source_s3_credentials: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="As --s3-credentials.", rich_help_panel="Source store")
    ] = None
    source_s3_ca: Annotated[
        Path | None, typer.Option(metavar="FILE", help="As --s3-ca.", rich_help_panel="Source store")
    ] = None
    source_s3_path_style: Annotated[bool, typer.Option(help="As --s3-path-style.", rich_help_panel="Source store")] = (
        True
    )
    source_s3_instance_metadata: Annotated[
        bool,
        typer.Option(
            "--source-s3-instance-metadata", help="As --s3-instance-metadata.", rich_help_panel="Source store"
        ),
    ] = False

    def open(self) -> "Store | None":
        """Opens the store; None where none is given. Raises typer.BadParameter where an option is not valid."""
        if not self.source_store:
            return None
        return StoreOptions(
            store=self.source_store,
            s3_endpoint=self.source_s3_endpoint,
            s3_region=self.source_s3_region,
            s3_credentials=self.source_s3_credentials,
            s3_ca=self.source_s3_ca,
            s3_path_style=self.source_s3_path_style,
            s3_instance_metadata=self.source_s3_instance_metadata,
            store_read_only=True,
        ).open()


@dataclass(frozen=True)
class BaseOptions:
    """The base of a differential."""

    base_snapshot_id: Annotated[
        str | None,
        typer.Option(
            callback=uuid,
            help="Store only the files that this full snapshot lacks. Takes a full one where it cannot be used.",
            rich_help_panel="Differential",
        ),
    ] = None
    base_manifest_sha256: Annotated[
        str, typer.Option(help="SHA-256 of its manifest.", rich_help_panel="Differential")
    ] = ""

    def choice(self) -> "BaseChoice | None":
        """The base; None for a full. Raises typer.BadParameter where only one option is given."""
        from ocore_mover.commands.base import BaseChoice

        if (self.base_snapshot_id is None) != (not self.base_manifest_sha256):
            raise typer.BadParameter("give both --base-snapshot-id and --base-manifest-sha256, or neither")
        return (
            BaseChoice(self.base_snapshot_id, self.base_manifest_sha256) if self.base_snapshot_id is not None else None
        )


@dataclass(frozen=True)
class TargetOptions:
    """The environment itself: database, filestore, or both."""

    database: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="A mounted Secret: files host, port, dbname, user (or username), password, or one file uri.",
        ),
    ] = None
    admin: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="The same for an administrator, who creates and renames databases and ends sessions."
        ),
    ] = None
    tls_mode: Annotated[
        Literal["disable", "require", "verify-ca", "verify-full"] | None,
        typer.Option(
            help="As libpq's sslmode; overrides the Secret's. Default with --tls-ca: verify-full.",
            rich_help_panel="TLS",
        ),
    ] = None
    tls_ca: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="CA certificates of the database server.", rich_help_panel="TLS"),
    ] = None
    tls_cert: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Client certificate; with it the password is optional.", rich_help_panel="TLS"
        ),
    ] = None
    tls_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Its private key, without a passphrase.", rich_help_panel="TLS")
    ] = None
    claim: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Mount point of the filestore's claim.")] = None
    filestore: Annotated[str, typer.Option(metavar="PATH", help="The filestore's path below the claim's root.")] = ""
    layout: Annotated[
        Literal["Odoo", "Plain"], typer.Option(help="Odoo: ir_attachment names the files. Plain: any folder.")
    ] = "Odoo"
    missing_files: Annotated[
        Literal["Fail", "Report"], typer.Option(help="What to do where the database names files that do not exist.")
    ] = "Fail"
    consistency: Annotated[
        Literal["Strict", "BestEffort"],
        typer.Option(
            help=(
                "Layout Plain, files that change after the database is exported: fail, or store them as they are later."
            )
        ),
    ] = "Strict"

    def check(self) -> None:
        """Raises typer.BadParameter where options are missing or contradict each other."""
        if self.database is None and self.claim is None:
            raise typer.BadParameter("give --database, --claim or both")
        if self.database is None and self.layout == "Odoo":
            raise typer.BadParameter("layout Odoo needs --database, which names the files; or give --layout Plain")
        if self.layout == "Plain" and self.claim is not None and not self.filestore:
            raise typer.BadParameter("layout Plain needs --filestore, a path below the claim's root")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise typer.BadParameter("give both --tls-cert and --tls-key, or neither")

    def server(self, *, dbname: str = "") -> "Server | None":
        """The database's server, None without a database. `dbname`: where the Secret has none. Raises MoverError
        SecretInvalid."""
        if self.database is None:
            return None
        from ocore_mover.database.connect import Server
        from ocore_mover.database.credentials import load
        from ocore_mover.database.tls import TlsOptions

        # The admin's Secret need not name a database: connections name theirs.
        tls = TlsOptions(self.tls_mode, self.tls_ca, self.tls_cert, self.tls_key)
        admin = load(self.admin, dbname="postgres", options=tls) if self.admin is not None else None
        return Server(load(self.database, dbname=dbname, options=tls), admin)

    def folders(self, environment_id: str) -> "ClaimFolders | None":
        """The folders on the claim, None without a claim."""
        from ocore_mover.filestore.folders import ClaimFolders

        return None if self.claim is None else ClaimFolders(self.claim, self.filestore, environment_id)


def folder_store(url: str, name: str) -> "FolderStore":
    """The store of a folder, which messages call `name`. Raises typer.BadParameter where the URL is no folder's."""
    from ocore_mover.store import open_store
    from ocore_mover.store.folder import FolderStore

    try:
        root = open_store(url).local_root
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--store") from error
    if root is None:
        raise typer.BadParameter(f"{url} is not a folder", param_hint="--store")
    return FolderStore(root, name)


def expand(command: Callable[..., None]) -> Callable[..., None]:
    """Replaces each parameter of `command` that is one of these dataclasses by the dataclass's fields, for typer."""
    hints = typing.get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if dataclasses.is_dataclass(hint)}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        if name not in groups:
            parameters.append(_keyword(name, hints[name], parameter.default))
            continue
        fields = typing.get_type_hints(groups[name], include_extras=True)
        for field in dataclasses.fields(groups[name]):
            default = inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default
            parameters.append(_keyword(field.name, fields[field.name], default))

    @functools.wraps(command)
    def wrapper(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(**{field.name: given.pop(field.name) for field in dataclasses.fields(group)})
        command(**given)

    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters} | {"return": None}
    return wrapper


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)
