"""``kubectl ocore doctor``: a sound installation has no problem, and each planted fault is found with the line that
fixes it."""

import copy
import dataclasses
import io
import json
import re
import shlex
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import time_machine
from rich.console import Console

from ocore_cli import doctor, options
from ocore_cli.diagnosis import Line, World, diagnose, has_problem
from ocore_cli.errors import FINDINGS, CliError, Denied
from ocore_cli.runs import parse_time
from ocore_crds.kinds import ENVIRONMENT, KINDS, ROLLBACK, SNAPSHOT, SNAPSHOT_POLICY, SNAPSHOT_STORE
from ocore_crds.schema.from_models import crd
from support.cli import NOW, FakeObjects, Object, at, condition, run
from support.crds.samples import recipients

UUID = "8f14e45f-ceea-467f-a1e6-1d2c3b4a5968"
OPERATOR = ("ocore-system", "ocore-ocore-snapshots")
CLUSTER_ROLES = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
RELEASE = {"meta.helm.sh/release-name": "ocore", "meta.helm.sh/release-namespace": "ocore-system"}


def obj(name: str, spec: Object, *conditions: Object, **status: Any) -> Object:
    meta = {"name": name, "namespace": "shop", "generation": 1, "creationTimestamp": at(-86400)}
    return {
        "metadata": meta,
        "spec": spec,
        "status": {"observedGeneration": 1, "conditions": list(conditions), **status},
    }


def complete(name: str, seconds: float, **status: Any) -> Object:
    sizes = {"databaseBytes": 8 * 2**20, "filestoreFiles": 30, "filestoreBytes": 2**20}
    found = {"phase": "Complete", "consistentAt": at(seconds), "completedAt": at(seconds + 8), "sizes": sizes, **status}
    conditions = status.pop("conditions", [condition("Complete", reason="Succeeded"), condition("Ready")])
    made = obj(name, {"environmentRef": {"name": "shop"}}, **{**found, "conditions": conditions})
    made["metadata"]["creationTimestamp"] = at(seconds)
    return made


#: As JSON: to make them takes many times as long as to read them.
CRDS = json.dumps({kind.crd_name: crd(kind) for kind in KINDS})


def sound() -> World:
    """An installation in which everything works."""
    ready = condition("Ready", reason="Succeeded")
    env = {
        "type": "production",
        "projectId": UUID,
        "storeRef": {"name": "backups"},
        "database": {"secretRef": {"name": "db"}},
    }
    policy = {"environmentRef": {"name": "shop"}, "schedule": ["0 2 * * *"], "verify": {"schedule": ["0 4 * * 0"]}}
    past = {"phase": "Complete", "environmentName": "shop", "startedAt": at(-5000), "completedAt": at(-4900)}
    times = {"quiescedAt": at(-4920.0), "readyAt": at(-4916.0)}
    template = {"spec": {"containers": [{"name": "operator", "env": [{"name": "OCORE_NAMESPACES", "value": ""}]}]}}
    meta = {
        "namespace": OPERATOR[0],
        "name": OPERATOR[1],
        "annotations": RELEASE,
        "labels": {"app.kubernetes.io/version": "0.1.0"},
    }
    crds = json.loads(CRDS)
    for each in crds.values():
        each["metadata"]["annotations"] |= RELEASE
    return World(
        NOW,
        "shop",
        crds,
        operators=[
            {"metadata": meta, "spec": {"replicas": 1, "template": template}, "status": {"availableReplicas": 1}}
        ],
        leases={OPERATOR: {"spec": {"holderIdentity": "a", "leaseDurationSeconds": 15, "renewTime": at(-3)}}},
        objects={
            "environment": [obj("shop", env, ready, condition("RollbackReady", reason="Succeeded"))],
            "snapshotstore": [obj("backups", {"claim": {"claimName": "backups"}}, ready, url="claim://backups/")],
            "snapshotpolicy": [
                obj(
                    "shop",
                    policy,
                    ready,
                    condition("LastSnapshotSucceeded"),
                    lastScheduleTime=at(-9000),
                    nextScheduleTime=at(9000),
                )
            ],
            "snapshot": [complete("old", -9000 * 2), complete("new", -8000)],
            "rollback": [
                obj(
                    "back", {"snapshotRef": {"name": "old"}}, condition("Complete", reason="Succeeded"), **past, **times
                )
            ],
        },
    )


