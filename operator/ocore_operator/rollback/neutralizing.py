"""Whether production data would reach an environment that is not production without being neutralised. Pure."""

from ocore_crds import conditions as c
from ocore_operator.rollback.plan_undo import Refusal
from ocore_operator.rollback.world import EnvironmentView, SnapshotView

#: Types of environments whose data may go anywhere. A type that is unknown counts as production.
HARMLESS = ("staging", "development")


def refusal(snapshot: SnapshotView, environment: EnvironmentView) -> Refusal | None:
    """Why the Snapshot must not be restored into this Environment; None where it may."""
    if snapshot.environment_id == environment.id or environment.type == "production":
        return None
    if snapshot.environment_type in HARMLESS:
        return None
    text = (
        f"Snapshot {snapshot.name} is of an environment of type {snapshot.environment_type or 'unknown'}, and {environment.name} is "
        f"{environment.type}. Its data would have to be neutralised, which this version cannot do: mail servers and payments of the copy would be "
        "live. Restore into an environment of type production, or use a snapshot of one that is not."
    )
    return Refusal(c.NEUTRALIZE_MISSING, text)
