"""The soak in its short form; `make soak` runs the half hour, or longer."""

import itertools

import pytest

from support.cluster.cluster import Cluster
from support.cluster.operator import Operator
from support.cluster.site import Servers

from .soak import plan, soak

SEED = 1


@pytest.mark.timeout(1200)
def test_soak(cluster: Cluster, servers: Servers, operator: Operator) -> None:
    """Random operations and kills under load; every promise is asked after each. The first steps of a seed that draws
    three operations, and a death of the operator, of PostgreSQL and of the kubelet."""
    steps = 4
    drawn = [(step.action, step.victim) for step in itertools.islice(plan(SEED), steps)]
    assert drawn == [("snapshot", "operator"), ("copy", "none"), ("undo", "postgres"), ("snapshot", "kubelet")]
    run = soak(cluster, servers, operator, seed=SEED, seconds=1000, steps=steps, emit=print)
    assert run.outcomes.total() == steps
    assert run.outcomes["snapshot Complete"] > 0


def test_a_seed_is_replayable() -> None:
    """The same seed, the same steps; another one, others."""
    first, again, other = (list(itertools.islice(plan(seed), 50)) for seed in (4, 4, 5))
    assert first == again
    assert first != other
    assert {step.action for step in first} == {"snapshot", "rollback", "undo", "copy", "delete"}
