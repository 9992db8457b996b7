"""``verify``: reads every byte of a stored snapshot again."""

from ocore_crds.protocol import Step, VerifyResult
from ocore_mover import manifests
from ocore_mover.commands import evidence
from ocore_mover.commands.runtime import Runtime
from ocore_mover.store.base import Store


def verify(
    runtime: Runtime, store: Store, environment_id: str, snapshot_id: str, *, sha256: str | None, jobs: int
) -> VerifyResult:
    """Returns what was read. Raises Corrupt, which names the object; MoverError SnapshotNotFound."""
    guarded = runtime.guarded(store)
    with runtime.step(Step.VERIFY):
        stored = manifests.read(guarded, environment_id, snapshot_id, sha256=sha256)
        counter = runtime.counter(Step.VERIFY)
        counter.bytes_total = stored.manifest.needed_bytes()
        count = manifests.verify_objects(guarded, stored.manifest, counter, jobs=jobs)
    return VerifyResult(
        objects=len(stored.manifest.needed()),
        bytes_read=count,
        evidence=evidence.of_verification(stored.manifest, count),
    )
