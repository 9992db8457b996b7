"""A first look at a store: its id, whether it checks what is written, whether it honours If-None-Match."""

from ocore_crds.protocol import StoreProbeResult

from .base import Store


def probe_store(store: Store) -> StoreProbeResult:
    """Writes the store id where there is none, tries what the store checks, removes its test objects."""
    raise NotImplementedError


def store_id(store: Store) -> str:
    """The id that stands in the store; raises StoreError (StoreNotReady) where nobody has probed it yet."""
    raise NotImplementedError
