"""The conditions of an Environment after a probe. Pure."""

from collections.abc import Sequence

from ocore_crds import conditions as c
from ocore_crds.protocol import DatabaseFacts, Failure, Finding, ProbeResult
from ocore_crds.resources.environment import EnvironmentStatus, ProbeStatus, connection_of
from ocore_crds.rules.remedy import Remedy
from ocore_crds.text.quantity import human
from ocore_operator import summarize
from ocore_operator.errors import Outcome
from ocore_operator.kube.resources import Environment
from ocore_operator.summarize import Stamp
from ocore_operator.workloads.quiesce import nothing_stops

#: Of the database's size: what the restored copy and its WAL need beside the live one, at most. RESERVE_BYTES stay
#: free. The mover decides (volume.check).
COPY_FACTOR = 2.5
RESERVE_BYTES = 1 << 30

#: What gives the Jobs an administrator.
_ADMINISTRATOR = "spec.database.adminSecretRef"
_CNPG_ADMINISTRATOR = f"{_ADMINISTRATOR}, or enableSuperuserAccess: true in the Cluster,"


def message_of(findings: Sequence[Finding], reason: str = "") -> str:
    """All findings as one text. Those with the `reason` of the condition come first and do not repeat it; the others
    keep their order."""
    if len(findings) == 1:
        return findings[0].message
    ordered = sorted(findings, key=lambda f: f.reason != reason)
    return "\n".join(f.message if f.reason == reason else f"{f.reason}: {f.message}" for f in ordered)


def unprobed(environment: Environment, end: Outcome, stamp: Stamp) -> EnvironmentStatus:
    """Before a probe: something that it needs is missing."""
    status = summarize.outcome(environment.status, end, stamp)
    status = summarize.with_condition(status, c.ROLLBACK_READY, "False", end.reason, end.message, stamp)
    return status.model_copy(update={"phase": "NotReady"})


def probe_failed(environment: Environment, reason: str, message: str, *, began: str, now: str) -> EnvironmentStatus:
    """After a probe without a result."""
    old = environment.status.probe
    update = {"time": now, "started_at": began, "generation": environment.meta.generation, "remedies": ()}
    probe = (
        old.model_copy(update=update)
        if old is not None
        else ProbeStatus(time=now, started_at=began, generation=environment.meta.generation)
    )
    status = environment.status.model_copy(update={"probe": probe})
    text = f"The probe failed: {message}"
    return _conditions(environment, status, [Finding(reason=reason, message=text)], [], [], "", now)


def found(
    environment: Environment,
    result: ProbeResult,
    majors: Sequence[int],
    *,
    began: str,
    now: str,
    without_store: Finding | None = None,
    loses: Failure | None = None,
    has_remote: bool = False,
) -> EnvironmentStatus:
    """After a probe with a result. Blocking findings prevent snapshots and rollbacks, creatable ones prevent snapshots
    only, the others rollbacks only.

    `loses`: why stopping the workloads would delete data, which prevents rollbacks only; a snapshot saves the data.
    `without_store`: the own store is not ready, which prevents snapshots only, because a remote one is ready.
    `has_remote`: whether one is ready. Then an own store that the Jobs' user cannot use prevents snapshots only, too: a
    restore falls back to the remote copy.
    """
    blocking = list(result.blocking) or _unsupported(result.database, majors)
    against_snapshots = [*([without_store] if without_store is not None else []), *result.snapshots]
    (against_snapshots if has_remote else blocking).extend(result.own_store)
    rollback = [*_findings(loses), *result.rollback, *_against_rollbacks(environment, result.database)]
    status = environment.status.model_copy(update={"probe": _facts(environment, result, began, now)})
    return _conditions(
        environment,
        status,
        blocking,
        list(result.creatable),
        rollback,
        _summary(result),
        now,
        against_snapshots=against_snapshots,
    )


def _findings(failure: Failure | None) -> list[Finding]:
    return [Finding(reason=failure.reason, message=failure.message)] if failure is not None else []


