"""SnapshotPolicy: observe, decide on one action, carry it out, observe again.

``ocore_crds.rules.cron`` says when, ``ocore_crds.rules.retention`` what is kept, ``plan.py`` decides (all pure),
``effects.py`` carries out. An environment without a policy is reconciled under the name that its policy would have.
"""

from functools import partial

from ocore_crds import conditions as c
from ocore_operator.context import Context
from ocore_operator.frame import loop
from ocore_operator.kube.resources import Key, Object
from ocore_operator.policy.effects import carry_out
from ocore_operator.policy.observe import observe
from ocore_operator.policy.plan import decide


def of_snapshot(snapshot: Object) -> Key | None:
    """The policy that a change of this Snapshot concerns; None: none. While it runs, it changes each second."""
    spec = snapshot.get("spec") or {}
    if spec.get("pin") is None and not c.is_terminal((snapshot.get("status") or {}).get("conditions") or ()):
        return None
    return Key("SnapshotPolicy", snapshot["metadata"]["namespace"], spec["environmentRef"]["name"])


def of_rollback(rollback: Object) -> Key | None:
    """The policy that the end of this Rollback concerns: it also applies the history limit. None: it runs, or its
    environment is not known."""
    status = rollback.get("status") or {}
    if not c.is_terminal(status.get("conditions") or ()) or not status.get("environmentName"):
        return None
    return Key("SnapshotPolicy", rollback["metadata"]["namespace"], status["environmentName"])


def of_environment(environment: Object) -> Key | None:
    """The policy of an Environment, which need not exist."""
    return Key("SnapshotPolicy", environment["metadata"]["namespace"], environment["metadata"]["name"])


async def reconcile(ctx: Context, key: Key) -> float | None:
    """Reconciles the policy of an environment; seconds until the next reconcile, None: when something changes."""
    return await loop.run(str(key), lambda _: observe(ctx, key), decide, partial(carry_out, ctx))
