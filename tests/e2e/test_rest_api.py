"""The REST API from the outside: the facade's real image in the cluster, real tokens, and the real operator. The story
with a generated client is in test_cross_environment.py, which has the two Environments that it needs."""

import json
import time
from collections.abc import Iterator
from dataclasses import astuple
from typing import Any
from uuid import uuid4

import httpx
import pytest

from support.api.matrix import Ids, routes
from support.api.sse import Listener
from support.cluster import node
from support.cluster.cluster import GROUP, Cluster, Object, condition, is_true, unique, wait_for
from support.cluster.facade import SELECTOR, Facade, Replica
from support.cluster.failpoints import armed, at_failpoint, running_pod
from support.cluster.operator import NAMESPACE, Operator
from support.cluster.site import PROJECT, Site

#: A watch reports a change within this time; here the machine is busy with other tests.
SEEN = 30
#: After an outage. Pauses between attempts grow to 20 s.
IN_STEP = 60
ANN = "ann@example.org"


# --- tenants ------------------------------------------------------------------------------------------------------
class Tenant:
    """An Environment without a database, a Snapshot, a Rollback, a preview and an Extract of it: enough to have ids."""

    def __init__(self, cluster: Cluster, facade: Facade, namespace: str, name: str) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.name = name
        project = str(uuid4())
        self._create(
            "Environment",
            name,
            {
                "projectId": project,
                "type": "staging",
                "storeRef": {"name": "none"},
                "database": {"secretRef": {"name": "none"}},
            },
        )
        self.snapshot(f"{name}-1")
        of_snapshot = {"snapshotRef": {"name": f"{name}-1"}}
        back = {**of_snapshot, "targetEnvironmentRef": {"name": name}}
        self._create("Rollback", f"{name}-1", back)
        self._create("Rollback", f"{name}-preview", {**back, "dryRun": True})
        self._create("Extract", f"{name}-1", {**of_snapshot, "files": {"paths": ["a"]}, "target": {"store": {}}})
        self.ids = Ids(
            project,
            self._id("Environment", name),
            self._id("Snapshot", f"{name}-1"),
            self._id("Rollback", f"{name}-1"),
            self._id("Rollback", f"{name}-preview"),
            self._id("Extract", f"{name}-1"),
        )
        with facade.client(name, projects=(project,)) as client:
            wait_for("the facade sees the tenant", lambda: self._seen(client), SEEN)

    def snapshot(self, name: str) -> None:
        """A Snapshot of the Environment."""
        self._create("Snapshot", name, {"environmentRef": {"name": self.name}})

    def _create(self, kind: str, name: str, spec: Object) -> None:
        metadata = {"name": name, "namespace": self.namespace}
        self.cluster.apply({"apiVersion": GROUP, "kind": kind, "metadata": metadata, "spec": spec})

    def _id(self, kind: str, name: str) -> str:
        found = self.cluster.wait(
            kind, name, self.namespace, lambda o: bool(o.get("status", {}).get("id")), 60, "has its id"
        )
        return str(found["status"]["id"])

    def _seen(self, client: httpx.Client) -> bool:
        url = f"/api/environments/{self.ids.environment}"
        logs = client.get(f"{url}/rollback-logs")
        return client.get(f"{url}/snapshots").status_code == 200 and len(logs.json()["rollbackLogs"]) == 1


@pytest.fixture
def namespace(cluster: Cluster, facade: Facade) -> Iterator[str]:
    name = cluster.namespace("rest")
    yield name
    cluster.delete("Namespace", name)


def versions(cluster: Cluster, namespace: str) -> dict[str, Any]:
    """The specs of all objects of ours in the namespace: no one has written where they are the same later."""
    kinds = ("Environment", "Snapshot", "SnapshotPolicy", "Rollback", "Extract")
    return {
        f"{kind}/{o['metadata']['name']}": (o["metadata"]["uid"], o["metadata"].get("annotations"), o["spec"])
        for kind in kinds
        for o in cluster.objects(kind, namespace)
    }


