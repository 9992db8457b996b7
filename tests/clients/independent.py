"""A client of the REST API that was written from the document of existing clients alone (ocore-snapshots-api.txt), with
Python's own HTTP client.

It never reads our OpenAPI document and uses nothing that the document lacks, except what HTTP and server-sent events
themselves define. It goes through the whole story with each form that such a client may send, and ends with 1 at the
first answer that is not as documented.

    OCORE_API=http://… OCORE_TOKEN=… independent.py PROJECT ENVIRONMENT OTHER_ENVIRONMENT
"""

import gzip
import http.client
import json
import os
import sys
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

DEADLINE = 60.0
URL, TOKEN = urlsplit(os.environ["OCORE_API"]), os.environ["OCORE_TOKEN"]

# --- what the document shows of each answer: a type, a list of one row, a map of fields; every value may be null -----
TEXTS, MAP = [str], {"*": str}
EVIDENCE = {
    "artifactChecksums": MAP, "artifactPaths": MAP, "blockingSteps": TEXTS, "canWriteCleanSuccess": bool,
    "missingEvidence": TEXTS, "missingSteps": TEXTS, "operation": str, "optionalFailedSteps": TEXTS, "progress": dict,
    "reason": str, "remoteCopyState": str, "requiredSteps": TEXTS, "status": str, "whyGreen": TEXTS,
    "whyNotGreen": TEXTS,
}  # fmt: skip
SNAPSHOT = {
    "commitSha": str, "completedAt": str, "configPath": str, "createdAt": str, "dbDumpPath": str, "dbSizeBytes": int,
    "deploymentId": str, "durationMs": int, "environmentId": str, "environmentName": str, "environmentType": str,
    "errorMessage": str, "expiresAt": str, "filestorePath": str, "filestoreSizeBytes": int, "id": str,
    "imageTag": str, "isFullFilestore": bool, "isPinned": bool, "pinLabel": str, "recoveryEvidence": EVIDENCE,
    "remoteStatus": str, "startedAt": str, "status": str, "totalSizeBytes": int, "trigger": str,
}  # fmt: skip
LOG = {
    "completedAt": str, "createdAt": str, "deploymentId": str, "environmentId": str, "errorMessage": str, "id": str,
    "neutralizationTriggered": bool, "performedBy": str, "recoveryEvidence": EVIDENCE, "rollbackDeploymentId": str,
    "safetySnapshotCreated": bool, "safetySnapshotId": str, "snapshotId": str, "startedAt": str, "status": str,
}  # fmt: skip
PAGE = {"limit": int, "offset": int, "snapshots": [SNAPSHOT], "total": int}
PROJECT_PAGE = {"snapshots": [SNAPSHOT], "total": int}
LOGS = {"rollbackLogs": [LOG], "total": int}
SETTINGS = {
    "autoEnabled": bool,
    "createdAt": str,
    "environmentId": str,
    "failurePolicy": str,
    "id": str,
    "maxPinned": int,
    "retentionDays": int,
    "timeoutSeconds": int,
    "updatedAt": str,
}
SIZE = {"dbSizeBytes": int, "filestoreSizeBytes": int, "totalSizeBytes": int}
MESSAGE = {"message": str}
SNAPSHOT_ACCEPTED = {"environmentId": str, "message": str}
ROLLBACK_ACCEPTED = {"deploymentId": str, "environmentId": str, "message": str, "snapshotId": str}
#: The title says "including rollback logs", and the example lacks them.
DETAILS = {**SNAPSHOT, "rollbackLogs": [LOG]}


def need(holds: Any, *what: Any) -> None:
    """Ends the story where something is not as documented."""
    if not holds:
        raise SystemExit(f"not as documented: {' '.join(str(each) for each in what)}")


