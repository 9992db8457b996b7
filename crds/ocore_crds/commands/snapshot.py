"""The command ``snapshot``: its request, its result and its row. Pure."""

import math
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from ocore_crds.commands.base import JOBS, SCRATCH, SITE, SNAPSHOT_IDS, STORE, Command, Jobs, OnEnvironment
from ocore_crds.commands.parts import TMP, BaseSnapshot, Option, SignalWait, StoreAccess
from ocore_crds.model import Uuid
from ocore_crds.reports.facts import SnapshotSizes
from ocore_crds.resources.encryption import Recipient
from ocore_crds.resources.signing import Predecessor, Signature
from ocore_crds.stored.manifest import Encryption, Evidence, Identity
from ocore_crds.stored.snapshot_state import StoredState


class SnapshotRequest(OnEnvironment):
    """Take a snapshot of database, filestore and configuration. The application keeps running."""

    store: StoreAccess
    environment_id: Uuid = Field(description="Identity of the environment (UUID).")
    snapshot_id: Uuid = Field(description="Identity of the snapshot (UUID).")
    scratch: str = Field(default=TMP, description=SCRATCH)
    attempt: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,62}$")] = Field(
        default="1", description="Separates two writers of one snapshot. In a pod its uid is added."
    )
    identity: Identity | None = Field(
        default=None, description="Identity for the manifest (manifest.Identity). Default: a development environment."
    )
    config: str | None = Field(default=None, description="Folder: the mounted ConfigMap to store.")
    config_file: str = Field(
        default="", description="File with the configuration, below the claim's root, in place of --config."
    )
    verify: Literal["Checksums", "Full"] = Field(
        default="Checksums", description="Full: read every byte again at the end."
    )
    jobs: Jobs = Field(default=2, description=JOBS)
    recipients: Annotated[tuple[Recipient, ...], Option("recipient")] = Field(
        default=(), description="Encrypt to this public key of age (age1…); may be repeated. Default: no encryption."
    )
    job_identity: str | None = Field(
        default=None,
        description=(
            "Folder with an age identity: encrypt a full snapshot to it, too, beside --recipient. An empty folder gives"
            " a warning."
        ),
    )
    base_identity: str | None = Field(
        default=None, description="Folder with the age identity that opens the encrypted base of a differential."
    )
    signing_key: str | None = Field(
        default=None,
        description="Folder with the file ssh-privatekey: sign the manifest with it. Its public key is a --signer.",
    )
    previous: Predecessor | None = Field(
        default=None, description="The signed snapshot before this one. Absent: this is the first."
    )
    quiesce: SignalWait | None = Field(default=None, description="Freeze when the signal appears.")
    base: Annotated[BaseSnapshot | None, Option("base-")] = Field(default=None, description="Absent: a full.")
    state: StoredState | None = Field(
        default=None, description="Pin, retention and deletionPolicy for the state object (snapshot_state.StoredState)."
    )

    @model_validator(mode="after")
    def _fits(self) -> "SnapshotRequest":
        if self.config_file and (self.config is not None or self.filestore is None):
            raise ValueError("give --config-file with --claim and without --config")
        if self.signing_key is not None and not self.store.signers:
            raise ValueError("give --signing-key with --signer: its own public key, with which it is checked")
        identity = self.identity
        ids = (self.environment_id, self.snapshot_id)
        if identity is not None and (identity.environment_id, identity.snapshot_id) != ids:
            raise ValueError("the ids of --identity differ from --environment-id and --snapshot-id")
        return self


class SnapshotResult(SnapshotSizes):
    """Of ``snapshot`` and ``inspect`` (snapshot): everything that the Snapshot's status needs."""

    kind: Literal["snapshot"] = "snapshot"
    attempt: str
    identity: Identity | None = Field(default=None, description="The identity in the manifest.")
    manifest_key: str
    manifest_sha256: str
    store_id: str
    started_at: str
    consistent_at: str
    completed_at: str
    server_version: str = ""
    server_major: int = 0
    client_version: str = ""
    neutralized: bool | None = Field(default=None, description="Whether the database was neutralised. None: unknown.")
    unfinished_modules: int = Field(
        default=0, description="Modules of Odoo whose installation, upgrade or removal had begun and not ended."
    )
    checksums: dict[str, str] = Field(
        default_factory=dict, description="Artifact → SHA-256 over its objects' digests, and of the manifest."
    )
    paths: dict[str, str] = Field(default_factory=dict, description="Artifact → key or key prefix in the store.")
    evidence: Evidence = Evidence()
    read_back: bool = Field(default=False, description="Every byte was read again and matched.")
    base_snapshot_id: str = Field(
        default="",
        description="Id of the full snapshot that has the files which this one does not store. Empty: a full.",
    )
    encryption: Encryption | None = Field(default=None, description="None: the snapshot is not encrypted.")
    signature: Signature | None = Field(default=None, description="None: the snapshot is not signed.")
    state: StoredState | None = Field(
        default=None,
        description="What the state object in the store has. None: it has none, or an older mover reports.",
    )


ROW = Command(
    "snapshot",
    SnapshotRequest,
    (SnapshotResult,),
    "heavy",
    3,
    (f"{STORE} {SITE} {SNAPSHOT_IDS} --scratch /tmp",),
    patience=math.inf,
)
