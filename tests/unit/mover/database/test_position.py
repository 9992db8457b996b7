"""The table of positions, every combination of it."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocore_mover.database.position import DatabaseRow, Mark, Names, derive
from ocore_mover.database.rights import Grant, Rights
from ocore_mover.errors import MoverError

ID = "9c7d1f0a-1111-4222-8333-444455556666"
OTHER = "11111111-1111-4222-8333-444455556666"
NAMES = Names("live", ID)
MARKS = (None, "", ID, OTHER)  # None: not there


def row(name: str, mark: str) -> DatabaseRow:
    return DatabaseRow(name, Mark(mark), "owner", True)


@pytest.mark.parametrize(("live", "restored", "previous"), tuple(itertools.product(MARKS, repeat=3)))
def test_old_new_or_refused(live: str | None, restored: str | None, previous: str | None) -> None:
    found = {
        name: row(name, mark)
        for name, mark in ((NAMES.live, live), (NAMES.restored, restored), (NAMES.previous, previous))
        if mark is not None
    }
    expected: str | None = None
    if live == ID and restored is None:
        expected = "New"
    elif live in (None, "", OTHER) and previous is None and restored in (None, "", ID):
        expected = "Old"  # without a live database, too: a switch creates it
    if expected is None:
        with pytest.raises(MoverError) as raised:
            derive(found, NAMES)
        assert raised.value.reason == "SwitchFailed"
        return
    now = derive(found, NAMES)
    assert now.position == expected
    assert (now.live is None) == (live is None)
    assert (now.restored is not None, now.previous is not None) == (restored is not None, previous is not None)


@given(
    comment=st.text(st.characters(codec="utf-8", exclude_characters="\0\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029")),
    checked=st.booleans(),
)
def test_a_mark_keeps_the_users_comment(comment: str, checked: bool) -> None:
    mark = Mark(ID, checked, comment.strip("\n"))
    if any(line.startswith("ocore.") for line in comment.split("\n")):
        return
    assert Mark.parse(mark.text()) == mark


def test_a_mark_keeps_the_rights_of_a_database_to_create() -> None:
    rights = Rights('o"wn\ner', 7, (Grant(None, "CONNECT", False), Grant("rö=le", "CREATE", True)))
    mark = Mark(ID, True, "the user's\ncomment", creates=rights)
    assert Mark.parse(mark.text()) == mark
    assert len(mark.text().splitlines()) == 5
    now = derive({NAMES.restored: DatabaseRow(NAMES.restored, mark, "admin", False)}, NAMES)
    assert now.owner == 'o"wn\ner'
    for damaged in ("", "{}", "[]", '{"owner": "o"}', '{"owner": "o", "limit": "x", "grants": []}'):
        assert Mark.parse(f"ocore.creates={damaged}").creates is None


def test_a_name_without_room() -> None:
    Names("n" * 49, ID).check_length()
    with pytest.raises(MoverError, match="at most 49 bytes") as raised:
        Names("ü" * 25, ID).check_length()
    assert raised.value.reason == "DatabaseNameTooLong"