def test_row_45_a_tenant_sees_nothing_of_another_one(cluster: Cluster, facade: Facade, namespace: str) -> None:
    """Every route of the served document: foreign objects answer as those that do not exist, and nothing is changed."""
    mine, other = (Tenant(cluster, facade, namespace, name) for name in ("mine", "other"))
    before = versions(cluster, namespace)
    nothing = mine.ids.unknown()
    with (
        facade.client("mine", projects=(mine.ids.project,)) as by_project,
        facade.client("mine", environments=(mine.ids.environment,)) as by_environment,
        facade.client("mine", projects=(mine.ids.project,), scope="") as without_scope,
        httpx.Client(base_url=facade.url) as anonymous,
    ):
        found = routes(by_project)
        assert len([route for route in found if route.path.startswith("/api/")]) == 14
        for route in found:
            assert route.send(anonymous, mine.ids)[0] == 401, route
            if route.scope:
                assert route.send(without_scope, mine.ids)[0] == 403, route
            if not route.names_objects:
                continue
            status, text = route.send(by_project, nothing)
            assert status == 404, (route, text)
            for client in (by_project, by_environment):
                answer = route.send(client, other.ids)
                assert _without_ids(answer, other.ids) == _without_ids((status, text), nothing), route
                for ids in route.foreign_parts(mine.ids, other.ids):
                    assert route.send(client, ids)[0] == 404, route

        for client in (by_project, by_environment):
            listed = client.get(f"/api/projects/{mine.ids.project}/snapshots").json()
            assert [s["id"] for s in listed["snapshots"]] == [mine.ids.snapshot]
        into = {"snapshotId": mine.ids.snapshot, "targetEnvironmentId": other.ids.environment}
        assert by_project.post(f"/api/environments/{mine.ids.environment}/rollback", json=into).status_code == 404
    assert versions(cluster, namespace) == before


def _without_ids(answer: tuple[int, str], ids: Ids) -> tuple[int, Any]:
    """Status and problem, without the ids of the request and the id of the request itself."""
    status, text = answer
    for id_ in astuple(ids):
        text = text.replace(id_, "ID")
    problem = json.loads(text)
    return status, {k: v for k, v in problem.items() if k not in ("instance", "requestId")}


def test_row_47_git_keeps_what_it_owns(cluster: Cluster, facade: Facade, namespace: str) -> None:
    """409 with the owner's name, and no change; the fields that Git does not own can be changed."""
    tenant = Tenant(cluster, facade, namespace, "shop")
    url = f"/api/environments/{tenant.ids.environment}"
    metadata = {"namespace": namespace}

    def from_git(kind: str, name: str, spec: Object) -> None:
        document = {"apiVersion": GROUP, "kind": kind, "metadata": {**metadata, "name": name}, "spec": spec}
        cluster.kubectl(
            "apply", "--server-side", "--field-manager=argocd-controller", "-f", "-", stdin=json.dumps(document)
        )

    from_git("SnapshotPolicy", "shop", {"environmentRef": {"name": "shop"}, "retentionDays": 90})
    from_git("Snapshot", "from-git", {"environmentRef": {"name": "shop"}, "deletionPolicy": "Retain"})
    with facade.client(ANN, projects=(tenant.ids.project,)) as client:
        wait_for("settings", lambda: client.get(f"{url}/snapshot-settings").json()["retentionDays"] == 90, SEEN)
        refused = client.put(f"{url}/snapshot-settings", json={"retentionDays": 1, "maxPinned": 3})
        assert refused.status_code == 409
        assert refused.headers["content-type"] == "application/problem+json"
        assert (refused.json()["manager"], refused.json()["field"]) == ("argocd-controller", "spec.retentionDays")
        kept = client.get(f"{url}/snapshot-settings").json()
        assert kept["retentionDays"] == 90
        changed = client.put(f"{url}/snapshot-settings", json={"maxPinned": kept["maxPinned"] + 1})
        assert changed.status_code == 200
        assert (changed.json()["retentionDays"], changed.json()["maxPinned"]) == (90, kept["maxPinned"] + 1)
        # The next sync of Git changes nothing of ours, and we nothing of Git's.
        from_git("SnapshotPolicy", "shop", {"environmentRef": {"name": "shop"}, "retentionDays": 91})
        expected = {**changed.json(), "retentionDays": 91}
        wait_for(
            "both kept",
            lambda: {**client.get(f"{url}/snapshot-settings").json(), "updatedAt": expected["updatedAt"]} == expected,
            SEEN,
        )

        ended = cluster.wait("Snapshot", "from-git", namespace, lambda o: is_true(o, "Failed"), 90, "failed")
        id_ = ended["status"]["id"]
        wait_for("failed", lambda: client.get(f"{url}/snapshots/{id_}").json()["status"] == "failed", SEEN)
        assert client.get(f"{url}/snapshots/{id_}").json()["errorMessage"] == condition(ended, "Failed")["message"]  # type: ignore[index]
        refused = client.delete(f"{url}/snapshots/{id_}")
        assert refused.status_code == 409, refused.text
        assert refused.json()["field"] == "spec.deletionPolicy"
        assert cluster.get("Snapshot", "from-git", namespace) is not None
        assert client.get(f"{url}/snapshots/{id_}").status_code == 200
        from_git("Snapshot", "from-git", {"environmentRef": {"name": "shop"}})
        wait_for("deleted", lambda: client.delete(f"{url}/snapshots/{id_}").status_code == 204, SEEN)
        assert client.get(f"{url}/snapshots/{id_}").status_code == 404
    cluster.wait_gone("Snapshot", "from-git", namespace, 60)


