"""Every rule of every CRD: what it takes and what it refuses, asked of the real API server.

The list of rules is read from the generated YAML, and what to try follows from the rule itself (bounds, enums, types) or from
support/crds/samples.py (patterns, CEL). A rule without an accepted and a refused try fails `test_every_rule_is_tried`.
"""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import yaml
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from ocore_crds.kinds import KINDS
from support.cluster.cluster import Cluster
from support.crds.rules import (
    LIST_KEYS,
    REMOVED,
    VALIDATIONS,
    Object,
    Rule,
    changed,
    field_name,
    get,
    has,
    nodes,
    rules,
    schema_of,
)
from support.crds.rules import (
    crds as shipped_crds,
)
from support.crds.samples import CEL, COMPANIONS, FREE, MINIMAL, PATTERNS, SPECS, STORED, Cel, sample

SCHEMAS = {kind: schema_of(crd) for kind, crd in shipped_crds().items()}
BY_KIND = {kind.kind: kind for kind in KINDS}
RULES = [rule for kind, schema in SCHEMAS.items() for rule in rules(kind, schema)]
WRONG_TYPE: dict[str, Any] = {"string": 7, "boolean": "yes", "integer": "7", "number": "7", "object": "x", "array": "x"}


class Try(NamedTuple):
    """Changes to an object that the server takes; with `refused`, words of its answer and the field it names."""

    changes: Object
    refused: str = ""
    field: str = ""
    spec: int = 0
    update: bool = False


def schema_at(rule: Rule) -> Object:
    """The schema that holds the rule."""
    return next(node.schema for node in nodes(SCHEMAS[rule.kind]) if node.path == rule.path)


def _spec_with(rule: Rule) -> int:
    """The complete spec that has the rule's field."""
    if not rule.path.startswith("spec"):
        return 0
    return next(i for i, spec in enumerate(SPECS[rule.kind]) if has({"spec": spec}, rule.path))


def tries(rule: Rule) -> Iterator[Try]:
    """What to try for the rule: at least one that is taken and one that is refused."""
    if rule.keyword == VALIDATIONS:
        yield from _cel_tries(rule, CEL[rule.kind][rule.path][rule.value])
        return
    index = _spec_with(rule)
    for changes, refused in _tries(rule, schema_at(rule)):
        field = f"{rule.path}.{rule.value}".lstrip(".") if rule.keyword == "required" else rule.path
        yield Try(changes, refused, field_name(field), index)


def _tries(rule: Rule, schema: Object) -> Iterator[tuple[Object, str]]:
    """(changes, words of the refusal or nothing)."""
    path, value = rule.path, rule.value
    pattern = PATTERNS[schema["pattern"]] if "pattern" in schema else FREE
    match rule.keyword:
        case "type":
            yield {}, ""
            yield {path: WRONG_TYPE[value]}, f"must be of type {schema.get('format', value)}"
        case "x-kubernetes-int-or-string":
            yield from (({path: good}, "") for good in (1, "1"))
            yield {path: True}, "must be of type integer,string"
        case "required":
            yield {}, ""
            yield {f"{path}.{value}".lstrip("."): REMOVED}, "Required value"
        case "enum":
            yield from (({path: v} | COMPANIONS.get((path, v), {}), "") for v in value)
            yield {path: "Other"}, "Unsupported value"
        case "pattern":
            yield from (({path: good}, "") for good in pattern.good if len(good) >= schema.get("minLength", 0))
            yield from (({path: bad}, "should match") for bad in pattern.bad)
        case "format":
            yield {path: "2024-02-29T00:00:00Z"}, ""
            yield from (
                ({path: f"{bad}Z"}, "must be of type date-time")
                for bad in ("2026-02-29T00:00:00", "2026-01-01T24:00:00")
            )
        case "minimum":
            yield {path: value}, ""
            yield {path: value - 1}, f"greater than or equal to {value}"
        case "maximum":
            yield {path: value}, ""
            yield {path: value + 1}, f"less than or equal to {value}"
        case "minLength":
            yield {path: pattern.long(value)}, ""
            yield {path: pattern.long(value)[: value - 1]}, f"at least {value} chars long"
        case "maxLength":
            yield {path: pattern.long(value)}, ""
            yield {path: pattern.long(value) + "a"}, "Too long"
        case "minItems":
            yield {path: _items(schema, value)}, ""
            yield {path: _items(schema, value - 1)}, f"should have at least {value} items"
        case "maxItems":
            yield {path: _items(schema, value)}, ""
            yield {path: _items(schema, value + 1)}, f"must have at most {value} items"
        case "x-kubernetes-list-map-keys":
            yield {path: _items(schema, 2)}, ""
            yield {path: _items(schema, 1) * 2}, "Duplicate value"
        case "default":
            yield {path: REMOVED} | COMPANIONS.get((path, None), {}), ""
        case other:
            raise NotImplementedError(f"no test knows what to try for {other}")


