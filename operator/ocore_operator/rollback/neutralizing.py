"""Whether a restored copy must be neutralised before it becomes live, and whether the rollback is refused. Pure.

Everything that decides it is in :class:`Case`; ``tests/unit/operator/rollback/test_neutralizing.py`` has the table. An
unknown type of the snapshot's environment counts as production.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ocore_crds import conditions as c
from ocore_crds.resources.environment import connection_of
from ocore_crds.resources.neutralize import Neutralize, NeutralizeStatus
from ocore_crds.resources.rollback import PreflightWarning, RollbackSpec
from ocore_operator.kube.resources import Environment, Snapshot
from ocore_operator.rollback.plan_undo import Refusal
from ocore_operator.rollback.snapshot_and_environment import has_foreign_image, taken_of
from ocore_operator.workloads.view import WorkloadView

PRODUCTION = "production"
#: Those of the environment that is rolled back.
Workloads = Sequence[WorkloadView]
_WITHOUT = "or spec.neutralize.command to [] to use the built-in statements for Odoo without the image"


@dataclass(frozen=True)
class Case:
    """What the decision depends on."""

    mode: Literal["Auto", "Always", "Never"]
    source_type: str  # of the environment when the snapshot was taken; empty: unknown
    target_type: str
    is_copy: bool  # the snapshot is of another environment
    neutralized: bool  # the snapshot's database is neutralised
    allowed: bool  # production may run on neutralised data
    has_database: bool
    #: How the target is neutralised; None: nothing can do it.
    method: Literal["Sql", "Image"] | None


@dataclass(frozen=True)
class Decision:
    """What to do, or why not. `unsafe`: a copy of production stays as it is, because the user asked for that."""

    neutralize: bool = False
    own_identity: bool = False
    unsafe: bool = False
    refused: Literal["NeutralizedSnapshot", "NeutralizesProduction", "CannotNeutralize"] | None = None


def decide(case: Case) -> Decision:
    """The decision. The first rule that refuses counts."""
    from_production = case.source_type in (PRODUCTION, "")
    into_production = case.target_type == PRODUCTION
    needed = case.mode == "Always" or (case.mode == "Auto" and from_production and not into_production)
    if into_production and not case.allowed:
        if case.neutralized:
            return Decision(refused="NeutralizedSnapshot")
        if needed:
            return Decision(refused="NeutralizesProduction")
    if needed and (not case.has_database or case.method is None):
        return Decision(refused="CannotNeutralize")
    return Decision(
        neutralize=needed,
        own_identity=case.is_copy and case.has_database,
        unsafe=case.mode == "Never" and from_production and not into_production,
    )


def case_of(spec: RollbackSpec, environment: Environment, snapshot: Snapshot, workloads: Workloads) -> Case:
    """The case of a rollback."""
    return Case(
        mode=spec.neutralize,
        source_type=taken_of(snapshot).environment_type,
        target_type=environment.spec.type,
        is_copy=taken_of(snapshot).environment_id != environment.status.id,
        neutralized=bool(snapshot.status.neutralized),
        allowed=spec.allow_neutralized_production,
        has_database=environment.spec.database is not None,
        method=method_of(environment, snapshot, workloads),
    )


def method_of(environment: Environment, snapshot: Snapshot, workloads: Workloads) -> Literal["Sql", "Image"] | None:
    """Without a command the statements do it. The command needs an administrator, who creates the temporary role that
    it uses."""
    if not _how(environment).runs_command:
        return "Sql"
    return "Image" if image_of(environment, snapshot, workloads) and _has_admin(environment) else None


def _how(environment: Environment) -> Neutralize:
    return environment.spec.neutralize or Neutralize()


def _has_admin(environment: Environment) -> bool:
    database = connection_of(environment.spec, environment.status)
    return database is not None and database.admin_secret_name is not None


def image_of(environment: Environment, snapshot: Snapshot, workloads: Workloads) -> str:
    """The image that neutralises: the Environment's, else the one that the snapshot recorded; empty where neither is
    known, or where only a manifest names it and no workload has one of its repository."""
    recorded = "" if has_foreign_image(snapshot, workloads) else taken_of(snapshot).image
    return _how(environment).image or recorded


def refusal(spec: RollbackSpec, environment: Environment, snapshot: Snapshot, workloads: Workloads) -> Refusal | None:
    """Why the rollback is refused; None where it is not."""
    match decide(case_of(spec, environment, snapshot, workloads)).refused:
        case "NeutralizedSnapshot":
            text = (
                f"Snapshot {snapshot.meta.name} is of neutralised data, and environment {environment.meta.name} is"
                " production: mail, scheduled jobs and payments would be off. Choose another snapshot, or set"
                " allowNeutralizedProduction in a new Rollback."
            )
            return Refusal(c.NEUTRALIZED_SNAPSHOT, text)
        case "NeutralizesProduction":
            text = (
                f"Environment {environment.meta.name} is production, and neutralize: Always would turn off its mail,"
                " scheduled jobs and payments. Leave neutralize out, or set allowNeutralizedProduction in a new"
                " Rollback."
            )
            return Refusal(c.NEUTRALIZES_PRODUCTION, text)
        case "CannotNeutralize":
            return Refusal(c.CANNOT_NEUTRALIZE, _cannot(environment, snapshot, workloads))
        case None:
            return None


def _cannot(environment: Environment, snapshot: Snapshot, workloads: Workloads) -> str:
    if environment.spec.database is None:
        why = (
            "the environment has no database, so nothing can be neutralised. Set neutralize: Never in a new Rollback if"
            " its files may be used as they are"
        )
    elif image_of(environment, snapshot, workloads):
        why = (
            "the command in the application's image needs an administrator of the database. Set"
            f" spec.database.adminSecretRef of the Environment, {_WITHOUT}"
        )
    elif has_foreign_image(snapshot, workloads):
        why = (
            f"it was imported or adopted, and its manifest names image {taken_of(snapshot).image}, which is of no"
            f" repository that the workloads use. Set spec.neutralize.image of the Environment, {_WITHOUT}"
        )
    else:
        why = f"the snapshot recorded no image. Set spec.neutralize.image of the Environment, {_WITHOUT}"
    names = f"Snapshot {snapshot.meta.name} must be neutralised before environment {environment.meta.name}"
    return f"{names} runs on it, but {why}."


def planned(
    spec: RollbackSpec, environment: Environment, snapshot: Snapshot, workloads: Workloads
) -> NeutralizeStatus | None:
    """What the stage Neutralize has to do; None: nothing."""
    case = case_of(spec, environment, snapshot, workloads)
    decision = decide(case)
    if not decision.neutralize and not decision.own_identity:
        return None
    return NeutralizeStatus(
        required=decision.neutralize,
        own_identity=decision.own_identity,
        method=case.method if decision.neutralize else None,
        image=image_of(environment, snapshot, workloads) if decision.neutralize and case.method == "Image" else "",
        scripts=decision.neutralize and _how(environment).sql is not None,
    )


def warnings(
    spec: RollbackSpec, environment: Environment, snapshot: Snapshot, workloads: Workloads
) -> tuple[PreflightWarning, ...]:
    """What blocks nothing, and its users should know."""
    if not decide(case_of(spec, environment, snapshot, workloads)).unsafe:
        return ()
    text = (
        f"Snapshot {snapshot.meta.name} is of a production environment, and {environment.meta.name} is none. It is not"
        " neutralised (neutralize: Never): it can send mail, run scheduled jobs and charge customers."
    )
    return (PreflightWarning(reason=c.NOT_NEUTRALIZED, message=text),)
