"""``verify``: reads every byte of a stored snapshot again."""

from collections.abc import Sequence

from ocore_crds import conditions
from ocore_crds.commands.verify import VerifyRequest, VerifyResult
from ocore_crds.reports.base import Step
from ocore_mover import manifests
from ocore_mover.commands import evidence, opening
from ocore_mover.commands.runtime import Runtime
from ocore_mover.errors import MoverError
from ocore_mover.manifests import StoredManifest
from ocore_mover.store.interface import Store


def execute(runtime: Runtime, request: VerifyRequest) -> VerifyResult:
    """Returns what was read. Raises Corrupt, which names the object; MoverError SnapshotNotFound."""
    guarded = runtime.guarded(opening.store(request.store))
    with runtime.step(Step.VERIFY):
        stored, data = manifests.read_bytes(
            guarded, request.environment_id, request.snapshot_id, sha256=request.manifest_sha256
        )
        counter = runtime.counter(Step.VERIFY)
        counter.bytes_total = stored.manifest.needed_bytes()
        count = manifests.verify_objects(guarded, stored.manifest, counter, jobs=request.jobs)
    return VerifyResult(
        objects=len(stored.manifest.needed()),
        bytes_read=count,
        evidence=evidence.of_verification(
            stored, guarded, count, warnings=_signature(guarded, stored, data, request.store.signers)
        ),
    )


def _signature(store: Store, stored: StoredManifest, data: bytes, signers: Sequence[str]) -> tuple[str, ...]:
    """What is wrong with the signature of a signed snapshot: the data can be restored as long as its Snapshot is there,
    but an import would not take it."""
    from ocore_mover import signatures

    if stored.manifest.signature is None or not signers:
        return ()
    try:
        signatures.check(store, stored.manifest, data, signers)
    except MoverError as error:
        if error.reason != conditions.SIGNATURE_INVALID:
            raise
        return (f"{error.message} Without it this snapshot is not imported after a loss of the cluster",)
    return ()
