"""The served OpenAPI, and the answers of a running application, against the document that existing clients know. In
both directions.

ANSWERS has the operations whose real answers are compared here: those that only read the cache. The integration tests
of writes compare each answer of a facade with a real API server (`d.compare_with_document`).
"""

import ast
import json
from collections.abc import Iterator
from typing import Any, get_args

import httpx
import pytest

from ocore_api import openapi as generated
from ocore_api.errors import REASONS
from ocore_api.examples import EXAMPLES
from ocore_api.http import problems
from ocore_api.views.models import SOURCE
from ocore_crds.resources.recovery_evidence import RecoveryEvidence
from support.api import document as d
from support.api import objects as o
from support.api.filled import SNAPSHOT, filled
from support.api.serving import Serving, serving

OPERATIONS = d.operations()
IDS = [f"{op.method} {op.path}" for op in OPERATIONS]
Schema = dict[str, Any]

#: What the API has and the document lacks. Everything else that differs fails.
EXTRA_PATHS = {"/healthz", "/readyz", "/metrics", "/docs", "/openapi.json"}
CONSOLE = "/console/v1/"
#: Every model of an answer or a request.
MODELS = list(generated.PAGE_OF)
EXTRA_REQUEST_HEADERS = {"Idempotency-Key", "Last-Event-ID"}
EXTRA_RESPONSE_HEADERS = {"Location", "Age", "Retry-After", "WWW-Authenticate", "Cache-Control", "X-Accel-Buffering"}
ERRORS = {400, 401, 403, 404, 408, 409, 413, 422, 429, 500, 503}
#: Fields that a request must have, although the document marks no field of a body as required: without it there is
#: nothing to do.
REQUIRED_BODY_FIELDS = {("POST", "/environments/{environmentId}/rollback"): {"snapshotId"}}

#: Operation → the path and query that are requested of an application with `filled()`.
ANSWERS: dict[tuple[str, str], tuple[str, dict[str, Any]]] = {
    ("GET", "/environments/{environmentId}/rollback-logs"): (f"/environments/{o.ENVIRONMENT}/rollback-logs", {}),
    ("GET", "/environments/{environmentId}/snapshots"): (
        f"/environments/{o.ENVIRONMENT}/snapshots",
        {"limit": 2, "offset": 1},
    ),
    ("GET", "/environments/{environmentId}/snapshots/{snapshotId}"): (
        f"/environments/{o.ENVIRONMENT}/snapshots/{SNAPSHOT}",
        {},
    ),
    ("GET", "/projects/{projectId}/snapshots"): (f"/projects/{o.PROJECT}/snapshots", {"status": "completed"}),
}


@pytest.fixture(scope="module")
def served() -> Iterator[Serving]:
    with serving(cache=filled()) as found:
        yield found


@pytest.fixture(scope="module")
def api(served: Serving) -> Schema:
    """The served OpenAPI document."""
    found: Schema = httpx.get(f"{served.url}/openapi.json", timeout=60).json()
    return found


def operation_of(api: Schema, op: d.Operation) -> Schema:
    path = api["paths"].get(f"/api{op.path}", {})
    assert op.method.lower() in path, f"{op.method} {op.path} is not served"
    found: Schema = path[op.method.lower()]
    return found


