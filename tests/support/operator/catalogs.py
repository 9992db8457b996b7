"""A catalog as the operator has it, with the entries of all kinds."""

from collections.abc import Callable
from dataclasses import replace

from ocore_operator.engine.kinds import makers, reconcilers
from ocore_operator.kube.catalog import Catalog, Maker, Work
from ocore_operator.kube.resources import Object

MAKERS = makers(reconcilers())


def new_catalog() -> Catalog:
    """An empty one."""
    return Catalog(MAKERS)


def asking(work: Callable[[Object], Work]) -> Catalog:
    """An empty one, whose objects ask of the operator what `work` says."""

    def of(make: Maker) -> Maker:
        return lambda obj: replace(make(obj), work=work(obj))

    return Catalog({kind: of(make) for kind, make in MAKERS.items()})