def lines(world: World) -> list[Line]:
    return [line for section in diagnose(world) for line in section.lines]


def test_a_sound_installation_has_no_problem() -> None:
    found = lines(sound())
    assert [line for line in found if line.state != "ok"] == []
    (open_to,) = [line.text for line in found if line.what == "Encryption"]
    assert "who can read store backups can read the snapshots" in open_to
    (rollback,) = [line.text for line in found if line.what == "A rollback"]
    assert "to new restores a database of 8.0 MiB and 30 files of 1.0 MiB" in rollback
    assert "The last 1 took 1 min 40 s, the application was down for 4.0 s" in rollback


def test_the_recipients_are_shown() -> None:
    """Those of the Environment replace those of the store."""
    world = plant("snapshotstore", encrypted_to(1))(plant("environment", encrypted_to(2))(sound()))
    (line,) = [line for line in lines(world) if line.what == "Encryption"]
    first, second = recipients(2)
    shown = f"to {first[:12]}…{first[-6:]}, {second[:12]}…{second[-6:]}."
    assert (line.state, line.text) == ("ok", shown)
    world = plant("environment", encrypted_to(2, mode="Current"))(world)
    (line,) = [line for line in lines(world) if line.what == "Encryption"]
    assert (line.state, line.text) == ("ok", f"{shown} Jobs open the newest full snapshot and its differentials.")


def source(environment_id: str) -> Object:
    names = {"environmentName": "shop", "environmentType": "production", "projectId": UUID}
    return {"environmentId": environment_id, **names}


def test_the_numbers_of_signed_snapshots_are_shown() -> None:
    """The newest one is for the sheet in the drawer. Those of another environment do not count."""
    world = sound()
    assert not [line for line in lines(world) if line.what == "Signatures"]
    for each, number in zip(world.objects["snapshot"], (3, 7), strict=True):
        each["status"] |= {"signature": {"signer": "SHA256:x", "sequence": number}, "source": source(UUID)}
    other = complete("other", -100)
    other["status"] |= {"signature": {"signer": "SHA256:x", "sequence": 90}, "source": source("another")}
    begun = complete("begun", -50)
    begun["status"] |= {"signature": {"sequence": 8}, "source": source(UUID)}
    world = dataclasses.replace(
        world, objects={**world.objects, "snapshot": [*world.objects["snapshot"], other, begun]}
    )
    world.objects["environment"][0]["status"]["id"] = UUID
    (line,) = [line for line in lines(world) if line.what == "Signatures"]
    assert line.state == "ok"
    assert line.text.startswith("the newest signed snapshot has number 7. Of those from 3 on 3 are not here")


def test_what_a_rollback_waits_for_is_said_before() -> None:
    """The application's own grace period is part of the downtime."""
    world = sound()
    pod = {"terminationGracePeriodSeconds": 35}
    workloads = {("Deployment", "shop"): {"spec": {"template": {"spec": pod}}}}
    environment = world.objects["environment"][0]
    environment["spec"]["workloads"] = [{"kind": "Deployment", "name": "shop"}, {"kind": "CronJob", "name": "mail"}]

    def rollback(**changes: Any) -> str:
        return next(x.text for x in lines(dataclasses.replace(world, **changes)) if x.what == "A rollback")

    assert "needs to stop: at most 35 s (terminationGracePeriodSeconds of Deployment shop). More:" in rollback(
        workloads=workloads
    )
    del pod["terminationGracePeriodSeconds"]
    assert "at most 30 s" in rollback(workloads=workloads)
    assert "terminationGracePeriodSeconds" not in rollback()


# --- the planted faults ----------------------------------------------------------------------------------------------
Plant = Callable[[World], World]


