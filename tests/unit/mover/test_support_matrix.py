"""The committed page is generated from the committed results, and those are of a complete run of the tests that
exist."""

import json

import pytest

from support.mover.support_matrix import CHECKS, FEATURES, MAJORS, PAGE, RESULTS, Facts, Results, missing, page, table


def test_the_page_is_made_from_the_results() -> None:
    results = Results.parse(RESULTS.read_text())
    assert missing(results) == []
    assert PAGE.read_text() == page(PAGE.read_text(), results), "run `make postgresql-matrix`"


def test_the_results_are_what_a_run_writes() -> None:
    assert Results.parse(RESULTS.read_text()).text() == RESULTS.read_text()


def complete() -> Results:
    facts = {major: Facts(f"{major}.1", "Debian", dict.fromkeys(FEATURES, True)) for major in MAJORS}
    return Results({check: list(MAJORS) for check in CHECKS}, facts)


def test_what_did_not_run_is_missing_and_not_in_the_table() -> None:
    results = complete()
    assert missing(results) == []
    results.passed["by-hand"].remove(16)
    assert missing(results) == ["by-hand on PostgreSQL 16"]
    (row,) = (line for line in table(results).splitlines() if line.startswith("| restore by hand with"))
    assert row.endswith("| passed | - | passed | passed |")
    del results.facts[18]
    assert "facts of PostgreSQL 18" in missing(results)


@pytest.mark.parametrize("feature", FEATURES)
def test_what_a_server_lacks_is_named(feature: str) -> None:
    results = complete()
    assert FEATURES[feature] not in table(results)
    found = json.loads(results.text())
    found["servers"]["16"]["features"][feature] = False
    assert f"- PostgreSQL 16: {FEATURES[feature]}" in table(Results.parse(json.dumps(found)))


def test_a_page_without_its_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="no part between"):
        page("# PostgreSQL\n", complete())


def test_a_check_that_no_row_has_is_refused() -> None:
    with pytest.raises(AssertionError, match="unknown"):
        Results().add("unknown", 15)
