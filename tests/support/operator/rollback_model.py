"""A small world to run the plan of a rollback against: databases, folders, workloads with pods, Jobs with programs, an
API server that knows versions. Every program moves in single steps and can be killed between any two of them, as the
real one can.

It checks the promises as it goes: a violation is an AssertionError at the moment it happens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Literal

from ocore_crds import conditions as c
from ocore_crds.protocol import (
    CleanupResult,
    Failure,
    Finding,
    NeutralizeResult,
    Payload,
    ProbeResult,
    RestoreResult,
    Signal,
    SwitchResult,
)
from ocore_crds.resources.rollback import RollbackSpec, RollbackStatus, RollbackTarget
from ocore_crds.stored.manifest import Evidence
from ocore_operator.clock import parse
from ocore_operator.frame.actions import Record, SetFinalizer, SetLock
from ocore_operator.kube.resources import Environment, Snapshot
from ocore_operator.rollback import world as v
from ocore_operator.rollback.observe_source import READING
from ocore_operator.rollback.plan_switch import STOP_JOBS_SECONDS
from ocore_operator.rollback.snapshot_and_environment import target_of
from ocore_operator.rollback.transitions import stamp, unanswered
from ocore_operator.workloads import quiesce
from ocore_operator.workloads.images import TemplateChange
from ocore_operator.workloads.quiesce import SetReplicas
from ocore_operator.workloads.view import Commit, ContainerView, WorkloadView
from support.operator import rollback_seen

START, ENVIRONMENT_ID, PROJECT_ID = rollback_seen.START, rollback_seen.ENVIRONMENT_ID, rollback_seen.PROJECT_ID
ROLLBACK_ID = "0a1b2c3d-0000-4000-8000-000000000001"
OTHER_ENVIRONMENT_ID = "e0000000-0000-4000-8000-000000000002"
#: Seconds that an ended Job is kept.
JOB_TTL = 120
#: Seconds after which the operator reports a Job that has not started as failed.
START_DEADLINE = 180
#: Seconds from the end of a Job's container until the kubelet has released its volumes.
RELEASE = 1.0
Content = Literal["old", "new"]
#: The image that the snapshot has recorded, and the one that runs at the start.
DIGEST = "sha256:" + "1" * 64
RECORDED = f"registry/shop:1@{DIGEST}"
RUNNING = "registry/shop:2"
#: Seconds that the Job of a restore waits for its signal.
WAIT_SECONDS = quiesce.STOP_SECONDS + quiesce.DRAIN_SECONDS + 5
#: Seconds that a safety snapshot takes, and its cancellation.
SNAPSHOT_SECONDS = 30
CANCEL_SECONDS = 5


@dataclass
class Data:
    """The server's databases and the filestore's folders (layout Plain), by what they hold."""

    live: Content = "old"
    missing: bool = False  # `old` is then no database at all
    restored: bool = False
    previous: bool = False
    accepting: bool = True
    folder: Content = "old"
    staged: bool = False
    neutralized: bool = False  # the restored one
    kept_folder: bool = False

    @property
    def position(self) -> Literal["Old", "New"]:
        """By the databases' names, as the mover derives it."""
        return "New" if self.live == "new" else "Old"

    def allow(self) -> None:
        """Connections are allowed only to a whole: never to a half."""
        assert self.live == self.folder, f"connections to a half: database {self.live}, folder {self.folder}"
        self.accepting = True


@dataclass
class SimPod:
    """A pod of a workload."""

    leaves_at: float | None = None
    ready_at: float = 0.0


@dataclass
class SimWorkload:
    """A Deployment."""

    name: str
    replicas: int
    version: int = 1
    pods: list[SimPod] = field(default_factory=list)
    #: Replicas that an autoscaler has added to the saved ones. They never become ready.
    extra: int = 0
    #: Someone else has scaled it up.
    started_by_others: bool = False
    image: str = RUNNING
    commit: str | None = "c2"
    #: Someone else has set the image since the rollback began.
    deployed: bool = False


@dataclass
class SimSnapshot:
    """The object that has the name of the safety snapshot, with its own reconciles."""

    uid: str
    ours: bool = True
    began: float | None = None
    deleted: float | None = None
    state: Literal["Running", "Complete", "Failed"] = "Running"
    #: It will fail.
    fails: bool = False

    @property
    def runs(self) -> bool:
        """Its Job runs."""
        return self.began is not None and self.state == "Running"


@dataclass
class SimJob:
    """A Job with one pod and its program."""

    name: str
    command: v.JobCommand
    attempt: int
    uid: int
    created: float
    program: Iterator[None]
    version: int = 1
    alive: bool = True
    ended: bool = False
    #: Until then its container does not run: the volume is still attached elsewhere.
    starts_at: float = 0.0
    #: Its pod mounts the filestore's claim.
    mounted: bool = True
    #: Its log has its result.
    reported: bool = False
    stopping_since: float | None = None
    stopping_at: float | None = None
    restarts: int = 0
    ready: bool = False
    signal: Signal | None = None
    repetition: int = 0
    answer: SwitchResult | None = None
    payload: Payload | None = None
    failure: Failure | None = None
    ended_at: float = 0.0
    #: Its pod is gone with its node, and no node takes the replacement.
    moved: bool = False
    #: It makes the preflight; what its log says of it.
    joined: bool = False
    probe: ProbeResult | None = None
    #: It makes the first attempt at the switch, too; what its log says of the restore.
    goes_on: bool = False
    restored: RestoreResult | None = None


