"""The API server, asked by dry runs what it takes and what it refuses."""

from typing import NamedTuple

from ocore_crds.kinds import KINDS
from support.cluster.cluster import GROUP, Cluster
from support.crds.rules import Object, Rule, changed
from support.crds.samples import SPECS, STORED, sample
from support.crds.tries import SCHEMAS, Try, groups, key, part_of

BY_KIND = {kind.kind: kind for kind in KINDS}
JSON, JSON_PATCH = "application/json", "application/json-patch+json"


class Answer(NamedTuple):
    """Status and object: what was taken, or why it was refused."""

    status: int
    obj: Object

    @property
    def taken(self) -> bool:
        """Whether the object is valid."""
        assert self.status in (200, 201, 422), self.obj
        return self.status != 422

    @property
    def refusals(self) -> list[tuple[str, str]]:
        """(field, words) of each cause."""
        causes = [] if self.taken else self.obj["details"].get("causes", [])
        return [(cause.get("field", ""), cause["message"]) for cause in causes]

    def refuses(self, field: str, words: str) -> bool:
        """Whether exactly this field is refused in these words."""
        return any(found == field and words in text for found, text in self.refusals)


class Server:
    """The API server. It is asked once for what several rules ask, over connections that stay open: nearly all of the
    time of these tests is requests."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster = cluster
        self.namespace = namespace
        self._answers: dict[str, Answer] = {}

    def _send(
        self, method: str, path: str, body: object, content_type: str = JSON, query: str = "dryRun=All"
    ) -> Answer:
        where = f"/apis/{GROUP}/namespaces/{self.namespace}/{path}?{query}"
        return Answer(*self._cluster.request(method, where, body, content_type=content_type))

    def unsaved(self, kind: str, spec: Object, name: str = "sample") -> Object:
        """A new object, unsaved."""
        if kind == "SnapshotPolicy":  # it has its environment's name
            spec = changed({"spec": spec}, {"spec.environmentRef.name": name})["spec"]
        return {
            "apiVersion": GROUP,
            "kind": kind,
            "metadata": {"name": name, "namespace": self.namespace, "labels": {}},
            "spec": spec,
        }

    def create(self, kind: str, obj: Object, *, dry_run: bool = True) -> Answer:
        """Creates. Unknown fields are errors."""
        query = "fieldValidation=Strict" + ("&dryRun=All" if dry_run else "")
        return self._send("POST", BY_KIND[kind].plural, obj, query=query)

    def replace(self, kind: str, name: str, part: str, value: object) -> Answer:
        """Replaces a part of a stored object, as a dry run."""
        path = f"{BY_KIND[kind].plural}/{name}" + ("/status" if part == "status" else "")
        return self._send("PATCH", path, [{"op": "add", "path": f"/{part}", "value": value}], JSON_PATCH)

    def ask(self, rule: Rule, attempt: Try) -> Answer:
        """The answer to what is tried: that to its group where it says enough, else one of its own."""
        kind, part = rule.kind, part_of(rule)
        group = groups().get(key(kind, part, attempt))
        if group is not None:
            answer = self._once(group.name, kind, part, group.together)
            # No other try of the group changes this field: a cause that names exactly it is the answer to this one.
            enough = answer.refuses(attempt.field, attempt.refused) if attempt.refused else answer.taken
            if enough:
                return answer
        return self._once(repr((kind, part, attempt.spec, attempt.update, attempt.changes)), kind, part, attempt)

    def _once(self, name: str, kind: str, part: str, attempt: Try) -> Answer:
        if name not in self._answers:
            self._answers[name] = self._ask(kind, part, attempt)
        return self._answers[name]

    def _ask(self, kind: str, part: str, attempt: Try) -> Answer:
        if part == "status":
            status = changed({"status": sample(SCHEMAS[kind]["properties"]["status"])}, attempt.changes)["status"]
            return self.replace(kind, stored_name(kind, 0), "status", status)
        specs = STORED if attempt.update else SPECS
        name = stored_name(kind, attempt.spec) if attempt.update else "sample"
        obj = changed(self.unsaved(kind, specs[kind][attempt.spec], name), attempt.changes)
        if kind == "SnapshotPolicy":
            _name_alike(obj, attempt)
        if attempt.update:
            return self.replace(kind, stored_name(kind, attempt.spec), "spec", obj["spec"])
        return self.create(kind, obj)


def stored_name(kind: str, spec: int) -> str:
    """Name of the stored object that updates begin from."""
    return f"{kind.lower()}-{spec}"


def _name_alike(obj: Object, attempt: Try) -> None:
    """A policy has its environment's name: where one of them is tried, the other follows, unless it is the difference
    that is refused."""
    if "metadata.name" in attempt.changes:
        obj["spec"]["environmentRef"]["name"] = obj["metadata"]["name"][:200]  # longer ones the schema refuses first
    elif "spec.environmentRef.name" in attempt.changes and not attempt.refused:
        obj["metadata"]["name"] = obj["spec"]["environmentRef"]["name"]
