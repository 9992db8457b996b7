"""``kubectl ocore init``: reads the namespace of a workload, prints what :mod:`proposal` proposes, and applies it."""

import base64
import json
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError
from rich.console import Console
from rich.text import Text

from ocore_crds import conditions as c
from ocore_crds.group import GROUP
from ocore_crds.kinds import ENVIRONMENT, SNAPSHOT_STORE
from ocore_crds.resources.environment import EnvironmentStatus
from ocore_crds.text.sentences import escaped

from . import confirm
from .diagnosis import proposed_jobs
from .errors import CliError, Denied, NotInstalled
from .interrupts import pause
from .objects import Objects, items, need_namespace
from .proposal import Document, Found, Given, Unknown, as_yaml, propose

Object = dict[str, Any]
#: Plurals of the workloads, by what a person may write.
WORKLOADS = {
    "deployment": "Deployment", "deployments": "Deployment", "deploy": "Deployment",
    "statefulset": "StatefulSet", "statefulsets": "StatefulSet", "sts": "StatefulSet",
}  # fmt: skip
#: Seconds between two reads of the Environment.
PAUSE = 1.0


def documents(objects: Objects, console: Console, workload: str, given: Given) -> tuple[Document, ...]:
    """What is proposed. Asks a person for what the objects do not show. Raises CliError where no person can answer."""
    found = read(objects, workload, console)
    given = replace(given, id=given.id or _id_of(found.workload))
    while True:
        try:
            return propose(found, given)
        except ValidationError as error:
            wrong = error.errors(include_url=False)[0]
            where = f"spec.{'.'.join(map(str, wrong['loc']))}"
            raise CliError(
                f"the {error.title.removesuffix('Spec')} would be refused: {where}: {wrong['msg']}"
            ) from error
        except Unknown as unknown:
            if not confirm.is_interactive():
                raise CliError(str(unknown)) from unknown
            console.print(Text(unknown.question), soft_wrap=True)
            answer = confirm.answer(console, f"{unknown.option}: ")
            if not answer:
                raise CliError(f"nothing was created: {unknown}") from unknown
            answered: dict[str, Any] = {unknown.option.replace("-", "_"): answer}
            given = replace(given, **answered)


def _id_of(workload: Object) -> str:
    """An id for its Environment: the same one each time that the proposal is printed."""
    uid = str(workload["metadata"].get("uid", ""))
    return str(uuid.uuid5(uuid.UUID(uid), GROUP)) if uid else str(uuid.uuid4())


def read(objects: Objects, workload: str, console: Console) -> Found:
    """The objects of the namespace. Raises CliError where the workload does not exist, Denied where it may not be
    read."""
    kind, _, name = workload.partition("/")
    if kind.lower() not in WORKLOADS or not name:
        raise CliError(f"{workload!r} is no workload: write deployment/NAME or statefulset/NAME")
    space = objects.namespace
    need_namespace(objects)
    workloads = {
        (each, obj["metadata"]["name"]): obj
        for each in ("Deployment", "StatefulSet")
        for obj in items(objects.read(f"/apis/apps/v1/namespaces/{space}/{each.lower()}s"))
    }
    wanted = (WORKLOADS[kind.lower()], name)
    if wanted not in workloads:
        known = ", ".join(f"{k.lower()}/{n}" for k, n in sorted(workloads)) or "none"
        raise CliError(f"{wanted[0]} {name} does not exist in namespace {space}. It has: {known}")
    cron_jobs = {
        ("CronJob", obj["metadata"]["name"]): {**obj, "spec": obj["spec"]["jobTemplate"]["spec"]}
        for obj in items(_optional(objects, f"/apis/batch/v1/namespaces/{space}/cronjobs"))
    }
    secrets = items(objects.read(f"/api/v1/namespaces/{space}/secrets"))
    return Found(
        space,
        "Deployment" if wanted[0] == "Deployment" else "StatefulSet",
        workloads[wanted],
        workloads | cron_jobs,
        claims=_named(objects.read(f"/api/v1/namespaces/{space}/persistentvolumeclaims")),
        secrets={s["metadata"]["name"]: frozenset(s.get("data") or ()) for s in secrets},
        database_names={s["metadata"]["name"]: _value(s, "dbname") for s in secrets if _value(s, "dbname")},
        database_hosts={s["metadata"]["name"]: _host(s) for s in secrets},
        services=_named(_optional(objects, f"/api/v1/namespaces/{space}/services")),
        config_maps=_named(objects.read(f"/api/v1/namespaces/{space}/configmaps")),
        clusters=_named(_optional(objects, f"/apis/postgresql.cnpg.io/v1/namespaces/{space}/clusters")),
        stores=_stores(objects, console),
        existing=objects.get(ENVIRONMENT, name),
    )


