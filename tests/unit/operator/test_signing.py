"""Signed snapshots: which Job has the signing key, whose signatures count, and the chain of an environment."""

from dataclasses import replace
from typing import Any

import pytest

from ocore_crds.commands.snapshot import SnapshotResult
from ocore_crds.resources.signing import Predecessor, Signature
from ocore_crds.stored.snapshot_state import StoredState
from ocore_operator.entries.signed import Signed, newest, signed_of
from ocore_operator.jobs.building.build import JobBuilder
from ocore_operator.jobs.building.inputs import JobInputs
from ocore_operator.kube.resources import Object, Snapshot
from ocore_operator.snapshot import transitions
from support.operator.jobs import SITES, all_jobs, job_inputs, request_of
from support.operator.objects import SETTINGS, at, environment, moment, snapshot, started, store

PUBLIC = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "A" * 43 + " jobs@shop"
SIGNING: Object = {"publicKeys": [PUBLIC], "secretRef": {"name": "signing"}}
CHECKING: Object = {"publicKeys": [PUBLIC]}
SIGNER = "SHA256:signer"
DIGEST = "0" * 64
LAST = Predecessor(snapshot_id="00000000-0000-4000-8000-000000000007", manifest_sha256=DIGEST, sequence=7)


def signing(found: JobInputs, spec: Object) -> JobInputs:
    return replace(
        found, store=store({**found.store.spec.model_dump(by_alias=True, exclude_none=True), "signing": spec})
    )


def begun(spec: Object | None, previous: Predecessor | None = None) -> Snapshot:
    """A Snapshot that has started."""
    place = job_inputs() if spec is None else signing(job_inputs(), spec)
    return snapshot().with_status(transitions.started(snapshot(), environment(), place, moment(0), previous=previous))


def taken(found: Snapshot, place: JobInputs) -> Object:
    frozen = transitions.identity(found)
    return JobBuilder(SETTINGS, place, 1).snapshot(found, frozen, None, state=StoredState(), deadline=600)


def mounts(job: Object) -> bool:
    """Whether its mover has the private key, read-only, and no other container."""
    pod = job["spec"]["template"]["spec"]
    (mover, *beside) = pod["containers"]
    named = [v["secret"]["secretName"] for v in pod["volumes"] if v["name"] == "signing"]
    mounted = [m for m in mover["volumeMounts"] if m["name"] == "signing"]
    assert not any(m["name"] == "signing" for each in beside for m in each["volumeMounts"])
    assert len(named) == len(mounted)
    if named:
        assert named == ["signing"]
        assert mounted == [{"name": "signing", "mountPath": "/secrets/signing", "readOnly": True}]
    return bool(named)


@pytest.mark.parametrize("where", SITES)
def test_only_the_job_that_takes_a_snapshot_has_the_signing_key(where: str) -> None:
    """Those that believe or doubt a manifest know the public keys."""
    place = signing(SITES[where], SIGNING)
    jobs = all_jobs(place)
    assert not [name for name, job in jobs.items() if mounts(job)]
    # Those that read a manifest whose digest no status has, and the check that a signature is still there.
    jobs["list-manifests"] = JobBuilder(SETTINGS, place, "1").list_manifests({}, after="")
    for name in ("snapshot", "inspect-snapshot", "list-manifests", "verify"):
        assert request_of(jobs[name])["store"]["signers"] == [PUBLIC], name
    job = taken(begun(SIGNING, LAST), place)
    assert mounts(job)
    request = request_of(job)
    assert request["signingKey"] == "/secrets/signing"
    assert request["previous"] == LAST.wire()


@pytest.mark.parametrize(
    ("spec", "expected"),
    [(None, None), (CHECKING, None), (SIGNING, Signature(sequence=8, previous=LAST))],
)
def test_the_place_is_frozen_at_the_start(spec: Object | None, expected: Signature | None) -> None:
    """Later attempts have that of the first one. Without a private key nothing is signed."""
    found = begun(spec, LAST)
    assert found.status.signature == expected
    assert mounts(taken(found, signing(job_inputs(), SIGNING))) == (expected is not None)


def test_the_first_one_begins_at_1() -> None:
    assert begun(SIGNING).status.signature == Signature(sequence=1)


def test_the_status_has_what_the_manifest_says() -> None:
    found = begun(SIGNING, LAST)
    signed = Signature(signer=SIGNER, sequence=8, previous=LAST)
    done = {"attempt": "1", "manifestKey": "m", "manifestSha256": DIGEST, "storeId": "s"}
    times = dict.fromkeys(("startedAt", "consistentAt", "completedAt"), at(0))
    for signature in (signed, None):
        result = SnapshotResult(**done, **times, signature=signature)
        for imported in (True, False):
            status = transitions.completed(found, result, None, clean=True, imported=imported, now=moment(60))
            assert status.signature == signature


# --- the chain -------------------------------------------------------------------------------------------------------


def raw(sequence: int, **status: Any) -> Object:
    fields = {"manifestSha256": DIGEST, "signature": {"signer": SIGNER, "sequence": sequence}, **status}
    return {"metadata": {"name": "s", "uid": f"uid-{sequence}"}, "status": started(phase="Complete", **fields)}


def test_only_a_signed_snapshot_with_a_manifest_has_a_place() -> None:
    found = signed_of(raw(3))
    assert found is not None
    assert (found.sequence, found.manifest_sha256) == (3, DIGEST)
    assert signed_of(raw(3, signature={"sequence": 3})) is None
    assert signed_of(raw(3, signature=None)) is None
    assert signed_of(raw(3, manifestSha256=None)) is None
    assert signed_of({"metadata": {"uid": "u"}}) is None


def test_the_next_one_names_the_newest_of_its_own_environment() -> None:
    """An Environment that was made again under the same name begins a chain of its own."""
    ids = [f"00000000-0000-4000-8000-00000000000{number}" for number in range(3)]
    own = [Signed("e", ids[0], DIGEST, 3), Signed("e", ids[1], DIGEST, 12)]
    other = Signed("other", ids[2], DIGEST, 40)
    found = newest([None, own[1], own[0], other], "e")
    assert found == Predecessor(snapshot_id=ids[1], manifest_sha256=DIGEST, sequence=12)
    assert newest([None, other], "e") is None
