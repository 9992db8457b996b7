"""Answers of the REST API that are the examples of its OpenAPI document, with hostile text in every field that holds
text: each string that the schema neither formats nor enumerates."""

import copy
import json
import re
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, Route

from support.cluster.cluster import REPOSITORY

#: Runs a script where it becomes HTML, leaves an attribute, turns the direction of text around, and is long.
TEXT = "<img src=x onerror=hacked=1><script>hacked=1</script>\"'><a href='javascript:hacked=1'>\u202e\u0007" + "W" * 200
#: What of it is seen.
SEEN = "<script>hacked=1</script>"
#: Fields that the page sends back or takes as a choice: their values are as in the example.
_KEPT = {"type", "scopes"}

#: Of the caller: every control is shown.
_SCOPES = ["read", "snapshot", "rollback", "admin"]


class Document:
    """The OpenAPI document."""

    def __init__(self, text: str = TEXT) -> None:
        """`text`: put at the end of every field that holds text."""
        self._text = text
        self._document = json.loads((REPOSITORY / "docs/openapi.json").read_text())

    def answer(self, method: str, path: str) -> tuple[int, Any] | None:
        """Status and body of an operation's success; None where it has no example."""
        for template, operations in self._document["paths"].items():
            if not re.fullmatch(re.sub(r"\{[^}]+\}", "[^/]+", template), path) or method.lower() not in operations:
                continue
            for status, answer in operations[method.lower()]["responses"].items():
                found = answer.get("content", {}).get("application/json", {})
                if status < "300" and "example" in found:
                    return int(status), self._planted(found["schema"], copy.deepcopy(found["example"]))
        return None

    def plant(self, context: BrowserContext) -> None:
        """From now on the pages of this context get these answers, except to the stream of changes."""

        def answer(route: Route) -> None:
            found = self.answer(route.request.method, urlsplit(route.request.url).path)
            if found is None:
                route.continue_()
            else:
                route.fulfill(status=found[0], content_type="application/json", body=json.dumps(found[1]))

        for path in ("**/console/v1/**", "**/api/environments/**"):
            context.route(path, answer)

    def _planted(self, schema: Any, value: Any, name: str = "") -> Any:
        if name in _KEPT:
            return _SCOPES if name == "scopes" else value
        schema = self._resolved(schema, value)
        if isinstance(value, dict):
            fields, others = schema.get("properties", {}), schema.get("additionalProperties")
            if fields:
                return {n: self._planted(fields.get(n, {}), v, n) for n, v in value.items()}
            return {n + self._text: self._planted(others or {}, v) for n, v in value.items()}
        if isinstance(value, list):
            rows = [self._planted(schema.get("items", {}), v) for v in value]
            return _more(rows) if rows and isinstance(rows[0], dict) and "id" in rows[0] else rows
        if isinstance(value, str) and not {"format", "enum", "const"} & schema.keys():
            return value + self._text
        return value

    def _resolved(self, schema: Any, value: Any) -> Any:
        while True:
            if "$ref" in schema:
                schema = self._document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
            elif "anyOf" in schema and value is not None:
                (schema,) = [
                    {**{k: v for k, v in schema.items() if k != "anyOf"}, **s}
                    for s in schema["anyOf"]
                    if s.get("type") != "null"
                ][:1]
            else:
                return schema


def _more(rows: list[Any]) -> list[Any]:
    """Three rows: the first one, and two with ids and times of their own."""
    first = rows[0]
    return [
        first,
        *(
            {
                **first,
                "id": f"{first['id'][:-1]}{n}",
                **({"createdAt": f"2026-02-0{n}T12:00:00Z"} if "createdAt" in first else {}),
            }
            for n in (1, 2)
        ),
    ]
