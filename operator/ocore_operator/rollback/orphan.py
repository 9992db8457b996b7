"""A rollback with remaining cleanup whose Environment was deleted: what its status remembers of it, and what may use
the database or the filestore now. Pure."""

from dataclasses import replace

from ocore_crds.kinds import ENVIRONMENT
from ocore_crds.resources.rollback import RollbackTarget
from ocore_operator.entries import targets
from ocore_operator.entries.environments import EnvironmentEntry, Target
from ocore_operator.entries.operations import OPEN
from ocore_operator.kube.catalog import Catalog
from ocore_operator.kube.resources import Environment, Rollback


def is_orphan(rollback: Rollback, environment: Environment | None) -> bool:
    """Whether cleanup remains, and the Environment was deleted. `environment`: the one that has its name now."""
    status = rollback.status
    remains = status.stage == "Ended" and status.residue == "Pending"
    return remains and (environment is None or environment.id != status.environment_id)


def used_by(catalog: Catalog, rollback: Rollback, environment: Environment | None) -> str:
    """See World.used_by. The catalog suffices: an Environment begins no operation before this operator has probed
    it."""
    target = rollback.status.target
    if target is None or not is_orphan(rollback, environment):
        return ""
    known = catalog.of_kind(EnvironmentEntry)
    others = targets.sharing(known, rollback.key, _replaced(target))
    return next((f"Environment {other.key.name} has {what} now" for other, what in others), "")


def _replaced(target: RollbackTarget) -> Target:
    """The target as the catalog has it. The server is not known."""
    cluster = targets.of_cluster(target.cluster, target.database) if target.cluster is not None else ""
    return Target(
        secret=target.database_secret_name or "" if not cluster else "",
        cluster=cluster,
        claim=target.claim_name or "",
        path=target.path or "",
        layout=target.layout or "",
    )


def under_way(catalog: Catalog, rollback: Rollback, environment: Environment | None) -> str:
    """See World.under_way. A Rollback that has switched ends without the Environment."""
    if not is_orphan(rollback, environment):
        return ""
    place = (rollback.meta.namespace, rollback.status.environment_name or "")
    others = (e for e in catalog.at(OPEN, place) if e.key.kind == "Rollback" and e.began and e.key != rollback.key)
    return next((e.key.name for e in others), "")


def remembered(rollback: Rollback) -> Environment | None:
    """What its Jobs are built from in the place of the Environment; None where the status has too little."""
    status = rollback.status
    if status.environment_id is None or status.target is None or status.jobs is None:
        return None
    spec, known = status.jobs.environment(status.environment_id, status.target, status.workloads)
    meta = replace(rollback.meta, name=status.environment_name or "", uid=status.environment_id)
    return Environment(ENVIRONMENT, meta, spec, known)
