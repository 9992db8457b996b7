"""The manifest: the JSON file that names everything a snapshot consists of. Written last; docs/format.md explains it.

A snapshot without a manifest does not exist. Keys are relative to the store's prefix. Of an encrypted snapshot everyone
can read the outer manifest only. Its inner manifest is one of the encrypted objects.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ocore_crds import naming
from ocore_crds.model import Model, Sha256, Timestamp, Tolerant, Uuid
from ocore_crds.resources.layouts import Layout
from ocore_crds.resources.signing import Signature

FORMAT = "ocore-snapshot"
#: Of a full snapshot, and of one whose filestore is a differential: an older reader must refuse it, not restore half of
#: it.
FULL_VERSION: Literal[1] = 1
DIFFERENTIAL_VERSION: Literal[2] = 2
#: Of an encrypted snapshot: its outer and its inner manifest.
ENCRYPTED_VERSION: Literal[3] = 3


class StoredObject(Tolerant):
    """One object as stored (compressed bytes)."""

    key: str = Field(description="Key below the store's prefix.")
    size: Annotated[int, Field(ge=0)] = Field(description="Bytes as stored.")
    sha256: Sha256 = Field(description="SHA-256 of the bytes as stored.")


class Ids(Tolerant):
    """Whose snapshot it is."""

    environment_id: Uuid
    project_id: Uuid
    snapshot_id: Uuid
    trigger: str = "Manual"

    def ids(self) -> "Ids":
        """Only the fields of this class."""
        return Ids(**{name: getattr(self, name) for name in Ids.model_fields})


class Identity(Ids):
    """What the snapshot saw, frozen."""

    environment_name: str
    environment_type: Literal["production", "staging", "development"]
    namespace: str = ""
    snapshot_name: str = ""
    requested_by: str = ""
    deployment_id: str = ""
    image: str = ""
    image_tag: str = ""
    image_digest: str = ""
    commit_sha: str = ""
    config_sha256: str = ""


class DatabaseSetting(Tolerant):
    """One ``ALTER DATABASE … SET`` or ``ALTER ROLE … IN DATABASE … SET``."""

    role: str = Field(default="", description="The role; empty: every role.")
    name: str
    value: str = Field(
        description="As in pg_db_role_setting: of a list such as search_path, the elements are quoted already."
    )


class DatabaseGrant(Tolerant):
    """One privilege on the database."""

    role: str = Field(default="", description="The role; empty: PUBLIC.")
    privilege: str
    grantable: bool = False


class DatabaseArtifact(Tolerant):
    """The dump: the files of PostgreSQL's directory format, one object per file."""

    name: str = Field(description="Name of the database that was dumped.")
    size_bytes: int = Field(description="pg_database_size() of the live database when it was dumped.")
    server_version: str
    server_major: int
    client_version: str
    encoding: str
    collate: str
    ctype: str
    locale_provider: str = "c"
    icu_locale: str = ""
    icu_rules: str = Field(default="", description="Collation rules of provider i (PostgreSQL 16 and newer).")
    collation_version: str = Field(default="", description="Of the default collation, as the operating system had it.")
    owner: str = Field(default="", description="Empty: the writer was a version that did not store it.")
    tablespace: str = Field(default="", description="Empty: the default one.")
    connection_limit: int = Field(default=-1, description="-1: none.")
    comment: str = Field(default="", description="Without the lines that ocore-snapshots keeps in it.")
    settings: tuple[DatabaseSetting, ...] = ()
    grants: tuple[DatabaseGrant, ...] | None = Field(
        default=None,
        description=(
            "Every privilege on the database, the owner's included. Absent: the writer was a version that did not store"
            " them."
        ),
    )
    extensions: dict[str, str] = Field(
        default_factory=dict, description="Extension → version; created first on restore."
    )
    extension_schemas: dict[str, str] = Field(default_factory=dict, description="Extension → schema.")
    immutable_functions: tuple[str, ...] = Field(
        default=(),
        description=(
            "Extension functions that are IMMUTABLE in the live database and that indexes need. Run `ALTER FUNCTION …"
            " IMMUTABLE` after CREATE EXTENSION: the extension's script does not set it, and pg_dump does not keep it."
        ),
    )
    neutralized: bool | None = Field(
        default=None,
        description=(
            "Whether the database was neutralised: the parameter database.is_neutralized, or a rollback of"
            " ocore-snapshots had done it. Absent: the writer was a version that did not read it."
        ),
    )
    outside_attachments: int = Field(
        default=0,
        description=(
            "Attachments whose contents are neither in the database nor in the filestore: the application keeps them in"
            " another place."
        ),
    )
    unfinished_modules: int = Field(
        default=0, description="Modules of Odoo whose installation, upgrade or removal had begun and not ended."
    )
    compression: Literal["pg_dump", "external-zstd"] = Field(
        description=(
            "`pg_dump`: pg_restore reads the files as they are. `external-zstd`: pg_dump before 16 knows no zstd; run "
            "`zstd -d --rm *.zst` on the files first."
        )
    )
    table_rows: dict[str, int] | None = Field(
        default=None,
        description=(
            "`schema.table` → rows in the dump, counted while it was stored. Absent: the writer was a version that did"
            " not count."
        ),
    )
    raw_bytes: int = Field(description="Bytes that pg_restore needs on disk (the files, decompressed where external).")
    files: tuple[StoredObject, ...]


