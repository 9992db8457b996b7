"""What is wrong in a namespace and what fixes it, from objects as the API server holds them. Pure."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from ocore_crds import conditions as c
from ocore_crds.conditions import Condition
from ocore_crds.group import GROUP
from ocore_crds.kinds import ENVIRONMENT, KINDS, ROLLBACK, SNAPSHOT, SNAPSHOT_POLICY, SNAPSHOT_STORE, Kind
from ocore_crds.resources.encryption import Encryption, effective, shown
from ocore_crds.resources.environment import EnvironmentSpec, EnvironmentStatus, remedy_of, user_of_jobs
from ocore_crds.resources.rollback import RollbackStatus
from ocore_crds.resources.snapshot import SnapshotStatus
from ocore_crds.resources.snapshotpolicy import SnapshotPolicyStatus
from ocore_crds.resources.snapshotstore import SnapshotStoreStatus
from ocore_crds.resources.workloads import stop_sentence
from ocore_crds.schema.from_models import crd
from ocore_crds.text.quantity import counted, human, span
from ocore_crds.text.shell import command

from .objects import CHART, INSTALL
from .runs import Run, parse_time, problem_conditions, run_of

Object = dict[str, Any]
#: ok; problem: exit code for scripts; warning: worth a change, and no fault; unknown: it could not be read.
State = Literal["ok", "problem", "warning", "unknown"]

#: Selects the Deployments of operators, whatever their release. Anyone may set these labels: see `doctor.operators_of`.
OPERATORS = "app.kubernetes.io/part-of=ocore-snapshots,app.kubernetes.io/component=operator"
#: Time within which an operator that works has observed a change, and renewed its Lease. More than the difference
#: between two clocks.
PATIENCE = timedelta(seconds=60)
#: Time after a slot within which its Snapshot exists, whatever else runs.
OVERDUE = timedelta(minutes=10)
#: Former rollbacks that the figures are of.
ROLLBACKS = 5


@dataclass(frozen=True)
class Line:
    """One thing that was checked. `fix`: the line that fixes it, a command where one is known."""

    state: State
    what: str
    text: str
    fix: str = ""


@dataclass(frozen=True)
class Section:
    """The lines about one thing."""

    title: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class World:
    """What was read. None: the caller may not read it."""

    now: datetime
    namespace: str
    #: By the name of the CRD; one that does not exist is absent.
    crds: Mapping[str, Object] | None = None
    #: Kinds that the API server does not serve.
    absent: frozenset[str] = frozenset()
    operators: Sequence[Object] | None = None
    #: Leases and pods of the operators, by (namespace, name of the Deployment).
    leases: Mapping[tuple[str, str], Object] = field(default_factory=dict)
    pods: Mapping[tuple[str, str], Sequence[Object]] = field(default_factory=dict)
    #: By the kind's singular name.
    objects: Mapping[str, Sequence[Object]] = field(default_factory=dict)
    #: Deployments and StatefulSets that a rollback stops, by kind and name.
    workloads: Mapping[tuple[str, str], Object] = field(default_factory=dict)
    #: Deployments with the labels of an operator that no ClusterRole announces. Nothing of them is believed.
    unannounced: Sequence[Object] = ()

    def of(self, kind: Kind) -> Sequence[Object]:
        return self.objects.get(kind.singular, ())


def diagnose(world: World, environment: str | None = None) -> tuple[Section, ...]:
    """Everything that was checked: the installation, then each Environment, or the named one."""
    installation = Section("Installation", (_crds(world), *_operator(world)))
    if ENVIRONMENT.singular in world.absent:
        return (installation,)
    return (installation, *_environments(world, environment))


def has_problem(sections: Iterable[Section]) -> bool:
    """Whether something does not work."""
    return any(line.state == "problem" for section in sections for line in section.lines)


# --- the installation


def _crds(world: World) -> Line:
    if world.absent:
        names = ", ".join(kind.crd_name for kind in KINDS if kind.singular in world.absent)
        return Line("problem", "CRDs", f"not installed: {names}.", INSTALL)
    if world.crds is None:
        return Line("unknown", "CRDs", "installed. Whether they are current could not be read: permission denied.")
    old = {kind.crd_name: found for kind in KINDS if (found := lacking(world.crds.get(kind.crd_name, {}), crd(kind)))}
    if old:
        lacks = "; ".join(f"{name} lacks {', '.join(fields[:3])}" for name, fields in old.items())
        return Line("problem", "CRDs", f"older than this program: {lacks}.", _upgrade(world.crds[next(iter(old))]))
    return Line("ok", "CRDs", f"all {len(KINDS)} are installed and have every field.")


def lacking(found: Object, wanted: Object) -> list[str]:
    """The fields of a CRD that another one of the same kind does not have, as paths, the outermost only."""

    def schema(of: Object) -> Object:
        versions = (of.get("spec") or {}).get("versions") or [{}]
        return dict((versions[0].get("schema") or {}).get("openAPIV3Schema") or {})

    return list(_missing(schema(found), schema(wanted), ""))


def _missing(found: Object, wanted: Object, path: str) -> Iterator[str]:
    for name, sub in (wanted.get("properties") or {}).items():
        there = (found.get("properties") or {}).get(name)
        if there is None:
            yield f"{path}{name}"
        else:
            yield from _missing(there, sub, f"{path}{name}.")
    if "items" in wanted:
        yield from _missing(found.get("items") or {}, wanted["items"], path)


def _upgrade(obj: Object, *more: str) -> str:
    """The command that upgrades what has made the object."""
    annotations = obj["metadata"].get("annotations") or {}
    release, namespace = (annotations.get(f"meta.helm.sh/release-{part}") for part in ("name", "namespace"))
    if release is None:
        shown = f"helm template ocore {CHART} --set global.imageRegistry=REGISTRY --show-only 'templates/crds/*'"
        return f"{shown} | kubectl apply --server-side --force-conflicts -f -"
    # Not --reuse-values: it also keeps the old chart's own values, among them the digests of the old images.
    words = ("helm", "upgrade", release, CHART, "--namespace", namespace or "default")
    return command(*words, "--reset-then-reuse-values", *more)


def _operator(world: World) -> tuple[Line, ...]:
    """Whether an operator answers, by its Deployment and Lease; where these cannot be read, by what it has observed."""
    what = "Operator"
    if world.operators is None:
        stale = [text for kind in KINDS for obj in world.of(kind) if (text := _unobserved(kind, obj, world.now))]
        if stale:
            fix = "Ask an administrator: kubectl get deployments,leases -A -l app.kubernetes.io/part-of=ocore-snapshots"
            return (Line("problem", what, f"does not answer: {stale[0]}.", fix),)
        return (
            Line(
                "unknown",
                what,
                "it has observed every object here. You may not read its Deployment or its ClusterRole.",
            ),
        )
    if not world.operators and world.unannounced:
        text = (
            f"no ClusterRole announces an operator. The labels of {_place(world.unannounced[0])} are those of one, but"
            " anyone may set them."
        )
        fix = (
            "Upgrade the chart of the operator. With rbac.create: false, announce the release yourself:"
            " templates/rbac-operator.yaml of the chart has the label and the annotations."
        )
        return (Line("problem", what, text, fix),)
    if not world.operators:
        return (Line("problem", what, "no operator is installed in this cluster.", INSTALL),)
    ours = [obj for obj in world.operators if world.namespace in _watched(obj) or not _watched(obj)]
    if not ours:
        first = world.operators[0]
        watched = [*sorted(_watched(first)), world.namespace]
        text = f"{_place(first)} does not watch namespace {world.namespace}."
        return (Line("problem", what, text, _upgrade(first, "--set", f"watchNamespaces={{{','.join(watched)}}}")),)
    return tuple(_answers(world, obj) for obj in ours)


def _answers(world: World, obj: Object) -> Line:
    place, (namespace, name) = _place(obj), _key(obj)
    if obj["spec"].get("replicas", 1) == 0:
        fix = _kubectl(namespace, "scale", f"deployment/{name}", "--replicas=1")
        return Line("problem", "Operator", f"{place} is scaled to 0.", fix)
    if not (obj.get("status") or {}).get("availableReplicas"):
        waits = _why_not_started(world.pods.get((namespace, name), ()))
        fix = _kubectl(namespace, "describe", "pods", "-l", OPERATORS)
        return Line("problem", "Operator", f"{place} has no pod that is ready{waits}.", fix)
    lease = (world.leases.get((namespace, name)) or {}).get("spec") or {}
    renewed, seconds = parse_time(lease.get("renewTime")), int(lease.get("leaseDurationSeconds") or 0)
    if (
        renewed is None
        or not lease.get("holderIdentity")
        or not -PATIENCE <= world.now - renewed <= timedelta(seconds=seconds) + PATIENCE
    ):
        missing = "has no valid renewTime" if lease else "does not exist"
        when = f"was renewed {_ago(world.now, renewed)}" if renewed is not None else missing
        fix = _kubectl(namespace, "rollout", "restart", f"deployment/{name}")
        return Line("problem", "Operator", f"{place} does not answer: its Lease {when}.", fix)
    version = (obj["metadata"].get("labels") or {}).get("app.kubernetes.io/version", "of an unknown version")
    return Line("ok", "Operator", f"{place} {version} answers: its Lease was renewed {_ago(world.now, renewed)}.")


def _watched(deployment: Object) -> set[str]:
    """The namespaces that an operator watches; empty: all."""
    containers = deployment["spec"]["template"]["spec"]["containers"]
    values = (e.get("value") or "" for x in containers for e in x.get("env") or () if e["name"] == "OCORE_NAMESPACES")
    return {name for value in values for name in value.split(",") if name}


def _why_not_started(pods: Sequence[Object]) -> str:
    for pod in pods:
        for container in (pod.get("status") or {}).get("containerStatuses") or ():
            waiting = (container.get("state") or {}).get("waiting")
            if waiting is not None:
                return f": {waiting.get('reason')}, {waiting.get('message') or container.get('image')}"
    return ""


# --- an Environment


def _environments(world: World, only: str | None) -> Iterator[Section]:
    found = [obj for obj in world.of(ENVIRONMENT) if only in (None, obj["metadata"]["name"])]
    if not found:
        fix = _ocore(world.namespace, "init", "deployment/NAME", "--apply")
        yield Section(f"Namespace {world.namespace}", (Line("problem", "Environments", "there is none.", fix),))
    runs = [run_of(kind, each) for kind in (SNAPSHOT, ROLLBACK) for each in world.of(kind)]
    for obj in found:
        name = obj["metadata"]["name"]
        own = sorted((run for run in runs if run.environment == name), key=lambda run: run.created)
        yield Section(f"Environment {world.namespace}/{name}", tuple(_lines(world, obj, own)))
    used = {ref for obj in found for ref in _store_names(obj)}
    others = [obj for obj in world.of(SNAPSHOT_STORE) if obj["metadata"]["name"] not in used]
    if others and only is None:
        yield Section("Other stores", tuple(_store(world, obj["metadata"]["name"]) for obj in others))


def _lines(world: World, obj: Object, runs: Sequence[Run]) -> Iterator[Line]:
    name = obj["metadata"]["name"]
    status = EnvironmentStatus.model_validate(obj.get("status") or {})
    for ref in _store_names(obj):
        yield _store(world, ref, obj)
    if text := _unobserved(ENVIRONMENT, obj, world.now):
        yield Line("problem", "Observed", f"{text}.", _restart(world))
    yield _condition(world, ENVIRONMENT, obj, status.conditions, c.READY, _summary(status))
    yield _rollback_ready(world, obj, status.conditions)
    yield _encryption(world, obj)
    snapshots, rollbacks = ([run for run in runs if run.kind is kind] for kind in (SNAPSHOT, ROLLBACK))
    yield from _signatures(snapshots, status.id)
    policy = next((each for each in world.of(SNAPSHOT_POLICY) if each["metadata"]["name"] == name), None)
    yield from _policy(world, name, policy)
    yield _last(world, name, snapshots, policy)
    yield from _failed(world, name, snapshots, rollbacks)
    yield from _stuck(world, [*snapshots, *rollbacks])
    yield _rollback(snapshots, rollbacks, _stops(world, obj))


def _encryption(world: World, obj: Object) -> Line:
    """To whom the next snapshot is encrypted. A lost key is the commonest loss."""
    what, name = "Encryption", obj["spec"]["storeRef"]["name"]
    store = next((each for each in world.of(SNAPSHOT_STORE) if each["metadata"]["name"] == name), None)
    own = _given(obj)
    found = effective(own, _given(store))
    if found is None:
        return Line("ok", what, f"none: who can read store {name} can read the snapshots.")
    recipients = found.recipients
    jobs = " Jobs open the newest full snapshot and its differentials." if found.mode == "Current" else ""
    if len(recipients) > 1:
        return Line("ok", what, f"to {shown(recipients)}.{jobs}")
    fix = _kubectl(
        world.namespace, "edit", _ref(ENVIRONMENT, obj["metadata"]["name"]) if own else _ref(SNAPSHOT_STORE, name)
    )
    text = f"to {shown(recipients)} only: if this identity is lost, no one can restore a snapshot. Add another one."
    return Line("warning", what, text + jobs, fix)


def _signatures(snapshots: Sequence[Run], environment_id: str | None) -> Iterator[Line]:
    """Numbers of the environment's signed snapshots. Retention leaves gaps, and so does who hides one."""
    own = (
        run.status.signature
        for run in snapshots
        if isinstance(run.status, SnapshotStatus)
        and run.status.source is not None
        and run.status.source.environment_id == environment_id
    )
    numbers = sorted(found.sequence for found in own if found is not None and found.signer)
    if numbers:
        missing = numbers[-1] - numbers[0] + 1 - len(set(numbers))
        text = (
            f"the newest signed snapshot has number {numbers[-1]}. Of those from {numbers[0]} on {missing} are not"
            " here: retention deletes some, too."
        )
        yield Line("ok", "Signatures", text)


