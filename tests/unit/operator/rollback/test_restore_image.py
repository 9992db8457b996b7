"""restoreImage: what is refused and warned of, what is saved before it is changed, what is put back. The machine covers
crashes."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from ocore_crds import conditions as c
from ocore_crds.protocol import Step
from ocore_crds.resources.rollback import ImageStatus, RollbackSpec, RollbackStatus, UndoStatus
from ocore_crds.resources.snapshot import SavedContainer, SavedImage, SavedWorkload
from ocore_crds.resources.workloads import Target
from ocore_kube.errors import Conflict, Forbidden
from ocore_kube.types import DEPLOYMENTS
from ocore_operator.errors import Stalled
from ocore_operator.frame.actions import Record, Wait
from ocore_operator.kube.resources import Snapshot
from ocore_operator.rollback import effects, plan, plan_image, plan_switch
from ocore_operator.rollback.memory import Memory
from ocore_operator.rollback.plan_image import IMAGE_SECONDS
from ocore_operator.rollback.snapshot_and_environment import has_foreign_image, taken_of
from ocore_operator.rollback.transitions import begin, change, enter, stamp, state_of, step
from ocore_operator.rollback.world import Action, Do, JobView, OperationLock, SetImages, StartJob, World
from ocore_operator.workloads import scale
from ocore_operator.workloads.quiesce import SetReplicas
from ocore_operator.workloads.view import Commit, ContainerView, WorkloadView
from support.operator import objects, rollback_seen
from support.operator.api import ApiServer
from support.operator.rollback_model import DIGEST, ENVIRONMENT_ID, PROJECT_ID, RECORDED, RUNNING, START
from support.operator.rollback_objects import TARGET, time_at
from support.operator.rollback_seen import altered_snapshot

UID = "0a1b2c3d-0000-4000-8000-000000000001"
SNAPSHOT = rollback_seen.snapshot(
    id="id",
    environment_id=ENVIRONMENT_ID,
    image="registry/shop:1",
    image_digest=DIGEST,
    commit="c1",
)
IMAGE = ImageStatus(mode="Always", reference=RECORDED, commit_sha="c1")


def spec(mode: str) -> RollbackSpec:
    return RollbackSpec.model_validate({"snapshotRef": {"name": "s1"}, "restoreImage": mode})


def workload(
    name: str = "web", image: str = RUNNING, *, replicas: int = 0, owner: str = "", commit: str | None = "c2"
) -> WorkloadView:
    return WorkloadView(
        "Deployment",
        name,
        replicas=replicas,
        ready_replicas=replicas,
        image=image,
        containers=(
            ContainerView("shop", init=False, image=image, owner=owner),
            ContainerView("proxy", init=False, image="registry/proxy:7"),
            ContainerView("migrate", init=True, image=image),
        ),
        commits=Commit("ocore.dev/commit-sha", commit, None),
    )


def saved(name: str = "web", image: str = RUNNING, commit: str | None = "c2") -> SavedWorkload:
    containers = (SavedContainer(name="shop", image=image), SavedContainer(name="migrate", init=True, image=image))
    return SavedWorkload(
        kind="Deployment", name=name, replicas=2, image=SavedImage(containers=containers, template_commit=commit)
    )


def world(*workloads: WorkloadView, **changes: Any) -> World:
    environment = rollback_seen.environment(target=TARGET)
    lock = OperationLock("Ours", "Rollback r1", START)
    full = World(
        created=START, environment=environment, snapshot=SNAPSHOT, finalizer=True, lock=lock, workloads=workloads
    )
    return replace(full, environment_name="shop", **changes)


def status(stage: Any, mode: Any = "Always", **changes: Any) -> RollbackStatus:
    found = begin(RollbackStatus(), spec(mode), UID, START)
    fresh = enter(found, stage, START, environment_id=ENVIRONMENT_ID, target=TARGET, deadline=stamp(time_at(900)))
    image = IMAGE.model_copy(update={"mode": mode})
    return change(fresh, **{"position": "Old", "residue": "Pending", "switch_attempt": 1, "image": image, **changes})


def decide(found: RollbackStatus, seen: World, seconds: float = 1, mode: str = "Always") -> Action:
    return plan.decide(found, spec(mode), seen, UID, time_at(seconds))


def recorded(action: Action) -> RollbackStatus:
    assert isinstance(action, Record)
    return action.status


# --- the preflight ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "snapshot", "seen", "reason"),
    [
        ("Always", SNAPSHOT, world(workload()), None),
        ("WaitForGit", SNAPSHOT, world(workload()), None),
        ("Always", altered_snapshot(SNAPSHOT, image=""), world(workload()), c.IMAGE_UNKNOWN),
        ("WaitForGit", altered_snapshot(SNAPSHOT, image=""), world(workload()), c.IMAGE_UNKNOWN),
        ("Always", SNAPSHOT, world(), c.IMAGE_UNKNOWN),
        ("Always", SNAPSHOT, world(workload(), may_restore_image=False), c.RESTORE_IMAGE_DISABLED),
        ("WaitForGit", SNAPSHOT, world(workload(), may_restore_image=False), None),
        ("Always", altered_snapshot(SNAPSHOT, environment_id="other"), world(workload()), c.OTHER_ENVIRONMENT),
        ("WaitForGit", altered_snapshot(SNAPSHOT, environment_id="other"), world(workload()), c.OTHER_ENVIRONMENT),
        ("Always", altered_snapshot(SNAPSHOT, environment_id=""), world(workload()), c.OTHER_ENVIRONMENT),
        ("Always", SNAPSHOT, world(workload(), environment=None), None),  # the preflight reports that
        ("Never", altered_snapshot(SNAPSHOT, environment_id="other", image=""), world(may_restore_image=False), None),
    ],
)
def test_what_is_refused(mode: str, snapshot: Snapshot, seen: World, reason: str | None) -> None:
    found = plan_image.refusal(spec(mode), snapshot, seen)
    assert (found.reason if found is not None else None) == reason


@pytest.mark.parametrize(
    ("now", "listed", "allowed"),
    [
        ("registry/shop:2", (), True),
        ("other/shop:2", (), False),
        ("other/shop:2", ("registry/",), False),  # it could not be put back
        ("other/shop:2", ("other/",), False),
        ("other/shop:2", ("registry/", "other/"), True),
        ("other/shop:2", ("*",), True),
    ],
)
def test_row_83_an_image_that_admission_would_refuse_is_refused_before_anything_stops(
    now: str, listed: tuple[str, ...], allowed: bool
) -> None:
    seen = world(workload(image=now), listed_images=listed)
    found = plan_image.refusal(spec("Always"), SNAPSHOT, seen)
    assert (found.reason if found is not None else None) == (None if allowed else c.IMAGE_NOT_ALLOWED)
    assert plan_image.refusal(spec("WaitForGit"), SNAPSHOT, seen) is None


@pytest.mark.parametrize("mode", ["Always", "WaitForGit"])
def test_a_paused_deployment_would_not_run_the_image(mode: str) -> None:
    paused = replace(workload(), paused=True)
    found = plan_image.refusal(spec(mode), SNAPSHOT, world(paused))
    assert found is not None
    assert found.reason == c.WORKLOAD_PAUSED
    assert f"kubectl rollout resume deployment/{paused.name}" in found.message
    assert plan_image.refusal(spec("Never"), SNAPSHOT, world(paused)) is None
    assert plan_image.refusal(spec(mode), SNAPSHOT, world(workload())) is None


def test_the_image_of_other_kinds_is_left_to_people() -> None:
    nightly = WorkloadView("CronJob", "nightly", api_version="batch/v1")
    texts = [w.message for w in plan_image.warnings(IMAGE, world(workload(), nightly))]
    assert texts == ["The image of CronJob nightly is not read and not changed. Deploy the one that fits the snapshot."]


def test_the_image_is_frozen_by_its_digest() -> None:
    assert plan_image.wanted(spec("Always"), SNAPSHOT) == IMAGE
    assert plan_image.wanted(spec("WaitForGit"), SNAPSHOT) == IMAGE.model_copy(update={"mode": "WaitForGit"})
    assert plan_image.wanted(spec("Never"), SNAPSHOT) is None
    unknown = plan_image.wanted(spec("Always"), altered_snapshot(SNAPSHOT, image_digest=""))
    assert unknown is not None
    assert unknown.reference == "registry/shop:1"


@pytest.mark.parametrize(
    ("mode", "seen", "reasons", "says"),
    [
        ("Always", world(workload()), [], ""),
        (
            "Always",
            world(workload(owner="Flux")),
            [c.IMAGE_OWNED],
            "Flux owns the image of Deployment web, container shop. The rollback does not",
        ),
        ("WaitForGit", world(workload()), [c.WAITING_FOR_IMAGE], "container shop (has registry/shop:2)"),
        ("WaitForGit", world(workload(image=RECORDED)), [], ""),
        ("WaitForGit", world(workload(image="registry/shop:1")), [], ""),
        ("WaitForGit", world(workload(image=RECORDED, owner="Flux")), [], ""),  # the tool sets it
    ],
)
def test_what_is_warned_of(mode: Any, seen: World, reasons: list[str], says: str) -> None:
    found = plan_image.warnings(IMAGE.model_copy(update={"mode": mode}), seen)
    assert [w.reason for w in found] == reasons
    text = " ".join(w.message for w in found)
    assert says in text
    # What to change in Git: the image by its digest, and the commit.
    assert not reasons or (f"set image {RECORDED}" in text and "annotation ocore.dev/commit-sha to c1" in text)


def test_without_restore_image_nothing_is_warned_of() -> None:
    assert plan_image.warnings(None, world(workload(owner="Flux"))) == ()


@pytest.mark.parametrize(
    ("commit", "annotation", "says"),
    [
        ("c1", "sha", f"image {RECORDED} for Deployment web, and the annotation sha to c1"),
        ("c1", "", f"image {RECORDED} for Deployment web"),
        (None, "sha", f"image {RECORDED} for Deployment web"),
    ],
)
def test_git_gets_the_commit_where_both_the_snapshot_and_the_workload_have_one(
    commit: str | None, annotation: str, says: str
) -> None:
    seen = replace(workload(image=RECORDED), commits=Commit(annotation, None, None))
    assert plan_image.in_git(IMAGE.model_copy(update={"commit_sha": commit}), world(seen)) == says


def test_an_image_without_a_digest_is_warned_of() -> None:
    unknown = IMAGE.model_copy(update={"reference": "registry/shop:1"})
    assert "no digest" in plan_image.warnings(unknown, world(workload()))[0].message


def test_the_digest_of_the_snapshot_is_observed() -> None:
    source = {"environmentId": "e", "environmentName": "shop", "environmentType": "production", "projectId": "p"}
    found = objects.snapshot(status={"source": {**source, "image": "shop:1", "imageDigest": DIGEST}})
    assert taken_of(found).image_digest == DIGEST


# --- WaitForGit ------------------------------------------------------------------------------------------------------


def test_it_waits_before_anything_is_stopped() -> None:
    entered = recorded(decide(status("Prepare", "WaitForGit"), world(workload(replicas=2)), mode="WaitForGit"))
    assert entered.stage == "Await"
    waiting = decide(entered, world(workload(replicas=2)), mode="WaitForGit")
    assert isinstance(waiting, Wait)
    assert waiting.reason == c.WAITING_FOR_IMAGE
    assert f"In Git, set image {RECORDED} for Deployment web, container shop (has registry/shop:2)" in waiting.message
    one = decide(entered, world(workload(image=RECORDED), workload("worker")), mode="WaitForGit")
    assert isinstance(one, Wait)
    assert "worker" in one.message
    found = recorded(decide(entered, world(workload(image=RECORDED)), mode="WaitForGit"))
    assert state_of(found, Step.RESTORE_IMAGE) == "Done"
    assert recorded(decide(found, world(workload(image=RECORDED)), mode="WaitForGit")).stage == "Prepare"
    ready = change(found, stage="Prepare")
    assert decide(ready, world(workload(image=RECORDED)), mode="WaitForGit") == Do(StartJob("switch", 1))


def test_a_workload_that_does_not_exist_does_not_have_the_image() -> None:
    gone = WorkloadView("Deployment", "web", exists=False)
    assert isinstance(decide(status("Await", "WaitForGit"), world(gone), mode="WaitForGit"), Wait)
    assert isinstance(decide(status("Await", "WaitForGit"), world(), mode="WaitForGit"), Wait)


def test_it_waits_for_a_workload_that_does_not_exist_beside_one_that_has_the_image() -> None:
    seen = world(workload(image=RECORDED), WorkloadView("Deployment", "worker", exists=False))
    waiting = decide(status("Await", "WaitForGit"), seen, mode="WaitForGit")
    assert isinstance(waiting, Wait)
    assert waiting.message.startswith("Deployment worker does not exist")


def test_at_the_deadline_it_says_what_to_change_in_git() -> None:
    ended = recorded(decide(status("Await", "WaitForGit"), world(workload()), 900, mode="WaitForGit"))
    assert (ended.stage, ended.failure_reason) == ("Abort", c.DEADLINE_EXCEEDED)
    assert f"In Git, set image {RECORDED}" in (ended.failure_message or "")


def test_it_sets_nothing_itself() -> None:
    found = change(
        status("Resume", "WaitForGit"),
        position="New",
        switched_at=stamp(START),
        workloads=(SavedWorkload(kind="Deployment", name="web", replicas=2),),
    )
    assert isinstance(decide(found, world(workload()), mode="WaitForGit"), Do)
    assert plan_image.changes(found, world(workload())) == ()
    assert plan_image.with_images(status("Prepare", "WaitForGit"), (workload(),))[0].image is None


# --- saved before it is changed --------------------------------------------------------------------------------------


def stopping(found: RollbackStatus, *workloads: WorkloadView) -> RollbackStatus:
    """The status with which the quiesce begins."""
    seen = world(*workloads, jobs=(JobView("switch", 1, "switch-1", pods=1, ready=True),))
    announced = change(found, workloads=tuple(SavedWorkload(kind=w.kind, name=w.name, replicas=2) for w in workloads))
    return recorded(decide(announced, seen))


def test_the_images_are_saved_before_the_first_workload_is_scaled() -> None:
    fresh = stopping(status("Prepare"), workload(replicas=2), workload("worker", "registry/shop:3", replicas=2))
    assert fresh.stage == "Stop"
    assert fresh.workloads == (saved(), saved("worker", "registry/shop:3"))


def test_one_application_never_runs_with_two_images() -> None:
    """A tool owns one of them: none is changed."""
    fresh = stopping(status("Prepare"), workload(replicas=2), workload("worker", replicas=2, owner="Argo CD"))
    assert [w.image for w in fresh.workloads] == [None, None]


def test_the_image_of_another_container_may_belong_to_a_tool() -> None:
    """A GitOps tool or an injector sets the proxy; the rollback does not touch it."""
    web = workload(replicas=2)
    shop, proxy, migrate = web.containers
    fresh = stopping(status("Prepare"), replace(web, containers=(shop, replace(proxy, owner="Flux"), migrate)))
    assert fresh.workloads == (saved(),)


def test_without_restore_image_no_image_is_saved() -> None:
    fresh = stopping(status("Prepare", image=None), workload(replicas=2))
    assert [w.image for w in fresh.workloads] == [None]


def resuming(**changes: Any) -> RollbackStatus:
    full = {"position": "New", "switched_at": stamp(START), "workloads": (saved(),), **changes}
    return status("Resume", **full)


def test_the_image_is_set_before_the_workloads_start() -> None:
    action = decide(resuming(), world(workload()))
    assert isinstance(action, Do)
    assert isinstance(action.effect, SetImages)
    ((view, wanted),) = action.effect.changes
    assert view.name == "web"
    assert {(x.name, x.image) for x in wanted.containers} == {("shop", RECORDED), ("migrate", RECORDED)}
    assert wanted.commits == Commit("ocore.dev/commit-sha", "c1", None)
    done = recorded(decide(resuming(), world(workload(image=RECORDED, commit="c1"))))
    assert state_of(done, Step.RESTORE_IMAGE) == "Done"
    scaled = decide(done, world(workload(image=RECORDED, commit="c1")))
    assert isinstance(scaled, Do)
    assert isinstance(scaled.effect, SetReplicas)


def test_what_was_deployed_in_between_is_recorded_before_it_is_replaced() -> None:
    """A switch back and an undo put back what was there, not what was there before."""
    again = recorded(decide(resuming(), world(workload(image="registry/shop:3", commit="c3"))))
    assert again.workloads == (saved(image="registry/shop:3", commit="c3"),)
    assert isinstance(decide(again, world(workload(image="registry/shop:3", commit="c3"))), Do)


def test_what_was_deployed_into_one_of_two_workloads_is_recorded_whatever_their_order() -> None:
    deployed = workload("worker", image="registry/shop:3", commit="c3")
    fresh = saved("worker", "registry/shop:3", "c3")
    before = (saved(), saved("worker"))
    for seen in (world(workload(), deployed), world(workload(image=RECORDED, commit="c1"), deployed)):
        again = recorded(decide(resuming(workloads=before), seen))
        assert again.workloads == (saved(), fresh)
        again = recorded(decide(resuming(workloads=before[::-1]), replace(seen, workloads=seen.workloads[::-1])))
        assert again.workloads == (fresh, saved())


def test_a_workload_that_is_gone_gets_no_image() -> None:
    assert plan_image.changes(resuming(), world(WorkloadView("Deployment", "web", exists=False))) == ()
    assert plan_image.changes(resuming(), world()) == ()


def test_where_another_client_has_changed_it_the_step_is_left_out_and_says_so() -> None:
    found = resuming(workloads=(SavedWorkload(kind="Deployment", name="web", replicas=2),))
    done = recorded(decide(found, world(workload())))
    assert state_of(done, Step.RESTORE_IMAGE) == "Skipped"
    (message,) = [s.message for s in done.steps if s.name == Step.RESTORE_IMAGE]
    assert "(has registry/shop:2). another client has changed it. In Git" in message


def test_without_restore_image_the_workloads_start_at_once() -> None:
    action = decide(
        resuming(image=None, workloads=(SavedWorkload(kind="Deployment", name="web", replicas=2),)), world(workload())
    )
    assert isinstance(action, Do)
    assert isinstance(action.effect, SetReplicas)


def test_where_a_tool_owns_the_image_the_step_is_left_out_and_says_what_to_do() -> None:
    found = resuming(workloads=(SavedWorkload(kind="Deployment", name="web", replicas=2),))
    done = recorded(decide(found, world(workload(owner="Flux"))))
    assert state_of(done, Step.RESTORE_IMAGE) == "Skipped"
    (message,) = [s.message for s in done.steps if s.name == Step.RESTORE_IMAGE]
    assert "Flux owns the image" in message
    assert f"In Git, set image {RECORDED}" in message


# --- it cannot be set ------------------------------------------------------------------------------------------------


def test_nothing_starts_on_the_snapshot_with_another_image() -> None:
    seen = world(workload(), refusal="denied by policy x")
    action = decide(resuming(), seen, IMAGE_SECONDS + 1)
    back = recorded(action)
    assert (back.stage, back.phase, back.failure_reason) == ("BackStop", "SwitchingBack", c.RESTORE_IMAGE_FAILED)
    assert "denied by policy x" in (back.failure_message or "")
    assert state_of(back, Step.RESTORE_IMAGE) == "Failed"
    assert isinstance(decide(resuming(), seen, IMAGE_SECONDS), Do)


def test_without_a_previous_database_it_stays_and_fails() -> None:
    failed = recorded(decide(resuming(live_missing=True), world(workload()), IMAGE_SECONDS + 1))
    assert (failed.stage, failed.failure_reason) == ("Resume", c.RESTORE_IMAGE_FAILED)
    following = decide(failed, world(workload()), IMAGE_SECONDS + 1)
    assert isinstance(following, Do)
    assert isinstance(following.effect, SetReplicas)


def test_a_refusal_of_the_api_server_is_reported_and_remembered() -> None:
    class Kube:
        async def set_template(self, *_: object, **__: object) -> bool:
            raise Forbidden(403, "Forbidden", "denied by policy x")

    memory, ctx = Memory(), SimpleNamespace(kube=Kube(), now=lambda: START)
    observed = SimpleNamespace(rollback=SimpleNamespace(meta=SimpleNamespace(namespace="ns")))
    effect = SetImages(plan_image.changes(resuming(), world(workload())))
    with pytest.raises(Stalled, match=r"RestoreImageFailed.*denied by policy x"):
        asyncio.run(effects.carry_out(ctx, observed, memory, effect))  # type: ignore[arg-type]
    assert (memory.refusal, memory.refused_since) == ("denied by policy x", START)


def test_the_patch_carries_the_version_that_was_read() -> None:
    server = ApiServer()
    meta = {"name": "web", "namespace": "ns", "uid": "u"}
    version = server.put(DEPLOYMENTS, {"metadata": meta, "spec": {}})["metadata"]["resourceVersion"]
    ctx: Any = SimpleNamespace(kube=server.client())
    ((view, wanted),) = plan_image.changes(resuming(), world(replace(workload(), version=version)))
    assert asyncio.run(scale.set_image(ctx, "ns", view, wanted))

    with pytest.raises(Conflict):
        asyncio.run(scale.set_image(ctx, "ns", view, wanted))


# --- put back --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "commit", "put_back"),
    [
        (RECORDED, "c1", True),
        (RUNNING, "c2", False),  # never changed: aborted before the switch
        ("registry/shop:3", "c3", False),  # another client has deployed since
        (RECORDED, "c3", False),
    ],
)
def test_after_a_switch_back_only_what_it_has_set_is_put_back(now: str, commit: str, *, put_back: bool) -> None:
    found = resuming(position="Old", phase="SwitchingBack", failure_reason=c.SWITCHED_BACK, failure_message="m")
    pending = plan_image.changes(found, world(workload(image=now, commit=commit)))
    assert bool(pending) is put_back
    if put_back:
        ((_, wanted),) = pending
        assert {x.image for x in wanted.containers} == {RUNNING}
        assert wanted.commits.template == "c2"


def test_the_image_is_put_back_before_the_workloads_start_again() -> None:
    """What this rollback has set is not recorded as what was there before."""
    found = resuming(position="Old", phase="SwitchingBack", failure_reason=c.SWITCHED_BACK, failure_message="m")
    action = decide(found, world(workload(image=RECORDED, commit="c1")))
    assert isinstance(action, Do)
    assert isinstance(action.effect, SetImages)
    untouched = decide(found, world(workload()))
    assert isinstance(untouched, Do)
    assert isinstance(untouched.effect, SetReplicas)


def test_what_cannot_be_put_back_is_said_once_and_the_workloads_start() -> None:
    found = resuming(
        position="Old", phase="SwitchingBack", failure_reason=c.SWITCHED_BACK, failure_message="Not ready."
    )
    seen = world(workload(image=RECORDED, commit="c1"))
    said = recorded(decide(found, seen, IMAGE_SECONDS + 1))
    assert f"Deployment web to {RUNNING}" in (said.failure_message or "")
    assert (said.failure_message or "").startswith("Not ready. ")
    following = decide(said, seen, IMAGE_SECONDS + 2)
    assert isinstance(following, Do)
    assert isinstance(following.effect, SetReplicas)


def test_an_unknown_position_changes_no_image() -> None:
    assert plan_image.changes(resuming(position=None), world(workload(image=RECORDED, commit="c1"))) == ()


def test_an_image_that_is_changed_again_is_no_clean_success() -> None:
    found = step(change(resuming(), stage="HealthCheck"), Step.RESTORE_IMAGE, "Done", START)
    fine = recorded(
        plan_switch.health_check(found, spec("Always"), world(workload(image=RECORDED, replicas=2)), time_at(1))
    )
    assert (fine.stage, state_of(fine, Step.RESTORE_IMAGE)) == ("Finish", "Done")
    other = recorded(plan_switch.health_check(found, spec("Always"), world(workload(replicas=2)), time_at(1)))
    assert (other.stage, state_of(other, Step.RESTORE_IMAGE)) == ("Finish", "Failed")


@pytest.mark.parametrize("state", ["Skipped", "Failed"])
def test_a_step_that_was_not_done_is_not_checked(state: Any) -> None:
    found = step(resuming(), Step.RESTORE_IMAGE, state, START, "why")
    assert plan_image.checked(found, world(workload()), time_at(9)) == found


def test_an_undo_has_no_image_that_could_be_checked() -> None:
    found = step(undo(saved()), Step.RESTORE_IMAGE, "Done", START)
    assert plan_image.checked(found, world(workload()), time_at(9)) == found


# --- undo -----------------------------------------------------------------------------------------------------------


def undo(*undone: SavedWorkload, stage: Any = "Prepare", **changes: Any) -> RollbackStatus:
    what = UndoStatus(rollback_name="r1", rollback_id="id", names_id="id", to="Old", workloads=undone)
    return status(stage, image=None, undo=what, **changes)


def test_an_undo_puts_the_newer_image_back() -> None:
    before = stopping(undo(saved()), workload(image=RECORDED, commit="c1", replicas=2))
    assert before.workloads == (saved(image=RECORDED, commit="c1"),)  # for the undo of the undo
    found = change(before, stage="Resume", position="New", switched_at=stamp(START))
    ((_, wanted),) = plan_image.changes(found, world(workload(image=RECORDED, commit="c1")))
    assert {x.image for x in wanted.containers} == {RUNNING}
    assert wanted.commits.template == "c2"


def test_an_undo_sets_of_each_workload_its_own_image() -> None:
    goals = (saved(image="registry/shop:5"), saved("worker", "registry/shop:6"))
    now = (saved(image=RECORDED, commit="c1"), saved("worker", RECORDED, "c1"))
    seen = world(workload(image=RECORDED, commit="c1"), workload("worker", RECORDED, commit="c1"))
    for undone in (goals, goals[::-1]):
        found = undo(*undone, stage="Resume", position="New", switched_at=stamp(START), workloads=now)
        pending = plan_image.changes(found, seen)
        assert [{x.image for x in wanted.containers} for _, wanted in pending] == [
            {"registry/shop:5"},
            {"registry/shop:6"},
        ]


def test_an_undo_that_has_put_the_image_back_says_so() -> None:
    found = undo(
        saved(),
        stage="Resume",
        position="New",
        switched_at=stamp(START),
        workloads=(saved(image=RECORDED, commit="c1"),),
    )
    done = recorded(decide(found, world(workload())))
    assert state_of(done, Step.RESTORE_IMAGE) == "Done"


def test_after_its_switch_back_an_undo_leaves_what_it_has_not_set() -> None:
    """The undone rollback had not replaced the image of this workload."""
    found = undo(saved("other"), stage="Resume", position="Old", switched_at=stamp(START), workloads=(saved(),))
    assert plan_image.changes(found, world(workload())) == ()


def test_an_undo_of_a_rollback_that_changed_no_image_changes_none() -> None:
    plain = SavedWorkload(kind="Deployment", name="web", replicas=2)
    before = stopping(undo(plain), workload(replicas=2))
    assert before.workloads == (plain,)


@pytest.mark.parametrize(
    ("undone", "now"),
    [
        ((saved(),), (saved(image=RECORDED),)),
        ((saved(), SavedWorkload(kind="Deployment", name="worker", replicas=2)), (saved(image=RECORDED),)),
        (
            (SavedWorkload(kind="Deployment", name="web", replicas=2),),
            (SavedWorkload(kind="Deployment", name="web", replicas=2),),
        ),
        ((), ()),
    ],
)
def test_an_undo_that_changes_all_that_was_replaced_says_nothing(
    undone: tuple[SavedWorkload, ...], now: tuple[SavedWorkload, ...]
) -> None:
    assert plan_image.not_put_back(undo(*undone), now) == ""
    assert plan_image.not_put_back(status("Prepare"), now) == ""


def test_an_undo_does_not_change_what_a_tool_owns_and_says_so() -> None:
    seen = world(
        workload(image=RECORDED, replicas=2, owner="Flux"), jobs=(JobView("switch", 1, "s", pods=1, ready=True),)
    )
    announced = change(undo(saved()), workloads=(SavedWorkload(kind="Deployment", name="web", replicas=2),))
    action = decide(announced, seen)
    assert [w.image for w in recorded(action).workloads] == [None]
    assert isinstance(action, Record)
    assert [n.reason for n in action.notes] == ["Quiescing", c.IMAGE_OWNED]
    assert f"Deployment web had {RUNNING}" in action.notes[1].message


@pytest.mark.parametrize(
    ("undone", "image", "commit"),
    [
        (change(resuming(), stage="Ended"), RUNNING, "c2"),
        # It was switched back: its undo goes to the snapshot, with the image that the snapshot has recorded.
        (change(resuming(), stage="Ended", position="Old"), RECORDED, "c1"),
        # An undo that was switched back: its undo goes where it wanted to go.
        (undo(saved(), stage="Ended", workloads=(saved(image=RECORDED, commit="c1"),)), RUNNING, "c2"),
        # The undo of an undo.
        (undo(saved(), stage="Ended", position="New", workloads=(saved(image=RECORDED, commit="c1"),)), RECORDED, "c1"),
    ],
)
def test_the_images_of_an_undo_fit_its_data(undone: RollbackStatus, image: str, commit: str) -> None:
    (found,) = plan_image.for_undo(undone)
    assert found == saved(image=image, commit=commit)


PLAIN = SavedWorkload(kind="Deployment", name="worker", replicas=2)


@pytest.mark.parametrize(
    "undone",
    [
        change(resuming(workloads=(PLAIN,)), stage="Ended"),
        change(resuming(workloads=(PLAIN,)), stage="Ended", position="Old"),
        change(resuming(workloads=(PLAIN,)), stage="Ended", position=None),
        undo(saved("worker"), stage="Ended", workloads=(PLAIN,)),
        change(resuming(workloads=(PLAIN,), image=None), stage="Ended", position="Old"),
    ],
)
def test_a_workload_whose_image_was_not_replaced_keeps_its_image_in_an_undo(undone: RollbackStatus) -> None:
    assert plan_image.for_undo(undone) == (PLAIN,)


def test_a_rollback_of_unknown_position_is_undone_with_what_was_saved() -> None:
    assert plan_image.for_undo(resuming(position=None)) == (saved(),)


def test_workloads_of_a_rollback_are_read_with_their_annotation() -> None:
    template = {
        "metadata": {"annotations": {"sha": "c2"}},
        "spec": {"containers": [{"name": "shop", "image": RUNNING}]},
    }
    obj = {
        "metadata": {"name": "web", "generation": 1, "resourceVersion": "1"},
        "spec": {"selector": {}, "template": template},
    }

    class Kube:
        async def get(self, *_: object) -> Any:
            return obj

        async def list(self, *_: object, **__: object) -> list[Any]:
            return []

    ctx: Any = SimpleNamespace(kube=Kube(), settings=SimpleNamespace(commit_annotation="sha"))
    (view,) = asyncio.run(scale.observe(ctx, "ns", [Target("Deployment", "web")]))
    assert view.commits == Commit("sha", "c2", None)
    assert view.containers == (ContainerView("shop", init=False, image=RUNNING),)


@pytest.mark.parametrize(
    ("image", "attempt", "foreign"),
    [
        ("evil/shop:1", 0, True),
        ("registry/shop:18", 0, False),
        ("registry/shop.evil:18", 0, True),
        ("evil/shop:1", 1, False),  # this operator took it
        ("", 0, False),
    ],
)
def test_row_80_a_manifest_does_not_choose_the_image(image: str, attempt: int, *, foreign: bool) -> None:
    """An imported or adopted Snapshot has had no attempt: its source is what the manifest says."""
    source = {
        "environmentName": "shop",
        "environmentType": "production",
        "environmentId": ENVIRONMENT_ID,
        "projectId": PROJECT_ID,
        "image": image,
    }
    found = objects.snapshot({}, {"attempt": attempt, "source": source})
    assert has_foreign_image(found, (workload(image="registry/shop:19"),)) is foreign
    seen = world(workload(image="registry/shop:19"))
    refused = plan_image.refusal(spec("Always"), altered_snapshot(found, environment_id=ENVIRONMENT_ID), seen)
    assert (refused is not None and refused.reason == c.IMAGE_NOT_ALLOWED) is foreign