class FilestoreBase(Tolerant):
    """The full snapshot that has the files which a differential does not store."""

    snapshot_id: Uuid = Field(description="Of the same environment, in the same store.")
    manifest_key: str
    manifest_sha256: Sha256
    packs: tuple[StoredObject, ...] = Field(description="The packs of the base that have files of this snapshot.")


class FilestoreArtifact(Tolerant):
    """The filestore: tar packs and an index of every file."""

    layout: Layout
    file_count: int
    size_bytes: int = Field(description="Bytes of the files themselves.")
    index: StoredObject = Field(description="zstd-compressed JSON lines, one per file: see docs/format.md.")
    packs: tuple[StoredObject, ...]
    base: FilestoreBase | None = Field(
        default=None, description="Where the files are that this snapshot does not store. Absent: it stores all (full)."
    )
    frozen_ns: int | None = Field(
        default=None,
        description=(
            "Layout Plain: when it was frozen, by the clock of its file system (nanoseconds). A file with an earlier"
            " modification time cannot have changed since without getting a later one. Absent: the writer was a version"
            " that did not store it."
        ),
    )
    missing: tuple[str, ...] = Field(
        default=(),
        description="Names that the database holds and whose files were already missing (missingFiles: Report).",
    )


class ConfigArtifact(Tolerant):
    """The configuration: one tar of the ConfigMap's keys, or of a file on the filestore's claim."""

    archive: StoredObject
    file_count: int
    path: str = Field(
        default="", max_length=512, description="Of the file on the claim; empty: the keys of a ConfigMap."
    )


class Evidence(Tolerant):
    """What was required, what was proven, what is missing."""

    required: tuple[str, ...] = Field(default=(), description="What had to be proven.")
    proven: tuple[str, ...] = Field(default=(), description="What was proven.")
    missing: tuple[str, ...] = Field(default=(), description="What was required and not proven.")
    warnings: tuple[str, ...] = Field(default=(), description="Findings that block nothing but should be known.")
    incomplete: tuple[str, ...] = Field(
        default=(), description="What a snapshot lacks, or may lack: it can be restored and is no clean success."
    )


class Sizes(Tolerant):
    """What a restore needs before it can open anything."""

    server_major: int = Field(default=0, description="Major version of PostgreSQL. 0: the snapshot has no database.")
    database_bytes: int = Field(default=0, description="pg_database_size() of the live database.")
    database_restore_bytes: int = Field(default=0, description="Bytes of scratch that pg_restore needs.")
    filestore_bytes: int = Field(default=0, description="Bytes of the files themselves.")
    filestore_files: int = 0