def _given(obj: Object | None) -> Encryption | None:
    found = obj["spec"].get("encryption") if obj is not None else None
    return Encryption.model_validate(found, extra="ignore") if found else None


def _rollback_ready(world: World, obj: Object, found: Sequence[Condition]) -> Line:
    ready, rollback = c.find(found, c.READY), c.find(found, c.ROLLBACK_READY)
    same = ready is not None and rollback is not None and _verdict(ready) == _verdict(rollback)
    if same and rollback is not None and rollback.status == "False":
        return Line("problem", c.ROLLBACK_READY, f"{rollback.reason}: see {c.READY}.")
    return _condition(world, ENVIRONMENT, obj, found, c.ROLLBACK_READY, "the grants and the space exist.")


def _verdict(condition: Condition) -> tuple[str, str, str]:
    return condition.status, condition.reason, condition.message


def _store_names(environment: Object) -> list[str]:
    refs = (environment["spec"].get(key) for key in ("storeRef", "remoteStoreRef"))
    return [ref["name"] for ref in refs if ref]


def _store(world: World, name: str, environment: Object | None = None) -> Line:
    obj = next((each for each in world.of(SNAPSHOT_STORE) if each["metadata"]["name"] == name), None)
    what = f"Store {name}"
    if obj is None:
        others = [each["metadata"]["name"] for each in world.of(SNAPSHOT_STORE)]
        fix = _ocore(world.namespace, "init", "deployment/NAME", "--apply")
        if environment is not None and len(others) == 1 and environment["spec"]["storeRef"]["name"] == name:
            fix = _patch(world, ENVIRONMENT, environment["metadata"]["name"], {"storeRef": {"name": others[0]}})
        return Line("problem", what, f"SnapshotStore {name} does not exist in namespace {world.namespace}.", fix)
    status = SnapshotStoreStatus.model_validate(obj.get("status") or {})
    if text := _unobserved(SNAPSHOT_STORE, obj, world.now):
        return Line("problem", what, f"{text}.", _restart(world))
    line = _condition(world, SNAPSHOT_STORE, obj, status.conditions, c.READY, f"ready, {status.url}.", what)
    imported = c.find(status.conditions, c.IMPORTED)
    if line.state == "ok" and imported is not None and imported.status == "False" and imported.reason != c.IMPORTING:
        return Line("problem", what, f"{imported.reason}: {imported.message}", _explain(imported.reason))
    if line.state == "ok" and status.warnings:
        return Line(
            "warning",
            what,
            f"ready. {status.warnings[0]}",
            _kubectl(world.namespace, "edit", _ref(SNAPSHOT_STORE, name)),
        )
    return line