def plant(kind: str, change: Callable[[list[Object]], object]) -> Plant:
    """A fault in the objects of a kind."""

    def planted(world: World) -> World:
        objects = copy.deepcopy(dict(world.objects))
        change(objects[kind])
        return dataclasses.replace(world, objects=objects)

    return planted


def false(kind: str, type_: str, reason: str, message: str) -> Plant:
    def change(found: list[Object]) -> None:
        kept = [x for x in found[0]["status"]["conditions"] if x["type"] != type_]
        found[0]["status"]["conditions"] = [*kept, condition(type_, "False", reason, message)]

    return plant(kind, change)


def of_operator(**change: Any) -> Plant:
    def planted(world: World) -> World:
        assert world.operators is not None
        (operator,) = copy.deepcopy(list(world.operators))
        for path, value in change.items():
            operator[path.partition("_")[0]] |= {path.partition("_")[2]: value}
        return dataclasses.replace(world, operators=[operator])

    return planted


def watched(world: World) -> World:
    template = {"spec": {"containers": [{"name": "operator", "env": [{"name": "OCORE_NAMESPACES", "value": "a,b"}]}]}}
    return of_operator(spec_template=template)(world)


def old_crd(world: World) -> World:
    assert world.crds is not None
    crds = copy.deepcopy(dict(world.crds))
    schema = crds["rollbacks.ocore.dev"]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    del schema["properties"]["spec"]["properties"]["dryRun"]
    return dataclasses.replace(world, crds=crds)


def broken(reason: str, message: str) -> Object:
    made = complete("broken", -100)
    made["status"] |= {"phase": "Failed", "conditions": [condition("Failed", reason=reason, message=message)]}
    return made


def corrupt(found: list[Object]) -> None:
    conditions = [
        condition("Complete", reason="Succeeded"),
        condition("Verified", "False", "Corrupt", "a pack differs"),
        condition("Ready", "False", "Corrupt", "a pack differs"),
    ]
    found.insert(0, complete("rotten", -20000, conditions=conditions))
    found[0]["status"]["conditions"] = conditions


def encrypted_to(count: int, **given: str) -> Callable[[list[Object]], object]:
    return lambda found: found[0]["spec"].update(encryption={"recipients": recipients(count), **given})


def running(found: list[Object]) -> None:
    found.append(
        obj(
            "stuck",
            {"snapshotRef": {"name": "old"}},
            condition("Reconciling"),
            phase="Restoring",
            environmentName="shop",
            deadline=at(-300),
        )
    )


#: Text of a session of the application: its `application_name`, and a line of its own.
GRANT = "application 'ALTER ROLE \"x\" SUPERUSER;' is connected to shop.\nfix: GRANT postgres TO shop;"
USER = "The user of the Jobs is unknown. Add to the Environment: spec.jobs: {runAsUser: 7, runAsGroup: 7}."


def probed(w: World, **status: Any) -> World:
    """With what a probe has found, as data."""
    for each in w.objects["environment"]:
        each["status"]["probe"] = {"time": at(0), "generation": 1, "serverMajor": 17, **status}
        each["spec"]["filestore"] = {"claimName": "data", "path": "filestore", "layout": "Plain"}
    return w


