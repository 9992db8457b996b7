"""``verify``: reads every byte of a stored snapshot again."""

from ocore_crds.commands.verify import VerifyRequest, VerifyResult
from ocore_crds.reports.base import Step
from ocore_mover import manifests
from ocore_mover.commands import evidence, opening
from ocore_mover.commands.runtime import Runtime


def execute(runtime: Runtime, request: VerifyRequest) -> VerifyResult:
    """Returns what was read. Raises Corrupt, which names the object; MoverError SnapshotNotFound."""
    guarded = runtime.guarded(opening.store(request.store))
    with runtime.step(Step.VERIFY):
        stored = manifests.read(guarded, request.environment_id, request.snapshot_id, sha256=request.manifest_sha256)
        counter = runtime.counter(Step.VERIFY)
        counter.bytes_total = stored.manifest.needed_bytes()
        count = manifests.verify_objects(guarded, stored.manifest, counter, jobs=request.jobs)
    return VerifyResult(
        objects=len(stored.manifest.needed()),
        bytes_read=count,
        evidence=evidence.of_verification(stored, guarded, count),
    )
