"""Stopping an environment's workloads and starting them again: the rules that a Rollback and a Snapshot share. Pure.

::

    take_turn ──► stop ──► drain ──► what they were stopped for ──► start

Each kind has its own stages, statuses and ends; it asks here what the present stage has to do. Each answer is an action
(:class:`SetReplicas`), a reason to look again later (:class:`Later`), why the stage has failed, or None: it is done.
"""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from ocore_crds import conditions as c
from ocore_crds.protocol import Failure
from ocore_crds.resources import layouts
from ocore_crds.resources.layouts import Layout
from ocore_operator.workloads.view import Peer, WorkloadView, labels

#: Seconds until the API server must have accepted zero replicas for every workload.
STOP_SECONDS = 60
#: Seconds until no pod of a workload may be left, in addition to the pods' grace period.
DRAIN_SECONDS = 120
#: The seconds that are left for a pod to end are shown in steps of this many: each is a write of the status.
STEP_SECONDS = 5
#: Seconds between two observations of pods that are waited for: a tenth of the time so far, within these limits.
OBSERVE_SECONDS = (0.2, 1.0)
#: Seconds until what another client has scaled up is read again, after it was scaled to zero.
AGAIN_SECONDS = 0.5
#: Seconds in which the workloads must get their replicas again. After them the operation is Stalled while a workload
#: that it has stopped cannot be started: it never ends so (docs/decisions/0112).
RESUME_SECONDS = 120
#: Least and most seconds between two attempts to scale workloads, or two Jobs of a switch: a fifth of the time spent so
#: far, within these limits.
PAUSE_SECONDS = (5, 60)

#: Workloads, and the replicas that they are to have.
Targets = tuple[tuple[WorkloadView, int], ...]


@dataclass(frozen=True)
class Refused:
    """The API server's last refusal to scale."""

    at: datetime
    message: str


@dataclass(frozen=True)
class Later:
    """Decide again after these seconds. `stalled`: a person must change something."""

    seconds: float
    message: str
    reason: str = c.RUNNING
    stalled: bool = False


@dataclass(frozen=True)
class SetReplicas:
    """Set replicas through the scale subresource. A workload that changed since it was read is a conflict. Where one is
    refused the others are set all the same; the next decision sees the refusal."""

    targets: Targets
    #: What is waited for before the next decision; None: nothing.
    then: Later | None = None


def running(workloads: Iterable[WorkloadView]) -> tuple[WorkloadView, ...]:
    """Those whose replicas are above zero."""
    return tuple(w for w in workloads if w.exists and w.replicas > 0)


def grace_seconds(workloads: Iterable[WorkloadView]) -> int:
    """The longest grace period of their pods."""
    return max((w.grace_seconds for w in workloads), default=0)


def drain_seconds(workloads: Iterable[WorkloadView]) -> int:
    """Seconds until none of them may have a pod left."""
    return DRAIN_SECONDS + grace_seconds(workloads)


def take_turn(
    peer: Peer | None, workloads: Sequence[WorkloadView], *, announced: bool
) -> Literal["Announce", "Withdraw"] | Later | None:
    """None where the operation may stop the workloads; no other one stops any of them until this one has ended.

    It announces itself in its status, then reads the other operations again. Of two that announce themselves at once,
    each sees the other one, and the younger one withdraws (docs/decisions/0008).
    """
    if peer is not None and announced and (peer.stopping or peer.older):
        return "Withdraw"
    if peer is not None:
        return Later(2.0, f"{peer.name} also stops {labels(workloads)}. Waiting until it has ended.")
    return None if announced else "Announce"


def missing(workloads: Iterable[WorkloadView], kind: str) -> Failure | None:
    """Why the operation of that kind cannot stop them: some do not exist, or have no usable scale."""
    workloads = tuple(workloads)
    refusal = next((w.refusal for w in workloads if w.refusal is not None), None) or loses(workloads)
    if refusal is not None:
        return Failure(reason=refusal.reason, message=f"{refusal.message} Then create a new {kind}.")
    absent = [w for w in workloads if not w.exists]
    if not absent:
        return None
    text = (
        f"{labels(absent)} does not exist. Create it, or correct spec.workloads of the Environment. Then create a new"
        f" {kind}."
    )
    return Failure(reason=c.WORKLOAD_NOT_FOUND, message=text)


def loses(workloads: Iterable[WorkloadView]) -> Failure | None:
    """Why none of them is scaled to zero: data would be deleted. What does not run loses nothing."""
    return next((w.loses for w in running(workloads) if w.loses is not None), None)


def nothing_stops(layout: Layout | None, claim: str | None, workloads: Collection[object]) -> Failure | None:
    """Why the filestore's folder is not replaced: what writes to it is not listed, and would continue."""
    if layout not in layouts.RENAMED or workloads:
        return None
    text = (
        f"A rollback of this layout, and its undo, replace the filestore's folder. What writes to claim {claim} must be"
        " stopped for that, or it continues to write to the previous files. spec.workloads lists nothing: list what"
        " writes there. Snapshots do not need it."
    )
    return Failure(reason=c.WRITERS_NOT_STOPPED, message=text)


def stop(
    workloads: Iterable[WorkloadView], passed: float, refused: Refused | None, now: datetime
) -> SetReplicas | Later | Failure | None:
    """None where the API server has accepted zero replicas for all. `passed`: seconds since this began."""
    left = running(workloads)
    if not left:
        return None
    lost = loses(left)
    if lost is not None:
        return lost
    if passed > STOP_SECONDS:
        why = f": {refused.message.rstrip('.')}" if refused is not None else ""
        text = (
            f"{labels(left)} could not be scaled to zero within {STOP_SECONDS} s{why}. Correct the operator's rights,"
            " or what refuses it."
        )
        return Failure(reason=c.WORKLOAD_NOT_STOPPED, message=text)
    return scale(tuple((w, 0) for w in left), passed, refused, now)


