"""The kinds that are reconciled: one row each, for the work queue, the resync and kopf's handlers.

A new kind needs a folder of its own and one row here.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from ocore_kube import types
from ocore_operator.context import Context
from ocore_operator.engine import store
from ocore_operator.extract import entry as extract_entry
from ocore_operator.extract import reconcile as extract
from ocore_operator.imports import pages
from ocore_operator.kube.catalog import Maker
from ocore_operator.kube.resources import Key, Object
from ocore_operator.policy import entry as policy_entry
from ocore_operator.policy import reconcile as policy
from ocore_operator.readiness import entry as readiness_entry
from ocore_operator.readiness import reconcile as readiness
from ocore_operator.rollback import entry as rollback_entry
from ocore_operator.rollback import reconcile as rollback
from ocore_operator.rollback.memory import Memories
from ocore_operator.snapshot import entry as snapshot_entry
from ocore_operator.snapshot import reconcile as snapshot


def no_object(_: Object) -> Key | None:
    """For kinds whose changes concern no object of another kind."""
    return None


@dataclass(frozen=True)
class Reconciler:
    """How a kind is reconciled."""

    type: types.Type
    #: Reconciles one object; returns the seconds until the next time, None: when something changes.
    reconcile: Callable[[Context, Key], Awaitable[float | None]]
    #: What the catalog keeps of an object, and what that asks of the operator.
    entry: Maker
    #: An object of another kind, which need not exist, that a change of this one concerns.
    concerns: Callable[[Object], Key | None] = no_object
    #: Whether the seconds that `reconcile` returns end at a time that counts: the slot of a schedule.
    punctual: bool = False


Reconcilers = dict[str, Reconciler]


def makers(rows: Reconcilers) -> dict[str, Maker]:
    """For the catalog."""
    return {kind: row.entry for kind, row in rows.items()}


def reconcilers() -> Reconcilers:
    """By kind. Called once: what a kind remembers between two reconciles is created here."""
    rows = (
        Reconciler(types.STORES, partial(store.reconcile, pages.Memories()), readiness_entry.of_store),
        Reconciler(
            types.ENVIRONMENTS, readiness.environment, readiness_entry.of_environment, concerns=policy.of_environment
        ),
        Reconciler(types.SNAPSHOTS, snapshot.reconcile, snapshot_entry.entry, concerns=policy.of_snapshot),
        Reconciler(types.POLICIES, policy.reconcile, policy_entry.entry, punctual=True),
        Reconciler(
            types.ROLLBACKS, partial(rollback.reconcile, Memories()), rollback_entry.entry, concerns=policy.of_rollback
        ),
        Reconciler(types.EXTRACTS, extract.reconcile, extract_entry.entry),
    )
    return {row.type.kind: row for row in rows}
