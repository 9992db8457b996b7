"""What a Snapshot's status says of a snapshot that lay in the store already."""

from ocore_crds import conditions as c
from ocore_crds.manifest import Identity
from ocore_crds.protocol import Result, SnapshotResult
from ocore_operator.snapshot.transitions import completed
from support.operator.objects import UID, at, moment, snapshot, started

OTHER = "99999999-9999-4999-8999-999999999999"
IDENTITY = Identity(
    environment_id=UID,
    environment_name="shop-of-last-year",
    environment_type="staging",
    project_id=OTHER,
    snapshot_id=UID,
    image="registry/shop:18.0-3",
    image_tag="18.0-3",
    commit_sha="c0ffee",
    deployment_id=OTHER,
)
RESULT = SnapshotResult(
    attempt="1-x",
    identity=IDENTITY,
    manifest_key="k",
    manifest_sha256="0" * 64,
    store_id=UID,
    started_at=at(0),
    consistent_at=at(1),
    completed_at=at(2),
)


def test_an_imported_snapshot_reports_what_its_manifest_says() -> None:
    """Not what the Environment is now: a rebuilt cluster may know less, or something else."""
    status = completed(snapshot(status=started()), RESULT, None, clean=False, imported=True, now=moment(60))
    source = status.source
    assert source is not None
    assert (source.environment_name, source.environment_type, source.project_id) == (
        "shop-of-last-year",
        "staging",
        OTHER,
    )
    assert (source.image_tag, source.commit_sha, source.deployment_id) == ("18.0-3", "c0ffee", OTHER)
    assert (status.started_at, status.consistent_at, status.completed_at) == (at(0), at(1), at(2))
    complete = c.find(status.conditions, c.COMPLETE)
    assert complete is not None
    assert complete.last_transition_time == at(60)


def test_an_own_snapshot_keeps_what_was_frozen_at_its_start() -> None:
    before = snapshot(status=started())
    status = completed(before, RESULT, None, clean=True, imported=False, now=moment(60))
    assert status.source == before.status.source
    assert (status.started_at, status.completed_at) == (before.status.started_at, at(60))


def test_the_identity_fits_into_the_termination_message() -> None:
    """A result that is too long loses its paths first, never what names the snapshot."""
    long = IDENTITY.model_copy(update={"image": "r" * 1500, "snapshot_name": "n" * 253})
    result = RESULT.model_copy(update={"identity": long, "paths": {"database": "p" * 2500}})
    kept = Result.model_validate_json(Result(ok=True, payload=result, time=at(0)).termination_message())
    assert isinstance(kept.payload, SnapshotResult)
    assert kept.payload.identity == long
    assert kept.payload.paths == {}
