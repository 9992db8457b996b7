"""Test restores: asked for, and their certificates. The certificate is read at the API server: evidence is not older
than the question."""

from ocore_api.cache import Cache, SnapshotEntry
from ocore_api.writes import keys
from ocore_api.writes.client import Client, Object, patch_live, read_live
from ocore_api.writes.rollbacks import complete
from ocore_crds.naming import ANNOTATION_RESTORE_TEST_REQUESTED
from ocore_crds.resources.restore_test import open_run, run_of
from ocore_crds.resources.snapshot import SnapshotStatus
from ocore_crds.rules.certificate import certificate, invalid, lines
from ocore_kube.types import SNAPSHOTS


async def read(client: Client, entry: SnapshotEntry) -> Object:
    """:class:`ocore_api.views.console.models.RestoreCertificate`."""
    live = await read_live(client, SNAPSHOTS, entry)
    status, run = SnapshotStatus.model_validate(live.get("status") or {}), open_run(live)
    problem = invalid(status, entry.name)
    found = certificate(live, status, problem)
    test = status.restore_test
    return {
        "valid": found["valid"],
        "problem": problem,
        "running": run is not None,
        "runId": run,
        "snapshot": found["snapshot"],
        "test": test.model_dump(mode="json", by_alias=True) if test is not None else None,
        "lines": [{"label": label, "value": value} for label, value in lines(status)],
    }


async def start(client: Client, cache: Cache, entry: SnapshotEntry, subject: str, key: str | None) -> str:
    """Asks the operator for a test restore; returns what names it. One that is under way answers every request.

    Raises Problem where the snapshot is not complete (SnapshotNotComplete).
    """
    identity = keys.identity("RestoreTest", subject, entry.id, key)
    request = identity.id if identity.keyed else keys.now()
    live = await complete(client, entry)
    run = open_run(live)
    if run is not None:
        return run
    patch = {"metadata": {"annotations": {ANNOTATION_RESTORE_TEST_REQUESTED: request}}}
    cache.store.put(SNAPSHOTS.kind, await patch_live(client, SNAPSHOTS, entry, patch))
    return run_of("annotation", request)
