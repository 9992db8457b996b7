"""The versions of Kubernetes that the chart and the pages name are those that tests run."""

import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]


def _minor(file: str, pattern: str) -> int:
    """The minor version in a file, by a pattern whose group is the number."""
    (found,) = set(re.findall(pattern, (REPOSITORY / file).read_text()))
    return int(found)


def test_the_range_is_that_of_the_tests() -> None:
    built = sorted(int(path.stem.partition(".")[2]) for path in (REPOSITORY / "localcluster/versions").glob("1.*.mod"))
    newest = _minor("localcluster/node/go.mod", r"k8s\.io/kubernetes v1\.(\d+)\.")
    assert _minor("charts/ocore-snapshots/Chart.yaml", r'kubeVersion: ">=1\.(\d+)\.0-0"') == built[0]
    assert _minor("docs/support.md", r"\| Kubernetes \| 1\.(\d+) and newer") == built[0]
    assert _minor("docs/support.md", r"newer \| 1\.(\d+) with all tests") == newest
    assert _minor("docs/install.md", r"The tests run on 1\.(\d+)") == newest
    assert _minor("Makefile", r"OCORE_KUBERNETES=1\.(\d+)") == built[0]
    for minor in built:
        assert f"k8s.io/kubernetes v1.{minor}.0\n" in (REPOSITORY / f"localcluster/versions/1.{minor}.mod").read_text()
        assert f"1.{minor}" in (REPOSITORY / "localcluster/cluster").read_text()
