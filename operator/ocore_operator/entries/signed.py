"""The place of a Snapshot among the signed ones of its environment, from its raw JSON. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from ocore_crds.resources.signing import Predecessor
from ocore_operator.kube.resources import Object


@dataclass(frozen=True, slots=True)
class Signed:
    """A signed snapshot that is in its store, or was found damaged there."""

    environment_id: str
    id: str
    manifest_sha256: str
    sequence: int


def signed_of(snapshot: Object) -> Signed | None:
    """None where it is not signed, or has no manifest."""
    status = snapshot.get("status") or {}
    found, digest = status.get("signature") or {}, status.get("manifestSha256")
    if not found.get("signer") or not found.get("sequence") or not digest:
        return None
    return Signed(
        environment_id=(status.get("source") or {}).get("environmentId") or "",
        id=str(status.get("id") or snapshot["metadata"]["uid"]),
        manifest_sha256=digest,
        sequence=int(found["sequence"]),
    )


def newest(found: Iterable[Signed | None], environment_id: str) -> Predecessor | None:
    """The one that the environment's next snapshot names; None: the next one is the first."""
    own = [each for each in found if each is not None and each.environment_id == environment_id]
    if not own:
        return None
    last = max(own, key=lambda each: each.sequence)
    return Predecessor(snapshot_id=last.id, manifest_sha256=last.manifest_sha256, sequence=last.sequence)
