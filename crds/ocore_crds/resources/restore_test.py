"""Test restores: how a SnapshotPolicy asks for them, and what a Snapshot's status says of one."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field

from ocore_crds import naming
from ocore_crds.commands.test_restore import RestoreTestFigures
from ocore_crds.model import LocalRef, Model, Quantity, Sentence, StatusModel, Timestamp
from ocore_crds.resources.encryption import IDENTITY_REF
from ocore_crds.resources.environment import Tls
from ocore_crds.resources.neutralize import Scripts

DEFAULT_TIMEOUT_SECONDS = 14400


class RestoreTestServer(Model):
    """A server of its own for test restores. It must have the same major version as the environment's."""

    secret_ref: LocalRef = Field(
        description=(
            "Secret with the keys of `spec.database.secretRef` of an Environment. Its role needs CREATEDB and must not"
            " be a superuser. `dbname` is not needed."
        )
    )
    admin_secret_ref: LocalRef | None = Field(
        default=None, description="Secret of an administrator of that server, where extensions need one."
    )
    tls: Tls | None = Field(default=None, description="TLS to that server.")
    capacity: Quantity | None = Field(
        default=None,
        description="What the volume of its databases holds. A test that does not fit is refused. Absent: not checked.",
    )


class RestoreTests(Model):
    """When the newest snapshot is really restored into a scratch database, as a test."""

    schedule: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=100)], ...], Field(min_length=1, max_length=16)
    ] = Field(description="When it is tested: as `spec.schedule`, in the same time zone and with the same spread.")
    restore: bool = Field(default=True, description="False: no test restores are scheduled.")
    server: RestoreTestServer | None = Field(
        default=None, description="The server to restore on. Absent: the environment's own."
    )
    assertions: Scripts | None = Field(
        default=None,
        description=(
            "ConfigMap with SQL that must return no row in the restored database; one script in each key. It runs"
            " read-only, with the rights of the application."
        ),
    )
    identity_secret_ref: LocalRef | None = Field(default=None, description=IDENTITY_REF)
    timeout_seconds: Annotated[int, Field(ge=60, le=604800)] = Field(
        default=DEFAULT_TIMEOUT_SECONDS, description="A test restore that takes longer is stopped and has failed."
    )


class RestoreTestRequest(StatusModel):
    """A slot of the SnapshotPolicy, for which this snapshot is to be tested."""

    run: str = Field(description="Names the slot; the same for the same policy and slot.")
    slot: Timestamp = Field(description="The slot.")


class RestoreTestFinding(StatusModel):
    """Why a test restore failed."""

    reason: str = Field(description="The reason, in one word.")
    message: Sentence = Field(default="", description="What was found, for people.")


class RestoreTestStatus(RestoreTestFigures):
    """The newest test restore that gave a result."""

    answered: tuple[str, ...] = Field(default=(), description="The requests that tests have answered.")
    tested_at: Timestamp = Field(description="When it ended.")
    predicted_rollback_seconds: float | None = Field(
        default=None,
        description=(
            "How long a rollback to the snapshot would take, from the measured times, where all files have to be"
            " restored."
        ),
    )
    findings: tuple[RestoreTestFinding, ...] = Field(default=(), description="Why it failed; none: it succeeded.")


def run_of(*parts: str) -> str:
    """Eight hexadecimal digits that name a request: the same for the same parts."""
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:8]


def open_run(snapshot: Mapping[str, Any]) -> str | None:
    """The request of a Snapshot, as the API server has it, that no test has answered yet; None: none, or the Snapshot
    cannot be restored.

    Requests are the slot of the SnapshotPolicy in the status, and the annotation `ocore.dev/restore-test-requested`.
    The slot goes first.
    """
    status, meta = snapshot.get("status") or {}, snapshot["metadata"]
    if "deletionTimestamp" in meta or status.get("phase") != "Complete":
        return None
    answered = (status.get("restoreTest") or {}).get("answered") or ()
    return next((run for run in _requests(status, meta) if run not in answered), None)


def _requests(status: Mapping[str, Any], meta: Mapping[str, Any]) -> Iterator[str]:
    slot = status.get("restoreTestRequest")
    if slot:
        yield str(slot["run"])
    text = (meta.get("annotations") or {}).get(naming.ANNOTATION_RESTORE_TEST_REQUESTED)
    if text:
        yield run_of("annotation", text)
