"""Two rollbacks that stop the same workload run one after the other, and its replicas are what they were before the
first (issue 9, item 24).

The two are independent processes here: each observes, decides and writes at any moment, with a compare and swap of its
own status.
"""

from dataclasses import dataclass, field, replace
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from ocore_crds import conditions as c
from ocore_crds.resources.rollback import RollbackSpec, RollbackStatus
from ocore_crds.resources.workloads import Target
from ocore_operator.frame.actions import Record
from ocore_operator.rollback import plan
from ocore_operator.rollback.snapshot_and_environment import target_of
from ocore_operator.rollback.transitions import change, enter
from ocore_operator.rollback.world import Action, Do, JobView, OperationLock, World
from ocore_operator.workloads.quiesce import SetReplicas
from ocore_operator.workloads.view import WorkloadView, peer_of
from support.operator.rollback_model import ROLLBACK_ID, START, Model
from support.operator.rollback_objects import rollback

REPLICAS = 3
SPEC = RollbackSpec.model_validate({"snapshotRef": {"name": "s1"}})
UIDS = ("0a1b2c3d-0000-4000-8000-000000000001", "0a1b2c3d-0000-4000-8000-000000000002")


@dataclass
class Cluster:
    """One Deployment, and the statuses of two Rollbacks of two Environments that name it."""

    replicas: int = REPLICAS
    statuses: list[RollbackStatus] = field(default_factory=list)
    versions: list[int] = field(default_factory=lambda: [0, 0])
    cancelled: list[bool] = field(default_factory=lambda: [False, False])
    now: float = 0.0

    def __post_init__(self) -> None:
        model = Model()
        target = model.see(0).world.environment
        assert target is not None
        status = RollbackStatus(
            stage="Prepare", switch_attempt=1, environment_id=target.status.id, target=target_of(target)
        )
        self.statuses = [enter(status, "Prepare", START), enter(status, "Prepare", START)]
        self.environment = target

    def check(self) -> None:
        beyond = [s.stage for s in self.statuses if s.workloads and s.stage not in ("Prepare", "Ended")]
        assert len(beyond) < 2, f"two rollbacks have stopped the workload: {beyond}"
        if self.replicas == 0:
            assert beyond, "a workload is stopped and no rollback will start it"


@dataclass
class Process:
    """The reconcile of one Rollback, an API call at a time: others may act between any two."""

    cluster: Cluster
    index: int
    #: What has been read so far, in the order of observe.py; then the decision.
    peers: list[RollbackStatus] | None = None
    workload: int | None = None
    seen: tuple[int, Action] | None = None

    def step(self) -> None:
        cluster = self.cluster
        if self.peers is None:
            self.known = cluster.statuses[self.index]
            self.peers = list(cluster.statuses)
        elif self.workload is None:
            self.workload = cluster.replicas
        elif self.seen is None:
            self.seen = cluster.versions[self.index], self.decide()
        else:
            self.act(*self.seen)
            self.peers = self.workload = self.seen = None

    def decide(self) -> Action:
        cluster, status = self.cluster, self.cluster.statuses[self.index]
        assert self.peers is not None
        assert self.workload is not None
        mine = replace(rollback("r0", UIDS[self.index]), status=self.known)
        others = [replace(rollback(f"r{i}", UIDS[i]), status=s) for i, s in enumerate(self.peers) if i != self.index]
        cancelled = cluster.cancelled[self.index]
        world = World(
            created=START,
            environment=cluster.environment,
            snapshot=None,
            finalizer=True,
            deleting=cancelled,
            lock=OperationLock("Ours", "", START),
            jobs=(JobView("switch", 1, "switch-1", ready=True, ended=cancelled, closed=cancelled),),
            workloads=(WorkloadView("Deployment", "shop", replicas=self.workload, pods=1),),
            peer=peer_of(mine, others, [Target("Deployment", "shop")]),
        )
        if self.known.stage != status.stage:  # observe.py reads again
            return plan.Wait(0, c.RUNNING, "again")
        return plan.decide(status, SPEC, world, ROLLBACK_ID, START + timedelta(seconds=cluster.now))

    def act(self, version: int, action: Action) -> None:
        cluster = self.cluster
        if isinstance(action, Record):
            if version == cluster.versions[self.index]:
                cluster.statuses[self.index] = action.status
                cluster.versions[self.index] += 1
        elif isinstance(action, Do) and isinstance(action.effect, SetReplicas):
            ((workload, replicas),) = action.effect.targets
            if workload.replicas == cluster.replicas:  # a compare and swap as well
                cluster.replicas = replicas
        cluster.check()


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0, 0, 1, 1, 2, 3]), st.integers(1, 8)), max_size=60))
def test_they_take_turns_in_every_order(moves: list[tuple[int, int]]) -> None:
    cluster = Cluster()
    processes = [Process(cluster, 0), Process(cluster, 1)]
    for who, count in moves:
        if who > 1:
            cluster.cancelled[who - 2] = True
            continue
        for _ in range(count):
            processes[who].step()
    for _ in range(400):
        for process in processes:
            process.step()
        # Both would go on to their switch: they are cancelled when they have stopped the workload.
        for index, status in enumerate(cluster.statuses):
            cluster.cancelled[index] |= status.stage == "Drain"
    assert [s.stage for s in cluster.statuses] == ["Ended", "Ended"], [s.stage for s in cluster.statuses]
    assert cluster.replicas == REPLICAS


def test_the_condition_names_the_other_one() -> None:
    cluster = Cluster()
    first, second = Process(cluster, 0), Process(cluster, 1)
    while cluster.statuses[0].stage != "Drain":
        first.step()
    for _ in range(3):
        second.step()
    assert second.seen is not None
    action = second.seen[1]
    assert isinstance(action, plan.Wait)
    assert "Rollback r0" in action.message
    assert "Deployment shop" in action.message
    assert cluster.statuses[1].workloads == ()


def test_one_that_fails_before_its_turn_scales_nothing() -> None:
    """It had announced itself with the replicas of a workload that another rollback had stopped."""
    status = change(Cluster().statuses[0], workloads=({"kind": "Deployment", "name": "shop", "replicas": 0},))
    aborted = plan.abort(status, c.CANCELLED, "The Rollback was deleted.", START).status
    assert aborted.stage == "Abort"
    assert aborted.workloads == ()