def _optional(objects: Objects, path: str) -> Object | None:
    try:
        return objects.read(path)
    except Denied:
        return None


def _stores(objects: Objects, console: Console) -> dict[str, Object]:
    """Their specs by name, sorted; none before the chart is installed."""
    try:
        found = objects.list(SNAPSHOT_STORE)
    except NotInstalled as error:
        console.print(Text(f"{error} The YAML can be applied afterwards.", style="yellow"), soft_wrap=True)
        return {}
    return {obj["metadata"]["name"]: obj["spec"] for obj in sorted(found, key=lambda obj: str(obj["metadata"]["name"]))}


def _value(secret: Object, key: str) -> str:
    return base64.b64decode((secret.get("data") or {}).get(key) or "").decode(errors="replace")


def _host(secret: Object) -> str:
    """The server in a Secret with a connection; of `uri` nothing else is kept."""
    if host := _value(secret, "host"):
        return host
    try:
        return urlsplit(_value(secret, "uri")).hostname or ""
    except ValueError:
        return ""


def _named(answer: Object | None) -> dict[str, Object]:
    return {obj["metadata"]["name"]: obj for obj in items(answer)}


def show(proposed: tuple[Document, ...], namespace: str) -> None:
    """Prints the YAML, as a file can hold it."""
    sys.stdout.write(escaped(as_yaml(proposed, namespace)))


def apply(
    objects: Objects,
    notes: Console,
    proposed: tuple[Document, ...],
    timeout: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = pause,
) -> bool:
    """Applies the documents and waits until the Environment is Ready. Where the operator finds the owner of the files,
    applies the line that it proposes. Returns whether it is Ready."""
    for each in proposed:
        objects.apply(each.kind, each.body(objects.namespace))
        notes.print(Text(f"{each.kind.singular}.ocore.dev/{each.name} applied"))
    environment = next(each for each in proposed if each.kind is ENVIRONMENT)
    until, said, jobs = clock() + timeout, "", False
    while True:
        found = objects.get(ENVIRONMENT, environment.name) or environment.body(objects.namespace)
        status = EnvironmentStatus.model_validate(found.get("status") or {})
        ready = c.find(status.conditions, c.READY)
        stalled = c.is_true(status.conditions, c.STALLED)
        if ready is not None and ready.status == "True":
            notes.print(
                Text(f"Environment {environment.name} is Ready: {ready.message}", style="green"), soft_wrap=True
            )
            return True
        owner = (
            proposed_jobs({**found, "spec": environment.spec})
            if ready is not None and ready.reason == c.JOB_USER_UNKNOWN
            else {}
        )
        if owner and not jobs:
            jobs = True
            body = environment.body(objects.namespace)
            objects.apply(ENVIRONMENT, {**body, "spec": {**body["spec"], "jobs": owner}})
            notes.print(
                Text(f"spec.jobs: {json.dumps(owner)} applied: the owner of the files, as the operator found it"),
                soft_wrap=True,
            )
        elif ready is not None and ready.message != said:
            said = ready.message
            notes.print(Text(f"{ready.reason}: {ready.message}", style="dim"), soft_wrap=True)
        if clock() >= until or (stalled and not owner and ready is not None and ready.reason != c.STORE_NOT_READY):
            text = (
                f"Environment {environment.name} is not Ready. See: kubectl ocore doctor {environment.name} -n"
                f" {objects.namespace}"
            )
            notes.print(Text(text, style="yellow"), soft_wrap=True)
            return False
        sleep(PAUSE)