LOG_AND_RESTART = (
    "kubectl -n ocore-system logs deployment/ocore-ocore-snapshots --tail=100; kubectl -n ocore-system rollout restart"
    " deployment/ocore-ocore-snapshots"
)
FAULTS: dict[str, tuple[Plant, str, str, str]] = {
    # fault: (how, state and subject, what is said, the fix)
    "CRDs are missing": (
        lambda w: dataclasses.replace(w, absent=frozenset(k.singular for k in KINDS), objects={}),
        "problem CRDs", "not installed: environments.ocore.dev", "helm upgrade --install ocore oci://REGISTRY/charts/ocore-snapshots",
    ),
    "a CRD is old": (
        old_crd, "problem CRDs", "rollbacks.ocore.dev lacks spec.dryRun",
        "helm upgrade ocore oci://REGISTRY/charts/ocore-snapshots --namespace ocore-system --reset-then-reuse-values",
    ),
    "no operator": (
        lambda w: dataclasses.replace(w, operators=[]), "problem Operator", "no operator is installed",
        "helm upgrade --install",
    ),
    "no ClusterRole announces the operator": (
        lambda w: dataclasses.replace(w, operators=[], unannounced=w.operators or ()), "problem Operator",
        "no ClusterRole announces an operator", "templates/rbac-operator.yaml of the chart",
    ),
    "the operator is scaled to 0": (
        of_operator(spec_replicas=0), "problem Operator", "is scaled to 0",
        "kubectl -n ocore-system scale deployment/ocore-ocore-snapshots --replicas=1",
    ),
    "the operator's image cannot be pulled": (
        lambda w: dataclasses.replace(
            of_operator(status_availableReplicas=0)(w),
            pods={OPERATOR: [{"status": {"containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff",
                                                                                      "message": "not found"}}}]}}]},
        ),
        "problem Operator", "no pod that is ready: ImagePullBackOff, not found",
        "kubectl -n ocore-system describe pods",
    ),
    "the Lease is not renewed": (
        lambda w: dataclasses.replace(
            w, leases={OPERATOR: {"spec": {"holderIdentity": "a", "leaseDurationSeconds": 15, "renewTime": at(-90)}}}
        ),
        "problem Operator", "does not answer: its Lease was renewed 1 min 30 s ago",
        "kubectl -n ocore-system rollout restart deployment/ocore-ocore-snapshots",
    ),
    "the namespace is not watched": (
        watched, "problem Operator", "does not watch namespace shop",
        "--reset-then-reuse-values --set 'watchNamespaces={a,b,shop}'",
    ),
    "a change is not observed": (
        plant("environment", lambda found: found[0]["metadata"].update(generation=2)), "problem Observed",
        "has not observed the spec of environment shop", LOG_AND_RESTART,
    ),
    "no Environment": (
        plant("environment", list.clear), "problem Environments", "there is none",
        "kubectl ocore init deployment/NAME --apply -n shop",
    ),
    "the store has another name": (
        plant("environment", lambda found: found[0]["spec"].update(storeRef={"name": "backup"})),
        "problem Store backup",
        "SnapshotStore backup does not exist in namespace shop",
        "kubectl -n shop patch environments.ocore.dev shop --type=merge -p "
        """'{"spec":{"storeRef":{"name":"backups"}}}'""",
    ),
    "the store denies access": (
        false("snapshotstore", "Ready", "StoreAccessDenied", "the key may not write"), "problem Store backups",
        "StoreAccessDenied: the key may not write", "kubectl ocore explain StoreAccessDenied",
    ),
    "the password is wrong": (
        false("environment", "Ready", "AuthenticationFailed", "the password of shop is wrong: change the Secret db"),
        "problem Ready",
        "AuthenticationFailed: the password of shop is wrong", "kubectl ocore explain AuthenticationFailed",
    ),
    "the user of the files is unknown": (
        lambda w: probed(false("environment", "Ready", "JobUserUnknown", USER)(w),
                         fileOwner={"runAsUser": 101, "runAsGroup": 102}),
        "problem Ready", "JobUserUnknown",
        "kubectl -n shop patch environments.ocore.dev shop --type=merge -p "
        """'{"spec":{"jobs":{"runAsUser":101,"runAsGroup":102}}}'""",
    ),
    "the capacity is unknown": (
        false("environment", "RollbackReady", "CapacityUnknown", "Set spec.database.capacity"), "problem RollbackReady",
        "CapacityUnknown",
        "kubectl -n shop patch environments.ocore.dev shop --type=merge -p "
        """'{"spec":{"database":{"capacity":"SIZE"}}}'   # SIZE""",
    ),
    "a grant is missing": (
        lambda w: probed(false("environment", "RollbackReady", "MissingGrants", GRANT)(w),
                         remedies=[{"right": "CreateDatabases", "role": "Application"}]),
        "problem RollbackReady", "MissingGrants",
        "As an administrator of the server: ALTER ROLE <application> CREATEDB;\n<application>: the user in Secret db.",
    ),
    "no policy": (
        plant("snapshotpolicy", list.clear), "warning Policy", "no snapshot is scheduled",
        """echo '{"apiVersion": "ocore.dev/v1alpha1",""",
    ),
    "the policy is suspended": (
        plant("snapshotpolicy", lambda found: found[0]["spec"].update(suspend=True)), "problem Policy", "suspended",
        """kubectl -n shop patch snapshotpolicies.ocore.dev shop --type=merge -p '{"spec":{"suspend":false}}'""",
    ),
    "the schedule is invalid": (
        false("snapshotpolicy", "Ready", "ScheduleInvalid", "Correct spec.schedule"), "problem Policy",
        "ScheduleInvalid: Correct",
        "kubectl ocore explain ScheduleInvalid",
    ),
    "a slot was missed": (
        plant("snapshotpolicy", lambda found: found[0]["status"].update(nextScheduleTime=at(-3600))), "problem Policy",
        "was not created", LOG_AND_RESTART,
    ),
    "nothing was ever restored as a test": (
        plant("snapshotpolicy", lambda found: found[0]["spec"].pop("verify")), "warning Test restores",
        "none are scheduled",
        "kubectl -n shop patch snapshotpolicies.ocore.dev shop --type=merge -p "
        """'{"spec":{"verify":{"schedule":["0 4 * * 0"]}}}'""",
    ),
    "no snapshot": (
        plant("snapshot", list.clear), "problem Last snapshot", "no good snapshot can be restored",
        "kubectl ocore snapshot shop --wait -n shop",
    ),
    "row 143: only a safety snapshot": (
        plant("snapshot", lambda found: [each["spec"].update(trigger="PreRollback") for each in found]),
        "problem Last snapshot", "no good snapshot can be restored",
        "kubectl ocore snapshot shop --wait -n shop",
    ),
    "the newest slot has no snapshot": (
        plant("snapshot", lambda found: found.pop()), "problem Last snapshot", "old shows",
        "kubectl ocore snapshot shop --wait -n shop",
    ),
    "the newest snapshot failed": (
        plant("snapshot", lambda found: found.append(broken("DumpFailed", "disk full"))), "problem Snapshots",
        "broken failed (1 of the last 3): DumpFailed: disk full",
        "kubectl ocore explain DumpFailed; kubectl ocore snapshot shop --wait -n shop",
    ),
    "one recipient only": (
        plant("snapshotstore", encrypted_to(1)), "warning Encryption", "no one can restore a snapshot",
        "kubectl -n shop edit snapshotstores.ocore.dev/backups",
    ),
    "one recipient of the environment only": (
        plant("environment", encrypted_to(1)), "warning Encryption", "no one can restore a snapshot",
        "kubectl -n shop edit environments.ocore.dev/shop",
    ),
    "a snapshot is corrupt": (
        plant("snapshot", corrupt), "problem Snapshots", "rotten cannot be restored: Corrupt: a pack differs",
        "kubectl ocore snapshot shop --wait -n shop && kubectl -n shop delete snapshots.ocore.dev/rotten",
    ),
    "a rollback is past its deadline": (
        plant("rollback", running), "problem Rollback stuck", "past its deadline", LOG_AND_RESTART,
    ),
}  # fmt: skip