def _condition(
    world: World, kind: Kind, obj: Object, found: Iterable[Condition], type_: str, well: str, what: str = ""
) -> Line:
    name, what = obj["metadata"]["name"], what or type_
    condition = c.find(found, type_)
    if condition is not None and condition.status == "True":
        return Line("ok", what, well)
    if condition is None or condition.status == "Unknown" or condition.reason in (c.PROBING, c.PENDING):
        why = f": {condition.message}" if condition is not None and condition.message else ""
        fix = _kubectl(world.namespace, "wait", _ref(kind, name), f"--for=condition={type_}", "--timeout=5m")
        return Line("problem", what, f"not known yet{why or '.'}", fix)
    return Line("problem", what, f"{condition.reason}: {condition.message}", _fix(world, kind, obj, condition))


def _fix(world: World, kind: Kind, obj: Object, condition: Condition) -> str:
    """The command, from data of the object. Never from a message: it is text of a Job, and of a tenant's database."""
    name = obj["metadata"]["name"]
    if condition.reason in (c.STORE_NOT_FOUND, c.STORE_NOT_READY):
        return ""  # the line of the store has it
    if condition.reason == c.CAPACITY_UNKNOWN:
        size = _patch(world, kind, name, {"database": {"capacity": "SIZE"}})
        return f"{size}   # SIZE: of the volume of the database server, for example 50Gi"
    if kind is ENVIRONMENT and condition.reason == c.JOB_USER_UNKNOWN and (jobs := proposed_jobs(obj)):
        return _patch(world, kind, name, {"jobs": jobs})
    statements, legend = remedy_of(obj) if kind is ENVIRONMENT and condition.reason == c.MISSING_GRANTS else ((), "")
    if statements:
        return f"As an administrator of the server: {' '.join(statements)}\n{legend}"
    return _explain(condition.reason)


