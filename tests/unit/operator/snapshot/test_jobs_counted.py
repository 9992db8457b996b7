"""How many Jobs a Snapshot needs. Each costs seconds of a pod."""

from ocore_crds.protocol import CopyResult, Payload, RestoreTestResult
from ocore_crds.resources.restore_test import RestoreTestRequest
from ocore_operator import remote_status
from ocore_operator.frame.actions import Idle, Record
from ocore_operator.jobs.observing.snapshot_jobs import copying
from ocore_operator.kube.resources import Object, Snapshot
from ocore_operator.snapshot import transitions
from ocore_operator.snapshot.plan import decide
from ocore_operator.snapshot.world import Finish, RemoteView, RestoreTest, Start, StartCopy, StartRestoreTest, World
from support.operator.attempts import RESULT
from support.operator.objects import OTHER_UID, SETTINGS, at, job, moment, observation, pod, snapshot, started
from support.operator.terminal_snapshot import job_named, said

RUN = "0badcafe"
COPIED = CopyResult(store_id=OTHER_UID, manifest_key="k", manifest_sha256=RESULT.manifest_sha256)
TESTED = RestoreTestResult(
    manifest_sha256=RESULT.manifest_sha256,
    server="db:5432",
    server_version="17.2",
    duration_seconds=4.0,
    download_seconds=1,
    load_seconds=1,
    check_seconds=1,
    files_seconds=1,
)
#: Decisions in which every Snapshot of these tests has nothing left to do.
STEPS = 40


class Cluster:
    """Every Job ends well at once. What the operator would read, and the commands of the Jobs that it has created."""

    def __init__(self, snap: Snapshot) -> None:
        self.snapshot = snap
        self.commands: list[str] = []
        self._jobs: dict[str, Object] = {}
        self._pods: dict[str, list[Object]] = {}

    def world(self) -> World:
        seen = observation(list(self._jobs.values()), self._pods, seconds=200)
        status = self.snapshot.status
        if status.completed_at is None:
            return World(self.snapshot, moment(200), SETTINGS, seen)
        request = status.restore_test_request
        answered = status.restore_test.answered if status.restore_test is not None else ()
        asked = RestoreTest(RUN, False) if request is not None and request.run not in answered else None
        return World(
            self.snapshot, moment(200), SETTINGS, seen, store_writable=True, remote=RemoteView(wanted="far"),
            restore_test=asked,
        )  # fmt: skip

    def create(self, command: str, name: str, result: Payload) -> None:
        self.commands.append(command)
        self._jobs[name] = job(name, command, condition="Complete")
        self._pods[name] = [pod(name, said(result), phase="Succeeded")]


def asked(snap: Snapshot) -> Snapshot:
    """What the Environment's remote store and the policy ask for, once the Snapshot is Complete."""
    status = remote_status.requested(snap, "far", moment(61))
    return snap.with_status(status.model_copy(update={"restore_test_request": RestoreTestRequest(run=RUN, slot=at(0))}))


def jobs(cluster: Cluster) -> list[str]:
    """Commands of the Jobs until nothing is left to do."""
    for _ in range(STEPS):
        snap = cluster.snapshot
        match decide(cluster.world()):
            case Start(attempt=number):
                cluster.create("snapshot", job_named("snapshot", number), RESULT)
            case Finish(result=result, clean=clean):
                status = transitions.completed(snap, result, None, clean=clean, imported=False, now=moment(60))
                cluster.snapshot = asked(snap.with_status(status))
            case StartCopy(attempt=number):
                cluster.create("copy-remote", copying(snap).job(number), COPIED)
            case StartRestoreTest(run=run, attempt=number):
                cluster.create("test-restore", job_named("test-restore", number, f"{run}-"), TESTED)
            case Record(status=status):
                cluster.snapshot = snap.with_status(status)
            case Idle(status=status) if status is None or status == snap.status:
                return cluster.commands
            case Idle(status=status):
                cluster.snapshot = snap.with_status(status)
            case other:
                raise AssertionError(other)
    raise AssertionError(f"it does not end: {cluster.snapshot.status}")


def test_a_scheduled_snapshot_with_remote_copy_and_test_restore_needs_three_jobs() -> None:
    spec = {"trigger": "Scheduled", "retention": "Policy", "deletionPolicy": "Delete"}
    taken = snapshot(spec, started(), finalizers=["ocore.dev/data"], generation=1, creationTimestamp=at(0))
    assert jobs(Cluster(taken)) == ["snapshot", "copy-remote", "test-restore"]