def test_row_125_no_line_of_a_message_looks_like_a_fix() -> None:
    """A message is text of a Job, and of a tenant's database."""
    out = io.StringIO()
    world = false("environment", "RollbackReady", "MissingGrants", GRANT)(sound())
    doctor.show(Console(file=out, width=200), diagnose(world))
    fixes = [line.strip() for line in out.getvalue().splitlines() if line.strip().startswith("fix:")]
    assert fixes == ["fix: kubectl ocore explain MissingGrants"]


def test_row_125_a_release_that_a_tenant_names_is_one_word() -> None:
    """A release may be installed into a namespace in which others may write."""
    world = watched(sound())
    assert world.operators is not None
    hostile = {"meta.helm.sh/release-name": "x; rm -rf ~", "meta.helm.sh/release-namespace": "$(id)"}
    world.operators[0]["metadata"]["annotations"] = hostile
    (fix,) = [line.fix for line in lines(world) if line.what == "Operator"]
    assert shlex.split(fix)[:3] == ["helm", "upgrade", "x; rm -rf ~"]
    assert shlex.split(fix)[4:6] == ["--namespace", "$(id)"]


@pytest.mark.parametrize("fault", FAULTS)
def test_each_planted_fault_is_found_with_its_fix(fault: str) -> None:
    how, subject, says, fix = FAULTS[fault]
    world = how(sound())
    found = {f"{line.state} {line.what}": line for line in lines(world)}
    assert subject in found, list(found)
    assert says in found[subject].text
    assert fix in found[subject].fix
    assert has_problem(diagnose(world)) == subject.startswith("problem")


