"""Our resources as typed, frozen values, parsed once from the API server's JSON."""

import hashlib
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar, cast

from ocore_crds import naming
from ocore_crds.conditions import ObjectStatus
from ocore_crds.kinds import ENVIRONMENT, EXTRACT, KINDS, ROLLBACK, SNAPSHOT, SNAPSHOT_POLICY, SNAPSHOT_STORE, Kind
from ocore_crds.model import Model
from ocore_crds.resources.environment import EnvironmentSpec, EnvironmentStatus
from ocore_crds.resources.extract import ExtractSpec, ExtractStatus
from ocore_crds.resources.rollback import RollbackSpec, RollbackStatus
from ocore_crds.resources.snapshot import SnapshotSpec, SnapshotStatus
from ocore_crds.resources.snapshotpolicy import SnapshotPolicySpec, SnapshotPolicyStatus
from ocore_crds.resources.snapshotstore import SnapshotStoreSpec, SnapshotStoreStatus

Object = dict[str, Any]
SpecT = TypeVar("SpecT", bound=Model)
StatusT = TypeVar("StatusT", bound=ObjectStatus)
ResourceT = TypeVar("ResourceT", bound="Resource[Any, Any]")

KIND_BY_NAME: dict[str, Kind] = {k.kind: k for k in KINDS}


@dataclass(frozen=True, order=True, slots=True)
class Key:
    """Names one object of ours, for the work queue."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True)
class Meta:
    """The fields of ``metadata`` that the operator uses."""

    namespace: str
    name: str
    uid: str
    generation: int
    resource_version: str
    created: str
    deleted: str | None
    finalizers: tuple[str, ...]
    annotations: dict[str, str]

    @classmethod
    def of(cls, obj: Object) -> "Meta":
        """From any object."""
        meta = obj["metadata"]
        return cls(
            namespace=meta.get("namespace", ""),
            name=meta["name"],
            uid=meta["uid"],
            generation=meta.get("generation", 0),
            resource_version=meta["resourceVersion"],
            created=meta["creationTimestamp"],
            deleted=meta.get("deletionTimestamp"),
            finalizers=tuple(meta.get("finalizers") or ()),
            annotations=dict(meta.get("annotations") or {}),
        )


@dataclass(frozen=True)
class Resource(Generic[SpecT, StatusT]):
    """One object of ours."""

    kind: Kind
    meta: Meta
    spec: SpecT
    status: StatusT

    @property
    def key(self) -> Key:
        """Its key in the work queue."""
        return Key(self.kind.kind, self.meta.namespace, self.meta.name)

    @property
    def id(self) -> str:
        """Its identity: spec.id, else metadata.uid."""
        return getattr(self.spec, "id", None) or self.meta.uid

    @property
    def is_current(self) -> bool:
        """Whether its status describes its spec as it is now."""
        return self.status.observed_generation == self.meta.generation

    def with_status(self, status: StatusT) -> "Resource[SpecT, StatusT]":
        """The same object with another status."""
        return replace(self, status=status)


Environment = Resource[EnvironmentSpec, EnvironmentStatus]
Store = Resource[SnapshotStoreSpec, SnapshotStoreStatus]
Snapshot = Resource[SnapshotSpec, SnapshotStatus]
Policy = Resource[SnapshotPolicySpec, SnapshotPolicyStatus]
Rollback = Resource[RollbackSpec, RollbackStatus]
Extract = Resource[ExtractSpec, ExtractStatus]


def project_of(environment: Environment) -> str:
    """The project of the Environment; see `naming.project_id`."""
    return naming.project_id(environment.spec.project_id, environment.meta.namespace)


def label_value(name: str) -> str:
    """A name as a label's value, at most 63 characters. Longer names are cut and get a hash, so that they stay
    distinct."""
    if len(name) <= 63:
        return name
    return f"{name[:46]}.{hashlib.sha256(name.encode()).hexdigest()[:16]}"


@dataclass(frozen=True)
class Parser(Generic[ResourceT]):
    """Makes an object of one kind from the API server's JSON. Raises pydantic.ValidationError where the model is
    stricter than the CRD."""

    kind: Kind

    def __call__(self, obj: Object) -> ResourceT:
        # During an upgrade the CRD may have a field that this operator does not know. That must not stop it.
        found: Resource[Any, Any] = Resource(
            kind=self.kind,
            meta=Meta.of(obj),
            spec=self.kind.spec.model_validate(obj["spec"], extra="ignore"),
            status=self.kind.status.model_validate(obj.get("status") or {}),
        )
        return cast(ResourceT, found)


environment: Parser[Environment] = Parser(ENVIRONMENT)
store: Parser[Store] = Parser(SNAPSHOT_STORE)
snapshot: Parser[Snapshot] = Parser(SNAPSHOT)
policy: Parser[Policy] = Parser(SNAPSHOT_POLICY)
rollback: Parser[Rollback] = Parser(ROLLBACK)
extract: Parser[Extract] = Parser(EXTRACT)


def any_kind(kind: str, obj: Object) -> Resource[Any, Any]:
    """An object of any of our kinds."""
    return Parser[Resource[Any, Any]](KIND_BY_NAME[kind])(obj)
