"""Whether a restored copy must be neutralised before it becomes live, and whether the rollback is refused. Pure.

Everything that decides it is in :class:`Case`; ``tests/unit/operator/rollback/test_neutralizing.py`` has the table. An
unknown type of the snapshot's environment counts as production.
"""

from dataclasses import dataclass
from typing import Literal

from ocore_crds import conditions as c
from ocore_crds.resources.neutralize import NeutralizeStatus
from ocore_crds.resources.rollback import PreflightWarning, RollbackSpec
from ocore_operator.rollback.plan_undo import Refusal
from ocore_operator.rollback.world import EnvironmentView, SnapshotView

PRODUCTION = "production"
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


def case_of(spec: RollbackSpec, environment: EnvironmentView, snapshot: SnapshotView) -> Case:
    """The case of a rollback."""
    return Case(
        mode=spec.neutralize,
        source_type=snapshot.environment_type,
        target_type=environment.type,
        is_copy=snapshot.environment_id != environment.id,
        neutralized=snapshot.neutralized,
        allowed=spec.allow_neutralized_production,
        has_database=environment.has_database,
        method=method_of(environment, snapshot),
    )


def method_of(environment: EnvironmentView, snapshot: SnapshotView) -> Literal["Sql", "Image"] | None:
    """Without a command the statements do it. The command needs an administrator, who creates the temporary role that
    it uses."""
    if not environment.neutralize_command:
        return "Sql"
    return "Image" if image_of(environment, snapshot) and environment.has_admin else None


def image_of(environment: EnvironmentView, snapshot: SnapshotView) -> str:
    """The image that neutralises: the Environment's, else the one that the snapshot recorded; empty where neither is
    known, or where only a manifest names it and no workload has one of its repository."""
    return environment.neutralize_image or ("" if snapshot.foreign_image else snapshot.image)


def refusal(spec: RollbackSpec, environment: EnvironmentView, snapshot: SnapshotView) -> Refusal | None:
    """Why the rollback is refused; None where it is not."""
    match decide(case_of(spec, environment, snapshot)).refused:
        case "NeutralizedSnapshot":
            text = (
                f"Snapshot {snapshot.name} is of neutralised data, and environment {environment.name} is production:"
                " mail, scheduled jobs and payments would be off. Choose another snapshot, or set"
                " allowNeutralizedProduction in a new Rollback."
            )
            return Refusal(c.NEUTRALIZED_SNAPSHOT, text)
        case "NeutralizesProduction":
            text = (
                f"Environment {environment.name} is production, and neutralize: Always would turn off its mail,"
                " scheduled jobs and payments. Leave neutralize out, or set allowNeutralizedProduction in a new"
                " Rollback."
            )
            return Refusal(c.NEUTRALIZES_PRODUCTION, text)
        case "CannotNeutralize":
            return Refusal(c.CANNOT_NEUTRALIZE, _cannot(environment, snapshot))
        case None:
            return None


def _cannot(environment: EnvironmentView, snapshot: SnapshotView) -> str:
    if not environment.has_database:
        why = (
            "the environment has no database, so nothing can be neutralised. Set neutralize: Never in a new Rollback if"
            " its files may be used as they are"
        )
    elif image_of(environment, snapshot):
        why = (
            "the command in the application's image needs an administrator of the database. Set"
            f" spec.database.adminSecretRef of the Environment, {_WITHOUT}"
        )
    elif snapshot.foreign_image:
        why = (
            f"it was imported or adopted, and its manifest names image {snapshot.image}, which is of no repository that"
            f" the workloads use. Set spec.neutralize.image of the Environment, {_WITHOUT}"
        )
    else:
        why = f"the snapshot recorded no image. Set spec.neutralize.image of the Environment, {_WITHOUT}"
    return f"Snapshot {snapshot.name} must be neutralised before environment {environment.name} runs on it, but {why}."


def planned(spec: RollbackSpec, environment: EnvironmentView, snapshot: SnapshotView) -> NeutralizeStatus | None:
    """What the stage Neutralize has to do; None: nothing."""
    case = case_of(spec, environment, snapshot)
    decision = decide(case)
    if not decision.neutralize and not decision.own_identity:
        return None
    return NeutralizeStatus(
        required=decision.neutralize,
        own_identity=decision.own_identity,
        method=case.method if decision.neutralize else None,
        image=image_of(environment, snapshot) if decision.neutralize and case.method == "Image" else "",
        scripts=decision.neutralize and environment.neutralize_sql,
    )


def warnings(spec: RollbackSpec, environment: EnvironmentView, snapshot: SnapshotView) -> tuple[PreflightWarning, ...]:
    """What blocks nothing, and its users should know."""
    if not decide(case_of(spec, environment, snapshot)).unsafe:
        return ()
    text = (
        f"Snapshot {snapshot.name} is of a production environment, and {environment.name} is none. It is not"
        " neutralised (neutralize: Never): it can send mail, run scheduled jobs and charge customers."
    )
    return (PreflightWarning(reason=c.NOT_NEUTRALIZED, message=text),)
