"""Whether a copy is neutralised, whether the rollback is refused, and that nothing is switched without the proof."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ocore_crds import conditions as c
from ocore_crds.protocol import Failure, NeutralizeResult
from ocore_crds.resources.neutralize import Neutralize
from ocore_crds.resources.rollback import RollbackStatus
from ocore_crds.rules import evidence as recovery
from ocore_operator.frame.actions import Record
from ocore_operator.rollback import neutralizing, plan
from ocore_operator.rollback import world as v
from ocore_operator.rollback.conditions import summarized
from ocore_operator.rollback.neutralizing import Case, Decision, decide
from support.operator import rollback_seen
from support.operator.rollback_changed import decided, environment, snapshot
from support.operator.rollback_machine import Operator
from support.operator.rollback_model import ROLLBACK_ID, Model
from support.operator.rollback_seen import altered_environment, altered_snapshot

ORDINARY = Case(
    mode="Auto",
    source_type="production",
    target_type="production",
    is_copy=False,
    neutralized=False,
    allowed=False,
    has_database=True,
    method="Sql",
)
NEUTRALISED = Decision(neutralize=True)
COPY = Decision(neutralize=True, own_identity=True)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        # In place: the data of an environment into itself.
        ({}, Decision()),
        ({"source_type": "staging", "target_type": "staging"}, Decision()),
        # It was production when the snapshot was taken.
        ({"target_type": "staging"}, NEUTRALISED),
        ({"target_type": "development"}, NEUTRALISED),
        # Nothing is known of the snapshot's environment: it counts as production.
        ({"source_type": "", "target_type": "staging"}, NEUTRALISED),
        ({"source_type": "", "target_type": "production"}, Decision()),
        # Copies.
        ({"target_type": "staging", "is_copy": True}, COPY),
        ({"source_type": "staging", "target_type": "development", "is_copy": True}, Decision(own_identity=True)),
        ({"is_copy": True}, Decision(own_identity=True)),
        ({"source_type": "staging", "is_copy": True}, Decision(own_identity=True)),
        # A snapshot of production that is neutralised already: it is done again, and asserted.
        ({"target_type": "staging", "is_copy": True, "neutralized": True}, COPY),
        # Always and Never.
        ({"mode": "Always", "source_type": "staging", "target_type": "staging"}, NEUTRALISED),
        ({"mode": "Always", "source_type": "staging", "target_type": "staging", "is_copy": True}, COPY),
        ({"mode": "Never", "target_type": "staging", "is_copy": True}, Decision(own_identity=True, unsafe=True)),
        ({"mode": "Never", "target_type": "staging"}, Decision(unsafe=True)),
        ({"mode": "Never", "source_type": "staging", "target_type": "staging"}, Decision()),
        ({"mode": "Never"}, Decision()),
        # Into production.
        ({"neutralized": True}, Decision(refused="NeutralizedSnapshot")),
        ({"neutralized": True, "mode": "Never"}, Decision(refused="NeutralizedSnapshot")),
        ({"neutralized": True, "source_type": "staging", "is_copy": True}, Decision(refused="NeutralizedSnapshot")),
        ({"neutralized": True, "mode": "Always"}, Decision(refused="NeutralizedSnapshot")),
        ({"neutralized": True, "allowed": True}, Decision()),
        ({"neutralized": True, "source_type": "staging", "target_type": "staging"}, Decision()),
        ({"mode": "Always"}, Decision(refused="NeutralizesProduction")),
        ({"mode": "Always", "allowed": True}, NEUTRALISED),
        # Nothing can do it.
        ({"target_type": "staging", "method": None}, Decision(refused="CannotNeutralize")),
        ({"target_type": "staging", "method": None, "mode": "Never"}, Decision(unsafe=True)),
        ({"target_type": "staging", "has_database": False}, Decision(refused="CannotNeutralize")),
        ({"target_type": "staging", "has_database": False, "mode": "Never", "is_copy": True}, Decision(unsafe=True)),
        ({"method": None, "is_copy": True}, Decision(own_identity=True)),
        ({"has_database": False, "is_copy": True}, Decision()),
    ],
)
def test_decided(changes: dict[str, Any], expected: Decision) -> None:
    assert decide(replace(ORDINARY, **changes)) == expected


def test_no_copy_of_production_gets_through() -> None:
    """Over all cases: from production (or unknown) into another type it is neutralised, refused, or the user said
    Never."""
    types = ("production", "staging", "development")
    for mode, source, target, copy, done, allowed, base, method in itertools.product(
        ("Auto", "Always", "Never"),
        (*types, ""),
        types,
        (True, False),
        (True, False),
        (True, False),
        (True, False),
        ("Sql", "Image", None),
    ):
        found = decide(Case(mode, source, target, copy, done, allowed, base, method))  # type: ignore[arg-type]
        if source in ("production", "") and target != "production":
            assert found.neutralize or found.refused or mode == "Never"
            assert found.unsafe == (mode == "Never" and not found.refused)
        if target == "production" and not allowed:
            assert not found.neutralize
            assert found.refused or not done
        if found.neutralize:
            assert base
            assert method is not None
        assert found.own_identity <= (copy and base)


@pytest.mark.parametrize(
    ("change", "spec", "reason", "says"),
    [
        (snapshot(neutralized=True), {}, c.NEUTRALIZED_SNAPSHOT, "allowNeutralizedProduction"),
        (environment(), {"neutralize": "Always"}, c.NEUTRALIZES_PRODUCTION, "allowNeutralizedProduction"),
        (
            environment(type="staging", neutralize_command=True),
            {},
            c.CANNOT_NEUTRALIZE,
            "recorded no image. Set spec.neutralize.image of the Environment, or spec.neutralize.command to []",
        ),
        (
            environment(type="staging", neutralize_command=True, neutralize_image="registry/shop:1"),
            {},
            c.CANNOT_NEUTRALIZE,
            "adminSecretRef",
        ),
        (environment(type="staging", has_database=False), {}, c.CANNOT_NEUTRALIZE, "no database"),
    ],
)
def test_refused_in_the_preflight(
    change: Callable[[v.World], v.World], spec: dict[str, object], reason: str, says: str
) -> None:
    _, status = decided(change, **spec)
    assert (status.phase, status.failure_reason) == ("Failed", reason)
    assert says in (status.failure_message or "")
    assert (status.residue, status.started_at) == ("None", None)


@pytest.mark.parametrize(
    ("change", "spec", "expected"),
    [
        (environment(), {}, None),
        (environment(type="staging"), {}, ("Sql", "", True, True)),
        (environment(type="staging", neutralize_sql=False), {}, ("Sql", "", True, False)),
        (
            environment(
                type="staging",
                neutralize_command=True,
                neutralize_sql=False,
                has_admin=True,
                neutralize_image="registry/shop:1",
            ),
            {},
            ("Image", "registry/shop:1", True, False),
        ),
        (
            environment(type="staging", neutralize_command=True, has_admin=True, neutralize_image="registry/shop:1"),
            {},
            ("Image", "registry/shop:1", True, True),
        ),
        (environment(), {"neutralize": "Always", "allowNeutralizedProduction": True}, ("Sql", "", True, True)),
    ],
)
def test_frozen_at_the_start(
    change: Callable[[v.World], v.World], spec: dict[str, object], expected: tuple[str, str, bool, bool] | None
) -> None:
    _, status = decided(change, **spec)
    found = status.neutralize
    assert status.stage == "Restore"
    assert (None if found is None else (found.method, found.image, found.required, found.scripts)) == expected
    state = next(s.state for s in status.steps if s.name == "Neutralize")
    assert state == ("Skipped" if expected is None else "Pending")


def test_the_image_that_the_snapshot_recorded() -> None:
    def change(world: v.World) -> v.World:
        return snapshot(image="registry/shop:old")(
            environment(type="staging", neutralize_command=True, neutralize_sql=False, has_admin=True)(world)
        )

    _, status = decided(change)
    assert status.neutralize is not None
    assert status.neutralize.image == "registry/shop:old"


def test_a_copy_that_stays_as_it_is_is_reported() -> None:
    action, status = decided(environment(type="staging"), neutralize="Never")
    assert status.neutralize is None
    assert [w.reason for w in status.warnings] == [c.NOT_NEUTRALIZED]
    assert isinstance(action, Record)
    assert any(n.reason == c.NOT_NEUTRALIZED and n.type == "Warning" for n in action.notes)


def at_neutralize() -> tuple[Model, Operator]:
    """A rollback whose copy is restored, before its neutralize Job exists."""
    model = Model(neutralize=True)
    operator = Operator(model)
    for _ in range(100):
        if model.status.stage == "Neutralize":
            return model, operator
        if not operator.act(*operator.decide()):
            model.advance(1, 1)
    raise AssertionError(model.status.stage)


def test_a_safety_snapshot_that_is_not_complete_skips_nothing() -> None:
    """It is waited for after the copy is neutralised, not instead."""
    model = Model(neutralize=True, safety=True)
    operator = Operator(model)
    seen: list[str] = []
    for _ in range(400):
        if model.status.stage == "Stop":
            break
        if model.status.stage and model.status.stage not in seen:
            seen.append(model.status.stage)
        if not operator.act(*operator.decide()):
            model.advance(1, 1)
    assert [s for s in seen if s not in ("Preflight", "Await")] == ["Restore", "Neutralize", "Prepare"]


def ended(model: Model, **job: Any) -> tuple[v.Action, RollbackStatus]:
    """What is decided when its Job has ended so."""
    seen = model.see(model.time)
    view = v.JobView(
        kind="neutralize", attempt=model.status.neutralize_attempt, name="n", ended=True, closed=True, **job
    )
    world = replace(seen.world, jobs=(*seen.world.jobs, view))
    action = plan.decide(model.status, model.spec, world, ROLLBACK_ID, model.now())
    return action, action.status if isinstance(action, Record) else model.status


def test_every_stage_of_one_that_works() -> None:
    model, operator = at_neutralize()
    for _ in range(200):
        if model.status.stage == "Ended":
            break
        if not operator.act(*operator.decide()):
            model.advance(1, 1)
    status = model.status
    assert (status.phase, model.data.live, model.data.neutralized) == ("Complete", "new", True)
    assert status.neutralize is not None
    assert status.neutralize.proven_at is not None
    assert status.evidence is not None
    source, *proven = status.evidence.proven
    assert source.startswith("source: ")
    assert proven == ["attachments: all files", "neutralised: all is off"]
    shown = summarized(status, generation=1, deleting=False, reason="", message="", now=model.now())
    found = recovery.of_rollback(model.spec, shown)
    assert "Neutralize" in found.required_steps
    assert found.can_write_clean_success
    assert any("neutralised and asserted" in line for line in found.why_green)


@pytest.mark.parametrize(
    "reason", [c.ASSERTION_FAILED, c.NEUTRALIZE_FAILED, c.ISOLATION_UNPROVEN, c.CANNOT_NEUTRALIZE, c.SWITCH_FAILED]
)
def test_a_failure_leaves_the_target_as_it_was(reason: str) -> None:
    model, _ = at_neutralize()
    _, status = ended(model, failure=Failure(reason=reason, message="mail of production is active"))
    assert (status.stage, status.failure_reason, status.position) == ("Abort", reason, "Old")
    assert next(s.state for s in status.steps if s.name == "Neutralize") == "Failed"
    assert not status.workloads


def test_a_failure_that_may_pass_is_tried_again() -> None:
    model, _ = at_neutralize()
    failure = Failure(reason=c.DATABASE_UNREACHABLE, message="no answer", retryable=True)
    _, status = ended(model, failure=failure)
    assert (status.stage, status.neutralize_attempt) == ("Neutralize", 2)


def test_its_pod_does_not_delay_the_start_of_the_workloads() -> None:
    """It mounts no claim, and its second container may outlive a mover that was killed."""
    lingering = v.JobView(kind="neutralize", attempt=1, name="n", ended=True, mounts=1)
    assert not lingering.holds
    assert replace(lingering, kind="restore").holds


def test_a_result_that_proves_too_little() -> None:
    """Of an older mover image, or one that was asked for the identity only."""
    model, _ = at_neutralize()
    _, status = ended(model, payload=NeutralizeResult(neutralized=False))
    assert (status.stage, status.failure_reason) == ("Abort", c.NOT_NEUTRALIZED)


def test_a_deletion_aborts_it() -> None:
    model, _ = at_neutralize()
    world = replace(model.see(model.time).world, deleting=True)
    action = plan.decide(model.status, model.spec, world, ROLLBACK_ID, model.now())
    assert isinstance(action, Record)
    assert (action.status.stage, action.status.failure_reason) == ("Abort", c.CANCELLED)


@pytest.mark.parametrize("change", [{"proven_at": None}, None])
def test_no_clean_success_without_the_proof(change: dict[str, Any] | None) -> None:
    """Neutralising that was demanded, and of which nothing is recorded."""
    model, operator = at_neutralize()
    for _ in range(200):
        if model.status.stage == "Ended":
            break
        if not operator.act(*operator.decide()):
            model.advance(1, 1)
    known = model.status.neutralize
    assert known is not None
    plan_ = known.model_copy(update=change) if change is not None else None
    spec = model.spec.model_copy(update={"neutralize": "Always"})
    found = recovery.of_rollback(spec, model.status.model_copy(update={"neutralize": plan_}))
    assert not found.can_write_clean_success
    assert found.missing_evidence


def test_what_an_environment_says_is_read() -> None:
    plain, with_image = rollback_seen.environment(), altered_snapshot(SNAPSHOT, image="shop:1")
    assert neutralizing.method_of(plain, SNAPSHOT, ()) is None
    admin = rollback_seen.environment(has_admin=True)
    assert neutralizing.method_of(admin, with_image, ()) == "Image"
    assert neutralizing.method_of(plain, with_image, ()) is None
    scripts = altered_environment(admin, neutralize_command=False)
    assert neutralizing.method_of(scripts, with_image, ()) == "Sql"


@pytest.mark.parametrize(
    ("spec", "runs"),
    [
        ({}, True),
        ({"command": ["odoo", "neutralize"]}, True),
        ({"sql": {"configMapRef": {"name": "a"}}}, False),
        ({"sql": {"configMapRef": {"name": "a"}}, "command": ["odoo", "neutralize"]}, True),
        ({"sql": {"configMapRef": {"name": "a"}}, "image": "shop:1"}, True),
        ({"command": []}, False),
        ({"command": [], "image": "shop:1"}, False),
    ],
)
def test_row_63_scripts_follow_a_command_that_is_asked_for(spec: dict[str, object], runs: bool) -> None:
    """They do not replace it. Without `sql` the command is the default."""
    assert Neutralize.model_validate(spec).runs_command is runs


SNAPSHOT = rollback_seen.snapshot()


def test_row_80_a_manifest_does_not_choose_what_neutralises() -> None:
    environment = rollback_seen.environment(has_admin=True)
    foreign = altered_snapshot(SNAPSHOT, image="evil/shop:1", foreign_image=True)
    assert neutralizing.image_of(environment, altered_snapshot(foreign, foreign_image=False), ()) == "evil/shop:1"
    assert neutralizing.image_of(environment, foreign, ()) == ""
    assert neutralizing.method_of(environment, foreign, ()) is None
    assert neutralizing.image_of(altered_environment(environment, neutralize_image="mine"), foreign, ()) == "mine"
