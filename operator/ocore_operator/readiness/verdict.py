"""What a probe's result makes of an Environment's conditions. Pure."""

from collections.abc import Sequence

from ocore_crds import conditions as c
from ocore_crds.environment import EnvironmentStatus, ProbeStatus
from ocore_crds.protocol import Finding, ProbeResult
from ocore_crds.quantity import human
from ocore_operator import summarize
from ocore_operator.errors import Outcome
from ocore_operator.kube.resources import Environment


def words(findings: Sequence[Finding]) -> str:
    """All findings for people, the first one first."""
    return "\n".join(f"{f.reason}: {f.message}" if len(findings) > 1 else f.message for f in findings)


def unprobed(environment: Environment, end: Outcome, *, now: str) -> EnvironmentStatus:
    """Something that a probe needs is missing."""
    generation = environment.meta.generation
    status = summarize.outcome(environment.status, end, now=now, generation=generation)
    status = summarize.with_condition(
        status, c.ROLLBACK_READY, "False", end.reason, end.message, now=now, generation=generation
    )
    return status.model_copy(update={"phase": "NotReady"})


def broken(environment: Environment, reason: str, message: str, *, began: str, now: str) -> EnvironmentStatus:
    """The probe itself failed."""
    old = environment.status.probe
    update = {"time": now, "started_at": began, "generation": environment.meta.generation}
    probe = (
        old.model_copy(update=update)
        if old is not None
        else ProbeStatus(time=now, started_at=began, generation=environment.meta.generation)
    )
    status = environment.status.model_copy(update={"probe": probe})
    text = f"The probe failed: {message}"
    return _conditions(environment, status, [Finding(reason=reason, message=text)], [], "", now)


def found(
    environment: Environment, result: ProbeResult, majors: Sequence[int], *, began: str, now: str
) -> EnvironmentStatus:
    """The probe's findings: blocking ones keep snapshots from working, those and the others rollbacks."""
    blocking = list(result.blocking)
    database = result.database
    if database is not None and database.server_major and database.server_major not in majors and not blocking:
        have = ", ".join(str(m) for m in majors)
        blocking.append(
            Finding(
                reason=c.UNSUPPORTED_SERVER,
                message=f"The server is PostgreSQL {database.server_version}; there are mover images for {have} (OCORE_MOVER_MAJORS).",
            )
        )
    rollback = list(result.rollback)
    spec = environment.spec
    if spec.database is not None and spec.database.capacity is None:
        rollback.append(
            Finding(
                reason=c.CAPACITY_UNKNOWN,
                message=(
                    "Nobody has said how much the database's volume holds, and a restore into a full one stops the live database. Set "
                    "spec.database.capacity to the volume's size, for example 50Gi."
                ),
            )
        )
    status = environment.status.model_copy(update={"probe": _facts(environment, result, began, now)})
    return _conditions(environment, status, blocking, rollback, _summary(result), now)


def _facts(environment: Environment, result: ProbeResult, began: str, now: str) -> ProbeStatus:
    database, filestore = result.database, result.filestore
    facts = ProbeStatus(
        time=now, started_at=began, generation=environment.meta.generation, warnings=result.warnings[:20]
    )
    if database is not None:
        facts = facts.model_copy(
            update={
                "server_version": database.server_version,
                "server_major": database.server_major,
                "database_name": database.name,
                "database_bytes": database.size_bytes,
                "database_used_bytes": database.used_bytes,
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


def _summary(result: ProbeResult) -> str:
    parts = []
    if result.database is not None:
        database = result.database
        parts.append(f"PostgreSQL {database.server_version}, database {database.name} of {human(database.size_bytes)}")
    if result.filestore is not None:
        parts.append(f"{result.filestore.file_count} files of {human(result.filestore.size_bytes)}")
    return "; ".join(parts) + "."


def _conditions(
    environment: Environment,
    status: EnvironmentStatus,
    blocking: Sequence[Finding],
    rollback: Sequence[Finding],
    summary: str,
    now: str,
) -> EnvironmentStatus:
    generation = environment.meta.generation
    if blocking:
        status = summarize.not_ready(status, blocking[0].reason, words(blocking), now=now, generation=generation)
    else:
        status = summarize.ready(
            status, c.SUCCEEDED, f"A snapshot would work: {summary}", now=now, generation=generation
        )
    # What keeps a snapshot from working keeps a rollback from it as well, and comes first.
    against = [*blocking, *rollback]
    if against:
        status = summarize.with_condition(
            status, c.ROLLBACK_READY, "False", against[0].reason, words(against), now=now, generation=generation
        )
    else:
        status = summarize.with_condition(
            status,
            c.ROLLBACK_READY,
            "True",
            c.SUCCEEDED,
            "A rollback would work: the grants are there.",
            now=now,
            generation=generation,
        )
    return status.model_copy(update={"phase": "NotReady" if blocking else "Ready"})