def _items(schema: Object, count: int) -> list[Any]:
    """That many different items."""
    item = sample(schema["items"])
    if isinstance(item, str):
        return [item] * count
    keys = schema.get(LIST_KEYS, ())
    free = [k for k in keys if "enum" not in schema["items"]["properties"][k]]
    return [{**item, **dict.fromkeys(free, f"item-{i}")} for i in range(count)]


def _cel_tries(rule: Rule, cel: Cel) -> Iterator[Try]:
    for changes in cel.good:
        yield Try(changes, spec=cel.spec, update=cel.update)
    for changes in cel.bad:
        yield Try(changes, rule.value, spec=cel.spec, update=cel.update)


class Server:
    """The API server, asked by dry runs: what is tried is never stored."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.api = client.CustomObjectsApi(cluster.api)
        self.namespace = namespace

    def _where(self, kind: str) -> tuple[str, str, str, str]:
        return "ocore.dev", "v1alpha1", self.namespace, BY_KIND[kind].plural

    def unsaved(self, kind: str, spec: Object, name: str = "sample") -> Object:
        """A new object, unsaved."""
        if kind == "SnapshotPolicy":  # it has its environment's name
            spec = changed({"spec": spec}, {"spec.environmentRef.name": name})["spec"]
        return {
            "apiVersion": "ocore.dev/v1alpha1",
            "kind": kind,
            "metadata": {"name": name, "namespace": self.namespace, "labels": {}},
            "spec": spec,
        }

    def create(self, kind: str, obj: Object, **options: Any) -> Object:
        """Creates; raises ApiException. Unknown fields are errors."""
        created: Object = self.api.create_namespaced_custom_object(
            *self._where(kind), obj, field_validation="Strict", **options
        )
        return created

    def replace(self, kind: str, name: str, part: str, value: object) -> Object:
        """Replaces a part of a stored object."""
        verb = "patch_namespaced_custom_object" + ("_status" if part == "status" else "")
        patch = [{"op": "add", "path": f"/{part}", "value": value}]
        replaced: Object = getattr(self.api, verb)(
            *self._where(kind), name, patch, dry_run="All", _content_type="application/json-patch+json"
        )
        return replaced


def stored_name(kind: str, spec: int) -> str:
    """Name of the stored object that updates begin from."""
    return f"{kind.lower()}-{spec}"


@pytest.fixture(scope="module")
def server(crds: Cluster) -> Iterator[Server]:
    """The server with one stored object of each kind and spec in a namespace of its own."""
    namespace = crds.namespace("crd-rules")
    server = Server(crds, namespace)
    for kind, specs in STORED.items():
        for index, spec in enumerate(specs):
            server.create(kind, server.unsaved(kind, spec, stored_name(kind, index)))
    yield server
    crds.delete("Namespace", namespace)


def ask(server: Server, rule: Rule, attempt: Try) -> Object:
    """The server's answer to what is tried; raises ApiException."""
    if rule.path.startswith("status") and rule.keyword != "default":
        status = changed({"status": sample(SCHEMAS[rule.kind]["properties"]["status"])}, attempt.changes)["status"]
        return server.replace(rule.kind, stored_name(rule.kind, 0), "status", status)
    specs = STORED if attempt.update else SPECS
    name = stored_name(rule.kind, attempt.spec) if attempt.update else "sample"
    obj = changed(server.unsaved(rule.kind, specs[rule.kind][attempt.spec], name), attempt.changes)
    if rule.kind == "SnapshotPolicy":
        _name_alike(obj, attempt)
    if attempt.update:
        return server.replace(rule.kind, stored_name(rule.kind, attempt.spec), "spec", obj["spec"])
    return server.create(rule.kind, obj, dry_run="All")


