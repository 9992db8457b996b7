"""The document of the API that existing clients speak (ocore-snapshots-api.txt), parsed: paths, parameters, fields,
answers."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

DOCUMENT = Path(__file__).with_name("ocore-snapshots-api.txt")
#: What the document calls an answer → its HTTP status.
STATUSES = {"OK": 200, "Accepted": 202, "No Content": 204}
_FIELD = re.compile(r"([a-z][A-Za-z]*?)(Required)?(string|integer|boolean)")
_METHODS = ("GET", "POST", "PUT", "DELETE")
_EXTRA_FIELDS = {("GET", "/environments/{environmentId}/snapshots/{snapshotId}"): {"rollbackLogs"}}


@dataclass(frozen=True)
class Field:
    """A parameter, or a field of a request."""

    name: str
    type: str
    required: bool
    format: str | None
    default: str | None


@dataclass(frozen=True)
class Operation:
    """One of the operations."""

    title: str
    method: str
    path: str
    path_parameters: dict[str, Field]
    query_parameters: dict[str, Field]
    body: dict[str, Field]
    status: int
    #: An example of the answer: "string", 0, true, lists and maps of them. None: no content. A stream: "string".
    answer: Any
    #: Of a stream: the name of its events.
    events: str | None


def operations(text: str | None = None) -> list[Operation]:
    """All operations, in the document's order."""
    lines = (DOCUMENT.read_text() if text is None else text).splitlines()
    starts = [n for n, line in enumerate(lines) if line in _METHODS]
    ends = [*starts[1:], len(lines)]
    return [_operation(lines, start, end) for start, end in zip(starts, ends, strict=True)]


def _operation(lines: list[str], start: int, end: int) -> Operation:
    block = lines[start:end]
    title = [line for line in lines[:start] if line][-2]
    curl = next(n for n, line in enumerate(block) if line.startswith("curl "))
    sections: dict[str, list[str]] = {}
    name = ""
    for line in block[:curl]:
        if line in ("Authorization", "Request Body", "Path Parameters", "Query Parameters"):
            name = line
        sections.setdefault(name, []).append(line)
    after = curl + 1
    while after < len(block) and block[after - 1].endswith("\\"):
        after += 1
        if (
            block[after - 1].lstrip().startswith("-d '")
        ):  # the body ends with the quote that is not followed by another line
            while not block[after - 1].endswith("}'"):
                after += 1
    rest = "\n".join(block[after:]).strip()
    word, _, example = rest.partition("\n")
    stream = re.fullmatch(r"SSE stream of (\S+) events", word)
    status = 200 if stream else STATUSES[word]
    answer = None if status == 204 else json.JSONDecoder().raw_decode(example.strip())[0]
    return Operation(
        title=title,
        method=block[0],
        path=next(line for line in block[1:] if line.startswith("/")),
        path_parameters=dict(_fields(sections.get("Path Parameters", []))),
        query_parameters=dict(_fields(sections.get("Query Parameters", []))),
        body=dict(_fields(sections.get("Request Body", []))),
        status=status,
        answer=answer,
        events=stream[1] if stream else None,
    )


def _fields(lines: list[str]) -> Iterator[tuple[str, Field]]:
    found = [(n, m) for n, line in enumerate(lines) if (m := _FIELD.fullmatch(line))]
    for k, (n, match) in enumerate(found):
        described = lines[n + 1 : found[k + 1][0] if k + 1 < len(found) else len(lines)]
        values = dict(line.split(": ", 1) for line in described if line.startswith(("Format: ", "Default: ")))
        yield (
            match[1],
            Field(
                match[1],
                match[3],
                match[2] is not None,
                values.get("Format", "").strip('"') or None,
                values.get("Default"),
            ),
        )


def extra_fields(op: Operation) -> set[str]:
    """Fields that our answer has and the document lacks."""
    return _EXTRA_FIELDS.get((op.method, op.path), set())


def compare_answer(example: Any, answer: Any, extra: set[str], where: str) -> None:
    """A real answer has exactly the keys of the example, and its types; null is a value of every scalar. Raises
    AssertionError."""
    if isinstance(example, dict) and set(example) == {"property1", "property2"}:
        assert all(isinstance(v, str) for v in answer.values()), where
    elif example == {}:
        assert isinstance(answer, dict), where
    elif isinstance(example, dict):
        assert set(answer) == set(example) | extra, where
        for name, value in example.items():
            compare_answer(value, answer[name], set(), f"{where}.{name}")
    elif isinstance(example, list):
        assert isinstance(answer, list), where
        for each in answer:
            compare_answer(example[0], each, set(), f"{where}[]")
    else:
        assert answer is None or type(answer) is type(example), f"{where}: {answer!r}"


def compare_with_document(answer: httpx.Response) -> Operation:
    """The operation of a successful answer, which has the status and the fields of the document. Raises
    AssertionError."""
    path = answer.request.url.path.removeprefix("/api")
    op = next(o for o in operations() if o.method == answer.request.method and _matches(o.path, path))
    assert answer.status_code == op.status, answer.text
    if op.answer is None:
        assert answer.content == b""
    else:
        compare_answer(op.answer, answer.json(), extra_fields(op), op.path)
    return op


def _matches(template: str, path: str) -> bool:
    return re.fullmatch(re.sub(r"\{[^}]+\}", "[^/]+", template), path) is not None
