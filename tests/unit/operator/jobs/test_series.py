"""Names of the Jobs of a Snapshot."""

import pytest

from ocore_crds.resources.remote_copy import CopyPlace
from ocore_operator.jobs.observing.snapshot_jobs import Deletes, attempts, copying, deletion, state_writing
from ocore_operator.kube.resources import Snapshot
from support.operator.objects import UID, at, moment, snapshot, started
from support.operator.remote_copies import DONE

OWNER = UID.replace("-", "")[:12]
ASKED, BEFORE = int(moment(61).timestamp()), int(moment(7).timestamp())


def _snapshot(*, replaces: bool = False, remote: bool = True) -> Snapshot:
    place = CopyPlace(store_name="before", store_id="before", requested_at=at(7)) if replaces else None
    copy = DONE.model_copy(update={"replaces": place}) if remote else None
    snap = snapshot(status=started())
    return snap.with_status(snap.status.model_copy(update={"remote": copy}))


def test_the_names_stay_those_of_jobs_that_an_earlier_version_has_created() -> None:
    snap = _snapshot(replaces=True)
    assert {each: deletion(snap, each).job(3) for each in Deletes} == {
        Deletes.ALL: f"delete-{OWNER}-3",
        Deletes.LEFTOVERS: f"delete-{OWNER}-left3",
        Deletes.LOCAL: f"delete-{OWNER}-local-{ASKED}-3",
        Deletes.COPY: f"delete-{OWNER}-remote-{ASKED}-3",
        Deletes.REPLACED: f"delete-{OWNER}-replaced-{BEFORE}-3",
    }
    assert attempts(snap).job(2) == f"snapshot-{OWNER}-2"
    assert copying(snap).job(1) == f"copy-remote-{OWNER}-{ASKED}-1"
    assert state_writing(snap, remote=False).job(2) == f"write-state-{OWNER}-2"
    assert state_writing(snap, remote=True).job(2) == f"write-state-{OWNER}-remote-{ASKED}-2"


@pytest.mark.parametrize("deletes", [Deletes.LOCAL, Deletes.COPY, Deletes.REPLACED])
def test_without_a_copy_nothing_else_is_deleted_in_its_place(deletes: Deletes) -> None:
    with pytest.raises(ValueError, match=deletes.name):
        deletion(_snapshot(remote=False), deletes)


def test_only_a_copy_that_was_replaced_is_deleted_as_one() -> None:
    with pytest.raises(ValueError, match="REPLACED"):
        deletion(_snapshot(), Deletes.REPLACED)
    with pytest.raises(ValueError, match="no remote copy"):
        copying(_snapshot(remote=False))
