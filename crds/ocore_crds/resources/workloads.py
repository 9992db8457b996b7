"""Which workload is meant: by apiVersion, kind and name. No I/O."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

#: apiVersion of the kinds that need none.
BUILT_IN = {"Deployment": "apps/v1", "StatefulSet": "apps/v1", "CronJob": "batch/v1"}


class Named(Protocol):
    """A workload of an Environment's spec, or of a status."""

    @property
    def api_version(self) -> str | None:
        """None: of BUILT_IN."""

    @property
    def kind(self) -> str:
        """For example ``Deployment``."""

    @property
    def name(self) -> str:
        """Of the object."""


@dataclass(frozen=True)
class Target:
    """A workload to stop and to start."""

    kind: str
    name: str
    api_version: str = "apps/v1"

    @property
    def built_in(self) -> bool:
        """Whether the operator knows more of it than its scale subresource."""
        return BUILT_IN.get(self.kind) == self.api_version

    @property
    def is_cron_job(self) -> bool:
        """Whether it is suspended, not scaled."""
        return self.built_in and self.kind == "CronJob"

    @property
    def has_template(self) -> bool:
        """Whether its pod template is read: images, the Jobs' user."""
        return self.built_in and self.kind != "CronJob"


def targets(workloads: Iterable[Named] | None) -> list[Target]:
    """The workloads, in their order; none for None."""
    return [Target(w.kind, w.name, w.api_version or BUILT_IN.get(w.kind, "")) for w in workloads or ()]


def stop_sentence(graces: Mapping[str, int]) -> str:
    """How much of a downtime the application may need to stop, for people; empty for no workload. `graces`: the
    terminationGracePeriodSeconds of each workload's pods, by kind and name."""
    if not graces:
        return ""
    longest = max(graces, key=lambda label: graces[label])
    return (
        "The downtime includes the time that the application needs to stop: at most"
        f" {graces[longest]} s (terminationGracePeriodSeconds of {longest})."
    )
