"""Progress of a dump: pure parts."""

from hypothesis import given
from hypothesis import strategies as st

from ocore_mover.database.dump.progress import copied_bytes


@given(
    st.dictionaries(st.integers(1, 50), st.integers(0, 10**9), min_size=1),
    st.dictionaries(st.integers(1, 60), st.integers(0, 10**10)),
)
def test_progress_never_exceeds_its_total(tables: dict[int, int], active: dict[int, int]) -> None:
    assert 0 <= copied_bytes(tables, active) <= sum(tables.values())


def test_larger_tables_were_read_before() -> None:
    assert copied_bytes({1: 100, 2: 50, 3: 10, 4: 1}, {3: 4, 2: 70}) == 100 + 50 + 4