@pytest.mark.parametrize(
    "fault", [name for name, (*_, fix) in FAULTS.items() if " patch " in fix or fix.startswith("echo")]
)
def test_a_printed_change_is_valid_and_removes_the_fault(fault: str) -> None:
    """As the shell and the API server read it. What the operator must observe after it is its own test."""
    how, subject, *_ = FAULTS[fault]
    world = how(sound())
    (fix,) = [line.fix for line in lines(world) if f"{line.state} {line.what}" == subject]
    words = shlex.split(fix.replace("SIZE", "50Gi", 1), comments=True)
    objects = copy.deepcopy(dict(world.objects))
    if words[0] == "echo":
        created = json.loads(words[1])
        assert created["kind"] == SNAPSHOT_POLICY.kind
        SNAPSHOT_POLICY.spec.model_validate(created["spec"])
        objects["snapshotpolicy"] = [
            {**created, "status": {}, "metadata": {**created["metadata"], "creationTimestamp": at(0), "generation": 1}}
        ]
    else:
        kind = next(kind for kind in KINDS if kind.crd_name == words[4])
        (target,) = [each for each in objects[kind.singular] if each["metadata"]["name"] == words[5]]
        for key, value in json.loads(words[-1])["spec"].items():
            target["spec"][key] = {**target["spec"].get(key, {}), **value} if isinstance(value, dict) else value
        kind.spec.model_validate(target["spec"])
        # What the operator then observes.
        target["status"]["conditions"] = [
            condition(x["type"]) if x["status"] == "False" else x for x in target["status"]["conditions"]
        ]
    after = lines(dataclasses.replace(world, objects=objects))
    assert subject not in {f"{line.state} {line.what}" for line in after}


def test_a_change_of_this_minute_is_no_fault() -> None:
    """The operator needs seconds. The time of a change is that of the last writer of the spec."""

    def change(found: list[Object]) -> None:
        managers = [{"time": at(-5)}, {"time": at(-4000), "subresource": "status"}]
        found[0]["metadata"] |= {"generation": 2, "managedFields": managers}

    assert not has_problem(diagnose(plant("environment", change)(sound())))


def test_who_may_not_read_the_operator_is_told_by_what_it_observed() -> None:
    world = dataclasses.replace(sound(), crds=None, operators=None)
    found = {line.what: line for line in lines(world)}
    assert (found["Operator"].state, found["CRDs"].state) == ("unknown", "unknown")
    assert not has_problem(diagnose(world))
    stale = plant("environment", lambda objs: objs[0]["metadata"].update(generation=2))(world)
    found = {line.what: line for line in lines(stale)}
    assert (found["Operator"].state, "does not answer" in found["Operator"].text) == ("problem", True)


def test_a_condition_that_is_not_known_yet_says_how_to_wait() -> None:
    world = plant("environment", lambda found: found[0]["status"].update(conditions=[]))(sound())
    found = {line.what: line for line in lines(world)}
    assert found["Ready"].fix == "kubectl -n shop wait environments.ocore.dev/shop --for=condition=Ready --timeout=5m"