def proposed_jobs(environment: Object) -> Object:
    """What spec.jobs needs where the user of the files is unknown; empty: they belong to root."""
    spec = EnvironmentSpec.model_validate(environment["spec"], extra="ignore")
    found = user_of_jobs(spec, EnvironmentStatus.model_validate(environment.get("status") or {}))
    return {} if found is None else found.wire()


def _policy(world: World, name: str, policy: Object | None) -> Iterator[Line]:
    if policy is None:
        body = {"apiVersion": f"{GROUP}/v1alpha1", "kind": SNAPSHOT_POLICY.kind, "metadata": {"name": name}}
        body["spec"] = {"environmentRef": {"name": name}, "schedule": ["0 2 * * *"]}
        fix = f"{command('echo', json.dumps(body))} | {_kubectl(world.namespace, 'create', '-f', '-')}"
        yield Line("warning", "Policy", "there is no SnapshotPolicy: no snapshot is scheduled.", fix)
        return
    status = SnapshotPolicyStatus.model_validate(policy.get("status") or {})
    spec = policy["spec"]
    due = parse_time(status.next_schedule_time)
    if text := _unobserved(SNAPSHOT_POLICY, policy, world.now):
        yield Line("problem", "Policy", f"{text}.", _restart(world))
    elif spec.get("suspend"):
        yield Line(
            "problem",
            "Policy",
            "suspended: no snapshot is scheduled.",
            _patch(world, SNAPSHOT_POLICY, name, {"suspend": False}),
        )
    elif stalled := next(iter(problem_conditions(status.conditions)), None):
        yield Line("problem", "Policy", f"{stalled.reason}: {stalled.message}", _explain(stalled.reason))
    elif due is not None and world.now - due > OVERDUE:
        yield Line("problem", "Policy", f"the snapshot of {_short(due)} was not created.", _restart(world))
    else:
        when = (
            f"{', '.join(spec.get('schedule') or ())} ({spec.get('timeZone', 'Etc/UTC')}), next {_short(due)}"
            if due
            else "no schedule"
        )
        yield Line("ok", "Policy", f"{when}.")
    tested = c.find(status.conditions, c.RESTORE_TEST_SUCCEEDED)
    if "verify" not in spec:
        fix = _patch(world, SNAPSHOT_POLICY, name, {"verify": {"schedule": ["0 4 * * 0"]}})
        yield Line("warning", "Test restores", "none are scheduled.", fix)
    elif tested is not None and tested.status == "False":
        yield Line("problem", "Test restores", f"{tested.reason}: {tested.message}", _explain(tested.reason))


