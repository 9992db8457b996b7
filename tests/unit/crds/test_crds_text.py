"""Messages are whole sentences, and are not cut within a word or without a mark."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocore_crds import conditions
from ocore_crds.protocol import TERMINATION_MESSAGE_BYTES, Failure, Finding, ProbeResult, Result
from ocore_crds.text.sentences import sentence, shortened, shortened_bytes, shortened_start


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("pg_dump failed", "pg_dump failed."),
        ("pg_dump failed.", "pg_dump failed."),
        ("pg_dump failed..", "pg_dump failed."),
        ("it failed (disk full.).", "it failed (disk full)."),
        ("it failed (disk full.); retrying", "it failed (disk full); retrying."),
        ("disk full.; retrying.", "disk full; retrying."),
        ("Run ALTER ROLE shop CREATEDB;", "Run ALTER ROLE shop CREATEDB;"),
        ("Why not?.", "Why not?"),
        ("one\ntwo.", "one.\ntwo."),
        ("", ""),
        # Not full stops.
        ("../secret is a link…", "../secret is a link…"),
        ("10..20 of /claim/.. differ", "10..20 of /claim/.. differ."),
        ("waiting ...", "waiting ..."),
        ("PostgreSQL 17.2, database shop.", "PostgreSQL 17.2, database shop."),
    ],
)
def test_a_message_is_a_sentence(text: str, says: str) -> None:
    assert sentence(text) == says
    assert sentence(says) == says


@given(st.text(), st.integers(8, 60))
def test_what_is_shortened_fits_and_is_marked(text: str, limit: int) -> None:
    for cut, kept in ((shortened, str.startswith), (shortened_start, str.endswith), (shortened_bytes, str.startswith)):
        result = cut(text, limit)
        size = len(result.encode()) if cut is shortened_bytes else len(result)
        assert size <= limit
        assert result == text or "…" in (result[0], result[-1])
        assert kept(text, result.strip("…").strip() if result != text else text) or text.strip() != text


def test_it_is_cut_between_words() -> None:
    text = "pg_restore: error: could not execute query"
    assert shortened(text, 30) == "pg_restore: error: could not …"
    assert shortened_start(text, 20) == "… not execute query"
    assert shortened_bytes(text, 33) == "pg_restore: error: could not …"


@given(st.lists(st.text(min_size=0, max_size=3000), min_size=1, max_size=12))
def test_any_findings_fit_into_the_termination_message(messages: list[str]) -> None:
    """A longer one is cut by the kubelet, and the result is lost."""
    findings = tuple(Finding(reason="MissingGrants", message=m) for m in messages)
    for payload in (ProbeResult(rollback=findings), ProbeResult(blocking=findings, warnings=("w" * 500,) * 9)):
        text = Result(ok=True, payload=payload, time="t").termination_message()
        assert len(text.encode()) <= TERMINATION_MESSAGE_BYTES
        assert json.loads(text)["ok"]


def test_a_message_that_fits_is_not_cut() -> None:
    """It was cut to 600 bytes in the middle of a statement as soon as anything else was too long (issue 9, item 25)."""
    grants = "ALTER ROLE shop CREATEDB; " * 60
    payload = ProbeResult(rollback=(Finding(reason="MissingGrants", message=grants),), warnings=("w" * 3000,))
    kept = json.loads(Result(ok=True, payload=payload, time="t").termination_message())
    assert kept["payload"]["rollback"][0]["message"].strip() == grants.strip()
    failure = Failure(reason="DumpFailed", message="word " * 2000)
    cut = json.loads(Result(ok=False, failure=failure, time="t").termination_message())
    assert cut["failure"]["message"].endswith("word …")


def test_what_programs_report_and_conditions_hold_are_sentences() -> None:
    """They are put into longer messages: "disk full The environment is as it was" (issue 9, item 27)."""
    assert Failure(reason="NoSpace", message="disk full").message == "disk full."
    assert Finding(reason="NoSpace", message="disk full").message == "disk full."
    (found,) = conditions.set_condition(
        (), "Ready", "False", "NoSpace", "disk full.; retrying", now="2026-01-01T00:00:00Z"
    )
    assert found.message == "disk full; retrying."


def test_many_long_findings_fit_and_a_result_that_fits_keeps_everything() -> None:
    findings = tuple(Finding(reason="MissingGrants", message="word " * 600) for _ in range(20))
    text = Result(ok=True, payload=ProbeResult(rollback=findings), time="t").termination_message()
    assert len(text.encode()) <= TERMINATION_MESSAGE_BYTES
    assert len(json.loads(text)["payload"]["rollback"]) == 20
    small = ProbeResult(warnings=("the filestore is large",), rollback=(Finding(reason="MissingGrants", message="g"),))
    assert json.loads(Result(ok=True, payload=small, time="t").termination_message())["payload"]["warnings"]