#: Stages in which the safety snapshot is read.
SAVING = ("Restore", "Await", "Abort")


class Infrastructure(Exception):
    """The server does not answer; a new attempt may succeed."""


class Refused(Exception):
    """Never, for a reason that stays."""


class Blocked(Exception):
    """A session that cannot be ended uses the live database."""


class SimConflict(Exception):
    """The API server's 409: the object moved on since it was read."""


@cache
def _environment(*, probed_at: datetime | None, kind: str, lacks_grant: bool, missing: bool, claim: str) -> Environment:
    return rollback_seen.environment(
        capacity=10**12,
        probed_at=probed_at,
        type=kind,
        server_major=17,
        database_name="shop",
        used_bytes=10**9,
        rollback_ready=not lacks_grant,
        not_ready_reason=c.MISSING_GRANTS if lacks_grant else None,
        snapshot_ready=not missing,
        snapshot_not_ready_reason=c.DATABASE_NOT_FOUND if missing else None,
        neutralize_command=False,
        neutralize_sql=True,
        target=RollbackTarget(database_secret_name="db", claim_name=claim, path="shop", layout="Plain"),
    )


@cache
def _snapshot(*, other: bool, image: bool) -> Snapshot:
    return rollback_seen.snapshot(
        id="50000000-0000-4000-8000-000000000001",
        environment_id=OTHER_ENVIRONMENT_ID if other else ENVIRONMENT_ID,
        environment_type="production",
        project_id=PROJECT_ID,
        store_id="store-1",
        manifest_sha256="a" * 64,
        server_major=17,
        database_bytes=10**9,
        image="registry/shop:1" if image else "",
        image_digest=DIGEST,
        commit="c1" if image else "",
    )


@dataclass(frozen=True)
class Seen:
    """What an operator has read: a world, and the versions of its objects."""

    world: v.World
    status: RollbackStatus
    status_version: int
    versions: dict[str, int]
    uids: dict[str, int]


