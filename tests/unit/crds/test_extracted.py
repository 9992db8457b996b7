"""Conditions on the rows of an Extract: data, with bounds."""

import pytest
from pydantic import ValidationError

from ocore_crds.reports.extracted import MAX_VALUES, Comparison, WantedTable, tables_refusal


@pytest.mark.parametrize(
    ("operator", "fit", "wrong"),
    [
        ("In", (1, 2, 100), (0, 101)),
        ("NotIn", (1, 2), (0,)),
        ("IsNull", (0,), (1,)),
        ("IsNotNull", (0,), (1,)),
        ("LessThan", (1,), (0, 2)),
        ("NotContains", (1,), (0, 2)),
        ("=", (), (0, 1)),
    ],
)
def test_the_number_of_values(operator: str, fit: tuple[int, ...], wrong: tuple[int, ...]) -> None:
    for number in fit:
        Comparison.model_validate({"column": "a", "operator": operator, "values": ["x"] * number})
    for number in wrong:
        with pytest.raises(ValidationError):
            Comparison.model_validate({"column": "a", "operator": operator, "values": ["x"] * number})


def test_conditions_fit_into_the_job() -> None:
    """Each value is within its bounds; all of them are not."""
    one = {"column": "abcd", "operator": "In", "values": ["x" * 1000] * 32}
    table = WantedTable.model_validate({"name": "a", "where": [{"allOf": [one]}]})
    assert tables_refusal([table]) == ""
    assert str(MAX_VALUES) in tables_refusal([table, table])
