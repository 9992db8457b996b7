"""restoreImage: the workloads get the image and the commit that the snapshot has recorded. Pure.

With `Always` the operator sets them at the stage Resume, while the workloads are stopped. What they replace is saved
with the replicas, before the first workload is scaled. After a switch back, and after an undo, it is set again. An
image that a GitOps tool owns is never changed (docs/decisions/0021). With `WaitForGit` the operator changes nothing:
the stage Await waits until the workloads have the image.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime

from ocore_crds import conditions as c
from ocore_crds.protocol import Step
from ocore_crds.resources.rollback import ImageStatus, PreflightWarning, RollbackSpec, RollbackStatus
from ocore_crds.resources.snapshot import SavedImage, SavedWorkload
from ocore_crds.text.shell import command
from ocore_operator.frame.actions import Note, Record, Wait
from ocore_operator.kube.resources import Snapshot
from ocore_operator.rollback.plan_undo import Refusal
from ocore_operator.rollback.snapshot_and_environment import has_foreign_image, taken_of
from ocore_operator.rollback.transitions import change, image_failed, state_of, step, timed_out
from ocore_operator.rollback.world import Action, Do, SetImages, World
from ocore_operator.workloads import images
from ocore_operator.workloads.images import TemplateChange
from ocore_operator.workloads.view import WorkloadView, labels, saved

#: Seconds in which the images must be set after the switch. Then the rollback is switched back: nothing has started on
#: the snapshot yet. After a switch back the workloads are started with the images that they have then.
IMAGE_SECONDS = 60


def wanted(spec: RollbackSpec, snapshot: Snapshot) -> ImageStatus | None:
    """What the workloads get or must have; None where nothing is asked for."""
    if spec.restore_image == "Never":
        return None
    taken = taken_of(snapshot)
    reference = images.with_digest(taken.image, taken.image_digest)
    return ImageStatus(mode=spec.restore_image, reference=reference, commit_sha=taken.commit_sha)


def refusal(spec: RollbackSpec, snapshot: Snapshot, world: World) -> Refusal | None:
    """Why the image cannot be restored; None where it can, or is not to be."""
    if spec.restore_image == "Never":
        return None
    name, taken = snapshot.meta.name, taken_of(snapshot)
    if world.environment is not None and taken.environment_id != world.environment.status.id:
        text = (
            f"Snapshot {name} is of another environment than {world.environment.meta.name}. restoreImage is for a"
            " rollback in place: set it to Never in a new Rollback, and deploy the image."
        )
        return Refusal(c.OTHER_ENVIRONMENT, text)
    if not taken.image or not images.of_application(world.workloads, taken.image):
        text = (
            f"Snapshot {name} has recorded no image, or environment {world.environment_name} has no workload,"
            f" so restoreImage {spec.restore_image} is not possible. Set it to Never in a new Rollback."
        )
        return Refusal(c.IMAGE_UNKNOWN, text)
    paused = [w for w in world.workloads if w.paused]
    if paused:
        text = (
            f"{labels(paused)} is paused (spec.paused), so its pods would not run the image of the snapshot. Resume it"
            f" ({command('kubectl', 'rollout', 'resume', f'deployment/{paused[0].name}')}), or set restoreImage to"
            f" Never in a new Rollback."
        )
        return Refusal(c.WORKLOAD_PAUSED, text)
    if has_foreign_image(snapshot, world.workloads):
        text = (
            f"Snapshot {name} was imported or adopted, and its manifest names image {taken.image}, which is"
            " of no repository that the workloads use. Anyone who can write to the bucket can edit that. Set"
            " restoreImage to Never in a new Rollback, and deploy the image that fits."
        )
        return Refusal(c.IMAGE_NOT_ALLOWED, text)
    if spec.restore_image == "Always" and not world.may_restore_image:
        text = (
            "restoreImage Always needs the right to change workloads, which this operator does not have. Set"
            " settings.restoreImage of the chart to true, or use restoreImage WaitForGit or Never in a new Rollback."
        )
        return Refusal(c.RESTORE_IMAGE_DISABLED, text)
    if spec.restore_image == "Always" and not images.may_be_set(world.workloads, taken.image, world.listed_images):
        text = (
            f"Image {taken.image} of snapshot {name} is of another repository than the workloads use now,"
            " and an admission policy would refuse it after the switch. List where this image and the present one"
            " begin in the chart's value admissionPolicies.applicationImages, or use restoreImage WaitForGit or Never"
            " in a new Rollback."
        )
        return Refusal(c.IMAGE_NOT_ALLOWED, text)
    return None


def warnings(image: ImageStatus | None, world: World) -> tuple[PreflightWarning, ...]:
    """What the preflight reports about the image: what to change in Git, and an image that can be restored by its tag
    only."""
    if image is None:
        return ()
    found = []
    if image.mode == "WaitForGit" and differences(image, world):
        text = (
            "The rollback waits before it stops the workloads, until they have the image of the snapshot. In Git, set"
            f" {in_git(image, world)}."
        )
        found.append(PreflightWarning(reason=c.WAITING_FOR_IMAGE, message=text))
    owned = owned_by_tools(image, world)
    if image.mode == "Always" and owned:
        text = (
            f"{'; '.join(owned)}. The rollback does not change it: a tool would set it again. In Git, set"
            f" {in_git(image, world)}. To let the rollback wait for that, use restoreImage WaitForGit."
        )
        found.append(PreflightWarning(reason=c.IMAGE_OWNED, message=text))
    others = [w for w in world.workloads if not w.target.has_template]
    if others:
        text = f"The image of {labels(others)} is not read and not changed. Deploy the one that fits the snapshot."
        found.append(PreflightWarning(reason=c.OTHER_VERSION, message=text))
    if not images.parse(image.reference).digest:
        text = (
            f"The snapshot has recorded no digest of image {image.reference}. If its tag has been moved since, it is"
            " another image."
        )
        found.append(PreflightWarning(reason=c.OTHER_VERSION, message=text))
    return tuple(found)


def owned_by_tools(image: ImageStatus, world: World) -> tuple[str, ...]:
    """Which tool owns the image of which container: ``Flux owns the image of Deployment shop, container app``."""
    return tuple(
        f"{x.owner} owns the image of {w.label}, container {x.name}"
        for w, x in images.of_application(world.workloads, image.reference)
        if x.owner
    )


def differences(image: ImageStatus, world: World) -> tuple[str, ...]:
    """The containers that do not have the image: ``Deployment shop, container app (has shop:18)``."""
    return tuple(
        f"{w.label}, container {x.name} (has {x.image})"
        for w, x in images.of_application(world.workloads, image.reference)
        if not images.same(x.image, image.reference)
    )


def in_git(image: ImageStatus, world: World) -> str:
    """What to change in Git, for people."""
    where = ", ".join(differences(image, world)) or labels(world.workloads)
    text = f"image {image.reference} for {where}"
    annotations = {w.commits.annotation for w in world.workloads if w.commits.annotation}
    if image.commit_sha and annotations:
        text += f", and the annotation {annotations.pop()} to {image.commit_sha}"
    return text


# --- saving, before the first workload is scaled ---------------------------------------------------------------------


def with_images(status: RollbackStatus, workloads: tuple[WorkloadView, ...]) -> tuple[SavedWorkload, ...]:
    """The workloads with their replicas, and with the images that this rollback replaces: of the application's
    containers; of an undo those that the undone rollback has replaced. None is replaced where a tool owns one of them:
    one application must not run with two images."""
    names = _containers(status, workloads)
    if any(x.owner for w in workloads for x in w.containers if (x.name, x.init) in names.get((w.kind, w.name), ())):
        return saved(workloads)
    return tuple(
        s.model_copy(update={"image": images.saved_image(w, names[key])}) if (key := (w.kind, w.name)) in names else s
        for s, w in zip(saved(workloads), workloads, strict=True)
    )


def _containers(
    status: RollbackStatus, workloads: tuple[WorkloadView, ...]
) -> Mapping[tuple[str, str], frozenset[tuple[str, bool]]]:
    found: dict[tuple[str, str], frozenset[tuple[str, bool]]] = {}
    if status.undo is not None:
        undone = {(w.kind, w.name): w.image for w in status.undo.workloads if w.image is not None}
        return {key: frozenset((x.name, x.init) for x in i.containers) for key, i in undone.items()}
    if status.image is not None and status.image.mode == "Always":
        for w, x in images.of_application(workloads, status.image.reference):
            found[w.kind, w.name] = found.get((w.kind, w.name), frozenset()) | {(x.name, x.init)}
    return found


def not_put_back(status: RollbackStatus, workloads: tuple[SavedWorkload, ...]) -> str:
    """Of an undo, at its quiesce: why it does not put the images back that the undone rollback has replaced; empty
    where it does."""
    undone = status.undo.workloads if status.undo is not None else ()
    lost = [w for w in undone if w.image is not None]
    if not lost or any(w.image is not None for w in workloads):
        return ""
    what = "; ".join(
        f"{w.kind} {w.name} had {x.image}" for w in lost if w.image is not None for x in w.image.containers
    )
    return (
        "A GitOps tool owns the image of a workload, so the undo does not change it. Before the undone rollback"
        f" {what}. Change it in Git."
    )


# --- setting, while the workloads are stopped ------------------------------------------------------------------------


def changes(status: RollbackStatus, world: World) -> tuple[tuple[WorkloadView, TemplateChange], ...]:
    """What the workloads still lack: on the new position the images that it wants, on the old one what was saved.
    Nothing where the position is unknown."""
    found = []
    for workload, before in _saved_images(status, world):
        change = _change(status, workload, before)
        if change is not None and not change.holds(workload):
            found.append((workload, change.within(workload)))
    return tuple(found)


def _change(status: RollbackStatus, workload: WorkloadView, before: SavedWorkload) -> TemplateChange | None:
    """What the workload is to have by the position; None: leave it as it is."""
    goal = _goal(status, workload, before)
    if before.image is None or goal is None or status.position is None:
        return None
    if status.position == "New":
        return goal
    # Only what this rollback has set is put back: another client may have deployed since.
    return images.change_back(before.image, workload.commits.annotation) if goal.holds(workload) else None


def _goal(status: RollbackStatus, workload: WorkloadView, before: SavedWorkload) -> TemplateChange | None:
    """What the workload gets on the new position."""
    annotation = workload.commits.annotation
    if status.image is not None and before.image is not None:
        return images.change_to(status.image.reference, status.image.commit_sha, before.image, annotation)
    undone = status.undo.workloads if status.undo is not None else ()
    goal = next((w.image for w in undone if (w.kind, w.name) == (before.kind, before.name)), None)
    return images.change_back(goal, annotation) if goal is not None else None


def for_undo(undone: RollbackStatus) -> tuple[SavedWorkload, ...]:
    """The workloads for an undo of this rollback: with the images from before it; where it was switched back, with
    those that it had set."""
    if undone.position != "Old":
        return undone.workloads
    goals: dict[tuple[str, str], SavedImage | None] = {}
    if undone.undo is not None:
        goals = {(w.kind, w.name): w.image for w in undone.undo.workloads}
    return tuple(w.model_copy(update={"image": _set_by(undone, w, goals)}) for w in undone.workloads)


def _set_by(
    undone: RollbackStatus, before: SavedWorkload, goals: Mapping[tuple[str, str], SavedImage | None]
) -> SavedImage | None:
    if before.image is None or undone.image is None:
        return goals.get((before.kind, before.name)) if before.image is not None else None
    goal = images.change_to(undone.image.reference, undone.image.commit_sha, before.image, "")
    return SavedImage(
        containers=goal.containers, template_commit=goal.commits.template, workload_commit=goal.commits.workload
    )


def _saved_images(status: RollbackStatus, world: World) -> tuple[tuple[WorkloadView, SavedWorkload], ...]:
    views = {(w.kind, w.name): w for w in world.workloads if w.exists}
    return tuple(
        (views[key], s) for s in status.workloads if s.image is not None and (key := (s.kind, s.name)) in views
    )


def replaced_since(status: RollbackStatus, world: World) -> tuple[SavedWorkload, ...] | None:
    """The saved workloads with the images that another client has set after they were saved; None where it has set
    none. What a rollback replaces is recorded BEFORE it is changed, so that a switch back and an undo put back what was
    there."""
    if status.position != "New":
        return None
    fresh = {}
    for workload, before in _saved_images(status, world):
        change = _change(status, workload, before)
        if before.image is None or change is None or change.holds(workload):
            continue
        now = images.saved_image(workload, ((x.name, x.init) for x in before.image.containers))
        if now != before.image:
            fresh[before.kind, before.name] = before.model_copy(update={"image": now})
    return tuple(fresh.get((s.kind, s.name), s) for s in status.workloads) if fresh else None


def to_set_by_hand(pending: Iterable[tuple[WorkloadView, TemplateChange]]) -> str:
    """For people: ``Deployment shop to shop:18 (container app)``."""
    return "; ".join(
        f"{w.label} to " + ", ".join(f"{x.image} (container {x.name})" for x in change.containers)
        for w, change in pending
    )


# --- the stages Await, Resume and HealthCheck ------------------------------------------------------------------------


def waits(spec: RollbackSpec, status: RollbackStatus) -> bool:
    """Whether the switch Job may not start yet."""
    return spec.restore_image == "WaitForGit" and state_of(status, Step.RESTORE_IMAGE) != "Done"


def await_git(status: RollbackStatus, world: World, now: datetime) -> Action:
    """With `WaitForGit`: waits until every container of the application has the image."""
    image = status.image
    if image is None:  # pragma: no cover - the preflight sets it where spec.restoreImage asks for it
        raise AssertionError("restoreImage without an image")
    missing = [w for w in world.workloads if not w.exists]
    found = images.of_application(world.workloads, image.reference)
    if missing or not found or differences(image, world):
        text = f"The workloads do not have the image of the snapshot yet. In Git, set {in_git(image, world)}."
        if missing:
            text = f"{labels(missing)} does not exist, so it does not have the image of the snapshot."
        return Wait(5, c.WAITING_FOR_IMAGE, text)
    note = Note("Normal", "ImageFound", f"The workloads have image {image.reference}.")
    return Record(step(status, Step.RESTORE_IMAGE, "Done", now), (note,))


def set_images(status: RollbackStatus, world: World, now: datetime) -> Action | None:
    """At the stage Resume, before a workload is started; None: nothing to set, or it is given up."""
    pending = changes(status, world)
    forward = status.position == "New" and status.failure_reason is None
    if not pending:
        return _set(status, world, now) if forward else None
    if not timed_out(status, world, now, IMAGE_SECONDS):
        again = replaced_since(status, world)
        if again is not None:
            return Record(change(status, workloads=again))
        return Do(SetImages(pending), before="operator-rollback-image-saved", after="operator-rollback-image-set")
    why = f" ({world.refusal})" if world.refusal else ""
    text = f"The image could not be set within {IMAGE_SECONDS} s{why}: {to_set_by_hand(pending)}."
    if not forward:
        return _left(status, text, now)
    if status.live_missing:
        text += (
            " There is no previous database to switch back to: the environment stays on the snapshot. Set the image by"
            " hand."
        )
        fresh = change(status, failure_reason=c.RESTORE_IMAGE_FAILED, failure_message=text)
        return Record(
            step(fresh, Step.RESTORE_IMAGE, "Failed", now, text), (Note("Warning", c.RESTORE_IMAGE_FAILED, text),)
        )
    note = Note("Warning", c.RESTORE_IMAGE_FAILED, f"{text} Switching back.")
    return Record(image_failed(status, text, now), (note,))


def _set(status: RollbackStatus, world: World, now: datetime) -> Record[RollbackStatus] | None:
    """Everything that may be set is set: the step ends."""
    if state_of(status, Step.RESTORE_IMAGE) in ("Done", "Skipped", "Failed") or not _concerns(status):
        return None
    lacking = differences(status.image, world) if status.image is not None else ()
    if not lacking or status.image is None:
        note = Note("Normal", "ImageRestored", "The workloads have the image that belongs to the data.")
        return Record(step(status, Step.RESTORE_IMAGE, "Done", now), (note,))
    owners = "; ".join(owned_by_tools(status.image, world)) or "another client has changed it"
    text = f"Not changed: {', '.join(lacking)}. {owners}. In Git, set {in_git(status.image, world)}."
    return Record(step(status, Step.RESTORE_IMAGE, "Skipped", now, text), (Note("Warning", c.IMAGE_OWNED, text),))


def _concerns(status: RollbackStatus) -> bool:
    """Whether this rollback sets images at all."""
    always = status.image is not None and status.image.mode == "Always"
    return always or any(w.image is not None for w in status.workloads)


def _left(status: RollbackStatus, text: str, now: datetime) -> Record[RollbackStatus] | None:
    """The workloads are started with the images that they have; said once."""
    if text in (status.failure_message or ""):
        return None
    fresh = change(status, failure_message=f"{status.failure_message or ''} {text} Set it by hand.".strip())
    return Record(fresh, (Note("Warning", c.RESTORE_IMAGE_FAILED, text),))


def checked(status: RollbackStatus, world: World, now: datetime) -> RollbackStatus:
    """When the workloads are ready: the step has failed where another client has changed the image since it was set or
    found."""
    if status.image is None or state_of(status, Step.RESTORE_IMAGE) != "Done":
        return status
    lacking = differences(status.image, world)
    if not lacking:
        return status
    text = f"Another client has changed the image again: {', '.join(lacking)}. Wanted: {status.image.reference}."
    return step(status, Step.RESTORE_IMAGE, "Failed", now, text)