# --- the API server goes away -------------------------------------------------------------------------------------
def test_row_46_reads_survive_the_api_server(
    cluster: Cluster, operator: Operator, facade: Facade, namespace: str
) -> None:
    """While the API server cannot be reached, reads are answered. Afterwards the cache has what it missed, though the
    API server was killed. A facade that starts in such a time says in `/readyz` that it has listed nothing, stays
    alive, and becomes ready later."""
    operator.ready()
    tenant = Tenant(cluster, facade, namespace, "shop")
    url = f"/api/environments/{tenant.ids.environment}/snapshots"
    service = cluster.get("Service", "kubernetes", "default")
    assert service is not None
    pod = facade.pod()
    with facade.client(ANN, projects=(tenant.ids.project,)) as client:
        with node.PodNetwork(pod, service["spec"]["clusterIP"]) as network:
            network.block()
            node.kill_component("kube-apiserver")
            wait_for("missed", lambda: tenant.snapshot("missed") or True, 60)
            read = client.get(url)
            assert read.status_code == 200
            assert [s["id"] for s in read.json()["snapshots"]] == [tenant.ids.snapshot]
            refused = client.post(url)
            assert refused.status_code == 503
            assert int(refused.headers["retry-after"]) > 0
        begun = time.monotonic()
        wait_for("in step", lambda: client.get(url).json()["total"] == 2, IN_STEP)
        print(f"in step after {time.monotonic() - begun:.1f} s")
        assert facade.ready() == (200, [])

        with node.PodNetwork(pod, service["spec"]["clusterIP"]) as network:
            network.block()
            node.kill(pod, "ocore_api")
            _, reasons = wait_for("not ready", lambda: _not_ready(facade), 60)
            assert "not listed yet" in reasons[0]
            assert httpx.get(f"http://{facade.address()}:8080/healthz", timeout=5).status_code == 200
        wait_for("ready again", lambda: facade.ready() == (200, []), IN_STEP)
        wait_for("served", lambda: _answer(client, url) == 202, SEEN)
        assert client.get(url).json()["total"] == 3
    assert facade.pod()["metadata"]["uid"] == pod["metadata"]["uid"]
    operator.ready()


# --- two replicas -------------------------------------------------------------------------------------------------
#: Seconds for which the mover waits before it writes the manifest: a pod is deleted and its reader comes back in this
#: time.
HELD = 20


def create_held(
    operator: Operator, site: Site, client: httpx.Client, url: str, key: dict[str, str]
) -> tuple[httpx.Response, str]:
    """Creates a Snapshot that stops before its manifest; the answer, and the Snapshot's name. The operator is stopped
    in the meantime: what arms the failpoint is written before it starts the Job."""
    before = {o["metadata"]["name"] for o in site.cluster.objects("Snapshot", site.namespace)}
    processes = operator.processes(operator.pod())
    assert processes
    node.signal(processes, "STOP")
    try:
        made = client.post(url, headers=key)
        assert made.status_code == 202, made.text
        (name,) = {o["metadata"]["name"] for o in site.cluster.objects("Snapshot", site.namespace)} - before
        annotations = armed(f"after-upload-before-manifest=sleep:{HELD}")
        site.cluster.patch("Snapshot", name, site.namespace, {"metadata": {"annotations": annotations}})
    finally:
        node.signal(processes, "CONT")
    return made, name


class Counted:
    """How many requests of one kind each replica has answered since this was made."""

    def __init__(self, replicas: list[Replica], method: str, route: str, status: int) -> None:
        self._what = (method, route, status)
        self._replicas = replicas
        self._before = [r.answered(*self._what) for r in replicas]

    def now(self) -> list[int]:
        """Of each replica."""
        return [r.answered(*self._what) - n for r, n in zip(self._replicas, self._before, strict=True)]


