"""A catalog for tests."""

from collections.abc import Callable

from ocore_operator.kube.catalog import Catalog, Work
from ocore_operator.kube.resources import Object


def new_catalog() -> Catalog:
    """An empty one."""
    return Catalog()


def asking(work: Callable[[Object], Work]) -> Catalog:
    """An empty one, whose objects ask of the operator what `work` says."""
    return Catalog(lambda _, obj: work(obj))
