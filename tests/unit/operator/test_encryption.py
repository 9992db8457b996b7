"""Encrypted snapshots: to whom, who gets an identity, and what is refused without one, before any Job."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from ocore_crds import conditions as c
from ocore_crds import naming
from ocore_crds.commands.snapshot import SnapshotResult
from ocore_crds.model import LocalRef
from ocore_crds.resources.encryption import Encryption, SnapshotEncryption
from ocore_crds.resources.restore_test import RestoreTests
from ocore_crds.stored import manifest as stored
from ocore_crds.stored.snapshot_state import StoredState
from ocore_crds.text import age_keys
from ocore_operator.encryption import identity_for, identity_of_test, is_closed, need_recipients
from ocore_operator.entries.differentials import Files, Full, pairing_of
from ocore_operator.errors import Stalled
from ocore_operator.extract import plan as extract_plan
from ocore_operator.extract.world import World as ExtractWorld
from ocore_operator.frame.actions import Idle, Record, Wait
from ocore_operator.jobs.building.build import JobBuilder
from ocore_operator.kube import resources
from ocore_operator.kube.resources import Object, Snapshot
from ocore_operator.readiness import plan_store
from ocore_operator.readiness.world import StoreWorld
from ocore_operator.rollback import building, plan_preflight
from ocore_operator.rollback.executed import run_of
from ocore_operator.snapshot import transitions
from ocore_operator.snapshot.plan_base import Wanted, choose
from ocore_operator.sources import source
from support.operator import rollback_changed
from support.operator.differentials import full
from support.operator.jobs import SITES, all_jobs, extract, job_inputs, request_of, rollback
from support.operator.objects import (
    PROJECT,
    SETTINGS,
    at,
    environment,
    moment,
    obj,
    observation,
    snapshot,
    started,
    store,
)
from support.operator.readiness import inputs

ALICE, BOB = (age_keys.recipient(bytes([number]) * 32) for number in (1, 2))
TO_ALICE = SnapshotEncryption(recipients=(ALICE,))
#: The last character is another one: a copy that lost something.
TYPO = ALICE[:-1] + ("q" if ALICE[-1] != "q" else "p")
KEYS = LocalRef(name="drawer")
ENCRYPTED: Object = {"encryption": {"recipients": [ALICE]}}


def encrypted(**status: Any) -> Snapshot:
    """A Complete Snapshot of Alice."""
    complete = {"type": "Complete", "status": "True", "reason": "Succeeded", "lastTransitionTime": at(0)}
    fields = {"phase": "Complete", "conditions": [complete], "manifestSha256": "0" * 64, **ENCRYPTED, **status}
    return snapshot(status=started(**fields))


# --- to whom ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "of_store", "expected"),
    [
        (None, None, ()),
        (None, (ALICE, BOB), (ALICE, BOB)),
        ((BOB,), None, (BOB,)),
        ((BOB,), (ALICE,), (BOB,)),
    ],
)
def test_the_recipients_are_frozen_at_the_start(
    own: tuple[str, ...] | None, of_store: tuple[str, ...] | None, expected: tuple[str, ...]
) -> None:
    """Later attempts have those of the first one, whatever the specs say by then."""
    spec = {"encryption": {"recipients": own}} if own else None
    bucket: Object = {"s3": {"bucket": "snapshots"}}
    place = job_inputs(store=store({**bucket, **({"encryption": {"recipients": of_store}} if of_store else {})}))
    status = transitions.started(snapshot(), environment(spec), place, moment(0))
    assert (status.encryption.recipients if status.encryption is not None else ()) == expected
    snap = snapshot().with_status(status)
    job = JobBuilder(SETTINGS, job_inputs(), 2).snapshot(
        snap, transitions.identity(snap), None, state=StoredState(), deadline=600
    )
    assert tuple(request_of(job).get("recipients", ())) == expected


def test_a_recipient_that_is_none_is_named_with_its_place() -> None:
    need_recipients(None, "Environment", "shop")
    need_recipients(Encryption(recipients=(ALICE, BOB)), "Environment", "shop")
    with pytest.raises(Stalled, match=r"spec\.encryption\.recipients\[1\] of Environment shop: ") as found:
        need_recipients(Encryption(recipients=(ALICE, TYPO)), "Environment", "shop")
    assert found.value.reason == c.RECIPIENT_INVALID


def test_a_store_with_such_a_recipient_is_not_ready() -> None:
    """No Job starts: nothing is stored that no one can open."""
    known = store({"s3": {"bucket": "snapshots"}, "encryption": {"recipients": [TYPO]}})
    action = plan_store.decide(
        StoreWorld(obj=known, now=moment(0), settings=SETTINGS, needs=inputs(), seen=observation())
    )
    assert isinstance(action, Idle)
    assert action.status is not None
    ready = c.find(action.status.conditions, c.READY)
    assert ready is not None
    assert (ready.status, ready.reason) == ("False", c.RECIPIENT_INVALID)


FILES = Files("files", "filestore/shop", "Odoo")
PLAIN = Full("f", "id", "e", "s", FILES, at(0), "0" * 64, sound=True, deleting=False)
CURRENT = replace(PLAIN, recipients=(ALICE, BOB), job_identity="made-for-f")


@pytest.mark.parametrize(
    ("base", "recipients", "current", "usable"),
    [
        (PLAIN, None, False, True),
        (PLAIN, (ALICE,), True, False),
        (PLAIN, (), True, False),
        (CURRENT, None, False, False),
        (CURRENT, (ALICE, BOB), True, True),
        (CURRENT, (BOB,), True, True),  # who leaves keeps the base
        (CURRENT, (ALICE, TYPO), True, False),  # could open the differential, and not its files
        (CURRENT, (ALICE, BOB), False, False),  # mode Sealed
        (replace(CURRENT, job_identity=""), (ALICE, BOB), True, False),
    ],
)
def test_which_base_a_job_can_open(base: Full, recipients: tuple[str, ...] | None, current: bool, usable: bool) -> None:
    wanted = Wanted("e", "s", FILES, recipients, current)
    found = choose("Differential", wanted, (base,), timedelta(days=7), moment(60))
    assert found == (base if usable else None)


def test_what_a_base_needs_comes_from_the_statuses() -> None:
    sealed, mine = pairing_of(full("f", 1, **ENCRYPTED)), Wanted.of(encrypted())
    assert sealed.full is not None
    assert (sealed.full.recipients, sealed.full.job_identity, sealed.held) == ((ALICE,), "", None)
    assert (mine.recipients, mine.current) == ((ALICE,), False)
    held: Object = {"encryption": {"recipients": [ALICE], "jobIdentitySecret": "made"}}
    opened = pairing_of(full("f", 1, **held))
    assert opened.full is not None
    assert opened.held is not None
    assert (opened.full.job_identity, opened.held.secret) == ("made", "made")
    assert Wanted.of(encrypted(**held)).current
    assert "mode Sealed is a full one" in transitions.no_base(encrypted())
    assert "that its Job can open" in transitions.no_base(encrypted(**held))


# --- mode Current ----------------------------------------------------------------------------------------------------


def test_the_job_of_a_snapshot_mounts_its_own_identity_and_its_bases() -> None:
    """Both are optional: a pod would never start without its Secret."""
    own: Object = {"encryption": {"recipients": [ALICE], "jobIdentitySecret": "own"}}
    snap, build = encrypted(**own), JobBuilder(SETTINGS, job_inputs(), 1)
    job = build.snapshot(
        snap, transitions.identity(snap), None, base_identity="of-base", state=StoredState(), deadline=600
    )
    mounted = {
        v["name"]: v["secret"] | {"defaultMode": 0}
        for v in job["spec"]["template"]["spec"]["volumes"]
        if "identity" in v["name"]
    }
    assert mounted == {
        "job-identity": {"secretName": "own", "optional": True, "defaultMode": 0},
        "base-identity": {"secretName": "of-base", "optional": True, "defaultMode": 0},
    }
    request = request_of(job)
    assert (request["jobIdentity"], request["baseIdentity"]) == ("/secrets/job-identity", "/secrets/base-identity")


@pytest.mark.parametrize(
    ("mode", "of_store", "made"), [(None, None, False), ("Sealed", None, False), ("Current", None, True),
                                   (None, "Current", True), ("Sealed", "Current", False)],
)  # fmt: skip
def test_the_mode_is_frozen_at_the_start(mode: str | None, of_store: str | None, made: bool) -> None:
    def given(found: str | None) -> Object:
        return {"encryption": {"recipients": [ALICE], "mode": found}} if found is not None else {}

    place = job_inputs(store=store({"s3": {"bucket": "snapshots"}, **given(of_store)}))
    status = transitions.started(snapshot(), environment(given(mode) or None), place, moment(0))
    found = status.encryption.job_identity_secret if status.encryption is not None else None
    assert found == (naming.job_identity_secret(snapshot().meta.uid) if made else None)


HELD: Object = {"encryption": {"recipients": [ALICE], "jobIdentitySecret": "made"}}
RELEASED: Object = {"remote": {"state": "Completed", "storeName": "far", "requestedAt": at(0), "only": True}}
DAMAGED: Object = {"type": "Verified", "status": "False", "reason": "Corrupt", "lastTransitionTime": at(0)}


@pytest.mark.parametrize(
    ("status", "named", "namespace", "expected"),
    [
        ({}, None, "shop", None),
        ({}, KEYS, "shop", KEYS),
        (HELD, None, "shop", LocalRef(name="made")),
        (HELD, KEYS, "shop", KEYS),
        (HELD, None, "other", None),  # a Job there mounts the Secrets of that namespace
        (HELD, KEYS, "other", KEYS),
        ({**HELD, **RELEASED}, None, "shop", None),  # the copy has no key object for Jobs
        ({**HELD, "conditions": [DAMAGED]}, None, "shop", None),
        ({"encryption": None}, KEYS, "shop", None),
    ],
)
def test_what_opens_a_snapshot(
    status: Object, named: LocalRef | None, namespace: str, expected: LocalRef | None
) -> None:
    found = encrypted(**status)
    assert identity_for(found, named, namespace) == expected
    assert is_closed(found, named, namespace) == (found.status.encryption is not None and expected is None)


def test_whoever_reads_it_asks_the_one_rule() -> None:
    """Rollback, preview, test restore and Extract."""
    held, made = encrypted(**HELD), LocalRef(name="made")
    without = resources.rollback(obj("Rollback", "back", {"snapshotRef": {"name": "before"}}))
    assert building.identity_of(without, held) == made
    assert identity_of_test(held, None) == made
    change = rollback_changed.snapshot(encryption=SnapshotEncryption(recipients=(ALICE,), job_identity_secret="made"))
    started_, _ = rollback_changed.decided(change)
    assert isinstance(started_, Record)
    assert started_.status.stage != "Ended"
    status = reads(encrypted=True).status.model_copy(update={"job_identity_secret": "made"})
    named = extract({"store": {}}, files={"paths": ["a"]}).with_status(status)
    job = JobBuilder(SETTINGS, job_inputs(), 1).extract(named, deadline=600)
    volumes = {v["name"]: v for v in job["spec"]["template"]["spec"]["volumes"]}
    assert volumes["identity"]["secret"]["secretName"] == "made"


# --- who gets an identity --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", SITES)
def test_only_the_job_that_reads_an_encrypted_snapshot_mounts_an_identity(where: str) -> None:
    """None of the others, whatever the objects name: a snapshot, a switch, a deletion or a probe needs none."""
    assert not [name for name, job in all_jobs(SITES[where]).items() if mounts_identity(job)]
    place, back = SITES[where], rollback()
    test = JobBuilder(SETTINGS, place, "1").restore_test(encrypted(), None, identity=KEYS, deadline=600)
    reading = {
        "restore": JobBuilder(SETTINGS, place, 1).restore(back, run_of(back, PROJECT), identity=KEYS, deadline=600),
        "preview": JobBuilder(SETTINGS, place, 1).preview(back, encrypted(), identity=KEYS),
        "test-restore": test,
        "extract": JobBuilder(SETTINGS, place, 1).extract(reads(encrypted=True), deadline=600),
    }
    for name, job in reading.items():
        assert mounts_identity(job), name
        assert request_of(job)["identity"] == "/secrets/identity"
    assert not mounts_identity(JobBuilder(SETTINGS, place, 1).extract(reads(encrypted=False), deadline=600))


@pytest.mark.parametrize(("found", "expected"), [(encrypted(), KEYS), (encrypted(encryption=None), None)])
def test_a_rollback_gives_it_for_an_encrypted_snapshot_only(found: Snapshot, expected: LocalRef | None) -> None:
    spec: Object = {"snapshotRef": {"name": "before"}, "identitySecretRef": {"name": "drawer"}}
    asked = building.identity_of(resources.rollback(obj("Rollback", "back", spec)), found)
    assert asked == expected


def mounts_identity(job: Object) -> bool:
    """Whether its mover has the Secret, read-only."""
    pod = job["spec"]["template"]["spec"]
    (mover, *beside) = pod["containers"]
    named = [v for v in pod["volumes"] if v["name"] == "identity"]
    mounted = [m for m in mover["volumeMounts"] if m["name"] == "identity"]
    assert not any(m["name"] == "identity" for each in beside for m in each["volumeMounts"])
    assert len(named) == len(mounted)
    if named:
        assert [v["secret"]["secretName"] for v in named] == ["drawer"]
        assert mounted == [{"name": "identity", "mountPath": "/secrets/identity", "readOnly": True}]
    return bool(named)


def reads(*, encrypted: bool) -> resources.Extract:
    """An Extract that has started, and names an identity."""
    found = extract({"store": {}}, files={"paths": ["a"]}, identitySecretRef={"name": "drawer"})
    return found.with_status(found.status.model_copy(update={"encrypted": encrypted}))


# --- what is refused -------------------------------------------------------------------------------------------------


def test_a_rollback_without_identity_is_refused_at_once() -> None:
    """Before its lock and any Job: nothing is stopped, and the message has the line to add."""
    change = rollback_changed.snapshot(encryption=TO_ALICE)
    action, status = rollback_changed.decided(change)
    assert isinstance(action, Record)
    failed = c.find(status.conditions, c.FAILED) or action.notes[0]
    assert failed.reason == c.IDENTITY_MISSING
    for line in (ALICE, "identitySecretRef: {name: NAME} in a new Rollback", "--from-file=identity.txt"):
        assert line in failed.message
    named, _ = rollback_changed.decided(change, identitySecretRef={"name": "drawer"})
    assert isinstance(named, Record)
    assert named.status.stage != "Ended"


def test_a_snapshot_whose_recipients_are_unknown_is_refused_too() -> None:
    """It was imported: the outer manifest names none."""
    action, _ = rollback_changed.decided(rollback_changed.snapshot(encryption=SnapshotEncryption(public_key=BOB)))
    assert isinstance(action, Record)
    assert action.notes[0].reason == c.IDENTITY_MISSING
    assert BOB not in action.notes[0].message, "the snapshot's own key is no recipient"


def test_what_a_preview_lists_is_what_a_rollback_is_refused_for() -> None:
    model = rollback_changed.ready()
    world = rollback_changed.snapshot(encryption=TO_ALICE)(model.see(model.time).world)
    found = plan_preflight.refusals(model.spec, world, model.now(), probed=True)
    assert [each.reason for each in found] == [c.IDENTITY_MISSING]


def test_a_test_restore_without_identity_does_not_start() -> None:
    policy = RestoreTests.model_validate({"schedule": ["@weekly"]})
    for verify in (None, policy):
        with pytest.raises(Stalled, match=r"spec\.verify of SnapshotPolicy shop") as found:
            identity_of_test(encrypted(), verify)
        assert found.value.reason == c.IDENTITY_MISSING
    named = policy.model_copy(update={"identity_secret_ref": KEYS})
    assert identity_of_test(encrypted(), named) == KEYS
    assert identity_of_test(encrypted(encryption=None), named) is None


@pytest.mark.parametrize(
    ("target", "identity", "expected"),
    [
        ({"claim": {"path": "restored"}}, None, c.IDENTITY_MISSING),
        ({"claim": {"path": "restored"}}, {"name": "drawer"}, ""),
        ({"store": {}}, None, c.IDENTITY_MISSING),
        ({"store": {}}, {"name": "drawer"}, ""),
        ({"store": {}}, "made", ""),
    ],
)
def test_an_extract_needs_an_identity(target: Object, identity: Object | str | None, expected: str) -> None:
    spec: Object = {"snapshotRef": {"name": "before"}, "files": {"paths": ["a"]}, "target": target}
    status: Object = {"id": "x", "phase": "Pending", "queuedAt": at(0), "environmentName": "shop"}
    found = encrypted(**HELD) if identity == "made" else encrypted()
    if isinstance(identity, dict):
        spec["identitySecretRef"] = identity
    world = ExtractWorld(
        extract=resources.extract(obj("Extract", "one", spec, status, finalizers=["ocore.dev/extract"])),
        now=moment(90),
        seen=observation(),
        snapshot=found,
        environment=environment(),
        store=store(),
        source=source(found),
        locked=True,
    )
    action = extract_plan.decide(world)
    assert not isinstance(action, Wait)
    failed = c.find(action.status.conditions, c.FAILED) if isinstance(action, Record) else None
    assert (failed.reason if failed is not None else "") == expected
    if not expected:
        assert isinstance(action, Record)
        assert action.status.encrypted
        assert action.status.job_identity_secret == (identity if identity == "made" else None)


# --- what the manifest says ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("imported", [False, True])
@pytest.mark.parametrize("found", [None, stored.Encryption(public_key=BOB, recipients=(ALICE,))])
def test_the_status_has_what_the_manifest_has(*, imported: bool, found: stored.Encryption | None) -> None:
    """Not what the specs say now: an adopted snapshot may be older than the recipients."""
    result = SnapshotResult(
        attempt="1",
        manifest_key="k",
        manifest_sha256="0" * 64,
        store_id=PROJECT,
        started_at=at(0),
        consistent_at=at(0),
        completed_at=at(1),
        encryption=found,
    )
    status = transitions.completed(
        encrypted(encryption={"recipients": [BOB]}), result, None, clean=True, imported=imported, now=moment(9)
    )
    expected = SnapshotEncryption(public_key=BOB, recipients=(ALICE,)) if found is not None else None
    assert status.encryption == expected
