"""Names and ids of what a request creates."""

import re
import uuid

import pytest

from ocore_api.errors import Problem
from ocore_api.writes import keys

ENVIRONMENT = "eeeeeeee-0000-4000-8000-000000000001"


def of(kind: str = "Snapshot", subject: str = "ann", environment: str = ENVIRONMENT, key: str | None = "k") -> str:
    return keys.identity(kind, subject, environment, key).suffix


def test_the_same_request_has_the_same_name_and_id() -> None:
    first, second = (keys.identity("Rollback", "ann", ENVIRONMENT, "k") for _ in range(2))
    assert first == second
    assert first.keyed
    assert str(uuid.UUID(first.id)) == first.id


@pytest.mark.parametrize("other", [{"kind": "Rollback"}, {"subject": "bob"}, {"environment": "x"}, {"key": "l"}])
def test_another_request_has_another_name(other: dict[str, str]) -> None:
    assert of(**other) != of()


def test_parts_do_not_run_into_one_another() -> None:
    assert of(subject="ann", key="xk") != of(subject="annx", key="k")


def test_without_a_key_every_request_has_a_name_of_its_own() -> None:
    assert len({of(key=None) for _ in range(100)}) == 100
    assert not keys.identity("Snapshot", "ann", ENVIRONMENT, None).keyed


@pytest.mark.parametrize("environment", ["shop", "a" * 253, "a" * 199 + ".b", "x.y-z"])
def test_a_name_is_valid(environment: str) -> None:
    name = keys.identity("Snapshot", "ann", ENVIRONMENT, "k").name(environment)
    assert len(name) <= 253
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", name)
    assert ".-" not in name


@pytest.mark.parametrize("key", ["", "a" * 256, "two words", "tab\t", "ä"])
def test_a_key_that_is_not_allowed(key: str) -> None:
    with pytest.raises(Problem, match="InvalidIdempotencyKey"):
        of(key=key)
    assert of(key="a" * 255) != of(key="a" * 254)