def compare(shape: Any, value: Any, where: str) -> None:
    """The value has exactly the fields and types that the document shows."""
    if value is None:
        return
    if isinstance(shape, type):
        need(type(value) is shape, where, "is", value)
    elif isinstance(shape, list):
        need(isinstance(value, list), where, "is no list")
        for each in value:
            compare(shape[0], each, f"{where}[]")
    elif "*" in shape:
        for name, each in value.items():
            compare(shape["*"], each, f"{where}.{name}")
    else:
        need(set(value) == set(shape), where, "has other fields:", set(value) ^ set(shape))
        for name, each in value.items():
            compare(shape[name], each, f"{where}.{name}")


def send(method: str, path: str, body: Any = None, **headers: str) -> http.client.HTTPResponse:
    """One request on a connection of its own. `body`: bytes as they are, an iterator in chunks, anything else as
    JSON."""
    connection = http.client.HTTPConnection(URL.hostname or "", URL.port, timeout=DEADLINE)
    sent = {"Authorization": f"Bearer {TOKEN}", **{name.replace("_", "-"): value for name, value in headers.items()}}
    if body is not None and not isinstance(body, bytes) and not hasattr(body, "__next__"):
        body = json.dumps(body).encode()
    if body is not None:
        sent.setdefault("Content-Type", "application/json")
    connection.request(method, f"/api{path}", body, sent, encode_chunked=hasattr(body, "__next__"))
    return connection.getresponse()


def ask(shape: Any, method: str, path: str, body: Any = None, status: int = 200, **headers: str) -> Any:
    """Sends a request whose answer must have that status and shape."""
    answer = send(method, path, body, **headers)
    content = answer.read()
    need(answer.status == status, method, path, body, "is", answer.status, content.decode(errors="replace"))
    if shape is None:
        need(content == b"", method, path, "has content")
        return None
    need(answer.getheader("Content-Type") == "application/json", method, path, answer.getheader("Content-Type"))
    if answer.getheader("Content-Encoding") == "gzip":
        content = gzip.decompress(content)
    found = json.loads(content)
    compare(shape, found, f"{method} {path}")
    return found


def refused(method: str, path: str, body: Any = None, statuses: tuple[int, ...] = (422,), **headers: str) -> None:
    """Sends a request that must be refused."""
    answer = send(method, path, body, **headers)
    need(answer.status in statuses, method, path, body, "is", answer.status, answer.read().decode(errors="replace"))


def events(path: str, **headers: str) -> Iterator[tuple[str, str, Any]]:
    """Id, name and data of each event, read as the standard of server-sent events says. Ends with the stream."""
    answer = send("GET", path, Accept="text/event-stream", **headers)
    need(answer.status in (200, 204), path, "is", answer.status, answer.reason)
    if answer.status == 204:  # the standard: do not connect again
        return
    need(
        (answer.getheader("Content-Type") or "").startswith("text/event-stream"), path, answer.getheader("Content-Type")
    )
    id_, name, data = "", "message", []
    for raw in answer:
        line = raw.decode().rstrip("\r\n")
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                yield id_, name, json.loads("\n".join(data))
            name, data = "message", []
        elif field == "id":
            id_ = value
        elif field == "event":
            name = value
        elif field == "data":
            data.append(value)


def follow(path: str, name: str) -> None:
    """Follows an operation to its end. A client that connects again, as an EventSource does that is not closed, is not
    sent the end again and again."""
    seen = list(events(path))
    need(seen, path, "has no event")
    need({each[1] for each in seen} == {name}, path, "has events", {each[1] for each in seen})
    need(seen[-1][2]["status"] == "completed", path, "ends with", seen[-1])
    again = 0
    while list(events(path, Last_Event_ID=seen[-1][0])):
        again += 1
        need(again < 3, path, "sends its end again and again")