def _last(world: World, name: str, snapshots: Sequence[Run], policy: Object | None) -> Line:
    """The age of the newest good snapshot, against the policy's newest slot."""
    what, fix = "Last snapshot", _ocore(world.namespace, "snapshot", name, "--wait")
    usable = [run for run in snapshots if run.good]
    if not usable:
        return Line("problem", what, "no good snapshot can be restored.", fix)
    newest = max(usable, key=_shows)
    text = f"{newest.name} shows {_short(_shows(newest))}, {_ago(world.now, _shows(newest))}"
    status = SnapshotPolicyStatus.model_validate((policy or {}).get("status") or {})
    slot = parse_time(status.last_schedule_time)
    running = any(run.outcome is None for run in snapshots)
    if (
        policy is not None
        and "schedule" in policy["spec"]
        and slot is not None
        and _shows(newest) < slot
        and not running
    ):
        return Line("problem", what, f"{text}. The slot of {_short(slot)} has none.", fix)
    return Line("ok", what, f"{text}.")


def _failed(world: World, name: str, snapshots: Sequence[Run], rollbacks: Sequence[Run]) -> Iterator[Line]:
    """The newest operation of each kind where it failed, and snapshots that turned out to be damaged."""
    ended = [run for run in snapshots if run.outcome is not None]
    if ended and ended[-1].outcome == "Failed":
        count = sum(run.outcome == "Failed" for run in ended[-10:])
        reason, message = _why(ended[-1])
        text = f"{ended[-1].name} failed ({count} of the last {len(ended[-10:])}): {reason}: {message}"
        fix = f"{_explain(reason)}; {_ocore(world.namespace, 'snapshot', name, '--wait')}"
        yield Line("problem", "Snapshots", text, fix)
    for run in ended:
        if run.outcome == "Complete" and not run.restorable:
            reason, message = _why(run)
            again = _ocore(world.namespace, "snapshot", name, "--wait")
            fix = f"{again} && {_kubectl(world.namespace, 'delete', _ref(SNAPSHOT, run.name))}"
            yield Line("problem", "Snapshots", f"{run.name} cannot be restored: {reason}: {message}", fix)
    failed = [run for run in rollbacks if run.outcome is not None][-1:]
    if failed and failed[0].outcome == "Failed":
        reason, message = _why(failed[0])
        yield Line("warning", "Rollbacks", f"{failed[0].name} failed: {reason}: {message}", _explain(reason))


