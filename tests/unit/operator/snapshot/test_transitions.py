"""What a Snapshot's status says of a snapshot that lay in the store already."""

import pytest

from ocore_crds import conditions as c
from ocore_crds.protocol import Result, SnapshotResult, Step, VerifyResult
from ocore_crds.resources.snapshot import Progress
from ocore_crds.stored.manifest import Evidence, Identity
from ocore_operator.clock import exact
from ocore_operator.damage import corrupt
from ocore_operator.jobs.building.inputs import JobInputs, PodTraits, config_digest
from ocore_operator.snapshot.transitions import completed, identity, queued, verified
from ocore_operator.snapshot.transitions import started as start
from support.operator.objects import UID, at, environment, moment, snapshot, started, store

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
    assert (status.started_at, status.completed_at) == (before.status.started_at, exact(moment(60)))


def test_an_operation_is_timed_in_milliseconds() -> None:
    now = moment(60).replace(microsecond=123_999)
    first = queued(snapshot(), now)
    assert first.queued_at == at(60).replace("Z", ".123Z")
    assert all(x.last_transition_time == at(60) for x in first.conditions), "as metav1.Time"
    status = completed(snapshot(status=started()), RESULT, None, clean=True, imported=False, now=now)
    assert status.completed_at == first.queued_at


def test_the_identity_fits_into_the_termination_message() -> None:
    """A result that is too long loses its paths first, never what names the snapshot."""
    long = IDENTITY.model_copy(update={"image": "r" * 1500, "snapshot_name": "n" * 253})
    result = RESULT.model_copy(update={"identity": long, "paths": {"database": "p" * 2500}})
    kept = Result.model_validate_json(Result(ok=True, payload=result, time=at(0)).termination_message())
    assert isinstance(kept.payload, SnapshotResult)
    assert kept.payload.identity == long
    assert kept.payload.paths == {}


def test_a_corrupt_snapshot_is_seen_in_its_phase() -> None:
    """`kubectl get` showed Complete (issue 9, item 26)."""
    complete = completed(snapshot(status=started()), RESULT, None, clean=True, imported=False, now=moment(60))
    bad = corrupt(snapshot(status=complete.wire()), "3 bytes differ.", moment(90))
    assert bad.phase == "Corrupt"
    found = {x.type: (x.status, x.reason) for x in bad.conditions}
    assert (found["Ready"], found["Stalled"], found["Complete"][0]) == (
        ("False", c.CORRUPT),
        ("True", c.CORRUPT),
        "True",
    )
    again = verified(snapshot(status=bad.wire()), VerifyResult(objects=3, bytes_read=9), moment(120))
    assert again.phase == "Complete"
    assert not c.is_true(again.conditions, c.STALLED)


@pytest.mark.parametrize("last", [Step.DUMP_DATABASE, Step.COPY_FILESTORE, None])
def test_the_step_of_a_complete_snapshot_is_the_last_one(last: Step | None) -> None:
    """It was the step of the last log line that the operator had read (issue 9, item 27)."""
    progress = Progress(step=last, percent=60, bytes_done=1, bytes_total=3, updated_at=at(1)) if last else None
    running = snapshot(status={**started(), **({"progress": progress.wire()} if progress else {})})
    result = RESULT.model_copy(update={"stored_bytes": 2048, "filestore_files": 3})
    status = completed(running, result, None, clean=True, imported=False, now=moment(60))
    assert status.progress is not None
    shown = (status.progress.step, status.progress.percent, status.progress.bytes_done, status.progress.bytes_total)
    assert shown == ("Verify", 100, 2048, 2048)


def test_the_configuration_of_the_start_is_recorded() -> None:
    """A later rollback compares it (issue 9, item 25). It is in the manifest too, for a rebuilt cluster."""
    one = {"data": {"odoo.conf": "workers = 2"}, "binaryData": {"logo": "AA=="}}
    digest = config_digest(one)
    assert len(digest) == 64
    assert config_digest({**one, "metadata": {"resourceVersion": "9"}}) == digest
    assert config_digest({**one, "data": {"odoo.conf": "workers = 4"}}) != digest
    assert config_digest({**one, "binaryData": {"logo": "AB=="}}) != digest
    assert config_digest({"data": {}}) != config_digest(None) == ""
    inputs = JobInputs("shop", store(), PodTraits(), image="shop:1", commit="c1", config_sha256=digest)
    status = start(snapshot(), environment(), inputs, moment(0))
    assert status.source is not None
    assert status.source.config_sha256 == digest
    written = identity(snapshot(status=status.wire()))
    assert written.config_sha256 == digest
    result = RESULT.model_copy(update={"identity": written})
    adopted = completed(snapshot(status=started()), result, None, clean=False, imported=True, now=moment(60))
    assert adopted.source is not None
    assert adopted.source.config_sha256 == digest


def test_a_check_that_read_older_versions_says_so() -> None:
    """The snapshot can be restored, and someone with the bucket's key has attacked it."""
    warning = "2 objects were deleted or overwritten."
    found = VerifyResult(objects=2, bytes_read=9, evidence=Evidence(warnings=(warning,)))
    status = verified(snapshot(status=started()), found, moment(60))
    condition = c.find(status.conditions, c.VERIFIED)
    assert condition is not None
    assert (condition.status, condition.message.endswith(warning)) == ("True", True)
