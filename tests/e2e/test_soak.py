"""The soak's short form; `--long` (make test-all) and `make soak` run the half hour."""

import itertools

import pytest

from e2e.soak import plan, soak
from support.cluster import Cluster
from support.operator import Operator
from support.site import Servers


@pytest.mark.timeout(3600)
def test_soak(cluster: Cluster, servers: Servers, operator: Operator, request: pytest.FixtureRequest) -> None:
    """Random operations and kills under load; every promise is asked after each."""
    seconds = 1800 if request.config.getoption("--long") else 120
    run = soak(cluster, servers, operator, seed=4, seconds=seconds, emit=print)
    assert run.outcomes["snapshot Complete"] > 0


def test_a_seed_is_replayable() -> None:
    """The same seed, the same steps; another one, others."""
    first, again, other = (list(itertools.islice(plan(seed), 50)) for seed in (4, 4, 5))
    assert first == again
    assert first != other
    assert {step.action for step in first} == {"snapshot", "rollback", "delete"}
