"""Progress of a dump: pure parts."""

from hypothesis import given
from hypothesis import strategies as st

from ocore_mover.database.dump.progress import Copied

TABLES = st.dictionaries(st.integers(1, 50), st.integers(0, 10**9), min_size=1)
ACTIVE = st.dictionaries(st.integers(1, 60), st.integers(0, 10**10))


@given(TABLES, st.lists(ACTIVE, max_size=5))
def test_progress_never_exceeds_its_total(tables: dict[int, int], polls: list[dict[int, int]]) -> None:
    copied = Copied(tables)
    for active in polls:
        assert 0 <= copied.read(active) <= sum(tables.values())


def test_larger_tables_were_read_before() -> None:
    assert Copied({1: 100, 2: 50, 3: 10, 4: 1}).read({3: 4, 2: 70}) == 100 + 50 + 4


def test_a_table_that_was_seen_is_read_though_others_are_as_large() -> None:
    """Eight tables of one size: 19 percent were shown until the end."""
    copied = Copied(dict.fromkeys(range(8), 100))
    shown = [
        copied.read(active)
        for active in ({0: 50, 1: 40}, {2: 10, 1: 90}, {2: 60, 3: 30}, {4: 1, 5: 1}, {6: 80, 7: 80}, {})
    ]
    assert shown == sorted(shown)
    assert shown[0] == 90
    assert shown[2] >= 200 + 90
    assert shown[-1] == 800


def test_text_may_be_larger_or_smaller_than_the_table() -> None:
    """Numbers are larger as text, and compressed values smaller on the disk."""
    for factor in (0.5, 2.0):
        copied = Copied({1: 1000, 2: 1000})
        copied.read({1: int(1000 * factor)})
        assert copied.read({2: int(500 * factor)}) == 1500