def _unsupported(database: DatabaseFacts | None, majors: Sequence[int]) -> list[Finding]:
    """What is found where no mover image fits the server."""
    if database is None or not database.server_major or database.server_major in majors:
        return []
    have = ", ".join(str(m) for m in majors)
    message = (
        f"The server is PostgreSQL {database.server_version}; there are mover images for {have}. Build the image and"
        " name its version in the chart's mover.majors (docs/install.md), or use a release that has it."
    )
    return [Finding(reason=c.UNSUPPORTED_SERVER, message=message)]


def _against_rollbacks(environment: Environment, database: DatabaseFacts | None) -> list[Finding]:
    """What the spec lacks for rollbacks."""
    spec, found_ = environment.spec, []
    connection = connection_of(spec, environment.status)
    if connection is not None and connection.capacity is None:
        message = (
            "The capacity of the database's volume is unknown, and a restore that fills it stops the live database. Set"
            f" spec.database.capacity to the volume's size, for example 50Gi.{_least_capacity(database)}"
        )
        found_.append(Finding(reason=c.CAPACITY_UNKNOWN, message=message))
    files = spec.filestore
    writes = nothing_stops(files.layout, files.claim_name, spec.workloads or ()) if files is not None else None
    return [*found_, *_findings(writes)]


def _least_capacity(database: DatabaseFacts | None) -> str:
    """What a rollback needs, by the sizes that the probe has measured; empty without them. Never the size that the
    volume has: no Job can read that."""
    if database is None or not database.size_bytes:
        return ""
    needed = database.used_bytes + int(database.size_bytes * COPY_FACTOR)
    least = -(-(needed + RESERVE_BYTES) // 2**30)
    return (
        f" The server uses {human(database.used_bytes)} now, {human(database.size_bytes)} of it for {database.name}: a"
        f" rollback needs a volume of {least}Gi or more. If the volume is smaller, enlarge it first."
    )


def _facts(environment: Environment, result: ProbeResult, began: str, now: str) -> ProbeStatus:
    database, filestore = result.database, result.filestore
    facts = ProbeStatus(
        time=now,
        started_at=began,
        generation=environment.meta.generation,
        warnings=result.warnings[:20],
        remedies=_remedies(result),
        file_owner=result.file_owner,
    )
    if database is not None:
        facts = facts.model_copy(
            update={
                "server_identity": database.server_identity,
                "server_version": database.server_version,
                "server_major": database.server_major,
                "database_name": database.name,
                "database_bytes": database.size_bytes,
                "database_used_bytes": database.used_bytes,
                "schema_fingerprint": database.schema_fingerprint,
                "replication": database.replication,
            }
        )
    if filestore is not None:
        facts = facts.model_copy(
            update={
                "filestore_bytes": filestore.size_bytes,
                "filestore_files": filestore.file_count,
                "hard_links": filestore.hard_links,
            }
        )
    return facts


def _remedies(result: ProbeResult) -> tuple[Remedy, ...]:
    """Each once, in the order of the findings."""
    findings = (*result.blocking, *result.rollback)
    return tuple(dict.fromkeys(each for finding in findings for each in finding.remedies))


def _summary(result: ProbeResult) -> str:
    parts = []
    if result.database is not None:
        database = result.database
        parts.append(f"PostgreSQL {database.server_version}, database {database.name} of {human(database.size_bytes)}")
    if result.filestore is not None:
        parts.append(f"{result.filestore.file_count} files of {human(result.filestore.size_bytes)}")
    outside = result.database.outside_attachments if result.database is not None else 0
    if outside:
        parts.append(f"{outside} or more attachments are outside the filestore, and in no snapshot")
    return "; ".join(parts) + "."


def _conditions(
    environment: Environment,
    status: EnvironmentStatus,
    blocking: Sequence[Finding],
    creatable: Sequence[Finding],
    rollback: Sequence[Finding],
    summary: str,
    now: str,
    *,
    against_snapshots: Sequence[Finding] = (),
) -> EnvironmentStatus:
    stamp = Stamp(now, environment.meta.generation)
    against_snapshot = [*blocking, *creatable, *against_snapshots]
    if against_snapshot:
        # What a person must change first: the others may pass.
        first = next((f for f in against_snapshot if f.reason not in c.TRANSIENT), against_snapshot[0])
        status = summarize.not_ready(status, first.reason, message_of(against_snapshot, first.reason), stamp)
    else:
        status = summarize.ready(status, c.SUCCEEDED, f"A snapshot would work: {summary}", stamp)
    # What prevents a snapshot prevents a rollback as well, and comes first.
    # Replication comes last: where it is the first reason it is the only one, and a Rollback with allowReplicationLoss
    # may run.
    against = sorted([*blocking, *rollback], key=lambda f: f.reason == c.REPLICATION_ACTIVE)
    if against:
        status = summarize.with_condition(
            status, c.ROLLBACK_READY, "False", against[0].reason, message_of(against, against[0].reason), stamp
        )
    else:
        status = _rollback_ready(environment, status, creatable, stamp)
    return status.model_copy(update={"phase": "NotReady" if against_snapshot else "Ready"})


def catalogs_agree(status: EnvironmentStatus) -> bool:
    """Whether the last probe found nothing that prevents a rollback: RollbackReady is True, or only a proof is against
    it."""
    ready = c.find(status.conditions, c.ROLLBACK_READY)
    return ready is not None and (ready.status == "True" or ready.reason == c.PROOF_FAILED)


def proven(environment: Environment, status: EnvironmentStatus, now: str) -> EnvironmentStatus:
    """After a proof: RollbackReady by its result, where the catalogs are not against it."""
    if not catalogs_agree(status) or not c.is_true(status.conditions, c.READY):
        return status
    return _rollback_ready(environment, status, (), Stamp(now, environment.meta.generation))


def _rollback_ready(
    environment: Environment, status: EnvironmentStatus, creatable: Sequence[Finding], stamp: Stamp
) -> EnvironmentStatus:
    """RollbackReady where the catalogs show nothing that prevents a rollback: the last proof decides. `creatable`: what
    a rollback creates."""
    database, proof = environment.spec.database, status.proof
    if database is not None and proof is not None and proof.result == "Failed" and not creatable:
        message = (
            f"The catalogs show nothing that prevents a rollback, but at {proof.time} the schema of the live database"
            f" could not be restored into a scratch database: {proof.message.rstrip('.')}. Fix this in the live"
            " database; a new proof follows. A snapshot that has the same fault cannot be restored; other Rollbacks"
            " are not refused."
        )
        return summarize.with_condition(status, c.ROLLBACK_READY, "False", c.PROOF_FAILED, message, stamp)
    reason, message = c.SUCCEEDED, "A rollback would work: no grant is missing."
    if creatable:
        message = (
            f"A rollback would work, and creates what does not exist yet ({', '.join(f.reason for f in creatable)}): no"
            " grant is missing."
        )
    if database is not None:
        message += f" {_of_proof(status)}" if not creatable else ""
        connection = connection_of(environment.spec, status)
        if connection is not None and connection.admin_secret_name is None:
            reason = c.HIDDEN_ONLY
            message += (
                " Until the switchover the restored copy is hidden from the application, not closed. Set"
                f" {_ADMINISTRATOR if connection.cluster is None else _CNPG_ADMINISTRATOR} to close it."
            )
    return summarize.with_condition(status, c.ROLLBACK_READY, "True", reason, message, stamp)


def _of_proof(status: EnvironmentStatus) -> str:
    """What is known from restores, for people."""
    proof = status.proof
    if proof is None or proof.result is None:
        text = "No schema-only restore has proven it yet."
    elif status.probe is not None and status.probe.schema_fingerprint == proof.schema_fingerprint:
        text = f"A schema-only restore proved it at {proof.time}."
    else:
        text = f"A schema-only restore proved it at {proof.time}; the schema has changed since and is proven again."
    if proof is not None and proof.attempt_error:
        text += f" The attempt at {proof.attempted_at} had no result: {proof.attempt_error.rstrip('.')}."
    return text