@pytest.mark.timeout(600)
def test_two_replicas_serve_as_one(cluster: Cluster, operator: Operator, facade: Facade, site: Site) -> None:
    """A client creates at one replica, and reads and follows at the other one. The pod of a stream is deleted while the
    operation runs, and its client continues at the other replica. A repeated request starts nothing, wherever it
    arrives."""
    operator.ready()
    key = {"Idempotency-Key": unique("key")}
    url = f"/api/environments/{site.environment_id}/snapshots"

    def client(replica: Replica) -> httpx.Client:
        return replica.client(ANN, projects=(PROJECT,))

    with facade.scaled(2) as replicas:
        first, second = replicas
        assert len({first.uid, second.uid}) == len({first.address, second.address}) == 2
        posts = Counted(replicas, "POST", "/snapshots", 202)
        reads = Counted(replicas, "GET", "/snapshots/{snapshotId}", 200)
        with client(first) as at_first, client(second) as at_second:
            made, name = create_held(operator, site, at_first, url, key)
            path = made.headers["location"]
            stream = f"{path}/progress"
            wait_for("the other replica serves it", lambda: at_second.get(path).status_code == 200, SEEN)
            again = at_second.post(url, headers=key)
        assert (again.status_code, again.json(), again.headers["location"]) == (202, made.json(), path)
        assert posts.now() == [1, 1], "each replica has answered one of both"
        assert (reads.now()[0], reads.now()[1] > 0) == (0, True)

        # Two clients follow the operation, one at each replica. The first one's pod is deleted.
        lost, kept = (Listener(client(replica), stream) for replica in replicas)
        at_failpoint(site, running_pod(site, "Snapshot", name, "snapshot"), "after-upload-before-manifest")
        cluster.delete("Pod", first.name, NAMESPACE)
        received = lost.rest()
        assert "this server is shutting down" in lost.comments
        assert {e.data["status"] for e in received} <= {"pending", "running"}
        continued = Listener(client(second), stream, received[-1].id)
        assert continued.event().data["status"] == "running"
        cluster.wait_gone("Pod", first.name, NAMESPACE, 60)
        assert first.uid not in {p["metadata"]["uid"] for p in cluster.pods(NAMESPACE, SELECTOR)}
        running = cluster.get("Snapshot", name, site.namespace)
        assert running is not None
        assert running["status"]["phase"] == "Running", "the operation ended before its reader was moved"

        site.completed("Snapshot", name)
        final = continued.rest()[-1]
        assert (final.data["status"], final.data["percent"]) == ("completed", 100)
        assert kept.rest()[-1] == final, "the same event with the same id"

        # Who was away at the end gets the final event, who has it gets nothing: also at the replica that replaces the
        # deleted one.
        replaced = wait_for("a replacement", lambda: found if len(found := facade.replicas()) == 2 else None, 90)
        assert first.uid not in {r.uid for r in replaced}
        for replica in replaced:
            assert [e.data for e in Listener(client(replica), stream, received[-1].id).rest()] == [final.data], replica
            with client(replica) as one:
                stopped = one.get(stream, headers={"Last-Event-ID": final.id})
                assert (stopped.status_code, stopped.content) == (204, b"")
                again = one.post(url, headers=key)
                assert (again.status_code, again.json(), again.headers["location"]) == (202, made.json(), path)
        of_ann = [o for o in cluster.objects("Snapshot", site.namespace) if o["spec"].get("requestedBy") == ANN]
        assert [o["metadata"]["name"] for o in of_ann] == [name]

        # The Service spreads connections over both.
        lists = Counted(replaced, "GET", "/snapshots", 200)
        for _ in range(40):
            with facade.client(ANN, projects=(PROJECT,)) as one:
                assert path.endswith(one.get(f"{url}?limit=1").json()["snapshots"][0]["id"])
        assert min(lists.now()) > 0
        assert sum(lists.now()) == 40


def _answer(client: httpx.Client, url: str) -> int | None:
    """Status of a POST; None while the Service does not reach the pod again."""
    try:
        return client.post(url).status_code
    except httpx.TransportError:
        return None


def _not_ready(facade: Facade) -> tuple[int, list[str]] | None:
    found = facade.ready()
    return found if found[0] == 503 else None
