"""The kinds that are reconciled: one row each, for the work queue, the resync and kopf's handlers.

A new kind needs a folder of its own and one row here.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from ocore_kube import types
from ocore_operator.contents import importing
from ocore_operator.contents import reconcile as contents
from ocore_operator.context import Context
from ocore_operator.kube.catalog import Judge, Work
from ocore_operator.kube.resources import Key, Object
from ocore_operator.policy import reconcile as policy
from ocore_operator.readiness import environment
from ocore_operator.rollback import entry as rollback_entry
from ocore_operator.rollback import reconcile as rollback
from ocore_operator.rollback.memory import Memories
from ocore_operator.snapshot import entry as snapshot_entry
from ocore_operator.snapshot import reconcile as snapshot


def never(_: Object) -> bool:
    """For kinds that are reconciled as long as they exist."""
    return False


def no_object(_: Object) -> Key | None:
    """For kinds whose changes concern no object of another kind."""
    return None


@dataclass(frozen=True)
class Reconciler:
    """How a kind is reconciled."""

    type: types.Type
    #: Reconciles one object; returns the seconds until the next time, None: when something changes.
    reconcile: Callable[[Context, Key], Awaitable[float | None]]
    #: Whether an object needs no reconcile, by its raw JSON: a resync asks for thousands.
    idle: Callable[[Object], bool] = never
    #: An object of another kind, which need not exist, that a change of this one concerns.
    concerns: Callable[[Object], Key | None] = no_object
    #: Whether an application is stopped until the object is reconciled further, by its raw JSON.
    critical: Callable[[Object], bool] = never
    #: Whether the seconds that `reconcile` returns end at a time that counts: the slot of a schedule.
    punctual: bool = False
    #: Whether its reconciles go before those of the others, by its raw JSON.
    urgent: Callable[[Object], bool] = never
    #: Whether an import has just created it and writes its status next, by its raw JSON.
    arriving: Callable[[Object], bool] = never

    def work(self, obj: Object) -> Work:
        """What the object asks of the operator. Pure."""
        critical = self.critical(obj)
        urgent = critical or self.urgent(obj)
        return Work(idle=self.idle(obj), urgent=urgent, critical=critical, arriving=self.arriving(obj))


Reconcilers = dict[str, Reconciler]


def judge(reconcilers: Reconcilers) -> Judge:
    """For the catalog."""
    return lambda kind, obj: reconcilers[kind].work(obj)


def reconcilers() -> Reconcilers:
    """By kind. Called once: what a kind remembers between two reconciles is created here."""
    rows = (
        Reconciler(types.STORES, partial(contents.reconcile, importing.Memories())),
        Reconciler(types.ENVIRONMENTS, environment.reconcile, concerns=policy.of_environment),
        Reconciler(
            types.SNAPSHOTS,
            snapshot.reconcile,
            snapshot_entry.idle,
            critical=snapshot_entry.critical,
            concerns=policy.of_snapshot,
            arriving=snapshot_entry.is_half,
        ),
        Reconciler(types.POLICIES, policy.reconcile, punctual=True),
        Reconciler(
            types.ROLLBACKS,
            partial(rollback.reconcile, Memories()),
            rollback_entry.idle,
            critical=rollback_entry.critical,
            urgent=rollback_entry.under_way,
            concerns=policy.of_rollback,
            arriving=rollback_entry.is_half,
        ),
    )
    return {row.type.kind: row for row in rows}
