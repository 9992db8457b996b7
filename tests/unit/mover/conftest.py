"""For all tests of the mover."""

import pytest

from ocore_mover import redact
from support.mover.site import server15, server17  # noqa: F401 - fixtures: one server of each for all folders


@pytest.fixture(autouse=True)
def no_secrets_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """A password such as `wrong` that one test registers must not mask words in what another test compares."""
    monkeypatch.setattr(redact, "_secrets", [])
