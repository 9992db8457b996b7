"""How the container of a Snapshot's attempt ends."""

from ocore_crds.protocol import SnapshotResult
from ocore_operator.kube.resources import Object
from support.operator.objects import UID, at

RESULT = SnapshotResult(
    attempt="1-x",
    manifest_key="k",
    manifest_sha256="0" * 64,
    store_id=UID,
    started_at=at(0),
    consistent_at=at(1),
    completed_at=at(2),
)


DIED: Object = {"terminated": {"exitCode": 137, "reason": "Error", "finishedAt": at(5)}}