def test_what_prevents_both_is_said_once() -> None:
    conditions = [
        condition(type_, "False", "AuthenticationFailed", "wrong password") for type_ in ("Ready", "RollbackReady")
    ]
    world = plant("environment", lambda found: found[0]["status"].update(conditions=conditions))(sound())
    found = {line.what: line.text for line in lines(world)}
    assert found["RollbackReady"] == "AuthenticationFailed: see Ready."


def test_every_fix_with_a_kind_names_its_group() -> None:
    for how, *_ in FAULTS.values():
        for line in lines(how(sound())):
            assert not re.search(r"(?:patch|delete|wait|edit) (?:environments?|snapshots?|rollbacks?)[ /]", line.fix)


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeObjects]:
    objects, world = FakeObjects(), sound()
    objects.others = {kind: list(found) for kind, found in world.objects.items()}
    assert world.crds is not None
    objects.paths = {
        f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}": found for name, found in world.crds.items()
    }
    objects.paths |= {
        "/api/v1/namespaces/shop": {},
        "/apis/apps/v1/deployments": {"items": list(world.operators or ())},
        CLUSTER_ROLES: {"items": [{"metadata": {"annotations": {"ocore.dev/lease": "/".join(OPERATOR)}}}]},
        "/apis/coordination.k8s.io/v1/namespaces/ocore-system/leases/ocore-ocore-snapshots": world.leases[OPERATOR],
    }
    monkeypatch.setattr(options, "Objects", lambda *_: objects)
    # The times of the objects are those of the moment in which the tests were collected, which may be half an hour ago.
    with time_machine.travel(NOW, tick=False):
        yield objects


def test_row_125_a_deployment_with_our_labels_is_no_operator(
    cli: FakeObjects, capsys: pytest.CaptureFixture[str]
) -> None:
    """`helm upgrade` of a release in a tenant's namespace would read the values that the tenant has stored there, and
    run the tenant's image with the operator's rights."""
    (deployment,) = cli.paths["/apis/apps/v1/deployments"]["items"]
    forged = copy.deepcopy(deployment)
    forged["metadata"] |= {
        "namespace": "a-tenant",
        "annotations": {"meta.helm.sh/release-name": "ocore", "meta.helm.sh/release-namespace": "a-tenant"},
    }
    for each in (deployment, forged):
        each["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"] = "other"
    cli.paths["/apis/apps/v1/deployments"]["items"] = [forged, deployment]  # the API server sorts by namespace
    assert run("doctor") == FINDINGS
    out = capsys.readouterr().out
    assert "--namespace ocore-system" in out
    assert "a-tenant" not in out
    assert run("version") == 0
    assert "a-tenant" not in capsys.readouterr().out

    cli.paths["/apis/apps/v1/deployments"]["items"] = [forged]
    assert run("doctor") == FINDINGS
    out = capsys.readouterr().out
    assert "no ClusterRole announces an operator" in out
    assert "helm" not in out

    cli.paths[CLUSTER_ROLES] = Denied("permission denied")
    run("doctor")
    out = capsys.readouterr().out
    assert "You may not read its Deployment or its ClusterRole" in out
    assert "helm" not in out


