"""Row 77: whatever a tenant, a bucket or a Job has written into an object, the facade serves it as documented, and all
others as before."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ocore_api.cache.entries import KINDS
from ocore_api.facade import Facade
from ocore_api.writes.sizes import Measurements
from ocore_crds import conditions as c
from ocore_crds.kinds import KINDS as ALL
from ocore_crds.naming import ANNOTATION_REQUESTED_AT
from ocore_crds.schema.from_models import object_schema
from support.api import objects as o
from support.api.api_server import ApiServer
from support.api.filled import SNAPSHOT, healthy
from support.api.serving import Serving, serving
from support.cluster.cluster import REPOSITORY
from support.crds import hostile

Object = dict[str, Any]
#: Not shrunk: an example takes minutes, and the assertion names the path and the field.
FUZZ = settings(
    deadline=None,
    max_examples=25,
    derandomize=True,
    database=None,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)
DOCUMENT = json.loads((REPOSITORY / "docs/openapi.json").read_text())
SCHEMAS = {kind.kind: object_schema(kind)["properties"] for kind in ALL}
ENVIRONMENTS = (o.ENVIRONMENT, o.OTHER_ENVIRONMENT)
#: What the healthy objects have, and what none has.
IDS = (*ENVIRONMENTS, o.PROJECT, SNAPSHOT, o.uid_of("Rollback/apps/r1"), o.uid_of("none"))
DECIDING = (c.COMPLETE, c.FAILED, c.STALLED, c.READY, c.RECONCILING, c.VERIFIED)


@st.composite
def held(draw: st.DrawFn, kind: str, name: str) -> Object:
    """An object as an API server holds it. Most of them name the healthy ones, and so are in their lists."""
    schema = SCHEMAS[kind]
    spec, status = draw(hostile.held(schema["spec"])), draw(hostile.held(schema["status"]))
    found = o.obj(kind, name, created=draw(st.sampled_from((-1, 100, 10**9))), spec=spec, status=status)
    spec, status = found["spec"], found["status"]
    found["metadata"]["annotations"] = {
        ANNOTATION_REQUESTED_AT: draw(hostile.texts() | st.just("2026-01-31T12:00:00.123Z"))
    }
    # At random the types are others than those that decide.
    decide = {**draw(hostile.held(schema["status"]["properties"]["conditions"]["items"])), "status": "True"}
    others = [each for each in status.get("conditions", ()) if each["type"] not in DECIDING]
    types = draw(st.sets(st.sampled_from(DECIDING), max_size=2))
    status["conditions"] = [*others, *({**decide, "type": type_} for type_ in types)]
    if draw(st.integers(0, 3)) == 0:
        return found
    # The operator gives no id twice; a tenant asks for any.
    status["id"] = draw(st.sampled_from((o.uid_of(f"id of {name}"), found["metadata"]["uid"], "")))
    for fields in (spec, status):
        for field in sorted(fields.keys() & {"id", "deploymentId", "snapshotId", "safetySnapshotId"}):
            if fields is spec or field != "id":
                fields[field] = draw(st.sampled_from((*IDS, fields[field])))
    place, environment = draw(st.sampled_from((("shop", o.ENVIRONMENT), ("stage", o.OTHER_ENVIRONMENT))))
    if kind == "Environment":
        spec["projectId"] = o.PROJECT
    elif kind in ("Snapshot", "SnapshotPolicy"):
        spec["environmentRef"]["name"] = place
        if "source" in status:
            status["source"] |= {"environmentId": environment, "projectId": o.PROJECT}
    elif kind == "Rollback":
        spec |= {"targetEnvironmentRef": {"name": place}, "dryRun": draw(st.integers(0, 9)) == 0}
        if draw(st.booleans()):
            spec["snapshotRef"] = {"name": draw(st.sampled_from(("s2", "x-snapshot")))}
        for field, value in (("environmentName", place), ("environmentId", environment)):
            if field in status:
                status[field] = value
    return found


class Asked:
    """A server that holds the healthy objects and others, and one who may see them."""

    def __init__(self, served: Serving) -> None:
        self.served = served
        self._client = served.client(projects=[o.PROJECT])
        self._schemas: dict[str, Any] = {}

    def hold(self, others: Iterable[Object]) -> None:
        """Nothing but the healthy objects and these."""
        self.served.call(self._hold, [*healthy(), *others])

    def _hold(self, objects: list[Object]) -> None:
        facade = self.served.facade
        for kind in KINDS:
            facade.cache.store.forget(kind, None)
        facade.client.objects.clear()
        for each in objects:
            facade.client.put(each)
            facade.cache.store.put(each["kind"], each)

    def get(self, template: str, query: Object | None = None, **ids: str) -> Any:
        """The answer of an operation: its status and body are documented. None: not found."""
        path = template.format(**ids)
        answers = DOCUMENT["paths"][template]["get"]["responses"]
        if "text/event-stream" in answers["200"]["content"]:
            return self._event(path)
        answer = self._client.get(path, params=query)
        assert answer.status_code != 500, path
        assert str(answer.status_code) in answers, (path, answer.status_code)
        media = answer.headers["content-type"]
        self._valid(answers[str(answer.status_code)]["content"][media]["schema"], answer.json(), path)
        return answer.json() if answer.status_code == 200 else None

    def _event(self, path: str) -> Any:
        """The first event of a stream."""
        # Of httpx's lines some end at characters that end no line of a stream.
        received = b""
        with self._client.stream("GET", path) as answer:
            assert answer.status_code == 200, (path, answer.status_code)
            for chunk in answer.iter_bytes():
                received += chunk
                if re.search(rb"^data: .*\n", received, re.MULTILINE):
                    break
        event = json.loads(re.findall(rb"^data: (.*)\n", received, re.MULTILINE)[0])
        self._valid({"$ref": "#/components/schemas/ProgressEvent"}, event, path)
        return event

    def _valid(self, schema: Object, body: Any, path: str) -> None:
        key = json.dumps(schema)
        if key not in self._schemas:
            whole = {**schema, "components": DOCUMENT["components"]}
            self._schemas[key] = jsonschema_rs.validator_for(whole, validate_formats=True)
        errors = [f"{path} {e.instance_path}: {e.message[:200]}" for e in self._schemas[key].iter_errors(body)]
        assert errors == []

    def everything(self) -> dict[str, Any]:
        """The rows of all lists by list and id, after each of them was asked for alone."""
        found: dict[str, Any] = {}
        rows = self.get("/api/projects/{projectId}/snapshots", {"limit": 100}, projectId=o.PROJECT)
        found["project"] = {each["id"]: each for each in rows["snapshots"]}
        assert rows["total"] == len(rows["snapshots"]) == len(found["project"])
        for environment in sorted({*ENVIRONMENTS, *(each["environmentId"] for each in rows["snapshots"])}):
            self._environment(environment, found)
        return found

    def _environment(self, environment: str, found: dict[str, Any]) -> None:
        base = "/api/environments/{environmentId}"
        page = self.get(f"{base}/snapshots", {"limit": 100}, environmentId=environment)
        logs = self.get(f"{base}/rollback-logs", environmentId=environment)
        self.get(f"{base}/snapshot-settings", environmentId=environment)
        self.get(f"{base}/snapshot-size", environmentId=environment)
        if page is None:
            return  # an Environment that does not exist any more
        found[f"snapshots of {environment}"] = {each["id"]: each for each in page["snapshots"]}
        found[f"logs of {environment}"] = {each["id"]: each for each in logs["rollbackLogs"]}
        for each in page["snapshots"]:
            ids = {"environmentId": environment, "snapshotId": each["id"]}
            assert self.get(f"{base}/snapshots/{{snapshotId}}", **ids).items() >= each.items()
            event = self.get(f"{base}/snapshots/{{snapshotId}}/progress", **ids)
            assert (event["id"], event["status"]) == (each["id"], each["status"])
        for each in logs["rollbackLogs"]:
            event = self.get("/api/deployments/{deploymentId}/rollback/progress", deploymentId=each["id"])
            assert (event["id"], event["status"]) == (each["id"], each["status"])


@pytest.fixture(scope="module")
def asked() -> Iterator[Asked]:
    def at_once(facade: Facade) -> None:
        facade.measurements = Measurements(wait=0)

    with serving(client=ApiServer(), prepare=at_once, rate_per_second=10**6, rate_burst=10**6) as served:
        yield Asked(served)


def test_row_77_whatever_an_object_holds_is_served_as_documented_and_the_others_as_before(asked: Asked) -> None:
    asked.hold(())
    alone = asked.everything()
    assert len(alone["project"]) == 4
    shown = set()

    @FUZZ
    @given(st.tuples(*(held(kind, f"x-{kind.lower()}") for kind in KINDS)))
    def check(others: tuple[Object, ...]) -> None:
        asked.hold(others)
        found = asked.everything()
        for name, rows in alone.items():
            assert found[name].items() >= rows.items(), name
        shown.update(name for name, rows in found.items() if rows.keys() - alone.get(name, {}).keys())

    check()
    assert {name.split()[0] for name in shown} == {"project", "snapshots", "logs"}, "the objects were in no list"
