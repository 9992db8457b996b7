"""Everything around an Environment that its Jobs depend on, read before a Job is built."""

from dataclasses import dataclass

from .context import Context
from .resources import Environment, Object, Store


@dataclass(frozen=True)
class PodTraits:
    """What a Job's pod inherits from the first workload (spec.jobs goes before)."""

    run_as_user: int | None = None
    run_as_group: int | None = None
    fs_group: int | None = None
    tolerations: tuple[Object, ...] = ()
    image: str = ""
    commit: str = ""
    image_pull_secrets: tuple[Object, ...] = ()


@dataclass(frozen=True)
class Site:
    """An Environment with its store, the first workload's traits and the node that its claims are bound to."""

    environment: Environment
    store: Store
    traits: PodTraits
    node: str | None
    server_major: int


async def load(ctx: Context, environment: Environment) -> Site:
    """Reads it. Raises Stalled (StoreNotFound, WorkloadNotFound, ClaimNotFound, ConfigNotFound)."""
    raise NotImplementedError