def _stuck(world: World, runs: Sequence[Run]) -> Iterator[Line]:
    """Operations that should have ended, or that a person must help."""
    for run in (each for each in runs if each.outcome is None):
        what, left = f"{run.kind.kind} {run.name}", run.seconds_left(world.now)
        stalled = c.find(run.status.conditions, c.STALLED)
        if stalled is not None and stalled.status == "True":
            yield Line("problem", what, f"{stalled.reason}: {stalled.message}", _explain(stalled.reason))
        elif left is not None and left < 0:
            yield Line(
                "problem", what, f"is {run.phase} since {_short(run.created)}, past its deadline.", _restart(world)
            )
        else:
            fix = _ocore(world.namespace, "watch", f"{run.kind.singular}/{run.name}")
            yield Line("ok", what, f"{run.phase}: {fix}")


def _stops(world: World, environment: Object) -> str:
    """How long its workloads may take to stop, as a sentence; empty where that is unknown."""
    graces = {}
    for each in environment["spec"].get("workloads") or ():
        found = world.workloads.get((each["kind"], each["name"]))
        if found is not None:
            pod = found["spec"]["template"]["spec"]
            graces[f"{each['kind']} {each['name']}"] = int(pod.get("terminationGracePeriodSeconds", 30))
    return stop_sentence(graces)


def _rollback(snapshots: Sequence[Run], rollbacks: Sequence[Run], stops: str) -> Line:
    """What a rollback would take, by the newest snapshot and by former rollbacks. `stops`: how long the workloads may
    take to stop."""
    what = "A rollback"
    usable = [run for run in snapshots if run.good]
    if not usable:
        return Line("unknown", what, "there is no snapshot to return to.")
    newest = max(usable, key=_shows)
    sizes = newest.status.sizes if isinstance(newest.status, SnapshotStatus) else None
    text = f"to {newest.name}"
    if sizes is not None:
        text += (
            f" restores a database of {human(sizes.database_bytes)} and {counted(sizes.filestore_files, 'file')} of"
            f" {human(sizes.filestore_bytes)}"
        )
    former = [
        s
        for run in rollbacks
        if run.outcome == "Complete" and isinstance(s := run.status, RollbackStatus) and s.undo is None
    ]
    took = _range(_between(s.started_at, s.completed_at) for s in former[-ROLLBACKS:])
    down = _range(_between(s.quiesced_at, s.ready_at) for s in former[-ROLLBACKS:])
    if took:
        text += f". The last {len(former[-ROLLBACKS:])} took {took}" + (
            f", the application was down for {down}" if down else ""
        )
    more = f"More: {_ocore(newest.namespace, 'preview', newest.name)}"
    return Line("ok", what, " ".join(filter(None, (f"{text}.", stops, more))))


