"""The table of the mover's commands."""

from typing import get_args

from ocore_crds.commands.table import COMMANDS
from ocore_crds.protocol import Payload


def test_every_result_is_of_one_command_and_can_be_reported() -> None:
    payloads = set(get_args(get_args(Payload)[0]))
    results = [result for row in COMMANDS.values() for result in row.results]
    assert set(results) == payloads
    shared = {result.__name__ for result in results if results.count(result) > 1}
    assert shared == {"SnapshotResult", "SwitchResult"}, "inspect reports what another command has done"


def test_every_row_has_a_request_of_its_own() -> None:
    assert len({row.request for row in COMMANDS.values()}) == len(COMMANDS)
    for row in COMMANDS.values():
        assert row.request.__doc__, row.name
        assert row.attempts >= 1
        assert row.examples