def resolved(api: Schema, schema: Schema) -> Schema:
    """The schema without references and without the alternative null."""
    while "$ref" in schema or "anyOf" in schema:
        if "$ref" in schema:
            schema = api["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
        else:
            options = [s for s in schema["anyOf"] if s.get("type") != "null"]
            assert len(options) == 1, schema
            schema = {**{k: v for k, v in schema.items() if k != "anyOf"}, **options[0]}
    return schema


def compare(api: Schema, schema: Schema, example: Any, extra: set[str], where: str) -> None:
    """The schema describes exactly what the example shows."""
    found = resolved(api, schema)
    if example == {}:  # progress: the document does not say what is in it
        assert found["type"] == "object", where
    elif isinstance(example, dict) and set(example) == {"property1", "property2"}:
        assert found["type"] == "object", where
        compare(api, found["additionalProperties"], example["property1"], set(), f"{where}.*")
    elif isinstance(example, dict):
        assert set(found["properties"]) == set(example) | extra, where
        assert set(found["required"]) >= set(example) | extra or where.endswith("recoveryEvidence"), (
            f"{where}: never a missing key"
        )
        for name, value in example.items():
            compare(api, found["properties"][name], value, set(), f"{where}.{name}")
    elif isinstance(example, list):
        assert found["type"] == "array", where
        compare(api, found["items"], example[0], set(), f"{where}[]")
    else:
        types = {str: "string", bool: "boolean", int: "integer"}
        assert found.get("type", "string") == types[type(example)], where


# --- the document itself ------------------------------------------------------------------------------------------


def test_the_document_has_fourteen_operations() -> None:
    assert len(OPERATIONS) == len(set(IDS)) == 14
    rollback = next(op for op in OPERATIONS if op.method == "POST" and op.path.endswith("/rollback"))
    assert {n: f.type for n, f in rollback.body.items()} == {
        "createSafetySnapshot": "boolean",
        "snapshotId": "string",
        "targetEnvironmentId": "string",
    }
    assert (rollback.status, set(rollback.answer)) == (202, {"deploymentId", "environmentId", "message", "snapshotId"})
    lists = next(op for op in OPERATIONS if op.path == "/projects/{projectId}/snapshots")
    assert list(lists.query_parameters) == ["environmentType", "status", "limit", "offset"]
    assert lists.query_parameters["limit"].default == "20"
    assert [op.status for op in OPERATIONS].count(204) == 1
    assert {op.events for op in OPERATIONS} == {None, "snapshot-progress", "rollback-progress"}
    assert all(f.required and f.format == "uuid" for op in OPERATIONS for f in op.path_parameters.values())


# --- the served OpenAPI -------------------------------------------------------------------------------------------


def test_nothing_is_served_but_the_document(api: Schema) -> None:
    served = {(m.upper(), p) for p, methods in api["paths"].items() for m in methods if not p.startswith(CONSOLE)}
    wanted = {(op.method, f"/api{op.path}") for op in OPERATIONS}
    assert served - wanted <= {("GET", p) for p in EXTRA_PATHS}
    assert wanted <= served


@pytest.mark.parametrize("op", OPERATIONS, ids=IDS)
def test_parameters(api: Schema, op: d.Operation) -> None:
    found = operation_of(api, op)
    by_place: dict[str, dict[str, Schema]] = {}
    for parameter in found.get("parameters", []):
        by_place.setdefault(parameter["in"], {})[parameter["name"]] = parameter
    assert {n.title().replace("-Id", "-ID") for n in by_place.pop("header", {})} <= EXTRA_REQUEST_HEADERS
    assert set(by_place.get("path", {})) == set(op.path_parameters)
    assert set(by_place.get("query", {})) == set(op.query_parameters)
    assert set(by_place) <= {"path", "query"}
    for field in (*op.path_parameters.values(), *op.query_parameters.values()):
        parameter = by_place["path" if field.name in op.path_parameters else "query"][field.name]
        schema = resolved(api, parameter["schema"])
        assert (schema.get("type", "string"), parameter["required"]) == (field.type, field.required)
        assert schema.get("format") == field.format
        default = schema.get("default")
        assert (None if default is None else str(default)) == field.default


@pytest.mark.parametrize("op", OPERATIONS, ids=IDS)
def test_requests(api: Schema, op: d.Operation) -> None:
    found = operation_of(api, op)
    assert ("requestBody" in found) == bool(op.body)
    if op.body:
        assert found["requestBody"]["required"] is True
        [(media, content)] = found["requestBody"]["content"].items()
        schema = resolved(api, content["schema"])
        assert media == "application/json"
        assert set(schema["properties"]) == set(op.body)
        assert {n: resolved(api, s).get("type", "string") for n, s in schema["properties"].items()} == {
            n: f.type for n, f in op.body.items()
        }
        assert set(schema.get("required", [])) == REQUIRED_BODY_FIELDS.get((op.method, op.path), set())
        assert schema["additionalProperties"] is False


@pytest.mark.parametrize("op", OPERATIONS, ids=IDS)
def test_answers(api: Schema, op: d.Operation) -> None:
    responses = operation_of(api, op)["responses"]
    statuses = {int(s) for s in responses}
    # A stream of which the client has the final event.
    assert statuses - ERRORS == ({op.status} if op.events is None else {op.status, 204})
    for response in responses.values():
        assert set(response.get("headers", {})) <= EXTRA_RESPONSE_HEADERS
    for error in statuses & ERRORS:
        assert set(responses[str(error)]["content"]) == {"application/problem+json"}
    good = responses[str(op.status)]
    if op.events is not None:
        assert set(good["content"]) == {"text/event-stream"}
    elif op.answer is None:
        assert "content" not in good
    else:
        assert set(good["content"]) == {"application/json"}
        compare(
            api,
            good["content"]["application/json"]["schema"],
            op.answer,
            d.extra_fields(op),
            op.path,
        )


def test_every_operation_needs_the_token_of_the_document(api: Schema) -> None:
    schemes = api["components"]["securitySchemes"]
    assert [(s["type"], s["scheme"], s.get("bearerFormat")) for s in schemes.values()] == [("http", "bearer", "JWT")]
    for methods in api["paths"].values():
        assert all(op["security"] == [{name: []} for name in schemes] for op in methods.values())


# --- real answers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ANSWERS, ids=lambda k: f"{k[0]} {k[1]}")
def test_real_answers(served: Serving, key: tuple[str, str]) -> None:
    op = next(op for op in OPERATIONS if (op.method, op.path) == key)
    path, query = ANSWERS[key]
    with served.client(projects=[o.PROJECT], environments=[]) as client:
        answer = client.request(op.method, f"/api{path}", params=query)
    assert answer.headers["content-type"] == "application/json"
    assert d.compare_with_document(answer) == op
    lists = [v for v in answer.json().values() if isinstance(v, list)]
    assert all(lists), "an empty list shows nothing of its rows"


def test_an_answer_with_a_missing_or_an_unknown_field_is_noticed() -> None:
    op = next(op for op in OPERATIONS if op.path == "/projects/{projectId}/snapshots")
    good = {"snapshots": [op.answer["snapshots"][0]], "total": 1}
    d.compare_answer(op.answer, good, set(), "")
    row = good["snapshots"][0]
    for bad in (
        {**row, "more": 1},
        {k: v for k, v in row.items() if k != "id"},
        {**row, "durationMs": "1"},
        {**row, "isPinned": 1},
    ):
        with pytest.raises(AssertionError):
            d.compare_answer(op.answer, {**good, "snapshots": [bad]}, set(), "")


# --- what is generated --------------------------------------------------------------------------------------------


def test_generated_files_are_current(repository: Any, api: Schema) -> None:
    assert list(generated.differing(repository)) == []
    assert json.loads((repository / generated.DOCUMENT).read_text()) == api


def test_no_description_has_a_line_break_inside_a_paragraph(api: Schema) -> None:
    def described(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            if isinstance(node.get("description"), str):
                yield node["description"]
            node = list(node.values())
        if isinstance(node, list):
            for child in node:
                yield from described(child)

    found = list(described(api))
    assert len(found) > 100
    assert [text for text in found if "\n" in text.replace("\n\n", "")] == []


def test_every_field_says_where_it_comes_from() -> None:
    undocumented = [
        f"{model.__name__}.{name}"
        for model in MODELS
        if model is not RecoveryEvidence  # ocore_crds describes it
        for name, field in model.model_fields.items()
        if not (isinstance(extra := field.json_schema_extra, dict) and extra.get(SOURCE))
    ]
    assert undocumented == []


def test_every_example_is_valid(api: Schema) -> None:
    known = {model.__name__: model for model in MODELS}
    for name, example in EXAMPLES.items():
        known[name].model_validate(example)
    shown = [
        content["example"]
        for path, methods in api["paths"].items()
        if not path.startswith(CONSOLE)
        for operation in methods.values()
        for part in (operation.get("requestBody", {}), *operation["responses"].values())
        for content in part.get("content", {}).values()
        if "example" in content
    ]
    # A body of each request and an answer of each operation but the deletion.
    assert len(shown) == 3 + 13


def test_every_request_and_answer_of_the_console_has_an_example(api: Schema) -> None:
    contents = {
        f"{method} {path} {status}": content
        for path, methods in api["paths"].items()
        if path.startswith(CONSOLE)
        for method, operation in methods.items()
        for status, part in (("body", operation.get("requestBody", {})), *operation["responses"].items())
        if not str(status).startswith(("4", "5"))
        for content in part.get("content", {}).values()
    }
    assert [name for name, content in contents.items() if "example" not in content] == []


def test_an_operation_names_its_headers(api: Schema) -> None:
    snapshots, size = "/api/environments/{environmentId}/snapshots", "/api/environments/{environmentId}/snapshot-size"
    assert "id" in api["paths"][snapshots]["post"]["responses"]["202"]["headers"]["Location"]["description"]
    assert "Age" in api["paths"][size]["get"]["responses"]["200"]["headers"]
    assert api["paths"][size]["get"]["responses"]["503"]["headers"]["Retry-After"]["schema"]["type"] == "integer"
    assert api["servers"] == [{"url": "/", "description": "The server that served this document."}]


def test_every_reason_of_the_code_is_listed(repository: Any, api: Schema) -> None:
    written = set(problems._REASONS.values())
    for path in (repository / "api/ocore_api").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "Problem":
                first = node.args[0]
                written |= {first.value} if isinstance(first, ast.Constant) and isinstance(first.value, str) else set()
    assert written == set(REASONS)
    assert api["components"]["schemas"]["Problem"]["properties"]["reason"]["examples"] == sorted(REASONS)


def test_every_field_that_may_be_null_says_when() -> None:
    silent = [
        f"{model.__name__}.{name}"
        for model in MODELS
        for name, field in model.model_fields.items()
        if type(None) in get_args(field.annotation) and "ull" not in (field.description or "")
    ]
    assert silent == []


def test_the_page_names_every_field_of_the_document(repository: Any) -> None:
    page = (repository / "docs/rest-api-fields.md").read_text()
    names: set[str] = set()

    def collect(value: Any) -> None:
        if isinstance(value, dict) and set(value) != {"property1", "property2"}:
            names.update(value)
        for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            collect(each)

    for op in OPERATIONS:
        collect(op.answer)
        names.update(op.body)
    assert sorted(n for n in names if f"| `{n}` |" not in page) == []
