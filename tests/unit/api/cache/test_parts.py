"""Sorted lists, packed rows, kept pages."""

import json
import zlib

from hypothesis import given
from hypothesis import strategies as st

from ocore_api.cache.entries import SnapshotEntry, packed, snapshot_entry
from ocore_api.cache.newest import Newest, page
from ocore_api.cache.pages import Pages
from ocore_api.views.rows import Origin
from ocore_api.views.values import Resource
from support.api import objects as o


def entry(name: str, created: int = 0) -> SnapshotEntry:
    return snapshot_entry(
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
            found.add(ENTRIES[n])
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
        lists[place].add(each)
    everything = sorted(ENTRIES, key=lambda e: e.order, reverse=True)
    assert page(lists, offset, limit) == (everything[offset : offset + limit], 12)


@given(st.binary(max_size=100_000))
def test_packing_keeps_every_byte(data: bytes) -> None:
    assert zlib.decompress(packed(data)) == data


def test_a_row_of_a_complete_snapshot_is_packed_small() -> None:
    found = snapshot_entry(Resource(o.complete()), Origin(o.ENVIRONMENT, o.PROJECT, "shop", "production"))
    assert json.loads(found.encoded)["status"] == "completed"
    assert len(found.row) * 2 < len(found.console)


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 5), st.integers(0, 60)), max_size=60))
def test_kept_pages_stay_within_their_bytes(puts: list[tuple[str, int, int]]) -> None:
    pages = Pages(100)
    for environment, offset, size in puts:
        pages.keep(environment, 20, offset, bytes(size))
        assert pages.size <= 100
        assert pages.get(environment, 20, offset) == bytes(size)
    for environment in "dbca":
        pages.changed(environment)
    assert pages.size == 0


def test_a_page_larger_than_everything_is_not_kept() -> None:
    pages = Pages(10)
    pages.keep("a", 20, 0, bytes(11))
    assert (pages.get("a", 20, 0), pages.size) == (None, 0)
