"""What the preflight finds that blocks nothing: a snapshot of another version, a workload that is not available to
begin with. Pure.

A rollback that fails for one of these is switched back after the workloads were stopped. So it is said before.
"""

from collections.abc import Iterator

from ocore_crds import conditions as c
from ocore_crds.resources.rollback import ImageStatus, PreflightWarning
from ocore_crds.text.sentences import sentence, shortened
from ocore_operator.kube.resources import Snapshot
from ocore_operator.rollback.snapshot_and_environment import taken_of
from ocore_operator.rollback.world import World
from ocore_operator.workloads.view import WorkloadView, first_with_template

#: Sentences of a snapshot's evidence that a warning shows, and how much of each.
_SHOWN = 3
_CHARACTERS = 300


def warnings(world: World, image: ImageStatus | None = None) -> tuple[PreflightWarning, ...]:
    """Of a world with a Snapshot and an Environment, at the start of the rollback. `image`: what restoreImage restores;
    another image is then no surprise."""
    found: list[PreflightWarning] = []
    if world.snapshot is not None:
        found.extend(_contents(world.snapshot))
        first = first_with_template(world.workloads) if image is None else None
        found.extend(_version(world.snapshot, first) if first is not None else ())
        found.extend(_config(world.snapshot, world) if _in_place(world) else ())
    if world.environment is not None and world.environment.spec.workloads is None:
        text = (
            f"Environment {world.environment.meta.name} does not say what uses its data, so nothing is stopped."
            " Sessions are ended, and an application reconnects with what it holds in its memory. List the workloads in"
            " spec.workloads. If nothing is to be stopped, set workloads: [] (docs/workloads.md)."
        )
        found.append(PreflightWarning(reason=c.WORKLOADS_NOT_GIVEN, message=text))
    found.extend(warning for workload in world.workloads for warning in _availability(workload))
    return tuple(found)


def _contents(snapshot: Snapshot) -> Iterator[PreflightWarning]:
    """What the snapshot lacks, and what the application does with it."""
    incomplete = snapshot.status.evidence.incomplete if snapshot.status.evidence is not None else ()
    if incomplete:
        # Of an imported one these are words of a manifest, which anyone with the bucket can write.
        lacks = " ".join(sentence(shortened(text, _CHARACTERS)) for text in incomplete[:_SHOWN])
        text = f"Snapshot {snapshot.meta.name} is incomplete, and a rollback restores no more than it has: {lacks}"
        yield PreflightWarning(reason=c.FILES_NOT_INCLUDED, message=text)
    if snapshot.status.unfinished_modules:
        text = (
            f"Snapshot {snapshot.meta.name} was taken in the middle of an upgrade of Odoo:"
            f" {snapshot.status.unfinished_modules} modules were to be installed, upgraded or removed. Odoo continues"
            " with that at its next start. Use the image of the upgrade, or choose a snapshot from before it."
        )
        yield PreflightWarning(reason=c.UPGRADE_IN_PROGRESS, message=text)


def _in_place(world: World) -> bool:
    """Whether the Snapshot is of the Environment itself: another one has a configuration of its own."""
    environment, snapshot = world.environment, world.snapshot
    if environment is None or snapshot is None:
        return False
    return taken_of(snapshot).environment_id == environment.status.id


def _version(snapshot: Snapshot, workload: WorkloadView) -> Iterator[PreflightWarning]:
    """Of the first Deployment or StatefulSet, whose image the snapshot recorded. What either side does not know is not
    compared."""
    taken = taken_of(snapshot)
    image = bool(taken.image and workload.image) and taken.image != workload.image
    commit = bool(taken.commit_sha and workload.commit) and taken.commit_sha != workload.commit
    if not image and not commit:
        return
    then = _described(taken.image if image else "", taken.commit_sha if commit else "")
    now = _described(workload.image if image else "", workload.commit if commit else "")
    text = (
        f"Snapshot {snapshot.meta.name} was taken with {then}; {workload.label} has {now}. Its application may not"
        " start on the snapshot's data, and is then switched back. This rollback does not change the image: deploy the"
        " one of the snapshot first, or use restoreImage."
    )
    yield PreflightWarning(reason=c.OTHER_VERSION, message=text)


def _described(image: str, commit: str) -> str:
    parts = (f"image {image}" if image else "", f"commit {commit}" if commit else "")
    return ", ".join(p for p in parts if p)


def _config(snapshot: Snapshot, world: World) -> Iterator[PreflightWarning]:
    then, now = taken_of(snapshot).config_sha256, world.config_sha256
    if not then or not now or then == now:
        return
    text = (
        f"ConfigMap {world.config_name} has changed since snapshot {snapshot.meta.name} was taken. A rollback does not"
        " change it; the snapshot has a copy of it as it was (docs/format.md)."
    )
    yield PreflightWarning(reason=c.OTHER_VERSION, message=text)


def _availability(workload: WorkloadView) -> Iterator[PreflightWarning]:
    if workload.paused:
        text = (
            f"{workload.label} is paused (spec.paused). It is stopped and started all the same, and all its pods then"
            " run its newest ReplicaSet."
        )
        yield PreflightWarning(reason=c.WORKLOAD_PAUSED, message=text)
    if not workload.exists or workload.target.is_cron_job or workload.ready_replicas >= workload.replicas > 0:
        return
    if workload.replicas == 0:
        text = (
            f"{workload.label} is scaled to 0 replicas to begin with. It is not started after the switch, so nothing"
            " shows whether it runs on the snapshot."
        )
    else:
        text = (
            f"{workload.label} is not available to begin with: {workload.ready_replicas} of {workload.replicas}"
            f" replicas are ready ({workload.problem or 'no pod reports a reason'}). If it is not ready on the snapshot"
            " either, it is switched back."
        )
    yield PreflightWarning(reason=c.WORKLOAD_NOT_READY, message=sentence(text))