def scaled_up(workloads: Iterable[WorkloadView], when: str, kind: str) -> Failure | None:
    """Why the operation of that kind fails: someone else has started what it had stopped."""
    found = running(workloads)
    if not found:
        return None
    text = (
        f"{labels(found)} was scaled up {when}, by a GitOps tool, an autoscaler or its own operator. Exclude its"
        f" replicas from that one's control (Argo CD: ignoreDifferences; KEDA: pause the ScaledObject), then create a"
        f" new {kind}."
    )
    return Failure(reason=c.WORKLOAD_SCALED_UP, message=text)


def stop_again(
    workloads: Sequence[WorkloadView], passed: float, refused: Refused | None, now: datetime, when: str, kind: str
) -> SetReplicas | Later | Failure | None:
    """None where all are at zero. What another client has scaled up since the stop is scaled to zero again while the
    drain lasts (docs/decisions/0185). `passed`: seconds since all were scaled to zero."""
    left = running(workloads)
    if not left:
        return None
    lost = loses(left)
    if lost is not None:
        return lost
    limit = drain_seconds(workloads)
    if passed > limit:
        return scaled_up(left, f"{when} again and again for {limit} s", kind)
    return scale_again(left, passed, refused, now)


def scale_again(
    started: Sequence[WorkloadView], passed: float, refused: Refused | None, now: datetime
) -> SetReplicas | Later:
    """Scales to zero what another client has scaled up. The two must not alternate without a pause. `started` is not
    empty."""
    answer = scale(tuple((w, 0) for w in started), passed, refused, now)
    if isinstance(answer, Later):
        return answer
    text = f"Another client scaled up {labels(started)}. Scaled to zero again."
    return replace(answer, then=Later(AGAIN_SECONDS, text))


def drain(workloads: Sequence[WorkloadView], passed: float, now: datetime) -> Later | Failure | None:
    """None where no pod is left. `passed`: seconds since all were scaled to zero."""
    left = [w for w in workloads if w.exists and w.pods > 0]
    if not left:
        return None
    limit = drain_seconds(workloads)
    if passed > limit:
        text = f"After {limit} s pods of {labels(left)} are left. The workloads are started again."
        return Failure(reason=c.WORKLOAD_NOT_STOPPED, message=text)
    return Later(pause(passed), _last_to_leave(left, now, limit))


def pause(passed: float) -> float:
    """Seconds until pods that are waited for are observed again, `passed` seconds after the wait began."""
    shortest, longest = OBSERVE_SECONDS
    return min(max(shortest, passed / 10), longest)


def _last_to_leave(left: Sequence[WorkloadView], now: datetime, limit: int) -> str:
    """Which pod is waited for, and for how long at most."""
    found = [(w.leaves_by, w) for w in left if w.leaves_by is not None]
    if not found:
        return f"Waiting until the pods of {labels(left)} are gone, for {limit} s at most."
    until, last = max(found, key=lambda pair: pair[0])
    if until <= now:
        return (
            f"Pod {last.leaving} of {last.label} has not ended within its grace period. Its node may not respond, or a"
            f" finalizer keeps it. Waiting for {limit} s in all."
        )
    seconds = STEP_SECONDS * math.ceil((until - now).total_seconds() / STEP_SECONDS)
    return (
        f"Waiting until pod {last.leaving} of {last.label} has ended: {seconds} s at most"
        f" (terminationGracePeriodSeconds: {last.grace_seconds})."
    )


def to_start(wanted: Iterable[tuple[WorkloadView, int]], *, late: bool) -> Targets:
    """Those that do not have the replicas that were saved. `late`: RESUME_SECONDS have passed, and only those matter
    that are still stopped: someone else has set the replicas of the others."""
    return tuple((w, n) for w, n in wanted if w.exists and w.replicas != n and not (late and w.replicas))


def start(
    targets: Targets, passed: float, refused: Refused | None, now: datetime, *, late: bool
) -> SetReplicas | Later:
    """Sets the saved replicas, as often as it is refused. `late`: what refuses it is reported as what a person must
    change."""
    answer = scale(targets, passed, refused, now)
    if not late or isinstance(answer, SetReplicas):
        return answer
    text = (
        f"The application is stopped. {answer.message} Correct the operator's rights, or what refuses it, or scale by"
        " hand."
    )
    return Later(answer.seconds, text, c.WORKLOAD_NOT_RESUMED, stalled=True)


def retry_pause(passed: float) -> float:
    """Seconds between two attempts, `passed` seconds after the first."""
    shortest, longest = PAUSE_SECONDS
    return min(max(shortest, passed / 5), longest)


def scale(targets: Targets, passed: float, refused: Refused | None, now: datetime) -> SetReplicas | Later:
    """Sets the replicas; after a refusal, once a pause has passed. `targets` is not empty."""
    if refused is None:
        return SetReplicas(targets)
    left = retry_pause(passed) - (now - refused.at).total_seconds()
    if left <= 0:
        return SetReplicas(targets)
    return Later(left, f"{refusal(targets, refused)} Retrying.")


def refusal(targets: Targets, refused: Refused) -> str:
    """The refusal as a sentence."""
    counts = ", ".join(f"{w.label} to {n}" for w, n in targets)
    return f"The API server refuses to scale {counts}: {refused.message.rstrip('.')}."
