"""tests/support/pairs.py leaves no pair of values to `make test-all`."""

from itertools import combinations, product

import pytest

from support.pairs import pairs


@pytest.mark.parametrize("values", [("ab", "cd", "ef"), ("abcde", "fg", "hi"), ("abc", "def", "ghi", "jk")])
def test_each_pair_of_values_is_in_make_test(values: tuple[str, ...]) -> None:
    found = pairs(*values)
    assert [each.values for each in found] == list(product(*values))
    kept = [each.values for each in found if not each.marks]
    assert len(kept) == (len(found) + 1) // 2
    for one, other in combinations(range(len(values)), 2):
        assert {(each[one], each[other]) for each in kept} == set(product(values[one], values[other]))
    assert {mark.name for each in found for mark in each.marks} == {"long"}


@pytest.mark.parametrize("values", [("ab", "cd"), ("ab", "cd", "e")])
def test_two_parameters_are_pairs_already(values: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="each pair"):
        pairs(*values)
