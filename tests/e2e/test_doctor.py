"""`kubectl ocore doctor` with a real operator: each planted fault is found, and the line that is printed below it fixes
it, run in a shell as it is printed. Missing and old CRDs: tests/apiservers/test_doctor.py. A namespace without an
Environment: test_tutorial.py."""

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from support.cluster import node
from support.cluster.chart import CHART, Helm
from support.cluster.cluster import REPOSITORY, Cluster, Object, condition, unique, wait_for
from support.cluster.facade import Facade
from support.cluster.operator import NAMESPACE, RELEASE, Operator, operator_account
from support.cluster.plugin import ocore
from support.cluster.site import IMAGE, Servers, Site, make_site

#: The version that the chart of the checkout names its images by.
VERSION = str(yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"])
#: Seconds within which the operator has observed a fault, or that it was fixed: a failed probe is repeated after 15 s,
#: then later.
BOUND = 120
POLICY = {"environmentRef": {"name": "shop"}, "schedule": ["0 2 1 1 *"], "verify": {"schedule": ["0 4 1 1 *"]}}


@pytest.fixture(scope="module")
def site(cluster: Cluster, servers: Servers, operator: Operator) -> Iterator[Site]:
    """One in which everything works, with a policy, a spare store and a snapshot. The release is installed again
    afterwards: the faults change it."""
    # A released chart names the images by its version; those of the local cluster have other tags.
    for dev, released in (("operator:dev", f"operator:{VERSION}"), ("mover:17", f"mover:{VERSION}-pg17")):
        node.run('ctr -n k8s.io images tag --force "$1" "$2"', f"{IMAGE}/{dev}", f"{IMAGE}/{released}")
    try:
        with make_site(cluster, servers, store="Claim") as made:
            made.load(2)
            metadata = {"name": "shop", "namespace": made.namespace}
            policy = {
                "apiVersion": "ocore.dev/v1alpha1",
                "kind": "SnapshotPolicy",
                "metadata": metadata,
                "spec": POLICY,
            }
            cluster.apply(policy)
            made.completed("Snapshot", made.snapshot("base", deletionPolicy="Delete"))
            yield made
    finally:
        operator.install(*Facade(cluster).values())


@dataclass(frozen=True)
class Fault:
    """`marks`: the line of `doctor` begins so. `fix`: a part of the printed line. `known`: what a person puts in place
    of a word of it.
    `within`: seconds that the fix may take."""

    plant: Callable[[Site], object]
    marks: str
    fix: str
    known: tuple[str, str] = ("", "")
    within: int = BOUND


def shell(site: Site, command: str) -> str:
    """Runs a command as it is printed, with the chart of the checkout; its output."""
    command = command.replace("oci://REGISTRY/charts/ocore-snapshots", "charts/ocore-snapshots")
    env = {**os.environ, **site.cluster.env}
    env["PATH"] = f"{REPOSITORY}/cli:{env['PATH']}"
    done = subprocess.run(
        ["bash", "-ec", command], env=env, cwd=REPOSITORY, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def patch(site: Site, kind: str, spec: Object) -> None:
    site.cluster.patch(kind, "shop", site.namespace, {"spec": spec})


def watches_another(site: Site) -> None:
    helm = Helm(site.cluster)
    options = ("--namespace", NAMESPACE, "--reset-then-reuse-values", "--wait", "--timeout", "120s")
    helm.run("upgrade", RELEASE, str(CHART), *options, "--set", "watchNamespaces={default}")


def probe_again(site: Site, cpu: str) -> None:
    """A changed spec is probed at once."""
    patch(site, "Environment", {"jobs": {"resources": {"requests": {"cpu": cpu}}}})


def no_grant(site: Site) -> None:
    with site.servers.admin(site.host) as connection:
        connection.execute(f'ALTER ROLE "{site.role}" NOCREATEDB'.encode())
    probe_again(site, "11m")


def grant(site: Site, statements: str) -> None:
    """The printed SQL, as an administrator."""
    with site.servers.admin(site.host) as connection:
        connection.execute(statements.encode())
    probe_again(site, "10m")


def no_snapshot(site: Site) -> None:
    names = [obj["metadata"]["name"] for obj in site.cluster.objects("Snapshot", site.namespace)]
    site.gone("Snapshot", *names)


def failed_snapshot(site: Site) -> None:
    """By a password that was wrong at that time."""
    secret = {"stringData": {"password": "wrong"}}
    site.cluster.patch("Secret", "database", site.namespace, secret)
    try:
        site.failed("Snapshot", site.snapshot(unique("broken")), "AuthenticationFailed", BOUND)
    finally:
        site.cluster.patch("Secret", "database", site.namespace, {"stringData": {"password": site.password}})


def corrupt_snapshot(site: Site) -> None:
    """A flipped bit in the largest file of one, found by reading it again."""
    name = site.snapshot(unique("rotten"), deletionPolicy="Delete")
    identity = site.completed("Snapshot", name)["status"]["id"]
    root = node.claim_folder(site.cluster, site.store, site.namespace)
    files = [path for path in root.rglob("*") if path.is_file() and identity in str(path) and "/database/" in str(path)]
    victim = max(files, key=lambda path: path.stat().st_size)
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    site.cluster.patch("Snapshot", name, site.namespace, {"spec": {"verify": "Full"}})

    def found(obj: Object) -> bool:
        return (condition(obj, "Ready") or {}).get("reason") == "Corrupt"

    site.cluster.wait("Snapshot", name, site.namespace, found, 60, "found Corrupt")


def hangs(site: Site) -> None:
    """The operator's process stands still, and nothing notices: no probe is left that would restart it. Its Lease is no
    longer renewed. The operator may have lost its probes to another fault."""
    operator = Operator(site.cluster)
    name = operator.deployment
    without = {"name": "operator", "livenessProbe": None, "readinessProbe": None}
    patch = json.dumps({"spec": {"template": {"spec": {"containers": [without]}}}})
    site.cluster.kubectl("-n", NAMESPACE, "patch", "deployment", name, "--patch", patch)
    site.cluster.kubectl("-n", NAMESPACE, "rollout", "status", f"deployment/{name}", "--timeout=120s")
    operator.ready()
    node.signal(operator.processes(operator.pod()), "STOP")


def missed_slot(site: Site) -> None:
    """The time of the next Snapshot passes while the operator stands still: instead of a wait the time is set back, in
    the operator's name."""
    hangs(site)
    due = datetime.now(UTC) - timedelta(minutes=20)
    said = site.cluster.refusal(
        "PATCH", "SnapshotPolicy", site.namespace, "shop", {"status": {"nextScheduleTime": f"{due:%FT%TZ}"}},
        subresource="status", dry_run=False, user=operator_account(site.cluster),
    )  # fmt: skip
    assert said == ""


def not_observed(site: Site) -> None:
    hangs(site)
    probe_again(site, "12m")


FAULTS = {
    "no operator": Fault(
        lambda s: Helm(s.cluster).uninstall(RELEASE, NAMESPACE),
        "✗ Operator",
        "helm upgrade --install",
        ("REGISTRY", "localhost"),
    ),
    "the operator is scaled to 0": Fault(
        lambda s: Operator(s.cluster).scale(0), "✗ Operator", "kubectl -n ocore-system scale"
    ),
    # What stands still is killed at the end of its pod's grace period only.
    "the operator hangs": Fault(hangs, "✗ Operator", "kubectl -n ocore-system rollout restart", within=240),
    "a slot was missed": Fault(missed_slot, "✗ Policy", "kubectl -n ocore-system rollout restart", within=240),
    "a change is not observed": Fault(
        not_observed, "✗ Observed", "kubectl -n ocore-system rollout restart", within=240
    ),
    "the namespace is not watched": Fault(watches_another, "✗ Operator", "watchNamespaces="),
    "the store has another name": Fault(
        lambda s: patch(s, "Environment", {"storeRef": {"name": "backup"}}), "✗ Store backup", "kubectl -n"
    ),
    "the capacity is unknown": Fault(
        lambda s: patch(s, "Environment", {"database": {"capacity": None}}), "✗ RollbackReady", "SIZE", ("SIZE", "50Gi")
    ),
    "a grant is missing": Fault(no_grant, "✗ RollbackReady", "ALTER ROLE <application> CREATEDB;"),
    "no policy": Fault(lambda s: s.cluster.delete("SnapshotPolicy", "shop", s.namespace), "! Policy", "echo"),
    "the policy is suspended": Fault(
        lambda s: patch(s, "SnapshotPolicy", {"suspend": True}), "✗ Policy", '{"suspend":false}'
    ),
    "nothing is restored as a test": Fault(
        lambda s: patch(s, "SnapshotPolicy", {"verify": None}), "! Test restores", "verify"
    ),
    "no snapshot": Fault(no_snapshot, "✗ Last snapshot", "kubectl ocore snapshot shop --wait"),
    "the newest snapshot failed": Fault(failed_snapshot, "✗ Snapshots", "kubectl ocore explain AuthenticationFailed;"),
    "a snapshot is corrupt": Fault(corrupt_snapshot, "✗ Snapshots", "delete snapshots.ocore.dev/rotten"),
}


def examined(site: Site) -> tuple[int, list[str]]:
    """Exit code and lines of `doctor`."""
    code, text = ocore(site.cluster, "doctor", "-n", site.namespace)
    return code, text.splitlines()


def marked(lines: list[str], marks: str) -> list[int]:
    """The numbers of the lines that begin so."""
    return [number for number, line in enumerate(lines) if re.match(rf"  {re.escape(marks)} ", line)]


#: Those that `make test` plants, one of each part of the operator; the others take five minutes and run in `make
#: test-all`.
ALWAYS = ("the operator is scaled to 0", "the store has another name", "a grant is missing", "the policy is suspended")


@pytest.mark.exclusive
@pytest.mark.timeout(540)
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in ALWAYS else pytest.mark.long) for name in FAULTS]
)
def test_the_line_that_the_doctor_prints_fixes_the_fault(site: Site, name: str, tmp_path: Path) -> None:
    fault = FAULTS[name]
    wait_for("sound before", lambda: examined(site)[0] == 0, BOUND, interval=1)
    fault.plant(site)

    def printed() -> str:
        code, lines = examined(site)
        for number in marked(lines, fault.marks):
            _, found, fix = lines[number + 1].partition("fix: ")
            if found and fault.fix in fix:
                assert code == (5 if fault.marks.startswith("✗") else 0), lines
                return fix
        raise AssertionError("\n".join(lines))

    fix = wait_for(f"the doctor finds that {name}", printed, BOUND, interval=1)
    if fault.fix.startswith("ALTER ROLE"):
        statement = fix.removeprefix("As an administrator of the server: ")
        grant(site, statement.replace("<application>", f'"{site.role}"'))
    else:
        shell(site, fix.replace(*fault.known, 1) if fault.known[0] else fix)

    def fixed() -> bool:
        code, lines = examined(site)
        assert (code, marked(lines, fault.marks)) == (0, []), "\n".join(lines)
        return True

    wait_for(f"fixed: {name}", fixed, fault.within, interval=1)