class Model:
    """The world."""

    def __init__(
        self,
        *,
        replicas: tuple[int, ...] = (2, 1),
        new_is_healthy: bool = True,
        old_is_healthy: bool = True,
        undo_window: int = 600,
        timeout: int = 1200,
        sidecars: bool = False,
        hangs: bool = False,
        missing: bool = False,
        other: bool = False,
        neutralize: bool = False,
        safety: bool = False,
        restore_image: Literal["Never", "Always", "WaitForGit"] = "Never",
        probed: bool = False,
    ) -> None:
        self.time = 0.0
        #: The Snapshot is one of another environment, in another namespace.
        self.other = other
        #: That namespace grants nothing any more, or is gone.
        self.revoked = False
        self.spec = RollbackSpec.model_validate(
            {
                "snapshotRef": {"name": "s1", **({"namespace": "prod"} if other else {})},
                **({"targetEnvironmentRef": {"name": "shop"}} if other else {}),
                "undoWindowSeconds": undo_window,
                "timeoutSeconds": timeout,
                "readyTimeoutSeconds": 60,
                "createSafetySnapshot": safety,
                "restoreImage": restore_image if replicas and not other else "Never",
            }
        )
        #: The snapshot is of production and the environment is staging now.
        self.neutralize = neutralize
        self.healthy: dict[Content, bool] = {"old": old_is_healthy and not missing, "new": new_is_healthy}
        self.status = RollbackStatus()
        self.version = 1
        self.exists = True
        self.deleting = False
        self.finalizer = False
        self.environment = True
        self.claim = "files"
        self.executed = False
        self.holder: str | None = None
        self.locked_since = 0.0
        #: `probed`: before the rollback.
        self.probed_at: float | None = -60.0 if probed else None
        self.asked = False
        #: A grant is missing, and the last probe has found that.
        self.lacks_grant = self.found_missing = False
        #: What the restore's Job has handed to the Environment: when it was created, and the result.
        self.reported: tuple[float, ProbeResult] | None = None
        self.probe_alone = False
        #: The logs of Jobs can be read.
        self.logs = True
        #: The operator has tried to read one.
        self.log_tried = False
        self.data = Data(missing=missing)
        self.saved = replicas
        self.workloads = [SimWorkload(f"w{i}", n, pods=[SimPod() for _ in range(n)]) for i, n in enumerate(replicas)]
        self.snapshot: SimSnapshot | None = None
        self.snapshots = 0
        #: A GitOps tool owns the images.
        self.tool = ""
        #: The API server refuses to change an image.
        self.images_refused = self.were_refused = False
        #: The API server refuses to scale workloads; when it last did, and what the operator remembers of it.
        self.scales_refused = False
        self.refused_scale_at = 0.0
        self.scale_refused_at: float | None = None
        self.jobs: dict[str, SimJob] = {}
        #: An injected container keeps the pods of ended Jobs running.
        self.sidecars = sidecars
        #: The process of a switch does not end after its result, and the workloads start on another node.
        self.hangs = hangs
        #: Seconds until the container of a Job that is created now runs.
        self.start_seconds = 0.0
        self.next_uid = 1
        self.server_up = True
        #: A session that the switch Job cannot end uses the live database.
        self.session = False
        self.quota = True
        self.refused_since: float | None = None
        self.grace = 5.0
        self.stale_starts = False
        self.switches = 0
        self.backs = 0
        #: Files that were lost before the snapshot.
        self.lost_files: tuple[str, ...] = ()
        #: The last time at which someone switched by hand.
        self.by_hand_at: float | None = None
        self.signalled_at: float | None = None
        self.ended_at: float | None = None
        self.disturbed_at = 0.0

    # --- time ---------------------------------------------------------------------------------------------------------
    def now(self) -> datetime:
        """The clock."""
        return START + timedelta(seconds=self.time)

    def advance(self, seconds: float, steps: int = 1) -> None:
        """Time passes; every program makes up to `steps` steps; pods come and go."""
        self.time += seconds
        for job in list(self.jobs.values()):
            for _ in range(steps):
                if job.alive and not job.ended and self.time >= job.starts_at:
                    self._step(job)
            if job.ended and not self.sidecars and self.time >= job.ended_at + RELEASE:
                job.mounted = False
            if job.ended and not job.mounted and self.time > job.ended_at + JOB_TTL:
                del self.jobs[job.name]
            elif job.stopping_at is not None and self.time >= job.stopping_at:
                job.alive = False
                self._released(job)
                del self.jobs[job.name]
        for workload in self.workloads:
            self._settle_pods(workload)
        if self.asked and self.server_up:
            self.probed_at, self.asked, self.found_missing = self.time, False, self.lacks_grant
        elif self.reported is not None and self.reported[0] > (self.probed_at or 0):
            self.probed_at, self.found_missing = self.reported[0], bool(self.reported[1].blocking)
        self._snapshot_goes_on()
        self.check()

    def _snapshot_goes_on(self) -> None:
        """It begins once its Rollback names it, as snapshot/observe.py does."""
        found = self.snapshot
        if found is None:
            return
        if found.deleted is not None and (found.began is None or self.time >= found.deleted + CANCEL_SECONDS):
            self.snapshot = None
        elif found.deleted is not None or found.state != "Running" or not found.ours:
            return
        elif found.began is None:
            named = self.status.safety_snapshot_id == found.uid and self.status.stage in ("Restore", "Await")
            if named and self.holder == "ours" and not self.deleting:
                found.began = self.time
        elif self.time >= found.began + SNAPSHOT_SECONDS:
            found.state = "Failed" if found.fails or not self.server_up else "Complete"

    def deploy(self, image: str) -> None:
        """Someone else sets the image of every workload: a person, or a tool from Git."""
        for workload in self.workloads:
            if workload.image != image:
                workload.image, workload.commit, workload.deployed = image, "c3", True
                workload.version += 1

    def _settle_pods(self, workload: SimWorkload) -> None:
        workload.pods = [p for p in workload.pods if p.leaves_at is None or p.leaves_at > self.time]
        staying = [p for p in workload.pods if p.leaves_at is None]
        for pod in staying[workload.replicas :]:
            pod.leaves_at = self.time + self.grace
        for _ in range(workload.replicas - len(staying)):
            workload.pods.append(SimPod(ready_at=self.time + 3))

    def _ready(self, workload: SimWorkload) -> int:
        """Pods that are ready. What an autoscaler adds to the saved replicas never is."""
        ready = [p for p in workload.pods if p.leaves_at is None and p.ready_at <= self.time]
        if any(job.reported and job.alive for job in self.jobs.values()):  # the claim cannot be attached there
            return 0
        well = self.data.accepting and self.healthy[self.data.live]
        return min(len(ready), self.saved[self.workloads.index(workload)]) if well else 0

    # --- Jobs ---------------------------------------------------------------------------------------------------------
    def _step(self, job: SimJob) -> None:
        try:
            next(job.program)
        except StopIteration:
            self._end(job)
        except Infrastructure:
            self._end(job, Failure(reason=c.DATABASE_UNREACHABLE, message="no answer", retryable=True))
        except Blocked:
            self._end(job, Failure(reason=c.SESSIONS_REMAIN, message="a session of the superuser postgres"))
        except Refused as refusal:
            self._end(job, Failure(reason=c.SWITCH_FAILED, message=str(refusal)))

    def _end(self, job: SimJob, failure: Failure | None = None) -> None:
        job.failure = failure
        job.ended, job.alive, job.ready, job.ended_at = True, False, False, self.time

    def _released(self, job: SimJob) -> None:
        """SIGTERM and SIGKILL of a program: its work stays half done; a real switch repairs what it can."""
        switches = job.command in ("switch", "switch-back") or job.signal is not None
        if switches and not job.ended and not job.moved and self.server_up:
            self._repair()

    def kill(self, job: SimJob) -> None:
        """`kill -9`: the container starts again, up to six times; that of a restore does not."""
        job.restarts += 1
        job.ready, job.answer, job.reported = False, None, False
        if job.restarts > 6 or job.command == "restore":
            self._end(job, Failure(reason=c.JOB_FAILED, message="backoffLimit", retryable=True))
        else:
            job.program = self._program(job.command, job)

    def lose(self, job: SimJob) -> None:
        """The node is lost or drained: the pod is gone and its result was not read. The Job of a switch, of which the
        container may restart, makes another pod."""
        job.answer, job.mounted, job.reported = None, False, False
        if job.command in ("switch", "switch-back"):
            job.alive, job.ready, job.moved = False, False, True
            return
        self._end(job, Failure(reason=c.JOB_LOST, message="the pod is gone", retryable=True))

    def _up(self) -> None:
        if not self.server_up:
            raise Infrastructure

    def _program(self, command: v.JobCommand, job: SimJob) -> Iterator[None]:
        programs = {
            "restore": self._restore,
            "neutralize": self._neutralize,
            "switch": self._switch,
            "switch-back": self._switch_back,
            "inspect": self._inspect,
            "inspect-only": self._inspect_only,
            "cleanup-restored": self._cleanup_restored,
            "cleanup-previous": self._cleanup_previous,
        }
        return programs[command](job)

    def _restore(self, job: SimJob) -> Iterator[None]:
        self._up()
        if job.joined:
            missing = (Finding(reason=c.MISSING_GRANTS, message="ALTER ROLE"),) if self.lacks_grant else ()
            found = ProbeResult(blocking=missing)
            if missing:
                job.payload = found
                return
            job.probe = found
            yield
            self._up()
        assert not self.found_missing or self.stale_starts, "restored though a grant is missing"
        if self.data.position == "New" or self.data.previous:
            raise Refused("the environment runs on this rollback already")
        self.data.restored = self.data.staged = self.data.neutralized = False
        yield
        self._up()
        self.data.restored = True
        yield
        self._up()
        self.data.staged = True
        yield
        proven = Evidence(required=("attachments",), proven=("attachments: all files",), missing=self.lost_files)
        result = RestoreResult(restored_database="shop_rb_0a1b2c3d", live_missing=self.data.missing, evidence=proven)
        if job.goes_on:
            job.restored = result
            yield
            yield from self._first_switch(job, result)
        else:
            job.payload = result

    def _first_switch(self, job: SimJob, result: RestoreResult) -> Iterator[None]:
        """In the Job of the restore. What prevents it before the signal ends the Job with the result of the restore."""
        patience = self.time + 20
        while self.session and self.time < patience:
            yield
        if not self.server_up or self.session:
            job.payload = result
            return
        job.ready = True
        until = self.time + WAIT_SECONDS
        while job.signal is None:
            if self.time >= until:
                job.payload = result
                return
            yield
        yield from self._by_signal(job, job.signal)

    def _neutralize(self, job: SimJob) -> Iterator[None]:
        """Scripts, then assertions, then the mark."""
        self._up()
        if self.data.position == "New" or not self.data.restored:
            raise Refused("nothing is restored")
        self.data.neutralized = False
        yield
        self._up()
        yield
        self._up()
        self.data.neutralized = True
        yield
        job.payload = NeutralizeResult(neutralized=True, evidence=Evidence(proven=("neutralised: all is off",)))

    def _repair(self) -> None:
        """Finishes a switch that was stopped between two renames, and allows connections."""
        if self.data.folder != self.data.live:
            self._move_folder(self.data.live)
        self.data.allow()

    def _move_folder(self, to: Content) -> None:
        self.data.folder = to
        self.data.staged, self.data.kept_folder = (False, True) if to == "new" else (True, False)

    def _result(self) -> SwitchResult:
        return SwitchResult(
            position=self.data.position, live_database="shop", accepting_connections=self.data.accepting
        )

    def _rename(self, to: Content) -> None:
        if to == "new":
            assert self.data.restored, "switched to nothing"
            assert self.data.neutralized or not (self.neutralize or self.other), (
                "a copy became live that is not neutralised"
            )
            assert not self.data.accepting, "switched while connections are allowed"
            saved = self.status.safety_snapshot_at is not None
            assert saved or not self.spec.create_safety_snapshot, "switched without a Complete safety snapshot"
            assert self.status.position == "Old", "switched though the status says New"
            self.switches += 1
            assert self.switches == 1, "switched twice"
        else:
            self.backs += 1
            assert self.data.previous, "switched back to nothing"
            assert self.backs == 1, "switched back twice"
        self.data.live = to
        self.data.restored, self.data.previous = (False, not self.data.missing) if to == "new" else (True, False)

    def _move(self, to: Content) -> Iterator[None]:
        """Refuse, end sessions, rename, move the folder, allow: each may be the last thing a killed program did."""
        self._up()
        self.data.accepting = False
        yield
        self._up()
        self._rename(to)
        yield
        self._move_folder(to)
        yield
        self._up()
        self.data.allow()
        yield

    def _give_up(self, job: SimJob) -> Iterator[None]:
        """A session stays after connections were refused: they are allowed again, and the Job ends with its answer."""
        self._up()
        self.data.accepting = False
        yield
        self._up()
        self.data.allow()
        job.payload = self._not_switched(c.SESSIONS_REMAIN, "a session of the superuser postgres")

    def _not_switched(self, reason: str, message: str) -> SwitchResult:
        failure = Failure(reason=reason, message=message, retryable=True)
        return self._result().model_copy(update={"failure": failure})

    def _switch(self, job: SimJob) -> Iterator[None]:
        self._up()
        if self.data.position == "Old" and not self.data.restored:
            raise Refused("nothing is restored")
        assert self.data.neutralized or not (self.neutralize or self.other), (
            "the switch is prepared before the copy is neutralised"
        )
        self._repair()
        patience = self.time + 20
        while self.session and self.data.position == "Old":
            if self.time >= patience:
                raise Blocked
            yield
        job.ready = True
        until = self.time + 900
        while job.signal is None:
            if self.time >= until:
                raise Refused("DeadlineExceeded")
            yield
        yield from self._by_signal(job, job.signal)

    def _by_signal(self, job: SimJob, signal: Signal) -> Iterator[None]:
        assert signal.job == job.name, "obeyed the signal of another Job"
        if self.data.position == "Old" and self.now().timestamp() > signal.not_after:
            job.payload = self._not_switched(c.SWITCH_FAILED, "the signal expired")
            return
        if self.data.position == "Old" and self.session:
            yield from self._give_up(job)
            return
        if self.data.position == "Old":
            yield from self._move("new")
        job.answer = self._result()
        yield  # the outcome is written to the store
        job.payload, job.reported = self._result(), True
        while self.hangs:
            yield
        yield  # the process ends

    def _switch_back(self, job: SimJob) -> Iterator[None]:
        self._up()
        self._repair()
        yield
        if self.data.position == "New":
            yield from self._move("old")
        job.payload = self._result()

    def _inspect(self, job: SimJob) -> Iterator[None]:
        self._up()
        self._repair()
        yield
        job.payload = self._result()

    def _inspect_only(self, job: SimJob) -> Iterator[None]:
        self._up()
        yield
        job.payload = self._result()

    def switch_by_hand(self) -> None:
        """As docs/mover.md shows it, inside the undo window: what is not live any more may have users' changes."""
        to: Content = "old" if self.data.live == "new" else "new"
        self.data.live = to
        self.data.restored, self.data.previous = (False, True) if to == "new" else (True, False)
        self._move_folder(to)
        # There and back between two reads cannot be seen.
        self.by_hand_at = None if self.data.position == self.status.position else self.time

    def _check_drop(self) -> None:
        """Nothing that was live is dropped inside its undo window."""
        if self.by_hand_at is not None and not self.deleting:
            kept = self.time - self.by_hand_at
            assert kept >= self.spec.undo_window_seconds, f"dropped {kept:.0f} s after a switch by hand"

    def _cleanup_restored(self, job: SimJob) -> Iterator[None]:
        self._up()
        self._repair()
        if self.data.position == "New":
            raise Refused("the environment runs on it")
        yield
        self._up()
        window_ended = self.status.undo_until is not None and self.now() >= parse(self.status.undo_until)
        assert not self.backs or window_ended or self.deleting, (
            "what was switched back is dropped inside the undo window"
        )
        self._check_drop()
        self.data.restored = False
        yield
        self.data.staged = False
        job.payload = CleanupResult()

    def _cleanup_previous(self, job: SimJob) -> Iterator[None]:
        self._up()
        self._repair()
        if self.data.position == "Old":
            raise Refused("the environment runs on it")
        yield
        self._up()
        window_ended = self.status.undo_until is not None and self.now() >= parse(self.status.undo_until)
        assert window_ended or self.deleting, "the previous database is dropped inside the undo window"
        held = self.holder == "ours" or not self.environment
        assert held or self.stale_starts, "the previous database is dropped without the operation lock"
        self._check_drop()
        self.data.previous = False
        yield
        self.data.kept_folder = False
        job.payload = CleanupResult()

    # --- what an operator reads and does -----------------------------------------------------------------------------
    def see(self, watched_since: float) -> Seen:
        """Everything, read afresh."""
        return Seen(
            world=replace(self._world(), watched_since=START + timedelta(seconds=watched_since)),
            status=self.status,
            status_version=self.version,
            versions={**{w.name: w.version for w in self.workloads}, **{j.name: j.version for j in self.jobs.values()}},
            uids={j.name: j.uid for j in self.jobs.values()},
        )

    def _world(self) -> v.World:
        at = START
        probed = START + timedelta(seconds=self.probed_at) if self.probed_at is not None else None
        environment = _environment(
            probed_at=probed,
            kind="staging" if self.neutralize else "production",
            lacks_grant=self.found_missing,
            missing=self.data.missing,
            claim=self.claim,
        )
        snapshot = _snapshot(other=self.other, image=self.spec.restore_image != "Never")
        source = v.SourceView()
        if self.other:
            source = v.SourceView(namespace="prod", into="stage", store=v.StoreView("reader", id="store-1"))
        read = not self.other or (not self.revoked and self.status.stage in READING)
        lock = v.OperationLock("Free")
        if self.holder is not None:
            mine = self.holder == "ours"
            lock = v.OperationLock(
                "Ours" if mine else "Other", self.holder, START + timedelta(seconds=self.locked_since)
            )
        refused = START + timedelta(seconds=self.refused_since) if self.refused_since is not None else None
        return v.World(
            created=at,
            environment=environment if self.environment else None,
            executed=self.executed,
            snapshot=snapshot if read else None,
            source=source,
            environment_name="shop",
            deleting=self.deleting,
            finalizer=self.finalizer,
            lock=lock,
            jobs=tuple(self._job_view(j) for j in self.jobs.values()),
            workloads=tuple(self._workload_view(w) for w in self.workloads),
            refused_since=refused,
            refusal="quota",
            scale_refused=self._scale_refused(),
            probe_asked=self.asked,
            probe_reported=stamp(self._at(self.reported[0])) if self.reported is not None else "",
            probe_alone=self.probe_alone,
            logs_unreadable=self.log_tried and not self.logs,
            safety_name="r1-safety" if self.spec.create_safety_snapshot else "",
            safety=self._safety() if self.status.stage in SAVING else None,
            owns_safety=self.snapshot is not None and self.snapshot.ours,
        )

    def _scale_refused(self) -> quiesce.Refused | None:
        if self.scale_refused_at is None:
            return None
        return quiesce.Refused(START + timedelta(seconds=self.scale_refused_at), "the webhook does not answer")

    def _safety(self) -> Snapshot | None:
        found = self.snapshot
        if found is None or not self.spec.create_safety_snapshot:
            return None
        return rollback_seen.snapshot(
            name="r1-safety",
            uid=found.uid,
            complete=found.state == "Complete",
            failed=found.state == "Failed",
            deleting=found.deleted is not None,
            waits_for="it runs.",
            consistent_at="2026-01-01T00:00:00Z" if found.state == "Complete" else None,
        )

    @staticmethod
    def _at(seconds: float) -> datetime:
        return START + timedelta(seconds=seconds)

    def _job_view(self, job: SimJob) -> v.JobView:
        view = self._as_it_runs(job)
        if job.ended and isinstance(job.payload, ProbeResult):
            view = replace(view, probe=job.payload)
        elif self.logs:
            view = replace(view, probe=job.probe, restored=job.restored)
        if job.goes_on and not self.logs:
            view = replace(view, ready=False, answer=None)
        if job.ended or self.time >= job.starts_at or self.time - job.created <= START_DEADLINE:
            return view
        late = Failure(reason=c.POD_NOT_STARTED, message="FailedAttachVolume")
        return replace(view, ended=True, failure=late, ended_at=self.now())

    def _as_it_runs(self, job: SimJob) -> v.JobView:
        kinds: dict[str, v.JobKind] = {
            "restore": "restore",
            "neutralize": "neutralize",
            "inspect": "inspect",
            "inspect-only": "inspect",
        }
        kind = kinds.get(job.command, "switch" if job.command.startswith("switch") else "cleanup")
        return v.JobView(
            kind=kind,
            attempt=job.attempt,
            name=job.name,
            ended=job.ended,
            pods=int(job.alive or job.moved),
            moved=job.moved and job.stopping_at is None,
            mounts=int(job.mounted and (self.sidecars or not job.ended)),
            reported=job.reported and self.logs and not self.sidecars,
            closed=job.ended and not job.mounted,
            stopping=job.stopping_at is not None,
            stopping_since=START + timedelta(seconds=job.stopping_since) if job.stopping_since is not None else None,
            ready=job.ready and job.alive,
            signal=job.signal,
            repetition=job.repetition,
            answer=job.answer,
            created=stamp(START + timedelta(seconds=job.created)),
            payload=job.payload if job.ended else None,
            failure=job.failure,
            ended_at=START + timedelta(seconds=job.ended_at) if job.ended else None,
        )

    def _workload_view(self, workload: SimWorkload) -> WorkloadView:
        return WorkloadView(
            image=workload.image,
            commit=workload.commit or "",
            containers=(
                ContainerView("shop", init=False, image=workload.image, owner=self.tool),
                ContainerView("migrate", init=True, image=workload.image, owner=self.tool),
                ContainerView("proxy", init=False, image="registry/proxy:7", owner=self.tool),
            ),
            commits=Commit("commit", workload.commit, None),
            kind="Deployment",
            name=workload.name,
            replicas=workload.replicas,
            pods=len(workload.pods),
            ready_replicas=self._ready(workload),
            problem="CrashLoopBackOff",
            grace_seconds=5,
        )

    def write(self, seen: Seen, action: Record[RollbackStatus]) -> None:
        """Compare and swap of the status."""
        if seen.status_version != self.version or not self.exists:
            raise SimConflict
        before, self.status = self.status, action.status
        self.version += 1
        if action.status.stage == "Switch" and before.stage != "Switch":
            self.signalled_at = self.time
            assert not any(w.replicas for w in self.workloads), "signalled while a workload is scaled up"
            assert not any(w.pods for w in self.workloads), "signalled while pods are left"
            environment = seen.world.environment
            assert environment is not None
            assert target_of(environment) == before.target, "switched in a changed environment"
        if action.status.stage == "BackStop" and before.stage != "BackStop":
            ready = [w.ready_replicas >= n for w, n in zip(seen.world.workloads, self.saved, strict=True)]
            by_image = action.status.failure_reason == c.RESTORE_IMAGE_FAILED
            assert by_image or not all(ready), "switched back though every saved replica is ready"
        if action.status.stage == "Ended" and before.stage != "Ended":
            self._check_end()

    def do(self, seen: Seen, effect: v.Effect) -> None:
        """One effect; SimConflict where what it changes has moved on."""
        if isinstance(effect, v.StartJob):
            self._start(effect)
        elif isinstance(effect, v.StopJob):
            job = self.jobs.get(effect.job)
            if job is not None and job.uid == seen.uids.get(job.name) and job.stopping_at is None:
                job.stopping_since, job.stopping_at = self.time, self.time + 2
        elif isinstance(effect, SetReplicas):
            for view, replicas in effect.targets:
                self._scale(seen, view.name, replicas)
            self.scale_refused_at = self.time if self.scales_refused else None
        elif isinstance(effect, v.SetImages):
            for view, change in effect.changes:
                self._set_image(seen, view.name, change)
        elif isinstance(effect, v.CreateSafetySnapshot):
            self._create_snapshot()
        elif isinstance(effect, v.CancelSafetySnapshot):
            found = self.snapshot
            if found is not None and (found.uid, found.state) == (effect.snapshot.meta.uid, "Running"):
                found.deleted = found.deleted if found.deleted is not None else self.time
        elif isinstance(effect, v.SendSignal):
            job = self.jobs.get(effect.job.name)
            if job is None or job.version != seen.versions.get(job.name) or job.uid != seen.uids[job.name]:
                raise SimConflict
            job.signal, job.repetition = effect.signal, effect.repetition
            job.version += 1
        else:
            self._bookkeeping(seen, effect)

    def _bookkeeping(self, seen: Seen, effect: v.Effect) -> None:
        if effect == SetLock(held=True):
            if self.holder is None and self.environment:
                self.holder, self.locked_since = "ours", self.time
        elif effect == SetLock(held=False):
            if self.holder == "ours" and seen.world.lock.since == START + timedelta(seconds=self.locked_since):
                self._check_release()
                self.holder = None
        elif isinstance(effect, v.AskProbe):
            self.asked = True
        elif isinstance(effect, v.ReportProbe):
            self.reported = ((parse(effect.began) - START).total_seconds(), effect.result)
        elif isinstance(effect, v.RecordExecuted):
            self.executed = True
        elif seen.status_version != self.version and effect == SetFinalizer(present=False):
            raise SimConflict
        else:
            self.finalizer = effect == SetFinalizer(present=True)
            self.version += 1
            if self.deleting and not self.finalizer:
                self.exists = False

    def _start(self, effect: v.StartJob) -> None:
        name = f"{effect.command}-{effect.attempt}"
        if name in self.jobs:
            return
        joined = unanswered(self.status) and effect.command == "restore"
        if not self.quota and joined:
            self.probe_alone = True
            return
        if not self.quota:
            self.refused_since = self.time if self.refused_since is None else self.refused_since
            return
        self.refused_since = None
        self.next_uid += 1
        job = SimJob(name, effect.command, effect.attempt, self.next_uid, self.time, iter(()))
        job.starts_at = self.time + self.start_seconds
        job.joined = joined
        goes_on = v.goes_on(self.status, self.spec) and (self.logs or not self.log_tried)
        job.goes_on = effect.command == "restore" and goes_on
        job.program = self._program(effect.command, job)
        self.jobs[name] = job

    def _scale(self, seen: Seen, name: str, replicas: int) -> None:
        workload = next(w for w in self.workloads if w.name == name)
        if workload.version != seen.versions[name]:
            raise SimConflict
        if self.scales_refused:
            self.refused_scale_at = self.time
            return
        if replicas:
            self._check_released()
        workload.replicas, workload.extra = replicas, 0
        workload.version += 1

    def _create_snapshot(self) -> None:
        if self.snapshot is None and self.quota:
            self.snapshots += 1
            self.snapshot = SimSnapshot(uid=f"uid-{self.snapshots}")

    def _set_image(self, seen: Seen, name: str, change: TemplateChange) -> None:
        workload = next(w for w in self.workloads if w.name == name)
        if workload.version != seen.versions[name]:
            raise SimConflict
        if self.images_refused:
            return
        images = {(x.name, x.init): x.image for x in change.containers}
        assert set(images) == {("shop", False), ("migrate", True)}, images
        (image,) = set(images.values())
        assert not self.tool, "changed an image that a GitOps tool owns"
        assert not workload.replicas or workload.started_by_others, "changed the image of a workload that runs"
        recorded = next((w.image for w in self.status.workloads if w.name == name), None)
        assert recorded is not None, "changed an image without recording it"
        if self.status.position == "New":
            before = {x.image for x in recorded.containers}
            assert before == {workload.image}, f"replaced {workload.image}, but {before} is recorded"
            assert recorded.template_commit == workload.commit
        workload.image, workload.commit = image, change.commits.template
        workload.version += 1

    # --- promises ----------------------------------------------------------------------------------------------------
    def _writers(self) -> list[str]:
        """Jobs that run and may change something."""
        return [j.name for j in self.jobs.values() if j.alive and not j.ended and j.command != "inspect-only"]

    def check(self) -> None:
        """At every moment."""
        if self.data.accepting:
            assert self.data.live == self.data.folder, "half is visible"
        writers = self._writers()
        assert len(writers) <= 1 or self.stale_starts, f"two writers: {writers}"

    def _check_released(self) -> None:
        """In the moment a workload is scaled up: on another node it could not attach a claim that a pod of ours still
        uses. One that neutralises mounts none."""
        mounting = [
            j.name
            for j in self.jobs.values()
            if j.mounted
            and (self.sidecars or not (j.reported or j.ended))
            and j.command != "neutralize"
            and (j.stopping_since is None or self.time - j.stopping_since <= STOP_JOBS_SECONDS)
        ]
        assert not mounting or self.stale_starts, f"scaled up while {mounting} mount the claim"

    def _check_end(self) -> None:
        """In the moment it becomes terminal."""
        self.ended_at = self.time
        status = self.status
        if status.workloads:
            assert [w.replicas - w.extra for w in self.workloads] == list(self.saved), "a workload was left stopped"
        if status.position is not None:
            assert self.data.accepting, "the live database refuses connections"
            assert status.position == self.data.position, "the status lies about the position"
        if status.phase == "Complete":
            assert status.position == "New"
            assert self.executed or not self.environment, "the Environment does not remember that it ran"
            assert status.undo_until is not None
            assert self.healthy["new"] or not any(self.saved), "Complete though nothing is ready"
            self._check_images()
        else:
            assert status.failure_reason
            if status.position == "Old" and not self.were_refused:
                self._check_images()
            not_stopping = [j.name for j in self.jobs.values() if j.alive and not j.ended and j.stopping_at is None]
            assert not not_stopping or self.stale_starts or status.position != "Old", (
                f"aborted while {not_stopping} ran"
            )

    def restored_image(self) -> tuple[str, str]:
        """Image and commit on the new position."""
        return (RECORDED, "c1") if self.spec.restore_image == "Always" else (RUNNING, "c2")

    def _check_images(self) -> None:
        """The workloads have the image that belongs to the data, unless someone else has set another one."""
        for workload in self.workloads:
            if not workload.deployed:
                new = self.status.position == "New" and not self.tool
                wanted = self.restored_image() if new else (RUNNING, "c2")
                assert (workload.image, workload.commit) == wanted, f"{workload} at position {self.status.position}"

    def _check_release(self) -> None:
        assert self.status.stage == "Ended", "the operation lock was released before the end"
        running = self.snapshot is not None and self.snapshot.runs
        assert not running or self.stale_starts, "the operation lock was released while the safety snapshot runs"
        writers = self._writers()
        assert not writers or self.stale_starts, f"the operation lock was released while {writers} ran"

    def check_settled(self) -> None:
        """When no cleanup remains."""
        assert self.holder != "ours"
        assert not self.finalizer
        if self.status.residue == "None":
            left = (self.data.restored, self.data.previous, self.data.staged, self.data.kept_folder)
            assert not any(left), self.data
        if self.status.residue == "None" and self.status.position is not None:
            assert self.status.position == self.data.position, (
                "the status remembers a position that is not true any more"
            )


def without_program(seen: Seen) -> Seen:
    """A copy for keeping: what was read does not change any more."""
    return replace(seen, versions=dict(seen.versions), uids=dict(seen.uids))
