"""Environments, as the catalog knows them. Pure."""

from dataclasses import dataclass
from typing import ClassVar

from ocore_operator.kube.catalog import Entry


@dataclass(frozen=True, slots=True)
class Target:
    """What an Environment's rollbacks replace, within its namespace but for the server. Empty where it has none, or it
    is unknown."""

    secret: str = ""  # of the database's connection
    server: str = ""  # as the last probe found it
    database: str = ""
    claim: str = ""
    path: str = ""
    layout: str = ""
    cluster: str = ""  # of CloudNativePG, with the database's name where the spec gives one


@dataclass(frozen=True, slots=True)
class EnvironmentEntry(Entry):
    """One Environment."""

    KIND: ClassVar[str] = "Environment"

    store: str
    remote_store: str  # that it names for copies
    ready: str  # status of the condition Ready
    rollback_ready: str
    target: Target
    pins: tuple[int, int] | None  # of one without a policy that has pins: how many, and their limit
