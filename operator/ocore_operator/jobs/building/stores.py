"""The kinds of store: what a Job mounts and is told, what must exist for that, and what users see. Pure.

A kind is one class and its row in KINDS. Every other module asks what :func:`of` returns, and names no kind
(``tests/unit/operator/jobs/test_stores.py``). What the mover does with a store: ``ocore_mover/store``.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from ocore_crds import conditions as c
from ocore_crds.commands.parts import S3Access, SourceStore, StoreAccess
from ocore_crds.resources.snapshotstore import S3, Claim
from ocore_kube.types import CLAIMS, CONFIG_MAPS, Type
from ocore_operator.jobs.building.request_parts import Volumes
from ocore_operator.kube import resources
from ocore_operator.kube.resources import Object, Store

STORE = "/store"
SOURCE_STORE = "/source-store"
S3_CREDENTIALS = "/secrets/s3"
S3_CA = "/secrets/s3-ca"
SOURCE_S3_CREDENTIALS = "/secrets/source-s3"
SOURCE_S3_CA = "/secrets/source-s3-ca"

#: For people; the store works without it.
UNENCRYPTED = (
    "spec.s3.endpoint is http://: snapshots cross the network unencrypted, and anyone in its path can read or change"
    " them. Use https://."
)


@dataclass(frozen=True)
class Need:
    """An object that must exist before a Job can start."""

    type: Type
    name: str
    #: Of the condition where it does not exist.
    reason: str
    #: The field that names it.
    field: str


class StoreKind(ABC):
    """One SnapshotStore, by its kind."""

    #: Claim that the Jobs mount: it binds them to its node, and its files belong to one user. None: no claim.
    claim: str | None = None

    @abstractmethod
    def needs(self) -> tuple[Need, ...]:
        """What must exist."""

    @abstractmethod
    def public_url(self) -> str:
        """The store's URL for users."""

    @abstractmethod
    def access(self, volumes: Volumes, *, read_only: bool = False) -> StoreAccess:
        """The store with what it needs, bound to the id that its SnapshotStore has in its status: the mover refuses
        another one. With access ReadOnly, or `read_only`, the mover refuses to write to it."""

    @abstractmethod
    def source(self, volumes: Volumes) -> SourceStore:
        """The store of a Job that only reads from it, beside another store. Bound to its id."""

    def optional(self, volumes: Volumes) -> StoreAccess | None:
        """The store of a Job that has to start without it: what it refers to may be missing. None: the Job could not
        start then."""
        return None

    def probed(self, volumes: Volumes) -> tuple[str, str]:
        """URL and name for an Environment's probe of its rights; empty where there is nothing to probe."""
        return "", ""

    def warnings(self) -> tuple[str, ...]:
        """What people should know of a store that works."""
        return ()


class ClaimStore(StoreKind):
    """A folder on a volume claim."""

    def __init__(self, store: Store, claim: Claim) -> None:
        self._store = store
        self._claim = claim
        self.claim = claim.claim_name

    def needs(self) -> tuple[Need, ...]:
        """The claim."""
        return (Need(CLAIMS, self._claim.claim_name, c.CLAIM_NOT_FOUND, "spec.claim"),)

    def public_url(self) -> str:
        """``claim://name/path``."""
        return f"claim://{self._claim.claim_name}/{self._claim.path}".rstrip("/")

    def access(self, volumes: Volumes, *, read_only: bool = False) -> StoreAccess:
        """The claim as a whole."""
        only = read_only or self._store.spec.access == "ReadOnly"
        volumes.claim("store", STORE, self._claim.claim_name, read_only=only)
        return StoreAccess(url=self._url(STORE), id=self._store.status.store_id, read_only=only)

    def source(self, volumes: Volumes) -> SourceStore:
        """Mounted read-only."""
        volumes.claim("source-store", SOURCE_STORE, self._claim.claim_name, read_only=True)
        return SourceStore(url=self._url(SOURCE_STORE), id=self._store.status.store_id)

    def probed(self, volumes: Volumes) -> tuple[str, str]:
        """Where it is ready and writable: one that is not ready may not be mountable, and rollbacks from a remote copy
        must not wait for it."""
        if self._store.spec.access == "ReadOnly" or not c.is_true(self._store.status.conditions, c.READY):
            return "", ""
        return self.access(volumes).url, self.public_url()

    def _url(self, mount: str) -> str:
        return f"file://{mount}/{self._claim.path}".rstrip("/")