# --- texts


def _unobserved(kind: Kind, obj: Object, now: datetime) -> str:
    """Why the status is not that of the present spec; empty where it is, or the change is so new that it may not be
    yet."""
    meta, status = obj["metadata"], obj.get("status") or {}
    if status.get("observedGeneration", -1) >= meta.get("generation", 0):
        return ""
    times = [meta.get("creationTimestamp")]
    times += [m.get("time") for m in meta.get("managedFields") or () if not m.get("subresource")]
    changed = max((t for t in map(parse_time, times) if t is not None), default=None)
    if changed is not None and abs(now - changed) <= PATIENCE:
        return ""
    since = f", which is of {_short(changed)}" if changed is not None else ""
    return f"the operator has not observed the spec of {kind.singular} {meta['name']}{since}"


def _summary(status: EnvironmentStatus) -> str:
    probe = status.probe
    if probe is None:
        return "a snapshot would work."
    database = f"PostgreSQL {probe.server_version}, database {probe.database_name} of {human(probe.database_bytes)}"
    parts = [database] if probe.server_version else []
    if probe.filestore_files:
        parts.append(f"{counted(probe.filestore_files, 'file')} of {human(probe.filestore_bytes)}")
    return f"{'; '.join(parts) or 'a snapshot would work'}."


def _why(run: Run) -> tuple[str, str]:
    found = next(iter(run.problems()), None)
    return (found.reason, found.message) if found is not None else (run.phase, "no condition says why.")


def _shows(run: Run) -> datetime:
    """The point in time that a Snapshot shows."""
    consistent = run.status.consistent_at if isinstance(run.status, SnapshotStatus) else None
    return parse_time(consistent) or run.created


def _between(start: str | None, end: str | None) -> float | None:
    begun, ended = parse_time(start), parse_time(end)
    return (ended - begun).total_seconds() if begun is not None and ended is not None else None


def _range(found: Iterable[float | None]) -> str:
    seconds = sorted(s for s in found if s is not None)
    if not seconds:
        return ""
    low, high = span(seconds[0]), span(seconds[-1])
    return low if low == high else f"{low} to {high}"


def _patch(world: World, kind: Kind, name: str, spec: Object) -> str:
    body = json.dumps({"spec": spec}, separators=(",", ":"))
    return _kubectl(world.namespace, "patch", kind.crd_name, name, "--type=merge", "-p", body)


def _kubectl(namespace: str, *words: str) -> str:
    return command("kubectl", "-n", namespace, *words)


def _ocore(namespace: str, *words: str) -> str:
    return command("kubectl", "ocore", *words, "-n", namespace)


def _restart(world: World) -> str:
    """Where an operator that answers does not act: prints what it reports, then starts it again. It resumes what
    runs."""
    if not world.operators:
        return "see Operator"
    namespace, name = _key(world.operators[0])
    workload = f"deployment/{name}"
    logs = _kubectl(namespace, "logs", workload, "--tail=100")
    return f"{logs}; {_kubectl(namespace, 'rollout', 'restart', workload)}"


def _explain(reason: str) -> str:
    return command("kubectl", "ocore", "explain", reason)


def _ref(kind: Kind, name: str) -> str:
    return f"{kind.crd_name}/{name}"


def _key(obj: Object) -> tuple[str, str]:
    return obj["metadata"]["namespace"], obj["metadata"]["name"]


def _place(obj: Object) -> str:
    return "/".join(_key(obj))


def _short(time: datetime | None) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if time is not None else "unknown"


def _ago(now: datetime, time: datetime) -> str:
    if time > now + PATIENCE:
        return f"at {_short(time)}, which is in the future"
    return f"{span(max(1.0, (now - time).total_seconds()))} ago"