def settings(environment: str) -> None:
    """Read, written back as it is, and with every field that a client does not set."""
    path = f"/environments/{environment}/snapshot-settings"
    first = ask(SETTINGS, "GET", path)
    need(first["environmentId"] == environment, first)

    def put(body: Any, **headers: str) -> Any:
        found = ask(SETTINGS, "PUT", path, body, **headers)
        return {k: v for k, v in found.items() if k != "updatedAt"}

    same = {k: v for k, v in first.items() if k != "updatedAt"}
    for body in (first, {}, dict.fromkeys(same), {"failurePolicy": "", "timeoutSeconds": 0}):
        need(put(body) == same, "PUT of", body, "changed something")
    zero = {"autoEnabled": True, "failurePolicy": "", "maxPinned": 0, "retentionDays": 0, "timeoutSeconds": 0}
    found = put(zero)
    need((found["maxPinned"], found["retentionDays"]) == (0, 0), "no limit", found)
    need((found["failurePolicy"], found["timeoutSeconds"]) == (first["failurePolicy"], first["timeoutSeconds"]), found)
    put({"retentionDays": 14.0, "timeoutSeconds": 600}, Content_Type="application/json; charset=utf-8")
    found = put(iter([b'{"max', b'Pinned": 5, "failurePolicy": "', b'continue"}']))
    need((found["maxPinned"], found["retentionDays"], found["failurePolicy"]) == (5, 14, "continue"), found)
    for wrong in ({"timeoutSeconds": -1}, {"failurePolicy": "sometimes"}, {"retentionDays": "7"}, {"retentiondays": 7}):
        refused("PUT", path, wrong)
    refused("PUT", path, b"{", statuses=(400,))


def take(environment: str) -> Any:
    """Takes a snapshot, with and without a body. The document's answer has no id: the list has it first."""
    path = f"/environments/{environment}/snapshots"
    found = None
    for body in (None, {}, b""):
        accepted = ask(SNAPSHOT_ACCEPTED, "POST", path, body, 202)
        need(accepted["environmentId"] == environment, accepted)
        before, found = found, ask(PAGE, "GET", f"{path}?limit=1")["snapshots"][0]
        need(before is None or found["id"] != before["id"], "the list does not begin with the snapshot just created")
    need(found is not None and found["trigger"] == "manual", found)
    follow(f"{path}/{found['id']}/progress", "snapshot-progress")
    end = time.monotonic() + DEADLINE
    while (one := ask(DETAILS, "GET", f"{path}/{found['id']}"))["status"] in ("pending", "running"):
        need(time.monotonic() < end, "the snapshot has not ended")
        time.sleep(0.1)
    need(one["status"] == "completed", one)
    return one


def lists(project: str, environment: str, snapshot: Any) -> None:
    """Every form of a page and a filter."""
    path, whole = f"/environments/{environment}/snapshots", f"/projects/{project}/snapshots"
    for query in ("", "?", "?limit=20&offset=0", "?limit=&offset=", "?limit=0&offset=0", "?offset=0", "?limit=100"):
        page = ask(PAGE, "GET", path + query)
        need(page["limit"] in (20, 100) and page["offset"] == 0, query, page)
        need(snapshot["id"] in [each["id"] for each in page["snapshots"]], query)
    first, second = (ask(PAGE, "GET", f"{path}?limit=1&offset={n}")["snapshots"][0]["id"] for n in (0, 1))
    need(first != second, "two pages have one row")
    for query in ("", "?environmentType=&status=&limit=&offset=", "?environmentType=staging&status=completed&limit=50"):
        page = ask(PROJECT_PAGE, "GET", whole + query)
        need(snapshot["id"] in [each["id"] for each in page["snapshots"]], query)
    need(ask(PROJECT_PAGE, "GET", f"{whole}?status=failed")["total"] == 0, "no snapshot has failed")
    need(ask(PAGE, "GET", path, Accept_Encoding="gzip") == ask(PAGE, "GET", path), "compression changes the list")
    need(ask(DETAILS, "GET", f"{path}/{snapshot['id'].upper()}")["id"] == snapshot["id"], "upper case")
    need(ask(PAGE, "GET", path, Authorization=f"bearer {TOKEN}")["total"] > 0, "the scheme's case")
    for wrong in ("?limit=101", "?limit=-1", "?offset=-1", "?limit=ten"):
        refused("GET", path + wrong)
    refused("GET", f"{whole}?status=finished")


