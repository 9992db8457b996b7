"""Statuses as the operator writes them, by its own functions, for everything that reads them: Argo CD, Flux."""

from dataclasses import dataclass

from ocore_crds.kinds import KINDS
from ocore_crds.model import StatusModel
from ocore_operator import summarize
from ocore_operator.errors import Failed, Stalled, Waiting
from ocore_operator.summarize import Stamp
from support.crds.rules import Object
from support.crds.samples import SPECS, TIME

GENERATION = 3
AT = Stamp(TIME, GENERATION)
BY_KIND = {kind.kind: kind for kind in KINDS}


@dataclass(frozen=True)
class Sample:
    """An object in some state: what Argo CD should say, and what Flux should."""

    name: str
    obj: Object
    argo: str
    flux: str
    says: str = ""


def _object(kind: str, status: StatusModel | Object | None, generation: int = GENERATION) -> Object:
    obj: Object = {
        "apiVersion": "ocore.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": "sample", "namespace": "shop", "generation": generation},
        "spec": SPECS[kind][0],
    }
    if status is not None:
        obj["status"] = status.wire() if isinstance(status, StatusModel) else status
    return obj


def samples(kind: str) -> list[Sample]:
    """Every state that the kind can be in."""
    fresh = BY_KIND[kind].status()
    running = summarize.running(fresh, "Running", "the Job runs", AT)
    ready = summarize.ready(fresh, "Succeeded", "all is well", AT)
    stalled = summarize.outcome(fresh, Stalled("StoreNotFound", "create the store"), AT)
    waiting = summarize.outcome(running, Waiting("WaitingForOperation", "snapshot a runs", after=5), AT)
    found = [
        Sample("unseen", _object(kind, None), "Progressing", "InProgress", "Waiting for the operator"),
        Sample("created", _object(kind, {"observedGeneration": -1}), "Progressing", "InProgress"),
        Sample("running", _object(kind, running), "Progressing", "InProgress", "Running: the Job runs"),
        Sample("waiting", _object(kind, waiting), "Progressing", "InProgress", "WaitingForOperation: snapshot a runs"),
        Sample("stalled", _object(kind, stalled), "Degraded", "Failed", "StoreNotFound: create the store"),
        Sample(
            "changed", _object(kind, ready, GENERATION + 1), "Progressing", "InProgress", "Waiting for the operator"
        ),
    ]
    if kind in ("Snapshot", "Rollback", "Extract"):
        complete = summarize.complete(running, "Succeeded", "", AT)
        failed = summarize.outcome(running, Failed("DumpFailed", "pg_dump: disk full"), AT)
        if kind == "Rollback":
            previewed = summarize.previewed(running, "WouldBeRefused", "Preview only: nothing was changed.", AT)
            found.append(Sample("previewed", _object(kind, previewed), "Healthy", "Current"))
        return [
            *found,
            Sample("complete", _object(kind, complete), "Healthy", "Current", "Succeeded"),
            Sample("failed", _object(kind, failed), "Degraded", "Failed", "DumpFailed: pg_dump: disk full"),
        ]
    unreachable = summarize.not_ready(fresh, "DatabaseUnreachable", "no route", AT)
    refused = summarize.not_ready(fresh, "AuthenticationFailed", "wrong password", AT)
    return [
        *found,
        Sample("ready", _object(kind, ready), "Healthy", "Current", "Succeeded: all is well"),
        # Probed again: Flux waits for it until its timeout.
        Sample("unreachable", _object(kind, unreachable), "Progressing", "InProgress", "DatabaseUnreachable: no route"),
        Sample("refused", _object(kind, refused), "Degraded", "Failed", "AuthenticationFailed: wrong password"),
    ]


ALL = [(kind, sample) for kind in BY_KIND for sample in samples(kind)]