class AnyManifest(Tolerant):
    """What copies, checks, sweeps, imports, retention and deletion need of a snapshot. For this they need no key."""

    format: Literal["ocore-snapshot"] = "ocore-snapshot"
    format_version: int
    store_id: str
    attempt: str
    identity: Ids
    started_at: Timestamp
    consistent_at: Timestamp = Field(
        description="When the database's snapshot was exported: the point in time that it shows."
    )
    completed_at: Timestamp
    signature: Signature | None = Field(default=None, description="Who signed this manifest. Absent: it is not signed.")

    @property
    def base(self) -> FilestoreBase | None:
        """The full snapshot that a differential needs; None of a full one."""
        raise NotImplementedError

    def objects(self) -> tuple[StoredObject, ...]:
        """The snapshot's own objects, without the manifest itself: what is deleted with it."""
        raise NotImplementedError

    def signature_keys(self) -> tuple[str, ...]:
        """Key of the signature of a signed one."""
        ids = self.identity
        if self.signature is None:
            return ()
        return (naming.signature_key(ids.environment_id, ids.snapshot_id, self.attempt),)

    def needed(self) -> tuple[StoredObject, ...]:
        """Every object that a restore reads: its own, and the packs of its base."""
        return self.objects() + (self.base.packs if self.base is not None else ())

    def stored_bytes(self) -> int:
        """Bytes of its own objects together."""
        return sum(o.size for o in self.objects())

    def needed_bytes(self) -> int:
        """Bytes of all objects that a restore reads."""
        return sum(o.size for o in self.needed())


class Manifest(AnyManifest):
    """The whole snapshot: what a restore needs. Of an encrypted snapshot it is the inner manifest."""

    format_version: Literal[1, 2, 3] = FULL_VERSION
    identity: Identity
    database: DatabaseArtifact | None = None
    filestore: FilestoreArtifact | None = None
    config: ConfigArtifact | None = None
    evidence: Evidence = Evidence()

    @model_validator(mode="after")
    def _version_of_kind(self) -> Self:
        if self.format_version not in (ENCRYPTED_VERSION, format_version(self.filestore)):
            raise ValueError(
                f"formatVersion {self.format_version}: a full snapshot has {FULL_VERSION}, a differential"
                f" {DIFFERENTIAL_VERSION}"
            )
        return self

    @property
    def base(self) -> FilestoreBase | None:
        """As in :class:`AnyManifest`."""
        return self.filestore.base if self.filestore is not None else None

    def objects(self) -> tuple[StoredObject, ...]:
        """As in :class:`AnyManifest`."""
        found: list[StoredObject] = []
        if self.database is not None:
            found.extend(self.database.files)
        if self.filestore is not None:
            found.append(self.filestore.index)
            found.extend(self.filestore.packs)
        if self.config is not None:
            found.append(self.config.archive)
        return tuple(found)

    def sizes(self) -> Sizes:
        """As an outer manifest has them."""
        database, filestore = self.database, self.filestore
        return Sizes(
            server_major=database.server_major if database is not None else 0,
            database_bytes=database.size_bytes if database is not None else 0,
            database_restore_bytes=database.raw_bytes if database is not None else 0,
            filestore_bytes=filestore.size_bytes if filestore is not None else 0,
            filestore_files=filestore.file_count if filestore is not None else 0,
        )


class Encryption(Tolerant):
    """Whose key opens the objects of a snapshot."""

    public_key: str = Field(description="The age recipient (`age1…`) of this snapshot's own identity.")
    recipients: tuple[str, ...] = Field(
        default=(), description="The age recipients that its identity was encrypted to when it was written."
    )
    job_key: str | None = Field(
        default=None,
        description=(
            "The age recipient of the Job identity that also opens it; of a differential its base's. Absent: only the"
            " recipients open it."
        ),
    )


class Bases(Model):
    """The base of each part. One of another part is refused: a reader that ignored it would delete it."""

    filestore: FilestoreBase | None = None


class OuterManifest(AnyManifest):
    """Of an encrypted snapshot, for everyone who can read the store: ids, times, sizes and digests of stored bytes; no
    table, file, setting or image."""

    format_version: Literal[3] = ENCRYPTED_VERSION
    encryption: Encryption
    bases: Bases = Bases()
    inner: str = Field(description="Key of the object that has the inner manifest.")
    stored: tuple[StoredObject, ...] = Field(alias="objects", description="Every object of the snapshot's own.")
    sizes: Sizes = Sizes()

    @property
    def base(self) -> FilestoreBase | None:
        """As in :class:`AnyManifest`."""
        return self.bases.filestore

    def objects(self) -> tuple[StoredObject, ...]:
        """As in :class:`AnyManifest`."""
        return self.stored


def format_version(filestore: FilestoreArtifact | None) -> Literal[1, 2]:
    """The format version of a manifest with this filestore."""
    return DIFFERENTIAL_VERSION if filestore is not None and filestore.base is not None else FULL_VERSION
