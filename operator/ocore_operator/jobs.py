"""Pure builders of Jobs, one per command of the mover. They return objects and have no client."""

from typing import Literal

from ocore_crds.manifest import Identity

from .resources import Object, Resource, Rollback, Snapshot, Store
from .settings import Settings
from .site import Site


def job_name(command: str, uid: str, attempt: int | str) -> str:
    """``<command>-<12 hex digits of the owner's uid>-<attempt>``; at most 63 characters."""
    return f"{command}-{uid.replace('-', '')[:12]}-{attempt}"


def probe(settings: Settings, site: Site, *, attempt: str) -> Object: ...  # type: ignore[empty-body]
def probe_store(settings: Settings, store: Store, *, attempt: str) -> Object: ...  # type: ignore[empty-body]
def snapshot(  # type: ignore[empty-body]
    settings: Settings, site: Site, owner: Snapshot, identity: Identity, *, attempt: int, deadline: float
) -> Object: ...
def verify(settings: Settings, site: Site, owner: Snapshot, *, attempt: int, deadline: float) -> Object: ...  # type: ignore[empty-body]
def delete(  # type: ignore[empty-body]
    settings: Settings, site: Site, owner: Snapshot, *, attempt: int, attempts_only: bool, deadline: float
) -> Object: ...
def inspect_snapshot(settings: Settings, site: Site, owner: Snapshot, *, attempt: int, deadline: float) -> Object: ...  # type: ignore[empty-body]
def restore(  # type: ignore[empty-body]
    settings: Settings,
    site: Site,
    owner: Rollback,
    *,
    snapshot_id: str,
    manifest_sha256: str,
    scratch_bytes: int,
    attempt: int,
    deadline: float,
) -> Object:
    """Name ``restore-<uid>-<attempt>``; `deadline`: seconds from now until the Job is given up."""


def switch(  # type: ignore[empty-body]
    settings: Settings, site: Site, owner: Rollback, *, wait: float, attempt: int, deadline: float
) -> Object:
    """Name ``switch-<uid>-<attempt>``: waits `wait` seconds for the signal. Its pod is Running(ready=True) once it waits."""


def switch_now(settings: Settings, site: Site, owner: Rollback, *, back: bool, attempt: int, deadline: float) -> Object:  # type: ignore[empty-body]
    """Name ``switch-back-<uid>-<attempt>`` (or ``switch-now-…``): switches at once and ends."""


def cleanup(  # type: ignore[empty-body]
    settings: Settings,
    site: Site,
    owner: Rollback,
    *,
    what: Literal["previous", "restored"],
    attempt: int,
    deadline: float,
) -> Object:
    """Name ``cleanup-<what>-<uid>-<attempt>``."""


def inspect_rollback(  # type: ignore[empty-body]
    settings: Settings, site: Site, owner: Rollback, *, repair: bool, attempt: int, deadline: float
) -> Object:
    """Name ``inspect-<uid>-<attempt>``."""


def owner_reference(owner: Resource) -> Object: ...  # type: ignore[type-arg,empty-body]
