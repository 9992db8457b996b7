"""The annotations that Artifact Hub reads from Chart.yaml are well-formed and name what the chart has."""

from typing import Any

import pytest
import yaml

from ocore_crds.group import VERSION
from ocore_crds.kinds import KINDS

from .cel import CHART

CATEGORIES = (
    "ai-machine-learning",
    "database",
    "integration-delivery",
    "monitoring-logging",
    "networking",
    "security",
    "storage",
    "streaming-messaging",
    "skip-prediction",
)
CAPABILITIES = ("Basic Install", "Seamless Upgrades", "Full Lifecycle", "Deep Insights", "Auto Pilot")


@pytest.fixture
def annotations() -> dict[str, str]:
    """Annotation without its prefix → value; a value that is no text is a fault of Chart.yaml."""
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())
    found = {name.removeprefix("artifacthub.io/"): value for name, value in about["annotations"].items()}
    assert all(isinstance(value, str) for value in found.values())
    return found


def test_the_words_are_those_of_artifact_hub(annotations: dict[str, str]) -> None:
    assert annotations["category"] in CATEGORIES
    assert annotations["operatorCapabilities"] in CAPABILITIES
    assert annotations["operator"] == "true"
    assert annotations["prerelease"] in ("true", "false")


def test_each_kind_is_listed(annotations: dict[str, str]) -> None:
    listed: list[dict[str, Any]] = yaml.safe_load(annotations["crds"])
    assert {(c["kind"], c["name"], c["version"]) for c in listed} == {(k.kind, k.crd_name, VERSION) for k in KINDS}
    assert all(c["displayName"] and c["description"] for c in listed)


def test_each_example_is_of_a_listed_kind(annotations: dict[str, str]) -> None:
    kinds = {c["kind"] for c in yaml.safe_load(annotations["crds"])}
    assert {e["kind"] for e in yaml.safe_load(annotations["crdsExamples"])} <= kinds