#: As a tenant may write them into an object: the API server takes the years 0 to 9999.
NO_TIMES = (
    *("0000-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "9999-12-31T23:59:59Z"),
    *("2026-01-31T23:59:60Z", "2026-01-31T12:00:00", "2026-01-31", "yesterday", "-", "Z"),
)


@pytest.mark.parametrize("text", [*NO_TIMES, *(None, 0, 1.5, {}, [])])
def test_row_122_a_time_that_cannot_be_calculated_with_is_none(text: Any) -> None:
    assert parse_time(text) is None


@pytest.mark.parametrize("time", NO_TIMES)
def test_row_122_no_time_in_an_object_ends_the_doctor(time: str) -> None:
    """Nor does it hide that the operator does not answer, or has not observed an object."""
    world = sound()
    spec = {"holderIdentity": "a", "leaseDurationSeconds": 2**31 - 1, "renewTime": time}
    objects = copy.deepcopy(dict(world.objects))
    for each in (each for kind in objects.values() for each in kind):
        each["metadata"] |= {"creationTimestamp": time, "generation": 2, "managedFields": [{"time": time}]}
    hostile = dataclasses.replace(world, leases={OPERATOR: {"spec": spec}}, objects=objects)
    found = {line.what: line for line in lines(hostile)}
    assert found["Operator"].state == "problem"
    assert found["Observed"].state == "problem"


def test_row_122_a_time_to_come_hides_nothing() -> None:
    world = sound()
    objects = copy.deepcopy(dict(world.objects))
    objects["environment"][0]["metadata"] |= {"generation": 2, "managedFields": [{"time": at(86400)}]}
    lease = {"spec": {**world.leases[OPERATOR]["spec"], "renewTime": at(86400)}}
    hostile = dataclasses.replace(world, leases={OPERATOR: lease}, objects=objects)
    found = {line.what: line for line in lines(hostile)}
    assert [found[what].state for what in ("Operator", "Observed")] == ["problem", "problem"]


def test_the_exit_code_tells_a_script(cli: FakeObjects, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("doctor") == 0
    assert "All is well." in capsys.readouterr().out
    cli.others["snapshotpolicy"][0]["spec"]["suspend"] = True
    assert run("doctor", "oenv/shop") == FINDINGS
    out = capsys.readouterr().out
    assert "✗ Policy" in out
    assert (
        """fix: kubectl -n shop patch snapshotpolicies.ocore.dev shop --type=merge -p '{"spec":{"suspend":false}}'\n"""
        in out
    )
    assert "1 problem," in out


def test_what_does_not_exist_is_an_error(cli: FakeObjects) -> None:
    with pytest.raises(CliError, match="environment nowhere does not exist in namespace shop"):
        run("doctor", "nowhere")
    del cli.paths["/api/v1/namespaces/shop"]
    with pytest.raises(CliError, match="namespace shop does not exist"):
        run("doctor")


def test_the_workloads_that_a_rollback_stops_are_read(cli: FakeObjects, capsys: pytest.CaptureFixture[str]) -> None:
    workloads = [
        {"kind": "StatefulSet", "name": "shop"},
        {"kind": "Database", "name": "x", "apiVersion": "a.example/v1"},
    ]
    cli.others["environment"][0]["spec"]["workloads"] = workloads
    slow = {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 35}}}}
    cli.paths["/apis/apps/v1/namespaces/shop/statefulsets/shop"] = slow
    assert run("doctor") == 0
    assert "at most 35 s (terminationGracePeriodSeconds of StatefulSet shop)" in capsys.readouterr().out
    cli.paths["/apis/apps/v1/namespaces/shop/statefulsets/shop"] = Denied("permission denied")
    assert run("doctor") == 0
    assert "terminationGracePeriodSeconds" not in capsys.readouterr().out


def test_a_tenant_without_rights_gets_an_answer(cli: FakeObjects) -> None:
    cli.paths = {path: Denied("permission denied") for path in (*cli.paths, "/api/v1/namespaces/shop")}
    assert run("doctor") == 0


def test_lines_of_a_message_stay_whole(cli: FakeObjects) -> None:
    long = "x" * 300
    cli.others["environment"][0]["status"]["conditions"] = [
        condition("Ready", "False", "AuthenticationFailed", f"one\n{long}")
    ]
    out = io.StringIO()
    doctor.run(cli, Console(file=out, width=80), None, NOW)
    assert long in out.getvalue()


def test_kinds_of_the_samples() -> None:
    """The samples above are what the models accept."""
    for kind in (ENVIRONMENT, SNAPSHOT_STORE, SNAPSHOT, SNAPSHOT_POLICY, ROLLBACK):
        for each in sound().of(kind):
            kind.spec.model_validate(each["spec"])
            kind.status.model_validate(each["status"])
