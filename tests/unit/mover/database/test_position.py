"""The table of positions, every combination of it."""

import itertools
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocore_crds.stored.rollback_record import MarkedOutcome
from ocore_mover.database.position import DatabaseRow, Mark, Names, Neutralization, RollbackMark, derive
from ocore_mover.database.rights import Grant, Rights
from ocore_mover.errors import MoverError

ID = "9c7d1f0a-1111-4222-8333-444455556666"
OTHER = "11111111-1111-4222-8333-444455556666"
LATER = "ffffffff-1111-4222-8333-444455556666"  # sorts after ours
NAMES = Names("live", ID)
MARKS = (None, "", ID, OTHER, LATER)  # None: not there


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
    elif live in (None, "", OTHER, LATER) and previous is None and restored in (None, "", ID):
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


@pytest.mark.parametrize("neutralize", get_args(Neutralization))
@pytest.mark.parametrize("outcome", get_args(MarkedOutcome))
def test_a_mark_keeps_what_it_remembers_and_demands(outcome: MarkedOutcome, neutralize: Neutralization) -> None:
    rollbacks = (RollbackMark("monday", "a" * 32, ID, OTHER, outcome), RollbackMark("to", "b", OTHER, ID, "Switched"))
    mark = Mark(ID, True, "the user's", rollbacks, neutralize=neutralize)
    assert Mark.parse(mark.text()) == mark


def test_only_what_we_write_lets_a_copy_become_live() -> None:
    for value in ("", "True", "false", "yes"):
        assert not Mark.parse(f"ocore.checked={value}").checked
    for value in ("done", "neutralised", "zero"):
        assert Mark.parse(f"ocore.neutralize={value}").neutralize == "pending"


@pytest.mark.parametrize(
    "line",
    [
        *(f"{name}=monday hash uid environment Switched" for name in ("a.rollback", "ocore.rollbacks", "z.rollback")),
        "ocore.rollback=monday hash uid Switched",
        "ocore.rollback=monday hash uid environment more Switched",
        *(f"ocore.rollback=monday hash uid environment {outcome}" for outcome in ("", "Failed", "SwitchedAgain", "Z")),
    ],
)
def test_a_line_that_is_no_rollbacks_mark_stays_the_users(line: str) -> None:
    assert Mark.parse(f"{line}\nocore.rollback_id={ID}") == Mark(ID, comment=line)


def test_the_owner_is_that_of_the_live_database_or_of_the_one_that_is_created() -> None:
    creates = Mark(ID, creates=Rights("creator", -1, ()))
    copy, plain = DatabaseRow(NAMES.restored, creates, "admin", True), row(NAMES.restored, ID)
    live = DatabaseRow(NAMES.live, Mark(), "owner", True)
    found = {each.name: each for each in (live, copy)}
    assert derive(found, NAMES).owner == "owner"
    assert derive({copy.name: copy}, NAMES).owner == "creator"
    assert derive({plain.name: plain}, NAMES).owner == ""
    assert derive({}, NAMES).owner == ""


def test_only_a_live_database_that_exists_refuses_connections() -> None:
    for allows in (True, False):
        live = DatabaseRow(NAMES.live, Mark(), "owner", allows)
        assert derive({live.name: live}, NAMES).refuses == (not allows)
    assert not derive({}, NAMES).refuses


def test_a_refused_position_names_what_exists() -> None:
    found = {name: row(name, mark) for name, mark in ((NAMES.live, ""), (NAMES.previous, OTHER))}
    with pytest.raises(MoverError) as raised:
        derive(found, NAMES)
    assert (
        f"live exists without our mark, {NAMES.restored} does not exist, {NAMES.previous} exists with the mark of"
        f" rollback {OTHER}." in raised.value.message
    )


def test_a_name_without_room() -> None:
    for length in (1, 49):
        Names("n" * length, ID).check_length()
    with pytest.raises(MoverError, match="at most 49 bytes") as raised:
        Names("ü" * 25, ID).check_length()
    assert raised.value.reason == "DatabaseNameTooLong"
