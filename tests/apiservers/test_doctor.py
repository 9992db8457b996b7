"""What `kubectl ocore doctor` prints about an installation that is missing or old fixes it, run in a shell as it is
printed."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocore_crds.kinds import KINDS
from support.cluster.chart import CHART, Helm
from support.cluster.cluster import REPOSITORY, Cluster, wait_for
from support.cluster.operator import NAMESPACE, RELEASE
from support.cluster.plugin import ocore


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """One without our CRDs and without a release."""
    cluster = Cluster()
    names = [kind.crd_name for kind in KINDS]
    cluster.kubectl("delete", "crd", "--ignore-not-found", *names)
    yield cluster
    Helm(cluster).uninstall(RELEASE, NAMESPACE)


def fix_of(cluster: Cluster, says: str) -> str:
    """The line that is printed below the one that says so."""
    code, text = ocore(cluster, "doctor", "-n", "default")
    assert code == 5, text
    lines = text.splitlines()
    (number,) = [n for n, line in enumerate(lines) if says in line]
    return lines[number + 1].partition("fix: ")[2]


def shell(cluster: Cluster, command: str) -> None:
    command = command.replace("oci://REGISTRY/charts/ocore-snapshots", str(CHART))
    command = command.replace("REGISTRY", "registry.example.org/team")
    done = subprocess.run(
        ["bash", "-ec", command],
        env={**os.environ, **cluster.env},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stderr}"


def without(cluster: Cluster, says: str) -> None:
    """`doctor` no longer says so. A new CRD is served a moment later."""
    wait_for(f"no {says}", lambda: says not in ocore(cluster, "doctor", "-n", "default")[1], 30)


def test_missing_and_old_crds_are_installed_by_the_printed_command(cluster: Cluster, tmp_path: Path) -> None:
    missing = fix_of(cluster, "not installed: environments.ocore.dev")
    assert missing == fix_of(cluster, "no operator is installed")
    shell(cluster, missing)
    without(cluster, "not installed")
    without(cluster, "no operator is installed")
    old = tmp_path / "chart"
    shutil.copytree(CHART, old)
    (found,) = (old / "templates/crds").glob("*rollbacks.yaml")
    before = found.read_text()
    after = re.sub(r"^( *)stageSince:\n(?:\1 .*\n)+", "", before, flags=re.MULTILINE)
    assert after != before
    found.write_text(after)
    Helm(cluster).run("upgrade", RELEASE, str(old), "--namespace", NAMESPACE, "--reuse-values")
    shell(cluster, fix_of(cluster, "rollbacks.ocore.dev lacks status.stageSince"))
    without(cluster, "lacks status.stageSince")
    # The values that the user gave are still there.
    (operator,) = cluster.objects("Deployment", NAMESPACE, "app.kubernetes.io/component=operator")
    image = operator["spec"]["template"]["spec"]["containers"][0]["image"]
    assert image.startswith("registry.example.org/team/")
