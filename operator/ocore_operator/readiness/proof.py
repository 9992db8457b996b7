"""When the schema of an Environment's database is restored into a scratch database, and what is remembered of it.
Pure."""

from datetime import datetime

from ocore_crds.protocol import ProofResult
from ocore_crds.resources.environment import EnvironmentStatus, ProofStatus
from ocore_operator import clock
from ocore_operator.readiness import schedule
from ocore_operator.readiness.verdict import message_of
from ocore_operator.settings import Settings

#: Seconds until an attempt without a result (a lost connection, an evicted pod) is repeated.
RETRY = 3600.0
#: Seconds between a proof that failed and the next one of a changed schema, which may be the fix.
RECHECK = 300.0
#: Characters of a failure that the status keeps.
_MESSAGE = 4000


def due_in(
    settings: Settings, now: datetime, proof: ProofStatus | None, *, fingerprint: str, image: str
) -> float | None:
    """Seconds until a proof is due, 0 or less: now; None while nothing has changed since the last one.

    `fingerprint`: of the schema, as the last probe read it; empty where it is unknown, which counts as changed.
    `image`: the mover's. A success counts until one of both changes, and is then repeated a day after it at the
    earliest. A failure is repeated after a day in any case.
    """
    if proof is None:
        return 0.0
    changed = fingerprint != proof.schema_fingerprint or image != proof.image
    if proof.result is None or proof.time is None:
        due = 0.0
    elif proof.result == "Failed" and changed and fingerprint:
        due = RECHECK - clock.seconds_since(proof.time, now)
    elif proof.result == "Succeeded" and not changed and fingerprint:
        return None
    else:
        due = settings.proof_interval - clock.seconds_since(proof.time, now)
    if proof.attempt_error:
        due = max(due, RETRY - clock.seconds_since(proof.attempted_at, now))
    return due


def attempt_name(status: EnvironmentStatus) -> str:
    """Eight hexadecimal digits that name the next proof's Job: the same until it has ended."""
    return schedule.attempt_name(0, status.proof.attempted_at if status.proof is not None else None)


def recorded(status: EnvironmentStatus, result: ProofResult, *, image: str, now: str) -> EnvironmentStatus:
    """The status after a proof with a result."""
    proof = ProofStatus(
        attempted_at=now,
        result="Failed" if result.findings else "Succeeded",
        time=now,
        schema_fingerprint=result.schema_fingerprint,
        image=image,
        message=message_of(result.findings)[:_MESSAGE],
    )
    return status.model_copy(update={"proof": proof})


def not_made(status: EnvironmentStatus, why: str, *, now: str) -> EnvironmentStatus:
    """The status after an attempt without a result: the last result stays."""
    old = status.proof if status.proof is not None else ProofStatus(attempted_at=now)
    proof = old.model_copy(update={"attempted_at": now, "attempt_error": why[:_MESSAGE] or "unknown"})
    return status.model_copy(update={"proof": proof})