class S3Store(StoreKind):
    """A bucket."""

    def __init__(self, store: Store, s3: S3) -> None:
        self._store = store
        self._s3 = s3

    def needs(self) -> tuple[Need, ...]:
        """The CA certificates. Without its Secret the store answers that the credentials are missing."""
        found = self._s3.ca_bundle
        return (Need(CONFIG_MAPS, found.name, c.CONFIG_NOT_FOUND, "spec.s3.caBundle"),) if found is not None else ()

    def public_url(self) -> str:
        """``s3://bucket/prefix``."""
        return f"s3://{self._s3.bucket}/{self._s3.prefix}".rstrip("/")

    def access(self, volumes: Volumes, *, read_only: bool = False) -> StoreAccess:
        """With credentials and CA certificates as files."""
        found = self._access(volumes, read_only=read_only or self._store.spec.access == "ReadOnly")
        return found.model_copy(update={"id": self._store.status.store_id})

    def source(self, volumes: Volumes) -> SourceStore:
        """With files of its own."""
        paths = (SOURCE_S3_CREDENTIALS, SOURCE_S3_CA)
        found = self._files(volumes, "source-s3", paths)
        return SourceStore(url=self.public_url(), id=self._store.status.store_id, s3=found)

    def optional(self, volumes: Volumes) -> StoreAccess:
        """Its Secret and ConfigMap may be missing."""
        return self._access(volumes, optional=True)

    def warnings(self) -> tuple[str, ...]:
        """Without TLS."""
        return (UNENCRYPTED,) if (self._s3.endpoint or "").startswith("http://") else ()

    def _access(self, volumes: Volumes, *, read_only: bool = False, optional: bool = False) -> StoreAccess:
        encryption, lock = self._s3.server_side_encryption, self._s3.lock
        return StoreAccess(
            url=self.public_url(),
            s3=self._files(volumes, "s3", (S3_CREDENTIALS, S3_CA), optional=optional),
            sse=encryption.algorithm if encryption is not None else None,
            kms_key=encryption.kms_key_id if encryption is not None else None,
            lock=lock.mode if lock is not None else None,
            lock_days=lock.days if lock is not None else None,
            read_only=read_only,
        )

    def _files(self, volumes: Volumes, name: str, paths: tuple[str, str], *, optional: bool = False) -> S3Access:
        """`paths`: of the credentials and of the CA certificates. Their volumes have names that begin with `name`."""
        found = self._s3
        credentials = certificates = None
        if found.credentials_secret_ref is not None:
            credentials = volumes.secret(name, paths[0], found.credentials_secret_ref.name, optional=optional)
        if found.ca_bundle is not None:
            items = [{"key": found.ca_bundle.key, "path": "ca.crt"}]
            source: Object = {"name": found.ca_bundle.name, "items": items, **({"optional": True} if optional else {})}
            folder = volumes.mount(f"{name}-ca", paths[1], {"configMap": source}, read_only=True)
            certificates = f"{folder}/ca.crt"
        return S3Access(
            endpoint=found.endpoint,
            region=found.region,
            credentials=credentials,
            ca=certificates,
            path_style=found.path_style,
            instance_metadata=found.instance_metadata,
        )


#: By the field of the SnapshotStore's spec.
KINDS: Mapping[str, type[ClaimStore] | type[S3Store]] = {"s3": S3Store, "claim": ClaimStore}


def of(store: Store) -> StoreKind:
    """The store by its kind. The API server accepts no SnapshotStore without exactly one of the fields."""
    name = next(each for each in KINDS if getattr(store.spec, each) is not None)
    return KINDS[name](store, getattr(store.spec, name))


def claims(*found: Store) -> list[str]:
    """The claims that Jobs of these stores mount."""
    return [claim for each in found if (claim := of(each).claim) is not None]


def missing(namespace: str, name: str) -> Store:
    """Stands for a SnapshotStore that does not exist: a Job that needs none has its name as a label."""
    metadata = {"name": name, "namespace": namespace, "uid": "", "resourceVersion": "", "creationTimestamp": ""}
    return resources.store({"metadata": metadata, "spec": {"s3": {"bucket": "missing"}}})
