"""What the plans of Environments and SnapshotStores decide, without an API server."""

from collections.abc import Mapping
from typing import Any

from ocore_crds import naming
from ocore_crds.resources.environment import EnvironmentStatus
from ocore_operator.entries.environments import EnvironmentEntry
from ocore_operator.entries.operations import operations
from ocore_operator.entries.stores import StoreEntry
from ocore_operator.errors import Outcome
from ocore_operator.frame.actions import Idle, Record, StopJob
from ocore_operator.jobs.building.inputs import JobInputs, PodTraits
from ocore_operator.jobs.building.job import job_name
from ocore_operator.jobs.observing.attempts import STOP_PAUSE
from ocore_operator.jobs.observing.outcome import Observation
from ocore_operator.kube.catalog import Catalog
from ocore_operator.kube.resources import Environment
from ocore_operator.readiness.plan_environment import follow
from ocore_operator.readiness.world import Command, EnvironmentWorld, Start
from support.operator.catalogs import new_catalog
from support.operator.objects import SETTINGS, environment, moment, obj, observation, store


def inputs(owner: Environment | None = None) -> JobInputs:
    """What the Jobs of an Environment need."""
    return JobInputs(
        namespace="shop", store=store(), traits=PodTraits(run_as_user=1000), environment=owner or environment()
    )


def world(
    owner: Environment, catalog: Catalog | None = None, *, seconds: float = 0, **observed: Any
) -> EnvironmentWorld:
    """The world of an Environment, with what the catalog knows of others."""
    known = catalog if catalog is not None else new_catalog()
    fields: dict[str, Any] = {
        "now": moment(seconds),
        "settings": SETTINGS,
        "needs": inputs(owner),
        "seen": observation(),
        "operations": tuple(operations(known, owner.meta.namespace, owner.meta.name)),
        "stores": {e.key.name: e for e in known.of_kind(StoreEntry, owner.meta.namespace)},
        "environments": tuple(known.of_kind(EnvironmentEntry)),
        **observed,
    }
    return EnvironmentWorld(obj=owner, **fields)


class Seen(Observation):
    """The Jobs of an Environment of which one, whichever is asked for, has this state."""

    def __init__(self, state: Any, *, stopping: bool = False, other: str = "") -> None:
        super().__init__({"other": {"metadata": {"name": "other"}, "status": {}}}, {}, moment(0), 180)
        object.__setattr__(self, "_given", (state, stopping, other))

    def state(self, job_name: str) -> Any:
        """The given one."""
        return self.__dict__["_given"][0]

    def stopping(self, job_name: str) -> bool:
        """As given."""
        return bool(self.__dict__["_given"][1])

    def of_command(self, command: str) -> tuple[str, ...]:
        """A Job of another command, which runs."""
        return ("other",) if command == self.__dict__["_given"][2] else ()


class Beside:
    """What follows the probe of an Environment: what is started, stopped and removed."""

    def __init__(self, state: Any, *, stopping: bool = False, other: str = "") -> None:
        self.seen = Seen(state, stopping=stopping, other=other)
        self.started: list[str] = []
        self.stopped: list[str] = []
        self.removed: list[str] = []
        self.refused: Mapping[Command, Outcome] = {}
        self.now = 0.0
        self.outdated = ""
        self.catalog = new_catalog()

    def rollback(self) -> None:
        """A Rollback waits for the Environment."""
        spec = {"environmentRef": {"name": "shop"}, "snapshotRef": {"name": "before"}}
        self.catalog.put("Rollback", obj("Rollback", "back", spec, {"environmentName": "shop"}))

    def reconcile(
        self, status: EnvironmentStatus, spec: Any = None, request: str | None = None
    ) -> tuple[EnvironmentStatus, float | None]:
        """The status, and seconds until the next reconcile."""
        annotations = {naming.ANNOTATION_PROBE_REQUESTED: request} if request is not None else {}
        owner: Environment = environment(spec, status.wire(), annotations=annotations)
        made = world(
            owner, self.catalog, seconds=self.now, seen=self.seen, refused=self.refused, outdated=self.outdated
        )
        match follow(made, inputs(owner), Idle(None, status)):
            case Idle(status=new, seconds=after):
                return new or status, after
            case Record(status=new, job=job):
                self.removed.extend([job] if job else [])
                return new, 0.0
            case Start() as start:
                self.started.append(job_name(start.command, owner.meta.uid, start.attempt))
                return start.then.status or status, start.then.seconds
            case StopJob(job=job):
                self.stopped.append(job)
                return status, STOP_PAUSE
