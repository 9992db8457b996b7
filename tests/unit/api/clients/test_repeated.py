"""A request that is sent again: by a client that lost the answer, by a proxy, by many at the same moment."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from support.api.serving import Serving
from support.api.world import World

AT_ONCE = 12


@pytest.mark.parametrize("what", ["snapshots", "rollback"])
def test_row_48_a_repeated_request_starts_nothing(world: World, served: Serving, what: str) -> None:
    ids = served.call(world.tenant, "mine")
    before = len(world.snapshots()), len(world.rollbacks())
    url = f"/api/environments/{ids.environment}/{what}"
    body = {"snapshotId": ids.snapshot} if what == "rollback" else None

    def send(key: str) -> tuple[int, Any, str | None]:
        with served.client("ann", projects=(ids.project,)) as client:
            answer = client.post(url, json=body, headers={"Idempotency-Key": key})
            return answer.status_code, answer.json(), answer.headers.get("location")

    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(send, ["once"] * AT_ONCE))
    assert answers[0][0] == 202
    assert all(answer == answers[0] for answer in answers)
    added = (len(world.snapshots()) - before[0], len(world.rollbacks()) - before[1])
    assert added == ((1, 0) if what == "snapshots" else (0, 1))
    if what == "rollback":
        with served.client("ann", projects=(ids.project,)) as client:
            other = {"snapshotId": ids.snapshot, "createSafetySnapshot": True}
            assert client.post(url, json=other, headers={"Idempotency-Key": "once"}).status_code == 422
