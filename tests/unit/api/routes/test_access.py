"""Who reaches which object."""

import asyncio
from collections.abc import Awaitable
from typing import Any
from uuid import UUID

import pytest

from ocore_api.auth import SCOPES, Principal
from ocore_api.cache import Cache, RollbackEntry
from ocore_api.errors import Problem
from ocore_api.routes import access
from support.api.objects import complete, environment, rolled_back, source

P1, P2 = "11111111-0000-4000-8000-000000000001", "11111111-0000-4000-8000-000000000002"
E1, E2, E3 = (f"22222222-0000-4000-8000-00000000000{n}" for n in (1, 2, 3))
S1, S2, S3 = (f"33333333-0000-4000-8000-00000000000{n}" for n in (1, 2, 3))
R1, R2 = (f"44444444-0000-4000-8000-00000000000{n}" for n in (1, 2))
UNKNOWN = "99999999-0000-4000-8000-000000000009"


class Holder:
    """What the functions need of a Facade."""

    cache = Cache()


ENVIRONMENTS = {E1: ("one", P1), E2: ("two", P2), E3: ("three", P1)}
for environment_id, (name, project) in ENVIRONMENTS.items():
    Holder.cache.store.put("Environment", environment(name, environment_id, project))
for snapshot_id, environment_id in ((S1, E1), (S2, E2), (S3, E3)):
    name, project = ENVIRONMENTS[environment_id]
    Holder.cache.store.put(
        "Snapshot", complete(f"of-{name}", of=source(environment_id, project, name), uid=snapshot_id)
    )
for rollback_id, environment_id in ((R1, E1), (R2, E2)):
    name, _ = ENVIRONMENTS[environment_id]
    status = {"environmentId": environment_id, "environmentName": name}
    Holder.cache.store.put("Rollback", rolled_back(f"of-{name}", status=status, uid=rollback_id))


def caller(projects: set[str] | None = None, environments: set[str] | None = None) -> Principal:
    return Principal("alice", frozenset(projects or ()), frozenset(environments or ()), SCOPES, 0)


OF_PROJECT = caller({P1})
OF_ENVIRONMENT = caller(environments={E1})
STRANGER = caller()


def reach(name: str, principal: Principal, *ids: str) -> Any:
    function: Any = getattr(access, name)
    types = (RollbackEntry,) if name == "owned" else ()
    work: Awaitable[Any] = function(Holder, principal, *types, *(UUID(i) for i in ids))

    async def run() -> Any:
        return await work

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("name", "ids", "principals"),
    [
        ("owned_environment", (E1,), (OF_PROJECT, OF_ENVIRONMENT)),
        ("owned_environment", (E2,), ()),
        ("owned_environment", (E3,), (OF_PROJECT,)),
        ("owned_environment", (UNKNOWN,), ()),
        ("owned_snapshot", (E1, S1), (OF_PROJECT, OF_ENVIRONMENT)),
        ("owned_snapshot", (E2, S2), ()),
        ("owned_snapshot", (E3, S3), (OF_PROJECT,)),
        ("owned_snapshot", (E1, S2), ()),  # not of this environment, and not the caller's
        ("owned_snapshot", (E1, S3), ()),  # not of this environment
        ("owned_snapshot", (E2, S1), ()),  # the environment is not the caller's
        ("owned_snapshot", (E1, UNKNOWN), ()),
        ("owned_snapshot", (UNKNOWN, S1), ()),
        ("owned", (R1,), (OF_PROJECT, OF_ENVIRONMENT)),
        ("owned", (R2,), ()),
        ("owned", (UNKNOWN,), ()),
        ("visible_project", (P1,), (OF_PROJECT, OF_ENVIRONMENT)),
        ("visible_project", (P2,), ()),
        ("visible_project", (UNKNOWN,), ()),
    ],
)
def test_who_reaches_what(name: str, ids: tuple[str, ...], principals: tuple[Principal, ...]) -> None:
    for principal in (OF_PROJECT, OF_ENVIRONMENT, STRANGER):
        if principal in principals:
            found = reach(name, principal, *ids)
            assert (found if isinstance(found, str) else found.id) == ids[-1]
        else:
            with pytest.raises(Problem, match="NotFound"):
                reach(name, principal, *ids)


@pytest.mark.parametrize(
    ("name", "foreign", "unknown"),
    [
        ("owned_environment", (E2,), (UNKNOWN,)),
        ("owned_snapshot", (E1, S2), (E1, UNKNOWN)),
        ("owned", (R2,), (UNKNOWN,)),
        ("visible_project", (P2,), (UNKNOWN,)),
    ],
)
def test_unknown_and_not_yours_have_the_same_answer(
    name: str, foreign: tuple[str, ...], unknown: tuple[str, ...]
) -> None:
    answers = []
    for ids in (foreign, unknown):
        with pytest.raises(Problem, match="NotFound") as caught:
            reach(name, OF_PROJECT, *ids)
        problem = caught.value
        answers.append((problem.reason, problem.detail.replace(ids[-1], "ID"), problem.headers, problem.fields))
    assert answers[0] == answers[1]
    assert "ID" in answers[0][1]


def test_an_id_in_the_token_that_does_not_exist_shows_no_project() -> None:
    with pytest.raises(Problem, match="NotFound"):
        reach("visible_project", caller(environments={UNKNOWN}), P1)
