"""The client that openapi-typescript generates from docs/openapi.json drives the REST story. tests/e2e/test_rest_api.py
does the same with the real operator."""

import json

from support.api.clients import Clients
from support.api.serving import Serving
from support.api.world import World, id_of

PROJECT = id_of("project", "shop")


def test_the_whole_story(world: World, served: Serving, clients: Clients) -> None:
    here = served.call(world.environment, PROJECT, "shop")
    there = served.call(world.environment, PROJECT, "copy")
    token = served.issuer.token("ann", projects=(PROJECT,))

    def story(*arguments: str) -> dict[str, object]:
        return dict(json.loads(clients.run("story", *arguments, api=served.url, token=token)))

    snapshot = str(story("snapshot", here, PROJECT)["snapshotId"])
    back = story("rollback", here, snapshot)
    across = story("rollback", here, snapshot, there)
    assert {back["deploymentId"], across["deploymentId"]} == {r["spec"]["id"] for r in world.rollbacks()}
    story("delete", here, snapshot)
    assert world.snapshots() == []


def test_eventsource_with_the_authorization_header(world: World, served: Serving, clients: Clients) -> None:
    """npm's `eventsource` gets each event of a stream that is open before the operation starts, and a refusal as an
    error."""
    here = served.call(world.environment, PROJECT, "shop")
    with served.client("ann", projects=(PROJECT,)) as client:
        made = client.post(f"/api/environments/{here}/snapshots")
    path = f"{made.headers['location']}/progress"
    token = served.issuer.token("ann", projects=(PROJECT,))
    events = [json.loads(line) for line in clients.run("listen", path, api=served.url, token=token).splitlines()]
    assert events[-1]["status"] == "completed"
    assert events[-1]["percent"] == 100
    with clients.start("listen", path, api=served.url, token=served.issuer.token("bob")) as refused:
        _, error = refused.communicate(timeout=30)
    assert refused.returncode != 0
    assert "404" in error
