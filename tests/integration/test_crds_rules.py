"""Every rule of every CRD: what it takes and what it refuses, asked of the real API server.

The list of rules is read from the generated YAML, and what to try follows from the rule itself (bounds, enums, types)
or from support/crds/samples.py (patterns, CEL). A rule without an accepted and a refused try fails
`test_every_rule_is_tried`.
"""

from collections.abc import Iterator

import pytest
import yaml

from support.cluster.cluster import Cluster
from support.crds.rules import VALIDATIONS, Rule, changed, get, has, nodes
from support.crds.samples import CEL, MINIMAL, SPECS, STORED, sample
from support.crds.server import BY_KIND, Server, stored_name
from support.crds.tries import RULES, SCHEMAS, tries


@pytest.fixture(scope="module")
def server(crds: Cluster) -> Iterator[Server]:
    """The server with one stored object of each kind and spec in a namespace of its own."""
    namespace = crds.namespace("crd-rules")
    server = Server(crds, namespace)
    for kind, specs in STORED.items():
        for index, spec in enumerate(specs):
            stored = server.create(kind, server.unsaved(kind, spec, stored_name(kind, index)), dry_run=False)
            assert stored.taken, stored.refusals
    yield server
    crds.delete("Namespace", namespace)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_rule(server: Server, rule: Rule) -> None:
    for attempt in tries(rule):
        answer = server.ask(rule, attempt)
        if attempt.refused:
            assert not answer.taken, f"{attempt.changes} is taken: {answer.obj}"
            found = answer.refusals
            assert any(attempt.refused in words for _, words in found), (
                f"{attempt}: refused for something else: {found}"
            )
            if attempt.field:
                assert any(f.startswith(attempt.field) for f, w in found if attempt.refused in w), (attempt, found)
            continue
        assert answer.taken, f"{attempt.changes} is refused: {answer.refusals}"
        if rule.keyword == "default":
            assert get(answer.obj, rule.path) == yaml.safe_load(rule.value)


def test_every_rule_is_tried() -> None:
    untried = []
    for rule in RULES:
        found = tries(rule)
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
        stored = server.create(kind, server.unsaved(kind, spec)).obj
        assert stored["spec"] == BY_KIND[kind].spec.model_validate(spec).wire()
        assert stored["status"] == {"observedGeneration": -1}


@pytest.mark.parametrize("kind", SCHEMAS)
def test_unknown_fields_are_refused(server: Server, kind: str) -> None:
    obj = changed(server.unsaved(kind, SPECS[kind][0]), {"spec.surprise": 1})
    answer = server.create(kind, obj)
    assert answer.status == 400
    assert "unknown field" in answer.obj["message"]


@pytest.mark.parametrize("kind", SCHEMAS)
def test_a_complete_status_survives(server: Server, kind: str) -> None:
    status = sample(SCHEMAS[kind]["properties"]["status"])
    stored = server.replace(kind, stored_name(kind, 0), "status", status).obj["status"]
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