def _name_alike(obj: Object, attempt: Try) -> None:
    """A policy has its environment's name: where one of them is tried, the other follows, unless it is the difference that is refused."""
    if "metadata.name" in attempt.changes:
        obj["spec"]["environmentRef"]["name"] = obj["metadata"]["name"][:200]  # longer ones the schema refuses first
    elif "spec.environmentRef.name" in attempt.changes and not attempt.refused:
        obj["metadata"]["name"] = obj["spec"]["environmentRef"]["name"]


def refusals(error: ApiException) -> list[tuple[str, str]]:
    """(field, words) of each cause."""
    assert error.status == 422, error
    return [(c.get("field", ""), c["message"]) for c in json.loads(error.body or "{}")["details"].get("causes", [])]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_rule(server: Server, rule: Rule) -> None:
    for attempt in tries(rule):
        try:
            answer = ask(server, rule, attempt)
        except ApiException as error:
            found = refusals(error)
            assert attempt.refused, f"{attempt.changes} is refused: {found}"
            assert any(attempt.refused in words for _, words in found), (
                f"{attempt}: refused for something else: {found}"
            )
            if attempt.field:
                assert any(f.startswith(attempt.field) for f, w in found if attempt.refused in w), (attempt, found)
            continue
        assert not attempt.refused, f"{attempt.changes} is taken: {answer}"
        if rule.keyword == "default":
            assert get(answer, rule.path) == yaml.safe_load(rule.value)


def test_every_rule_is_tried() -> None:
    untried = []
    for rule in RULES:
        found = list(tries(rule))
        wanted = {False} if rule.keyword == "default" else {False, True}
        if {bool(attempt.refused) for attempt in found} != wanted:
            untried.append(str(rule))
    assert not untried


def test_every_cel_case_belongs_to_a_rule() -> None:
    tried = {(k, path, message) for k, paths in CEL.items() for path, found in paths.items() for message in found}
    assert tried == {(r.kind, r.path, r.value) for r in RULES if r.keyword == VALIDATIONS}


@pytest.mark.parametrize("kind", SCHEMAS)
def test_the_samples_have_every_field(kind: str) -> None:
    missing = [
        node.path
        for node in nodes(SCHEMAS[kind])
        if node.path.startswith("spec.") and not any(has({"spec": spec}, node.path) for spec in SPECS[kind])
    ]
    assert not missing


@pytest.mark.parametrize("kind", SCHEMAS)
def test_server_and_model_agree_on_defaults(server: Server, kind: str) -> None:
    for spec in MINIMAL[kind]:
        stored = server.create(kind, server.unsaved(kind, spec), dry_run="All")
        assert stored["spec"] == BY_KIND[kind].spec.model_validate(spec).wire()
        assert stored["status"] == {"observedGeneration": -1}


@pytest.mark.parametrize("kind", SCHEMAS)
def test_unknown_fields_are_refused(server: Server, kind: str) -> None:
    obj = changed(server.unsaved(kind, SPECS[kind][0]), {"spec.surprise": 1})
    with pytest.raises(ApiException, match="unknown field"):
        server.create(kind, obj, dry_run="All")


@pytest.mark.parametrize("kind", SCHEMAS)
def test_a_complete_status_survives(server: Server, kind: str) -> None:
    status = sample(SCHEMAS[kind]["properties"]["status"])
    stored = server.replace(kind, stored_name(kind, 0), "status", status)["status"]
    assert stored == status
    assert BY_KIND[kind].status.model_validate(stored).wire() == status


@pytest.mark.parametrize("kind", SCHEMAS)
def test_kubectl_shows_every_column(crds: Cluster, server: Server, kind: str) -> None:
    listing = crds.kubectl("-n", server.namespace, "get", BY_KIND[kind].short, "-o", "wide").splitlines()
    assert listing[0].split() == ["NAME", *(c.name.upper() for c in BY_KIND[kind].columns)]
    assert len(listing) == 1 + len(STORED[kind])


def test_kubectl_get_by_category(crds: Cluster, server: Server) -> None:
    names = crds.kubectl("-n", server.namespace, "get", "ocore", "-o", "name").split()
    assert len(names) == sum(map(len, STORED.values()))
