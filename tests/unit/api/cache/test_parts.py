"""Sorted lists, packed rows."""

import json
import zlib

from hypothesis import given
from hypothesis import strategies as st

from ocore_api.cache.entries import SnapshotEntry, packed
from ocore_api.cache.newest import Newest, page
from ocore_api.views.rows import Origin
from ocore_api.views.values import Resource
from support.api import objects as o


def entry(name: str, created: int = 0) -> SnapshotEntry:
    return SnapshotEntry(
        Resource(o.snapshot(name, created=created)), Origin(o.ENVIRONMENT, o.PROJECT, "shop", "production")
    )


ENTRIES = [entry(f"s{n}", n // 2) for n in range(12)]


@given(st.lists(st.sampled_from(range(12)), max_size=40))
def test_a_sorted_list_is_what_sorting_gives(moves: list[int]) -> None:
    found, plain = Newest(), []  # type: ignore[var-annotated]
    for n in moves:
        if ENTRIES[n] in plain:
            found.discard(ENTRIES[n])
            plain.remove(ENTRIES[n])
        else:
            found.put(ENTRIES[n])
            plain.append(ENTRIES[n])
    plain.sort(key=lambda e: e.order, reverse=True)
    assert list(found) == plain
    assert [found[n] for n in range(len(found))] == plain
    assert found[1:4] == plain[1:4]
    assert not plain or found[-1] is plain[-1]


@given(st.lists(st.integers(0, 3), min_size=12, max_size=12), st.integers(0, 14), st.integers(1, 14))
def test_a_page_of_several_lists(places: list[int], offset: int, limit: int) -> None:
    lists = [Newest() for _ in range(4)]  # type: ignore[var-annotated]
    for each, place in zip(ENTRIES, places, strict=True):
        lists[place].put(each)
    everything = sorted(ENTRIES, key=lambda e: e.order, reverse=True)
    assert page(lists, offset, limit) == (everything[offset : offset + limit], 12)


@given(st.binary(max_size=100_000))
def test_packing_keeps_every_byte(data: bytes) -> None:
    assert zlib.decompress(packed(data)) == data


def test_a_row_of_a_complete_snapshot_is_packed_small() -> None:
    found = SnapshotEntry(Resource(o.complete()), Origin(o.ENVIRONMENT, o.PROJECT, "shop", "production"))
    assert json.loads(found.encoded)["status"] == "completed"
    assert len(found.row) * 2 < len(found.console)