def pins(environment: str, id_: str) -> None:
    """Labels of every kind, and none after one."""
    path = f"/environments/{environment}/snapshots/{id_}"
    for body, label in (
        ({"label": "before the upgrade"}, "before the upgrade"),
        ({}, None),
        ({"label": "a"}, "a"),
        ({"label": ""}, None),
        ({"label": "b"}, "b"),
        ({"label": None}, None),
        ({"label": "Prüfung 監査 🚀"}, "Prüfung 監査 🚀"),
    ):
        ask(MESSAGE, "PUT", f"{path}/pin", body)
        found = ask(DETAILS, "GET", path)
        need((found["isPinned"], found["pinLabel"]) == (True, label), body, found["isPinned"], found["pinLabel"])
    refused("PUT", f"{path}/pin", {"label": "a\u202eb"})
    refused("DELETE", path, statuses=(409,))
    for _ in range(2):
        ask(MESSAGE, "DELETE", f"{path}/pin")
    need(ask(DETAILS, "GET", path)["isPinned"] is False, "the pin stays")


def rollbacks(environment: str, other: str, id_: str) -> None:
    """In place and into another environment; a target that is not set is the environment of the path."""
    path = f"/environments/{environment}/rollback"
    for body, target in (
        ({"snapshotId": id_}, environment),
        ({"createSafetySnapshot": False, "snapshotId": id_, "targetEnvironmentId": ""}, environment),
        ({"createSafetySnapshot": None, "snapshotId": id_.upper(), "targetEnvironmentId": None}, environment),
        ({"snapshotId": id_, "targetEnvironmentId": other}, other),
    ):
        accepted = ask(ROLLBACK_ACCEPTED, "POST", path, body, 202)
        need((accepted["environmentId"], accepted["snapshotId"]) == (target, id_), body, accepted)
        deployment = accepted["deploymentId"]
        follow(f"/deployments/{deployment}/rollback/progress", "rollback-progress")
        logs = ask(LOGS, "GET", f"/environments/{target}/rollback-logs")
        need(logs["total"] == len(logs["rollbackLogs"]), logs["total"])
        need(logs["rollbackLogs"][0]["rollbackDeploymentId"] == deployment, "the newest log is not the first")
        need(logs["rollbackLogs"][0]["status"] == "completed", logs["rollbackLogs"][0])
        details = ask(DETAILS, "GET", f"/environments/{environment}/snapshots/{id_}")
        need(deployment in [log["id"] for log in details["rollbackLogs"]], "the snapshot lacks its log")
    for wrong in (
        {},
        {"snapshotId": ""},
        {"snapshotId": id_, "targetEnvironmentID": other},
        {"snapshotId": id_, "targetEnvironmentId": "x"},
    ):
        refused("POST", path, wrong)


def main() -> None:
    """The whole story."""
    project, environment, other = sys.argv[1:]
    refused("GET", f"/environments/{environment}/snapshots", statuses=(401,), Authorization="")
    refused("GET", f"/environments/{project}/snapshots", statuses=(404,))
    settings(environment)
    size = ask(SIZE, "GET", f"/environments/{environment}/snapshot-size")
    need(size["totalSizeBytes"] == size["dbSizeBytes"] + size["filestoreSizeBytes"], size)
    snapshot = take(environment)
    lists(project, environment, snapshot)
    pins(environment, snapshot["id"])
    rollbacks(environment, other, snapshot["id"])
    path = f"/environments/{environment}/snapshots/{snapshot['id']}"
    ask(None, "DELETE", path, status=204)
    refused("GET", path, statuses=(404,))
    refused("DELETE", path, statuses=(404,))
    print("as documented")


if __name__ == "__main__":
    main()
