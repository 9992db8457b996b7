"""Fewer combinations of parameters: each pair of values in `make test`, all combinations in `make test-all`."""

from collections.abc import Sequence
from itertools import product

import pytest
from _pytest.mark import ParameterSet


def pairs(*values: Sequence[object]) -> list[ParameterSet]:
    """Every combination of the values, as parameters of a test. Half of them have no mark, and contain each pair of
    two values. The others are marked `long`. Where that cannot be, for less than three sequences or for one with less
    than two values, raises ValueError."""
    if len(values) < 3 or any(len(each) < 2 for each in values):
        raise ValueError("half of the combinations cannot contain each pair of values")
    return [
        pytest.param(
            *(each[i] for each, i in zip(values, where, strict=True)), marks=pytest.mark.long if sum(where) % 2 else ()
        )
        for where in product(*(range(len(each)) for each in values))
    ]
