"""A SnapshotPolicy and its Snapshots, and the plan carried out without an API server."""

from datetime import UTC, datetime, timedelta
from typing import Any

from ocore_crds.resources.environment import PinCount
from ocore_crds.rules import retention
from ocore_crds.rules.history import Finished
from ocore_operator import clock
from ocore_operator.entries.snapshots import SnapshotEntry
from ocore_operator.frame.actions import Idle, Record
from ocore_operator.kube import resources
from ocore_operator.kube.resources import Key, Object
from ocore_operator.policy import plan, transitions
from ocore_operator.policy.world import Action, CountPins, Create, Delete, DeleteRollbacks, Explain, World
from ocore_operator.snapshot.entry import entry
from support.operator.objects import obj

CREATED = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


def at(**delta: float) -> datetime:
    return CREATED + timedelta(**delta)


def policy_object(spec: Object | None = None, status: Object | None = None, **meta: Any) -> Object:
    full = {"environmentRef": {"name": "shop"}, "schedule": ["@hourly"], **(spec or {})}
    return obj("SnapshotPolicy", "shop", full, status, **{"creationTimestamp": clock.text(CREATED), **meta})


def complete(name: str, time: datetime, **spec: Any) -> Object:
    return snapshot(name, time, "Complete", **spec)


def snapshot(name: str, time: datetime, phase: str, **spec: Any) -> Object:
    status: Object = {"phase": phase}
    if phase in ("Complete", "Failed"):
        status |= {
            "completedAt": clock.text(time),
            "conditions": [
                {"type": phase, "status": "True", "reason": "X", "lastTransitionTime": clock.text(time)},
            ],
        }
    full = {"environmentRef": {"name": "shop"}, "trigger": "Scheduled", "retention": "Policy", **spec}
    return obj("Snapshot", name, full, status, uid=f"uid-{name}", creationTimestamp=clock.text(time))


class Bench:
    """Carries out what the plan decides, without an API server, at a time that the test sets."""

    def __init__(self, spec: Object | None = None, *snapshots: Object, policy: bool = True) -> None:
        self.object: Object | None = policy_object(spec) if policy else None
        self.snapshots = {s["metadata"]["name"]: s for s in snapshots}
        self.environment: str | None = "11111111-2222-4333-8444-555555555555"
        self.used: frozenset[str] = frozenset()
        self.safeties: tuple[retention.Safety, ...] = ()
        self.pins: PinCount | None = None
        self.rollbacks: dict[str, Finished] = {}
        self.limit = 1000
        self.created: list[str] = []
        self.deleted: list[str] = []
        self.notes: list[str] = []

    def entries(self) -> tuple[SnapshotEntry, ...]:
        return tuple(entry(s) for s in self.snapshots.values())

    def world(self, now: datetime) -> World:
        parsed = resources.policy(self.object) if self.object is not None else None
        key, rollbacks = Key("SnapshotPolicy", "shop", "shop"), tuple(self.rollbacks.values())
        return World(
            key,
            parsed,
            self.environment,
            self.pins,
            self.entries(),
            self.used,
            self.safeties,
            rollbacks,
            self.limit,
            now,
        )

    def run(self, now: datetime) -> float | None:
        """Until nothing is left to be done; the pause."""
        for _ in range(50):
            action = plan.decide(self.world(now))
            if isinstance(action, Idle):
                return action.seconds
            self.do(action, now)
        raise AssertionError("no end")

    def do(self, action: Action, now: datetime) -> None:
        match action:
            case Record(status=status, notes=notes):
                self.record(status)
                self.notes += [n.reason for n in notes]
            case Create(name=name, status=status):
                assert name not in self.created, "a slot ran twice"
                self.created.append(name)
                self.snapshots[name] = snapshot(name, now, "Pending")
                self.record(status)
            case Explain(verdicts=verdicts):
                for key, verdict in verdicts:
                    told = self.snapshots[key.name]["status"]
                    for field in retention.STATUS_FIELDS:
                        told.pop(field, None)
                    told |= retention.status_of(verdict)
            case Delete(keys=keys, stay=stay):
                for key in keys:
                    assert key != stay
                    self.deleted.append(key.name)
                    del self.snapshots[key.name]
            case CountPins(pins=pins):
                self.pins = pins
            case DeleteRollbacks(keys=keys):
                for key in keys:
                    assert key.kind == "Rollback"
                    self.deleted.append(key.name)
                    del self.rollbacks[key.name]

    def record(self, status: transitions.SnapshotPolicyStatus) -> None:
        assert self.object is not None
        self.object["status"] = status.wire()

    def change(self, **spec: Any) -> None:
        assert self.object is not None
        self.object["spec"] |= spec
        self.object["metadata"]["generation"] += 1

    def ends(self, phase: str, now: datetime) -> None:
        """The Snapshot that runs ends."""
        for name, s in self.snapshots.items():
            if s["status"]["phase"] == "Pending":
                self.snapshots[name] = snapshot(name, now, phase)

    @property
    def status(self) -> Object:
        assert self.object is not None
        return dict(self.object["status"])

    def condition(self, type_: str) -> Object:
        return next(x for x in self.status["conditions"] if x["type"] == type_)
