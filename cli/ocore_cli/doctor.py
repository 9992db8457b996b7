"""``kubectl ocore doctor``: reads what :mod:`diagnosis` needs, and prints what it found on one screen."""

from datetime import datetime
from typing import Any

from rich.console import Console
from rich.text import Text

from ocore_crds.kinds import ENVIRONMENT, KINDS
from ocore_crds.naming import ANNOTATION_LEASE, LABEL_RELEASE
from ocore_crds.text.quantity import counted

from .diagnosis import OPERATORS, Section, World, diagnose, has_problem
from .errors import CliError, Denied, NotInstalled
from .objects import Objects, items, need_namespace

Object = dict[str, Any]
_MARKS = {"ok": ("✓", "green"), "problem": ("✗", "bold red"), "warning": ("!", "yellow"), "unknown": ("?", "dim")}
_DEPLOYMENTS = "/apis/apps/v1/deployments"
_CLUSTER_ROLES = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
_LEASES = "/apis/coordination.k8s.io/v1/namespaces/{}/leases/{}"
_PODS = "/api/v1/namespaces/{}/pods"
_WITH_PODS = ("Deployment", "StatefulSet")
_WORKLOADS = "/apis/apps/v1/namespaces/{}/{}s/{}"
_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{}"


def run(objects: Objects, console: Console, environment: str | None, now: datetime) -> bool:
    """Prints what works and what does not. Returns whether all is well. Raises CliError where namespace or Environment
    do not exist."""
    world = observe(objects, now)
    names = [obj["metadata"]["name"] for obj in world.of(ENVIRONMENT)]
    if environment is not None and environment not in names and ENVIRONMENT.singular not in world.absent:
        known = f"It has {', '.join(names)}" if names else "It has none"
        raise CliError(f"environment {environment} does not exist in namespace {objects.namespace}. {known}")
    found = diagnose(world, environment)
    show(console, found)
    return not has_problem(found)


def observe(objects: Objects, now: datetime) -> World:
    """Everything that the diagnosis is made of. What the caller may not read is None."""
    need_namespace(objects)
    absent: set[str] = set()
    found: dict[str, list[Object]] = {}
    for kind in KINDS:
        try:
            found[kind.singular] = objects.list(kind)
        except NotInstalled:
            absent.add(kind.singular)
    try:
        crds = {kind.crd_name: obj for kind in KINDS if (obj := objects.read(_CRDS.format(kind.crd_name))) is not None}
    except Denied:
        crds = None
    leases: dict[tuple[str, str], Object] = {}
    pods: dict[tuple[str, str], list[Object]] = {}
    unannounced: list[Object] = []
    try:
        operators, unannounced = operators_of(objects)
        for obj in operators:
            place = obj["metadata"]["namespace"], obj["metadata"]["name"]
            leases[place] = objects.read(_LEASES.format(*place)) or {}
            pods[place] = items(objects.read(_PODS.format(place[0]), {"labelSelector": OPERATORS}))
    except Denied:
        operators = None
    workloads = _workloads(objects, found.get(ENVIRONMENT.singular, []))
    absent_ = frozenset(absent)
    return World(now, objects.namespace, crds, absent_, operators, leases, pods, found, workloads, unannounced)


def operators_of(objects: Objects) -> tuple[list[Object], list[Object]]:
    """The Deployments of operators, whatever their release, and those that only have their labels.

    Anyone may set labels and annotations of a Deployment in their own namespace. A release is announced by a
    ClusterRole, which only cluster administrators write. Raises Denied.
    """
    roles = items(objects.read(_CLUSTER_ROLES, {"labelSelector": f"{LABEL_RELEASE}=true"}))
    announced = {(role["metadata"].get("annotations") or {}).get(ANNOTATION_LEASE) for role in roles}
    found: tuple[list[Object], list[Object]] = [], []
    for obj in items(objects.read(_DEPLOYMENTS, {"labelSelector": OPERATORS})):
        # The Lease has the name of the Deployment.
        is_announced = f"{obj['metadata']['namespace']}/{obj['metadata']['name']}" in announced
        found[0 if is_announced else 1].append(obj)
    return found


def _workloads(objects: Objects, environments: list[Object]) -> dict[tuple[str, str], Object]:
    """The Deployments and StatefulSets that a rollback stops, by kind and name. What the caller may not read is
    missing."""
    found: dict[tuple[str, str], Object] = {}
    for each in environments:
        for workload in each["spec"].get("workloads") or ():
            kind, name = workload["kind"], workload["name"]
            if kind in _WITH_PODS and workload.get("apiVersion") in (None, "apps/v1"):
                try:
                    obj = objects.read(_WORKLOADS.format(objects.namespace, kind.lower(), name))
                except Denied:
                    return found
                if obj is not None:
                    found[kind, name] = obj
    return found


def show(console: Console, sections: tuple[Section, ...]) -> None:
    """Prints the sections: a line for each check, below it the line that fixes it. Further lines of a message have a
    mark, so that none of them looks like a fix."""
    for section in sections:
        console.print(Text(section.title, style="bold"))
        width = max(len(line.what) for line in section.lines)
        for line in section.lines:
            mark, style = _MARKS[line.state]
            text = line.text.rstrip().replace("\n", f"\n{'':{width + 6}}| ")
            console.print(Text.assemble("  ", (mark, style), f" {line.what:<{width}}  ", text), soft_wrap=True)
            if line.fix:
                fix = line.fix.replace("\n", f"\n{'':{width + 6}}     ")
                console.print(Text(f"{'':{width + 6}}fix: {fix}", style="cyan"), soft_wrap=True)
        console.print("")
    lines = [line for section in sections for line in section.lines]
    problems, warnings = (sum(line.state == state for line in lines) for state in ("problem", "warning"))
    verdict = (
        f"{counted(problems, 'problem')}, {counted(warnings, 'warning')}." if problems or warnings else "All is well."
    )
    console.print(Text(verdict, style="red" if problems else "green"))
